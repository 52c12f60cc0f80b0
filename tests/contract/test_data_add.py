"""New data for a model, from files and from databases: all of it, or the old data stays."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from data_kit import DATA, SPEC, add, make_project
from support import REPOSITORY

from andon.adapters import dvc
from andon.errors import DataError
from andon.spec import FilesSource, SqlSource

PYTHONPATH = os.pathsep.join(map(str, (Path(__file__).parent, REPOSITORY / "tests")))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def contents(project: Path) -> dict[str, bytes]:
    """The data, its pointer, and whatever else lies there."""
    folder = (project / DATA).parent
    return {it.name: it.read_bytes() for it in folder.iterdir() if it.is_file()}


def test_a_file_becomes_canonical_parquet_whose_hash_is_its_name(project: Path) -> None:
    (project / "a.csv").write_text("y,x\n1,a\n2,\n")
    found = add(project, "a.csv")
    assert (found.rows, found.columns) == (2, {"x": "category", "y": "integer"})
    assert found.hash == dvc.md5_of(project / DATA) == dvc.tracked(project, DATA)[0]
    assert found.before is None
    (project / "b.csv").write_text("x,y\na,1\n,2\n")
    again = add(project, "b.csv")
    assert (again.hash, again.before) == (found.hash, found.hash), "columns in another order"
    assert {it.name for it in (project / DATA).parent.iterdir()} <= {
        "toy.parquet",
        "toy.parquet.dvc",
        ".gitignore",
    }


def test_a_glob_is_read_in_the_order_of_names(project: Path) -> None:
    for day in (2, 10, 1):
        (project / f"d{day:02}.csv").write_text(f"y\n{day}\n")
    assert add(project, "d*.csv").rows == 3
    assert pl.read_parquet(project / DATA)["y"].to_list() == [1, 2, 10]
    source = FilesSource(kind="files", path="../../d*.csv")  # as in model.yaml
    assert add(project, source).rows == 3


def test_data_can_be_made_canonical_where_it_is(project: Path) -> None:
    (project / DATA).parent.mkdir()
    pl.DataFrame({"y": [1], "x": [2]}).write_parquet(project / DATA)
    add(project, str(DATA))
    assert pl.read_parquet(project / DATA).columns == ["x", "y"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("gone.csv", r"gone\.csv: no such file"),
        ("gone/*.csv", r"gone/\*\.csv: no file matches"),
        ("models", r"models: a folder; give a glob .*models/\*\.parquet"),
        ("andon.yaml", r"andon\.yaml: ends in '\.yaml', wanted"),
        ("empty.csv", r"empty\.csv: 0 rows"),
        ("other.csv", r"model\.yaml names columns that the data lacks: y; there are: x"),
        ("models/toy/data/*.parquet", r"matches models/toy/data/toy\.parquet, too"),
    ],
)
def test_after_an_error_the_old_data_is_there(project: Path, source: str, wanted: str) -> None:
    (project / "good.csv").write_text("y\n1\n")
    (project / "empty.csv").write_text("y\n")
    (project / "other.csv").write_text("x\n1\n")
    add(project, "good.csv")
    (project / DATA).with_name("b.parquet").write_bytes((project / DATA).read_bytes())
    before = contents(project)
    with pytest.raises(DataError, match=wanted):
        add(project, source)
    assert contents(project) == before
    assert [it for it in (project / DATA).parent.iterdir() if it.is_dir()] == []


def test_if_dvc_fails_the_old_data_and_its_pointer_are_there(project: Path, monkeypatch) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    (project / "good.csv").write_text("y\n1\n")
    (project / "new.csv").write_text("y\n2\n")
    add(project, "good.csv")
    before = contents(project)

    def full(self: Repo, *_: object) -> None:
        (project / DATA).with_name("toy.parquet.dvc").unlink()
        raise DvcException("the disk is full")

    monkeypatch.setattr(dvc, "track", lambda *_: None)
    monkeypatch.setattr(Repo, "add", full)
    with pytest.raises(DataError, match=r"toy\.parquet: DVC says: the disk is full"):
        add(project, "new.csv")
    assert contents(project) == before


def test_changes_that_dvc_does_not_know_are_not_lost(project: Path) -> None:
    (project / "new.csv").write_text("y\n1\n")
    (project / DATA).parent.mkdir()
    (project / DATA).write_bytes(b"somebody's work")
    with pytest.raises(DataError, match="DVC does not know, and would be lost; run `dvc add"):
        add(project, "new.csv")
    assert (project / DATA).read_bytes() == b"somebody's work"
    assert add(project, "new.csv", force=True).rows == 1


def test_the_version_before_can_be_had_though_the_cache_was_emptied(project: Path) -> None:
    for text in ("y\n1\n", "y\n2\n"):
        (project / "new.csv").write_text(text)
        found = add(project, "new.csv")
        if found.before:
            old = dvc.content(project, found.before, "the old one")
            assert pl.read_parquet(old)["y"].to_list() == [1]
        shutil.rmtree(project / ".dvc" / "cache")


def test_only_parquet_is_written(project: Path) -> None:
    (project / "new.csv").write_text("y\n1\n")
    with pytest.raises(DataError, match=r"writes Parquet; name it data/toy\.parquet"):
        add(project, "new.csv", SPEC.model_copy(update={"data": "data/toy.csv"}))


def test_what_may_surprise_is_said(project: Path) -> None:
    (project / "new.csv").write_text(f"y,id,void\n1,{2**53 + 1},\n")
    assert add(project, "new.csv").notes == (
        "id: integers beyond 2**53; a pipeline is given them as float64",
        "void: nothing but nulls",
    )
    assert add(project, "new.csv", SPEC.model_copy(update={"key": "id"})).notes == (
        "void: nothing but nulls",
    )


def test_numbers_that_are_text_because_of_one_word_are_said(project: Path) -> None:
    (project / "new.csv").write_text("y,code,age\n1,1,7\n2,x,8\n3,z,n/a\n4,y,9\n")
    (note,) = add(project, "new.csv").notes
    assert note.startswith("age: is text, though 3 of its first 4 values are numbers")


def test_two_at_once_both_succeed(project: Path) -> None:
    """Two processes, two models, one DVC: and then two on one model."""
    code = """if True:
        import sys
        from pathlib import Path
        from data_kit import SPEC, add
        spec = SPEC.model_copy(update={"name": sys.argv[2]})
        print(add(Path(sys.argv[1]), sys.argv[3], spec).hash)
    """
    (project / "models" / "other").mkdir()
    for name in ("a", "b"):
        pl.DataFrame({"y": range(200_000), "x": [name] * 200_000}).write_parquet(
            project / f"{name}.parquet"
        )
    for models in (("toy", "other"), ("toy", "toy")):
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", code, project, model, f"{file}.parquet"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": PYTHONPATH},
            )
            for model, file in zip(models, ("a", "b"), strict=True)
        ]
        said = [run.communicate(timeout=120) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], said
        for model in models:
            data = Path("models") / model / "data" / "toy.parquet"
            assert dvc.md5_of(project / data) == dvc.tracked(project, data)[0]
            assert dvc.tracked(project, data)[0] in {out.strip() for out, _ in said}


FULL = """
import resource, signal, sys
from pathlib import Path
from data_kit import add
from andon.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    add(Path(sys.argv[1]), "big.parquet")
except DataError as error:
    sys.exit(f"DataError {error}")
"""


def test_where_nothing_more_can_be_written_the_old_data_is_there(project: Path) -> None:
    """Files end at 20 kB, in a process of its own: as on a disk that is full."""
    (project / "good.csv").write_text("y\n1\n")
    pl.DataFrame({"y": [i * 0.37 for i in range(50_000)]}).write_parquet(project / "big.parquet")
    add(project, "good.csv")
    before = contents(project)
    run = subprocess.run(
        [sys.executable, "-c", FULL, project],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert run.stderr.startswith("DataError")
    assert "cannot write: " in run.stderr
    assert contents(project) == before
    assert [it for it in (project / DATA).parent.iterdir() if it.is_dir()] == []


# --- databases


def query(text: str) -> SqlSource:
    return SqlSource(kind="sql", query=text, url_variable="TOY_URL")


@pytest.fixture
def sqlite(project: Path, monkeypatch) -> sqlite3.Connection:
    monkeypatch.setenv("TOY_URL", f"sqlite:///{project / 'rows.db'}")
    with sqlite3.connect(project / "rows.db") as connection:
        connection.execute("CREATE TABLE t (x INTEGER, y REAL, c TEXT)")
    yield connection
    connection.close()


def test_the_rows_of_a_query_come_in_pieces(project: Path, sqlite: sqlite3.Connection) -> None:
    rows = [(None if i < 60_000 else i, i / 2, f"c{i % 9}") for i in range(120_000)]
    sqlite.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    sqlite.commit()
    found = add(project, query("SELECT y, x, c FROM t ORDER BY y"))
    assert found.columns == {"c": "category", "x": "integer", "y": "number"}
    schema = {"x": pl.Int64, "y": pl.Float64, "c": pl.String}
    wanted = pl.DataFrame(rows, schema=schema, orient="row").select("c", "x", "y")
    assert pl.read_parquet(project / DATA).equals(wanted)
    wanted.write_csv(project / "same.csv")
    assert add(project, "same.csv").hash == found.hash, "the same rows, by another way"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT * FROM nowhere", r"source\.query: sqlite:.* says: no such table: nowhere"),
        ("SELEC 1", r"source\.query: .* says: near"),
        ("SELECT x AS y, y FROM t", r"source\.query: columns stand twice: y; use AS"),
        ("SELECT y FROM t WHERE x > 9", "0 rows"),
        ("SELECT y, x'00ff' AS raw FROM t", r"rows 1 to 2: column 'raw' is bytes"),
        ("SELECT y, 'a' AS m FROM t UNION SELECT 7, 8", r"column 'm' is int and str"),
        ("SELECT y, 1e15*1e15 AS f, c FROM t UNION SELECT 1, 9007199254740993, 1", "beyond 2"),
        ("DELETE FROM t", r"source\.query: gives no rows; it has to be a SELECT"),
    ],
)
def test_queries_that_cannot_be_used(
    project: Path, sqlite: sqlite3.Connection, text: str, wanted: str
) -> None:
    sqlite.executemany("INSERT INTO t VALUES (?, ?, ?)", [(1, 2.0, "a"), (2, 3.0, "b")])
    sqlite.commit()
    with pytest.raises(DataError, match=wanted):
        add(project, query(text))
    assert sqlite.execute("SELECT count(*) FROM t").fetchone() == (2,)
    assert not (project / DATA).exists()


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (None, "the environment has no TOY_URL"),
        ("user:secret@nowhere", "not an SQLAlchemy URL"),
        ("nosuch://user:secret@host/db", "no such kind of database"),
        ("mysql+pymysql://user:secret@host/db", "driver is missing"),
        ("postgresql://user:secret@127.0.0.1:9/db", r"postgresql\+psycopg://user:\*\*\*@.* says"),
    ],
)
def test_databases_that_cannot_be_reached(
    project: Path, monkeypatch, url: str | None, wanted: str
) -> None:
    monkeypatch.setenv("TOY_URL", url) if url else monkeypatch.delenv("TOY_URL", raising=False)
    with pytest.raises(DataError, match=wanted) as caught:
        add(project, query("SELECT 1 AS y"))
    assert "secret" not in str(caught.value)


def test_types_of_postgresql(project: Path, postgresql_url: str, monkeypatch) -> None:
    monkeypatch.setenv("TOY_URL", postgresql_url)
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as tx:
        tx.execute(
            sa.text(
                "CREATE TABLE t AS SELECT i AS y, i::bigint + 9007199254740993 AS big, "
                "(i::numeric / 4)::numeric(12, 2) AS money, 12345678901234567::numeric AS whole, "
                "i % 2 = 0 AS even, date '2020-02-29' AS day, 'ü%s:x' AS text, "
                "timestamptz '2020-01-01 01:00+02' AS moment, NULL::int AS void, "
                "'00000000-0000-0000-0000-000000000001'::uuid AS ident "
                "FROM generate_series(1, 120000) AS i"
            )
        )
    engine.dispose()
    found = add(project, query("SELECT * FROM t WHERE text LIKE 'ü%' ORDER BY y"))
    assert found.rows == 120_000
    assert pl.read_parquet(project / DATA).row(2, named=True) == {
        "big": 9_007_199_254_740_996,
        "day": date(2020, 2, 29),
        "even": False,
        "ident": "00000000-0000-0000-0000-000000000001",
        "moment": datetime(2019, 12, 31, 23),
        "money": 0.75,
        "text": "ü%s:x",
        "void": None,
        "whole": 12_345_678_901_234_567,
        "y": 3,
    }
