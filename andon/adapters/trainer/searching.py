"""Cross-validation and search: one fold of one candidate after another, each told as it is done.

scikit-learn's own searches are silent until all is done, go on over a score that is NaN, and halve
by a class that is experimental; its parts (`clone`, `ParameterGrid`, `ParameterSampler`, the
splitters) are what this is made of.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from andon.adapters.child import Report
from andon.adapters.trainer.data import Data, folding
from andon.adapters.trainer.fitting import Fitter
from andon.errors import LineError
from andon.folds import Fold, folds_of, share_of
from andon.search import (
    FOLDS,
    Parameters,
    Tried,
    candidates,
    demand_parameters,
    described,
    ranked,
    rounds,
)

PART = 0.7  # of the whole progress


@dataclass
class Searched:
    """The best parameters, and all that was tried in all rounds (in the order of the rounds)."""

    parameters: Parameters = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)
    best: Tried | None = None
    folds: int = 0
    warned: int = 0

    def facts(self) -> dict[str, Any]:
        """For facts.json."""
        described_ = [{**asdict(it), "mean": it.mean, "spread": it.spread} for it in self.tried]
        best = self.tried.index(self.best) if self.best else None
        return {"folds": self.folds, "candidates": described_, "best": best}


def search(fitter: Fitter, data: Data, report: Report) -> Searched:
    """Cross-validate as `training` says; nothing where it says nothing.

    Raises SpecError for parameters that the pipeline has not, and LineError at the first fold that
    cannot be fitted or whose score is not finite.
    """
    plan, spec = data.spec.training, data.spec
    demand_parameters(fitter.parameters, plan.search, f"models/{spec.name}/model.yaml")
    count = plan.folds or (FOLDS if plan.search else 0)
    if count == 0:
        return Searched()
    by = folding(data)
    folds = folds_of(data.y, by, count, spec.seed, classes=bool(data.classes))
    return _Search(fitter, data, report, folds, by.times).run()


class _Search:
    def __init__(
        self, fitter: Fitter, data: Data, report: Report, folds: list[Fold], times: Any
    ) -> None:
        self._fitter, self._data, self._report = fitter, data, report
        self._folds, self._times = folds, times
        self._metric = data.spec.metric_name
        self._greater = data.metric.greater_is_better
        self._done, self._all = 0, 0
        self._tried: list[Tried] = []
        self._best: Tried | None = None

    def run(self) -> Searched:
        spec = self._data.spec
        left = candidates(spec.training.search, spec.seed)
        plan = rounds(spec.training.search, len(left), min(len(it[0]) for it in self._folds))
        self._all = sum(it.candidates for it in plan) * len(self._folds)
        for number, round_ in enumerate(plan, 1):
            self._best = None  # scores of fewer rows are no match
            of = f"round {number} of {len(plan)}, " if len(plan) > 1 else ""
            tried = [
                self._try(it, round_.share, f"{of}candidate {i} of {len(left)}")
                for i, it in enumerate(left, 1)
            ]
            best = ranked(tried, greater_is_better=self._greater)
            if number < len(plan):
                left = [it.parameters for it in best[: plan[number].candidates]]
        assert self._best is not None  # noqa: S101 - there is a candidate
        return Searched(self._best.parameters, self._tried, self._best, len(self._folds))

    def _try(self, parameters: Parameters, share: float, name: str) -> Tried:
        began, scores = time.perf_counter(), []
        for number, fold in enumerate(self._folds, 1):
            latest = self._times
            part = share_of(fold, share, self._data.spec.seed, latest=latest)
            where = f"{name} ({described(parameters)}), fold {number} of {len(self._folds)}"
            scores.append(self._score(parameters, part, where))
            self._done += 1
            if number < len(self._folds):
                self._tell(where, scores)
        tried = Tried(parameters, tuple(scores), time.perf_counter() - began, share)
        self._tried.append(tried)
        known = [self._best, tried] if self._best else [tried]
        self._best = ranked(known, greater_is_better=self._greater)[0]
        self._tell(f"{name} ({described(parameters)})", scores)
        return tried

    def _score(self, parameters: Parameters, fold: Fold, where: str) -> float:
        data, (learn, scored) = self._data, fold
        model = self._fitter.fit(data.frame.iloc[learn], data.y[learn], parameters, where)
        if data.classes and len(getattr(model, "classes_", data.classes)) != len(data.classes):
            raise LineError(
                f"{where}: learned {len(model.classes_)} of {len(data.classes)} classes; "
                "fewer folds, or other groups, may help"
            )
        found = data.measure.score(data.y[scored], data.outputs(model, data.frame.iloc[scored]))
        if not math.isfinite(found):
            one = bool(data.classes) and len(set(data.y[scored].tolist())) == 1
            why = ": its rows are all of one class" if one else ""
            raise LineError(f"{where}: {self._metric} is {found}{why}")
        return found

    def _tell(self, where: str, scores: list[float]) -> None:
        best = self._best.mean if self._best else None
        whole = len(scores) == len(self._folds)
        metrics = {"cv_fold": scores[-1]} | ({} if best is None else {"cv_best": best})
        if whole:
            metrics["cv_mean"] = math.fsum(scores) / len(scores)
        self._report.tell(
            phase="search" if self._data.spec.training.search else "cross-validation",
            fraction=PART * self._done / self._all,
            where=where,
            step=self._done,
            metrics=metrics,
            best=best,
        )
