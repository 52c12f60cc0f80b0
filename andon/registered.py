"""What the registry shows: which aliases a model has, its hyper-parameters, its card in short."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALIASES = ("candidate", "staging", "champion", "previous")
LONGEST_VALUE = 250  # characters of a parameter's value
_NAME = re.compile(r"[^\w\-. /]")  # what MLflow takes in a name, without the colon


@dataclass(frozen=True)
class Known:
    """What the ledger knows of a model; every tuple is newest first.

    `production` and `staging` have one version for each release that was promoted there, so a
    version may be in them more than once.
    """

    versions: tuple[str, ...] = ()
    production: tuple[str, ...] = ()
    staging: tuple[str, ...] = ()


def aliases_wanted(known: Known) -> dict[str, str]:
    """The version of each alias; an alias that is not in it must not be there.

    `champion` is what production serves, `previous` what a rollback would bring back, `staging`
    what staging serves, and `candidate` the newest version, unless production ever served it.
    """
    newest = next(iter(known.versions), None)
    found = {
        "candidate": None if newest in known.production else newest,
        "staging": next(iter(known.staging), None),
        "champion": next(iter(known.production), None),
        "previous": before(known.production),
    }
    return {alias: version for alias, version in found.items() if version is not None}


def before(promoted: Sequence[str]) -> str | None:
    """The version that served before the champion first did; `promoted` is newest first."""
    if not promoted:
        return None
    first = max(at for at, version in enumerate(promoted) if version == promoted[0])
    return next(iter(promoted[first + 1 :]), None)


def parameters(given: Mapping[str, Any]) -> dict[str, str]:
    """`get_params(deep=True)` as short texts that are the same in every process.

    Steps and other objects are told by their class: their own parameters follow under their name.
    """
    return {_NAME.sub("_", name)[:LONGEST_VALUE]: _text(value) for name, value in given.items()}


def _text(value: object) -> str:
    text = _plain(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _plain(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {_plain(it)}" for key, it in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 0) == 1:  # a NumPy scalar
        return str(item())
    return type(value).__name__


def in_short(card: str, lines: int = 30, characters: int = 4_000) -> str:
    """The first lines of a card in Markdown, cut at the end of a line."""
    kept: list[str] = []
    for line in card.strip().splitlines()[:lines]:
        if sum(len(it) + 1 for it in kept) + len(line) > characters:
            break
        kept.append(line)
    return "\n".join(kept).rstrip()
