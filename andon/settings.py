"""The line's settings: where its state lives, which ports it uses, which environments it serves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from andon.spec import NAME, Frozen
from andon.spec.notify import Route

Name = Annotated[str, Field(pattern=NAME, max_length=40)]
DOCKER_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,59}$"


class ProcessTarget(Frozen):
    """A prediction server is a supervised process of this machine."""

    kind: Literal["process"] = "process"


class DockerTarget(Frozen):
    """A prediction server is a container of this machine's Docker engine."""

    kind: Literal["docker"]
    network: str = Field(
        "andon", pattern=DOCKER_NAME, description="a bridge network; made if there is none"
    )
    prefix: str = Field(
        "andon", pattern=DOCKER_NAME, description="of the containers' names; one engine, one line"
    )
    memory_mb: int | None = Field(None, ge=64, description="of each container; none: no limit")
    cpus: float | None = Field(None, ge=0.1, le=1024, description="of each container")


def _kind(given: Any) -> Any:
    return given.get("kind", "process") if isinstance(given, dict) else given.kind


AnyTarget = Annotated[
    Annotated[ProcessTarget, Tag("process")] | Annotated[DockerTarget, Tag("docker")],
    Discriminator(
        _kind,
        custom_error_type="target",
        custom_error_message="kind: expected process or docker",
    ),
]


class Environment(Frozen):
    """A place that serves models."""

    target: AnyTarget = ProcessTarget()
    drain_seconds: float = Field(
        1.0, ge=0, description="how long a server that gets no more traffic may finish requests"
    )


class Compute(Frozen):
    """What a training may use; none: what the machine, or the container, has."""

    cpus: int | None = Field(None, ge=1, le=1024)
    memory_mb: int | None = Field(None, ge=256)


class Settings(Frozen):
    """`andon.yaml`. `project` is the folder it is in; relative paths start there."""

    project: Path
    home: Path = Field(Path(".andon"), description="the line's state; safe to delete when down")
    database_url: str | None = Field(
        None, description="postgresql://…/ of a server; none: an embedded PostgreSQL in `home`"
    )
    mlflow_url: str | None = Field(
        None, description="an MLflow server of your own; none: one of the local platform"
    )
    port_base: int = Field(
        4200,
        ge=1024,
        le=65_000,
        description="Prefect; MLflow, gateway, gateway admin, pages follow",
    )
    compute: Compute = Compute()
    allow_dirty: bool = Field(
        False, description="whether code that differs from its commit may go to production"
    )
    image: Literal["auto", "off", "required"] = "auto"
    base_image: str = "python:3.11-slim"
    notify: tuple[Route, ...] = Field((), description="who is told of incidents")
    environments: dict[Name, Environment] = Field(
        default_factory=lambda: {"staging": Environment(), "production": Environment()}
    )

    @field_validator("environments", mode="before")
    @classmethod
    def _with_the_two(cls, given: Any) -> Any:
        """Staging and production are always there: a delivery goes through both."""
        return {"staging": {}, "production": {}, **given} if isinstance(given, dict) else given

    @field_validator("mlflow_url")
    @classmethod
    def _without_credentials(cls, given: str | None) -> str | None:
        """They come from the environment, where nobody commits them."""
        if given is None:
            return None
        if not re.match(r"https?://[^/\s]", given):
            raise ValueError("expected http://HOST:PORT or https://HOST")
        if "@" in given:
            raise ValueError(
                "expected no user or password in it; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD in the environment"
            )
        return given.rstrip("/")

    @property
    def state(self) -> Path:
        """`home`, made absolute."""
        return self.home if self.home.is_absolute() else self.project / self.home

    @property
    def prefect_port(self) -> int:
        return self.port_base

    @property
    def mlflow_port(self) -> int:
        return self.port_base + 1

    @property
    def gateway_port(self) -> int:
        return self.port_base + 2

    @property
    def gateway_admin_port(self) -> int:
        return self.port_base + 3

    @property
    def pages_port(self) -> int:
        return self.port_base + 4

    @property
    def pages_url(self) -> str:
        """Of the dashboard and the monitors' reports."""
        return f"http://127.0.0.1:{self.pages_port}"

    @property
    def prefect_api_url(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def registry_url(self) -> str:
        """Where MLflow is."""
        return self.mlflow_url or f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def gateway_admin_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_admin_port}"

    @property
    def store(self) -> Path:
        """Content-addressed outputs of the stations."""
        return self.state / "store"

    @property
    def pages(self) -> Path:
        """`index.html`, `metrics`, and `<environment>/<model>/*.html`, for people's browsers."""
        return self.state / "pages"

    @property
    def inference_log(self) -> Path:
        """`<environment>/<model>/<version>/*.arrows`, written by the prediction servers."""
        return self.state / "inference"

    @property
    def feedback_log(self) -> Path:
        """`<environment>/<model>/*.jsonl`: labels by prediction id."""
        return self.state / "feedback"
