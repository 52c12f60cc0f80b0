"""A model project's own tests: `models/<name>/tests/`, by pytest, in a process of their own.

They may use fixtures of `andon.adapters.pytest_build`: the fitted pipeline and its rows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from andon.verdict import Outcome, Verdict

BUILD = "ANDON_BUILD"
PROJECT = "ANDON_PROJECT"
MODEL = "ANDON_MODEL"
TAIL = 2_000  # characters of a failure that are told
_NO_TESTS = 5  # pytest's exit status


def run(project: Path, model: str, build: Path, *, minutes: float) -> list[Verdict]:
    """One verdict for each test; none if the project has no tests.

    Tests that take longer than `minutes`, or end pytest, are one failure that says so.
    """
    folder = project / "models" / model / "tests"
    if not any(folder.glob("test_*.py")):
        return []
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        status, said = _pytest(project, model, build, report, minutes)
        if status is None:
            return [_failed(f"they took longer than tests.minutes ({minutes:g})", said)]
        found = _cases(report) if report.is_file() else []
    if status == _NO_TESTS:
        return []
    if not found or (status != 0 and all(it.outcome is Outcome.PASS for it in found)):
        found.append(_failed(f"pytest ended with status {status}", said))
    return found


def _pytest(
    project: Path, model: str, build: Path, report: Path, minutes: float
) -> tuple[int | None, str]:
    """Exit status (none: too late) and the end of what it said."""
    folder = project / "models" / model
    arguments = [
        "-q", "--no-header", "-p", "andon.adapters.pytest_build", "-p", "no:cacheprovider",
        "-c", os.devnull, "--rootdir", str(folder), f"--junitxml={report}", str(folder / "tests"),
    ]  # fmt: skip
    environment = {**os.environ, BUILD: str(build), PROJECT: str(project), MODEL: model}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what a test starts ends with it
        )
        try:
            status: int | None = process.wait(timeout=minutes * 60)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        output.seek(0)
        return status, output.read().decode(errors="replace")[-TAIL:]


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cases(report: Path) -> list[Verdict]:
    """JUnit's test cases; a skipped one could not be decided, and says why."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        outcome, detail = Outcome.PASS, ""
        for kind in case:
            if kind.tag in ("failure", "error"):
                outcome = Outcome.FAIL
            elif kind.tag == "skipped":
                outcome = Outcome.INCONCLUSIVE
            else:
                continue
            detail = _cause(kind.get("message") or "", kind.text or "")
        place = (case.get("classname") or "").removeprefix("tests.")
        found.append(Verdict(check=f"{place}::{case.get('name')}", outcome=outcome, detail=detail))
    return found


def _cause(message: str, text: str) -> str:
    """The message; of a file that could not even be read, pytest's `E` lines say more."""
    marked = [it[1:].strip() for it in text.splitlines() if it.startswith("E ")]
    lines = marked[-3:] if message == "collection failure" else message.strip().splitlines()[:3]
    return " ".join(lines)[:TAIL]


def _failed(why: str, said: str) -> Verdict:
    last = " ".join(said.strip().splitlines()[-3:])
    return Verdict(check="the project's tests", outcome=Outcome.FAIL, detail=f"{why}; {last}")
