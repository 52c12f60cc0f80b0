"""Validates 20 expectations on 15 columns: the compiled scan and its peers, in the same run.

    python benchmarks/validation/run.py [--large] [--rounds N] [--only NAME ...] [--write]

Each peer runs in a process of its own, in an environment of its own that `uv` makes beside the
data from the pins in `pins/`; the clock starts once the library is imported and stops with the
verdicts. Peers take turns in every round, so that others on the machine slow all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ("andon", "gx-pandas", "gx-duckdb", "pandera", "pointblank")
BATCH = 1_000_000
GROUP = 50_000  # as the line writes its snapshots
BEGIN, END = "<!-- validation: written by the benchmark -->", "<!-- end of validation -->"


def batch(start: int, rows: int) -> pl.DataFrame:
    """Rows that follow from their numbers alone: 15 columns, a few nulls, all as expected."""
    n = pl.int_range(start, start + rows, dtype=pl.Int64, eager=True).alias("n")
    spread = {f"f{i}": (pl.col("n") * (7 + i) % 10_007) / 100.07 for i in range(6)}
    whole = {f"i{i}": pl.col("n") * (11 + i) % 1000 for i in range(4)}
    words = {f"c{i}": pl.format("w{}", pl.col("n") * (3 + i) % 8) for i in range(3)}
    gaps = pl.when(pl.col("n") % 50 != 0).then(pl.col("f5")).alias("f5")
    table = n.to_frame().with_columns(**spread, **whole, **words)
    made = table.with_columns(gaps, id=pl.format("R{}", pl.col("n")), at=pl.col("n"))
    return made.drop("n")


def suite() -> list[dict[str, object]]:
    def expect(kind: str, column: str, **kwargs: object) -> dict[str, object]:
        return {"type": f"expect_column_{kind}", "kwargs": {"column": column, **kwargs}}

    between = [
        expect("values_to_be_between", f"f{i}", min_value=0, max_value=100) for i in range(6)
    ]
    whole = [expect("values_to_be_between", f"i{i}", min_value=0, max_value=999) for i in range(4)]
    words = [f"w{i}" for i in range(8)]
    return [
        *between,
        *whole,
        *(expect("values_to_be_in_set", f"c{i}", value_set=words) for i in range(3)),
        expect("values_to_not_be_null", "id"),
        expect("values_to_not_be_null", "at"),
        expect("values_to_be_unique", "id"),
        expect("values_to_match_regex", "id", regex="^R[0-9]+$"),
        expect("values_to_not_be_null", "f0"),
        expect("mean_to_be_between", "f0", min_value=40, max_value=60),
        expect("mean_to_be_between", "i0", min_value=400, max_value=600),
    ]


def written(folder: Path, rows: int) -> Path:
    path = folder / f"{rows}.parquet"
    if not path.is_file():
        import pyarrow.parquet as pq

        schema = batch(0, 1).to_arrow().schema
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for start in range(0, rows, BATCH):
                part = batch(start, min(BATCH, rows - start))
                writer.write_table(part.to_arrow(), row_group_size=GROUP)
    return path


def python_of(peer: str, folder: Path) -> str:
    pins = HERE / "pins" / f"{peer}.txt"
    if not pins.is_file():
        return sys.executable
    place = folder / "venvs" / peer
    python, made = place / "bin" / "python", place / "made"
    if not made.is_file() or made.read_text() != pins.read_text():
        beside = ROOT / ".uv" / "bin" / "uv"
        uv = str(beside) if beside.is_file() else shutil.which("uv") or "uv"
        base = ["--python", sys.executable]
        subprocess.run([uv, "venv", "--clear", "-q", *base, str(place)], check=True)
        install = [uv, "pip", "install", "-q", "--python", str(python), "-r", str(pins)]
        subprocess.run(install, check=True)
        made.write_text(pins.read_text())
    return str(python)


def measured(peer: str, python: str, data: Path, expectations: Path) -> dict[str, Any] | str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [python, str(HERE / "peers.py"), peer, str(data), str(expectations)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:120]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return f"says that {found['failed']} failed" if found["failed"] else found


def table(found: dict[str, Any]) -> str:
    """The fastest run of each peer, and how they compare within one round."""
    rounds = found["rounds"]
    low, high = min(found["load"]), max(found["load"])
    lines = [
        f"{found['rows']:,} rows, the best of {len(rounds)} rounds; load average of the machine "
        f"{low:.1f} to {high:.1f} on {found['cores']} cores; {found['date']}, {found['commit']}:",
        "",
        "| | seconds | CPU seconds | peak MB | times as fast as GX pandas, by round | version |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for peer in rounds[0]:
        runs = [it[peer] for it in rounds]
        failed = [it for it in runs if isinstance(it, str)]
        if failed:
            lines.append(f"| {peer} | not measured: {failed[0]} | | | | |")
            continue
        seconds, peak = min(it["seconds"] for it in runs), max(it["mb"] for it in runs)
        version = runs[0]["version"]
        lines.append(
            f"| {peer} | {seconds:.2f} | {peak:.0f} | {_ratios(rounds, peer)} | {version} |"
        )
    return "\n".join(lines)


def _ratios(rounds: list[dict[str, Any]], peer: str) -> str:
    found = [
        it["gx-pandas"]["seconds"] / it[peer]["seconds"]
        for it in rounds
        if isinstance(it.get("gx-pandas"), dict)
    ]
    return ", ".join(f"{it:.1f}" for it in found) if found and peer != "gx-pandas" else ""


def insert(page: Path, text: str) -> None:
    """Put the tables where the page has its markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows = 10_000_000 if asked.large else 1_000_000
    pythons = {peer: python_of(peer, folder) for peer in asked.only}
    data, expectations = written(folder, rows), folder / "suite.json"
    expectations.write_text(json.dumps(suite()))
    rounds: list[dict[str, Any]] = []
    load = [os.getloadavg()[0]]
    for _ in range(asked.rounds):
        rounds.append({})
        for peer, python in pythons.items():
            rounds[-1][peer] = measured(peer, python, data, expectations)
            load.append(os.getloadavg()[0])
            print(f"round {len(rounds)}: {peer}: {rounds[-1][peer]}", file=sys.stderr, flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "rows": rows,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit,
        "cores": os.cpu_count(),
        "load": load,
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="10 million rows instead of 1")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".andon/benchmark-validation"))
    parser.add_argument("--write", action="store_true", help="results/ and docs/benchmarks.md")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    found = run(asked, folder)
    print(table(found))
    if asked.write:
        results = HERE / "results"
        results.mkdir(exist_ok=True)
        name = results / f"{found['rows']}.json"
        name.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        kept = [json.loads(it.read_text()) for it in results.glob("*.json")]
        kept.sort(key=lambda it: it["rows"])
        insert(ROOT / "docs" / "benchmarks.md", "\n\n".join(map(table, kept)))


if __name__ == "__main__":
    main()
