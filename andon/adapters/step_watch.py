"""What a rollout's state sees: is the candidate ready, and how does it answer?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from andon import checks
from andon.adapters.ledger import Release
from andon.errors import GatewayError
from andon.ports import Gateway, Server, ServerSpec, Target, Traffic
from andon.spec import Limits, Step
from andon.verdict import Outcome, Verdict

PROBES_AT_ONCE = 20
FIRST_PROBES = 5


class ProbeFunction(Protocol):
    """How requests with known answers are sent; see `GatewayProbe`."""

    def __call__(
        self, *, environment: str, model: str, version: str, bundle: Path, n: int
    ) -> checks.Probe: ...


class StepWatch:
    """Watches one state; what it has seen is lost in a crash, and then measured again."""

    def __init__(
        self,
        target: Target,
        gateway: Gateway,
        probe: ProbeFunction,
        clock: Callable[[], float],
    ) -> None:
        self._target, self._gateway, self._probe, self._clock = target, gateway, probe, clock
        self._before: Traffic | None = None
        self._probed = checks.Probe()

    def look(self, release: Release, spec: ServerSpec, limits: Limits) -> list[Verdict]:
        """The gate's verdicts so far; inconclusive where the gateway cannot be read."""
        server = self._target.look(spec)
        verdicts = [_readiness(server)]
        step = release.rollout.current
        if step is None or server.state != "ready" or step.min_requests == 0:
            return verdicts
        try:
            before, now = self._requests(release, spec, step)
        except GatewayError as error:
            return [*verdicts, unmeasured("error rate", error)]
        http = checks.http(before, now, limits, step.min_requests)
        return [*verdicts, checks.smoke(self._probed, 0), *http]

    def _requests(self, release: Release, spec: ServerSpec, step: Step) -> tuple[Traffic, Traffic]:
        """The counters at the state's begin and now; sends probes where live traffic is thin."""
        now = self._gateway.traffic().get(spec.name, Traffic())
        if self._before is None:
            self._before = now
        elif now.requests < self._before.requests:
            self._before = Traffic()  # the gateway was restarted, and counts from 0 again
        missing = self._due(release, step) - int(now.requests - self._before.requests)
        if missing > 0:
            self._probed += self._probe(
                environment=spec.environment,
                model=spec.model,
                version=spec.version,
                bundle=spec.bundle,
                n=min(missing, PROBES_AT_ONCE),
            )
            now = self._gateway.traffic().get(spec.name, Traffic())
        return self._before, now

    def _due(self, release: Release, step: Step) -> int:
        """How many requests the line sees to: a few at once, all of them in the second half.

        So live traffic has its say first, and only what it leaves open is filled with probes.
        """
        early = self._clock() - release.rollout.since < step.seconds / 2
        return min(step.min_requests, FIRST_PROBES) if early else step.min_requests


def _readiness(server: Server) -> Verdict:
    known = {"ready": Outcome.PASS, "failed": Outcome.FAIL}
    outcome = known.get(server.state, Outcome.INCONCLUSIVE)
    detail = f"{server.name} is {server.state} {server.detail}"
    return Verdict(check="ready", outcome=outcome, n=1, detail=detail)


def unmeasured(check: str, error: Exception) -> Verdict:
    """A check that could not be made."""
    return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=str(error))
