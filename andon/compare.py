"""May this model replace the champion? Paired on the same held-out rows, with three outcomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.metrics import MetricInfo, known
from andon.paired import Gain, gain, law, more_rows
from andon.verdict import Outcome, Verdict

MIN_ROWS = 30
SUPERIOR_ROWS = 5_000  # for better than a constant: so many tell, and more take time


def within_limit(
    metric: str | MetricInfo,
    value: float,
    limit: float,
    n: int,
    check: str,
    interval: tuple[float, float] | None = None,
) -> Verdict:
    """The absolute limit, inclusive: a minimum where greater is better, else a maximum.

    The value decides; its 95 % interval, if there is one, is told.
    """
    info = known(metric)
    if not np.isfinite(value):
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            limit=limit,
            n=n,
            detail=f"{info.name} is undefined on these {n} rows",
        )
    good = value >= limit if info.greater_is_better else value <= limit
    sign = ">=" if info.greater_is_better else "<="
    detail, evidence = f"{info.name} {value:.4f}, wanted {sign} {limit:.4f}", {}
    if interval is not None:
        low, high = interval
        evidence = {"low": low, "high": high}
        detail += f" (95 % {low:.4f} to {high:.4f})"
        if low <= limit <= high:
            detail += "; so many rows do not tell it from the limit"
    return Verdict(
        check=check,
        outcome=Outcome.PASS if good else Outcome.FAIL,
        value=value,
        limit=limit,
        n=n,
        detail=detail,
        evidence=evidence,
    )


def not_worse(
    metric: str | MetricInfo,
    y: NDArray[Any],
    champion: NDArray[Any],
    challenger: NDArray[Any],
    *,
    margin: float,
    seed: int,
    hint: bool = True,
) -> Verdict:
    """Non-inferiority of a challenger, paired on the same rows.

    `y`, `champion` and `challenger` are the truth and each model's output of the kind that the
    metric uses (see `MetricInfo`). The gain is oriented so that positive is better; its 95 %
    interval decides: pass if it lies above -margin, fail if below, inconclusive if it holds
    -margin. Evidence has the p values, whether it is better beyond doubt, and, if inconclusive, how
    many more rows would settle it, which `hint` also tells.
    """
    info, n = known(metric), len(y)
    check = "not worse than champion"
    found = gain(info, y, champion, challenger, seed=seed) if n >= MIN_ROWS else None
    if found is None:
        few = f"only {n} held-out rows, wanted at least {MIN_ROWS}"
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            n=n,
            limit=-margin,
            detail=few if n < MIN_ROWS else f"{info.name} is undefined on most resamples",
        )
    low, high = found.law.interval()
    outcome = Outcome.PASS if low > -margin else Outcome.INCONCLUSIVE
    if high < -margin:
        outcome = Outcome.FAIL
    evidence = _evidence(found, margin)
    settled = ""
    if outcome is Outcome.INCONCLUSIVE:
        evidence["more_rows"] = more_rows(n, found.value, (low, high), margin)
        settled = _settled(evidence["more_rows"]) if hint else ""
    better = "; better beyond doubt" if low > 0 else ""
    return Verdict(
        check=check,
        outcome=outcome,
        value=found.value,
        limit=-margin,
        n=n,
        detail=f"{info.name}: champion {found.first:.4f}, challenger {found.second:.4f}; "
        f"gain {found.value:+.4f} (95 % {low:+.4f} to {high:+.4f}){better}{settled}",
        evidence=evidence,
    )


def _evidence(found: Gain, margin: float) -> dict[str, Any]:
    low, high = found.law.interval()
    return {
        "champion": found.first,
        "challenger": found.second,
        "low": low,
        "high": high,
        "method": found.method,
        "worse_p": found.law.at_most(-margin),
        "equal_p": found.equal_p,
        "better": low > 0,
    }


def _settled(more: int | None) -> str:
    if more is None:
        return "; it is so close to the margin that no number of rows would settle it"
    digits = max(0, len(str(more)) - 2)
    rounded = math.ceil(more / 10**digits) * 10**digits
    return f"; about {rounded:,} more held-out rows would settle it"


def quality(
    metric: str | MetricInfo,
    y: NDArray[Any],
    output: NDArray[Any],
    *,
    expected: float,
    margin: float,
    min_labels: int,
    seed: int = 0,
) -> Verdict:
    """The metric on labels that came back, against its value at training.

    Fails if the 95 % interval of the loss lies above the margin, passes if it lies
    below, and is inconclusive between, or with fewer than `min_labels` labels.
    """
    info, n = known(metric), len(y)
    check = f"quality: {info.name}"
    value = info.of(y, output) if n else float("nan")
    found = (
        law(info, y, output, seed=seed) if n >= max(2, min_labels) and np.isfinite(value) else None
    )
    if found is None:
        few = f"{n} labels came back, wanted at least {min_labels}"
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            limit=margin,
            n=n,
            detail=few if n < min_labels else f"{info.name} is undefined on these {n} labels",
        )
    low, high = sorted(info.sign * (expected - it) for it in found.interval())
    outcome = Outcome.INCONCLUSIVE
    if low > margin:
        outcome = Outcome.FAIL
    elif high < margin:
        outcome = Outcome.PASS
    return Verdict(
        check=check,
        outcome=outcome,
        value=info.sign * (expected - value),
        limit=margin,
        n=n,
        detail=f"{info.name} {value:.4f} on {n} labels, {expected:.4f} at training",
        evidence={"live": value, "training": expected, "low": low, "high": high},
    )


def better_than(
    metric: str | MetricInfo,
    y: NDArray[Any],
    constant: NDArray[Any],
    output: NDArray[Any],
    *,
    seed: int,
) -> Verdict:
    """Superiority to a constant, paired on the same n rows (see `MetricInfo` for the shapes).

    Pass if the 95 % interval of the gain lies above 0; fail if the gain itself does not; between,
    the rows are too few to tell. The interval is that of `not_worse`, on `SUPERIOR_ROWS` of the
    rows if there are more: it is wider then, so the verdict errs on the safe side.
    """
    info, n = known(metric), len(y)
    check = "better than a constant"
    dummy, found = info.of(y, constant), info.of(y, output)
    detail = f"{info.name} {found:.4f}, a constant gets {dummy:.4f}"
    if not (np.isfinite(found) and np.isfinite(dummy)):
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, n=n, detail=detail)
    value = info.sign * (found - dummy)
    outcome, evidence = Outcome.INCONCLUSIVE if value > 0 else Outcome.FAIL, {}
    some = np.unique(np.linspace(0, n - 1, min(n, SUPERIOR_ROWS)).astype(int))
    told = gain(info, y[some], constant[some], output[some], seed=seed) if value > 0 else None
    if told is not None:
        low, high = told.law.interval()
        outcome = Outcome.PASS if low > 0 else outcome
        detail += f"; gain {value:+.4f} (95 % {low:+.4f} to {high:+.4f})"
        evidence = {"low": low, "high": high}
    return Verdict(
        check=check, outcome=outcome, value=found, limit=dummy, n=n, detail=detail,
        evidence=evidence,
    )  # fmt: skip
