"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serving.log import Log


def exposition(
    identity: Mapping[str, Any],
    requests: Mapping[tuple[str, int], int],
    rows: int,
    logs: Mapping[str, Log | None],
) -> bytes:
    """The text format; counters start at zero with the process."""
    return "".join(f"{line}\n" for line in _lines(identity, requests, rows, logs)).encode()


def _lines(
    identity: Mapping[str, Any],
    requests: Mapping[tuple[str, int], int],
    rows: int,
    logs: Mapping[str, Log | None],
) -> Iterator[str]:
    yield "# TYPE andon_info gauge"
    yield f"andon_info{{{_labels(identity)}}} 1"
    yield "# TYPE andon_requests_total counter"
    for (path, status), count in sorted(requests.items()):
        yield f"andon_requests_total{{{_labels({'path': path, 'status': status})}}} {count}"
    yield "# TYPE andon_rows_total counter"
    yield f"andon_rows_total {rows}"
    for name, what in (
        ("andon_log_lines_total", "lines"),
        ("andon_log_dropped_total", "dropped"),
        ("andon_log_errors_total", "errors"),
    ):
        yield f"# TYPE {name} counter"
        for log, writer in logs.items():
            if writer is not None:
                yield f"{name}{{{_labels({'log': log})}}} {getattr(writer, what)}"


def _labels(labels: Mapping[str, Any]) -> str:
    return ",".join(f'{name}="{_escape(str(value))}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
