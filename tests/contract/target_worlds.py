"""A target with bundles of every kind: in memory, of supervised processes, of containers."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import httpx
from docker_kit import MARK
from helpers import TINY_SERVER, write_bundle
from support import wait_until

from andon.adapters.docker_context import write_context
from andon.adapters.docker_target import DockerTarget
from andon.adapters.fakes import FakeTarget
from andon.adapters.loopback import ask
from andon.adapters.process_target import ProcessTarget
from andon.ports import Server, ServerSpec, Target
from andon.settings import DockerTarget as Options
from andon.settings import Settings

MEGABYTE = 2**20
DOCKERFILE = """\
FROM {}
COPY files /
ENTRYPOINT ["python3", "/opt/tiny_server.py", "--bundle", "/bundle", "--host", "0.0.0.0", \
"--port", "8080"]
"""


class World(Protocol):
    target: Target

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        """A bundle of this version; its mode is one of `tiny_server.py`, or "impostor"."""

    def kill(self, server: Server) -> None:
        """SIGKILL; whoever supervises it brings it back."""

    def work(self, server: Server, n: int = 1) -> None:
        """Costs it n times 0.1 s of CPU time; one in the mode "leaking" keeps n MiB."""

    def forgetful(self) -> Target:
        """The same target, as a new process of the line sees it."""


def ready(target: Target, spec: ServerSpec) -> Server:
    """Wait until it is."""
    wait_until(lambda: target.look(spec).state == "ready", 60, f"{spec.name} is ready")
    return target.look(spec)


class FakeWorld:
    def __init__(self, folder: Path) -> None:
        self.target = FakeTarget()
        self._folder = folder
        self._leaking: dict[str, bool] = {}

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        knobs = {
            "crash": self.target.crashing,
            "stuck": self.target.stuck,
            "impostor": self.target.impostors,
        }
        for knob in knobs.values():
            knob.discard(version)
        if mode in knobs:
            knobs[mode].add(version)
        self._leaking[version] = mode == "leaking"
        spec = _spec(self._folder, version, digest)
        self.target.use(spec.name, 0.1, 10 * MEGABYTE)
        return spec

    def kill(self, server: Server) -> None:
        self.target.kill(server.name)
        self.target.use(server.name, 0.1, 10 * MEGABYTE)

    def work(self, server: Server, n: int = 1) -> None:
        leaks = self._leaking[server.name.rpartition("-v")[2]]
        self.target.use(server.name, 0.1 * n, MEGABYTE * n * leaks)

    def forgetful(self) -> Target:
        return self.target

    def close(self) -> None:
        pass


class RealWorld:
    """Whose servers are real ones: `tiny_server.py`."""

    target: Target

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.target = self.forgetful()

    def forgetful(self) -> Target:
        raise NotImplementedError

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        spec = _spec(self._folder, version, digest)
        said = "of-another" if mode == "impostor" else spec.digest
        mode = "good" if mode == "impostor" else mode
        write_bundle(spec.bundle, mode=mode, model=spec.model, version=version, digest=said)
        return spec

    def work(self, server: Server, n: int = 1) -> None:
        for _ in range(n):
            assert ask("GET", f"{server.url}/burn", seconds=20)[0] == 200

    def close(self) -> None:
        for name in self.target.names():
            self.target.stop(name)


class ProcessWorld(RealWorld):
    def kill(self, server: Server) -> None:
        pid = httpx.get(f"{server.url}/healthz").json()["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _is_running(pid), 60, f"process {pid} is gone")

    def forgetful(self) -> ProcessTarget:
        return ProcessTarget(self._settings, command=(sys.executable, str(TINY_SERVER)))


class DockerWorld(RealWorld):
    def __init__(self, settings: Settings, folder: Path, client: Any) -> None:
        self.client = client
        super().__init__(settings, folder)

    def kill(self, server: Server) -> None:
        """From within: what is killed through the engine stays down."""
        found = self.container(server.name)
        pid = httpx.get(f"{server.url}/healthz").json()["pid"]
        found.exec_run(["python3", "-c", f"import os; os.kill({pid}, 9)"])
        wait_until(lambda: self._restarts(found) or found.status != "running", 60, "it is gone")

    def container(self, server: str) -> Any:
        """Of this world: others use the engine at the same time, with servers of the same names."""
        return self.client.containers.get(f"{self._options.prefix}-{server}")

    @property
    def _options(self) -> Options:
        return self._settings.environments["production"].target

    def forgetful(self) -> DockerTarget:
        return DockerTarget(self._settings, image=self._image)

    def _image(self, settings: Settings, spec: ServerSpec) -> str:
        folders = {"bundle": spec.bundle, "opt": self._folder / "opt"}
        folders["opt"].mkdir(exist_ok=True)
        shutil.copy(TINY_SERVER, folders["opt"])
        with tempfile.TemporaryFile() as context:
            write_context(context, DOCKERFILE.format(settings.base_image), folders)
            context.seek(0)
            mark = {MARK: self._options.prefix}
            image, _ = self.client.images.build(
                fileobj=context, custom_context=True, rm=True, labels=mark
            )
        return str(image.id)

    def _restarts(self, found: Any) -> int:
        found.reload()
        return int(found.attrs["RestartCount"])


def _spec(folder: Path, version: str, digest: str) -> ServerSpec:
    return ServerSpec(
        "production", "churn", version, folder / version, digest or f"digest-{version}"
    )


def _is_running(pid: int) -> bool:
    """A process that was killed and not yet waited for does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
