"""Errors that a person can act on: what is wrong, where, what was found, what to do."""

from __future__ import annotations


class LineError(Exception):
    """The line stops here. The message is for a person and says what to do."""


class SpecError(LineError):
    """`model.yaml` or `andon.yaml` does not say what it may say; lists every problem."""


class DataError(LineError):
    """The data cannot be used."""


class TargetError(LineError):
    """A prediction server did not start, or is not the one that was asked for."""


class GatewayError(LineError):
    """The gateway did not take, or did not confirm, a route."""


class PlatformError(LineError):
    """The local platform cannot run as asked: a port, a disk, a permission, an old state."""


class Overtaken(LineError):
    """Another run changed it in the meantime."""


def first_line(error: Exception) -> str:
    """What an error says, without its explanations."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
