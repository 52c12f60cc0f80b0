"""What the server counts, as Prometheus reads it, over all workers of one server."""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

# Seconds: from a compiled engine's one row to a deadline that was missed.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
FAMILIES = {
    "andon_info": "gauge",
    "andon_workers": "gauge",
    "andon_requests_total": "counter",
    "andon_request_seconds": "histogram",
    "andon_rows_total": "counter",
    "andon_predictions_total": "counter",
    "andon_refused_rows_total": "counter",
    "andon_waiting_rows": "gauge",
    "andon_shed_total": "counter",
    "andon_batches_total": "counter",
    "andon_log_rows_total": "counter",
    "andon_log_dropped_total": "counter",
    "andon_log_sampled_out_total": "counter",
    "andon_log_errors_total": "counter",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_open_fds": "gauge",
}
PUBLISH_SECONDS = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")
Samples = dict[str, float]


class Metrics:
    """Counters of one process. They start at zero with it."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.labels: Counter[int] = Counter()
        self.rows = 0
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def predicted(self, rows: int, labels: list[int]) -> None:
        """Rows that were scored, and the classes that were predicted for them."""
        self.rows += rows
        counts = self.labels
        for label in labels:
            counts[label] += 1

    def answered(self, path: str, status: int, seconds: float) -> None:
        """One request, whatever became of it."""
        self.requests[path, status] += 1
        buckets = self._buckets.get(path)
        if buckets is None:
            buckets = self._buckets[path] = [0] * (len(BOUNDS) + 1)
            self._seconds[path] = 0.0
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[path] += seconds

    def samples(self) -> Iterator[tuple[str, float]]:
        """Every sample with its labels, and its value."""
        for (path, status), count in sorted(self.requests.items()):
            yield sample("andon_requests_total", path=path, status=status), count
        for path, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*BOUNDS, "+Inf"), buckets, strict=True):
                total += count
                yield sample("andon_request_seconds_bucket", path=path, le=bound), total
            yield sample("andon_request_seconds_sum", path=path), self._seconds[path]
            yield sample("andon_request_seconds_count", path=path), total
        yield "andon_rows_total", self.rows


def process_samples() -> Iterator[tuple[str, float]]:
    """What the process takes, under the names that Prometheus's own clients use."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", used.ru_utime + used.ru_stime
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        yield "process_resident_memory_bytes", pages * _PAGE
        yield "process_open_fds", sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return  # no /proc: not Linux


class Shared:
    """What workers tell each other, through files of a folder that goes with the server.

    The counters of a worker that died stay: its requests were answered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{os.getpid()}.json"

    def publish(self, samples: Mapping[str, float]) -> None:
        """Let the others see these."""
        half = self._path.with_suffix(".half")
        half.write_bytes(msgspec.json.encode(dict(samples)))
        half.replace(self._path)

    def others(self) -> list[Samples]:
        """What the other workers published last."""
        found = []
        for path in self._folder.glob("*.json"):
            if path != self._path:
                samples = msgspec.json.decode(path.read_bytes(), type=Samples)
                found.append(samples if _lives(int(path.stem)) else _counters(samples))
        return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _counters(samples: Samples) -> Samples:
    return {name: it for name, it in samples.items() if FAMILIES[_family(name)] != "gauge"}


def exposition(parts: Iterable[Mapping[str, float]]) -> bytes:
    """The text format; samples of several workers are added up, but for what they only say."""
    total: Samples = {}
    for part in parts:
        for name, value in part.items():
            same = name.startswith(("andon_info", "andon_workers"))
            total[name] = value if same else total.get(name, 0.0) + value
    lines: list[str] = []
    for family, kind in FAMILIES.items():
        members = [name for name in total if _family(name) == family]
        if members:
            lines.append(f"# TYPE {family} {kind}")
            lines += [f"{name} {total[name]:.15g}" for name in members]
    return ("\n".join(lines) + "\n").encode()


def _family(name: str) -> str:
    bare = name.partition("{")[0]
    for suffix in ("_bucket", "_sum", "_count"):
        if bare.removesuffix(suffix) in FAMILIES:
            return bare.removesuffix(suffix)
    return bare


def sample(name: str, **labels: Any) -> str:
    """A sample's name with its labels."""
    listed = ",".join(f'{key}="{_escape(str(value))}"' for key, value in labels.items())
    return f"{name}{{{listed}}}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
