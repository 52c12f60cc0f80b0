"""The trainer's process: fit, measure, check, and keep what evaluation and serving need."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from andon import fitted, profile, training
from andon.adapters import projects
from andon.adapters.builds import keep_fitted
from andon.adapters.child import Report, answer
from andon.adapters.files import file_hash
from andon.adapters.trainer import FACTS, HELD_OUT, MODEL, MODEL_HASH, PROFILE, SIGNATURE, Request
from andon.adapters.trainer import data as rows_of
from andon.adapters.trainer.data import Data
from andon.adapters.trainer.fitting import Fitter
from andon.adapters.trainer.searching import PART, Searched, search
from andon.errors import LineError
from andon.search import described
from andon.thresholds import with_threshold
from andon.verdict import Outcome, Verdict

ANSWERED = 5_000  # held-out rows that are looked at for shape and probabilities
REFITTED = 2_000  # rows that are fitted twice, where a whole fit is not quick
QUICK_SECONDS = 1.0
STEPS = 1_000  # points of a loss curve that are told


def train(request: Request, report: Report) -> dict[str, Any]:
    """Fill `request.folder` with a build."""
    report.tell(phase="read", fraction=0.0)
    # As every generator takes it; a spec's may be negative.
    spec = request.spec.model_copy(update={"seed": request.spec.seed % 2**32})
    request = request.model_copy(update={"spec": spec})
    data = rows_of.read(request)
    fitter = _fitter(request)
    found = search(fitter, data, report)
    begin = PART if found.tried else 0.0
    report.tell(phase="fit", fraction=begin, where=described(found.parameters))
    began = time.perf_counter()
    found.warned = len(fitter.warned)
    try:
        model = _with_threshold(fitter.fit(data.frame, data.y, found.parameters, ""), data)
    except LineError as error:
        raise LineError(f"{error}{_empty(data)}") from error
    seconds = time.perf_counter() - began
    _tell_losses(report, model, begin)
    report.tell(phase="check", fraction=max(PART, begin))
    learned = _Learned(data, fitter, found, model, seconds)
    learned.judge()
    report.tell(phase="keep", fraction=0.9, metrics=learned.metrics, step=0)
    learned.keep(request)
    report.tell(phase="done", fraction=1.0)
    return {"fit_seconds": seconds}


def _fitter(request: Request) -> Fitter:
    # Last, so that no file of a project stands before a module of that name.
    sys.path += [str(request.project / "models" / request.spec.name), str(request.project)]
    pipeline = projects.load_pipeline(request.project, request.spec.name)
    return Fitter(pipeline, request.spec, request.cpus)


def _empty(data: Data) -> str:
    """What often is the reason, and what scikit-learn does not name."""
    empty = [it.name for it in data.columns if data.learn[it.name].null_count() == len(data.learn)]
    if not empty:
        return ""
    return f"\nThese columns have no value at all, put them into `drop`: {', '.join(empty[:10])}"


def _with_threshold(model: Any, data: Data) -> Any:
    costs, seed = data.spec.threshold, data.spec.seed
    if costs is None:
        return model
    return with_threshold(model, data.frame, data.y, costs, data.measure.label, seed)


def _tell_losses(report: Report, model: Any, fraction: float) -> None:
    losses = fitted.losses(model)
    for step in range(0, len(losses), max(1, len(losses) // STEPS)):
        report.tell(
            phase="fit", fraction=fraction, metrics={"loss": losses[step]}, step=step, quiet=True
        )


class _Learned:
    """A fitted model with its evidence; without metrics where what it says is not of any shape."""

    def __init__(
        self, data: Data, fitter: Fitter, found: Searched, model: Any, seconds: float
    ) -> None:
        self._data, self._fitter, self._found = data, fitter, found
        self._model, self._seconds = model, seconds
        self._warned = fitter.warned[found.warned :]
        self.verdicts: list[Verdict] = []
        self.metrics: dict[str, float] = {}
        self._said: training.Outputs | None = None

    def judge(self) -> None:
        data, spec = self._data, self._data.spec
        first = data.test_frame.head(ANSWERED)
        if len(first):
            self.verdicts = fitted.answers(self._model, first, spec.task, data.classes)
        if any(it.outcome is Outcome.FAIL for it in self.verdicts):
            return
        self._said = said = data.outputs(self._model, data.test_frame)
        self.verdicts += training.checks(data.measure, data.y, data.y_test, said, seed=spec.seed)
        self.verdicts += self._on_refits(said)
        self.metrics = training.measured(data.measure, spec.task, data.y_test, said)

    def _on_refits(self, said: training.Outputs) -> Iterator[Verdict]:
        data, spec = self._data, self._data.spec
        yield fitted.learns_tiny(self._refit, data.frame, data.y, of=data.measure, task=spec.task)
        yield self._repeats(said)
        yield fitted.converged(self._warned, self._found.warned)
        if best := self._found.best:
            what = f"best of {len(self._found.tried)}: {described(best.parameters)}: "
            what = what if spec.training.search else ""
            yield Verdict(
                check="cross-validation",
                outcome=Outcome.PASS,
                value=best.mean,
                n=len(data.y),
                detail=f"{what}{spec.metric_name} {best.mean:.4f} ± {best.spread:.4f} "
                f"(standard deviation over {len(best.scores)} folds)",
            )

    def _repeats(self, said: training.Outputs) -> Verdict:
        data, some = self._data, self._data.test_frame
        if self._seconds <= QUICK_SECONDS:
            again = self._fitter.fit(data.frame, data.y, self._parameters, "", quiet=True)
            if data.spec.threshold:  # only the model that is kept has one
                said = replace(said, labels=None)
            return fitted.repeats(said, data.outputs(again, some), len(data.y))
        rows = fitted.some_rows(data.y, REFITTED, classes=bool(data.classes))
        some = some.head(ANSWERED)
        try:
            once, twice = (data.outputs(self._refit(rows), some) for _ in range(2))
        except LineError as error:
            detail = f"could not be fitted on {len(rows):,} rows: {error}"
            return Verdict(check="deterministic", outcome=Outcome.INCONCLUSIVE, detail=detail)
        return fitted.repeats(once, twice, len(rows))

    @property
    def _parameters(self) -> dict[str, Any]:
        return self._found.parameters

    def _refit(self, rows: Any) -> Any:
        import threadpoolctl

        data = self._data
        part, y = data.frame.iloc[rows], data.y[rows]
        # On few rows threads do little but wait for each other, on a busy machine for seconds.
        with threadpoolctl.threadpool_limits(1):
            return self._fitter.fit(part, y, self._parameters, "", quiet=True)

    def keep(self, request: Request) -> None:
        data, folder = self._data, request.folder
        keep_fitted(self._model, folder / MODEL, f"models/{data.spec.name}/pipeline.py")
        for name in (HELD_OUT, SIGNATURE):
            os.link(request.split / name, folder / name)
        if self._said is not None:
            reference = profile.build(data.learn, data.columns, self._said.scores)
            of = data.spec.slices
            parts = profile.parts_of(
                data.test, self._said.scores, of.columns, reference.score, of.min_rows
            )
            reference = msgspec.structs.replace(reference, parts=parts)
            (folder / PROFILE).write_bytes(profile.to_json(reference))
        facts = {
            "metrics": self.metrics,
            "rows": [data.learn.height, data.test.height],
            "classes": data.classes,
            "positive": data.positive,
            "parameters": self._parameters,
            "seeded": self._fitter.seeded,
            "search": self._found.facts(),
            "fit_seconds": self._seconds,
            MODEL_HASH: file_hash(folder / MODEL),
            "verdicts": [it.model_dump(mode="json") for it in self.verdicts],
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1))


def _work(asked: dict[str, Any], report: Report) -> dict[str, Any]:
    return train(Request.model_validate(asked), report)


if __name__ == "__main__":
    answer(_work, "project")
