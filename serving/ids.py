"""Ids of predictions: 32 hex digits that no other server, no restart and no fork gives again.

48 bits of time in milliseconds, 48 bits that each process draws for itself, 32 bits that count.
Ids of one process sort by their millisecond.
"""

from __future__ import annotations

import itertools
import os

_COUNTS = 0xFFFF_FFFF
_TIMES = 0xFFFF_FFFF_FFFF


class _Own:
    """What this process has and no other."""

    def __init__(self) -> None:
        self.draw()

    def draw(self) -> None:
        self.prefix = os.urandom(6).hex()
        # Not from zero: should two processes ever draw the same, they still count elsewhere.
        self.numbers = itertools.count(int.from_bytes(os.urandom(4), "big"))


_own = _Own()
# A forked process would go on counting where its parent does.
os.register_at_fork(after_in_child=_own.draw)


def new_ids(count: int, now: float) -> list[str]:
    """Ids of the `count` rows of a request that came `now` (epoch seconds)."""
    # Not f-strings: a request has microseconds, and they take a third more.
    head = "%012x%s" % (int(now * 1000) & _TIMES, _own.prefix)  # noqa: UP031
    if count == 1:
        return ["%s%08x" % (head, next(_own.numbers) & _COUNTS)]  # noqa: UP031
    numbers = itertools.islice(_own.numbers, count)
    return [f"{head}{number & _COUNTS:08x}" for number in numbers]
