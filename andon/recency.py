"""Which rows a retraining learns from if newer ones weigh more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chosen(rows: int, half_life: int, seed: int) -> NDArray[np.bool_]:
    """Of rows in order of time, the newest last, those that are learned from; (rows,).

    A row that is `half_life` rows older is taken half as often: the newest always, one that is
    k rows older with probability 0.5 ^ (k / half_life). Each is taken once at most, so that no row
    is both learned from and held out. At most about 1.44 half lives of rows are taken.
    """
    age = np.arange(rows - 1, -1, -1, dtype=np.float64)
    drawn = np.random.default_rng(seed).random(rows)
    taken: NDArray[np.bool_] = drawn < 0.5 ** (age / half_life)
    return taken
