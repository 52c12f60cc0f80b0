"""How often the gates of a release are right: `python benchmarks/release/simulate.py [--write]`.

Whole rollouts, with `andon.gates` as it is: every look is added, every gate judged at every look.
Beside it a z-test at 5 % of the figure in question, looked at as often. The seeds are fixed; what
`--write` keeps in `results.json` is the table in docs/releases.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from andon.gates import ALPHA, Seen, judge
from andon.looks import Answers, Look, Pair, Side
from andon.ports import Traffic
from andon.sequential import Mean
from andon.spec import GateName, Limits, Mirror, Step
from andon.verdict import Outcome

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "releases.md"
BEGIN, END = "<!-- release: written by the benchmark -->", "<!-- end of release -->"
CANARY = tuple(Step(weight=weight) for weight in (5, 25, 50, 100))
HALF = (Step(weight=50), Step(weight=100))
SHADOW = (Mirror(mirror=100),)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)
MEDIAN_SECONDS, SPREAD = 0.008, 0.5  # of a log-normal latency: p95 is 18 ms
WIDE = Limits(error_rate=0.05)
LABELLED = 0.1  # of the answers
Z = 1.6449  # one-sided, 5 %
MIN_REQUESTS = 50
Found = tuple[str, int, int]


@dataclass(frozen=True)
class Acts:
    """How a server behaves. `slower`: times the usual latency; `score`: its mean."""

    errors: float = 0.01
    refused: float = 0.005
    slower: float = 1.0
    score: float = 0.3
    loss: float = 0.1


@dataclass(frozen=True)
class Case:
    """One row: `looks` in each step, with `requests` of both servers in between.

    `differ`: share of the pairs that differ; `worst`: in a slice of a tenth of them.
    """

    name: str
    champion: Acts = Acts()
    candidate: Acts = Acts()
    limits: Limits = WIDE
    steps: tuple[Step | Mirror, ...] = CANARY
    looks: int = 20
    requests: int = 150
    differ: float = 0.0
    worst: float = 0.0
    naive: str = "errors"


IDENTICAL = [
    Case(
        f"as good, {rate:.1%} errors".replace("%", " %"),
        Acts(rate),
        Acts(rate),
        Limits(error_rate=limit),
        looks=looks,
        requests=3_000 // looks,
    )
    for rate, limit in ((0.001, 0.01), (0.01, 0.05), (0.05, 0.1))
    for looks in (3, 20)
]
LIMIT = Acts(0.01, 0.0075, 1.0, 0.4, 0.12)  # all that the limits allow
BOUND = Limits(error_rate=0.01, shift=0.1, disagreement=0.1)
CASES = [
    *IDENTICAL,
    Case("as good, 1.0 % errors", looks=100, requests=30),
    Case("as bad as its limits allow", Acts(), LIMIT, BOUND),
    Case("mirror that differs as its limits allow", limits=BOUND, steps=SHADOW, differ=0.1,
         worst=0.1, naive="differ"),
    Case("errors 1 % → 2 %", Acts(), Acts(0.02)),
    Case("errors 1 % → 2 %", Acts(), Acts(0.02), looks=40, requests=500),
    Case("errors 1 % → 2 %, half and half", Acts(), Acts(0.02), steps=HALF, looks=40, requests=500),
    Case("errors 1 % → 10 %", Acts(), Acts(0.1), Limits(error_rate=0.2)),
    Case("mean score 0.3 → 0.5, limit 0.1", Acts(), Acts(score=0.5), BOUND, naive="score"),
    Case("4 times as slow", Acts(), Acts(slower=4.0), naive="slow"),
    Case("loss 0.1 → 0.3", Acts(), Acts(loss=0.3), naive="loss"),
    Case("mirror: 20 % differ, limit 10 %", limits=BOUND, steps=SHADOW, differ=0.2, worst=0.2,
         naive="differ"),
    Case("mirror: 50 % differ in a slice", limits=BOUND, steps=SHADOW, worst=0.5, naive="differ"),
]  # fmt: skip


@dataclass
class Draw:
    """Random looks of a case; `champion`: whether one has traffic."""

    case: Case
    rng: np.random.Generator

    def look(self, at: int, step: Step | Mirror) -> Look:
        case, n = self.case, self.case.requests
        if isinstance(step, Mirror):
            pairs = self.pairs(n)
            ours, theirs = self.side(case.candidate, n), self.side(case.champion, n)
            return Look(at, ours, theirs, pairs)
        own = int(self.rng.binomial(n, step.weight / 100))
        ours = self.side(case.candidate, own)
        return Look(at, ours, self.side(case.champion, n - own) if step.weight < 100 else None)

    def side(self, acts: Acts, n: int) -> Side:
        rng = self.rng
        scores = rng.random(n) ** (1 / acts.score - 1)  # its mean is `score`
        yes = int((scores > 0.5).sum())
        traffic = Traffic(
            n, int(rng.binomial(n, acts.errors)), int(rng.binomial(n, acts.refused)),
            self.buckets(acts.slower, n),
        )  # fmt: skip
        answers = Answers(n, Counter(yes=yes, no=n - yes), tuple(scores.tolist()))
        losses = rng.random(int(rng.binomial(n, LABELLED))) < acts.loss
        return Side(traffic, answers, tuple(losses.astype(float).tolist()))

    def buckets(self, slower: float, n: int) -> dict[float, float]:
        seconds = MEDIAN_SECONDS * slower * np.exp(SPREAD * self.rng.standard_normal(n))
        counts = np.searchsorted(np.sort(seconds), BOUNDS, side="right")
        return dict(zip(BOUNDS, counts.astype(float).tolist(), strict=True))

    def pairs(self, n: int) -> tuple[Pair, ...]:
        rng, case = self.rng, self.case
        region = rng.random(n) < 0.1
        differ = rng.random(n) < np.where(region, case.worst, case.differ)
        champion = rng.random(n)
        candidate = np.clip(champion + 0.1 * rng.standard_normal(n), 0, 1)
        return tuple(
            Pair(bool(d), float(a), float(b), ("region=north" if r else "region=south",))
            for d, a, b, r in zip(differ, candidate, champion, region, strict=True)
        )


def rollout(case: Case, seed: int) -> tuple[Found | None, int | None]:
    """The check that fails it, the step, and the requests so far; and those when the z-test does.

    None: it does not.
    """
    draw = Draw(case, np.random.default_rng(seed))
    ours: Found | None = None
    naive: int | None = None
    requests = 0
    for number, step in enumerate(case.steps):
        seen = Seen()
        for at in range(case.looks):
            seen = seen.add(draw.look(at, step))
            requests += case.requests
            if ours is None:
                check = failed(seen, step.gate, case.limits, ALPHA / len(case.steps))
                ours = (check, number, requests) if check else None
            if naive is None and z(seen, case) > Z:
                naive = requests
            if ours and naive:
                return ours, naive
    return ours, naive


def failed(seen: Seen, gate: tuple[GateName, ...], limits: Limits, alpha: float) -> str:
    """The first check that fails; none: nothing."""
    verdicts = judge(seen, gate, limits, MIN_REQUESTS, alpha)
    return next((it.check for it in verdicts if it.outcome is Outcome.FAIL), "")


def z(seen: Seen, case: Case) -> float:
    """Of the figure that the case is about, beyond what is allowed; 0 if there is nothing yet."""
    if case.naive == "differ":
        it = seen.agreement.differ
        return _z(it, Mean(), case.limits.disagreement)
    if case.naive == "score":
        return _z(seen.scores.candidate, seen.scores.champion, case.limits.shift)
    if case.naive == "loss":
        return _z(seen.losses.candidate, seen.losses.champion, case.limits.margin)
    if case.naive == "slow":
        both = (seen.candidate, seen.champion)
        ours, theirs = (
            Mean(it.requests - it.buckets.get(0.05, 0.0), int(it.requests)) for it in both
        )
        return _z(ours, theirs, 0.0)
    total = seen.errors.total
    ours = Mean(total.candidate_k, total.candidate_n)
    return _z(ours, Mean(total.champion_k, total.champion_n), 0.0)


def _z(ours: Mean, theirs: Mean, allowed: float) -> float:
    if ours.n == 0:
        return 0.0
    spread = sum(it.value * (1 - it.value) / it.n for it in (ours, theirs) if it.n)
    return (ours.value - theirs.value - allowed) / sqrt(spread) if spread > 0 else 0.0


def row(
    case: Case, count: int, seed: int, pool: ProcessPoolExecutor | None = None
) -> dict[str, Any]:
    """What became of `count` rollouts."""
    seeds = [1_000_003 * seed + i for i in range(count)]
    one = partial(rollout, case)
    found = list(pool.map(one, seeds, chunksize=25) if pool else map(one, seeds))
    ours = [it for it, _ in found if it]
    naive = [it for _, it in found if it]
    checks = Counter(check for check, _, _ in ours)
    return {
        "name": case.name,
        "looks": case.looks * len(case.steps),
        "requests": case.requests * case.looks * len(case.steps),
        "rolled_back": len(ours) / count,
        "median": int(np.median([it[2] for it in ours])) if ours else None,
        "checks": dict(checks.most_common()),
        "naive": len(naive) / count,
        "naive_median": int(np.median(naive)) if naive else None,
    }


def table(found: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| candidate | looks | requests | rolled back | median after | by | z-test: rolled back "
        "| median after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for it in found["rows"]:
        by = next(iter(it["checks"]), "") if it["rolled_back"] > 0.05 else ""
        cells = [it["name"], f"{it['looks']:,}", f"{it['requests']:,}", _share(it["rolled_back"])]
        cells += [_after(it["median"], it["rolled_back"]), by]
        cells += [_share(it["naive"]), _after(it["naive_median"], it["naive"])]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _after(median: int | None, share: float) -> str:
    return f"{median:,}" if median and share > 0.05 else ""


def insert(page: Path, text: str) -> None:
    """Put the table where the page has its markers; raises LookupError if it has none."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=1_000)
    parser.add_argument("--write", action="store_true", help="results.json and docs/releases.md")
    asked = parser.parse_args()
    found: dict[str, Any] = {"rollouts": asked.rollouts, "rows": []}
    with ProcessPoolExecutor() as pool:
        for seed, case in enumerate(CASES, 1):
            found["rows"].append(row(case, asked.rollouts, seed, pool))
            print(table(found)[-1], flush=True)
    if asked.write:
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        insert(PAGE, "\n".join(table(found)))


if __name__ == "__main__":
    main()
