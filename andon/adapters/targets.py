"""Every environment's own target, behind one."""

from __future__ import annotations

from collections.abc import Mapping

from andon.adapters.docker_target import DockerTarget, was_used
from andon.adapters.process_target import ProcessTarget
from andon.errors import TargetError
from andon.ports import Server, ServerSpec, Target, Usage
from andon.settings import Settings

DEFAULT = "process"


def local_target(settings: Settings) -> Target:
    """Where the servers of these settings run, each environment's where `andon.yaml` says."""
    kinds = {it.target.kind for it in settings.environments.values()}
    known: dict[str, Target] = {"process": ProcessTarget(settings)}
    if "docker" in kinds or was_used(settings):
        known["docker"] = DockerTarget(settings)
    return Targets(settings, known) if len(known) > 1 else known[DEFAULT]


class Targets:
    """Implements `andon.ports.Target` with one target of each kind.

    A server is started where its environment is now. One that an environment has elsewhere, from
    before its target was changed, is kept until the new one has taken over.
    """

    def __init__(self, settings: Settings, known: Mapping[str, Target]) -> None:
        self._known = known
        self._kinds = {name: it.target.kind for name, it in settings.environments.items()}

    def start(self, spec: ServerSpec) -> Server:
        chosen = self._of(spec)
        before = [it for it in self._with(spec.name) if it is not chosen]
        # Ready before it was asked for: so the gateway knows its address already.
        took_over = bool(before) and chosen.look(spec).state == "ready"
        server = chosen.start(spec)
        for it in before if took_over else ():
            it.stop(spec.name)
        return server

    def look(self, spec: ServerSpec) -> Server:
        return self._of(spec).look(spec)

    def stop(self, name: str) -> None:
        for it in self._with(name):
            it.stop(name)

    def names(self) -> set[str]:
        return {name for kind in self._known for name in self._names(kind)}

    def usage(self, name: str) -> Usage | None:
        """Where two have it, of the one that was started last: it takes over."""
        try:
            found = [usage for it in self._with(name) if (usage := it.usage(name))]
        except TargetError:
            return None
        return max(found, key=lambda it: it.started, default=None)

    def _of(self, spec: ServerSpec) -> Target:
        return self._known[self._kinds.get(spec.environment, DEFAULT)]

    def _with(self, name: str) -> list[Target]:
        return [it for kind, it in self._known.items() if name in self._names(kind)]

    def _names(self, kind: str) -> set[str]:
        """None where nothing is to run any more and nobody answers."""
        try:
            return self._known[kind].names()
        except TargetError:
            if kind in self._kinds.values():
                raise
            return set()
