"""What held-out rows would tell of themselves: twins, columns that are the target, the future.

A leak makes a model look better on held-out rows than it will be on live ones.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from andon.metrics import METRICS, Task
from andon.spec import Leakage
from andon.verdict import Outcome, Verdict

Numbers = NDArray[np.float64]

BINS = 64
MOST_ROWS = 100_000  # that a column is judged on
FEWEST_ROWS = 8
FEWEST_A_BIN = 2


def duplicates(
    learn: pl.DataFrame, held_out: pl.DataFrame, columns: list[str], rule: Leakage
) -> Verdict:
    """Held-out rows that are rows to learn from, too: the same in all `columns`.

    Few columns of few values repeat by chance. What chance explains, if the columns were
    independent, is taken off: 1 - (1 - p)^n for n rows to learn from, where p, the probability
    that two rows agree, is the product over the columns of the sum of squared shares.
    """
    check, n = "no held-out row was learned from", held_out.height
    if not n or not learn.height:
        return _judged(check, rule, None, n, "there is nothing to compare")
    known = learn.select(columns).hash_rows(seed=1).unique()
    twins = int(held_out.select(columns).hash_rows(seed=1).is_in(known.implode()).sum())
    by_chance = _chance(learn, columns)
    share, limit = twins / n, min(1.0, rule.duplicates + by_chance)
    detail = f"{twins:,} of {n:,} held-out rows are also rows to learn from, with the same values"
    if by_chance > 0.001:
        detail += f"; chance alone makes {by_chance:.1%} so"
    advice = "; take twins out of the data, or split by a group that keeps them together"
    bad = share > limit
    return _judged(check, rule, not bad, n, detail + advice * bad, share, limit)


def target_like(
    learn: pl.DataFrame,
    held_out: pl.DataFrame,
    features: list[str],
    target: str,
    task: Task,
    rule: Leakage,
) -> Verdict:
    """Whether one column alone tells the target: what is only known with the answer.

    Each column is cut into bins (numbers: at most 64 of equal counts; texts: their values; nulls:
    their own), a bin answers with the mean of its rows to learn from, and the answers are scored
    on held-out rows: by the area under the ROC curve (of the mean over classes, if there are
    more than two), or by R² (or by the squared correlation, if larger). Both parts are cut to
    their first 100,000 rows.
    """
    check = "no column is the target"
    learn, held_out = learn.head(MOST_ROWS), held_out.head(MOST_ROWS)
    truths = _truths(learn[target], held_out[target], task)
    if held_out.height < FEWEST_ROWS or not truths:
        detail = f"{held_out.height} held-out rows are too few to tell"
        return _judged(check, rule, None, held_out.height, detail)
    found = {it: _told_by(learn[it], held_out[it], truths, task) for it in features}
    ranked = sorted(found.items(), key=lambda it: -it[1])
    worst, value = ranked[0]
    score = "R²" if task == "regression" else "ROC AUC"
    leaks = [f"{it} ({score} {told:.4f})" for it, told in ranked if told > rule.target_like]
    detail = f"the most telling column is {worst}: alone, it has a {score} of {value:.4f}"
    if leaks:
        detail = (
            f"alone, these tell the target: {', '.join(leaks[:5])}; put what is only known with "
            "the answer into `drop`; if it is right, raise leakage.target_like to 1"
        )
    return _judged(check, rule, not leaks, held_out.height, detail, value, rule.target_like)


def time_travel(
    learn: pl.DataFrame, held_out: pl.DataFrame, features: list[str], time: str, *, by_time: bool
) -> Verdict:
    """Whether rows know of what came after them. Told, and no reason to stop.

    Dates after the row's own time may be plans. Rows learned from that are later than held-out
    ones are what a split by key makes on purpose.
    """
    check, both = "no row knows the future", pl.concat([learn, held_out])
    dates = [it for it in features if both.schema[it] in (pl.Date, pl.Datetime)]
    told = []
    for name in dates if both.schema[time] in (pl.Date, pl.Datetime) else []:
        moment = pl.col(time).cast(pl.Datetime("us"))
        later = both.select((pl.col(name).cast(pl.Datetime("us")) > moment).sum()).item()
        if later:
            told.append(f"in {later:,} rows {name} is later than {time}")
    if not by_time:
        told.append(
            "rows were held out without regard to time; what a model is worth on later rows is "
            "measured with split.by: time"
        )
    detail = "; ".join(told) or "every row is as old as what it says"
    return Verdict(check=check, outcome=Outcome.PASS, n=both.height, detail=detail)


def _judged(
    check: str,
    rule: Leakage,
    good: bool | None,
    n: int,
    detail: str,
    value: float | None = None,
    limit: float | None = None,
) -> Verdict:
    outcome = Outcome.INCONCLUSIVE if good is None else Outcome.PASS if good else Outcome.FAIL
    if outcome is not Outcome.PASS and rule.severity == "warn":
        outcome, detail = Outcome.PASS, f"warning: {detail}"
    return Verdict(check=check, outcome=outcome, value=value, limit=limit, n=n, detail=detail)


def _chance(learn: pl.DataFrame, columns: list[str]) -> float:
    """The expected share of rows that agree with one of `learn` by chance."""
    agree = 0.0  # the logarithm of the probability that two rows do
    for name in columns:
        shares = learn[name].unique_counts().to_numpy() / learn.height
        agree += float(np.log((shares**2).sum()))
    return float(-np.expm1(learn.height * np.log1p(-min(np.exp(agree), 1 - 1e-12))))


def _truths(learn: pl.Series, held_out: pl.Series, task: Task) -> list[tuple[Numbers, Numbers]]:
    """The target of both parts as numbers; a pair for each class but the last of two.

    Classes that one of the parts lacks are left out, and a target that does not vary.
    """
    if task == "regression":
        pairs = [(_floats(learn), _floats(held_out))]
    else:
        classes = learn.drop_nulls().unique().sort().to_list()
        classes = classes[1:] if len(classes) == 2 else classes
        pairs = [(_floats(learn == it), _floats(held_out == it)) for it in classes]
    return [it for it in pairs if np.nanstd(it[0]) > 0 and np.nanstd(it[1]) > 0]


def _floats(values: pl.Series) -> Numbers:
    return values.cast(pl.Float64).to_numpy()


def _told_by(
    learn: pl.Series, held_out: pl.Series, truths: list[tuple[Numbers, Numbers]], task: Task
) -> float:
    bins = _bins(learn, held_out)
    if bins is None:
        return 0.0
    known, asked = bins
    found = float(np.mean([_score(known, asked, *truth, task) for truth in truths]))
    if task == "regression" and held_out.dtype.is_numeric():
        found = max(found, _straight(_floats(held_out), truths[0][1]))
    return found


def _straight(values: Numbers, truth: Numbers) -> float:
    """Squared correlation (Pearson): the target in another unit, which bins see only roughly."""
    known = np.isfinite(values)
    if known.sum() < FEWEST_ROWS or not values[known].std() or not truth[known].std():
        return 0.0
    scaled = values[known] / np.abs(values[known]).max()  # squares of huge numbers overflow
    return float(np.corrcoef(scaled, truth[known])[0, 1] ** 2) * float(known.mean())


def _bins(
    learn: pl.Series, held_out: pl.Series
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The bin of each row of both parts, from 0 on; none if a column has one value only."""
    if learn.n_unique() < 2:
        return None
    if learn.dtype.is_numeric() or learn.dtype in (pl.Date, pl.Datetime):
        low, high = _plain(learn), _plain(held_out)
        finite = low[np.isfinite(low)]
        if not len(finite):
            return None
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
        found = [np.searchsorted(edges, it) for it in (low, high)]
        for bins, values in zip(found, (low, high), strict=True):
            bins[np.isnan(values)] = len(edges) + 1
        return found[0].astype(np.int64), found[1].astype(np.int64)
    texts = learn.cast(pl.String).fill_null("\0null")
    known = texts.unique().sort()
    places = pl.DataFrame({"text": known, "bin": np.arange(len(known))})
    asked = held_out.cast(pl.String).fill_null("\0null")
    return tuple(  # type: ignore[return-value]
        pl.DataFrame({"text": it})
        .join(places, on="text", how="left", maintain_order="left")["bin"]
        .fill_null(len(known))
        .to_numpy()
        for it in (texts, asked)
    )


def _plain(values: pl.Series) -> Numbers:
    """Numbers, or times as numbers; null is NaN."""
    return (
        (values if values.dtype.is_numeric() else values.to_physical()).cast(pl.Float64).to_numpy()
    )


def _score(
    known: NDArray[np.int64],
    asked: NDArray[np.int64],
    learned: Numbers,
    truth: Numbers,
    task: Task,
) -> float:
    size = int(max(known.max(), asked.max())) + 1
    counts = np.bincount(known, minlength=size)
    sums = np.bincount(known, weights=learned, minlength=size)
    answers = np.full(size, learned.mean())
    enough = counts >= FEWEST_A_BIN
    answers[enough] = sums[enough] / counts[enough]
    metric = METRICS["r2" if task == "regression" else "roc_auc"]
    found = metric.of(truth, answers[asked])
    return float(found) if np.isfinite(found) else 0.0
