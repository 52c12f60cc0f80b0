"""Validates 20 expectations on 15 columns: the compiled scan and its peers, in the same run.

    python benchmarks/validation/run.py [--large] [--only NAME ...]

Each peer runs in a process of its own, in an environment of its own that `uv` makes beside the
data; the clock starts once the library is imported and stops with the verdicts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NEEDS = {
    "gx-duckdb": ["great-expectations==1.24.1", "duckdb", "duckdb-engine", "sqlalchemy<2.1"],
    "pandera": ["pandera[polars]"],
    "pointblank": ["pointblank", "polars", "pyarrow"],
}
PEERS = ("andon", "gx-pandas", "gx-duckdb", "pandera", "pointblank")
BATCH = 1_000_000


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

        with pq.ParquetWriter(path, batch(0, 1).to_arrow().schema) as writer:
            for start in range(0, rows, BATCH):
                part = batch(start, min(BATCH, rows - start))
                writer.write_table(part.to_arrow(), row_group_size=250_000)
    return path


def python_of(peer: str, folder: Path) -> str:
    if peer not in NEEDS:
        return sys.executable
    place = folder / "venvs" / peer
    python = place / "bin" / "python"
    if not (place / "made").is_file():
        beside = ROOT / ".uv" / "bin" / "uv"
        uv = str(beside) if beside.is_file() else shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--clear", "-q", str(place)], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", str(python), *NEEDS[peer]], check=True
        )
        (place / "made").touch()
    return str(python)


def measured(peer: str, python: str, data: Path, expectations: Path) -> dict[str, float] | str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [python, str(HERE / "peers.py"), peer, str(data), str(expectations)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:120]
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return f"says that {found['failed']} failed" if found["failed"] else found


def table(rows: int, runs: dict[str, list[dict[str, float] | str]]) -> str:
    lines = [
        f"{rows:,} rows, median of {max(map(len, runs.values()))}:",
        "",
        "| | seconds | peak MB | against GX pandas |",
        "| --- | --- | --- | --- |",
    ]
    median = {}
    for peer, found in runs.items():
        good = [it for it in found if not isinstance(it, str)]
        if len(good) == len(found):
            for what in ("seconds", "mb"):
                median[peer, what] = statistics.median(it[what] for it in good)
    base = median.get(("gx-pandas", "seconds"))
    for peer, found in runs.items():
        seconds = median.get((peer, "seconds"))
        if seconds is None:
            why = next(str(it) for it in found if isinstance(it, str))
            lines.append(f"| {peer} | not measured: {why} | | |")
            continue
        ratio = f"{base / seconds:.1f} times as fast" if base else ""
        lines.append(f"| {peer} | {seconds:.2f} | {median[peer, 'mb']:.0f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="10 million rows instead of 1")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".andon/benchmark-validation"))
    parser.add_argument("--prepare", action="store_true", help="make the environments, and stop")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pythons = {peer: python_of(peer, folder) for peer in asked.only}
    if asked.prepare:
        return
    rows = 10_000_000 if asked.large else 1_000_000
    data, expectations = written(folder, rows), folder / "suite.json"
    expectations.write_text(json.dumps(suite()))
    runs: dict[str, list[dict[str, float] | str]] = {peer: [] for peer in asked.only}
    for _ in range(asked.runs):
        for peer, python in pythons.items():
            runs[peer].append(measured(peer, python, data, expectations))
    print(table(rows, runs))


if __name__ == "__main__":
    main()
