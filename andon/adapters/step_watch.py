"""What a rollout's state sees: is the candidate ready, and how does it answer?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from andon.adapters.ledger import Release
from andon.errors import GatewayError
from andon.gates import ALPHA, Seen, judge
from andon.looks import Look, Probe, Side
from andon.ports import Gateway, Server, ServerSpec, Target, Traffic
from andon.rollout import Rollout
from andon.settings import Settings
from andon.spec import Mirror, Step
from andon.verdict import Outcome, Verdict

PROBES_AT_ONCE = 20
FIRST_PROBES = 5
# A server that carries traffic and does not answer for that long has failed: a step may last hours.
SILENT_SECONDS = 20.0


class ProbeFunction(Protocol):
    """How requests with known answers are sent; see `GatewayProbe`."""

    def __call__(
        self, *, environment: str, model: str, version: str, bundle: Path, n: int
    ) -> Probe: ...


class StepWatch:
    """Watches one state; what it has seen is lost in a crash, and then measured again."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        gateway: Gateway,
        probe: ProbeFunction,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._target, self._gateway, self._probe, self._clock = target, gateway, probe, clock
        self._last: Traffic | None = None
        self._silent_since: float | None = None
        self._seen = Seen()

    def look(self, release: Release, spec: ServerSpec) -> list[Verdict]:
        """The gate's verdicts so far; inconclusive where the gateway cannot be read."""
        server = self._target.look(spec)
        rollout = release.rollout
        step = rollout.carrying
        verdicts = [_readiness(server) if step is None else self._readiness(server)]
        if step is None or step.min_requests == 0:
            return verdicts
        try:
            # Also of a server that does not answer: what it owes to clients are its errors.
            self._seen = self._seen.add(self._look(rollout, spec, step, server.state == "ready"))
        except GatewayError as error:
            return [*verdicts, unmeasured("error rate", error)]
        alpha = ALPHA / len(rollout.steps)
        found = judge(self._seen, rollout.gate, rollout.limits, step.min_requests, alpha)
        return [*verdicts, *found]

    def _readiness(self, server: Server) -> Verdict:
        """Of a server that was ready once: one that is silent for long has failed."""
        now, found = self._clock(), _readiness(server)
        if found.outcome is not Outcome.INCONCLUSIVE:
            self._silent_since = None
            return found
        self._silent_since = now if self._silent_since is None else self._silent_since
        silent = now - self._silent_since
        if silent < SILENT_SECONDS:
            return found
        detail = f"{found.detail}; it has not been ready for {silent:.0f} s"
        return found.model_copy(update={"outcome": Outcome.FAIL, "detail": detail})

    def _look(self, rollout: Rollout, spec: ServerSpec, step: Step | Mirror, ready: bool) -> Look:
        """What came since the last look; sends probes where live traffic is thin."""
        now = self._gateway.traffic().get(spec.name, Traffic())
        before = self._last or now
        fresh = now.since(before)
        missing = self._due(rollout, step) - int((self._seen.candidate + fresh).requests)
        probed = Probe()
        if ready and missing > 0:
            probed = self._probe(
                environment=spec.environment,
                model=spec.model,
                version=spec.version,
                bundle=spec.bundle,
                n=min(missing, PROBES_AT_ONCE),
            )
            now = self._gateway.traffic().get(spec.name, Traffic())
            fresh = now.since(before)
        self._last = now
        return Look(at=self._clock(), candidate=Side(traffic=fresh), probe=probed)

    def _due(self, rollout: Rollout, step: Step | Mirror) -> int:
        """How many requests the line sees to: a few at once, all of them in the second half.

        So live traffic has its say first, and only what it leaves open is filled with probes.
        """
        early = self._clock() - rollout.since < step.seconds / 2
        return min(step.min_requests, FIRST_PROBES) if early else step.min_requests


def _readiness(server: Server) -> Verdict:
    known = {"ready": Outcome.PASS, "failed": Outcome.FAIL}
    outcome = known.get(server.state, Outcome.INCONCLUSIVE)
    detail = f"{server.name} is {server.state} {server.detail}"
    return Verdict(check="ready", outcome=outcome, n=1, detail=detail)


def unmeasured(check: str, error: Exception) -> Verdict:
    """A check that could not be made."""
    return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=str(error))
