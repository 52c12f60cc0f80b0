"""The prediction server beside its peers, in one run: `python benchmarks/serving/run.py`.

Needs two cores to itself, wrk, and a package registry on the first run. Every figure in
docs/benchmarks.md comes from it.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import case
import report
from closed_loop import WrongAnswer, find_wrk
from forms import Model, save, save_for_mlflow
from machine import machine
from measure import Run, bare, one_turn
from overload import bursts, overload
from processes import CORES, LOAD_CORE
from results import Results
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from servers import BY_NAME, HERE, ROOT, SERVERS
from targets import all_targets
from venvs import SetupError, code_size, environment, size

CACHE = ROOT / ".andon" / "bench"
DOCS = ROOT / "docs" / "benchmarks.md"
FAILED, NOT_HERE, INTERRUPTED = 1, 2, 130
FAILURES = (WrongAnswer, OSError, ValueError, http.client.HTTPException)


def parser() -> argparse.ArgumentParser:
    it = argparse.ArgumentParser(description=__doc__)
    it.add_argument("--seconds", type=int, default=2, help="of each load (%(default)s)")
    it.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    it.add_argument("--only", nargs="+", choices=list(BY_NAME), default=list(BY_NAME))
    it.add_argument("--models", nargs="+", choices=case.KINDS, default=list(case.KINDS))
    it.add_argument("--rows", type=int, default=case.EVALUATION_ROWS, help="that are compared")
    it.add_argument("--no-overload", action="store_true")
    it.add_argument("--output", type=Path, default=HERE / "results", help="folder for the results")
    it.add_argument(
        "--docs", type=Path, help="page to put the tables in (a whole run: docs/benchmarks.md)"
    )
    return it


class Show:
    """A line that says what is going on, and a bar."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console)
        self._task = self.progress.add_task("", total=None)
        self._about = ""

    def total(self, steps: int) -> None:
        self.progress.update(self._task, total=steps, completed=0)

    def step(self, about: str) -> None:
        self._about = about
        self.say("")
        if not self.console.is_terminal:
            self.console.print(about, highlight=False)

    def done(self) -> None:
        self.progress.advance(self._task)

    def say(self, what: str) -> None:
        self.progress.update(self._task, description=f"{self._about}  {what}"[:70])


def main() -> int:
    options = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    show = Show()
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    try:
        with show.progress:
            find_wrk()
            results = _measure(options, work, show)
        return _report(options, results)
    except SetupError as error:
        show.console.print(f"{error}", style="red")
        return NOT_HERE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _measure(options: argparse.Namespace, work: Path, show: Show) -> Results:
    if len(CORES) < 2:
        raise SetupError("two cores are needed: one for the load, one for the server")
    servers = [server for server in SERVERS if server.name in options.only]
    models = _models(options, work, show)
    environments = _environments(options, models, show)
    if "mlflow" in options.only:
        for model in models:
            show.step(f"saving {model.kind} for MLflow")
            save_for_mlflow(model, environments["mlflow", model.kind][0])
    os.sched_setaffinity(0, {LOAD_CORE})
    run = Run(Results(), environments, options.seconds, show.say)
    show.total(len(models) * options.rounds * (len(servers) + 1))
    for model in models:
        for round_ in range(options.rounds):
            for server in servers:
                about = f"{model.kind}, round {round_ + 1}: {server.name}"
                _try(run, show, about, one_turn, server, model, round_)
            about = f"{model.kind}, round {round_ + 1}: the model alone"
            _try(run, show, about, bare, model, round_)
    if not options.no_overload:
        _overload(run, models, options.only, show)
    return run.results


def _models(options: argparse.Namespace, work: Path, show: Show) -> list[Model]:
    training = case.rows(case.TRAINING_ROWS, seed=1)
    evaluation, _ = case.rows(options.rows, seed=2)
    records = case.records(evaluation)
    models = []
    for kind in options.models:
        show.step(f"training {kind}")
        fitted = case.fit(kind, training, evaluation)
        show.step(f"saving {kind}, and proving the bundle")
        models.append(save(fitted, training[0], records, work / kind))
    return models


def _environments(
    options: argparse.Namespace, models: list[Model], show: Show
) -> dict[tuple[str, str], tuple[Path, float]]:
    """Of each server for each model, with the bytes that are installed."""
    found = {}
    for name in options.only:
        server = BY_NAME[name]
        for model in models:
            show.step(f"packages of {name}")
            engine = "sklearn" if server.role == "fallback" else model.engine
            path = environment(server.venv, engine, CACHE)
            found[name, model.kind] = (path, size(path) + code_size() * (server.venv == "ours"))
    return found


def _overload(run: Run, models: list[Model], names: list[str], show: Show) -> None:
    by_kind = {model.kind: model for model in models}
    todo = [it for it in bursts(run.results, names) if it.model in by_kind]
    show.total(len(todo))
    for burst in todo:
        about = f"overload, {burst.rate:.0f}/s: {burst.server}"
        _try(run, show, about, overload, by_kind[burst.model], burst)


def _try(run: Run, show: Show, about: str, work: Callable[..., None], *arguments: Any) -> None:
    """A server that fails is in the results as one that failed; the others go on."""
    show.step(about)
    try:
        work(run, *arguments)
    except FAILURES as error:
        run.results.add("failed", about=about, reason=f"{type(error).__name__}: {error}")
        show.console.print(f"{about}: {error}", style="red")
    show.done()


def _report(options: argparse.Namespace, results: Results) -> int:
    whole = options.only == list(BY_NAME) and options.models == list(case.KINDS)
    targets = [it for it in all_targets(results) if whole or it.found is not None]
    about = machine(options.seconds, options.rounds)
    text = report.markdown(results, targets, about)
    options.output.mkdir(parents=True, exist_ok=True)
    report.write(options.output, results, about)
    print(text)
    page = options.docs or (DOCS if whole and not options.no_overload else None)
    if page is not None:
        report.insert(page, text)
    return FAILED if results.of("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
