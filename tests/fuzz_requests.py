"""Coverage-guided fuzzing of whatever reads a request.

Run `PYTHONPATH=. python tests/fuzz_requests.py -max_total_time=60`. It needs atheris, which is no
dependency of the project. Whatever is sent, the readers give cells or raise a Problem that can be
written down.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["serving"]):
    from serving.arrow import read_table
    from serving.bundle import Column, Manifest, Signature
    from serving.decode import Decoder, decode_labels
    from serving.problem import Problem
    from serving.protocols import mlflow, v2

COLUMNS = [
    Column("fee", "number"), Column("visits", "integer"), Column("paper", "boolean"),
    Column("since", "date"), Column("id", "category", nullable=False),
]  # fmt: skip
MANIFEST = Manifest("m", "1", "binary", "y", "b", ["no", "yes"], 1)
DECODER = Decoder(Signature(COLUMNS), max_rows=50)
READERS = [
    DECODER.decode,
    lambda body: decode_labels(body, MANIFEST),
    lambda body: mlflow.parse(body, "application/json", COLUMNS, 50),
    lambda body: mlflow.parse(body, "text/csv", COLUMNS, 50),
    lambda body: v2.parse(body, {}, MANIFEST, COLUMNS, 50),
    lambda body: (
        v2.parse(body[1:], {v2.HEADER_LENGTH: b"%d" % body[0]}, MANIFEST, COLUMNS, 50)
        if body
        else None
    ),
    lambda body: read_table(body, COLUMNS, 50),
]


def one(data: bytes) -> None:
    if not data:
        return
    try:
        READERS[data[0] % len(READERS)](data[1:])
    except Problem as problem:
        json.loads(problem.body())
        assert 400 <= problem.status < 500


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
