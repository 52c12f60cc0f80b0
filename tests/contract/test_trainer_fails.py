"""How a training fails: early, and with the cause."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from trainer_kit import LIMITS, LINE, RNG, ROWS, Heard, X, facts, outcomes

from andon.adapters import limited
from andon.adapters.trainer import __main__ as trainer
from andon.adapters.trainer.__main__ import train
from andon.errors import LineError, SpecError


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
            "andon.adapters.trainer", request.message(), LIMITS,
            what="the training", folder=request.project,
        )  # fmt: skip
    first, *_, last = str(caught.value).splitlines()
    assert first == ("models/m/pipeline.py:6: the pipeline could not be fitted: KeyError: 'age'")
    assert last.strip() == "KeyError: 'age'"
