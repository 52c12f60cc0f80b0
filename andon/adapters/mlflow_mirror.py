"""MLflow's aliases and tags, as the ledger says: it decides, MLflow mirrors."""

from __future__ import annotations

from andon.adapters import mlflow_client
from andon.adapters.ledger import Ledger, lock
from andon.adapters.mlflow_registry import Registry
from andon.errors import LineError
from andon.registered import ALIASES, Known, aliases_wanted
from andon.rollout import Phase

ROUNDS = 5  # how often the ledger may change while its last state is shown
RELEASES = 10_000


def known(ledger: Ledger, model: str) -> Known:
    """What the ledger knows now."""
    return Known(
        versions=tuple(it.version for it in ledger.candidates(model)),
        production=promoted(ledger, model, "production"),
        staging=promoted(ledger, model, "staging"),
    )


def promoted(ledger: Ledger, model: str, environment: str) -> tuple[str, ...]:
    """The version of each release that was promoted, newest first."""
    found = ledger.releases(model, environment, limit=RELEASES)
    return tuple(it.version for it in found if it.rollout.phase is Phase.PROMOTED)


def mirror(ledger: Ledger, registry: Registry, model: str) -> list[str]:
    """Make the aliases as the ledger says; returns what was changed.

    One at a time for each model, and the ledger is read again after writing: whoever comes last
    shows the last state. Other people's aliases are left alone.
    """
    changed: list[str] = []
    with lock(ledger, f"registry/{model}"):
        for _ in range(ROUNDS):
            wanted = aliases_wanted(known(ledger, model))
            changed += _set(registry, model, wanted)
            if aliases_wanted(known(ledger, model)) == wanted:
                break
    return changed


def mirror_or_tell(
    ledger: Ledger, url: str, model: str, *, patient: bool = True
) -> tuple[list[str], str]:
    """As `mirror`, for the server at `url`: what was changed, and what went wrong ("": nothing).

    A silent MLflow changes nothing that serves, so it raises nothing; without patience it is asked
    once, before the library is loaded.
    """
    silent = None if patient else mlflow_client.problem(url)
    if silent is not None:
        return [], silent
    try:
        return mirror(ledger, Registry(url), model), ""
    except LineError as error:
        return [], str(error)


def _set(registry: Registry, model: str, wanted: dict[str, str]) -> list[str]:
    found, changed = registry.aliases(model), []
    differ = [it for it in ALIASES if found.get(it) != wanted.get(it)]
    there = registry.tags(model) if differ else {}
    for alias in differ:
        version = wanted.get(alias)
        if version is not None and version not in there:
            changed.append(f"alias {alias}: v{version} is not in MLflow, so nothing has it")
            version = None
        if found.get(alias) == version:
            continue
        registry.set_alias(model, alias, version)
        changed.append(f"alias {alias}: {_named(found.get(alias))} → {_named(version)}")
    return changed


def _named(version: str | None) -> str:
    return f"v{version}" if version else "none"


def mend(ledger: Ledger, registry: Registry, model: str) -> list[str]:
    """Make aliases and lineage tags as the ledger says; returns what was not so."""
    found, mended = registry.tags(model), []
    for candidate in reversed(ledger.candidates(model)):
        name, tags = f"v{candidate.version}", candidate.tags or {}
        if candidate.version not in found:
            mended.append(
                f"{name} is on the ledger and not in MLflow: it was deleted there. Its bundle is "
                f"in the store ({candidate.bundle}), and it can still be released"
            )
            continue
        there = found[candidate.version]
        other = {key: value for key, value in tags.items() if there.get(key) != value}
        if other:
            registry.set_tags(model, candidate.version, other)
            mended += [f"{name}: tag {it} was {there.get(it)!r}: set back" for it in sorted(other)]
    return mended + mirror(ledger, registry, model)
