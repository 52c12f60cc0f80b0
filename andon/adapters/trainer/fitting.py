"""Fits clones of a pipeline: each from the same start, with the same seed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from andon import fitted, training
from andon.errors import LineError
from andon.spec import ModelSpec


class Fitter:
    """A project's pipeline. `seeded` names what got the spec's seed; `warned`: ConvergenceWarnings.

    Raises LineError if it is no estimator that can be cloned.
    """

    def __init__(self, pipeline: Any, spec: ModelSpec, cpus: int) -> None:
        self._file = f"models/{spec.name}/pipeline.py"
        training.demand_estimator(pipeline)
        self._pipeline, self._spec, self._cpus = pipeline, spec, cpus
        self.seeded = training.seeded(pipeline, spec.seed)
        self.warned: list[str] = []

    @property
    def parameters(self) -> list[str]:
        """All names that a search may use."""
        return list(self._pipeline.get_params(deep=True))

    def fit(
        self, frame: Any, y: Any, parameters: Mapping[str, Any], where: str, *, quiet: bool = False
    ) -> Any:
        """A fitted clone; raises LineError, naming `where`, if it cannot be or is not finite.

        `quiet`: what it says of its convergence is not kept.
        """
        warned: list[str] = []
        try:
            with training.blaming_the_pipeline("be fitted"):
                model = self._clone(parameters)
            # Whoever draws from a global generator draws the same.
            random.seed(self._spec.seed)
            np.random.seed(self._spec.seed)
            with _heard(warned), self._threads():
                model = training.fit(model, frame, y)
        except LineError as error:
            if where:
                raise type(error)(f"{where}: {error}") from (error.__cause__ or error)
            raise
        if self._spec.task != "regression" and not hasattr(model, "predict_proba"):
            raise LineError(
                f"{self._file}: task {self._spec.task!r} needs probabilities, but "
                f"{type(model).__name__} has no predict_proba; put it into a CalibratedClassifierCV"
            )
        fitted.demand_finite(model, where or "the fit")
        if not quiet:
            self.warned += warned
        return model

    def _clone(self, parameters: Mapping[str, Any]) -> Any:
        from sklearn.base import clone

        return clone(self._pipeline).set_params(**parameters)

    def _threads(self) -> Any:
        """What leaves n_jobs open works on all processors, in threads: processes start slowly."""
        import joblib

        return joblib.parallel_config(backend="threading", n_jobs=self._cpus)


@contextmanager
def _heard(warned: list[str]) -> Iterator[None]:
    """ConvergenceWarnings are kept; others go where they went."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", ConvergenceWarning)
        show = warnings.showwarning

        def hear(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, ConvergenceWarning):
                warned.append(str(message).strip().splitlines()[0])
            else:
                show(message, category, *rest)

        warnings.showwarning = hear  # type: ignore[assignment]
        yield
