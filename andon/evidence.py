"""What an evaluation has found: the layout of `evaluation.json`, which reports are made from.

One file for each evaluation, in `store/evaluations/<model>/<key>/`. `None` is what does not apply
(no champion, not binary) or is undefined on these rows. All intervals are of 95 %; of a gain,
positive is better.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from andon.errors import DataError

EVALUATION = "evaluation.json"
LAYOUT = 1


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value on the held-out rows, and its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric of the challenger, and of the champion on the same rows.

    `decides` marks the metric of the spec; `limit` is its absolute limit.
    """

    name: str
    greater_is_better: bool
    challenger: Interval
    champion: Interval | None = None
    decides: bool = False
    limit: float | None = None


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The paired comparison with the champion by the metric that decides.

    `method` is how the interval was made: `delong`, `tango` or `bootstrap`. `worse_p` is the p
    value of "worse by the margin or more" (one-sided), `equal_p` of "no difference" (two-sided;
    for accuracy McNemar's). `better`: the whole interval is above 0. `more_rows` would settle an
    inconclusive one with 80 % power, if the gain is what it seems; None: nothing to say.
    """

    metric: str
    method: str
    n: int
    margin: float
    champion: float
    challenger: float
    gain: Interval
    outcome: Literal["pass", "fail", "inconclusive"]
    better: bool
    worse_p: float | None = None
    equal_p: float | None = None
    more_rows: int | None = None


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`column` is `value`: a category, a bin of numbers such as `12 to 30`, or `null`.

    A masked column's value is `masked 1`, `masked 2`, ...
    """

    column: str
    value: str


class Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the held-out rows: all `conditions` hold.

    `named` ones are columns of the spec and decide, the others were found. `search` is the value
    that a found one was chosen for, on one half of the rows: flattering or damning by selection.
    `challenger`, `champion` and `gain` are of rows that had no part in the choice. `p` is adjusted
    for the number of slices that were tested.
    """

    conditions: list[Condition]
    named: bool
    n: int
    challenger: float | None
    champion: float | None = None
    gain: Interval | None = None
    search: float | None = None
    p: float | None = None
    outcome: Literal["pass", "fail", "inconclusive", "shown"] = "shown"


class Slices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All named slices, then the worst that were found.

    `overall` is the challenger's value on all rows. `searched` is how many slices were looked at.
    """

    metric: str
    greater_is_better: bool
    overall: float | None
    margin: float
    min_rows: int
    slices: list[Slice]
    searched: int = 0


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows with scores from `low` to `high`: their mean score, and the share that is positive.

    `share_low` and `share_high` are Wilson's interval of that share.
    """

    low: float
    high: float
    n: int
    score: float
    share: float
    share_low: float
    share_high: float


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Binary: whether 0.7 means 7 in 10. Bins of equally many rows.

    `error` is the typical gap of score and share: the root of its mean square over rows, with the
    bias by chance taken off (Kumar, Liang & Ma 2019); 0 is as good as can be told from so many
    rows. The Brier score is `reliability - resolution + uncertainty`, but for what happens within
    bins.
    """

    bins: list[Bin]
    error: Interval
    brier: float
    reliability: float
    resolution: float
    uncertainty: float


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds if scores from `threshold` on are a yes. `cost` is a row's, on average."""

    threshold: float
    recall: float
    false_positive_rate: float
    precision: float | None
    cost: float


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Binary: the curve over thresholds on held-out rows, from the highest to the lowest.

    `chosen` is the served threshold, chosen on rows to learn from; None if the pipeline's own
    labels are served. `cost` is a row's cost with the served labels, `at_half` with a threshold of
    0.5, `saved` the cost saved against 0.5, and `saved_champion` against the champion's labels.
    """

    false_positive: float
    false_negative: float
    chosen: float | None
    curve: list[Point]
    cost: Interval
    at_half: Interval
    saved: Interval
    saved_champion: Interval | None = None


class Confusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`challenger[i][j]`: rows of class i that were called class j."""

    classes: list[str]
    challenger: list[list[int]]
    champion: list[list[int]] | None = None


class Residuals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Regression: truth minus prediction.

    `counts[i]` rows are between `edges[i]` and `edges[i + 1]`; beyond are `below` and `above`.
    `points` are up to 1,000 pairs of prediction and residual, evenly drawn. `quantiles` are those
    of 0.05, 0.25, 0.5, 0.75 and 0.95.
    """

    edges: list[float]
    counts: list[int]
    below: int
    above: int
    points: list[tuple[float, float]]
    quantiles: list[float]


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. `excluded`: held-out rows that were left out, since the champion learned them.

    `verdicts` are those of the station (`andon.verdict.Verdict` as JSON).
    """

    model: str
    build: str
    task: Literal["binary", "multiclass", "regression"]
    metric: str
    rows: int
    metrics: list[Measured]
    verdicts: list[dict[str, Any]]
    champion: str | None = None
    excluded: int = 0
    comparison: Comparison | None = None
    slices: Slices | None = None
    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    confusion: Confusion | None = None
    residuals: Residuals | None = None
    layout: int = LAYOUT


def to_json(evaluation: Evaluation) -> bytes:
    """As it is written."""
    return msgspec.json.format(msgspec.json.encode(evaluation, enc_hook=_plain), indent=1)


def _plain(value: Any) -> Any:
    """NumPy's numbers are no numbers to msgspec."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_json(raw: bytes) -> Evaluation:
    """As it was written; raises DataError."""
    try:
        found = msgspec.json.decode(raw, type=Evaluation)
    except msgspec.DecodeError as error:
        raise DataError(f"{EVALUATION}: {error}") from None
    if found.layout != LAYOUT:
        raise DataError(f"{EVALUATION}: found layout {found.layout}, this version reads {LAYOUT}")
    return found
