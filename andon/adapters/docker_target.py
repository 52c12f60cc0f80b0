"""Prediction servers as containers of this machine's Docker engine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from andon.adapters import docker_container as container
from andon.adapters import docker_images
from andon.adapters.identity import RETRIES, SETTLED_SECONDS, STOP_SECONDS, identified, of_another
from andon.adapters.usage import of_cgroup
from andon.errors import TargetError
from andon.ports import Server, ServerSpec, Usage
from andon.settings import DockerTarget as Options
from andon.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

ENGINE_SECONDS = 30
LOG_LINES = 20
LOCK = "containers.lock"
ImageOf = Callable[[Settings, ServerSpec], str]


class DockerTarget:
    """Implements `andon.ports.Target` with an engine.

    All that is to be kept is in the engine: a container's labels say whose it is and what it
    serves. The engine brings back whatever ends, also after its own restart; to call that a crash
    loop is up to us. `image` gives the image of a version, and makes it where there is none.
    """

    def __init__(self, settings: Settings, image: ImageOf = docker_images.needed) -> None:
        self._settings, self._image = settings, image
        self._client: DockerClient | None = None

    def start(self, spec: ServerSpec) -> Server:
        """Start it in a new container, or leave it alone if it is up."""
        with self._engine(spec.name) as api:
            found = self._find(api, spec.name)
            if found is not None and self._keeps(found, spec):
                return self._judged(api, spec, found)
        image = self._image(self._settings, spec)
        with self._engine(spec.name) as api, self._lock():
            found = self._find(api, spec.name)
            if found is None or not self._keeps(found, spec):
                self._remove(api, found)
                container.run(api, self._settings, spec, image, self._options(spec))
        return self.look(spec)

    def look(self, spec: ServerSpec) -> Server:
        """How it is, as the engine and the server itself say."""
        with self._engine(spec.name) as api:
            found = self._find(api, spec.name)
            if found is None:
                return Server(spec.name, "absent")
            return self._judged(api, spec, found)

    def stop(self, name: str) -> None:
        """SIGTERM, time to finish its requests, SIGKILL if it must be; then remove it."""
        with self._engine(name) as api:
            self._remove(api, self._find(api, name))

    def names(self) -> set[str]:
        """The servers of this line that have a container."""
        with self._engine("containers") as api:
            found = api.containers(all=True, filters={"label": [self._ours]})
        return {str(it["Labels"][container.NAME]) for it in found}

    def usage(self, name: str) -> Usage | None:
        """Of the container's cgroup."""
        try:
            with self._engine(name) as api:
                found = self._find(api, name)
        except TargetError:
            return None
        if found is None or not found["State"]["Pid"]:
            return None
        return of_cgroup(found["State"]["Pid"], found["Id"], _started(found))

    @property
    def _ours(self) -> str:
        return f"{container.STATE}={self._settings.state}"

    def _options(self, spec: ServerSpec) -> Options:
        """Of its environment; the defaults if that has another target."""
        environment = self._settings.environments.get(spec.environment)
        found = environment and environment.target
        return found if isinstance(found, Options) else Options(kind="docker")

    def _find(self, api: APIClient, name: str) -> Any | None:
        """What the engine knows of a server's container; None if this line has none."""
        import docker

        labels = [self._ours, f"{container.NAME}={name}"]
        for it in api.containers(all=True, filters={"label": labels}):
            try:
                return api.inspect_container(it["Id"])
            except docker.errors.NotFound:  # removed in this moment
                continue
        return None

    def _judged(self, api: APIClient, spec: ServerSpec, found: Any) -> Server:
        labels, state = found["Config"]["Labels"], found["State"]["Status"]
        url = f"http://{labels[container.ADDRESS]}:{container.PORT}"
        if labels[container.DIGEST] != spec.digest:
            return of_another(spec, url, labels[container.DIGEST])
        if state in ("running", "paused"):
            server = identified(spec, url, state, f"container {found['Id'][:12]}")
            if server.state != "starting":
                self._note(found)
                return server
            detail = server.detail
        else:
            detail = state
        ended = state not in ("running", "paused", "restarting", "created")
        loops = self._loops(found)
        if found["RestartCount"] or ended:
            detail = f"{detail}: {_end(found)}{_tail(api, found['Id'])}"
        return Server(spec.name, "failed" if ended or loops else "starting", url, detail)

    def _keeps(self, found: Any, spec: ServerSpec) -> bool:
        """Whether that container is the one to be; one that was only created never ran."""
        up = found["State"]["Status"] in ("running", "restarting", "paused")
        same = found["Config"]["Labels"][container.DIGEST] == spec.digest
        return up and same and not self._loops(found)

    def _loops(self, found: Any) -> bool:
        """Whether it dies again and again, as soon as it is started.

        The engine counts all restarts there ever were; those before it was last seen well do not
        count here.
        """
        short = found["State"]["Restarting"] or _lived(found) < SETTLED_SECONDS
        return short and found["RestartCount"] - self._forgiven(found) > RETRIES

    def _note(self, found: Any) -> None:
        """It is well: the restarts up to now are forgiven."""
        count = found["RestartCount"]
        if _lived(found) >= SETTLED_SECONDS and count != self._forgiven(found):
            self._notes(found).write_text(str(count), encoding="utf-8")

    def _forgiven(self, found: Any) -> int:
        try:
            return int(self._notes(found).read_text(encoding="utf-8") or 0)
        except FileNotFoundError:
            return 0

    def _notes(self, found: Any) -> Any:
        return self._settings.state / "run" / f"restarts-{found['Id'][:12]}"

    def _remove(self, api: APIClient, found: Any | None) -> None:
        import docker

        if found is None:
            return
        try:
            api.stop(found["Id"], timeout=STOP_SECONDS)
            api.remove_container(found["Id"], v=True, force=True)
        except docker.errors.APIError as error:
            # Somebody else is at it, or was faster.
            if error.status_code not in (404, 409):
                raise
        self._notes(found).unlink(missing_ok=True)

    @contextmanager
    def _engine(self, name: str) -> Iterator[APIClient]:
        """The engine; whatever it refuses, or that it does not answer, is a TargetError."""
        import docker

        if self._client is None:
            self._client, reason = docker_images.engine(patience=ENGINE_SECONDS)
            if self._client is None:
                raise TargetError(f"{name}: {reason}. Is the engine up, and may you use it?")
        try:
            yield self._client.api
        except docker.errors.APIError as error:
            raise TargetError(f"{name}: the engine refused it: {error.explanation}") from None
        except (docker.errors.DockerException, OSError) as error:
            self._client.close()
            self._client = None
            raise TargetError(f"{name}: the Docker engine does not answer: {error}") from None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Two runs that start one server at once must not remove each other's."""
        path = self._settings.state / "run" / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def was_used(settings: Settings) -> bool:
    """Whether this line has ever started a container; some may still be there."""
    return (settings.state / "run" / LOCK).exists()


def _started(found: Any) -> float:
    """Epoch seconds."""
    return datetime.fromisoformat(found["State"]["StartedAt"]).timestamp()


def _lived(found: Any) -> float:
    return time.time() - _started(found)


def _end(found: Any) -> str:
    """How its last run ended."""
    state = found["State"]
    memory = ", out of memory" if state["OOMKilled"] else ""
    error = f", {state['Error']}" if state["Error"] else ""
    times = f"restarted {found['RestartCount']} times"
    return f"{times}, ended with status {state['ExitCode']}{memory}{error}"


def _tail(api: APIClient, identity: str) -> str:
    text = api.logs(identity, tail=LOG_LINES).decode(errors="replace").strip()
    return f"\n{text}" if text else ""
