"""The demo's course: deliver, serve, drift, alert, retrain, release, all clear."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from andon.adapters.ledger import Alert, Ledger
from andon.errors import LineError
from andon.rollout import Phase
from andon.settings import Settings
from deployments.demo import evidence, report
from deployments.demo.story import Story
from deployments.demo.traffic import Traffic
from deployments.parts import parts
from deployments.progress import follow
from deployments.runs import Runs
from deployments.start import start
from serving.bundle import read_signature

MODEL, PRODUCTION = "churn", "production"
WINDOW = 2_000  # rows that a monitor looks at
PATIENCE = 120.0  # seconds until something that should have happened counts as missing


def run(settings: Settings, out: Console) -> int:
    """Run it all; returns 0 only if everything promised was seen to happen."""
    demo = Demo(settings, out)
    try:
        demo.course()
    except LineError as error:
        out.print(f"[bold red]the demo stopped:[/bold red] {escape(str(error))}", soft_wrap=True)
    finally:
        demo.end()
    return demo.summary() if demo.ledger is not None else 1


class Demo:
    """One run of the demo, and what it has seen."""

    def __init__(self, settings: Settings, out: Console) -> None:
        self.settings, self.out = settings, out
        self.story = Story(MODEL, time.time())
        self.runs = Runs(settings)
        self.traffic: Traffic | None = None
        self.ledger: Ledger | None = None

    def course(self) -> None:
        """Every stage in its order; raises LineError where the next one cannot follow."""
        with self._stage("the local platform"):
            start(self.settings, self.out)
        self.ledger = parts().ledger
        self._set_aside()
        if delivered := self._before_retraining():
            with self._stage("back to what was delivered: an earlier demo retrained it"):
                self._flow("rollback", version=delivered)
        with self._stage(f"deliver {MODEL}"):
            self._flow("deliver")
        with self._stage("live traffic like the training data"):
            traffic = self._send()
            self._wait("rows like the training data", lambda: traffic.rows() >= WINDOW)
        with self._stage("monitor: all is well"):
            self._flow("monitor")
            evidence.before_drift(self.story, self.ledger)
        with self._stage("the customers change"):
            self._mark("drift begins")
            traffic.drift()
            # A drift has to last for two windows until it is an alert.
            self._wait("drifted rows", lambda: traffic.rows(drifted=True) >= WINDOW * 2.1)
        with self._stage("monitor: sees the drift, raises an alert"):
            self._flow("monitor")
            alert = self._alert()
        with self._stage("the alert starts retrain by itself"):
            self._retraining(alert)
        with self._stage("monitor: confirms that it is clear"):
            self._all_clear(alert)

    def end(self) -> None:
        """Stop the traffic and gather the evidence, whatever happened."""
        self.story.ended = time.time()
        if self.traffic is not None:
            self.traffic.stop()
            self.story.sent = list(self.traffic.sent)
        if self.ledger is not None:
            evidence.gather(self.story, self.settings, self.ledger)

    def summary(self) -> int:
        """Write the page, say what was seen, and where to look."""
        story, out = self.story, self.out
        page = self.settings.state / "demo.html"
        self._links(page)
        report.write(story, page)
        out.print()
        for check in story.checks:
            sign = "[green]✓[/green]" if check.seen else "[red]✗[/red]"
            out.print(f"{sign} {check.what}: {escape(check.detail)}", soft_wrap=True)
        out.print()
        for name, url in story.links:
            out.print(f"{name:<12} {url}", soft_wrap=True)
        out.print(f"\nTry it:\n{story.curl}", soft_wrap=True, markup=False)
        seconds = story.ended - story.started
        good = bool(story.checks) and all(it.seen for it in story.checks)
        out.print(
            f"\n{'All of it happened' if good else 'NOT all of it happened'}, in {seconds:.0f} s."
        )
        out.print("It is still serving; `make down` stops it.")
        return 0 if good else 1

    def _links(self, page: Path) -> None:
        settings = self.settings
        endpoint = f"{settings.gateway_url}/{PRODUCTION}/{MODEL}/predict"
        self.story.links = [
            ("summary", page.as_uri()),
            ("what is live", settings.pages_url),
            ("Prefect UI", f"http://127.0.0.1:{settings.prefect_port}"),
            ("MLflow UI", settings.registry_url),
            ("gateway", f"{settings.gateway_admin_url}/dashboard/"),
            ("predictions", endpoint),
        ]
        if self.traffic is not None:
            body = json.dumps({"records": [self.traffic.sample]})
            self.story.curl = f"curl -s {endpoint} -H 'Content-Type: application/json' -d '{body}'"

    def _send(self) -> Traffic:
        champion = self._ledger().champion(PRODUCTION, MODEL)
        if champion is None:
            raise LineError(f"{MODEL} has no champion although it was delivered")
        candidate = self._ledger().candidate_of(champion)
        signature = read_signature(self.settings.state / candidate.bundle)
        self.traffic = Traffic(self.settings, MODEL, "churned", signature)
        self.traffic.start()
        return self.traffic

    def _flow(self, flow: str, **parameters: str) -> None:
        asked = {"model": MODEL, "trigger": "the demo", **parameters}
        run_id = self.runs.start(flow, asked)
        if not follow(self.runs, run_id, self.out):
            raise LineError(f"{flow} did not complete; see {self.runs.link(run_id)}")

    def _alert(self) -> Alert:
        found = [it for it in self._ledger().alerts(MODEL) if it.at >= self.story.started]
        if not found:
            raise LineError("the monitor raised no alert although the traffic drifted")
        self._mark("alert")
        self.out.print(f"  alert: {found[-1].message[:160]}", markup=False)
        return found[-1]

    def _retraining(self, alert: Alert) -> None:
        ledger = self._ledger()
        self._wait("retrain run", lambda: ledger.alert(alert.id).handled_by is not None)
        run_id = ledger.alert(alert.id).handled_by or ""
        self._mark("retraining starts")
        if not follow(self.runs, run_id, self.out):
            raise LineError(f"retrain did not complete; see {self.runs.link(run_id)}")
        self._mark("promoted")

    def _all_clear(self, alert: Alert) -> None:
        """Monitor full windows of the new champion's rows; the second only if one is not enough.

        The schedule would do the same, every quarter of an hour.
        """
        traffic, ledger = self.traffic, self._ledger()
        assert traffic is not None  # noqa: S101 - it runs since `_send`
        for rows in (WINDOW, 2 * WINDOW):
            promoted = self.story.marks[-1][0]
            self._wait("rows", lambda n=rows, at=promoted: traffic.rows(since=at) >= n)  # type: ignore[misc]
            self._flow("monitor")
            (incident,) = [it for it in ledger.incidents(MODEL) if it.id == alert.incident]
            if incident.state != "retrained":
                break
        self._mark("all clear" if incident.state == "closed" else incident.state)

    def _set_aside(self) -> None:
        """An earlier demo that was cut off may have left an incident: this one needs its own."""
        for incident in self._ledger().open_incidents(MODEL, PRODUCTION):
            self._ledger().tell(incident.id, "set aside: a new demo starts", "closed")

    def _before_retraining(self) -> str:
        """The last version that no alert made, if one that an alert made is champion.

        Customers are back to what they were when a demo begins. On the changed ones' labels the
        line would refuse, rightly, to deliver the old model again.
        """
        ledger = self._ledger()
        for number, release in enumerate(ledger.releases(MODEL, PRODUCTION)):
            made_by_alert = ledger.candidate_of(release).trigger.startswith("alert")
            if release.rollout.phase is Phase.PROMOTED and not made_by_alert:
                return release.version if number else ""
        return ""

    def _ledger(self) -> Ledger:
        assert self.ledger is not None  # noqa: S101 - set before anything needs it
        return self.ledger

    def _mark(self, what: str) -> None:
        self.story.marks.append((time.time(), what))

    def _wait(self, what: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        with self.out.status(f"waiting for {what}"):
            while not there():
                if time.monotonic() > deadline:
                    raise LineError(f"waited {PATIENCE:.0f} s for {what}")
                time.sleep(0.2)

    @contextmanager
    def _stage(self, what: str) -> Iterator[None]:
        number = len(self.story.stages) + 1
        self.out.print(f"\n[bold]{number}. {what}[/bold]")
        begin = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - begin
            self.story.stages.append((what, seconds))
            self.out.print(f"  [dim]{seconds:.1f} s[/dim]")
