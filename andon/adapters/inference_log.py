"""Live traffic as the prediction servers logged it, joined with the labels that came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from andon.settings import Settings


@dataclass(frozen=True)
class Window:
    """Answered predictions, oldest first; `labels` by prediction id; `corrupt` lines left out."""

    rows: tuple[dict[str, Any], ...]
    labels: dict[str, Any]
    corrupt: int = 0

    @property
    def span(self) -> tuple[float, float]:
        """First and last time (epoch seconds); zeros if empty."""
        return (self.rows[0]["time"], self.rows[-1]["time"]) if self.rows else (0.0, 0.0)

    @property
    def labelled(self) -> list[dict[str, Any]]:
        """The rows whose label came back, with `label` beside them."""
        return [
            {**row, "label": self.labels[row["id"]]}
            for row in self.rows
            if row["id"] in self.labels
        ]


def read_window(
    settings: Settings,
    environment: str,
    model: str,
    *,
    version: str | None = None,
    since: float = 0.0,
    latest: int | None = None,
) -> Window:
    """Rows of one version (or all) since a time, at most the `latest` ones; probes are left out."""
    folder = settings.inference_log / environment / model
    pattern = f"{version or '*'}/*.jsonl"
    rows, corrupt = [], 0
    for row in _lines(folder.glob(pattern), since):
        if row is None or not _is_prediction(row):
            corrupt += 1
        elif row["time"] >= since and not row.get("probe"):
            rows.append(row)
    rows.sort(key=lambda row: row["time"])
    rows = rows if latest is None else rows[max(0, len(rows) - latest) :]
    labels, more = _labels(settings.feedback_log / environment / model, {r["id"] for r in rows})
    return Window(tuple(rows), labels, corrupt + more)


def _labels(folder: Path, wanted: set[str]) -> tuple[dict[str, Any], int]:
    """The label of each prediction; of several the one that came last."""
    found: dict[str, tuple[float, Any]] = {}
    corrupt = 0
    for row in _lines(folder.glob("*.jsonl"), 0.0):
        if row is None or not _is_label(row):
            corrupt += 1
        elif row["id"] in wanted and row["time"] >= found.get(row["id"], (0.0,))[0]:
            found[row["id"]] = (row["time"], row["label"])
    return {id_: label for id_, (_, label) in found.items()}, corrupt


def _has(**kinds: Any) -> Callable[[dict[str, Any]], bool]:
    """Whether a line has what we rely on: half a disk sector can be JSON too."""
    return lambda row: all(isinstance(row.get(key), kind) for key, kind in kinds.items())


_is_prediction = _has(id=str, time=int | float, inputs=dict, outputs=dict)
_is_label = _has(id=str, time=int | float, label=str | int | float | bool)


def _lines(paths: Iterator[Path], since: float) -> Iterator[dict[str, Any] | None]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for path in sorted(paths):
        if path.stat().st_mtime < since:
            continue
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    continue  # still being written
                try:
                    yield decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None
