"""Everything seen in one state of a release, as sums: what the gates are judged by.

A look is taken every fraction of a second, for hours. What is kept does not grow with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from andon.looks import Answers, Look, Pair, Probe, Side
from andon.ports import Traffic, Usage
from andon.sequential import Comparison, Counts, Mean

CHAMPIONS_FIRST = 50  # requests that its usual latency is taken from
LABELS_AT_MOST = 100
SLICES_AT_MOST = 200
RECENT = 4  # readings of memory: what lasts is the least of them
RISE = 1_000_000  # bytes: a smaller step is no growth


@dataclass(frozen=True)
class Sides:
    """The same of the candidate and of the champion, in the same period."""

    candidate: Mean = field(default_factory=Mean)
    champion: Mean = field(default_factory=Mean)

    def __add__(self, other: Sides) -> Sides:
        return Sides(self.candidate + other.candidate, self.champion + other.champion)


@dataclass(frozen=True)
class Agreement:
    """Sums over both answers to the same inputs.

    `ranked`: of two pairs in a row that the champion ranks, whether the candidate ranks them alike
    (1), the other way round (0), or not at all (1/2). `odd` waits for its second. `sums`: of x, y,
    x², y² and xy, x being the candidate's scores. `probes`: the line's own requests, in nothing
    else, since they are few inputs that come again and again.
    """

    differ: Mean = field(default_factory=Mean)
    slices: Mapping[str, Mean] = field(default_factory=dict)
    ranked: Mean = field(default_factory=Mean)
    odd: Pair | None = None
    sums: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    probes: Mean = field(default_factory=Mean)

    def add(self, pairs: Sequence[Pair]) -> Agreement:
        """With more of them."""
        if not pairs:
            return self
        own = [it for it in pairs if it.probe]
        given = [it for it in pairs if not it.probe] if own else pairs
        slices = dict(self.slices)
        for pair in given:
            for name in pair.slices:
                if name in slices or len(slices) < SLICES_AT_MOST:
                    slices[name] = slices.get(name, Mean()) + Mean(float(pair.differ), 1)
        ranked, odd = _ranked(self.odd, given)
        return Agreement(
            differ=self.differ + _differing(given),
            slices=slices,
            ranked=self.ranked + ranked,
            odd=odd,
            sums=_moments(self.sums, given),
            probes=self.probes + _differing(own),
        )

    @property
    def correlation(self) -> float | None:
        """Pearson's, of the scores; None if one side always says the same."""
        n, (x, y, xx, yy, xy) = self.differ.n, self.sums
        spread = (n * xx - x * x) * (n * yy - y * y)
        return (n * xy - x * y) / spread**0.5 if n > 1 and spread > 1e-12 * n**4 else None


def _differing(pairs: Sequence[Pair]) -> Mean:
    return Mean(float(sum(it.differ for it in pairs)), len(pairs))


def _ranked(odd: Pair | None, pairs: Sequence[Pair]) -> tuple[Mean, Pair | None]:
    total, n = 0.0, 0
    for pair in pairs:
        if odd is None:
            odd = pair
            continue
        theirs = pair.champion - odd.champion
        if theirs != 0:
            ours = (pair.candidate - odd.candidate) * theirs
            total += 1.0 if ours > 0 else 0.5 if ours == 0 else 0.0
            n += 1
        odd = None
    return Mean(total, n), odd


def _moments(
    sums: tuple[float, float, float, float, float], pairs: Sequence[Pair]
) -> tuple[float, float, float, float, float]:
    x, y, xx, yy, xy = sums
    for it in pairs:
        x, y = x + it.candidate, y + it.champion
        xx, yy = xx + it.candidate**2, yy + it.champion**2
        xy += it.candidate * it.champion
    return x, y, xx, yy, xy


@dataclass(frozen=True)
class Process:
    """What one server used since it was first seen; another start is another process.

    `recent`: the latest readings of memory, in bytes; `rises`: how often there was a new highest.
    `requests`: those answered between the first reading and the last.
    """

    first: Usage
    last: Usage
    begun: float
    at: float
    recent: tuple[int, ...]
    peak: int
    rises: int = 0
    requests: float = 0.0

    @property
    def lasting(self) -> int | None:
        """Bytes that were in use at each of the recent readings; None if there are too few."""
        return min(self.recent) if len(self.recent) == RECENT else None

    @property
    def cpu(self) -> float:
        """CPU seconds since it was first seen."""
        return max(0.0, self.last.cpu_seconds - self.first.cpu_seconds)


def used(before: Process | None, side: Side, at: float) -> Process | None:
    """A server's use, with one more look at it."""
    usage = side.usage
    if usage is None:
        return before and replace(before, requests=before.requests + side.traffic.requests)
    memory = usage.memory_bytes
    if before is None or before.first.started != usage.started:
        return Process(usage, usage, at, at, (memory,), memory)
    higher = memory >= before.peak + RISE
    return Process(
        first=before.first,
        last=usage,
        begun=before.begun,
        at=at,
        recent=(*before.recent, memory)[-RECENT:],
        peak=memory if higher else before.peak,
        rises=before.rises + higher,
        requests=before.requests + side.traffic.requests,
    )


@dataclass(frozen=True)
class Seen:
    """The sum of all looks of one state.

    `candidate`, `champion`: what the gateway counted. `errors`, `refused`: compared block by block,
    over the looks in which there was a champion. `usual`: what both sides had been counted when the
    champion's usual latency was taken; only later requests are compared with it. `labels`: for each
    label how often it was answered since the look in which it was first seen. `scores`: where there
    was a champion; `losses`: of labelled rows. `bad`: answers that are no answers. `missing`: of
    the last look.
    """

    candidate: Traffic = field(default_factory=Traffic)
    champion: Traffic = field(default_factory=Traffic)
    probe: Probe = field(default_factory=Probe)
    errors: Comparison = field(default_factory=Comparison)
    refused: Comparison = field(default_factory=Comparison)
    usual: tuple[Traffic, Traffic] | None = None
    rows: int = 0
    bad: int = 0
    example: str = ""
    labels: Mapping[str, Sides] = field(default_factory=dict)
    scores: Sides = field(default_factory=Sides)
    losses: Sides = field(default_factory=Sides)
    agreement: Agreement = field(default_factory=Agreement)
    process: Process | None = None
    champions_process: Process | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def add(self, look: Look) -> Seen:
        """With one more look."""
        ours, theirs = look.candidate, look.champion
        seen = replace(
            self,
            candidate=self.candidate + ours.traffic,
            probe=self.probe + look.probe,
            rows=self.rows + ours.answers.rows,
            bad=self.bad + ours.answers.bad,
            example=self.example or ours.answers.example,
            agreement=self.agreement.add(look.pairs),
            process=used(self.process, ours, look.at),
            missing=look.missing,
        )
        return seen if theirs is None else _beside(seen, ours, theirs, look.at)


def _beside(seen: Seen, ours: Side, theirs: Side, at: float) -> Seen:
    """With what candidate and champion answered in the same period."""
    champion = seen.champion + theirs.traffic
    usual = seen.usual
    if usual is None and champion.requests >= CHAMPIONS_FIRST and champion.buckets:
        usual = (seen.candidate, champion)
    a, b = ours.traffic, theirs.traffic
    return replace(
        seen,
        champion=champion,
        usual=usual,
        errors=seen.errors.look(_counts(a.requests, a.errors, b.requests, b.errors)),
        refused=seen.refused.look(_counts(a.requests, a.invalid, b.requests, b.invalid)),
        labels=_labels(seen.labels, ours.answers, theirs.answers),
        scores=seen.scores + Sides(Mean.of(ours.answers.scores), Mean.of(theirs.answers.scores)),
        losses=seen.losses + Sides(Mean.of(ours.losses), Mean.of(theirs.losses)),
        champions_process=used(seen.champions_process, theirs, at),
    )


def _counts(n: float, k: float, champion_n: float, champion_k: float) -> Counts:
    """Whole numbers, and never more failures than requests, whatever a gateway counts first."""
    return Counts(
        int(n), min(int(n), max(0, int(k))), int(champion_n), min(int(champion_n), int(champion_k))
    )


def _labels(kept: Mapping[str, Sides], ours: Answers, theirs: Answers) -> Mapping[str, Sides]:
    """With a look's labels; those seen for the first time are counted from the next look on.

    That one was seen says something of how often it is answered: it must not be counted.
    """
    if not ours.labels and not theirs.labels:
        return kept
    n, m = ours.labels.total(), theirs.labels.total()
    counted = {
        label: sides + Sides(Mean(ours.labels[label], n), Mean(theirs.labels[label], m))
        for label, sides in kept.items()
    }
    fresh = sorted({*ours.labels, *theirs.labels} - counted.keys())
    for label in fresh[: LABELS_AT_MOST - len(counted)]:
        counted[label] = Sides()
    return counted
