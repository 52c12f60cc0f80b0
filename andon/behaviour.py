"""Tests of a model's behaviour: what it does with rows that were changed on purpose.

After CheckList (Ribeiro et al. 2020): minimum functionality, invariance, directional expectation;
and robustness to what live traffic brings: nulls, unseen categories, numbers out of any range,
columns in another order. A pipeline that refuses a row is not wrong: the prediction server then
says so to the client. One that answers with nonsense is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from andon.spec import Directional, Functionality, Invariance
from andon.verdict import Outcome, Verdict
from serving.bundle import Column

if TYPE_CHECKING:
    import pandas as pd

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]

NULLS = 0.1  # share of the cells that are taken away
ROWS_ALONE = 10
ROWS_CHANGED = 100
COLUMNS_ALONE = 20
RESAMPLES = 200
NULLS_COST = "nulls cost little"
SAME = 1e-6  # as much as the prediction server may differ from the pipeline
UNSEEN = "never seen before"
EXTREMES = (0.0, -1e6, 1e12)


@dataclass(frozen=True)
class Subject:
    """A model to be tested. Each function takes a frame of n rows, and may raise.

    `scores`: (n, classes) probabilities, or (n, 1) values. `labels`: (n,), none for a regression.
    `positive`: the class whose probability is the score of a binary model, else -1.
    """

    scores: Callable[[pd.DataFrame], Scores]
    labels: Callable[[pd.DataFrame], NDArray[Any]] | None
    positive: int
    columns: list[Column]

    def score(self, frame: pd.DataFrame) -> Scores:
        """One number for each row: what goes up or down; of many classes, the first's."""
        return self.scores(frame)[:, self.positive if self.positive >= 0 else 0]


def robust(subject: Subject, frame: pd.DataFrame, seed: int) -> list[Verdict]:
    """What every model has to stand; `frame` are rows that it takes."""
    texts = [it.name for it in subject.columns if it.kind == "category"]
    numbers = [it.name for it in subject.columns if it.kind != "category"]
    some = frame.head(ROWS_CHANGED)
    found = [_alone(subject, frame), _reordered(subject, frame, seed)]
    if texts:
        found.append(_sane(subject, "unseen categories", _replaced(some, texts, (UNSEEN,))))
    if numbers:
        found.append(_sane(subject, "numbers out of any range", _replaced(some, numbers, EXTREMES)))
    return found


def with_nulls(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A tenth of all cells, taken away."""
    gone = np.random.default_rng(seed).random(frame.shape) < NULLS
    return frame.mask(gone).astype(frame.dtypes.to_dict())


def keeps_its_gain(
    before: Callable[[Rows], float],
    after: Callable[[Rows], float],
    n: int,
    *,
    constant: float,
    share: float,
    seed: int,
) -> Verdict:
    """With nulls, `share` of the metric's gain over a constant's has to be left.

    `before` and `after` give the metric at some of n rows, without and with nulls. It fails if
    even the upper end of the bootstrap's 95 % interval of what is left is below the limit.
    """
    rng, rows = np.random.default_rng(seed), np.arange(n)
    gain, loss = abs(before(rows) - constant), abs(after(rows) - before(rows))
    drawn = [rng.integers(0, n, n) for _ in range(RESAMPLES)]
    noise = 1.96 * float(np.nanstd([after(it) - before(it) for it in drawn]))
    kept, best = ((1 - it / gain) if gain > 0 else 1.0 for it in (loss, max(loss - noise, 0.0)))
    bad = best < share
    advice = "; impute in the pipeline, or lower tests.robustness" if bad else ""
    return Verdict(
        check=NULLS_COST,
        outcome=Outcome.FAIL if bad else Outcome.PASS,
        value=kept,
        limit=share,
        n=n,
        detail=f"with {NULLS:.0%} of all cells null, {kept:.0%} of the gain over a constant is "
        f"left{advice}",
    )


def refused(check: str, error: Exception) -> Verdict:
    """A test that the pipeline did not take the rows of."""
    return _failed(check, 0, f"the pipeline refused the rows: {_brief(error)}")


def invariant(subject: Subject, frame: pd.DataFrame, rule: Invariance, seed: int) -> Verdict:
    """Shuffles columns among the rows, together; the scores must stay where they are."""
    check, n = f"does not depend on {', '.join(rule.columns)}", len(frame)
    if wrong := _unknown(subject, rule.columns):
        return _failed(check, n, f"tests.invariance: {wrong}")
    order = np.random.default_rng(seed).permutation(n)
    named = list(rule.columns)
    changed = frame.assign(**{it: frame[it].to_numpy()[order] for it in named})
    before, after = subject.scores(frame), subject.scores(changed)
    spread = float(before.std()) if subject.labels is None else 1.0
    moved = np.abs(after - before).max(axis=1)
    share = float((moved > rule.tolerance * spread).mean())
    detail = (
        f"{share:.1%} of the rows move by more than {rule.tolerance:g}, at most {moved.max():.3g}"
    )
    return _by_share(check, share, rule.share, n, detail)


def directional(subject: Subject, frame: pd.DataFrame, rule: Directional) -> Verdict:
    """Changes one column; the score must not move the other way."""
    check, n = f"{rule.column} moves the score {rule.expect}", len(frame)
    if wrong := _unknown(subject, (rule.column,)):
        return _failed(check, n, f"tests.directional: {wrong}")
    if (rule.add is None) == (rule.set is None):
        return _failed(check, n, "tests.directional: give either `add` or `set`")
    if subject.labels is not None and subject.positive < 0:
        return _failed(check, n, "tests.directional: many classes have no up and down")
    numeric = frame[rule.column].dtype != object
    if rule.add is not None and not numeric:
        return _failed(check, n, f"tests.directional: {rule.column} has no numbers to add to")
    changed = frame[rule.column] + rule.add if rule.add is not None else rule.set
    moved = subject.score(frame.assign(**{rule.column: changed})) - subject.score(frame)
    wrong_way = -moved if rule.expect == "up" else moved
    share = float((wrong_way > rule.tolerance).mean())
    detail = f"{share:.1%} of the rows move the other way; on average by {moved.mean():+.3g}"
    return _by_share(check, share, rule.share, n, detail)


def functional(subject: Subject, typical: pd.DataFrame, rule: Functionality) -> Verdict:
    """One plain row; `typical` is a row for what the rule does not say."""
    check = rule.name
    if wrong := _unknown(subject, tuple(rule.row)):
        return _failed(check, 1, f"tests.functionality: {wrong}")
    if rule.label is None and rule.at_least is None and rule.at_most is None:
        return _failed(check, 1, "tests.functionality: give a `label`, `at_least` or `at_most`")
    row = typical.assign(**rule.row)
    score = float(subject.score(row)[0])
    wrongs = []
    if rule.label is not None:
        label = subject.labels(row)[0] if subject.labels else None
        if label != rule.label:
            wrongs.append(f"the label is {label!r}, not {rule.label!r}")
    if rule.at_least is not None and not score >= rule.at_least:
        wrongs.append(f"{score:.4g} is below {rule.at_least:g}")
    if rule.at_most is not None and not score <= rule.at_most:
        wrongs.append(f"{score:.4g} is above {rule.at_most:g}")
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if wrongs else Outcome.PASS,
        value=score,
        limit=rule.at_least if rule.at_least is not None else rule.at_most,
        n=1,
        detail="; ".join(wrongs) or f"answers {score:.4g}",
    )


def _alone(subject: Subject, frame: pd.DataFrame) -> Verdict:
    check, some = "a row alone as in a batch", frame.head(ROWS_ALONE)
    batch = subject.scores(some)
    alone = np.vstack([subject.scores(some.iloc[i : i + 1]) for i in range(len(some))])
    return _same(check, batch, alone)


def _reordered(subject: Subject, frame: pd.DataFrame, seed: int) -> Verdict:
    """Rows in another order, and columns too: a pipeline may refuse the latter."""
    check = "the order of rows and columns does not matter"
    order = np.random.default_rng(seed).permutation(len(frame))
    rows = subject.scores(frame.iloc[order])
    found = _same(check, subject.scores(frame)[order], rows)
    if found.outcome is not Outcome.PASS:
        return found
    try:
        columns = subject.scores(frame[list(frame.columns[::-1])])
    except Exception:
        return found.model_copy(update={"detail": "columns in another order are refused"})
    return _same(check, subject.scores(frame), columns)


def _same(check: str, wanted: Scores, got: Scores) -> Verdict:
    away = np.abs(wanted - got) / np.maximum(1.0, np.abs(wanted))
    largest = float(away.max()) if away.size else 0.0
    return Verdict(
        check=check,
        outcome=Outcome.PASS if largest <= SAME else Outcome.FAIL,
        value=largest,
        limit=SAME,
        n=len(wanted),
        detail=f"scores differ by {largest:.3g} at most",
    )


def _replaced(
    frame: pd.DataFrame, columns: list[str], values: tuple[Any, ...]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """All columns at once, and the first ones alone, with one value on every row."""
    for value in values:
        for named in [columns, *([it] for it in columns[:COLUMNS_ALONE])]:
            what = named[0] if len(named) == 1 else "all of them"
            yield f"{what} = {value!r}", frame.assign(**dict.fromkeys(named, value))


def _sane(subject: Subject, check: str, changed: Iterator[tuple[str, pd.DataFrame]]) -> Verdict:
    """Every answer has to be a number, and every probability one; or the row is refused.

    A score that is not finite is a refusal, too: the prediction server makes it one.
    """
    tried, wrongs, refused = 0, list[str](), list[str]()
    for what, frame in changed:
        tried += 1
        try:
            scores = subject.scores(frame)
        except Exception as error:
            refused.append(f"{what} ({_brief(error)})")
            continue
        if not np.isfinite(scores).all():
            refused.append(f"{what} (the answer would not be finite)")
        elif subject.labels is not None and not ((scores >= 0) & (scores <= 1)).all():
            wrongs.append(f"{what} (a probability is outside 0 to 1)")
    detail = f"{tried} changes, and every answer is sound"
    if refused:
        detail = f"{len(refused)} of {tried} changes are refused, such as {refused[0]}"
    if wrongs:
        detail = f"{len(wrongs)} of {tried} changes give nonsense, such as {'; '.join(wrongs[:3])}"
    good = Outcome.FAIL if wrongs else Outcome.PASS
    return Verdict(check=check, outcome=good, n=tried, detail=detail)


def _unknown(subject: Subject, named: tuple[str, ...]) -> str:
    known = [it.name for it in subject.columns]
    unknown = [it for it in named if it not in known]
    return f"found {', '.join(unknown)}, the features are {', '.join(known)}" if unknown else ""


def _by_share(check: str, share: float, limit: float, n: int, detail: str) -> Verdict:
    good = Outcome.PASS if share <= limit else Outcome.FAIL
    return Verdict(check=check, outcome=good, value=share, limit=limit, n=n, detail=detail)


def _failed(check: str, n: int, detail: str) -> Verdict:
    return Verdict(check=check, outcome=Outcome.FAIL, n=n, detail=detail)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
