"""A model project's own tests: `models/<name>/tests/`, by pytest, in a process of their own.

They may use fixtures of `andon.adapters.pytest_build`: the fitted pipeline and its rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from andon.adapters import limited
from andon.adapters.compute import limits
from andon.settings import Settings
from andon.verdict import Outcome, Verdict

BUILD = "ANDON_BUILD"
PROJECT = "ANDON_PROJECT"
MODEL = "ANDON_MODEL"
CHECK = "the project's tests"
TAIL = 2_000  # characters of a failure that are told
_NO_TESTS = 5  # pytest's exit status


def run(settings: Settings, model: str, build: Path, *, minutes: float) -> list[Verdict]:
    """One verdict for each test; none if the project has no tests.

    Tests that take longer than `minutes`, use too much memory, or end pytest, are one failure that
    says so.
    """
    folder = settings.project / "models" / model / "tests"
    if not any(folder.glob("test_*.py")):
        return []
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        work = _pytest(settings.project, model, build, report)
        try:
            done = limited.run(work, limits(settings, minutes * 60, "tests.minutes in model.yaml"))
        except limited.Killed as error:
            return [Verdict(check=CHECK, outcome=Outcome.FAIL, detail=str(error))]
        found = _cases(report) if report.is_file() else []
    if done.status == _NO_TESTS:
        return []
    if not found or (done.status != 0 and all(it.outcome is Outcome.PASS for it in found)):
        last = " ".join(done.tail.splitlines()[-3:])
        detail = f"pytest ended with status {done.status}; {last}"
        found.append(Verdict(check=CHECK, outcome=Outcome.FAIL, detail=detail))
    return found


def _pytest(project: Path, model: str, build: Path, report: Path) -> limited.Work:
    folder = project / "models" / model
    arguments = [
        "-q", "--no-header", "-p", "andon.adapters.pytest_build", "-p", "no:cacheprovider",
        "-c", os.devnull, "--rootdir", str(folder), f"--junitxml={report}", str(folder / "tests"),
    ]  # fmt: skip
    return limited.Work(
        CHECK,
        (sys.executable, "-m", "pytest", *arguments),
        folder,
        {BUILD: str(build), PROJECT: str(project), MODEL: model},
    )


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
