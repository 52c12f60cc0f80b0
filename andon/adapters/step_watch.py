"""What a rollout's state sees: is the candidate ready, and how does it answer?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from andon.adapters.ledger import Release
from andon.adapters.watching.loading import GatewayLoad, LoadFunction, Loading
from andon.adapters.watching.serving import Counters, Meter
from andon.errors import GatewayError
from andon.gates import ALPHA, Seen, judge
from andon.looks import Look, Probe, Side
from andon.ports import Gateway, Server, ServerSpec, Target, Traffic, version_in
from andon.rollout import Rollout
from andon.settings import Settings
from andon.spec import Mirror, Step
from andon.verdict import Outcome, Verdict, gate

if TYPE_CHECKING:
    from andon.adapters.watching.signals import ModelSignals, Signals

PROBES_AT_ONCE = 20
FIRST_PROBES = 5
# A server that carries traffic and does not answer for that long has failed: a step may last hours.
SILENT_SECONDS = 20.0
UNLOGGED = 300  # requests of clients without a row in the log: it is not only late


class ProbeFunction(Protocol):
    """How requests with known answers are sent; see `GatewayProbe`.

    `against` and `mirrored` are only given where the champion is to be asked, too.
    """

    def __call__(
        self,
        *,
        environment: str,
        model: str,
        version: str,
        bundle: Path,
        n: int,
        against: str = ...,
        mirrored: bool = ...,
    ) -> Probe: ...


class StepWatch:
    """Watches one state; what it has seen is lost in a crash, and then measured again.

    A look costs what came since the look before, however long the state lasts.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        gateway: Gateway,
        probe: ProbeFunction,
        clock: Callable[[], float],
        load: LoadFunction | None = None,
    ) -> None:
        self._settings = settings
        self._target, self._probe, self._clock = target, probe, clock
        self._send_load = load or GatewayLoad(settings)
        self._counters, self._meter = Counters(gateway), Meter(target, clock)
        self._signals: ModelSignals | None = None
        self._loading: Loading | None = None
        self._silent_since: float | None = None
        self._seen = Seen()
        self._judged: list[Verdict] = []
        self._requests, self._probed, self._pairs = 0.0, 0, 0
        self._rows, self._champion_rows = 0, 0

    def look(self, release: Release, spec: ServerSpec) -> list[Verdict]:
        """The gate's verdicts so far; inconclusive where the gateway cannot be read."""
        server = self._target.look(spec)
        rollout = release.rollout
        step = rollout.carrying
        if step is None:
            return [_readiness(server)]
        verdicts = [self._readiness(server)]
        if self._loading is None and (step.min_requests or rollout.gate):
            # Also of a server that does not answer: what it owes to clients are its errors.
            ready = server.state == "ready"
            self._seen = self._seen.add(self.measure(rollout, spec, step, ready=ready))
            alpha, limits = ALPHA / len(rollout.steps), rollout.limits
            self._judged = judge(self._seen, rollout.gate, limits, step.min_requests, alpha)
        verdicts += self._judged
        return verdicts + self._loaded(rollout, spec, verdicts)

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

    def measure(
        self, rollout: Rollout, spec: ServerSpec, step: Step | Mirror, *, ready: bool = True
    ) -> Look:
        """What came since the last look; sends probes where live traffic is thin."""
        missing: dict[str, str] = {}
        fresh: dict[str, Traffic] = {}
        probed = Probe()
        try:
            fresh = self._counted({}, spec)
            if ready and (n := self._lacking(rollout, step)) > 0:
                probed = self._send(rollout, spec, step, n)
                fresh = self._counted(fresh, spec)
        except GatewayError as error:
            missing = dict.fromkeys(("errors", "latency", "inputs"), str(error))
        self._probed += probed.sent
        signals = self._read(rollout, spec, step)
        pairs = (*signals.pairs, *(self._signals.of_probes(probed.both) if self._signals else ()))
        self._pairs += len(pairs)
        usage = self._meter.read([it for it in (spec.name, rollout.champion) if it])
        if usage.get(spec.name) is None:
            missing["resources"] = "the target cannot tell what the candidate uses"
        candidate = Side(
            traffic=fresh.get(spec.name, Traffic()),
            answers=signals.candidate,
            losses=signals.losses,
            usage=usage.get(spec.name),
        )
        champion = Side(
            traffic=fresh.get(rollout.champion or "", Traffic()),
            answers=signals.champion,
            losses=signals.champion_losses,
            usage=usage.get(rollout.champion or ""),
        )
        return Look(
            at=self._clock(),
            candidate=candidate,
            champion=champion if rollout.champion and _has_traffic(step) else None,
            pairs=pairs,
            probe=probed,
            missing=missing | self._unread(signals, step),
        )

    def _counted(self, before: dict[str, Traffic], spec: ServerSpec) -> dict[str, Traffic]:
        """With what the gateway has counted by now; raises GatewayError."""
        more = self._counters.read()
        self._requests += more.get(spec.name, Traffic()).requests
        names = {*before, *more}
        return {it: before.get(it, Traffic()) + more.get(it, Traffic()) for it in names}

    def _lacking(self, rollout: Rollout, step: Step | Mirror) -> int:
        """How many probes to send now: a few at first, all that are missing in the second half.

        So live traffic has its say first, and only what it leaves open is filled with probes.
        """
        early = self._clock() - rollout.since < step.seconds / 2
        due = min(step.min_requests, FIRST_PROBES) if early else step.min_requests
        have = min(self._requests, self._pairs) if _paired(rollout) else self._requests
        return min(due - int(have), PROBES_AT_ONCE)

    def _send(self, rollout: Rollout, spec: ServerSpec, step: Step | Mirror, n: int) -> Probe:
        given: dict[str, Any] = {}
        if _paired(rollout) or isinstance(step, Mirror):
            given["against"] = version_in(rollout.champion or "")
            given["mirrored"] = isinstance(step, Mirror)
        return self._probe(
            environment=spec.environment,
            model=spec.model,
            version=spec.version,
            bundle=spec.bundle,
            n=n,
            **given,
        )

    def _read(self, rollout: Rollout, spec: ServerSpec, step: Step | Mirror) -> Signals:
        if self._signals is None:
            # Polars and Arrow: a rollback, which watches nothing, does not wait for them.
            from andon.adapters.watching.signals import ModelSignals

            champion = version_in(rollout.champion or "") if _has_traffic(step) else ""
            self._signals = ModelSignals(
                self._settings, spec, champion or None, rollout.since, paired=_paired(rollout)
            )
        found = self._signals.look()
        self._rows += found.candidate.rows + found.candidate.bad
        self._champion_rows += found.champion.rows
        return found

    def _unread(self, signals: Signals, step: Step | Mirror) -> dict[str, str]:
        """What the log does not tell, and nothing else makes up for."""
        missing = dict(signals.missing)
        if signals.unpaired and self._pairs < max(1, step.min_requests):
            missing.setdefault("agreement", signals.unpaired)
        live = self._requests - 2 * self._probed
        if self._champion_rows and not self._rows and live > UNLOGGED:
            why = f"the candidate's inference log has none of about {live:.0f} requests"
            missing = {"predictions": why} | missing
        return missing

    def _loaded(self, rollout: Rollout, spec: ServerSpec, verdicts: list[Verdict]) -> list[Verdict]:
        """The load begins when everything else has passed; what that was is not judged by it."""
        if rollout.load is None or rollout.step + 1 < len(rollout.steps):
            return []
        if self._loading is None:
            if gate(verdicts) is not Outcome.PASS:
                return []  # nothing passes without it: they do not, either
            send, load = self._send_load, rollout.load
            self._loading = Loading(self, send, spec, load, rollout.load_runs)
        return [self._loading.verdict(rollout.limits)]


def _paired(rollout: Rollout) -> bool:
    return rollout.champion is not None and "agreement" in rollout.gate


def _has_traffic(step: Step | Mirror) -> bool:
    """Whether a champion still answers clients in this step."""
    return isinstance(step, Mirror) or step.weight < 100


def _readiness(server: Server) -> Verdict:
    known = {"ready": Outcome.PASS, "failed": Outcome.FAIL}
    outcome = known.get(server.state, Outcome.INCONCLUSIVE)
    detail = f"{server.name} is {server.state} {server.detail}"
    return Verdict(check="ready", outcome=outcome, n=1, detail=detail)


def unmeasured(check: str, error: Exception) -> Verdict:
    """A check that could not be made."""
    return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=str(error))
