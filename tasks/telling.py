"""What a release tells while it goes on: its share done, its states, its gate, on the run's page.

Told from a thread, once a second at most, and never twice the same: a slow Prefect, or none, must
not keep anybody from watching a gate.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from andon.adapters.ledger import Ledger, Release
from andon.gates import sides
from andon.ports import version_in
from andon.rollout import Phase, Rollout
from andon.spec import Approval
from andon.verdict import Outcome, Verdict, gate
from tasks.line import Job, keep, verdict_table

EVERY = 1.0  # seconds between two updates
AT_REST = 30.0  # the same while a person is waited for
PATIENCE = 10.0  # seconds for the last ones
SO_FAR = ", so far"  # ends the description of a page that is not the last
Told = tuple[float, str, str]  # per cent, the state, the page


class Telling:
    """A progress bar and a page, which move; only the latest is told.

    `changed` is called, from the thread, when the state is another one.
    """

    def __init__(
        self, job: Job, environment: str, version: str, changed: Callable[[], object]
    ) -> None:
        self._changed, self._log = changed, get_run_logger()
        self._bar_key = f"{job.model}-{environment}-progress"
        self._page_key = f"{job.model}-release-{environment}"
        self._what = f"v{version} in {environment}"
        self._bar: UUID | None = None
        self._page: UUID | None = None
        self._state = ""
        self._silent = False
        self._queue: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        context = contextvars.copy_context()  # the thread belongs to the same task run
        self._thread = threading.Thread(target=context.run, args=(self._tell_all,), daemon=True)
        self._thread.start()

    def tell(self, told: Told) -> None:
        """Returns at once."""
        self._queue.put(told)

    def close(self) -> None:
        """Tell what is left; what cannot be told in time is not."""
        self._queue.put(None)
        self._thread.join(PATIENCE)

    def _tell_all(self) -> None:
        open_, said = True, None
        while open_:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            open_ = None not in waiting
            last = [it for it in waiting if it is not None][-1:]
            if last and last[0] != said:
                said = last[0]
                self._try(said)
                time.sleep(EVERY if open_ else 0)

    def _try(self, told: Told) -> None:
        try:
            if told[1] != self._state:
                self._state = told[1]
                self._changed()
            self._show(*told)
        except Exception as error:  # a chart that does not move is no reason to stop
            if not self._silent:
                self._log.warning("the release's progress is not shown: %s", error)
            self._silent = True

    def _show(self, percent: float, sentence: str, page: str) -> None:
        sentence = f"{self._what}: {sentence}"
        if self._bar is None or self._page is None:
            bar = create_progress_artifact(percent, key=self._bar_key, description=sentence)
            what = f"release of {self._what}{SO_FAR}"
            made = create_markdown_artifact(page, key=self._page_key, description=what)
            # No coroutines: this thread has no loop.
            self._bar, self._page = bar, made  # type: ignore[assignment]
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._bar, ArtifactUpdate(data=percent, description=sentence))
            client.update_artifact(self._page, ArtifactUpdate(data=page))


class Report:
    """Tells of a release as it goes on: each gate to the ledger, each state to page and log."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        environment: str,
        version: str,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._job, self._ledger = job, ledger
        self.place = f"release to {environment}", f"v{version} in {environment}"
        self._log = get_run_logger()
        self._telling = Telling(job, environment, version, changed)
        self._revision = -1
        self._states = ""
        self._gate: tuple[int, Outcome] | None = None
        self._kept = self._told = 0.0

    def close(self) -> None:
        """Tell the last of it."""
        self._telling.close()

    def follow(self, release: Release) -> None:
        """The same while another run drives it, and tells the ledger of its gate."""
        if release.revision != self._revision:
            self(release, [])

    def __call__(self, release: Release, verdicts: list[Verdict]) -> None:
        now = time.time()
        found = (release.revision, gate(verdicts))
        if verdicts and (self._gate != found or now - self._kept > AT_REST):
            self._gate, self._kept = found, now
            keep(self._job, *self.place, verdicts)  # before they are acted on
        fresh = release.revision != self._revision
        if fresh:
            self._revision = release.revision
            self._states = states(self._ledger, release)
            where = f"{release.environment} v{release.version}"
            self._log.info("%s: %s", where, release.rollout.told)
        if fresh or now - self._told >= (AT_REST if release.rollout.waits else EVERY):
            self._told = now
            page = "\n".join([title(release), "", self._states, "", *_gate(verdicts)])
            share = percent(release.rollout, verdicts, now)
            self._telling.tell((share, release.rollout.told, page))


def percent(rollout: Rollout, verdicts: list[Verdict], now: float) -> float:
    """How much of a rollout is done: whole steps, and of this one its time or its requests."""
    if rollout.ended:
        return 100.0
    step = rollout.current
    part = 0.0
    if step is not None and not isinstance(step, Approval) and rollout.phase is not Phase.PAUSED:
        shares = [1.0]
        if step.seconds:
            shares.append((now - rollout.since) / step.seconds)
        if step.min_requests:
            shares.append(max((it.n for it in verdicts), default=0) / step.min_requests)
        part = max(0.0, min(shares))
    return round(100.0 * (rollout.step + part) / len(rollout.steps), 1)


def title(release: Release) -> str:
    return f"# {release.model} v{release.version} in {release.environment}: {release.rollout}"


def states(ledger: Ledger, release: Release) -> str:
    """Every state of a release with its time, and what people answered, as Markdown."""
    rows = ["| time (UTC) | state | traffic |", "| --- | --- | --- |"]
    for it in ledger.transitions(release.seq):
        split = ", ".join(f"v{version_in(name)}: {w} %" for name, w in it.weights.items())
        what = it.what.replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {_at(it.at)} | {what} | {split or '-'} |")
    for given in release.rollout.answers:
        word = "Approved" if given.approved else "Rejected"
        note = f": {given.note}" if given.note else ""
        rows.append(f"\n{word} by {given.by} on {_at(given.at, '%Y-%m-%d %H:%M:%S')}{note}")
    return "\n".join(rows)


def timeline(ledger: Ledger, release: Release, verdicts: list[Verdict]) -> str:
    """The last page of a release."""
    return "\n".join([title(release), "", states(ledger, release), "", *_gate(verdicts)])


def _gate(verdicts: list[Verdict]) -> list[str]:
    if not verdicts:
        return ["nothing was decided anew"]
    return ["## The last gate", "", verdict_table(verdicts), "", *_sides(verdicts)]


def _sides(verdicts: list[Verdict]) -> list[str]:
    """What was measured on each side, where a check has both."""
    rows = [
        f"| {it.check} | {both[0]:.4g} | {both[1]:.4g} |"
        for it in verdicts
        if (both := sides(it.evidence))
    ]
    return ["| check | candidate | champion |", "| --- | --- | --- |", *rows] if rows else []


def _at(epoch: float, form: str = "%H:%M:%S") -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime(form)
