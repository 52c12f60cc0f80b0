"""Is the service there, right and quick? From requests with known answers, and from its clients.

A look is one scheduled probe. What counts is more than one bad look in a row, and shares whose
interval is above the limit: five requests show no percentile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from andon.paired import wilson
from andon.spec import ServiceMonitor
from andon.verdict import Outcome, Verdict
from andon.windows import Finding, judged

DAYS, FEW = 7, 20  # days of history; requests in an hour, with fewer of which nothing is usual
SLOW_SHARE = 0.05  # of requests may be slower than the 95th percentile


@dataclass(frozen=True)
class Look:
    """Requests of our own since the look before: sent, without an answer, wrongly answered.

    `requests`, `errors` and `slow`: of all that the gateway has sent to the champion, ours too;
    None where it could not be asked. `example`: of what went wrong, now.
    """

    sent: int
    failed: int
    wrong: int
    requests: float | None = None
    errors: float | None = None
    slow: float | None = None
    example: str = ""


def service(looks: Sequence[Look], monitor: ServiceMonitor) -> list[Verdict]:
    """One verdict each for answers, right answers, errors and latency; `looks`: the newest first.

    Fails if the newest look is bad, and `persistence.need` of the last `persistence.of` are.
    """
    recent, need = looks[: monitor.persistence.of], monitor.persistence.need
    rules: dict[str, tuple[float, Callable[[Look], Finding]]] = {
        "answers": (0.0, _answers),
        "right answers": (0.0, _right),
        "errors": (monitor.error_rate, lambda it: _errors(it, monitor.error_rate)),
        "latency p95": (SLOW_SHARE, lambda it: _latency(it, monitor.p95_ms)),
    }
    return [
        judged(f"service: {name}", limit, [look(it) for it in recent] or [NOTHING], need)
        for name, (limit, look) in rules.items()
    ]


NOTHING = Finding(None, 0, "nothing was sent")


def volume(now: float, before: Sequence[float], monitor: ServiceMonitor) -> Verdict | None:
    """Clients' requests of the last hour against those of the same hour of earlier days.

    Fails under `drop` of the least of them: nights and weekends are among them, so that no rhythm
    has to be known. None with fewer than DAYS of them, or where an hour without is usual.
    """
    if len(before) < DAYS or min(before) < FEW:
        return None
    least = min(before)
    share = now / least
    outcome = Outcome.FAIL if share < monitor.drop else Outcome.PASS
    detail = (
        f"{now:,.0f} requests in the last hour; at this time of the last {len(before)} days "
        f"{least:,.0f} at least"
    )
    return Verdict(
        check="service: volume", outcome=outcome, value=share, limit=monitor.drop, n=len(before),
        detail=detail,
    )  # fmt: skip


def _answers(it: Look) -> Finding:
    if not it.sent:
        return NOTHING
    detail = f"{it.failed} of {it.sent} requests had no answer" + _first(it, it.failed)
    return Finding(it.failed > 0, it.sent, detail, float(it.failed))


def _right(it: Look) -> Finding:
    answered = it.sent - it.failed
    if not answered:
        return Finding(None, 0, "nothing was answered")
    detail = f"{it.wrong} of {answered} answers were not the known ones" + _first(it, it.wrong)
    return Finding(it.wrong > 0, answered, detail, float(it.wrong))


def _first(it: Look, bad: int) -> str:
    return f"; first: {it.example}" if bad and it.example else ""


def _errors(it: Look, limit: float) -> Finding:
    return _share(it, it.errors, limit, f"failed, {100 * limit:g} % may")


def _latency(it: Look, p95_ms: float) -> Finding:
    what = f"took longer than {p95_ms:g} ms, {100 * SLOW_SHARE:g} % may"
    return _share(it, it.slow, SLOW_SHARE, what)


def _share(it: Look, bad: float | None, limit: float, what: str) -> Finding:
    """Bad if the share's 95 % interval (Wilson 1927) lies above the limit."""
    if it.requests is None or bad is None:
        return Finding(None, 0, "the gateway's counters could not be read")
    n, k = round(it.requests), round(min(bad, it.requests))
    if not n:
        return Finding(None, 0, "no requests")
    low, high = wilson(k, n)
    evidence = {"low": low, "high": high}
    return Finding(low > limit, n, f"{k:,} of {n:,} requests {what}", k / n, evidence)
