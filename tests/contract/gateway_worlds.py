"""A gateway with clients and servers around it: one in memory, one of real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Protocol

import httpx
from helpers import TinyServer, write_bundle
from support import free_port_block, wait_until

from andon.adapters.fakes import FakeGateway
from andon.adapters.loopback import ask
from andon.adapters.traefik import TraefikGateway
from andon.ports import Gateway, Route
from andon.settings import Settings
from deployments.platform import gateway as platform_gateway
from deployments.platform import layout, programs

Sent = tuple[int, str]  # HTTP status, name of the server that answered


class World(Protocol):
    gateway: Gateway

    def serve(self, name: str, mode: str = "good") -> str:
        """Start a server, returns its URL."""

    def harm(self, name: str, how: str) -> None:
        """Make a server "killed" or "hung"."""

    def send(self, model: str, version: str | None = None, environment: str = "production") -> Sent:
        """One request of a client."""

    def visitor(self, model: str, customer: str = "") -> Callable[[], Sent]:
        """A client of its own, that keeps the cookies it gets: each call is a request.

        `customer`: what it sends as X-Customer.
        """

    def edit(self, model: str) -> None:
        """Somebody changes what the gateway was told about a model."""

    def kill_gateway(self) -> None: ...

    def start_gateway(self) -> None: ...

    def impatient(self) -> Gateway:
        """The same gateway, but it does not wait long for a confirmation."""

    def forgetful(self) -> Gateway:
        """The same gateway, as a new process of the line sees it."""


class FakeWorld:
    def __init__(self) -> None:
        self.gateway = FakeGateway()

    def serve(self, name: str, mode: str = "good") -> str:
        if mode == "refusing":
            self.gateway.refusing.add(name)
        elif mode == "failing":
            self.gateway.dead.add(name)
        return f"http://{name}:8000"

    def harm(self, name: str, how: str) -> None:
        self.gateway.dead.add(name)

    def send(self, model: str, version: str | None = None, environment: str = "production") -> Sent:
        reply = self.gateway.send(environment, model, version)
        return reply.status, reply.server

    def visitor(self, model: str, customer: str = "") -> Callable[[], Sent]:
        cookie = ""

        def visit() -> Sent:
            nonlocal cookie
            reply = self.gateway.send("production", model, cookie=cookie, header=customer)
            cookie = reply.cookie or cookie
            return reply.status, reply.server

        return visit

    def edit(self, model: str) -> None:
        self.gateway.edited[f"production--{model}"] = [f"production--{model}: weights"]

    def kill_gateway(self) -> None:
        self.gateway.down = True

    def start_gateway(self) -> None:
        self.gateway.restart()

    def impatient(self) -> Gateway:
        return self.gateway

    def forgetful(self) -> Gateway:
        return self.gateway

    def close(self) -> None:
        pass


class Traefik:
    """The real gateway, in a state folder of its own."""

    def __init__(self, project: Path) -> None:
        self.settings = Settings(project=project, port_base=free_port_block())
        layout.make(self.settings)
        platform_gateway.write(self.settings)
        self.start()

    def start(self) -> None:
        """With the platform's own settings, and ready by the platform's own criterion."""
        program = programs.gateway(self.settings)
        self._process = subprocess.Popen(program.command, cwd=program.folder)
        wait_until(self._answers, 60, "Traefik answers")

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        """Once it knows the platform's own router it has read the watched folder."""
        try:
            path = "/api/http/routers/andon-admin@file"
            return ask("GET", self.settings.gateway_admin_url + path)[0] == 200
        except OSError:
            return False


class TraefikWorld:
    def __init__(self, traefik: Traefik, folder: Path) -> None:
        self.traefik = traefik
        self.gateway = TraefikGateway(traefik.settings)
        self.watched = traefik.settings.state / "run" / "gateway" / "dyn"
        self.client = self.client_of(CookieJar(DefaultCookiePolicy(allowed_domains=[])))
        self._folder = folder
        self.servers: dict[str, TinyServer] = {}
        self.visitors: list[httpx.Client] = []

    def serve(self, name: str, mode: str = "good") -> str:
        assert name not in self.servers, f"{name} runs already"
        bundle = write_bundle(self._folder / name, mode=mode, name=name)
        self.servers[name] = TinyServer(bundle)
        return self.servers[name].url

    def harm(self, name: str, how: str) -> None:
        {"killed": self.servers[name].kill, "hung": self.servers[name].hang}[how]()

    def send(self, model: str, version: str | None = None, environment: str = "production") -> Sent:
        reply = self.ask(f"/{environment}/{model}/predict", version=version, content=b"{}")
        return reply.status_code, reply.json()["name"] if reply.status_code == 200 else ""

    def ask(self, path: str, version: str | None = None, content: bytes | None = None):
        headers = {} if version is None else {"X-Andon-Version": version}
        return self.client.post(path, headers=headers, content=content)

    def client_of(self, cookies: CookieJar | None = None) -> httpx.Client:
        url = self.traefik.settings.gateway_url
        return httpx.Client(base_url=url, timeout=20.0, cookies=cookies)

    def visitor(self, model: str, customer: str = "") -> Callable[[], Sent]:
        client = self.client_of()
        client.headers.update({"X-Customer": customer} if customer else {})
        self.visitors.append(client)

        def visit() -> Sent:
            reply = client.post(f"/production/{model}/predict", content=b"{}")
            return reply.status_code, reply.json()["name"] if reply.status_code == 200 else ""

        return visit

    def edit(self, model: str) -> None:
        path = self.watched / f"production--{model}.yml"
        path.write_text(path.read_text().replace('"weight": 50', '"weight": 49'))

    def kill_gateway(self) -> None:
        self.traefik.kill()

    def start_gateway(self) -> None:
        self.traefik.start()

    def impatient(self) -> Gateway:
        return TraefikGateway(self.traefik.settings, deadline=0.5)

    def forgetful(self) -> Gateway:
        return TraefikGateway(self.traefik.settings)

    def close(self) -> None:
        for path in self.watched.glob("*--*.yml"):
            environment, _, model = path.stem.partition("--")
            self.gateway.remove(environment, model)
        for client in (self.client, *self.visitors):
            client.close()
        for server in self.servers.values():
            server.kill()


def two_versions(
    serve: Callable[..., str], model: str, weight: int, mode: str = "good",
    environment: str = "production",
) -> Route:  # fmt: skip
    """v1 is stable; v2 takes `weight` percent, and may be in another mode than good."""
    v1, v2 = f"{environment}-{model}-v1", f"{environment}-{model}-v2"
    return Route(
        environment=environment,
        model=model,
        backends={v1: serve(v1), v2: serve(v2, mode=mode)},
        weights={v1: 100 - weight, v2: weight},
        stable=v1,
        versions={v1: "1", v2: "2"},
    )
