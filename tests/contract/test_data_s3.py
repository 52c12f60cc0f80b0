"""Data in S3, and a DVC remote there, against a real server that speaks S3 over HTTP."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from data_kit import DATA, S3, add, make_project, s3_server

from andon.adapters import dvc
from andon.adapters.sources.s3 import matches
from andon.errors import DataError

# aiobotocore leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3) -> str:
    name = f"rows-{uuid4().hex[:8]}"
    s3.bucket(name)
    return name


def put(s3: S3, bucket: str, key: str, content: str | bytes) -> None:
    body = content.encode() if isinstance(content, str) else content
    s3.client().put_object(Bucket=bucket, Key=key, Body=body)


def test_an_object_and_a_glob_of_objects(s3: S3, bucket: str, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for key, y in [("a/2.csv", 2), ("a/1.csv", 1), ("a/b/3.csv", 3), ("a/1.csv.bak", 9)]:
        put(s3, bucket, key, f"y\n{y}\n")
    for url, wanted in [
        (f"s3://{bucket}/a/1.csv", [1]),
        (f"s3://{bucket}/a/*.csv", [1, 2]),
        (f"s3://{bucket}/**/*.csv", [1, 2, 3]),
        (f"s3://{bucket}/a/[13].csv", [1]),
    ]:
        assert add(project, url).source == url
        assert pl.read_parquet(project / DATA)["y"].to_list() == wanted


@pytest.mark.parametrize(
    ("key", "pattern", "wanted"),
    [
        ("a/b.csv", "*.csv", False),
        ("a/b.csv", "**/*.csv", True),
        ("b.csv", "**/*.csv", True),
        ("a/b/c/d.csv", "a/**/d.csv", True),
        ("a/bx.csv", "a/b?.csv", True),
        ("a/b/x.csv", "a/b?x.csv", False),
    ],
)
def test_a_star_stays_in_its_folder(key: str, pattern: str, wanted: bool) -> None:
    assert matches(key, pattern) is wanted


def test_what_s3_cannot_give_is_said(s3: S3, bucket: str, tmp_path: Path, monkeypatch) -> None:
    project = make_project(tmp_path)
    put(s3, bucket, "good.csv", "y\n1\n")
    put(s3, bucket, "cut.parquet", b"PAR1 and no more")
    add(project, f"s3://{bucket}/good.csv")
    before = (project / DATA).read_bytes()
    for url, wanted in [
        (f"s3://{bucket}/gone.csv", r"gone\.csv: no object matches"),
        (f"s3://{bucket}/gone/*.csv", "no object matches"),
        ("s3://no-such-bucket/x.csv", "no-such-bucket/x.csv: S3 says: .*NoSuchBucket"),
        (f"s3://{bucket}/cut.parquet", rf"s3://{bucket}/cut\.parquet: not a readable Parquet"),
        (f"s3://{bucket}", "names no object"),
        ("http://host/x.csv", r"wanted a path, a glob or s3://"),
    ]:
        with pytest.raises(DataError, match=wanted):
            add(project, url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match="no AWS credentials; set AWS_PROFILE"):
        add(project, f"s3://{bucket}/good.csv")
    assert (project / DATA).read_bytes() == before


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(DataError, match=r"S3 needs boto3; install the extra: .*andon\[s3\]"):
        add(make_project(tmp_path), "s3://bucket/x.csv")


# --- a DVC remote in S3


def remote(s3: S3, bucket: str, folder: Path) -> Path:
    """A project whose data is tracked, and pushed to S3; nothing of it is left here."""
    project = make_project(folder, url=f"s3://{bucket}/store\n    endpointurl = {s3.url}")
    (project / "rows.csv").write_text("y\n1\n2\n")
    add(project, "rows.csv")
    assert dvc.push(project, DATA) == "store"
    return forget(project)


def forget(project: Path) -> Path:
    shutil.rmtree(project / ".dvc" / "cache")
    (project / DATA).unlink()
    return project


def only_key(s3: S3, bucket: str) -> str:
    (found,) = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    return str(found["Key"])


def test_data_comes_back_from_s3(s3: S3, bucket: str, tmp_path: Path) -> None:
    project = remote(s3, bucket, tmp_path)
    assert pl.read_parquet(dvc.fetch(project, DATA))["y"].to_list() == [1, 2]


def test_a_damaged_object_is_no_data(s3: S3, bucket: str, tmp_path: Path) -> None:
    project = remote(s3, bucket, tmp_path)
    key = only_key(s3, bucket)
    whole = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    put(s3, bucket, key, whole[:-1])
    with pytest.raises(DataError, match=rf"damaged in the remote 'store': s3://{bucket}/{key}"):
        dvc.fetch(project, DATA)
    assert not (project / DATA).exists()
    put(s3, bucket, key, whole)
    assert dvc.fetch(project, DATA).read_bytes() == whole, "damage was kept in the cache"


def test_a_remote_that_stops_is_said_and_comes_back(tmp_path: Path) -> None:
    with s3_server() as server:
        server.bucket("rows")
        project = remote(server, "rows", tmp_path)
        server.stop()
        with pytest.raises(DataError, match="the remote 'store' does not answer as it should"):
            dvc.fetch(project, DATA)
        assert not (project / DATA).exists()
        (project / "rows.csv").write_text("y\n1\n2\n")
        add(project, "rows.csv")
        with pytest.raises(DataError, match="the remote 'store' does not answer as it should"):
            dvc.push(project, DATA)
        server.start()  # empty: its store was in memory
        server.bucket("rows")
        assert dvc.push(project, DATA) == "store"
        assert dvc.fetch(forget(project), DATA).is_file()


def test_s3_that_stops_is_said(tmp_path: Path) -> None:
    with s3_server() as server:
        server.bucket("rows")
        put(server, "rows", "a.csv", "y\n1\n")
        project = make_project(tmp_path)
        add(project, "s3://rows/a.csv")
        before = (project / DATA).read_bytes()
        server.stop()
        with pytest.raises(DataError, match=r"s3://rows/a\.csv: S3 says: Could not connect"):
            add(project, "s3://rows/a.csv")
        assert (project / DATA).read_bytes() == before
