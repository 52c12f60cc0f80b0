"""Memory and CPU of a candidate, against the champion's and against its own begin.

These are no statistics: fixed floors keep noise from being a failure.
"""

from __future__ import annotations

from andon.seen import Process, Seen
from andon.spec import Limits
from andon.verdict import Outcome, Verdict

MB = 1_000_000
MORE = 200 * MB  # than the champion's: less is no matter, whatever the ratio
GROWN = 100 * MB  # since the begin of the step
RISES = 5  # new highest readings: fewer may be caches that fill
REQUESTS = 200  # on either side, for a CPU time a request
SECONDS = 1.0  # of CPU beyond what is allowed
SHARE = 0.1  # and of one processor: less is a process that does nothing


def resources(seen: Seen, limits: Limits) -> list[Verdict]:
    """What can be said of them; nothing if nobody could tell what the candidate uses."""
    ours, theirs = seen.process, seen.champions_process
    if ours is None:
        return []
    found = [_growth(ours, limits.memory_growth)]
    if theirs is not None:
        found += [
            _memory(ours, theirs, limits.memory_ratio),
            _cpu(ours, theirs, limits.cpu_ratio),
        ]
    return found


def _growth(ours: Process, limit: float) -> Verdict:
    """A leak: it grew in several steps, by a lot, and by more than the limit of its own size."""
    first, now = ours.first.memory_bytes, ours.lasting
    grown = 0 if now is None else now - first
    share = grown / max(first, 1)
    leaks = grown > max(GROWN, limit * first) and ours.rises >= RISES
    return Verdict(
        check="memory growth",
        outcome=Outcome.FAIL if leaks else Outcome.PASS,
        value=share,
        limit=limit,
        n=ours.rises,
        detail=f"{_mb(first)} at the begin of the step, {_mb(ours.last.memory_bytes)} now, "
        f"after {ours.rises} rises in {ours.at - ours.begun:.0f} s",
        evidence={"first": first, "lasting": now, "rises": ours.rises, "least": GROWN},
    )


def _memory(ours: Process, theirs: Process, limit: float) -> Verdict:
    here, there = ours.lasting, theirs.last.memory_bytes
    ratio = (ours.last.memory_bytes if here is None else here) / max(there, 1)
    much = here is not None and here > limit * there and here - there > MORE
    return Verdict(
        check="memory against champion",
        outcome=Outcome.FAIL if much else Outcome.PASS,
        value=ratio,
        limit=limit,
        n=len(ours.recent),
        detail=f"{_mb(ours.last.memory_bytes)}, the champion {_mb(there)}; "
        f"less than {_mb(MORE)} more never fails",
        evidence={"candidate": here, "champion": there, "least": MORE},
    )


def _cpu(ours: Process, theirs: Process, limit: float) -> Verdict:
    """CPU time a request, once there are enough of them on either side.

    What the champion spends in a clock's tick is not told from nothing: it counts as 10 ms.
    """
    name = "CPU against champion"
    n = int(min(ours.requests, theirs.requests))
    if n < REQUESTS:
        told = f"{ours.requests:.0f} requests, the champion's {theirs.requests:.0f}"
        return Verdict(
            check=name, outcome=Outcome.PASS, n=0, detail=f"nothing was tested: {told} are too few"
        )
    here, there = ours.cpu / ours.requests, max(theirs.cpu, 0.01) / theirs.requests
    beyond = ours.cpu - limit * there * ours.requests
    much = beyond > max(SECONDS, SHARE * (ours.at - ours.begun))
    return Verdict(
        check=name,
        outcome=Outcome.FAIL if much else Outcome.PASS,
        value=here / there,
        limit=limit,
        n=n,
        detail=f"{1_000 * here:.2f} ms a request, the champion {1_000 * there:.2f} ms; fails if it "
        f"is {SECONDS:g} s and {SHARE:.0%} of a processor beyond the limit",
        evidence={"candidate_seconds": ours.cpu, "champion_seconds": theirs.cpu, "beyond": beyond},
    )


def _mb(size: float) -> str:
    return f"{size / MB:.0f} MB"
