"""What monitors might have seen, for tests of the pages that show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from andon.dashboard import Place
from andon.monitor_page import Earlier, Watch
from andon.profile import Profile, feature_of, window_counts
from andon.summary import Summary, Tally
from andon.verdict import Outcome, Verdict
from serving.bundle import Column

AT = 1_764_000_000.0
HOSTILE = "<script>document.title='owned'</script>"
FAIL, PASS, UNSURE = Outcome.FAIL, Outcome.PASS, Outcome.INCONCLUSIVE


def drift(name: str, outcome: Outcome, value: float) -> Verdict:
    return Verdict(
        check=f"drift: {name}", outcome=outcome, value=value, limit=0.05, n=2_000,
        detail=f"total variation {value:.3f}, adjusted p 2e-09; bad in 2 of 3 windows",
        evidence={"adjusted_p": 2e-9},
    )  # fmt: skip


def drifted(category: str = "rome", story: int = 3) -> Watch:
    """A number and a category have moved; `category` is one of its values."""
    rng = np.random.default_rng(1)
    then = pl.DataFrame({
        "fee": rng.normal(size=5_000), "city": rng.choice([category, "oslo", "lima"], 5_000),
    })  # fmt: skip
    now = pl.DataFrame({
        "fee": rng.normal(0.6, 1.2, 2_000),
        "city": rng.choice([category, "oslo", "lima", "new"], 2_000, p=[0.7, 0.1, 0.1, 0.1]),
    })  # fmt: skip
    features = [
        feature_of(Column("fee", "number"), then["fee"]),
        feature_of(Column("city", "category"), then["city"]),
    ]
    score = feature_of(Column("score", "number"), pl.Series("score", rng.random(5_000)))
    tallies = {it.name: Tally(window_counts(it, now[it.name])) for it in features}
    said = Tally(window_counts(score, pl.Series("score", rng.beta(2, 5, 2_000))))
    summary = Summary(2_000, 0, 1, tallies, said, {})
    found = [drift("fee", FAIL, 0.24), drift("city", FAIL, 0.37), drift("age", PASS, 0.01)]
    found.append(Verdict(check="prediction drift", outcome=FAIL, value=0.3, n=2_000, detail="d"))
    earlier = [
        Earlier(
            AT - 900 * back, "drift", {it.check: PASS if back > 4 else it.outcome for it in found}
        )
        for back in range(30, -1, -1)
    ]
    earlier += [Earlier(AT - 60, "service", {"service: answers": UNSURE})]
    return Watch(
        model="churn", environment="production", version="7", at=AT,
        verdicts={"drift": found, "quality": [Verdict(check="quality: roc_auc", outcome=UNSURE)]},
        earlier=earlier,
        windows={"drift": (summary, Profile(5_000, features, score))},
        rows=[{"fee": 0.1, "city": category, "label": True, "card": "secret"}] * 3,
        masked=["card"],
        incident="churn-0123abcd",
        story=[(AT - 900 * it, f"something happened, {it} times") for it in range(story)],
    )  # fmt: skip


def quiet() -> Watch:
    watch = drifted()
    verdicts = {"drift": [drift("fee", PASS, 0.01)]}
    return replace(watch, verdicts=verdicts, incident="", story=(), rows=(), earlier=())


def places(name: str = "churn") -> list[Place]:
    runs = {"drift": [PASS] * 20 + [UNSURE] + [FAIL] * 3, "service": [PASS] * 30}
    verdicts = [drift("fee", FAIL, 0.24), Verdict(check='a "quoted\\" check', outcome=PASS)]
    return [
        Place("production", name, "7", AT - 9e5, runs, verdicts, AT, [("churn-01", "open")],
              "production/churn/20251124-160000.html"),
        Place("staging", "tumor", "2", AT - 9e4, {}, (), 0.0, (), ""),
    ]  # fmt: skip
