"""The inference log for monitoring: summaries of the latest rows, in one pass, without the rows.

A segment is open at a time, so that memory does not grow with the log.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from andon.adapters.arrow_segments import INPUT, OUTPUT, whole
from andon.adapters.inference_log import CLOCKS, Spans, answered, newest_first
from andon.profile import Feature, Numbers, Part
from andon.settings import Settings
from andon.summary import Coded, Groups, Summary, Tally, numbered, tallies
from serving.frame import microseconds_to_days

AT_ONCE = 16_384  # rows that are counted together: they stay in the processor's cache
Ranks = NDArray[np.intp]  # of rows: 0 is the newest
NOT_NOW = -1
FAR = 1e11  # epoch seconds, in the year 5138
IDS = 100_000  # of the newest rows, in which one that came twice is looked for


@dataclass(frozen=True)
class Wanted:
    """Whose rows are summarised: `latest` since a time (epoch seconds), `piece` rows together.

    `live`: as for `read_window`. `parts`: slices whose scores are counted, too.
    `until`: a row that says it is later (epoch seconds) is of a clock that is wrong.
    """

    version: str | None
    since: float
    latest: int
    piece: int
    live: Spans | None = None
    parts: Sequence[Part] = ()
    until: float = math.inf


@dataclass
class Live:
    """Summaries by number, 0 being that of the newest rows; batches left out; columns masked.

    `ids`: of the newest IDS rows, about. `ahead`: rows from the future, which are left out.
    """

    pieces: dict[int, Summary] = field(default_factory=dict)
    corrupt: int = 0
    masked: frozenset[str] = frozenset()
    ids: list[pa.Array] = field(default_factory=list)
    ahead: int = 0

    @property
    def repeated(self) -> tuple[int, int]:
        """Rows whose id was there already, and rows that were looked at."""
        if not self.ids:
            return 0, 0
        every = pa.chunked_array(self.ids)
        return len(every) - len(every.unique()), len(every)

    def add(self, number: int, summary: Summary) -> None:
        kept = self.pieces.get(number)
        self.pieces[number] = summary if kept is None else kept + summary


def summarised(
    settings: Settings, environment: str, model: str, wanted: Wanted,
    features: Sequence[Feature], said: Feature | None = None,
) -> Live:  # fmt: skip
    """Count the latest rows over the bins of some features; probes and masked columns are not.

    `said` has the bins of the model's scores. A column that is missing is all null; one that
    cannot be read is told in the summary.
    """
    folder = settings.inference_log / environment / model
    paths = [*folder.glob(f"{wanted.version or '*'}/*.arrows")]
    live = Live()
    for rows, ranks in _newest(paths, wanted, live):
        _count_in_parts(live, rows, ranks, wanted, features, said)
        del rows  # before the next segment is read
    return live


def newest_rows(
    settings: Settings, environment: str, model: str, wanted: Wanted, features: Sequence[Feature]
) -> Numbers:
    """The latest rows themselves, the newest first: (rows, features), null as NaN.

    Categories are numbered as in the profile. A column that is masked, missing or unreadable is
    all NaN.
    """
    folder = settings.inference_log / environment / model
    found, ranks = [np.empty((0, len(features)))], [np.empty(0, np.intp)]
    for rows, mine in _newest([*folder.glob(f"{wanted.version}/*.arrows")], wanted, Live()):
        now = (mine >= 0) & (mine < wanted.latest)
        if now.any():
            found.append(as_matrix(rows.part(now).table, features))
            ranks.append(mine[now])
        del rows
    return np.concatenate(found)[np.argsort(np.concatenate(ranks), kind="stable")]


def as_matrix(table: pa.Table, features: Sequence[Feature]) -> Numbers:
    """Rows of a log, or of a table whose columns are called as in a log."""
    found = np.full((table.num_rows, len(features)), np.nan)
    for at, feature in enumerate(features):
        try:
            values = _values(table, INPUT + feature.name, feature)
        except (pa.ArrowException, ValueError, TypeError):
            continue
        found[:, at] = numbered(feature, values) if isinstance(values, Coded) else values
    return found


def _newest(paths: list[Path], wanted: Wanted, live: Live) -> Iterator[tuple[Rows, Ranks]]:
    """Batches of the rows that are wanted, and the rank of each row.

    No row of a file that is still to be read is later than that file's own time: what is later
    has its rank already, and is done with. Only files that several servers wrote at once are
    held together.
    """
    found = newest_first(paths)
    first = int(wanted.since * 1e6)
    ends = [int((ended + CLOCKS) * 1e6) for ended, _ in found]
    held: list[Rows] = []
    taken = 0
    for number, (_, path) in enumerate(found):
        if ends[number] < first or taken >= wanted.latest:
            break
        ready = held + _read(path, wanted, live)
        reach = max(ends[number + 1], first - 1) if number + 1 < len(found) else first - 1
        later = [it.live & (it.times > reach) for it in ready]
        early = [it.live & (it.times <= reach) & (it.times >= first) for it in ready]
        held = [it.part(some) for it, some in zip(ready, early, strict=True) if some.any()]
        taken += yield from _ranked(ready, later, taken)
    yield from _ranked(held, [it.live for it in held], taken)


@dataclass(frozen=True)
class Rows:
    """Some rows, when each came (microseconds), and whether it is one of a client."""

    table: pa.Table
    times: NDArray[np.int64]
    live: NDArray[np.bool_]
    masked: frozenset[str]

    def part(self, some: NDArray[np.bool_]) -> Rows:
        """Those for which it is true; there has to be one."""
        begin, end = int(some.argmax()), len(some) - int(some[::-1].argmax())
        table = self.table.slice(begin, end - begin)
        # A table of many small batches is slow to filter; but a view keeps all of a segment.
        if end - begin < len(some) // 2 or not some[begin:end].all():
            table = table.filter(pa.array(some[begin:end]))
        return Rows(table, self.times[some], self.live[some], self.masked)


def _read(path: Path, wanted: Wanted, live: Live) -> list[Rows]:
    try:
        segment = whole(path.read_bytes())  # not mapped: its writer takes half batches back
    except FileNotFoundError:  # tidied away meanwhile
        return []
    live.corrupt += segment.corrupt
    if not segment.batches:
        return []
    table = pa.Table.from_batches(segment.batches)  # copies nothing: a segment is there once
    times = table["time"].cast(pa.int64()).to_numpy()
    clients = ~table["probe"].to_numpy()
    if wanted.live is not None:
        clients &= answered(times, wanted.live.get(segment.facts["version"], ()))
    ahead = clients & (times > min(wanted.until, FAR) * 1e6)
    live.ahead += int(ahead.sum())
    clients &= ~ahead
    return [Rows(table, times, clients, segment.masked)]


def _ranked(
    ready: list[Rows], later: list[NDArray[np.bool_]], taken: int
) -> Generator[tuple[Rows, Ranks], None, int]:
    """Each with its rows' ranks, from `taken` on and NOT_NOW for others; returns how many."""
    if not ready:
        return 0
    times = np.concatenate([it.times[new] for it, new in zip(ready, later, strict=True)])
    ranks = np.empty(len(times), dtype=np.intp)
    ranks[np.argsort(-times, kind="stable")] = np.arange(taken, taken + len(times))
    begin = 0
    for rows, new in zip(ready, later, strict=True):
        mine = np.full(len(new), NOT_NOW)
        mine[new] = ranks[begin : begin + new.sum()]
        begin += int(new.sum())
        yield rows, mine
    ready.clear()
    return len(times)


def _count_in_parts(
    live: Live, rows: Rows, ranks: Ranks, wanted: Wanted,
    features: Sequence[Feature], said: Feature | None,
) -> None:  # fmt: skip
    for start in range(0, len(ranks), AT_ONCE):
        mine = ranks[start : start + AT_ONCE]
        now = (mine >= 0) & (mine < wanted.latest)
        if now.any():
            part = _part(rows, start, now)
            if sum(map(len, live.ids)) < IDS:
                live.ids += part.table["id"].chunks
            count(live, part, mine[now] // wanted.piece, features, said, wanted.parts)


def _part(rows: Rows, start: int, some: NDArray[np.bool_]) -> Rows:
    part = slice(start, start + len(some))
    found = Rows(rows.table[part], rows.times[part], rows.live[part], rows.masked)
    return found if some.all() else found.part(some)


def count(
    live: Live, batch: Rows, numbers: Groups, features: Sequence[Feature], said: Feature | None,
    parts: Sequence[Part] = (),
) -> None:  # fmt: skip
    """Add rows to the pieces they are in; `numbers`: (rows,), of each row its piece's."""
    live.masked |= batch.masked
    lowest = int(numbers.min())
    groups, many = numbers - lowest, int(numbers.max()) - lowest + 1
    found: list[dict[str, Tally]] = [{} for _ in range(many)]
    unread: dict[str, str] = {}
    for feature in features:
        if feature.name in batch.masked:
            continue
        try:
            values = _values(batch.table, INPUT + feature.name, feature)
        except (pa.ArrowException, ValueError, TypeError) as error:
            unread[feature.name] = str(error)
            continue
        for mine, tally in zip(found, tallies(feature, values, groups, many), strict=True):
            mine[feature.name] = tally
    scores, by_part = _scores(batch, said, groups, many, parts)
    for group in range(many):
        times = batch.times[groups == group]
        if len(times):
            summary = Summary(
                len(times), int(times.min()), int(times.max()), found[group], scores[group],
                unread, {name: it[group] for name, it in by_part.items()},
            )  # fmt: skip
            live.add(lowest + group, summary)


def _scores(
    batch: Rows, said: Feature | None, groups: Groups, many: int, parts: Sequence[Part]
) -> tuple[Sequence[Tally | None], dict[str, list[Tally]]]:
    """Of each group, and the same of each part by its name."""
    rows = batch.table
    name = next((it for it in ("score", "value") if OUTPUT + it in rows.column_names), None)
    if said is None or name is None:
        return [None] * many, {}
    values = _values(rows, OUTPUT + name, said)
    found = {}
    for part in parts:
        column = INPUT + part.column
        if column in rows.column_names:
            texts = rows[column].cast(pa.string())
            mine = pc.equal(texts, part.value).fill_null(False).to_numpy().astype(np.bool_)
            found[part.name] = tallies(said, _some(values, mine), groups[mine], many)
    return tallies(said, values, groups, many), found


def _some(values: Numbers | Coded, mine: NDArray[np.bool_]) -> Numbers | Coded:
    if isinstance(values, Coded):
        return Coded(values.codes[mine], values.words)
    return values[mine]


def _values(rows: pa.Table, name: str, feature: Feature) -> Numbers | Coded:
    there = name in rows.column_names
    column = rows[name].combine_chunks() if there else pa.nulls(rows.num_rows)
    return _coded(column) if feature.kind == "category" else _numbers(column)


def _numbers(column: pa.Array) -> Numbers:
    kind = column.type
    if pa.types.is_date(kind):  # of a table; in a log dates are timestamps
        column, kind = column.cast(pa.timestamp("us")), pa.timestamp("us")
    if pa.types.is_timestamp(kind):
        moments = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        # Not divided as floats by Arrow: days have to be serving's own, to the last bit.
        days = microseconds_to_days(moments.fill_null(0).to_numpy(zero_copy_only=False))
        return np.where(moments.is_null().to_numpy(zero_copy_only=False), np.nan, days)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise ValueError(f"found {kind}, expected numbers")
    found: Numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _coded(column: pa.Array) -> Coded:
    words = column.cast(pa.string()).dictionary_encode()
    codes = words.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Coded(codes, words.dictionary.to_pylist())
