"""Station: what failed monitors do to incidents; an alert is on the ledger before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from prefect import get_run_logger

from andon.adapters.going_back import to_return
from andon.adapters.inference_log import count_labelled
from andon.adapters.ledger import Incident, Seen
from andon.adapters.mlflow_mirror import promoted
from andon.errors import LineError
from andon.incidents import (
    MONTH,
    Asks,
    Decision,
    Facts,
    Group,
    Nothing,
    Opens,
    Policy,
    Standing,
    State,
    decide,
    group_of,
)
from andon.registered import before
from andon.spec import Severity
from andon.verdict import Outcome, Verdict, gate
from tasks.events import send
from tasks.line import PRODUCTION, Job, Line, line_for, station
from tasks.results import Watched
from tasks.sound import began

ROLLBACK = "rollback started by run"
TOLD = 5  # verdicts in an alert's message


@station()
def act_on(job: Job, environment: str, watched: Watched) -> None:
    """Open, carry on or close the incidents of a place; raises httpx.HTTPError if Prefect is away.

    Alerts that could not be sent are on the ledger by then: the next run sends them, or
    `reconcile` does.
    """
    line, log = line_for(job.model), get_run_logger()
    for group in sorted({group_of(kind) for kind in watched.verdicts}):
        decision = _Acting(line, environment, watched, group).settle()
        log.info("%s: %s", group, decision)
    for alert in line.ledger.unsent_alerts(job.model, environment):
        log.warning("alert %s: %s", alert.id, alert.message)
        send(alert)
        line.ledger.mark_sent(alert.id)


@dataclass(frozen=True)
class _Acting:
    """One group of monitors on one place."""

    line: Line
    environment: str
    watched: Watched
    group: Group

    def settle(self) -> Decision:
        """Decide, and write it down."""
        ledger, model = self.line.ledger, self.line.spec.name
        facts = self._known(self._open_now())

        def decided(found: Incident | None, serving: str) -> Decision:
            if self.watched.version and serving != self.watched.version:
                return Nothing(f"v{self.watched.version} was watched, and does not serve any more")
            return decide(_standing(found), facts)

        return ledger.settle(self.environment, model, self.group, self._seen(), decided)

    def _open_now(self) -> Incident | None:
        found = self.line.ledger.open_incidents(self.line.spec.name, self.environment)
        mine = [it for it in found if group_of(it.cause.partition("+")[0]) == self.group]
        return mine[0] if mine else None

    def _known(self, found: Incident | None) -> Facts:
        """What takes time to find out is found out only if it decides something."""
        facts = self._facts()
        if found and found.state == "retrained":
            return replace(facts, fell=self._fell(facts.earlier))
        return self._counted(facts, found)

    def _fell(self, earlier: str) -> str:
        from andon.adapters.after_release import against_the_one_before

        ledger, model = self.line.ledger, self.line.spec.name
        champion, before_it = ledger.champion(self.environment, model), None
        if champion is not None and earlier:
            before_it = ledger.candidate(model, earlier)
        if champion is None or before_it is None or champion.version != self.watched.version:
            return ""
        since = champion.ended_at or 0.0
        said = against_the_one_before(
            self.line.settings, self.line.spec, self.environment, ledger.candidate_of(champion),
            before_it, since=since, live=ledger.live_spans(self.environment, model, since),
        )  # fmt: skip
        get_run_logger().info("%s: %s: %s", said.check, said.outcome, said.detail)
        return said.detail if said.outcome is Outcome.FAIL else ""

    def _facts(self) -> Facts:
        spec, ledger = self.line.spec, self.line.ledger
        now = ledger.clock()
        champion = ledger.champion(self.environment, spec.name)
        return Facts(
            now=now,
            outcomes={kind: gate(it) for kind, it in self.watched.verdicts.items()},
            policies={
                it.kind: Policy(it.action, it.severity)
                for it in spec.monitors
                if group_of(it.kind) == self.group
            },
            rules=spec.retraining,
            asked=ledger.asked_at(spec.name, now - MONTH),
            labelled=None,
            earlier=self._earlier(),
            released=(champion.ended_at or 0.0) if champion else 0.0,
            hindered=self._hindered(),
        )

    def _hindered(self) -> str:
        if self.group != "rows":
            return "it would not mend this"
        if self.environment != PRODUCTION:
            return f"only {PRODUCTION} is retrained"
        return "live rows lack the columns of logging.mask" if self.line.spec.logging.mask else ""

    def _earlier(self) -> str:
        """The version that a rollback leads to; none if it is not there any more."""
        ledger, model = self.line.ledger, self.line.spec.name
        version = before(promoted(ledger, model, self.environment))
        if version is None:
            return ""
        try:
            return to_return(self.line.settings, ledger, model, self.environment, version).version
        except LineError:
            return ""

    def _counted(self, facts: Facts, found: Incident | None) -> Facts:
        """With the labelled rows, if it depends on them alone whether to retrain."""
        enough = replace(facts, labelled=facts.rules.min_rows)
        decision = decide(_standing(found), enough)
        if not (isinstance(decision, Opens | Asks) and decision.action == "retrain"):
            return facts
        model = self.line.spec.name
        since = began(self.line.ledger, found) if found else self._window()[0]
        live = self.line.ledger.live_spans(self.environment, model, since)
        count = count_labelled(self.line.settings, self.environment, model, since=since, live=live)
        return replace(facts, labelled=count)

    def _seen(self) -> Seen:
        found = [it for its in self.watched.verdicts.values() for it in its]
        failed = [it for it in found if it.outcome is Outcome.FAIL]
        worst = sorted(failed, key=lambda it: it.value or 0.0, reverse=True)[:TOLD]
        rows = max((self.watched.rows.get(it, 0) for it in self.watched.verdicts), default=0)
        clear = f"clear on {rows} rows" if rows else ""
        return Seen("; ".join(map(_told, worst)), clear, self._window())

    def _window(self) -> tuple[float, float]:
        failed = [it for it, given in self.watched.verdicts.items() if gate(given) is Outcome.FAIL]
        spans = [self.watched.windows[it] for it in failed if it in self.watched.windows]
        if not spans:
            return 0.0, 0.0
        return max(begin for begin, _ in spans), max(end for _, end in spans)


def _standing(found: Incident | None) -> Standing | None:
    if found is None:
        return None
    return Standing(
        state=cast(State, found.state),
        cause=tuple(found.cause.split("+")),
        severity=cast(Severity, found.severity or "warning"),
        looked=found.looked_at is not None,
        went_back=any(what.startswith(ROLLBACK) for _, what in found.story),
    )


def _told(it: Verdict) -> str:
    return f"{it.check}: {it.detail}"
