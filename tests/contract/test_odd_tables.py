"""Tables as they come: each is read whole, or refused by file and column."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from andon.adapters import tables
from andon.errors import DataError
from andon.spec import ModelSpec

SPEC = ModelSpec(name="toy", data="toy.parquet", target="y", task="regression")


def snapshot(table: pl.DataFrame | str | bytes, folder: Path) -> tables.SnapshotInfo:
    """Of a table as Parquet, or of text as CSV."""
    if isinstance(table, pl.DataFrame):
        path = folder / "odd.parquet"
        table.write_parquet(path)
    else:
        path = folder / "odd.csv"
        path.write_bytes(table.encode() if isinstance(table, str) else table)
    return tables.write_snapshot(path, folder)


def back(info: tables.SnapshotInfo) -> pl.DataFrame:
    return pl.read_parquet(info.path)


def test_one_row_and_one_column(tmp_path: Path) -> None:
    info = snapshot("x\n1\n", tmp_path)
    assert (info.rows, info.columns) == (1, {"x": "integer"})
    with pytest.raises(DataError, match="no column is left as a feature"):
        tables.signature(back(info).rename({"x": "y"}), SPEC)


@pytest.mark.parametrize("text", ["x,y\n", "x,y"])
def test_a_header_without_rows(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"odd\.csv: 0 rows"):
        snapshot(text, tmp_path)


def test_two_thousand_columns_in_row_groups_that_fit_in_memory(tmp_path: Path) -> None:
    wide = pl.DataFrame({f"c{i:04d}": range(3_000) for i in range(2_000)})
    info = snapshot(wide, tmp_path)
    assert back(info).equals(wide)
    footer = pq.read_metadata(info.path)
    assert footer.row_group(0).num_rows == 2_000
    assert len(tables.signature(wide, SPEC.model_copy(update={"target": "c0000"})).columns) == 1_999


def test_columns_of_nulls_and_of_one_value(tmp_path: Path) -> None:
    info = snapshot("void,same,y\n,7,1\n,7,2\n", tmp_path)
    void, same = tables.signature(back(info), SPEC).columns[::-1]
    assert (void.kind, void.nullable, void.categories) == ("category", True, [])
    assert (same.low, same.high) == (7.0, 7.0)


def test_a_column_with_numbers_and_text_is_text_and_keeps_what_was_written(tmp_path: Path) -> None:
    info = snapshot("code,y\n1,1\n007,2\nx,3\n2.50,4\n", tmp_path)
    assert info.columns["code"] == "category"
    assert back(info)["code"].to_list() == ["1", "007", "x", "2.50"]


def test_names_in_any_script(tmp_path: Path) -> None:
    info = snapshot('größe,город,"a,b",😀\n1,x,2,3\n', tmp_path)
    assert back(info).columns == sorted(["größe", "город", "a,b", "😀"])


@pytest.mark.parametrize("header", ["x,,y", "x,' ',y"])
def test_columns_without_a_name_are_counted(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"odd\.csv: columns without a name: number 2"):
        snapshot(header.replace("'", "") + "\n1,2,3\n", tmp_path)


def test_integers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    big = [2**53 + 1, 2**63 - 1, -(2**63)]
    for source in (pl.DataFrame({"x": big}), "x\n" + "\n".join(map(str, big)) + "\n"):
        assert back(snapshot(source, tmp_path))["x"].to_list() == big
    whole = pl.DataFrame({"x": [Decimal(2**53 + 1)], "y": pl.Series([255], dtype=pl.UInt8)})
    found = back(snapshot(whole, tmp_path))
    assert found["x"].to_list() == [2**53 + 1]
    assert found.dtypes == [pl.Int64, pl.Int64]


@pytest.mark.parametrize(
    "beyond",
    [
        "x\n1\n9223372036854775808\n",
        "x\n1\n" + "9" * 60 + "\n",
        pl.DataFrame({"x": pl.Series([2**64 - 1], dtype=pl.UInt64)}),
        pl.DataFrame({"x": [Decimal(10**25)]}),
    ],
    ids=["csv", "csv-60-digits", "uint64", "decimal"],
)
def test_integers_beyond_64_bits_are_refused(tmp_path: Path, beyond: pl.DataFrame | str) -> None:
    with pytest.raises(DataError, match=r"odd\.(csv|parquet): .*column 'x'.*store them as text"):
        snapshot(beyond, tmp_path)


def test_dates_in_several_forms_are_refused_by_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"odd\.csv: .*'when'.*write all dates .* in one form"):
        snapshot("x,when\n1,2020-01-02\n2,03/04/2020\n3,5.6.2020\n", tmp_path)


def test_dates_in_one_form_are_dates(tmp_path: Path) -> None:
    found = back(snapshot("day,at\n2020-02-29,2020-02-29T01:00:00+02:00\n", tmp_path))
    assert found.rows() == [(datetime(2020, 2, 28, 23), date(2020, 2, 29))]


def test_a_hundred_thousand_categories(tmp_path: Path) -> None:
    many = pl.DataFrame({"c": [f"c{i}" for i in range(100_000)], "y": range(100_000)})
    info = snapshot(many, tmp_path)
    assert back(info).equals(many)
    (column,) = tables.signature(back(info), SPEC).columns
    assert column.categories is None, "so many would not fit in a signature"


def test_other_encodings_are_refused_by_line_and_column(tmp_path: Path) -> None:
    for text, encoding, where in [
        ("a,city\n1,rome\n2,malmö\n", "latin-1", r"line 3, column 'city': not UTF-8"),
        ("a,größe\n1,2\n", "latin-1", r"line 1, column 2: not UTF-8"),
        ("a,b\n" + "1,2\n" * 50_000 + "1,é\n", "latin-1", r"line 50002, column 'b'"),
        ("a,b\n1,2\n", "utf-16", "line 1"),
    ]:
        with pytest.raises(DataError, match=rf"odd\.csv: .*{where}"):
            snapshot(text.encode(encoding), tmp_path)
    marked = snapshot("a,b\n1,ö\n".encode("utf-8-sig"), tmp_path)
    assert back(marked).rows() == [(1, "ö")]


def test_files_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"odd\.csv: cut off: the last row has 1 of 2 columns"):
        snapshot("a,b\n1,2\n3", tmp_path)
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"x": range(100_000)}).write_parquet(whole)
    for size in (0, 3, 1_000, whole.stat().st_size - 9):
        cut = tmp_path / "cut.parquet"
        cut.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(DataError, match=r"cut\.parquet: not a readable Parquet file"):
            tables.write_snapshot(cut, tmp_path)


def test_more_fields_than_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"odd\.csv: cannot be read to its end: .*more fields"):
        snapshot("a,b\n1,2\n1,2,3\n", tmp_path)


def test_equal_rows_give_equal_bytes_whatever_they_came_in(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "n": [None if i % 7 == 0 else i / 3 for i in range(120_000)],
            "i": range(120_000),
            "c": [f"c{i % 97}" for i in range(120_000)],
        }
    )
    found = set()
    for place, (size, columns, how) in enumerate(
        [
            (500, "nic", {}),
            (120_000, "cin", {"i": pl.Int32}),
            (33_333, "icn", {"c": pl.Categorical}),
        ]
    ):
        folder = tmp_path / f"{place}"
        folder.mkdir()
        other = rows.select(list(columns)).cast(how)  # type: ignore[arg-type]
        other.write_parquet(folder / "odd.parquet", row_group_size=size)
        found.add(tables.write_snapshot(folder / "odd.parquet", folder).path.read_bytes())
    parts = [rows[:10], rows[10:70_001], rows[70_001:]]
    for i, part in enumerate(parts):
        part.write_parquet(tmp_path / f"{i}.parquet")
    listed = [tables.Part(tmp_path / f"{i}.parquet", f"{i}") for i in range(3)]
    found.add(tables.write_parts(listed, tmp_path / "parts.parquet").path.read_bytes())
    assert len(found) == 1


CORES = """
import sys
from pathlib import Path
from andon.adapters import tables
tables.write_snapshot(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_equal_rows_give_equal_bytes_on_any_number_of_cores(tmp_path: Path) -> None:
    pl.DataFrame(
        {"x": [i * 0.1 for i in range(300_000)], "c": [f"{i % 50}" for i in range(300_000)]}
    ).write_parquet(tmp_path / "rows.parquet", row_group_size=10_000)
    found = set()
    for cores in ("1", "2", "9"):
        folder = tmp_path / cores
        folder.mkdir()
        command = [sys.executable, "-c", CORES, tmp_path / "rows.parquet", folder]
        subprocess.run(command, check=True, env={"POLARS_MAX_THREADS": cores})
        found.add((folder / tables.SNAPSHOT).read_bytes())
    assert len(found) == 1


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / tables.SNAPSHOT).symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"{tables.SNAPSHOT}: cannot write: .*No space left"):
        snapshot(pl.DataFrame({"x": range(100_000)}), tmp_path)


# --- several files as one


def parts(folder: Path, *given: pl.DataFrame | str) -> list[tables.Part]:
    made = []
    for i, it in enumerate(given):
        path = folder / (f"{i}.csv" if isinstance(it, str) else f"{i}.parquet")
        path.write_text(it) if isinstance(it, str) else it.write_parquet(path)
        made.append(tables.Part(path, f"part-{i}"))
    return made


def joined(folder: Path, *given: pl.DataFrame | str) -> pl.DataFrame:
    return back(tables.write_parts(parts(folder, *given), folder / "all.parquet"))


def test_columns_may_stand_in_another_order_and_integers_may_meet_fractions(tmp_path: Path) -> None:
    found = joined(tmp_path, "x,y\n1,a\n", "y,x\nb,2.5\n", pl.DataFrame({"x": [None], "y": ["c"]}))
    assert found.to_dict(as_series=False) == {"x": [1.0, 2.5, None], "y": ["a", "b", "c"]}


def test_a_column_that_is_empty_in_one_file_takes_the_others_type(tmp_path: Path) -> None:
    found = joined(tmp_path, "x,y\n,1\n", "x,y\n2020-01-01,2\n")
    assert found["x"].to_list() == [None, date(2020, 1, 1)]


def test_files_that_differ_name_file_and_column(tmp_path: Path) -> None:
    for other, wanted in [
        ("x,z\n1,2\n", r"part-1: lacks the columns 'y' and has the columns 'z', unlike part-0"),
        ("x,y\n1,text\n", r"part-1: column 'y' is category, but integer in part-0"),
        ("x,y\n1,2020-01-01\n", r"part-1: column 'y' is date, but integer in part-0"),
    ]:
        with pytest.raises(DataError, match=wanted):
            joined(tmp_path, "x,y\n1,2\n", other)


def test_no_digit_is_lost_where_integers_meet_fractions(tmp_path: Path) -> None:
    for big in (2**53 + 1, -(2**63)):
        with pytest.raises(DataError, match=r"part-0: 'x': integers beyond 2\*\*53"):
            joined(tmp_path, f"x\n{big}\n", "x\n0.5\n")


def test_of_many_files_the_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = "x,y\n1,2020-01-01\n"
    bad = "x,y\n1,2020-01-01\n2,1.2.2020\n"
    with pytest.raises(DataError, match=r"part-1: cannot be read to its end: .*'y'"):
        joined(tmp_path, good, bad, good)
