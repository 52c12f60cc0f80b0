"""Which rows are held out: decided by each row's key alone, so it never changes as data grows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def is_test(keys: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Whether each row is held out. Rows with one key always stay together.

    About `share` of the keys are: each is hashed with the seed to a number in [0, 1).
    """
    salt = seed.to_bytes(8, "big", signed=True)
    digests = b"".join(hashlib.blake2b(k.encode(), digest_size=8, key=salt).digest() for k in keys)
    return np.frombuffer(digests, dtype=">u8") < int(share * 2**64)
