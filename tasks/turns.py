"""Whose turn it is: deliveries of one model go one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect import get_run_logger
from pydantic import ValidationError

from andon.adapters.files import demand_room
from andon.adapters.ledger import lock
from tasks.line import Job, Line, line_for, patiently
from tasks.results import Built


class Turn:
    """A run's place in its model's line. `built`: what this run had made before it came back."""

    def __init__(self, line: Line, job: Job, held: ExitStack, kept: dict[str, Any] | None) -> None:
        self._line, self._job, self._held = line, job, held
        self.built = _read(kept)

    def keep(self, built: Built) -> Built:
        """Keep what the stations made, for when this run comes back after a wait, or a kill."""
        self._keep(built.model_dump(mode="json"))
        return built

    def done(self) -> None:
        """Nothing had to be made: a version that is there already goes to production."""
        self._keep({})

    def _keep(self, built: dict[str, Any]) -> None:
        patiently(lambda: self._line.ledger.keep_built(self._job.run_id, built))
        # What may supersede this one must be able to come into being.
        if self._line.spec.release.production.newer == "supersede":
            self._held.close()


def _read(kept: dict[str, Any] | None) -> Built | None:
    """None as well if an older Andon wrote it in another form."""
    try:
        return Built.model_validate(kept) if kept else None
    except ValidationError:
        return None


@contextmanager
def turn(job: Job) -> Iterator[Turn]:
    """Wait for other deliveries of this model.

    Who has built already, and comes back, waits for nobody: another may wait for its release.
    """
    line, log = line_for(job.model), get_run_logger()
    with ExitStack() as held:
        kept = patiently(lambda: line.ledger.built(job.run_id))
        if kept is None:
            busy = f"another delivery of {job.model} is at work; this run waits for it"
            held.enter_context(lock(line.ledger, f"line/{job.model}", lambda: log.info(busy)))
            demand_room(line.settings)
        yield Turn(line, job, held, kept)
