"""The inference log's segments: soon on the disk, never in the way, honest about what was lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_kit import logged
from support import wait_until

from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.ids import new_ids
from serving.segments import ROWS, Pace, Segments
from serving.table import Row, Table

COLUMNS = [Column("x", "number"), Column("plan", "category")]
SCORED = Scored([1], [[0.25, 0.75]])


def manifest(**policy: Any) -> Manifest:
    log = LogPolicy(**policy)
    return Manifest("churn", "3", "binary", "y", "b", ["no", "yes"], 1, log=log)


def segments(folder: Path, pace: Pace | None = None, **options: Any) -> Segments:
    it = {"manifest": manifest(), "environment": "staging"} | options
    return Segments(folder, COLUMNS, it.pop("manifest"), pace=pace, **it)


def put(log: Segments, n: int) -> None:
    row: Row = (float(n), None if n % 3 else "basic")
    log.put([f"p{n}"], 1_000.0 + n, 1.5, False, [row], SCORED)


def numbers(folder: Path) -> list[int]:
    return sorted(int(row["id"][1:]) for row in logged(folder))


def test_rows_are_written_soon_without_being_asked_for(tmp_path):
    log = segments(tmp_path / "a" / "b")
    assert not log.folder.exists()
    for n in range(3):
        put(log, n)
    wait_until(lambda: numbers(log.folder) == [0, 1, 2], 30, "the rows are in a segment")
    put(log, 3)
    wait_until(lambda: numbers(log.folder) == [0, 1, 2, 3], 30, "later rows follow")
    log.close()
    row = logged(log.folder)[0]
    assert row["inputs"] == {"x": 0.0, "plan": "basic"}
    assert row["outputs"] == {"label": "yes", "score": 0.75}
    assert (row["model"], row["version"], row["environment"]) == ("churn", "3", "staging")


def test_closing_writes_what_waits(tmp_path):
    log = segments(tmp_path, Pace(interval=3600))
    for n in range(2 * ROWS + 7):
        put(log, n)
    log.close()
    assert numbers(tmp_path) == list(range(2 * ROWS + 7))
    assert (log.rows, log.dropped) == (2 * ROWS + 7, 0)
    put(log, 0)
    assert log.dropped == 1


def test_an_event_loop_makes_the_batches_and_none_is_lost(tmp_path):
    log = segments(tmp_path, Pace(interval=3600))
    count = 5 * ROWS + 3

    async def requests() -> None:
        for n in range(count):
            put(log, n)
            await asyncio.sleep(0)
        assert len(log._built) == 5

    asyncio.run(requests())
    log.close()
    assert numbers(tmp_path) == list(range(count))


def test_requests_of_many_rows_do_not_pile_up(tmp_path):
    log = segments(tmp_path, Pace(interval=3600))
    some: list[Row] = [(float(n), "basic") for n in range(100)]

    async def requests() -> None:
        for _ in range(20):
            for _ in range(32):  # as many as an event loop may read in one turn
                log.put(
                    new_ids(100, 5.0), 5.0, 1.0, False, some, Scored([1] * 100, [[0.2, 0.8]] * 100)
                )
            await asyncio.sleep(0)
            assert log._loose < 2 * 32 * 100

    asyncio.run(requests())
    log.close()
    assert (log.rows, log.dropped) == (20 * 32 * 100, 0)


def test_tables_and_rows_are_logged_alike(tmp_path):
    import numpy as np

    log = segments(tmp_path)
    n = 2 * ROWS + 1
    table = Table(n, [np.arange(n, dtype=float), ["a"] * n])
    scored = Scored([0] * n, [[0.9, 0.1]] * n)
    log.put([f"p{i}" for i in range(n)], 5.0, 1.0, False, table, scored)
    put(log, n)
    log.close()
    rows = sorted(logged(tmp_path), key=lambda row: row["inputs"]["x"])
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(n + 1)]
    assert [row["inputs"]["x"] for row in rows] == list(range(n + 1))


def test_what_does_not_fit_is_dropped_and_counted(tmp_path):
    log = segments(tmp_path, Pace(interval=3600, capacity_bytes=1_000))
    for n in range(50):
        put(log, n)
    assert 0 < log.dropped < 50
    log.close()
    assert len(numbers(tmp_path)) == log.rows == 50 - log.dropped


def test_a_disk_error_is_counted_and_the_log_comes_back(tmp_path, capsys):
    folder = tmp_path / "log"
    folder.write_text("a file where the folder should be")
    log = segments(folder, Pace(interval=0.01))
    for n in range(2):
        put(log, n)
        wait_until(lambda n=n: log.dropped == n + 1, 30, "the row is given up")
    assert capsys.readouterr().err.count("log not written") == 1
    folder.unlink()
    put(log, 7)
    log.close()
    assert numbers(folder) == [7]
    assert (log.rows, log.dropped, log.errors) == (1, 2, 2)


FULL_DISK = """
import resource, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_segments import Pace, put, segments
from support import wait_until
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
log = segments(Path(sys.argv[1]), Pace(interval=0.001))
for n in range(40):
    put(log, n)
    wait_until(lambda: log.rows + log.dropped == n + 1, 60, "it is written or not")
log.close()
assert log.rows >= 5 and log.dropped >= 5, (log.rows, log.dropped)
print(log.rows)
"""


def here() -> list[str]:
    return [str(Path(__file__).parent), str(Path(__file__).parents[1])]


def test_a_disk_that_fills_up_leaves_no_half_batches(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), *here()]
    run = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE, text=True)
    assert len(numbers(tmp_path)) == int(run.stdout)


@pytest.mark.parametrize("pace", [Pace(rotate_bytes=1, interval=0.001)], ids=["size"])
def test_a_full_segment_is_followed_by_another(tmp_path, pace):
    log = segments(tmp_path, pace)
    for n in range(3):
        put(log, n)
        wait_until(lambda n=n: log.rows == n + 1, 30, "the row is written")
    log.close()
    assert len(list(tmp_path.glob("*.arrows"))) == 3
    assert numbers(tmp_path) == [0, 1, 2]


def test_an_old_segment_is_followed_by_another(tmp_path):
    now = 5.0
    log = segments(tmp_path, Pace(rotate_seconds=60.0, interval=0.001), clock=lambda: now)
    put(log, 0)
    wait_until(lambda: log.rows == 1, 30, "the row is written")
    now = 66.0
    put(log, 1)
    log.close()
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["5000", "66000"]


def test_two_logs_of_one_moment_have_segments_of_their_own(tmp_path):
    for n in range(2):
        log = segments(tmp_path, clock=lambda: 5.0)
        put(log, n)
        log.close()
    assert len(list(tmp_path.glob("*.arrows"))) == 2
    assert numbers(tmp_path) == [0, 1]


def draws(values: list[float]) -> Callable[[], float]:
    return iter(values).__next__


def test_sampled_requests_are_kept_as_a_whole_and_the_others_counted(tmp_path):
    log = segments(tmp_path, manifest=manifest(sample=0.5), draw=draws([0.1, 0.9, 0.49, 0.5]))
    for n in range(4):
        put(log, n)
    log.close()
    assert numbers(tmp_path) == [0, 2]
    assert (log.rows, log.sampled_out, log.dropped) == (2, 2, 0)


def test_masked_columns_are_nowhere_in_the_file(tmp_path):
    log = segments(tmp_path, manifest=manifest(mask=["plan"]))
    log.put(["p1"], 1.0, 1.0, False, [(1.0, "a secret plan")], SCORED)
    log.close()
    (path,) = tmp_path.glob("*.arrows")
    assert b"a secret plan" not in path.read_bytes()
    assert logged(tmp_path)[0]["inputs"] == {"x": 1.0}


WRITER = """
import sys, time
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_segments import put, segments
log = segments(Path(sys.argv[1]))
for n in range(10**9):
    put(log, n)
    print(n, flush=True)
    time.sleep(0.001)
"""


def test_sigkill_loses_the_last_moment_only(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path), *here()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        wait_until(lambda: len(numbers(tmp_path)) > 300, 60, "the log grows")
        known = numbers(tmp_path)
        wait_until(lambda: len(numbers(tmp_path)) > len(known), 60, "it goes on growing")
        os.kill(writer.pid, signal.SIGKILL)
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert set(known) <= set(found)


FORKED = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_segments import put, segments
from serving.ids import new_ids
log = segments(Path(sys.argv[1]))
put(log, 0)
child = os.fork()
put(log, 1 if child else 2)
log.close()
Path(sys.argv[1], f"{child}.ids").write_text("\\n".join(new_ids(500, 5.0)))
if child:
    os.waitpid(child, 0)
os._exit(0)
"""


def test_a_forked_process_has_a_segment_and_ids_of_its_own(tmp_path):
    command = [sys.executable, "-c", FORKED, str(tmp_path), *here()]
    subprocess.run(command, check=True, timeout=120)
    assert numbers(tmp_path) == [0, 1, 2]
    assert len(list(tmp_path.glob("*.arrows"))) == 2
    ids = [id_ for path in tmp_path.glob("*.ids") for id_ in path.read_text().split()]
    ids += new_ids(500, 5.0)
    assert len(set(ids)) == len(ids) == 1_500
