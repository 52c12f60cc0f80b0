"""What the README says of one's own model, done to the letter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_under_test import LONG, LineUnderTest
from support import REPOSITORY

pytestmark = pytest.mark.slow

HEADING = "## Your own model in five minutes"
AUTHOR = {"NAME": "t", "EMAIL": "t@example.org"}


def blocks() -> Iterator[tuple[str, str]]:
    """(language, content) of the section's blocks, in their order."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text[text.index(HEADING) :].partition("\n## ")[0]
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def shell(line: LineUnderTest, script: str) -> subprocess.CompletedProcess[str]:
    author = {
        f"GIT_{who}_{key}": it for who in ("AUTHOR", "COMMITTER") for key, it in AUTHOR.items()
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**line.environment(), **author, "PATH": path}
    return subprocess.run(
        ["bash", "-c", script], cwd=line.project, env=environment,
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip


def body_of(curl: str) -> dict:
    """What the first `curl` of a block sends."""
    found = re.search(r"-d '(.*?)'", curl)
    assert found is not None, curl
    return json.loads(found[1])


@pytest.mark.timeout(600)
def test_one_s_own_model_goes_live_and_an_error_in_its_data_stops_the_line(line: LineUnderTest):
    written = {"json": "models/wine/expectations.json"}
    done: list[subprocess.CompletedProcess[str]] = []
    for language, content in blocks():
        if language == "sh" and "curl" in content:
            assert line.champion("wine") == "1"
            (record,) = body_of(content)["records"]
            answer = line.ask("wine", record).json()["predictions"][0]
            assert answer["label"] == "north"
        elif language == "sh":
            done.append(shell(line, content.replace("source .venv/bin/activate", ":")))
        elif language != "text":
            file = written.get(language) or content.partition("\n")[0].removeprefix("# ")
            (line.project / file).write_text(content)
    made, delivered, broken, mended = done
    for it in (made, delivered, mended):
        assert it.returncode == 0, it.stdout + it.stderr
    assert broken.returncode == 1
    assert "expect_column_values_to_be_between(alcohol): 1 of 178 values" in broken.stdout
    assert line.champion("wine") == "1"
    assert "reused" in line.andon("deliver", "wine").stdout
