"""How servers do: requests by the gateway's counters, CPU and memory by the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from andon.ports import Gateway, Target, Traffic, Usage

PAUSE = 1.0  # seconds between two readings of what servers use


class Counters:
    """What the gateway has counted since the last reading, of all servers at once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._last: dict[str, Traffic] | None = None

    def read(self) -> dict[str, Traffic]:
        """Nothing the first time. Raises GatewayError; what came meanwhile is in the next one."""
        now = self._gateway.traffic()
        before = now if self._last is None else self._last
        self._last = now
        return {name: it.since(before.get(name, Traffic())) for name, it in now.items()}


class Meter:
    """What servers use; in between, what they used a moment ago."""

    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._target, self._clock = target, clock
        self._at: float | None = None
        self._found: dict[str, Usage | None] = {}

    def read(self, names: Sequence[str]) -> dict[str, Usage | None]:
        """By server; None where it cannot be told."""
        now = self._clock()
        if self._at is None or not 0 <= now - self._at < PAUSE:
            self._at, self._found = now, {it: self._target.usage(it) for it in names}
        return self._found
