"""A remote that is gone, cut or rotten: nothing of it becomes data, or stays in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from data_kit import DATA, make_project

from andon.adapters import dvc
from andon.errors import DataError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = make_project(tmp_path)
    (made / DATA).parent.mkdir()
    pl.DataFrame({"y": range(10_000)}).write_parquet(made / DATA)
    dvc.track(made, DATA)
    return made


def stored(project: Path) -> Path:
    """The object in the remote."""
    md5, _ = dvc.tracked(project, DATA)
    return project / "remote" / "files" / "md5" / md5[:2] / md5[2:]


def forget(project: Path) -> None:
    """What another machine has: the pointer, and no content."""
    shutil.rmtree(project / ".dvc" / "cache")
    (project / DATA).unlink()


def write(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def flipped(whole: bytes) -> bytes:
    return whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]


@pytest.mark.parametrize(
    "damage", [flipped, lambda it: it[:-1], lambda it: it[: len(it) // 2], lambda _: b""],
    ids=["one bit", "one byte short", "half", "empty"],
)  # fmt: skip
def test_damage_in_a_remote_is_an_error_and_is_not_kept(
    project: Path, damage: Callable[[bytes], bytes]
) -> None:
    dvc.push(project, DATA)
    whole = stored(project).read_bytes()
    write(stored(project), damage(whole))
    forget(project)
    for _ in range(2):
        with pytest.raises(DataError, match=r"damaged in the remote 'store': .*it was not used"):
            dvc.fetch(project, DATA)
    assert not (project / DATA).exists()
    write(stored(project), whole)
    assert dvc.fetch(project, DATA).read_bytes() == whole


def test_a_half_uploaded_object_is_replaced_by_the_next_push(project: Path) -> None:
    dvc.push(project, DATA)
    write(stored(project), stored(project).read_bytes()[:100])
    dvc.push(project, DATA)
    assert dvc.md5_of(stored(project)) == dvc.tracked(project, DATA)[0]


def test_a_remote_that_is_gone(project: Path) -> None:
    dvc.push(project, DATA)
    shutil.rmtree(project / "remote")
    forget(project)
    with pytest.raises(DataError, match="neither in DVC's cache nor in its remote"):
        dvc.fetch(project, DATA)


def test_a_remote_that_cannot_be_written(project: Path) -> None:
    (project / "remote").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="the remote 'store' does not answer as it should: "):
        dvc.push(project, DATA)


def test_without_a_remote_nothing_is_pushed(project: Path) -> None:
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    assert dvc.push(project, DATA) is None
    forget(project)
    with pytest.raises(DataError, match="neither in DVC's cache nor in its remote"):
        dvc.fetch(project, DATA)


def test_a_rotten_cache_is_mended_from_the_remote(project: Path) -> None:
    dvc.push(project, DATA)
    whole = stored(project).read_bytes()
    md5, _ = dvc.tracked(project, DATA)
    write(project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:], flipped(whole))
    (project / DATA).unlink()
    assert dvc.fetch(project, DATA).read_bytes() == whole
    assert dvc.content(project, md5, "toy").read_bytes() == whole


def test_a_content_that_nobody_has(project: Path) -> None:
    with pytest.raises(DataError, match=r"old data: MD5 0{32} is neither"):
        dvc.content(project, "0" * 32, "old data")
