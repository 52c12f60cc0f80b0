"""The servers: how each is started, asked, and understood. All on one worker, in production mode,
with access logs off; ours with everything on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from case import COLUMNS, Record

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
Role = Literal["ours", "fallback", "peer", "batching", "floor"]
V2_TYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES"}


@dataclass(frozen=True)
class Place:
    """Where a server runs: its environment, its model, its ports, a folder for what it writes."""

    bin: Path
    model: Path
    folder: Path
    ports: tuple[int, int, int]

    @property
    def port(self) -> str:
        return str(self.ports[0])


@dataclass(frozen=True)
class Launch:
    """A command with its folder and variables."""

    command: list[str | Path]
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """`scores` reads each row's probabilities from an answer."""

    name: str
    title: str
    role: Role
    venv: str  # a folder of peers/, or "ours"
    model: str  # "bundle", "fallback", "joblib", "mlflow": the form it loads
    path: str
    launch: Callable[[Place], Launch]
    request: Callable[[list[Record]], Any]
    scores: Callable[[Any], list[list[float]]]

    def body(self, records: list[Record]) -> bytes:
        """The request for these rows, as it is sent."""
        return json.dumps(self.request(records), separators=(",", ":")).encode()


def _andon(place: Place) -> Launch:
    options = ("--bundle", place.model, "--port", place.port, "--workers", "1")
    logs = ("--log-dir", place.folder / "log", "--feedback-dir", place.folder / "feedback")
    command = [place.bin / "python", "-m", "serving", *options, *logs]
    return Launch(command, ROOT, {"PYTHONPATH": str(ROOT)})


def _hello(place: Place) -> Launch:
    return Launch([place.bin / "python", HERE / "floors" / "hello.py", place.port], place.folder)


def _fastapi(place: Place) -> Launch:
    options = ("--port", place.port, "--no-access-log", "--log-level", "warning")
    command = [place.bin / "uvicorn", "app:app", *options]
    return Launch(command, PEERS / "fastapi", {"MODEL": str(place.model)})


def _bentoml(place: Place) -> Launch:
    options = ("--host", "127.0.0.1", "--port", place.port)
    variables = {
        "MODEL": str(place.model),
        "BENTOML_HOME": str(place.folder),
        "BENTOML_DO_NOT_TRACK": "1",
    }
    command = [place.bin / "bentoml", "serve", "service:Classifier", *options]
    return Launch(command, PEERS / "bentoml", variables)


def _mlflow(place: Place) -> Launch:
    options = ("--env-manager", "local", "-h", "127.0.0.1", "-p", place.port, "--workers", "1")
    command = [place.bin / "mlflow", "models", "serve", "-m", place.model, *options]
    return Launch(command, place.folder, {"UVICORN_ACCESS_LOG": "false"})


def _mlserver(batching: dict[str, Any]) -> Callable[[Place], Launch]:
    def launch(place: Place) -> Launch:
        http, grpc, metrics = place.ports
        settings = {
            "debug": False, "parallel_workers": 0, "host": "127.0.0.1",
            "http_port": http, "grpc_port": grpc, "metrics_port": metrics,
        }  # fmt: skip
        model = {
            "name": "model",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {
                "uri": str(place.model),
                "content_type": "pd",
                "extra": {"predict_fn": "predict_proba"},
            },
            **batching,
        }
        (place.folder / "settings.json").write_text(json.dumps(settings))
        (place.folder / "model-settings.json").write_text(json.dumps(model))
        return Launch([place.bin / "mlserver", "start", place.folder], place.folder)

    return launch


def _records(records: list[Record]) -> Any:
    return {"records": records}


def _split(records: list[Record]) -> Any:
    data = [list(record.values()) for record in records]
    return {"dataframe_split": {"columns": list(records[0]), "data": data}}


def _tensors(records: list[Record]) -> Any:
    inputs = []
    for column in COLUMNS:
        text = {"parameters": {"content_type": "str"}} if column.kind == "category" else {}
        data = [record[column.name] for record in records]
        kind = {"name": column.name, "datatype": V2_TYPES[column.kind]}
        inputs.append({**kind, "shape": [len(data), 1], "data": data, **text})
    return {"inputs": inputs}


def _of_andon(answer: Any) -> list[list[float]]:
    return [list(it["probabilities"].values()) for it in answer["predictions"]]


def _of_tensor(answer: Any) -> list[list[float]]:
    (output,) = answer["outputs"]
    flat = iter(output["data"])
    return [list(pair) for pair in zip(flat, flat, strict=True)]


INFER = "/v2/models/model/infer"
SERVERS = [
    Server("andon", "**Andon**", "ours", "ours", "bundle", "/predict", _andon, _records, _of_andon),
    Server(
        "andon-sklearn", "Andon, scikit-learn engine", "fallback", "ours", "fallback", "/predict",
        _andon, _records, _of_andon,
    ),
    Server(
        "fastapi", "FastAPI + pandas", "peer", "fastapi", "joblib", "/predict",
        _fastapi, _records, lambda answer: answer["probabilities"],
    ),
    Server(
        "mlserver", "MLServer", "peer", "mlserver", "joblib", INFER,
        _mlserver({}), _tensors, _of_tensor,
    ),
    Server(
        "bentoml", "BentoML", "peer", "bentoml", "joblib", "/predict",
        _bentoml, _records, lambda answer: answer,
    ),
    Server(
        "mlflow", "`mlflow models serve`", "peer", "mlflow", "mlflow", "/invocations",
        _mlflow, _split, lambda answer: answer["predictions"],
    ),
    Server(
        "mlserver-batching", "MLServer, adaptive batching", "batching", "mlserver", "joblib", INFER,
        _mlserver({"max_batch_size": 1_000, "max_batch_time": 0.005}), _tensors, _of_tensor,
    ),
    Server(
        "bentoml-batching", "BentoML, adaptive batching", "batching", "bentoml", "joblib",
        "/predict_batched", _bentoml, _records, lambda answer: answer,
    ),
    Server(
        "hello", "hello-world, uvicorn", "floor", "ours", "bundle", "/predict",
        _hello, _records, lambda answer: [],
    ),
]  # fmt: skip
BY_NAME = {server.name: server for server in SERVERS}


def of_role(*roles: Role) -> list[str]:
    """Names of the servers that play one of these parts."""
    return [server.name for server in SERVERS if server.role in roles]
