"""Make the data of the example models: `python -m models.make_data`.

Each file is made if it is missing, compared with its committed DVC pointer, and put into DVC's
cache and default remote. With nothing to do it only hashes the files.
"""

from __future__ import annotations

import configparser
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from andon.adapters import dvc
from andon.errors import DataError

if TYPE_CHECKING:
    import polars as pl

PROJECT = Path(__file__).resolve().parent.parent


def churn() -> pl.DataFrame:
    """100,000 customers of the documented generator."""
    file = PROJECT / "models" / "churn" / "generator.py"
    spec = importlib.util.spec_from_file_location("churn_generator", file)
    assert spec and spec.loader  # noqa: S101 - it stands beside this file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: pl.DataFrame = module.rows(100_000, seed=0)
    return table


def tumor() -> pl.DataFrame:
    """Breast cancer in Wisconsin: 569 tumors, 30 measures of cell nuclei."""
    import polars as pl
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    kinds = [str(data.target_names[label]) for label in data.target]
    return pl.DataFrame(data.data, schema=names, orient="row").select(
        pl.Series("sample", [f"S{i:04d}" for i in range(len(kinds))]),
        pl.all(),
        pl.Series("diagnosis", kinds),
    )


def diabetes() -> pl.DataFrame:
    """Diabetes: 442 patients, 10 measures in their own units, progression after a year."""
    import polars as pl
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    names = [str(name) for name in data.feature_names]
    table = pl.DataFrame(data.data, schema=names, orient="row").select(
        pl.Series("patient", [f"P{i:04d}" for i in range(len(data.target))]),
        pl.all().round(6),
        pl.Series("progression", data.target),
    )
    return table.with_columns(pl.col("age", "sex").cast(pl.Int64))


MAKERS: dict[str, Callable[[], pl.DataFrame]] = {
    "churn": churn,
    "diabetes": diabetes,
    "tumor": tumor,
}


def main() -> int:
    """Make what is missing; returns the exit status."""
    for name, make in MAKERS.items():
        path = Path("models") / name / "data" / f"{name}.parquet"
        try:
            print(f"{path}: {ensure(path, make)}")
        except DataError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def ensure(path: Path, make: Callable[[], pl.DataFrame]) -> str:
    """Bring one data file, its pointer, DVC's cache and remote together; says what it did."""
    full = PROJECT / path
    made = not full.is_file()
    if made:
        temporary = full.with_suffix(".new")
        full.parent.mkdir(exist_ok=True)
        # A fixed row group: else the bytes depend on the number of cores.
        make().write_parquet(temporary, compression="zstd", row_group_size=50_000)
        temporary.replace(full)
    md5 = dvc.md5_of(full)
    expected = dvc.tracked(PROJECT, path)[0] if dvc.pointer(full).is_file() else None
    if md5 == expected and all((folder / md5[:2] / md5[2:]).is_file() for folder in _stores()):
        return "made" if made else "nothing to do"
    dvc.track(PROJECT, path)
    dvc.push(PROJECT, path)
    if md5 == expected:
        return "made, and put into DVC's store" if made else "put into DVC's store"
    if expected is None:
        return f"tracked; commit {path}.dvc"
    return (
        f"POINTER CHANGED from MD5 {expected} to {md5}: other versions of polars, numpy or "
        f"scikit-learn make other bytes; commit {path}.dvc if that is meant, or "
        f"`git checkout {path}.dvc`, `uv sync --frozen`, delete the data file and run this again"
    )


def _stores() -> list[Path]:
    """Where the content has to be: DVC's cache, and the default remote if it is a folder."""
    home = PROJECT / ".dvc"
    config = configparser.ConfigParser()
    config.read(home / "config", encoding="utf-8")
    remote = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{remote}\"'", "url", fallback="")
    folders = [home / "cache"] + ([home / url] if url and "://" not in url else [])
    return [folder / "files" / "md5" for folder in folders]


if __name__ == "__main__":
    sys.exit(main())
