"""A release's world for those who watch it: logs of real writers, and fakes for the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from driver_world import Clock

from andon import profile
from andon.adapters.fakes import FakeGateway, FakeTarget
from andon.adapters.step_watch import StepWatch
from andon.looks import Look, Probe
from andon.ports import Route, ServerSpec
from andon.rollout import Phase, Rollout
from andon.settings import Settings
from andon.spec import AnyStep, Mirror, Step
from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.segments import Pace, Segments

PLACE = ("production", "churn")
COLUMNS = [Column("age", "integer"), Column("city", "category"), Column("since", "date")]
TASKS: dict[str, dict[str, Any]] = {
    "binary": {"task": "binary", "classes": ["no", "yes"], "positive": 1},
    "multiclass": {"task": "multiclass", "classes": ["a", "b", "c"]},
    "regression": {"task": "regression"},
}
MIRROR = Mirror(mirror=100, seconds=60, min_requests=0)
HALF = Step(weight=50, seconds=60, min_requests=0)


class Server:
    """A version's prediction server: only its log."""

    def __init__(self, world: WatchWorld, version: str, task: str, policy: LogPolicy) -> None:
        self._clock, self._n, self._version = world.clock, 0, version
        manifest = Manifest("churn", version, target="y", build="b", log=policy, **TASKS[task])
        self._classes = len(manifest.classes)
        self.folder = world.settings.inference_log.joinpath(*PLACE, version)
        self.segments = Segments(
            self.folder, world.columns, manifest, environment="production",
            pace=Pace(interval=0.001), draw=iter(np.linspace(0, 1, 1_000, endpoint=False)).__next__,
        )  # fmt: skip

    def answers(
        self,
        row: Sequence[Any],
        number: float,
        *,
        label: int | None = None,
        probe: bool = False,
        at: float | None = None,
    ) -> str:
        """One request; `number` is the value, the positive's score or the label's. Its id."""
        self._n += 1
        id_ = f"v{self._version}-{self._n}"
        scores, labels = [number], []
        if self._classes:
            label = int(number >= 0.5) if label is None else label
            labels = [label]
            scores = [1 - number, number] if self._classes == 2 else [0.0] * self._classes
            if self._classes > 2:
                scores[label] = number
        when = self._clock.now if at is None else at
        self.segments.put([id_], when, 1.0, probe, [tuple(row)], Scored(labels, [scores]))
        return id_

    def close(self) -> None:
        """What it said is on the disk."""
        self.segments.close()


class WatchWorld:
    """One release in progress, and everything that is to be seen of it."""

    def __init__(self, folder: Path, task: str = "binary") -> None:
        self.settings, self.clock, self.columns = Settings(project=folder), Clock(), COLUMNS
        self.target, self.gateway, self.probed = FakeTarget(), FakeGateway(), 0
        self._task, self._servers = task, list[Server]()
        bundle = folder / "bundle"
        bundle.mkdir()
        self.spec = ServerSpec(*PLACE, "2", bundle, "digest")
        self.champion = ServerSpec(*PLACE, "1", bundle, "digest")
        for it in (self.spec, self.champion):
            self.target.start(it)
            self.target.look(it)
            self.target.look(it)

    def reference(self, numbers: Sequence[float], ages: Sequence[int] = range(100)) -> None:
        """The bundle's profile: what it answered to held-out rows, and what these looked like."""
        rows = pl.DataFrame(
            {
                "age": list(ages), "city": [["Bern", "Rome"][i % 2] for i in range(len(ages))],
                "since": [None] * len(ages),
            },
            schema={"age": pl.Int64, "city": pl.String, "since": pl.Datetime("us")},
        )  # fmt: skip
        columns = [Column("age", "integer"), Column("city", "category")]
        made = profile.build(rows, columns, np.array(numbers, dtype=np.float64))
        (self.spec.bundle / "profile.json").write_bytes(msgspec.json.encode(made))

    def server(self, version: str, policy: LogPolicy | None = None) -> Server:
        """A server of that version; several of one are several processes."""
        self._servers.append(Server(self, version, self._task, policy or LogPolicy()))
        return self._servers[-1]

    def route(self, weights: dict[str, int]) -> None:
        names = {it.name: it for it in (self.champion, self.spec)}
        self.gateway.apply(
            Route(
                *PLACE, backends={it: "http://127.0.0.1:1" for it in names},
                weights={names_of(v): w for v, w in weights.items()}, stable=self.champion.name,
                versions={name: it.version for name, it in names.items()},
            )
        )  # fmt: skip

    def rollout(self, step: AnyStep) -> Rollout:
        return Rollout(
            candidate=self.spec.name, champion=self.champion.name, steps=(step,),
            phase=Phase.STEPPING, since=self.clock.now,
        )  # fmt: skip

    def watch(self, step: Step | Mirror) -> Watching:
        """A watch of that step, which begins now."""
        return Watching(self, step)

    def probe(self, *, n: int, **_: Any) -> Probe:
        self.probed += n
        for _it in range(n):
            self.gateway.send(*PLACE, "2")
        return Probe(sent=n)

    def labels(self, *labels: tuple[str, Any], file: str = "1-1.jsonl") -> None:
        path = self.settings.feedback_log.joinpath(*PLACE, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": id_, "time": self.clock.now, "label": label} for id_, label in labels]
        with path.open("ab") as out:
            out.write(b"".join(json.dumps(it).encode() + b"\n" for it in rows))

    def close(self) -> None:
        for it in self._servers:
            it.close()


class Watching:
    """A watch and its state."""

    def __init__(self, world: WatchWorld, step: Step | Mirror) -> None:
        self._world, self._step = world, step
        self.rollout = world.rollout(step)
        self._watch = StepWatch(
            world.settings, world.target, world.gateway, world.probe, world.clock
        )

    def look(self) -> Look:
        """What came since the last look."""
        return self._watch.measure(self.rollout, self._world.spec, self._step)


def names_of(version: str) -> str:
    return f"production-churn-v{version}"
