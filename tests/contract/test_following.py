"""Logs are followed as they grow: nothing is read twice, and nothing that is whole is left out."""

from __future__ import annotations

import gc
import json
import os
import random
from pathlib import Path

import pytest
from support import wait_until
from watch_kit import COLUMNS, HALF, MIRROR, PLACE, WatchWorld

from andon.adapters.watching import following, labelling, pairing
from andon.adapters.watching.following import LabelFollower, SegmentFollower
from serving.bundle import Manifest
from serving.engines.base import Scored
from serving.segments import Pace, Segments

SINCE = 1_000.0
ROW = (30, "Bern", 20_000.5)


def written(folder: Path, batches: int, first: int = 0, rows: int = 1) -> tuple[bytes, list[int]]:
    """A segment as its writer left it, and where each batch ends."""
    manifest = Manifest("churn", "1", "regression", "y", "b")
    segments = Segments(folder, COLUMNS, manifest, pace=Pace(interval=0.001))
    ends = []
    for n in range(first, first + batches):
        ids = [f"p{n}-{i}" for i in range(rows)]
        segments.put(ids, SINCE + n, 1.0, False, [ROW] * rows, Scored([], [[0.5]] * rows))
        wait_until(lambda n=n: segments.rows == rows * (n - first + 1), 60, "it is written")
        (path,) = folder.glob("*.arrows")
        ends.append(path.stat().st_size)
    segments.close()
    raw = path.read_bytes()
    path.unlink()
    return raw, ends


def read(follower: SegmentFollower) -> list[str]:
    return [it for batch in follower.read() for it in batch.rows["id"].to_pylist()]


def test_a_file_that_grows_by_any_bytes_gives_every_row_once(tmp_path):
    raw, ends = written(tmp_path / "w", 12)
    draw, path = random.Random(5), tmp_path / "1-1.arrows"  # noqa: S311
    for _ in range(30):
        path.unlink(missing_ok=True)
        follower, found, size = SegmentFollower(tmp_path, SINCE), [], 0
        while size < len(raw):
            size = min(len(raw), size + draw.choice([1, 7, 100, 1_000, 4_000]))
            path.write_bytes(raw[:size])
            found += read(follower)
            assert len(found) == sum(end <= size for end in ends)
        assert found == [f"p{n}-0" for n in range(12)]
        assert follower.corrupt == 0


def test_a_large_file_is_read_in_parts_and_a_message_larger_than_a_part_too(tmp_path, monkeypatch):
    raw, _ = written(tmp_path / "w", 6, rows=200)
    (tmp_path / "1-1.arrows").write_bytes(raw)
    monkeypatch.setattr(following, "BUDGET", 1_000)
    follower = SegmentFollower(tmp_path, SINCE)
    monkeypatch.setattr(following._Place, "chunk", 500)
    monkeypatch.setattr(following._Place.__init__, "__defaults__", (0, b"", -1, 500, False))
    found, looks = [], 0
    while len(found) < 1_200 and looks < 100:
        found += read(follower)
        looks += 1
    assert found == [f"p{n}-{i}" for n in range(6) for i in range(200)]
    assert looks > 6


def test_several_writers_new_ones_and_those_that_were_killed(tmp_path):
    first, ends = written(tmp_path / "w", 3)
    other, _ = written(tmp_path / "w", 2, first=10)
    follower = SegmentFollower(tmp_path, SINCE)
    assert read(follower) == []
    (tmp_path / "1-1.arrows").write_bytes(first[: ends[1] + 9])  # killed while it wrote
    assert read(follower) == ["p0-0", "p1-0"]
    (tmp_path / "2-2.arrows").write_bytes(other)
    assert read(follower) == ["p10-0", "p11-0"]
    (tmp_path / "1-1.arrows").unlink()
    assert read(follower) == []
    assert follower.corrupt == 0


def test_damage_ends_a_segment_is_counted_once_and_others_go_on(tmp_path):
    raw, ends = written(tmp_path / "w", 3)
    bad = bytearray(raw)
    bad[ends[0] : ends[0] + 16] = b"\x07" * 16
    (tmp_path / "1-1.arrows").write_bytes(bad[: ends[1]])
    follower = SegmentFollower(tmp_path, SINCE)
    assert read(follower) == ["p0-0"]
    (tmp_path / "1-1.arrows").write_bytes(bad)
    (tmp_path / "2-1.arrows").write_bytes(raw)
    assert read(follower) == ["p0-0", "p1-0", "p2-0"]
    assert follower.corrupt == 1


@pytest.mark.parametrize("garbage", [b"not arrow", b"\x00" * 4_096, b"\xff" * 300])
def test_what_is_no_segment_is_left_alone(tmp_path, garbage):
    (tmp_path / "1-1.arrows").write_bytes(garbage)
    follower = SegmentFollower(tmp_path, SINCE)
    assert read(follower) == []
    (tmp_path / "1-1.arrows").write_bytes(garbage * 2)
    assert read(follower) == []


def test_batches_that_a_full_disk_took_back_end_their_segment(tmp_path):
    raw, ends = written(tmp_path / "w", 3)
    path = tmp_path / "1-1.arrows"
    path.write_bytes(raw)
    follower = SegmentFollower(tmp_path, SINCE)
    assert len(read(follower)) == 3
    path.write_bytes(raw[: ends[0]])
    assert read(follower) == []
    path.write_bytes(raw)
    assert read(follower) == []
    assert follower.corrupt == 1


def test_only_rows_since_a_time_and_no_file_that_ended_before(tmp_path):
    raw, _ = written(tmp_path / "w", 3)
    (tmp_path / "1-1.arrows").write_bytes(raw)
    old = tmp_path / "0-1.arrows"
    old.write_bytes(b"not arrow, and long enough to be no tail" * 10)
    os.utime(old, (1, 1))
    follower = SegmentFollower(tmp_path, SINCE + 2)
    assert read(follower) == ["p2-0"]
    assert follower.corrupt == 0


def lines(*numbers: int) -> bytes:
    rows = ({"id": f"p{n}", "time": SINCE + n, "label": n % 2 == 0} for n in numbers)
    return b"".join(json.dumps(it).encode() + b"\n" for it in rows)


def test_labels_are_read_once_line_by_line_and_bad_ones_are_counted(tmp_path):
    path = tmp_path / "1-1.jsonl"
    follower = LabelFollower(tmp_path, SINCE + 1)
    assert follower.read() == []
    path.write_bytes(lines(0, 1) + b'{"id": 3}\nnonsense\n' + lines(2)[:-5])
    assert [it.id for it in follower.read()] == ["p1"]
    assert follower.corrupt == 2
    path.write_bytes(lines(0, 1) + b'{"id": 3}\nnonsense\n' + lines(2, 3))
    assert [it.id for it in follower.read()] == ["p2", "p3"]


def test_of_a_long_file_of_labels_only_the_end_is_read(tmp_path, monkeypatch):
    (tmp_path / "1-1.jsonl").write_bytes(lines(*range(60_000)))
    bytes_read = []
    plain = following._bytes

    def counted(*args):
        bytes_read.append(len(plain(*args)))
        return plain(*args)

    monkeypatch.setattr(following, "_bytes", counted)
    found = LabelFollower(tmp_path, SINCE + 59_000).read()
    assert [it.id for it in found] == [f"p{n}" for n in range(59_000, 60_000)]
    assert sum(bytes_read) < (tmp_path / "1-1.jsonl").stat().st_size


def test_ten_thousand_looks_read_every_byte_once_and_keep_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "MOST", 100)
    monkeypatch.setattr(labelling, "MOST", 100)
    world = WatchWorld(tmp_path)
    world.route({"1": 100, "2": 0})
    watch, ours, theirs = world.watch(MIRROR), world.server("2"), world.server("1")
    read_bytes = []
    plain = following._bytes
    monkeypatch.setattr(
        following, "_bytes", lambda *it: read_bytes.append(len(plain(*it))) or plain(*it)
    )
    rows = pairs = 0
    sizes = []
    for n in range(10_000):
        world.clock.now += 0.25
        if n % 400 == 0:
            for i in range(n, n + 40):
                ours.answers((i, "Bern", None), 0.5)
                theirs.answers((i, "Bern" if i % 2 else "Rome", None), 0.5)
            done = n // 10 + 40
            wait_until(lambda: {ours.segments.rows, theirs.segments.rows} == {done}, 60, "written")  # noqa: B023
            world.labels(*((f"v1-{i + 1}", "yes") for i in range(done - 40, done)))
        look = watch.look()
        rows += look.candidate.answers.rows
        pairs += len(look.pairs)
        if n in (4_000, 9_999):
            gc.collect()
            sizes.append(len(gc.get_objects()))
    assert (rows, pairs) == (1_000, 500)
    assert sizes[1] - sizes[0] < 200  # of 1,200 rows and 600 labels in between
    log = [*ours.folder.glob("*"), *theirs.folder.glob("*")]
    assert sum(read_bytes) < 1.1 * sum(
        it.stat().st_size for it in [*log, *world.settings.feedback_log.rglob("*.jsonl")]
    )
    assert watch.look().champion is not None
    world.close()


def test_traffic_of_both_sides_goes_on_where_the_gateway_was_away_or_began_anew(tmp_path):
    world = WatchWorld(tmp_path)
    world.route({"1": 50, "2": 50})
    watch = world.watch(HALF)

    def clients(n: int) -> None:
        for _ in range(n):
            world.gateway.send(*PLACE)

    def seen() -> tuple[float, float, set[str]]:
        it = watch.look()
        assert it.champion is not None
        return it.candidate.traffic.requests, it.champion.traffic.requests, {*it.missing}

    clients(10)  # before this state
    world.target.usages[world.spec.name] = None
    lacking = {"resources"}
    assert seen() == (0, 0, lacking)
    clients(10)
    assert seen() == (5, 5, lacking)
    world.gateway.down = True
    assert seen() == (0, 0, {*lacking, "errors", "latency", "inputs"})
    world.gateway.down = False
    clients(20)
    assert seen() == (10, 10, lacking)
    world.gateway.restart()
    clients(8)
    assert seen() == (4, 4, lacking)
    world.close()


def test_use_is_read_of_both_at_most_once_a_second(tmp_path):
    from andon.ports import Usage

    world = WatchWorld(tmp_path)
    asked = []
    plain = world.target.usage
    world.target.usage = lambda name: asked.append(name) or plain(name)  # type: ignore[method-assign,func-returns-value]
    names = world.spec.name, world.champion.name
    world.target.usages = {it: Usage(1.0, n) for n, it in enumerate(names, 1)}
    watch = world.watch(HALF)
    for _ in range(9):
        look = watch.look()
        assert look.champion is not None
        assert look.candidate.usage == Usage(1.0, 1)
        assert look.champion.usage == Usage(1.0, 2)
        assert not look.missing
        world.clock.now += 0.25
    assert asked == [*names] * 3
    world.close()
