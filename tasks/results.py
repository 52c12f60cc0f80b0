"""What stations hand on: paths (relative to the state folder), hashes and numbers, never data."""

from __future__ import annotations

from andon.spec import Frozen
from andon.verdict import Verdict

ASKS = "approval-"


class Snapshot(Frozen):
    """One version of a data set; `kind` says whether it is the project's or made of live rows."""

    hash: str
    folder: str
    rows: int
    columns: dict[str, str]
    source: str


class Validated(Frozen):
    """The expectations' verdicts, and the page that tells them (a path in the state folder)."""

    key: str
    verdicts: tuple[Verdict, ...]
    report: str


class SplitRows(Frozen):
    """Rows to learn from (`learn.parquet`) and held-out ones (`held_out.parquet`) in a folder.

    `rows` is the number of each; `signature.json`, in the folder, names the features.
    """

    key: str
    folder: str
    snapshot: str
    rows: tuple[int, int]
    verdicts: tuple[Verdict, ...]


class Trained(Frozen):
    """A fitted model; `key` identifies the build: data, code, parameters and libraries."""

    key: str
    folder: str
    metrics: dict[str, float]
    rows: tuple[int, int]
    verdicts: tuple[Verdict, ...]


class Tested(Frozen):
    """How it behaves."""

    verdicts: tuple[Verdict, ...]


class Explained(Frozen):
    """Why it answers as it does: `explanation.json` and pictures in a folder.

    The verdicts tell, and stop nothing.
    """

    key: str
    folder: str
    verdicts: tuple[Verdict, ...]


class Card(Frozen):
    """A model card: `card.md` and `card.html` in a folder."""

    folder: str


class Evaluated(Frozen):
    """May it replace the champion? `folder` has `evaluation.json` (see `andon.evidence`)."""

    champion: str | None
    verdicts: tuple[Verdict, ...]
    folder: str


class Bundled(Frozen):
    """A sealed bundle; it answers as the trainer did, or there is none."""

    version: str
    folder: str
    digest: str
    verdicts: tuple[Verdict, ...]


class Built(Frozen):
    """All that a delivery made, up to production; `verdicts` are by station, the first first."""

    snapshot: Snapshot
    trained: Trained
    evaluated: Evaluated
    version: str
    verdicts: dict[str, tuple[Verdict, ...]]


class Released(Frozen):
    """How a release ended, or that it waits for a person, or was compared with another champion."""

    environment: str
    version: str
    outcome: str
    reason: str


class Asked(Frozen):
    """A step that a person has to say yes to: of which release, until when, and what to know."""

    release: int
    step: int
    approve: str
    until: float
    about: str

    @property
    def key(self) -> str:
        """The same however often the run comes back."""
        return f"{ASKS}{self.release}-{self.step}"


class Watched(Frozen):
    """What the monitors saw: by kind, the window's span (epoch seconds), rows and verdicts.

    `version`: whose rows were judged; empty if no single version's were.
    """

    windows: dict[str, tuple[float, float]]
    rows: dict[str, int]
    verdicts: dict[str, tuple[Verdict, ...]]
    version: str = ""
