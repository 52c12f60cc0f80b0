"""The other protocols, asked by their own clients: MLflow's and Triton's."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pytest
from server_kit import COLUMNS, Author, Server, author
from tritonclient import http as triton

NAMES = [column.name for column in COLUMNS]
STEP = 12


@pytest.fixture(scope="module")
def churn() -> Author:
    return author("linear")


@pytest.fixture(scope="module")
def server(churn, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bundle")
    churn.write(folder)
    with Server(folder) as it:
        yield it


@pytest.fixture(scope="module")
def labels(churn) -> list[str]:
    return ["yes" if scores[1] > scores[0] else "no" for scores in churn.expected]


def post(server: Server, content: str | bytes, media: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/invocations", content=content, headers={"content-type": media}, timeout=60
    )


def shapes(records: list[dict[str, Any]]) -> dict[str, Any]:
    by_position = [[record[name] for name in NAMES] for record in records]
    by_column = {name: [record[name] for record in records] for name in NAMES}
    return {
        "dataframe_records": {"dataframe_records": records},
        "dataframe_split": {"dataframe_split": {"columns": NAMES, "data": by_position}},
        "other order": {
            "dataframe_split": {
                "columns": NAMES[::-1],
                "index": list(range(len(records))),
                "data": [row[::-1] for row in by_position],
            }
        },
        "instances, objects": {"instances": records},
        "instances, lists": {"instances": by_position},
        "inputs, columns": {"inputs": by_column},
        "inputs, objects": {"inputs": records, "params": {}},
    }


@pytest.mark.parametrize("shape", shapes([dict.fromkeys(NAMES)]))
def test_each_of_mlflows_json_shapes_is_answered(server, churn, labels, shape):
    reply = post(server, json.dumps(shapes(churn.records)[shape]), "application/json")
    assert reply.status_code == 200
    answer = reply.json()
    assert answer["predictions"] == labels
    assert len(set(answer["ids"])) == len(labels)
    assert answer["version"] == "3"


def test_csv_is_answered_and_an_empty_field_is_null(server, churn, labels):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(NAMES)
    for record in churn.records:
        writer.writerow(["" if record[name] is None else record[name] for name in NAMES])
    reply = post(server, out.getvalue(), "text/csv")
    assert reply.status_code == 200
    assert reply.json()["predictions"] == labels


def test_mlflows_own_client_gets_its_predictions(server, churn, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own types, when it is imported
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    host, port = server.address
    client = ScoringServerClient(host, port)
    frame = pd.DataFrame(churn.records).drop(columns="since").head(STEP)
    frame = frame.astype({"monthly fee": float, "visits": "Int64"})
    found = client.invoke(frame).get_predictions()
    records = [{**it, "since": None} for it in churn.records[:STEP]]
    expected = post(server, json.dumps({"instances": records}), "application/json").json()
    assert found[0].tolist() == expected["predictions"]
    assert len(set(labels)) == 2


def test_the_mistakes_of_an_invocation_are_told(server):
    reply = post(server, '{"instances": [{"paper": 1}], "params": {"x": 1}}', "application/json")
    assert reply.status_code == 422
    reply = post(server, "paper,visits\ntrue,many\n1,2\n", "text/csv")
    places = [(it["row"], it["column"]) for it in reply.json()["errors"]]
    assert places == [(0, "visits"), (1, "paper")]
    assert post(server, "<x/>", "application/xml").status_code == 415


def tensors(records: list[dict[str, Any]], *, binary: bool) -> list[triton.InferInput]:
    """Rows without nulls as clients of the Open Inference Protocol send them."""
    kinds = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
    made = []
    for column in COLUMNS:
        values = [record[column.name] for record in records]
        datatype = kinds.get(column.kind, "BYTES")
        array = np.array(values, dtype=triton_type(datatype))
        tensor = triton.InferInput(column.name, [len(values)], datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        made.append(tensor)
    return made


def triton_type(datatype: str) -> Any:
    return {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}.get(datatype, np.object_)


@pytest.fixture
def client(server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"{server.address[0]}:{server.address[1]}") as it:
        yield it


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_own_client_gets_its_predictions(client, churn, labels, binary):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn")
    assert client.is_model_ready("churn", "3")
    metadata = client.get_model_metadata("churn")
    assert [it["name"] for it in metadata["inputs"]] == NAMES
    whole = [i for i, it in enumerate(churn.records) if None not in it.values()]
    assert len(whole) > 3
    records = [churn.records[i] for i in whole]
    wanted = [
        triton.InferRequestedOutput(name, binary_data=binary)
        for name in ("label", "probabilities", "id")
    ]
    answer = client.infer("churn", tensors(records, binary=binary), outputs=wanted, request_id="7")
    said = [it.decode() if isinstance(it, bytes) else it for it in answer.as_numpy("label")]
    assert said == [labels[i] for i in whole]
    expected = np.array([churn.expected[i] for i in whole])
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, rtol=1e-9)
    assert len(set(answer.as_numpy("id").tolist())) == len(whole)
    response = answer.get_response()
    assert (response["model_name"], response["model_version"]) == ("churn", "3")
    assert response["id"] == "7"


def test_what_triton_cannot_have_is_told_in_its_way(client, churn):
    records = [it for it in churn.records if None not in it.values()][:2]
    with pytest.raises(triton.InferenceServerException, match="only model 'churn'"):
        client.infer("other", tensors(records, binary=True))
    with pytest.raises(triton.InferenceServerException, match="paper"):
        client.infer("churn", tensors(records, binary=True)[:1])


def test_arrow_is_answered_in_arrow(server, churn, labels):
    frame = pa.Table.from_pylist(churn.records)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, frame.schema) as stream:
        stream.write_table(frame)
    media = {"content-type": "application/vnd.apache.arrow.stream"}
    reply = httpx.post(f"{server.url}/predict", content=out.getvalue(), headers=media)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == media["content-type"]
    table = pa.ipc.open_stream(reply.content).read_all()
    assert table["label"].to_pylist() == labels
    expected = [scores[1] for scores in churn.expected]
    np.testing.assert_allclose(table["probability.yes"].to_numpy(), expected, rtol=1e-9)


def test_contributions_add_up_to_the_difference_in_log_odds(server, churn):
    def asked(record: dict[str, Any]) -> tuple[float, dict[str, float]]:
        reply = httpx.post(f"{server.url}/predict?explain=6", json={"records": [record]})
        (answer,) = reply.json()["predictions"]
        chance = answer["probabilities"]["yes"]
        return float(np.log(chance / (1 - chance))), answer["contributions"]

    (first, ours), (second, theirs) = asked(churn.records[0]), asked(churn.records[1])
    assert set(ours) == set(NAMES)
    assert sum(ours.values()) - sum(theirs.values()) == pytest.approx(first - second)
