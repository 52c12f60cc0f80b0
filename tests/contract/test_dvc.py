"""DVC for real: one project and one line's state in a temporary folder."""

import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from andon.adapters import dvc
from andon.errors import DataError
from andon.settings import Settings

DATA = Path("models/toy/data/toy.parquet")
CONFIG = """[core]
    remote = local
    analytics = false
['remote "local"']
    url = ../.andon/dvc/remote
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without Git, as an unpacked copy would be."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(CONFIG)
    (tmp_path / DATA).parent.mkdir(parents=True)
    pl.DataFrame({"x": range(100)}).write_parquet(tmp_path / DATA)
    return tmp_path


@pytest.fixture
def pushed(project: Path) -> Path:
    """The same, with its data tracked and pushed."""
    dvc.track(project, DATA)
    dvc.push(project, DATA)
    return project


def test_tracking_writes_a_pointer_with_the_md5_and_the_size(project: Path) -> None:
    md5 = dvc.track(project, DATA)
    assert md5 == dvc.md5_of(project / DATA)
    assert dvc.tracked(project, DATA) == (md5, (project / DATA).stat().st_size)
    assert dvc.tracked(project, project / DATA)[0] == md5


def test_in_a_git_repository_the_data_is_ignored_and_the_pointer_is_not(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    dvc.track(project, DATA)
    ask = ["git", "check-ignore", "-q"]
    assert subprocess.run([*ask, DATA], cwd=project, check=False).returncode == 0
    assert subprocess.run([*ask, f"{DATA}.dvc"], cwd=project, check=False).returncode == 1


def test_data_without_a_pointer_says_how_to_track_it(project: Path) -> None:
    with pytest.raises(DataError, match=f"{DATA}: not tracked by DVC; run `dvc add {DATA}`"):
        dvc.fetch(project, DATA)
    (project / DATA).unlink()
    with pytest.raises(DataError, match="the data file is not there either"):
        dvc.fetch(project, DATA)


@pytest.mark.parametrize("text", ["", "outs: []", "outs:\n- path: x", "\tnot yaml", "[]"])
def test_a_malformed_pointer_is_named(project: Path, text: str) -> None:
    dvc.pointer(project / DATA).write_text(text)
    with pytest.raises(DataError, match=r"toy\.parquet\.dvc: not a DVC pointer"):
        dvc.fetch(project, DATA)


def test_tracked_folders_are_refused(project: Path) -> None:
    dvc.pointer(project / DATA).write_text(
        "outs:\n- md5: abc.dir\n  size: 1\n  path: toy.parquet\n"
    )
    with pytest.raises(DataError, match="a folder"):
        dvc.fetch(project, DATA)


def test_a_missing_file_comes_from_the_cache(pushed: Path) -> None:
    shutil.rmtree(pushed / ".andon")
    before = dvc.md5_of(pushed / DATA)
    (pushed / DATA).unlink()
    assert dvc.md5_of(dvc.fetch(pushed, DATA)) == before


def test_a_missing_file_that_is_not_in_the_cache_comes_from_the_remote(pushed: Path) -> None:
    shutil.rmtree(pushed / ".dvc" / "cache")
    before = dvc.md5_of(pushed / DATA)
    (pushed / DATA).unlink()
    assert dvc.md5_of(dvc.fetch(pushed, DATA)) == before


def test_a_file_that_nobody_has_says_what_to_run(pushed: Path) -> None:
    shutil.rmtree(pushed / ".dvc" / "cache")
    shutil.rmtree(pushed / ".andon")
    (pushed / DATA).unlink()
    with pytest.raises(DataError, match=f"make data.*dvc pull {DATA}.dvc"):
        dvc.fetch(pushed, DATA)


def test_a_changed_file_is_refused_with_both_md5s(pushed: Path) -> None:
    md5, _ = dvc.tracked(pushed, DATA)
    (pushed / DATA).write_bytes(b"other")
    other = dvc.md5_of(pushed / DATA)
    with pytest.raises(DataError, match=f"(?s){other}.*{md5}.*dvc add {DATA}"):
        dvc.fetch(pushed, DATA)
    assert (pushed / DATA).read_bytes() == b"other", "a fetch overwrote somebody's work"


def test_a_rotten_cache_never_becomes_data(pushed: Path) -> None:
    md5, _ = dvc.tracked(pushed, DATA)
    shutil.rmtree(pushed / ".andon")
    content = pushed / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    content.chmod(0o644)
    content.write_bytes(b"rotten")
    (pushed / DATA).unlink()
    with pytest.raises(DataError, match=md5):
        dvc.fetch(pushed, DATA)


def test_without_a_dvc_repository_a_present_file_is_enough(pushed: Path) -> None:
    shutil.rmtree(pushed / ".dvc")
    assert dvc.fetch(pushed, DATA) == pushed / DATA
    (pushed / DATA).unlink()
    with pytest.raises(DataError, match="no DVC repository; run `dvc init`"):
        dvc.fetch(pushed, DATA)


def test_it_waits_for_a_dvc_in_a_terminal(project: Path) -> None:
    import zc.lockfile

    (project / ".dvc" / "tmp").mkdir()
    lock = zc.lockfile.LockFile(str(project / ".dvc" / "tmp" / "lock"))
    timer = threading.Timer(4.0, lock.close)  # longer than DVC itself waits
    timer.start()
    try:
        md5 = dvc.track(project, DATA)
    finally:
        timer.join()
    assert dvc.tracked(project, DATA)[0] == md5


def test_it_does_not_wait_for_ever(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(dvc, "LOCK_SECONDS", 0.2)
    (project / ".dvc" / "tmp").mkdir()
    with (project / ".dvc" / "tmp" / "andon.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another run holds DVC"):
            dvc.track(project, DATA)


MANY = """
import sys
from pathlib import Path
from andon.adapters import dvc
from andon.settings import Settings
project, name = Path(sys.argv[1]), sys.argv[2]
dvc.fetch(project, Path(sys.argv[3]))
dvc.add_live(Settings(project=project), "toy", name, project / f"{name}.parquet")
"""


def test_many_at_once_queue(pushed: Path) -> None:
    """Five runs want the same missing file, and each adds live data of its own."""
    (pushed / DATA).unlink()
    names = [f"live-{i}" for i in range(5)]
    for i, name in enumerate(names):
        pl.DataFrame({"x": [i]}).write_parquet(pushed / f"{name}.parquet")
    command = [sys.executable, "-c", MANY, str(pushed)]
    runs = [subprocess.Popen([*command, n, str(DATA)], stderr=subprocess.PIPE) for n in names]
    answers = [(run.communicate(timeout=120)[1], run.returncode) for run in runs]
    assert answers == [(b"", 0)] * 5
    settings = Settings(project=pushed)
    for i, name in enumerate(names):
        assert pl.read_parquet(dvc.fetch_live(settings, "toy", name))["x"].to_list() == [i]


def test_live_data_is_kept_by_name_and_content(project: Path) -> None:
    settings = Settings(project=project)
    md5 = dvc.add_live(settings, "toy", "window-1", project / DATA)
    assert md5 == dvc.md5_of(project / DATA)
    kept = dvc.fetch_live(settings, "toy", "window-1")
    assert dvc.md5_of(kept) == md5
    kept.unlink()
    assert dvc.md5_of(dvc.fetch_live(settings, "toy", "window-1")) == md5


def test_adding_the_same_live_data_again_changes_nothing(project: Path) -> None:
    settings = Settings(project=project)
    md5 = dvc.add_live(settings, "toy", "w", project / DATA)
    pointer = dvc.pointer(dvc.fetch_live(settings, "toy", "w"))
    before = pointer.stat().st_mtime_ns
    assert dvc.add_live(settings, "toy", "w", project / DATA) == md5
    assert pointer.stat().st_mtime_ns == before


def test_other_live_data_under_a_name_replaces_it(project: Path) -> None:
    settings = Settings(project=project)
    first = dvc.add_live(settings, "toy", "w", project / DATA)
    pl.DataFrame({"x": [7]}).write_parquet(project / "other.parquet")
    second = dvc.add_live(settings, "toy", "w", project / "other.parquet")
    assert second != first
    assert dvc.md5_of(dvc.fetch_live(settings, "toy", "w")) == second


def test_a_half_made_repository_of_a_killed_run_is_finished(project: Path) -> None:
    settings = Settings(project=project)
    (settings.state / "dvc" / ".dvc").mkdir(parents=True)
    md5 = dvc.add_live(settings, "toy", "w", project / DATA)
    assert dvc.md5_of(dvc.fetch_live(settings, "toy", "w")) == md5


def test_live_data_that_is_not_there_and_names_that_are_none(project: Path) -> None:
    settings = Settings(project=project)
    with pytest.raises(DataError, match="no live data set 'nope'"):
        dvc.fetch_live(settings, "toy", "nope")
    with pytest.raises(DataError, match="not a name"):
        dvc.add_live(settings, "toy", "../escape", project / DATA)


def test_it_says_nothing_on_a_terminal(project: Path) -> None:
    """DVC draws progress bars only where it sees a terminal, so the test has to be one."""
    terminal, inner = pty.openpty()
    code = "import sys; from pathlib import Path; from andon.adapters import dvc\n"
    code += "dvc.track(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    code += "dvc.push(Path(sys.argv[1]), Path(sys.argv[2])); print('done')"
    command = [sys.executable, "-c", code, str(project), str(DATA)]
    run = subprocess.Popen(command, stdout=inner, stderr=inner, stdin=inner)
    os.close(inner)
    said, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux: the other side has closed
            break
        if not part:
            break
        said += part
    os.close(terminal)
    assert run.wait(60) == 0
    # colorama, which DVC imports, resets the colours when Python ends.
    assert said.removesuffix(b"\x1b[0m") == b"done\r\n"
