"""How often monitoring alarms rightly and wrongly, how fast it is, and its peers in the same run.

    python benchmarks/monitoring/run.py [--windows N] [--peer-windows N] [--rounds N] [--write]

Peers have environments of their own, from the pins in `pins/`. Everything has fixed seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import concept  # noqa: E402
import rates  # noqa: E402
import soak  # noqa: E402
from rows import CALM, SCENES, cells, log  # noqa: E402

SIZES = (200, 1_000, 50_000)
SHIFT = "3 numbers move by 0.1, 0.15 and 0.2 sd"
PEERS = ("evidently", "nannyml")
SILENT = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}  # peers that call home
RUNS, REPEATS, DRIFTS = 200, 3, 20
FOLDER = ROOT / ".andon" / "benchmarks" / "monitoring"
BEGIN, END = "<!-- monitoring: written by the benchmark -->", "<!-- end of monitoring -->"


def python_of(peer: str, folder: Path) -> str:
    pins = HERE / "pins" / f"{peer}.txt"
    place = folder / "venvs" / peer
    python, made = place / "bin" / "python", place / "made"
    if not made.is_file() or made.read_text() != pins.read_text():
        beside = ROOT / ".uv" / "bin" / "uv"
        uv = str(beside) if beside.is_file() else shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--clear", "-q", "--python", sys.executable, place], check=True)
        install = [uv, "pip", "install", "-q", "--python", str(python), "-r", str(pins)]
        subprocess.run(install, check=True)
        made.write_text(pins.read_text())
    return str(python)


def asked(python: str, peer: str, *arguments: str) -> Any:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **SILENT}
    command = [python, str(HERE / "peers.py"), peer, *arguments]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def alarm_table(windows: int, peer_windows: int, pythons: dict[str, str]) -> list[str]:
    """Share of windows with any alarm, each judged alone."""
    cases = [(scene, n) for scene in ("no drift", SHIFT) for n in SIZES]
    ours = {case: windows if case[0] == "no drift" else windows // 3 for case in _every()}
    theirs = {}
    for peer, python in pythons.items():
        given = json.dumps([(*case, peer_windows) for case in cases])
        theirs[peer] = dict(zip(cases, asked(python, peer, "rates", given), strict=True))
    lines = [
        f"Share of windows with any alarm, each judged alone; Andon: {windows:,} windows without "
        f"drift and {windows // 3:,} with, its peers: {peer_windows:,} each:",
        "",
        f"| | rows | Andon | {' | '.join(pythons)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in pythons)} |",
    ]
    for case, many in ours.items():
        scene, n = case
        found = rates.share(rates.single(many, n, SCENES[scene]))
        print(scene, n, found, file=sys.stderr, flush=True)
        cells = [_percent(it[case]) if case in it else "" for it in theirs.values()]
        lines.append(f"| {scene} | {n:,} | {_percent(found)} | {' | '.join(cells)} |")
    return lines


def _every() -> list[tuple[str, int]]:
    return [(scene, n) for scene in SCENES for n in SIZES]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def incident_lines() -> list[str]:
    """With the default persistence, on windows of the default size."""
    n = rates.DriftMonitor().window_rows
    false = [rates.incidents(rates.scheduled(RUNS, n, CALM, seed=10 + it)) for it in range(REPEATS)]
    lines = [
        f"With the default persistence, in windows of {n:,} rows: "
        f"{', '.join(map(str, false))} false incidents in {REPEATS} times {RUNS} scheduled runs "
        f"without drift. Windows from the begin of a drift to its alarm, of {DRIFTS} drifts:",
        "",
        "| | median | longest |",
        "| --- | --- | --- |",
    ]
    for name, scene in SCENES.items():
        if scene is not CALM:
            found = rates.delay(DRIFTS, n, scene)
            lines.append(f"| {name} | {statistics.median(found):g} | {max(found)} |")
    return lines


def prepared(folder: Path, rows: int) -> None:
    """The same rows as an inference log, and as Parquet for the peers."""
    done = folder / f"{rows}.done"
    if done.is_file():
        return
    from andon import profile
    from andon.settings import Settings

    place = Settings(project=folder / str(rows)).inference_log / "production" / "m" / "1"
    shutil.rmtree(place, ignore_errors=True)
    log(place, rows, 7)
    if rows <= 1_000_000:
        import polars as pl

        made = pl.DataFrame(cells(rows, np.random.default_rng(7))).drop("score")
        made.write_parquet(folder / f"{rows}.parquet")
    of = rates.reference(rates.REFERENCE, np.random.default_rng(4))
    (folder / "profile.json").write_bytes(profile.to_json(of))
    done.touch()


def speed_table(folder: Path, rounds: int, pythons: dict[str, str]) -> list[str]:
    """The fastest of several rounds, in which they take turns."""
    lines = [
        f"One window of 15 columns against a reference of 100,000 rows; the best of {rounds} "
        "rounds, memory the most:",
        "",
        "| | rows | seconds | CPU seconds | peak MB | version |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    cases = [("andon", 1_000_000), *((it, 1_000_000) for it in pythons), ("andon", 10_000_000)]
    found: dict[tuple[str, int], list[dict[str, Any]]] = {it: [] for it in cases}
    for _, n in cases:
        prepared(folder, n)
    for _ in range(rounds):
        for peer, n in cases:
            python = pythons.get(peer, sys.executable)
            found[peer, n].append(asked(python, peer, "speed", str(folder), str(n)))
            print(peer, n, found[peer, n][-1], file=sys.stderr, flush=True)
    for (peer, n), runs in found.items():
        seconds, cpu = (min(it[key] for it in runs) for key in ("seconds", "cpu"))
        most = max(it["mb"] for it in runs)
        cells_ = f"{seconds:.2f} | {cpu:.2f} | {most:.0f} | {runs[0]['version']}"
        lines.append(f"| {peer} | {n:,} | {cells_} |")
    return lines


def insert(page: Path, text: str) -> None:
    """Put the tables where the page has its markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1_000)
    parser.add_argument("--peer-windows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".andon" / "benchmarks" / "monitoring"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/monitoring.md"
    )
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pythons = {peer: python_of(peer, folder) for peer in PEERS}
    fast = speed_table(folder, given.rounds, pythons)
    when = datetime.now(UTC).date().isoformat()
    load = f"Load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores; {when}."
    alarms = alarm_table(given.windows, given.peer_windows, pythons)
    tables = [fast, alarms, incident_lines(), soak.lines(), concept.lines()]
    text = "\n\n".join("\n".join(it) for it in [*tables, [load]])
    print(text)
    if given.write:
        insert(ROOT / "docs" / "monitoring.md", text)


if __name__ == "__main__":
    main()
