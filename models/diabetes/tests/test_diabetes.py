"""What the pipeline has to do."""

import runpy
from pathlib import Path

import numpy as np

PIPELINE = runpy.run_path(str(Path(__file__).resolve().parents[1] / "pipeline.py"))


def test_a_missing_measure_counts_as_the_median() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(50, 10, (201, 3))
    model = PIPELINE["pipeline"]().fit(x, x @ [1.0, 2.0, 3.0])
    missing, median = x[:1].copy(), x[:1].copy()
    missing[0, 1] = np.nan
    median[0, 1] = np.median(x[:, 1])
    assert model.predict(missing) == model.predict(median)
