"""The log: soon on the disk, never in the way, honest about what it lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support import wait_until

from serving.log import Log


def lines(count: int, start: int = 0) -> list[bytes]:
    return [b'{"n":%d}\n' % number for number in range(start, start + count)]


def written(folder: Path) -> list[int]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line)["n"] for path in files for line in path.read_text().splitlines()]


def test_lines_are_written_soon_without_being_asked_for(tmp_path):
    log = Log(tmp_path / "a" / "b")
    assert not log.folder.exists()
    log.put(lines(3))
    wait_until(lambda: written(log.folder) == [0, 1, 2], 30, "the lines are in the file")
    log.put(lines(2, 3))
    wait_until(lambda: written(log.folder) == [0, 1, 2, 3, 4], 30, "later lines follow")
    log.close()


def test_closing_writes_what_waits(tmp_path):
    log = Log(tmp_path, interval=3600)
    for start in range(0, 1_000, 10):
        log.put(lines(10, start))
    log.close()
    assert written(tmp_path) == list(range(1_000))
    assert (log.rows, log.dropped) == (1_000, 0)


def test_who_asks_for_it_knows_that_the_lines_are_on_the_disk(tmp_path):
    log = Log(tmp_path, interval=3600)
    log.put(lines(1))
    assert log.put_safely(lines(2, 1)).result(60)
    assert written(tmp_path) == [0, 1, 2]
    log.close()


def test_a_full_queue_drops_and_counts(tmp_path):
    log = Log(tmp_path, interval=3600, capacity=80)
    log.put(lines(10))
    log.put(lines(10))
    assert not log.put_safely(lines(1)).result(60)
    assert log.dropped == 11
    log.close()
    assert written(tmp_path) == list(range(10))
    log.put(lines(1))
    assert log.dropped == 12


def test_a_disk_error_is_counted_and_the_log_comes_back(tmp_path, capsys):
    folder = tmp_path / "log"
    folder.write_text("a file where the folder should be")
    log = Log(folder)
    assert not log.put_safely(lines(2)).result(60)
    assert not log.put_safely(lines(1)).result(60)
    assert (log.errors, log.dropped, log.rows) == (2, 3, 0)
    assert capsys.readouterr().err.count("log not written") == 1
    folder.unlink()
    assert log.put_safely(lines(1, 7)).result(60)
    log.close()
    assert written(folder) == [7]


FULL_DISK = """
import resource, sys
from pathlib import Path
from serving.log import Log
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
log = Log(Path(sys.argv[1]))
line = b'{"n":%03d}\\n'
assert log.put_safely([line % n for n in range(100, 150)]).result(60)
assert not log.put_safely([line % n for n in range(200, 300)]).result(60)
assert log.put_safely([line % n for n in range(300, 320)]).result(60)
log.close()
assert (log.rows, log.dropped, log.errors) == (70, 100, 1)
"""


def test_a_disk_that_fills_up_leaves_no_half_lines(tmp_path):
    subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], check=True, timeout=60)
    assert written(tmp_path) == [*range(100, 150), *range(300, 320)]


def test_two_logs_of_one_moment_have_files_of_their_own(tmp_path):
    first, second = (Log(tmp_path, clock=lambda: 5.0) for _ in range(2))
    assert first.put_safely(lines(1)).result(60)
    assert second.put_safely(lines(1, 1)).result(60)
    first.close()
    second.close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert written(tmp_path) == [0, 1]
