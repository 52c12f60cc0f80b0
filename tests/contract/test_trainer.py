"""The trainer on real splits: what it leaves, what it searches, and how it fails."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.adapters import limited, splitting, tables
from andon.adapters.child import Report
from andon.adapters.compute import Limits
from andon.adapters.trainer import FACTS, HELD_OUT, LEARN, MODEL, SIGNATURE, Request
from andon.adapters.trainer.__main__ import train
from andon.errors import LineError, SpecError
from andon.spec import ModelSpec
from serving.engines.sklearn import read_model

RNG = np.random.default_rng(0)
N = 600
X = RNG.normal(size=N)
ROWS = pl.DataFrame(
    {
        "id": range(N),
        "x": X,
        "z": RNG.normal(size=N),
        "place": [f"p{i % 11}" for i in range(N)],
        "at": pl.datetime_range(
            pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 25, 23), "1h", eager=True
        )[:N],
        "y": np.where(X + RNG.normal(0, 0.7, N) > 0, "yes", "no"),
        "value": 3 * X + RNG.normal(0, 0.1, N),
    }
)
LINE = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

def pipeline():
    return Pipeline([("scale", StandardScaler()), ("line", LogisticRegression())])
"""
LIMITS = Limits(seconds=120, memory_mb=2_000, cpus=2)


class Heard(Report):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[dict[str, Any]] = []

    def tell(self, **event: Any) -> None:
        self.events.append(json.loads(json.dumps(event)))


@pytest.fixture(autouse=True)
def path(monkeypatch) -> Iterator[None]:
    import sys

    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [*sys.path])
        yield


Make = Callable[..., Request]


@pytest.fixture
def make(tmp_path) -> Make:
    def made(pipeline: str = LINE, rows: pl.DataFrame = ROWS, **keys: Any) -> Request:
        drop = ["value", "place"] if keys.get("task") != "regression" else ["y", "place"]
        given = {"target": "y", "task": "binary", "key": "id", "time": "at", "drop": drop, **keys}
        spec = ModelSpec.model_validate({"name": "m", "data": "d.parquet", **given})
        models = tmp_path / "models" / "m"
        models.mkdir(parents=True, exist_ok=True)
        (models / "pipeline.py").write_text(textwrap.dedent(pipeline))
        split, folder = tmp_path / "split", tmp_path / "build"
        for it in (split, folder):
            it.mkdir()
        parts = splitting.split(rows, spec)
        tables.write(parts.learn, split / LEARN)
        tables.write(parts.held_out, split / HELD_OUT)
        import msgspec

        (split / SIGNATURE).write_bytes(msgspec.json.encode(parts.signature))
        return Request(project=tmp_path, spec=spec, split=split, folder=folder, cpus=2)

    return made


def facts(request: Request) -> dict[str, Any]:
    return json.loads((request.folder / FACTS).read_text())


def outcomes(request: Request) -> dict[str, str]:
    return {it["check"]: it["outcome"] for it in facts(request)["verdicts"]}


def test_a_build_has_all_that_evaluation_and_serving_need(make):
    request, heard = make(), []
    answer, used = limited.call(
        "andon.adapters.trainer", request.model_dump(mode="json"), LIMITS,
        what="the training", folder=request.project, told=heard.append,
    )  # fmt: skip
    assert sorted(it.name for it in request.folder.iterdir()) == [
        "facts.json", "held_out.parquet", "model.skops", "profile.json", "signature.json",
    ]  # fmt: skip
    assert set(outcomes(request).values()) == {"pass"}
    assert list(outcomes(request)) == [
        "right shape", "probabilities", "finite predictions", "better than a constant",
        "learns a few rows", "deterministic", "converged",
    ]  # fmt: skip
    assert facts(request)["metrics"]["roc_auc"] > 0.8
    assert facts(request)["seeded"] == ["line__random_state"]
    assert [it["phase"] for it in heard] == ["read", "fit", "check", "keep", "done"]
    assert answer["fit_seconds"] < used.seconds
    assert used.peak_mb > 50


def test_a_regression_is_trained(make):
    code = "from sklearn.linear_model import Ridge\ndef pipeline(): return Ridge()\n"
    request = make(code, target="value", task="regression")
    train(request, Heard())
    assert set(outcomes(request).values()) == {"pass"}
    assert "probabilities" not in outcomes(request)


@pytest.mark.parametrize("split", [{"by": "key"}, {"by": "group", "column": "place"},
                                   {"by": "time"}], ids=lambda it: it["by"])  # fmt: skip
def test_a_search_finds_the_best_and_refits_it_on_all_rows(make, split):
    choices = {"line__C": [1e-6, 1.0], "scale": ["passthrough"]}
    request = make(
        split=split, training={"folds": 3, "search": {"kind": "grid", "parameters": choices}},
        metric={"name": "log_loss"},
    )  # fmt: skip
    heard = Heard()
    train(request, heard)
    found = facts(request)["search"]
    assert found["folds"] == 3
    assert [len(it["scores"]) for it in found["candidates"]] == [3, 3]
    assert found["best"] == 1, "log_loss: less is better"
    assert facts(request)["parameters"] == {"line__C": 1.0, "scale": "passthrough"}
    assert outcomes(request)["cross-validation"] == "pass"
    model = read_model(request.folder / MODEL)
    assert (model["line"].C, model["scale"]) == (1.0, "passthrough")
    told = [it for it in heard.events if it["phase"] == "search"]
    assert [it["step"] for it in told] == [1, 2, 3, 4, 5, 6]
    assert [it["fraction"] for it in told] == sorted(it["fraction"] for it in told)
    assert "candidate 2 of 2 (line__C=1.0, scale=passthrough)" in told[-1]["where"]
    assert told[-1]["metrics"]["cv_best"] == told[-1]["metrics"]["cv_mean"]


def test_halving_goes_on_with_the_better_ones_on_more_rows(make):
    choices = {"line__C": [1e-9, 1e-8, 1e-7, 1.0]}
    request = make(
        training={"folds": 2, "search": {"kind": "halving", "factor": 2, "parameters": choices}},
        metric={"name": "log_loss"},
    )  # fmt: skip
    train(request, Heard())
    found = facts(request)["search"]["candidates"]
    assert [it["share"] for it in found] == [0.5] * 4 + [1.0] * 2
    assert facts(request)["parameters"] == {"line__C": 1.0}


def test_folds_without_a_search_tell_the_spread(make):
    request = make(training={"folds": 4})
    train(request, Heard())
    (only,) = facts(request)["search"]["candidates"]
    assert (only["parameters"], len(only["scores"])) == ({}, 4)
    assert only["spread"] > 0


def test_rows_of_one_key_are_in_one_fold(make):
    from andon.adapters.trainer.data import folding, read

    twice = pl.concat([ROWS, ROWS])
    assert folding(read(make(rows=twice))).groups is not None


def test_equal_requests_give_equal_builds(make, tmp_path):
    code = LINE.replace("LogisticRegression", "SGDClassifier").replace(
        "SGDClassifier()", "SGDClassifier(loss='log_loss')"
    )
    choices = {"line__alpha": [1e-5, 1e-4, 1e-3, 1e-2]}
    search = {"kind": "random", "iterations": 3, "parameters": choices}
    request = make(code, training={"folds": 2, "search": search}, seed=-3)
    again = request.model_copy(update={"folder": tmp_path / "again"})
    again.folder.mkdir()
    for it in (request, again):
        train(it, Heard())
    assert (request.folder / MODEL).read_bytes() == (again.folder / MODEL).read_bytes()
    first, second = (facts(it)["search"]["candidates"] for it in (request, again))
    assert [it["scores"] for it in first] == [it["scores"] for it in second]


# --- what goes wrong


def test_a_parameter_that_the_pipeline_lacks_is_an_error_before_any_fit(make):
    heard = Heard()
    search = {"kind": "grid", "parameters": {"lin__C": [1]}}
    with pytest.raises(SpecError, match="found 'lin__C', close to it: line__C"):
        train(make(training={"search": search}), heard)
    assert [it["phase"] for it in heard.events] == ["read"]


def test_a_candidate_that_cannot_be_fitted_is_named_with_its_fold(make):
    search = {"kind": "grid", "parameters": {"line__C": [1.0, -1.0]}}
    with pytest.raises(LineError, match=r"candidate 2 of 2 \(line__C=-1.0\), fold 1 of 2: .*'C'"):
        train(make(training={"folds": 2, "search": search}), Heard())


NOT_FINITE = """
import numpy as np
from sklearn.linear_model import Ridge

class Diverges(Ridge):
    def fit(self, X, y):
        super().fit(X, y)
        self.loss_curve_ = [1.0, np.inf if self.alpha == 8 else 0.5]
        return self

    def predict(self, X):
        return super().predict(X) * (np.nan if self.alpha == 7 else 1)

def pipeline():
    return Diverges()
"""


@pytest.mark.parametrize(
    ("alpha", "says"),
    [
        (8.0, r"\(alpha=8.0\), fold 1 of 2: loss_curve_ of Diverges is inf at 2 of 2"),
        (7.0, r"candidate 2 of 3 \(alpha=7.0\), fold 1 of 2: rmse is nan"),
    ],
)
def test_a_loss_or_a_score_that_is_not_finite_fails_at_once(make, alpha, says):
    heard = Heard()
    search = {"kind": "grid", "parameters": {"alpha": [1.0, alpha, 2.0]}}
    request = make(
        NOT_FINITE, target="value", task="regression", training={"folds": 2, "search": search}
    )
    with pytest.raises(LineError, match=says):
        train(request, heard)
    assert max(it.get("step", 0) for it in heard.events) == 2, "nothing is fitted after it"


def test_a_fold_without_a_class_is_told(make):
    rows = ROWS.sort("x").with_columns(at=ROWS["at"])  # all of one class come first
    rows = rows.with_columns(y=pl.Series(["no"] * 300 + ["yes"] * 300))
    request = make(rows=rows, split={"by": "time"}, training={"folds": 3})
    with pytest.raises(LineError, match=r"fold 1 of 3: .*class"):
        train(request, Heard())


def test_what_does_not_converge_is_told(make):
    request = make(LINE.replace("LogisticRegression()", "LogisticRegression(max_iter=1)"))
    train(request, Heard())
    (told,) = [it for it in facts(request)["verdicts"] if it["check"] == "converged"]
    assert told["outcome"] == "pass"
    assert "warning: did not converge: the fit that is kept: lbfgs" in told["detail"]


def test_what_is_not_the_same_twice_fails(make):
    code = """
        import itertools
        from sklearn.linear_model import Ridge
        COUNT = itertools.count()

        class Moody(Ridge):
            def fit(self, X, y):
                return super().fit(X, y + next(COUNT))

        def pipeline():
            return Moody()
        """
    request = make(code, target="value", task="regression")
    with pytest.raises(LineError, match="no prediction server would load"):
        train(request, Heard())
    from andon.adapters.trainer import __main__ as trainer

    data = trainer.rows_of.read(request)
    fitter = trainer._fitter(request)
    learned = trainer._Learned(
        data, fitter, trainer.Searched(), fitter.fit(data.frame, data.y, {}, ""), 0.0
    )
    learned.judge()
    failed = [it for it in learned.verdicts if it.outcome == "fail"]
    assert [it.check for it in failed] == ["deterministic"]


def test_a_constant_is_no_model(make):
    code = "from sklearn.dummy import DummyClassifier\ndef pipeline(): return DummyClassifier()\n"
    request = make(code)
    train(request, Heard())
    failed = [name for name, outcome in outcomes(request).items() if outcome == "fail"]
    assert failed == ["better than a constant", "learns a few rows"]


def test_few_held_out_rows_do_not_tell(make):
    some = ROWS.head(40).with_columns(
        y=pl.Series(np.where(X[:40] + RNG.normal(0, 3, 40) > 0, "yes", "no"))
    )
    request = make(rows=some)
    train(request, Heard())
    assert outcomes(request)["better than a constant"] in ("inconclusive", "fail")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def pipeline(): return 3", "returned int, expected a scikit-learn estimator"),
        ("from sklearn.svm import LinearSVC\ndef pipeline(): return LinearSVC()",
         "LinearSVC has no predict_proba"),
    ],
)  # fmt: skip
def test_what_is_no_classifier_is_refused(make, code, says):
    with pytest.raises(LineError, match=says):
        train(make(code), Heard())


def test_an_exception_of_the_project_names_its_line(make):
    code = """
        from sklearn.linear_model import LogisticRegression

        class Raises(LogisticRegression):
            def fit(self, X, y):
                return {}["age"]

        def pipeline():
            return Raises()
        """
    request = make(code)
    with pytest.raises(LineError) as caught:
        limited.call(
            "andon.adapters.trainer", request.model_dump(mode="json"), LIMITS,
            what="the training", folder=request.project,
        )  # fmt: skip
    first, *_, last = str(caught.value).splitlines()
    assert first == ("models/m/pipeline.py:6: the pipeline could not be fitted: KeyError: 'age'")
    assert last.strip() == "KeyError: 'age'"


def test_helpers_of_the_project_can_be_imported(make, tmp_path):
    code = "from helpers_of_m import made\ndef pipeline(): return made()\n"
    request = make(code)
    helper = "from sklearn.naive_bayes import GaussianNB\ndef made(): return GaussianNB()\n"
    (tmp_path / "models" / "m" / "helpers_of_m.py").write_text(helper)
    train(request, Heard())
    assert outcomes(request)["better than a constant"] == "pass"
