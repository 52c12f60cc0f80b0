"""What the server speaks, as OpenAPI 3.1; and the page that people try it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.bundle import Manifest, Signature, kind_of
from serving.http import Limits
from serving.protocols import schemas
from serving.protocols.schemas import TEXT, Schema, one_of, ref, some

JSON, PROBLEM, ARROW = (
    "application/json",
    "application/problem+json",
    "application/vnd.apache.arrow.stream",
)
OCTETS = "application/octet-stream"
ANY: Schema = {"type": "object"}
_REASONS = {
    400: "not JSON, or not what the content type says",
    404: "not here",
    405: "another method",
    413: "too large, or too many rows",
    415: "another content type",
    422: "every mistake of the request",
    503: "too much to do, or about to end: try again later",
}
PAGE = Path(__file__).with_name("page.html")


def page() -> bytes:
    """The page; it reads everything else from the document."""
    return PAGE.read_bytes()


def document(
    manifest: Manifest,
    signature: Signature,
    *,
    samples: Sequence[dict[str, Any]] = (),
    limits: Limits | None = None,
) -> dict[str, Any]:
    """The OpenAPI document of one model's server."""
    limits = limits or Limits()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{manifest.model} v{manifest.version}",
            "version": manifest.version,
            "description": f"Predicts {manifest.target!r} ({manifest.task}).",
            "x-andon": {
                "model": manifest.model,
                "version": manifest.version,
                "task": manifest.task,
                "target": manifest.target,
                "engine": kind_of(manifest.engine),
                "classes": list(manifest.classes),
                "columns": [
                    {
                        "name": column.name,
                        "kind": column.kind,
                        "nullable": column.nullable,
                        "categories": column.categories,
                    }
                    for column in signature.columns
                ],
                "example": samples[0] if samples else {},
            },
        },
        "servers": [{"url": "."}],  # a gateway may put a prefix before every path
        "paths": {
            **_predicting(manifest, signature, samples, limits),
            **_inference(manifest, signature, samples[0] if samples else {}),
            **_about(),
        },
        "components": {"schemas": _components(manifest, signature)},
    }


def _components(manifest: Manifest, signature: Signature) -> dict[str, Schema]:
    columns = signature.columns
    mistake = {
        "type": "object",
        "properties": {
            "row": {"type": ["integer", "null"]},
            "column": {"type": ["string", "null"]},
            "found": TEXT,
            "allowed": TEXT,
        },
        "required": ["row", "column", "found", "allowed"],
    }
    errors = {
        "errors": {"type": "array", "items": mistake},
        "errors_total": {"type": "integer"},
    }
    problem = {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT}
    return {
        "Record": schemas.record(columns),
        "Columns": schemas.lists(columns),
        "Prediction": schemas.prediction(manifest, columns),
        "Problem": {
            "type": "object",
            "properties": problem | errors,
            "required": list(problem),
        },
        "InferenceError": {
            "type": "object",
            "properties": {"error": TEXT} | errors,
            "required": ["error"],
        },
    }


def _predicting(
    manifest: Manifest, signature: Signature, samples: Sequence[dict[str, Any]], limits: Limits
) -> dict[str, Any]:
    predictions: Schema = {"type": "array", "items": ref("Prediction")}
    answered = {
        "type": "object",
        "properties": {"model": TEXT, "version": TEXT, "predictions": predictions},
        "required": ["model", "version", "predictions"],
    }
    explain = {
        "name": "explain",
        "in": "query",
        "description": "how many contributions of columns each prediction is given; linear models",
        "schema": {"type": "integer", "minimum": 1, "maximum": max(1, len(signature.columns))},
    }
    some_records = list(samples[:1])
    predict = _operation(
        "Predict records, columns, or an Arrow stream",
        {200: {JSON: answered, ARROW: TEXT}},
        body={
            JSON: {
                "schema": schemas.predict_request(limits.rows),
                "example": {"records": some_records},
            },
            ARROW: {"schema": {"type": "string", "format": "binary"}},
        },
        errors=(400, 413, 415, 422, 503),
    )
    invoked = {
        "type": "object",
        "properties": {"predictions": {"type": "array"}, "ids": {"type": "array", "items": TEXT}},
        "required": ["predictions", "ids", "model", "version"],
    }
    invocations = _operation(
        "MLflow's and SageMaker's protocol",
        {200: {JSON: invoked}},
        body={
            JSON: {
                "schema": schemas.invocations_request(signature.columns, limits.rows),
                "example": {"dataframe_records": some_records},
            },
            "text/csv": {"schema": TEXT},
        },
        errors=(400, 413, 415, 422, 503),
    )
    return {
        "/predict": {"post": predict | {"parameters": [explain]}},
        "/invocations": {"post": invocations},
        "/feedback": {"post": _feedback(manifest, limits)},
    }


def _feedback(manifest: Manifest, limits: Limits) -> dict[str, Any]:
    label = one_of("id", schemas.ID, label=schemas.label(manifest))
    label["required"] = ["id", "label"]
    known = {"id": 32 * "0", "label": manifest.classes[0] if manifest.classes else 1.0}
    return _operation(
        "What turned out to be true, by prediction id",
        {202: {JSON: one_of("accepted", {"type": "integer"})}},
        body={
            JSON: {
                "schema": one_of("labels", some(label, limits.rows)),
                "example": {"labels": [known]},
            }
        },
        errors=(400, 404, 413, 415, 422, 503),
    )


def _inference(
    manifest: Manifest, signature: Signature, sample: Mapping[str, Any]
) -> dict[str, Any]:
    metadata = _read("What infer takes and gives")
    ready = _read("Ready", errors=(503,), wrong=("InferenceError", JSON))
    infer = _operation(
        "The Open Inference Protocol; with Inference-Header-Content-Length, binary tensors too",
        {200: {JSON: schemas.infer_answer(manifest), OCTETS: TEXT}},
        body={
            JSON: {
                "schema": schemas.infer_request(manifest, signature.columns),
                "example": schemas.infer_example(signature.columns, sample),
            }
        },
        errors=(400, 413, 503),
        wrong=("InferenceError", JSON),
    )
    paths: dict[str, Any] = {
        "/v2": {"get": _read("The server")},
        "/v2/health/live": {"get": _read("Alive")},
        "/v2/health/ready": {"get": ready},
    }
    name = f"/v2/models/{manifest.model}"
    for path in (name, f"{name}/versions/{manifest.version}"):
        paths[path] = {"get": metadata}
        paths[f"{path}/ready"] = {"get": ready}
        paths[f"{path}/infer"] = {"post": infer}
    return paths


def _about() -> dict[str, Any]:
    ready = _read("Loaded, warm, and right on its samples", errors=(503,))
    return {
        "/": {"get": _read("The model, its columns and paths; for a browser, the page", html=True)},
        "/docs": {"get": _read("A page to try it on", kind="text/html", schema=TEXT)},
        "/openapi.json": {"get": _read("This document")},
        "/healthz": {"get": _read("Alive")},
        "/readyz": {"get": ready},
        "/ping": {"get": ready},
        "/metrics": {"get": _read("Prometheus text", kind="text/plain", schema=TEXT)},
    }


def _read(
    summary: str,
    *,
    kind: str = JSON,
    schema: Schema = ANY,
    html: bool = False,
    errors: tuple[int, ...] = (),
    wrong: tuple[str, str] = ("Problem", PROBLEM),
) -> dict[str, Any]:
    found = {kind: schema} | ({"text/html": TEXT} if html else {})
    return _operation(summary, {200: found}, errors=errors, wrong=wrong)


def _operation(
    summary: str,
    answers: dict[int, dict[str, Schema]],
    *,
    body: dict[str, Any] | None = None,
    errors: tuple[int, ...] = (),
    wrong: tuple[str, str] = ("Problem", PROBLEM),
) -> dict[str, Any]:
    name, media = wrong
    responses: dict[str, Any] = {
        str(status): {
            "description": "done",
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
        }
        for status, content in answers.items()
    }
    for status in (*errors, 405):
        content = {media: {"schema": ref(name)}}
        responses[str(status)] = {"description": _REASONS[status], "content": content}
    # Another method is refused before anybody looks at whose protocol the path is.
    if name != "Problem":
        responses["405"]["content"][PROBLEM] = {"schema": ref("Problem")}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation
