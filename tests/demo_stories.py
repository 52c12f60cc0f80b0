"""Stories for tests of the demo's summary: one that went well, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from andon.adapters.ledger import Incident, Release, Transition, VerdictRow
from andon.rollout import Phase, Rollout
from andon.spec import Step
from deployments.demo.story import Check, Sent, Story

BEGAN = 1_795_455_000.0  # 2026-11-23 17:30:00 UTC
HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;"""
FEATURES = ("age", "monthly_charge", "plan")


def verdict(check: str, outcome: str = "pass", **values: Any) -> VerdictRow:
    row = VerdictRow("run-1", "churn", "train", "build 4be1d9", check, outcome, None, None, 0, "",
                     {}, BEGAN + 20)  # fmt: skip
    return replace(row, **values)


def drift(run: str, version: str, at: float, distances: Sequence[float]) -> list[VerdictRow]:
    return [
        verdict(
            f"drift: {name}", "fail" if value >= 0.1 else "pass", run_id=run,
            station="monitor drift", subject=f"v{version} in production", value=value, limit=0.1,
            n=2000, detail=f"total variation {value:.3f}", at=at,
        )
        for name, value in zip(FEATURES, distances, strict=True)
    ]  # fmt: skip


def release(
    seq: int, version: str, at: float, weights: Sequence[int], champion: str | None = None
) -> tuple[Release, list[Transition]]:
    """A release to production that was promoted, a second a transition."""
    mine, other = f"production-churn-v{version}", f"production-churn-v{champion}"
    steps = tuple(Step(weight=it) for it in weights)
    rollout = Rollout(candidate=mine, champion=champion and other, steps=steps,
                      phase=Phase.PROMOTED, since=at + len(steps) + 1)  # fmt: skip
    told = [("starting", "starting", {other: 100} if champion else {})]
    told += [
        ("stepping", f"step {i}/{len(steps)} at {it} %",
         {other: 100 - it, mine: it} if champion else {mine: 100})
        for i, it in enumerate(weights, 1)
    ]  # fmt: skip
    told += [("promoted", "promoted: every gate passed", {mine: 100})]
    transitions = [Transition(seq, *it, at + i) for i, it in enumerate(told)]
    end = transitions[-1].at
    return Release(seq, "production", "churn", version, "release", f"asker {seq}", f"run-{seq}",
                   rollout, 3, at, end), transitions  # fmt: skip


def requests(begin: float, end: float, version: str, *, drifted: bool = False) -> list[Sent]:
    """Twenty a second, ten rows each."""
    n = round(20 * (end - begin))
    return [Sent(BEGAN + begin + i / 20, 0.012, 10, version, drifted) for i in range(n)]


def good_story() -> Story:
    """Everything was seen: v1 drifted, v2 took over, nothing failed."""
    before = drift("run-2", "1", BEGAN + 58, (0.012, 0.02, 0.031))
    after = drift("run-3", "1", BEGAN + 80, (0.35, 0.271, 0.04))
    clear = drift("run-5", "2", BEGAN + 140, (0.011, 0.013, 0.017))
    return Story(
        model="churn",
        started=BEGAN,
        ended=BEGAN + 150,
        stages=[("the local platform", 21.5), ("deliver churn", 75.0)],
        sent=[
            *requests(40, 60, "1"), *requests(60, 110, "1", drifted=True),
            *requests(110, 145, "2", drifted=True),
        ],
        marks=[(BEGAN + 60, "drift begins"), (BEGAN + 81, "alert"), (BEGAN + 83, "retraining"),
               (BEGAN + 112, "promoted"), (BEGAN + 141, "all clear")],
        drift_before=before,
        drift_after=after,
        metric="roc_auc",
        metrics=[("v2", "drifted rows", 0.8034), ("v1", "rows like training", 0.8213),
                 ("v1", "drifted rows", 0.6918)],
        verdicts=[
            verdict("roc_auc", value=0.82013, limit=0.78, n=20_102, detail="wanted >= 0.7800"),
            *before, *after, *clear,
            verdict("quality: roc_auc", "inconclusive", station="monitor quality", limit=0.05,
                    n=120, detail="120 labels came back, wanted at least 200"),
        ],
        releases=[release(1, "1", BEGAN + 33, [100]),
                  release(2, "2", BEGAN + 106, [10, 50, 100], "1")],
        incident=Incident(
            "churn-0f9d7c6b", "churn", "production", "drift", "closed", BEGAN + 80, BEGAN + 141,
            story=((BEGAN + 80, "alert: drift: age: total variation 0.350"),
                   (BEGAN + 82, "retraining started by run run-4"),
                   (BEGAN + 141, "clear on 812 rows")),
        ),
        checks=[Check("delivered", True, "v2 is the champion"),
                Check("0 failed requests", True, "0 of 2100 requests failed")],
        links=[("Prefect UI", "http://127.0.0.1:4200"), ("summary", "file:///tmp/demo.html")],
        curl="curl -s http://127.0.0.1:4202/production/churn/predict -d '{\"records\": []}'",
    )  # fmt: skip


def with_text(story: Story, text: str) -> Story:
    """The same story with the text at the end of every text in it, where that may be anything."""
    made = _with_text(story, text)
    assert isinstance(made, Story)
    return made


def _with_text(it: Any, text: str) -> Any:
    if isinstance(it, str):
        return it + text
    if isinstance(it, list | tuple):
        return type(it)(_with_text(child, text) for child in it)
    if isinstance(it, dict):
        return {_with_text(key, text): value for key, value in it.items()}
    if is_dataclass(it) and not isinstance(it, type):
        kept = {"environment", "state"}  # what the page decides by
        changed = {
            field.name: _with_text(getattr(it, field.name), text)
            for field in fields(it)
            if field.name not in kept
        }
        return replace(it, **changed)
    return it
