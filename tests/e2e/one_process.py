"""Deliveries in one other process, which has to import everything once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deliveries import ANSWER
from line_under_test import LONG, LineUnderTest
from survival import visits


@dataclass(frozen=True)
class Ended:
    """A flow run, in the ledger's words and in Prefect's (`state`)."""

    id: str
    outcome: str
    state: str
    message: str


class Deliveries:
    """One delivery after the other."""

    def __init__(self, line: LineUnderTest) -> None:
        self._line = line
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("deliveries.py"))],
            cwd=line.project,
            env={**line.environment(), "PREFECT_LOGGING_LEVEL": "CRITICAL"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._process.communicate(timeout=LONG)

    def deliver(self, model: str) -> Ended:
        """Deliver, and say how it ended; an error is for people, and is told in both places."""
        assert self._process.stdin and self._process.stdout
        print(model, file=self._process.stdin, flush=True)
        answers = (it for it in self._process.stdout if it.startswith(ANSWER))
        said = json.loads(next(answers).removeprefix(ANSWER))
        (run,) = [it for it in self._line.ledger.runs(model) if it.id == said["id"]]
        assert run.ended_at is not None
        assert run.message is not None and run.message in said["message"]
        assert "Traceback" not in run.message
        assert run.outcome is not None
        return Ended(run.id, run.outcome, said["type"], run.message)


def last_station(line: LineUnderTest, run_id: str) -> str:
    """The one that ended last."""
    found = [it for it in visits(line, run_id) if it.state in ("Completed", "Failed")]
    return found[-1].station if found else ""
