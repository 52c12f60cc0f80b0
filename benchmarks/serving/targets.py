"""What the prediction server promises beside its peers. The one place that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from results import Load, Results, Spread
from servers import of_role

PEERS = of_role("peer")
ONE, MANY = Load(1, 1), Load(1, 32)
HUNDRED = Load(100, 32)
LOADS = (ONE, MANY, Load(100, 1), HUNDRED)
TITLES = {"linear": "LogisticRegression", "boosting": "HistGradientBoosting", "forest": "forest"}
OVERLOAD = "boosting"  # the model of the overload
OWN_OVERLOAD = "forest"  # and of the one beyond what ours can do
FALLBACK_RATE = 300.0


@dataclass(frozen=True)
class Target:
    """`found` is None where it was not measured."""

    text: str
    limit: float
    at_least: bool
    form: Callable[[float], str]
    found: Spread | None
    against: str = ""

    @property
    def met(self) -> bool:
        """Decided by the median."""
        if self.found is None:
            return False
        value = self.found.median
        return value >= self.limit if self.at_least else value <= self.limit


def times(value: float) -> str:
    digits = 0 if value >= 20 else 1 if value >= 1 else 3
    return f"{value:.{digits}f}\u00d7"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def small(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


def whole(value: float) -> str:
    return f"{value:.0f}"


def all_targets(results: Results) -> list[Target]:
    """Each promise, with what was found of it."""
    return [
        *_speed(results),
        *_exactness(results),
        *_thrift(results),
        *_fallback(results),
        *_overload(results),
    ]


def _speed(results: Results) -> Iterator[Target]:
    def against_best(text: str, kind: str, limit: float, load: Load) -> Target:
        best = results.best("per_second", kind, PEERS, load, most=True)
        found = results.ratio("per_second", kind, "andon", best, load)
        return Target(f"{text}: {TITLES[kind]}", limit, True, times, found, best or "")

    for kind, limit in (("linear", 200.0), ("boosting", 200.0)):
        found = results.ratio("per_second", kind, "andon", "mlflow", MANY)
        text = f"1 row, 32 clients, throughput: {TITLES[kind]}"
        yield Target(text, limit, True, times, found, "mlflow")
    for kind, limit in (("linear", 100.0), ("boosting", 100.0), ("forest", 50.0)):
        yield against_best("1 row, 32 clients, throughput", kind, limit, MANY)
    for kind, title in TITLES.items():
        best = results.best("p50_ms", kind, PEERS, ONE, most=False)
        found = results.ratio("p50_ms", kind, "andon", best, ONE)
        text = f"1 row, 1 client, p50: {title}"
        yield Target(text, 1 / 50, False, times, found, best or "")
    for kind, limit in (("linear", 12.0), ("boosting", 12.0), ("forest", 2.0)):
        yield against_best("100 rows, 32 clients, throughput", kind, limit, HUNDRED)


def _exactness(results: Results) -> Iterator[Target]:
    for kind, title in TITLES.items():
        found = results.of("exact", model=kind, server="andon")
        rows = f"{found[0]['rows']:,} rows" if found else "all rows"
        for text, key, limit, form in (
            (f"labels that flip on {rows}", "flips", 0.0, whole),
            (f"largest difference of a score on {rows}", "difference", 1e-6, small),
            ("rows that score otherwise alone than in a batch", "alone_differ", 0.0, whole),
            ("rows that score otherwise among 32 clients", "at_once_differ", 0.0, whole),
        ):
            value = Spread.of(float(it[key]) for it in found)
            yield Target(f"{text}: {title}", limit, False, form, value)


def _thrift(results: Results) -> Iterator[Target]:
    found = results.ratio("cpu_us", "linear", "andon", "hello", MANY)
    text = f"CPU a request, 1 row, 32 clients: {TITLES['linear']}"
    yield Target(text, 2.5, False, times, found, "hello")
    for text, what, limit in (
        ("memory", "memory_mb", 1 / 2),
        ("start to first correct answer", "seconds", 1 / 4),
        ("installed environment", "environment_mb", 1 / 2),
    ):
        for kind, title in TITLES.items():
            best = results.best(what, kind, PEERS, None, most=False)
            ratio = results.ratio(what, kind, "andon", best, None)
            yield Target(f"{text}: {title}", limit, False, times, ratio, best or "")


def _fallback(results: Results) -> Iterator[Target]:
    for kind, title in TITLES.items():
        best = results.best("per_second", kind, PEERS, MANY, most=True)
        found = results.ratio("per_second", kind, "andon-sklearn", best, MANY)
        text = f"scikit-learn engine, 1 row, 32 clients, throughput: {title}"
        yield Target(text, 5.0, True, times, found, best or "")


def _overload(results: Results) -> Iterator[Target]:
    for server, burst, text in (
        ("andon", "twice", "answered in time at twice the best peer's capacity"),
        ("andon-sklearn", "twice", "the same, scikit-learn engine"),
        ("andon-sklearn", "fallback", f"the same at {FALLBACK_RATE:.0f}/s, scikit-learn engine"),
    ):
        found = results.of("overload", server=server, burst=burst)
        share = Spread.of(it["in_time"] / it["offered"] for it in found)
        yield Target(text, 0.99, True, percent, share)
    for server, text in (("andon", "answers"), ("andon-sklearn", "scikit-learn engine answers")):
        found = results.of("overload", server=server, burst="own")
        again = [it["recovery_seconds"] for it in found]
        value = None if None in again else Spread.of(again)
        yield Target(f"{text} again after twice its own capacity", 1.0, False, seconds, value)
