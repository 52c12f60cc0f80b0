"""A whole place for releases, of real parts: supervisord, Traefik, prediction servers, a ledger.

As a script (`release_kit.py ORDER`): one run of a release in a process of its own, which prints the
end of it as JSON, or kills itself on order; see `Asked`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import support
from driver_world import Tapped
from open_load import OpenLoad
from support import wait_until

from andon.adapters import local
from andon.adapters.driver import AT_ONCE, Driver, Order
from andon.adapters.ledger import Ledger, Release, open_ledger
from andon.adapters.loopback import ask
from andon.adapters.process_target import PREFIX, ProcessTarget
from andon.adapters.supervisor import Supervisor
from andon.adapters.traefik import TraefikGateway
from andon.settings import Environment, Settings
from andon.spec import Limits
from andon.spec import Release as Plans
from deployments.platform import gateway as platform_gateway
from deployments.platform import programs

HERE = Path(__file__).parent
PRODUCTION = "production"
# What the machine's other work may do to a good candidate is not the subject.
GENEROUS = {
    "p95_ms": 2_000.0, "latency_ratio": 100.0, "cpu_ratio": 1_000.0, "memory_ratio": 100.0,
    "memory_growth": 100.0, "shift": 1.0, "disagreement": 1.0,
}  # fmt: skip


def plan(strategy: str = "canary", **changes: Any) -> dict[str, Any]:
    """A short way through production, as it stands in a model.yaml."""
    short = {"for": 0.3, "min_requests": 20}
    steps = {
        "canary": [{"weight": 10, **short}, {"weight": 50, **short}, {"weight": 100, **short}],
        "blue_green": [{"weight": 0, **short}, {"weight": 100, **short}],
        "all_at_once": [{"weight": 100, **short}],
        "shadow_only": [{"mirror": 100, **short}],
    }[strategy]
    found = {"strategy": strategy, "steps": steps, "rollback_window": 0, "keep_warm": 0}
    return {**found, **changes}


@dataclass(frozen=True)
class Asked:
    """One run of a release. `kind`: release, rollback, or carry_on.

    `kill`: (state, call): SIGKILL before the first such call, of ledger, target or gateway, that is
    made once the ledger shows a state that begins so.
    """

    version: str = ""
    run_id: str = ""
    kind: str = "release"
    model: str = "churn"
    plan: dict[str, Any] = field(default_factory=plan)
    limits: dict[str, float] = field(default_factory=lambda: dict(GENEROUS))
    inconclusive_seconds: float = 20.0
    kill: tuple[str, str] | None = None


class Place:
    """`folder` is the project's; nothing of it is kept in memory, so any process may open one."""

    def __init__(self, folder: Path, port_base: int, ledger_url: str = "") -> None:
        self.folder, self.port_base = folder, port_base
        self.ledger_url = ledger_url or f"sqlite:///{folder}/ledger.db"
        # As in earnest, longer than any request takes.
        production = {PRODUCTION: Environment(drain_seconds=0.5)}
        self.settings = Settings(project=folder, port_base=port_base, environments=production)
        self.ledger: Ledger = open_ledger(self.ledger_url)
        self.supervisor = Supervisor(self.settings)

    def close(self) -> None:
        self.ledger.engine.dispose()

    def driver(self, tap: Callable[[str], None] | None = None) -> Driver:
        """As the platform makes one, with servers that have faults on order."""

        def tapped(made: Any) -> Any:
            return made if tap is None else Tapped(made, tap)

        command = (sys.executable, str(HERE / "faulty_server.py"))
        with (
            patch.object(local, "local_target", lambda it: tapped(ProcessTarget(it, command))),
            patch.object(local, "TraefikGateway", lambda it: tapped(TraefikGateway(it))),
        ):
            return local.local_driver(self.settings, tapped(self.ledger))

    def run(self, asked: Asked, driver: Driver | None = None, report: Any = None) -> Release | None:
        """One run of a release, in this process."""
        driver = driver or self.driver()
        if asked.kind == "carry_on":
            found = driver.carry_on(PRODUCTION, asked.model)
            return found and found[0]
        plans = Plans(production=asked.plan)
        at_once = AT_ONCE.model_copy(update={"keep_warm": plans.production.keep_warm})
        order = Order(
            environment=PRODUCTION,
            plan=at_once if asked.kind == "rollback" else plans.production,
            limits=Limits(**asked.limits),
            trigger="test",
            run_id=asked.run_id or f"{asked.kind}-{asked.version}-{time.time_ns()}",
            kind="rollback" if asked.kind == "rollback" else "release",
            inconclusive_seconds=asked.inconclusive_seconds,
        )
        candidate = self.ledger.candidate(asked.model, asked.version)
        assert candidate is not None
        more = [] if report is None else [report]
        return driver.release(candidate, order, *more)[0]

    def spawn(self, asked: Asked) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        place = {"folder": str(self.folder), "port_base": self.port_base}
        given = {"place": {**place, "ledger_url": self.ledger_url}, "asked": asdict(asked)}
        tests = HERE.parent
        return subprocess.Popen(
            [sys.executable, str(HERE / "release_kit.py"), json.dumps(given)],
            env={**os.environ, "PYTHONPATH": f"{HERE}:{tests}:{tests.parent}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write_bundles(self, model: str, versions: int) -> None:
        """A small compiled model, under as many version numbers."""
        from server_kit import author  # heavy, and only the test's own process needs it

        made = author("linear")
        for version in map(str, range(1, versions + 1)):
            bundle = f"store/bundles/{model}/v{version}"
            folder = self.settings.state / bundle
            folder.parent.mkdir(parents=True, exist_ok=True)
            manifest = made.manifest.__class__(
                model, version, "binary", "left", f"build-{version}", made.manifest.classes
            )
            self.ledger.add_candidate(
                model=model, version=version, build=f"build-{version}", snapshot="s", git_sha="g",
                git_dirty=False, bundle=bundle, digest=made.write(folder, manifest=manifest),
                image=None, metrics={}, trigger="test", run_id="r",
            )  # fmt: skip
        bodies = [json.dumps({"records": [it]}) for it in made.records]
        (self.folder / f"{model}.json").write_text(json.dumps(bodies))

    def load(self, rate: float = 200.0, model: str = "churn") -> OpenLoad:
        """Clients of a model, while the block runs."""
        bodies = json.loads((self.folder / f"{model}.json").read_text())
        url = f"{self.settings.gateway_url}/{PRODUCTION}/{model}/predict"
        return OpenLoad(url, bodies, self.folder, rate)

    @contextmanager
    def fault(self, version: str, what: str, model: str = "churn") -> Iterator[None]:
        """What a version's server does wrong while the block runs; see `faulty_server.py`."""
        file = self.settings.state / f"store/bundles/{model}/v{version}.fault"
        try:
            self.order(file, what)
            yield
        finally:
            file.unlink(missing_ok=True)

    def order(self, file: Path, what: str) -> None:
        temporary = file.with_suffix(".new")
        temporary.write_text(what)
        temporary.replace(file)

    def process(self, version: str, model: str = "churn") -> psutil.Process | None:
        """A version's server, if it runs."""
        info = self.supervisor.info(f"{PREFIX}{PRODUCTION}-{model}-v{version}")
        return psutil.Process(info.pid) if info is not None and info.pid else None

    def signal(self, version: str, number: int, model: str = "churn") -> bool:
        """Send a signal to a version's server; whether there was one."""
        try:
            found = self.process(version, model)
            return bool(found and (found.send_signal(number) or True))
        except psutil.Error:
            return False

    def champion(self, model: str = "churn") -> str:
        found = self.ledger.champion(PRODUCTION, model)
        return found.version if found else ""

    def state(self, model: str = "churn") -> str:
        """The state of the release in progress, or ""."""
        found = self.ledger.unfinished(PRODUCTION, model)
        return str(found.rollout) if found else ""

    def weights(self, model: str = "churn") -> dict[str, int]:
        """The split as Traefik itself has it, by version; {} if one server takes everything."""
        status, said = ask("GET", f"{self.settings.gateway_admin_url}/api/rawdata")
        assert status == 200
        split = said["services"].get(f"{PRODUCTION}--{model}--split@file", {})
        found = split.get("weighted", {}).get("services", [])
        return {it["name"].rpartition("-v")[2].removesuffix("@file"): it["weight"] for it in found}

    def settled(self, model: str = "churn") -> None:
        """Nothing is in progress, and the champion alone takes the traffic, by Traefik's word."""
        assert self.ledger.unfinished(PRODUCTION, model) is None
        route = TraefikGateway(self.settings).route(PRODUCTION, model)
        server = f"{PRODUCTION}-{model}-v{self.champion(model)}"
        assert route is not None
        assert (route.stable, route.weights[server]) == (server, 100)
        assert set(self.weights(model)) <= {self.champion(model)}

    def gateway_answers(self) -> bool:
        try:
            path = "/api/http/routers/andon-admin@file"
            return ask("GET", self.settings.gateway_admin_url + path)[0] == 200
        except OSError:
            return False


@contextmanager
def place(
    versions: int = 4, models: tuple[str, ...] = ("churn",), url: str = ""
) -> Iterator[Place]:
    """A place where v1 of each model serves."""
    with support.scratch_folder() as folder:
        made = Place(folder, support.free_port_block(), url)
        with support.supervised(made.settings):
            platform_gateway.write(made.settings)
            program = programs.gateway(made.settings)
            made.supervisor.add(program)
            made.supervisor.start(program.name)
            wait_until(made.gateway_answers, 60, "Traefik answers")
            for model in models:
                made.write_bundles(model, versions)
                made.run(Asked("1", plan=plan("all_at_once"), model=model))
                assert made.champion(model) == "1"
            yield made
        made.close()


def _killed_on_order(asked: Asked) -> Callable[[str], None]:
    state = ""

    def tap(name: str) -> None:
        assert asked.kill
        if name == asked.kill[1] and found().startswith(asked.kill[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    def found() -> str:
        release = _OPENED.ledger.releases(asked.model, limit=1)[0]
        return str(release.rollout) if release.run_id == asked.run_id else state

    return tap


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    _OPENED = Place(Path(given["place"].pop("folder")), **given["place"])
    asked = Asked(**given["asked"])
    tap = _killed_on_order(asked) if asked.kill else None
    ended = _OPENED.run(asked, _OPENED.driver(tap))
    print(json.dumps(ended and [ended.version, ended.rollout.phase, ended.rollout.reason]))
