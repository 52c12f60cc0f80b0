"""Images of prediction servers, where a Docker engine answers.

The packages are one image, keyed by their pins and the base; a model version is a tiny layer on it.
Both come from `infra/docker/Dockerfile`, and a digest that has its image is not built again.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon.adapters.docker_context import write_context
from andon.adapters.files import key_of, stored, tree_hash
from andon.errors import LineError, TargetError
from andon.ports import ServerSpec
from andon.settings import Settings
from serving.bundle import BundleError, Engine, Onnx, Sklearn, Trees, read_manifest, verify

if TYPE_CHECKING:
    from docker import DockerClient

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = CHECKOUT / "infra" / "docker" / "Dockerfile"
REPOSITORY = "andon/dependencies"
KEY_LABEL, DIGEST_LABEL = "andon.key", "andon.digest"
ANSWER_SECONDS = 3
BUILD_SECONDS = 600
# What an engine needs beside the group `serving` of pyproject.toml; a linear model needs nothing.
ENGINE_GROUPS: dict[type[Engine], tuple[str, ...]] = {
    Sklearn: ("serving-sklearn",),
    Trees: ("serving-onnx",),
    Onnx: ("serving-onnx",),
}
# uv's names for "Linux with glibc", by the engine's name for the processor.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageRef:
    """An image that the engine has. `id` is its own digest, `digest` the bundle's."""

    tag: str
    id: str
    digest: str
    dependencies: str
    reused: bool


@dataclass(frozen=True)
class NoImage:
    """There is none, and that is no error: the process target does not need it."""

    reason: str


class _Unavailable(Exception):
    """What an image needs is not here: an engine, a base image, the packages."""


def engine(
    timeout: int = ANSWER_SECONDS, patience: int = BUILD_SECONDS
) -> tuple[DockerClient | None, str]:
    """The engine that DOCKER_HOST or the local socket leads to, or None and the reason.

    It has to answer at all within `timeout` seconds; the client waits `patience` for each answer.
    """
    import docker

    try:
        _knock(timeout)
        docker.from_env(timeout=timeout).close()  # its constructor asks for the version
        return docker.from_env(timeout=patience), ""
    except (docker.errors.DockerException, OSError) as error:
        return None, f"no Docker engine answers: {error}"


def _knock(timeout: int) -> None:
    """Raises OSError if nobody listens; docker-py leaves a socket open when it finds that out."""
    from docker.utils import parse_host

    host = str(parse_host(os.environ.get("DOCKER_HOST")))
    if host.startswith("http+unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout)
            probe.connect(host.removeprefix("http+unix://"))


def build(settings: Settings, bundle: Path) -> ImageRef | NoImage:
    """The image that serves the bundle, `andon/<model>:v<version>-<digest12>`.

    NoImage where `image: off`, or where `image: auto` finds no engine, no base image or no
    packages. Raises LineError for those with `image: required`, and always for a failed build.
    """
    if settings.image == "off":
        return NoImage("andon.yaml says `image: off`")
    try:
        with _engine() as client:
            return _build(client, settings, bundle)
    except _Unavailable as error:
        if settings.image == "required":
            raise LineError(
                f"andon.yaml: image: found 'required', but {error}. Mend that, or say 'auto'."
            ) from None
        log.info("No image: %s", error)
        return NoImage(str(error))


def needed(settings: Settings, spec: ServerSpec) -> str:
    """Id of the image that serves a version: the one that its delivery made, else one made now.

    Raises TargetError if there is none and none can be made, LineError for a failed build.
    """
    import docker

    try:
        with _engine() as client:
            try:
                found = client.images.get(_tag(spec.model, spec.version, spec.digest))
                if found.labels.get(DIGEST_LABEL) == spec.digest:
                    return str(found.id)
            except docker.errors.ImageNotFound:
                pass
            return _build(client, settings, spec.bundle).id
    except (_Unavailable, BundleError, OSError) as error:
        raise TargetError(
            f"{spec.name}: there is no image of it, and none can be made: {error}. Mend that, or "
            f"set environments.{spec.environment}.target.kind: process in andon.yaml"
        ) from None


def _tag(model: str, version: str, digest: str) -> str:
    return f"andon/{model}:v{version}-{digest[:12]}"


@contextmanager
def _engine() -> Iterator[DockerClient]:
    client, reason = engine()
    if client is None:
        raise _Unavailable(reason)
    try:
        yield client
    finally:
        client.close()


def _build(client: DockerClient, settings: Settings, bundle: Path) -> ImageRef:
    digest, manifest = verify(bundle), read_manifest(bundle)
    dependencies = _dependencies(client, settings, manifest.engine)
    code = CHECKOUT / "serving"
    key = key_of(
        dependencies.id, tree_hash([*code.rglob("*.py"), *code.rglob("*.html")], code), digest
    )
    tag = _tag(manifest.model, manifest.version, digest)
    image = _existing(client, tag, key)
    reused = image is not None
    if image is None:
        labels = {KEY_LABEL: key, DIGEST_LABEL: digest}
        folders = {"opt/andon/serving": code, "bundle": bundle}
        image = _make(client, tag, dependencies.tags[0], folders, {"__pycache__"}, labels)
    return ImageRef(tag, image.id, digest, dependencies.tags[0], reused)


def _dependencies(client: DockerClient, settings: Settings, engine: Engine) -> Any:
    """The image with an engine's packages; made once for the pins, the base and the Dockerfile."""
    base = _base(client, settings.base_image)
    requirements = requirements_of(engine)
    facts = base.attrs
    content = (facts["RootFS"], facts["Config"]["Env"], facts["Architecture"])
    key = key_of(requirements, *content, DOCKERFILE.read_text(encoding="utf-8"))
    tag = f"{REPOSITORY}:{key}"
    image = _existing(client, tag, key)
    if image is not None:
        return image
    python = _python_of(client, base)
    platform = PLATFORMS.get(facts["Architecture"])
    if platform is None:
        raise _Unavailable(f"there are no packages for {facts['Architecture']!r} images")
    site, _ = stored(
        settings.store / "site" / key_of(requirements, python, platform),
        lambda folder: _install(requirements, python, platform, folder),
    )
    folders = {"opt/andon/site": site}
    # Packages' own tests are a sixth of their size.
    return _make(client, tag, settings.base_image, folders, {"tests"}, {KEY_LABEL: key})


def requirements_of(engine: Engine) -> str:
    """The locked packages, with their hashes, of a server with that engine."""
    groups = ("serving", *ENGINE_GROUPS.get(type(engine), ()))
    only = [part for group in groups for part in ("--only-group", group)]
    return _uv("export", "--locked", "--no-header", *only)


def _base(client: DockerClient, name: str) -> Any:
    import docker

    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        log.info("Pulling %s", name)
    try:
        return client.images.pull(name)
    except (docker.errors.DockerException, OSError) as error:
        raise _Unavailable(
            f"base_image {name!r} is not here and cannot be pulled: {error}"
        ) from None


def _existing(client: DockerClient, tag: str, key: str) -> Any | None:
    """The image of that name, if it was made of the same things."""
    import docker

    try:
        image = client.images.get(tag)
    except docker.errors.ImageNotFound:
        return None
    return image if image.labels.get(KEY_LABEL) == key else None


def _python_of(client: DockerClient, base: Any) -> str:
    """The base image's Python, such as 3.11."""
    import docker

    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        output = client.containers.run(
            base.id, ["-c", code], entrypoint="python3", network_disabled=True, remove=True
        )
    except (docker.errors.DockerException, OSError) as error:
        raise _Unavailable(f"base image {base.tags or base.id}: no Python in it: {error}") from None
    return str(output.decode().strip())


def _install(requirements: str, python: str, platform: str, folder: Path) -> None:
    """Unpack wheels only, each checked against the lock's hash: nothing of a package runs."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        what = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", file.name)
        where = ("--python-version", python, "--python-platform", platform)
        _uv("pip", "install", "--target", str(folder), *where, *_compiled(python), *what)
    (folder / ".lock").unlink(missing_ok=True)


def _compiled(python: str) -> tuple[str, ...]:
    """Only the same Python compiles for the image, where it could not write the result."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ("--python", sys.executable, "--compile-bytecode") if python == ours else ()


def _uv(*arguments: str) -> str:
    # Hashes, not times, in what it compiles: times change on the way into an image.
    variables = {"UV_PYTHON_DOWNLOADS": "never", "PYC_INVALIDATION_MODE": "UNCHECKED_HASH"}
    try:
        uv = _output(sys.executable, str(CHECKOUT / "infra" / "uv.py"))
        return _output(uv.strip(), "--quiet", *arguments, **variables)
    except subprocess.CalledProcessError as error:
        raise _Unavailable(
            f"the packages of the image cannot be had: {error.stderr.strip()}"
        ) from None


def _output(*command: str, **variables: str) -> str:
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def _make(
    client: DockerClient,
    tag: str,
    base: str,
    folders: Mapping[str, Path],
    leave_out: Collection[str],
    labels: dict[str, str],
) -> Any:
    """One layer on a base. A failed build is an `error` in a stream that began with HTTP 200."""
    import docker

    with tempfile.TemporaryFile() as context:
        write_context(context, DOCKERFILE.read_text(encoding="utf-8"), folders, leave_out)
        context.seek(0)
        try:
            events = client.api.build(
                fileobj=context,
                custom_context=True,
                decode=True,
                rm=True,
                forcerm=True,
                tag=tag,
                labels=labels,
                buildargs={"BASE_IMAGE": base},
            )
            _follow(tag, events)
            return client.images.get(tag)
        except (docker.errors.DockerException, OSError) as error:
            raise LineError(f"image {tag}: the engine did not build it: {error}") from None


def _follow(tag: str, events: Iterable[dict[str, Any]]) -> None:
    lines: list[str] = []
    for event in events:
        lines.append(event.get("stream", "").strip())
        if "error" in event:
            said = "\n".join(line for line in lines[-10:] if line)
            raise LineError(f"image {tag}: the build failed: {event['error']}\n{said}")
