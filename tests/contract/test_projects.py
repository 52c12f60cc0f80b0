"""A model project's own code may do anything; what is said of it names the file."""

from __future__ import annotations

import numpy as np
import pytest

from andon.adapters.projects import load_pipeline, measured_by, metric_of
from andon.errors import LineError
from andon.reading import parse_spec
from andon.spec import ModelSpec
from andon.training import Measure, Outputs, measured


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.exit('enough')",
        "def pipeline():\n    raise SystemExit('enough')",
        "def pipeline():\n    raise ValueError('enough')",
    ],
)
def test_code_that_ends_or_raises_is_an_error_with_its_words(tmp_path, code):
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(code)
    with pytest.raises(LineError, match=r"models/m/pipeline\.py: .*enough"):
        load_pipeline(tmp_path, "m")


PROFIT = """
def profit(y_true, y_output):
    called = y_output > 0.3
    return (50 * (called & (y_true == 1)) - 5 * called).mean()
"""
Y = np.array([0.0, 1.0, 1.0, 0.0])
P = np.array([0.1, 0.9, 0.2, 0.8])


def project(tmp_path, code: str, *, more: str = "") -> ModelSpec:
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.py").write_text(code)
    text = f"data: d.csv\ntarget: y\ntask: binary\nmetric: {{name: 'metrics.py:profit'{more}}}\n"
    return parse_spec(text, name="m", file="models/m/model.yaml")


def test_a_function_of_the_project_is_a_metric(tmp_path):
    spec = project(tmp_path, PROFIT)
    info = metric_of(spec, tmp_path)
    assert (info.name, info.uses, info.greater_is_better) == (
        "metrics.py:profit", "probability", True,
    )  # fmt: skip
    assert info.of(Y, P) == (50 - 10) / 4
    other = metric_of(project(tmp_path, PROFIT, more=", greater_is_better: false"), tmp_path)
    assert not other.greater_is_better


def test_the_name_or_code_of_the_metric_is_part_of_what_a_build_depends_on(tmp_path):
    keys = [measured_by(project(tmp_path, code), tmp_path) for code in (PROFIT, PROFIT + "\n")]
    keys.append(measured_by(project(tmp_path, PROFIT, more=", uses: label"), tmp_path))
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "def profit(y, p):\n    z = 1\n    return y / None",
            r"metrics\.py:3: .* raised TypeError",
        ),
        ("def profit(y):\n    return 1.0", r"metrics\.py: profit\(\) raised TypeError"),
        ("def profit(y, p):\n    return y", r"metrics\.py:1: profit\(\) returned ndarray"),
        ("def profit(y, p):\n    return 'a lot'", r"returned str, expected a number"),
        ("def profit(y, p):\n    return None", r"returned NoneType, expected a number"),
    ],
)
def test_a_metric_that_cannot_be_had_names_file_and_line(tmp_path, code, says):
    info = metric_of(project(tmp_path, code), tmp_path)
    with pytest.raises(LineError, match=says):
        info.of(Y, P)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def other(y, p):\n    return 1.0", "defines no function `profit`"),
    ],
)
def test_a_file_without_the_function_says_so(tmp_path, code, says):
    with pytest.raises(LineError, match=f"models/m/metrics.py: .*{says}"):
        metric_of(project(tmp_path, code), tmp_path)
    (tmp_path / "models" / "m" / "metrics.py").unlink()
    with pytest.raises(LineError, match=r"models/m/metrics\.py: no such file"):
        metric_of(project_spec(tmp_path), tmp_path)


def project_spec(tmp_path) -> ModelSpec:
    spec = project(tmp_path, "")
    (tmp_path / "models" / "m" / "metrics.py").unlink()
    return spec


def test_a_metric_without_a_value_for_all_rows_is_an_error(tmp_path):
    info = metric_of(project(tmp_path, "def profit(y, p):\n    return float('nan')"), tmp_path)
    said = Outputs(P, Y, np.column_stack([1 - P, P]))
    with pytest.raises(LineError, match="profit returned NaN for all 4 held-out rows"):
        measured(Measure(info, [0.0, 1.0], 1), "binary", Y, said)


def test_a_metric_may_spoil_its_arguments(tmp_path):
    code = "def profit(y, p):\n    p.sort()\n    y[:] = 0\n    return p[0]"
    info = metric_of(project(tmp_path, code), tmp_path)
    y, p = Y.copy(), P.copy()
    assert info.of(y, p) == 0.1
    assert (y.tolist(), p.tolist()) == (Y.tolist(), P.tolist())
