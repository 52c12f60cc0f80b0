"""A project with one model whose data is to come from somewhere, and a real S3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import support

from andon.adapters import snapshots, sources
from andon.adapters.snapshots import Added
from andon.spec import ModelSpec, Source

SPEC = ModelSpec(name="toy", data="data/toy.parquet", target="y", task="regression")
DATA = Path("models/toy/data/toy.parquet")
REMOTE = """[core]
    remote = {name}
    analytics = false
['remote "{name}"']
    url = {url}
"""


def make_project(folder: Path, url: str = "../remote", name: str = "store") -> Path:
    """A project outside git, with a default remote."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(REMOTE.format(name=name, url=url))
    (folder / "models" / "toy").mkdir(parents=True)
    (folder / "andon.yaml").touch()
    return folder


def silent(_what: str, _done: float, _total: float | None) -> None: ...


def add(project: Path, source: str | Source, spec: ModelSpec = SPEC, **options: Any) -> Added:
    given = sources.parse(source, project) if isinstance(source, str) else source
    return snapshots.add(project, spec, given, silent, **options)


class S3:
    """A real HTTP server that speaks S3; it can be stopped and come back (empty)."""

    def __init__(self) -> None:
        self.port = support.free_port_block(1)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-p", str(self.port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        support.wait_until(self._answers, 60, "S3 answers")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/moto-api/", timeout=5).status_code < 500
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def client(self) -> Any:
        import boto3

        return boto3.client("s3", endpoint_url=self.url)

    def bucket(self, name: str) -> Any:
        """A new bucket; returns the client."""
        client = self.client()
        client.create_bucket(Bucket=name)
        return client


@contextmanager
def s3_server() -> Iterator[S3]:
    given = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": f"{os.devnull}/none",
        "AWS_SHARED_CREDENTIALS_FILE": f"{os.devnull}/none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in (*given, "AWS_ENDPOINT_URL")}
    os.environ.update(given)
    server = S3()
    os.environ["AWS_ENDPOINT_URL"] = server.url
    try:
        yield server
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
