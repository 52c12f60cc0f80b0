"""What the pipeline has to do."""

import runpy
from pathlib import Path

import numpy as np

PIPELINE = runpy.run_path(str(Path(__file__).resolve().parents[1] / "pipeline.py"))


def test_the_unit_of_a_measure_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(10, 3, (200, 4))
    y = np.where(x[:, 0] > 10, "malignant", "benign")
    metres = PIPELINE["pipeline"]().fit(x, y).predict_proba(x)
    millimetres = PIPELINE["pipeline"]().fit(x * 1_000, y).predict_proba(x * 1_000)
    np.testing.assert_allclose(metres, millimetres, atol=1e-6)
