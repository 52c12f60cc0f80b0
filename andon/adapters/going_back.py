"""Which version can be had: to release it, or to go back to it, and by which order."""

from __future__ import annotations

from collections.abc import Sequence

from andon.adapters.driver import AT_ONCE, Order
from andon.adapters.ledger import Candidate, Ledger
from andon.adapters.mlflow_mirror import promoted
from andon.errors import LineError
from andon.registered import before
from andon.settings import Settings
from andon.spec import Limits


def order_back(environment: str, trigger: str, run_id: str) -> Order:
    """A version that is known only has to be ready, and to be itself; what it replaces ends."""
    return Order(
        environment=environment,
        plan=AT_ONCE.model_copy(update={"keep_warm": 0.0}),
        limits=Limits(),
        trigger=trigger,
        run_id=run_id,
        kind="rollback",
    )


def version_back(ledger: Ledger, model: str, environment: str) -> str:
    """What a rollback that names no version brings back; raises LineError if there is none.

    While a release is in progress: the champion. Else the version that served before the champion
    first did, so that a second rollback goes further back, and not forth again. A rollback that was
    cut off is taken up again.
    """
    champion = ledger.champion(environment, model)
    at_work = ledger.unfinished(environment, model)
    if at_work is not None and at_work.kind == "rollback":
        return at_work.version
    if champion is None:
        hint = f"; `andon abort {model}` ends the release of v{at_work.version}" if at_work else ""
        raise LineError(f"{model} has no champion in {environment}: nothing to roll back{hint}")
    if at_work is not None:
        return champion.version
    earlier = before(promoted(ledger, model, environment))
    if earlier is None:
        raise LineError(
            f"{model} v{champion.version} is the first champion in {environment}: "
            "there is no earlier version to return to"
        )
    return earlier


def to_return(
    settings: Settings, ledger: Ledger, model: str, environment: str, version: str
) -> Candidate:
    """The version that is to come back; raises LineError, with those that can be had.

    It must have served there before, because a rollback asks no gate, and its bundle must be kept.
    """
    served = list(dict.fromkeys(promoted(ledger, model, environment)))
    known = {it.version: it for it in ledger.candidates(model)}
    there = [it for it in served if it in known and _kept(settings, known[it])]
    candidate = known.get(version)
    if candidate is None:
        raise LineError(
            f"the ledger knows no version {version} of {model}; {_can_be_had(there, environment)}"
        )
    if version not in served:
        raise LineError(
            f"{model} v{version} never served in {environment}, and a rollback asks no gate: "
            f"`andon release {model} {version}` does; {_can_be_had(there, environment)}"
        )
    if version not in there:
        raise LineError(
            f"the bundle of {model} v{version} is gone ({settings.state / candidate.bundle}); "
            f"{_can_be_had(there, environment)}"
        )
    return candidate


def to_release(settings: Settings, ledger: Ledger, model: str, version: str) -> Candidate:
    """The version that is to be released; raises LineError, with those that can be had."""
    known = {it.version: it for it in ledger.candidates(model)}
    there = [it for it in known if _kept(settings, known[it])]
    if version in there:
        return known[version]
    problem = f"the ledger knows no version {version} of {model}"
    if version in known:
        problem = f"the bundle of {model} v{version} is gone ({known[version].bundle})"
    raise LineError(f"{problem}; to be had: {', '.join(there) or 'none'}")


def _kept(settings: Settings, candidate: Candidate) -> bool:
    return (settings.state / candidate.bundle).is_dir()


def _can_be_had(versions: Sequence[str], environment: str) -> str:
    listed = ", ".join(f"v{it}" for it in versions)
    return f"{environment} can return to: {listed or 'none'}"
