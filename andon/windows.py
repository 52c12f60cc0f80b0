"""One verdict of several windows in a row: a single one that looks bad is not yet an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Finding:
    """What a check found in one window; `bad` is None where it could not tell."""

    bad: bool | None
    n: int
    detail: str
    value: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p values that control the false discovery rate (Benjamini & Hochberg 1995)."""
    n = len(p_values)
    order = np.argsort(p_values)[::-1]
    adjusted = np.minimum.accumulate(p_values[order] * n / np.arange(n, 0, -1))
    result = np.empty(n)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def judged(check: str, limit: float, findings: Sequence[Finding], need: int) -> Verdict:
    """`findings` of windows, the newest first: fails if that one is bad, and `need` of all are.

    A newest window that is bad for the first time is inconclusive: it neither alarms nor clears.
    """
    newest, bad = findings[0], sum(it.bad is True for it in findings)
    outcome, detail = Outcome.PASS, newest.detail
    if newest.bad is None:
        outcome = Outcome.INCONCLUSIVE
    elif newest.bad:
        outcome = Outcome.FAIL if bad >= need else Outcome.INCONCLUSIVE
        if len(findings) > 1 or need > 1:
            detail += f"; bad in {bad} of {len(findings)} windows"
        detail += "" if bad >= need else f", an alarm needs {need}"
    evidence = dict(newest.evidence)
    if newest.bad is not None:
        evidence["windows"] = [
            {"n": it.n, "bad": it.bad, "value": it.value} | _p(it) for it in findings
        ]
    return Verdict(
        check=check, outcome=outcome, value=newest.value, limit=limit, n=newest.n, detail=detail,
        evidence=evidence,
    )  # fmt: skip


def _p(finding: Finding) -> dict[str, Any]:
    return {key: finding.evidence[key] for key in ("adjusted_p",) if key in finding.evidence}
