"""What tests with a real Docker engine share: the engine, a base image, a bundle."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from support import free_port_block, scratch_folder

from andon.adapters.docker_images import engine
from andon.settings import DockerTarget, Environment, Settings
from serving.bundle import Column, Manifest, Signature
from serving.writing import write_bundle

MKBASE = Path(__file__).parents[2] / "infra" / "docker" / "mkbase.sh"
OWN_BASE = "andon/base:python3"
DEFAULT_BASE = Settings.model_fields["base_image"].default
MARK = "andon.test"  # label of the images that a test makes
MODEL = "boxed"  # of the bundles whose images the line itself makes
BUILD = uuid.uuid4().hex  # so that no earlier run has built these bundles


def connected() -> Any:
    """A client of the engine; the test is skipped where none answers."""
    found, reason = engine()
    if found is None:
        pytest.skip(reason)
    return found


def base_image(client: Any) -> str:
    """One that can be had: the default one, or one made of Debian's packages."""
    for name in (DEFAULT_BASE, OWN_BASE):
        try:
            client.images.get(name)
        except docker.errors.ImageNotFound:
            continue
        return name
    try:
        client.images.pull(DEFAULT_BASE)
    except docker.errors.DockerException:
        subprocess.run([MKBASE, OWN_BASE], check=True)
        return OWN_BASE
    return DEFAULT_BASE


def make_bundle(folder: Path, version: str, weight: float = 1.0, model: str = "tiny") -> Path:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    fitted = LogisticRegression().fit(rows, rows @ [1.0, weight] > 0)
    write_bundle(
        folder,
        manifest=Manifest(
            model=model, version=version, task="binary", target="y", build=BUILD,
            classes=[False, True], positive=1,
        ),
        signature=Signature([Column("a", "number"), Column("b", "number")]),
        pipeline=fitted,
        samples_records=[{"a": float(a), "b": float(b)} for a, b in rows[:8]],
        profile=b"{}",
        expected=fitted.predict_proba(rows[:8]),
    )  # fmt: skip
    return folder


@dataclass(frozen=True)
class Line:
    """Settings whose production is served from containers, and a client of the engine."""

    settings: Settings
    client: Any


@contextmanager
def line() -> Iterator[Line]:
    """With a network and names of its own; all of it is removed again, its images too."""
    client, name = connected(), f"andon-test-{uuid.uuid4().hex[:8]}"
    target = DockerTarget(kind="docker", network=name, prefix=name)
    with scratch_folder() as folder:
        settings = Settings(
            project=folder,
            port_base=free_port_block(),
            base_image=base_image(client),
            environments={"production": Environment(target=target)},
        )
        settings.state.mkdir()
        try:
            yield Line(settings, client)
        finally:
            for it in client.containers.list(all=True, filters={"name": name}):
                it.remove(v=True, force=True)
            for it in client.networks.list(names=[name]):
                it.remove()
            mine = client.images.list(filters={"label": f"{MARK}={name}"})
            for it in [*mine, *client.images.list(f"andon/{MODEL}")]:
                client.images.remove(it.id, force=True)
            client.close()
