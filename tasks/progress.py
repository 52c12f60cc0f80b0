"""What a process tells while it works: on the flow run's page, in its log, and in MLflow."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from andon.adapters.live_metrics import LiveRun
from tasks.line import Job

EVERY = 1.0  # seconds between two updates
PATIENCE = 10.0  # seconds for the last ones
Event = dict[str, Any]


class Progress:
    """Takes events at once, and tells of them from a thread: who watches must not wait."""

    def __init__(self, job: Job, live: LiveRun) -> None:
        self._job, self._live, self._log = job, live, get_run_logger()
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._artifact: UUID | None = None
        self._said = ""
        context = contextvars.copy_context()  # the thread belongs to the same task run
        self._thread = threading.Thread(target=context.run, args=(self._tell_all,), daemon=True)
        self._thread.start()

    def take(self, event: Event) -> None:
        """One event: `phase`, `fraction`, perhaps `where`, `best`, and `metrics` with a `step`."""
        self._events.put(event)

    def close(self) -> None:
        """Tell what is left; what cannot be told in time is not."""
        self._events.put(None)
        self._thread.join(PATIENCE)

    def _tell_all(self) -> None:
        self._live.start()
        open_ = True
        while open_:
            events = [self._events.get()]
            end = time.monotonic() + EVERY
            while events[-1] is not None and (left := end - time.monotonic()) > 0:
                try:
                    events.append(self._events.get(timeout=left))
                except queue.Empty:
                    break
            open_ = None not in events
            self._tell([it for it in events if it is not None])
        self._live.flush()

    def _tell(self, events: list[Event]) -> None:
        if not events:
            return
        for it in events:
            self._live.log(it.get("metrics", {}), it.get("step", 0))
        self._live.flush()
        for sentence in {it["phase"]: _sentence(it) for it in events}.values():
            if sentence != self._said:
                self._log.info("%s", sentence)
                self._said = sentence
        last = events[-1]
        try:
            self._show(100 * float(last["fraction"]), _sentence(last))
        except Exception as error:  # a chart that does not move is no reason to stop
            self._log.warning("progress is not shown: %s", error)

    def _show(self, percent: float, sentence: str) -> None:
        if self._artifact is None:
            key = f"{self._job.model}-training"
            made = create_progress_artifact(percent, key=key, description=sentence)
            self._artifact = cast(UUID, made)  # not a coroutine: this thread has no loop
        else:
            update_progress_artifact(self._artifact, progress=percent, description=sentence)


def _sentence(event: Event) -> str:
    said = f"{event['phase']}: {event['where']}" if event.get("where") else str(event["phase"])
    return said if event.get("best") is None else f"{said}; best so far {event['best']:.4g}"


@contextmanager
def told(job: Job, live: LiveRun) -> Iterator[Progress]:
    """Progress while the block runs; if it fails, MLflow's run has failed, too."""
    progress = Progress(job, live)
    try:
        yield progress
    except BaseException:
        progress.close()
        live.fail()
        raise
    progress.close()
