"""Which rows are held out: the same ones on any machine, and as the data grows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Held = NDArray[np.bool_]


def by_hash(keys: Sequence[str], share: float, seed: int) -> Held:
    """Whether each row is held out (n,). Rows with one key (or group) always stay together.

    About `share` of the keys are: each is hashed with the seed to a number in [0, 1), so what a
    row's key says never changes as others come.
    """
    salt = seed.to_bytes(8, "big", signed=True)
    digests = b"".join(hashlib.blake2b(k.encode(), digest_size=8, key=salt).digest() for k in keys)
    return np.frombuffer(digests, dtype=">u8") < int(share * 2**64)


def by_time(times: NDArray[np.int64], share: float, since: int | None) -> Held:
    """Whether each row is held out (n,): those at `since` or later, else about the latest `share`.

    Rows of one moment stay together. With a share, the border moves on as later rows come: a row
    that was held out may be learned from then, but never the other way round.
    """
    if since is None:
        since = int(np.quantile(times, 1 - share, method="higher"))
    return times >= since
