"""`python -m serving`: one bundle, one process, one port."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.app import App
    from serving.engine import Model

BAD_BUNDLE = 3
BAD_ADDRESS = 4
# Longer than any gateway keeps an idle connection, so that none is closed under a request.
KEEP_ALIVE_SECONDS = 120
GRACE_SECONDS = 20
GARBAGE = (10_000, 20, 20)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

EPILOG = """\
paths:
  GET  /docs         a page to try it on; GET /openapi.json has every path and type
  POST /predict      {"records": [{column: value, ...}, ...]}, {"columns": {column: [...]}}, or an
                     Arrow stream; X-Andon-Probe: 1 marks a probe
  POST /invocations  MLflow's and SageMaker's protocol
  POST /v2/models/NAME/infer   the Open Inference Protocol
  POST /feedback     {"labels": [{"id": prediction id, "label": what was true}, ...]}
  GET  /healthz      200: the process is alive
  GET  /readyz       200: the model is loaded, warm, and answers its own samples right
  GET  /metrics      Prometheus text

The port opens only when the bundle is loaded and answers its own samples right.

exit status: 0 after SIGTERM or SIGINT, 2 wrong usage, 3 the bundle may not serve, 4 the address
cannot be used
"""


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name (letters, digits, . _ -)")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _workers(text: str) -> str:
    return text if text == "auto" else str(_positive(text))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    it = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serve one model bundle over HTTP.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    it.add_argument("--bundle", type=Path, required=True, help="folder of a sealed bundle")
    it.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    it.add_argument("--port", type=_port, default=8000, help="0 takes a free one (%(default)s)")
    it.add_argument("--environment", type=_name, default="local", help="its name (%(default)s)")
    it.add_argument(
        "--log-dir", type=Path, help="inference log: ENVIRONMENT/MODEL/VERSION/*.arrows in it"
    )
    it.add_argument("--feedback-dir", type=Path, help="labels: ENVIRONMENT/MODEL/*.jsonl in it")
    it.add_argument(
        "--max-body", type=_positive, default=2**20, help="bytes of a request (%(default)s)"
    )
    it.add_argument(
        "--max-rows", type=_positive, default=1_000, help="rows of a request (%(default)s)"
    )
    bulk = "of a request in Arrow or tensors (%(default)s)"
    it.add_argument("--max-bulk-body", type=_positive, default=2**26, help=f"bytes {bulk}")
    it.add_argument("--max-bulk-rows", type=_positive, default=100_000, help=f"rows {bulk}")
    it.add_argument(
        "--deadline-ms",
        type=_positive,
        default=2_000,
        help="who would wait longer than half of it is refused with 503 (%(default)s)",
    )
    it.add_argument(
        "--workers",
        type=_workers,
        default="auto",
        help="processes; auto: one for each CPU that a cgroup's quota allows, as far as its memory "
        "limit has room, and one where there is no quota",
    )
    # SageMaker starts an image with this word.
    it.add_argument("serve", nargs="?", choices=["serve"], help=argparse.SUPPRESS)
    return it


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    options = parser().parse_args(arguments)
    prepare()
    from serving.bundle import BundleError, verify

    try:
        verify(options.bundle)  # before scikit-learn is loaded, so that a broken one ends at once
    except (BundleError, OSError) as error:
        return _fail(BAD_BUNDLE, str(error))
    from serving.engine import load

    try:
        # Taken now, so that a taken port is told before a model is loaded; opened when it is.
        listener = listening_socket(options.host, options.port)
    except OSError as error:
        return _no_address(options, error)
    try:
        model = load(options.bundle)
        for part in (model.manifest.model, model.manifest.version):
            if not _NAME.fullmatch(part):
                raise BundleError(f"manifest.json: {part!r} is not a name (letters, digits, . _ -)")
    except (BundleError, OSError) as error:
        return _fail(BAD_BUNDLE, str(error))
    try:
        listener.listen(2048)
    except OSError as error:
        return _no_address(options, error)
    return _run(options, model, listener)


def _run(options: argparse.Namespace, model: Model, listener: socket.socket) -> int:
    from serving import workers

    count = workers.decide(options.workers, workers.resident_bytes())
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    who = f"{model.manifest.model} v{model.manifest.version}"
    crew = f", {count} workers" if count > 1 else ""
    # Who connects from now on is answered, as soon as there is a worker.
    print(f"andon serving: {who} ({model.kind}{crew}) on http://{address}", flush=True)
    with tempfile.TemporaryDirectory(prefix="andon-serving-") as folder:
        shared = Path(folder) if count > 1 else None
        return workers.run(count, lambda: _serve(options, model, listener, shared))


def _serve(
    options: argparse.Namespace,
    model: Model,
    listener: socket.socket,
    shared: Path | None,
) -> None:
    import uvicorn

    app = _app(options, model, shared)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )

    app.ending = lambda: server.should_exit

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn ends a graceful exit by raising the signal once more for whoever was there before it:
    # for us, so that the exit status is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # What was loaded stays: no use in looking through it for garbage, again and again.
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    try:
        server.run(sockets=[listener])
    finally:
        app.close()


def _app(options: argparse.Namespace, model: Model, shared: Path | None) -> App:
    from serving.app import App, Limits
    from serving.bundle import read_samples
    from serving.log import Log
    from serving.metrics import Shared
    from serving.segments import Segments

    manifest = model.manifest
    own = Path(options.environment) / manifest.model
    log = None
    if options.log_dir:
        log = Segments(
            options.log_dir / own / manifest.version,
            model.signature.columns,
            manifest,
            environment=options.environment,
        )
    samples = read_samples(options.bundle)
    return App(
        model,
        environment=options.environment,
        log=log,
        feedback=Log(options.feedback_dir / own) if options.feedback_dir else None,
        limits=Limits(
            body=options.max_body,
            rows=options.max_rows,
            bulk_body=options.max_bulk_body,
            bulk_rows=options.max_bulk_rows,
            seconds=options.deadline_ms / 1000,
        ),
        samples=list(zip(samples.records, samples.answers, strict=True)),
        shared=Shared(shared) if shared else None,
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket with that address, which nobody can connect to yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, because asyncio sets TCP_NODELAY only where it is: without it every
    # answer waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


class NoPandas:
    """An import hook that has no pandas.

    scikit-learn imports pandas wherever it is installed. Images have none, and a bundle has to
    answer the same wherever it is served. (`sys.modules["pandas"] = None` will not do:
    scikit-learn looks there for the module's classes.)
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse pandas; leave everything else to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError("the prediction server has no pandas", name=name)


def prepare() -> None:
    """Set this process up for serving; has to come before anything imports NumPy."""
    # Requests are computed one at a time: a pool of OpenMP threads would only fight with the
    # neighbours for cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, NoPandas())


def _no_address(options: argparse.Namespace, error: OSError) -> int:
    reason = error.strerror or error
    return _fail(BAD_ADDRESS, f"cannot listen on {options.host}:{options.port}: {reason}")


def _fail(status: int, message: str) -> int:
    print("andon serving: " + " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
