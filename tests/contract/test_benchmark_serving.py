"""The serving benchmark runs as its page says: shortly, with our server and the floor alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- results: written by the benchmark -->", "<!-- end of results -->"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk here: `apt install wrk`")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_a_short_run_measures_and_reports(tmp_path):
    # Where `make` has put it, if the machine has none.
    uv = subprocess.run(
        [sys.executable, ROOT / "infra" / "uv.py"], capture_output=True, text=True, check=True
    ).stdout.strip()
    path = os.pathsep.join([str(Path(uv).parent), os.environ["PATH"]])
    options = ("--only", "andon", "hello", "--models", "linear", "--rows", "2000")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nof another run\n{END}\nafter\n", encoding="utf-8")
    short = ("--seconds", "1", "--rounds", "1", "--no-overload")
    where = ("--output", tmp_path, "--docs", page)
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "serving" / "run.py", *options, *short, *where],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    loads = [
        (it["server"], it["rows"], it["clients"])
        for it in results["samples"]
        if it["phase"] == "load"
    ]
    assert loads == [
        *(("andon", rows, clients) for rows in (1, 100) for clients in (1, 32)),
        *(("hello", 1, clients) for clients in (1, 32)),
    ]
    assert "labels that flip on 2,000 rows: LogisticRegression | ≤ 0 | 0 |" in run.stdout
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "| **Andon** |" in text and "of another run" not in text
    assert (tmp_path / "results.svg").read_text(encoding="utf-8").startswith("<")
