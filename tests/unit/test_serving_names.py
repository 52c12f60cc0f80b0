"""Columns are called as people call them."""

from __future__ import annotations

import json

import pytest

from serving.bundle import Column, Signature
from serving.decode import Decoder
from serving.problem import Problem


@pytest.mark.parametrize("name", ['size "x"', "back\\slash", "a\ttab", "größe ☃"])
def test_a_column_may_have_any_name(name: str) -> None:
    decoder = Decoder(Signature([Column(name, "number")]))
    body = json.dumps({"records": [{name: 1.5}, {name: None}]}).encode()
    assert decoder.decode(body) == [(1.5,), (None,)]
    table = decoder.decode(json.dumps({"columns": {name: [1.5, 2.5]}}).encode())
    assert table.columns[0].tolist() == [1.5, 2.5]
    with pytest.raises(Problem):
        decoder.decode(json.dumps({"records": [{"other": 1.5}]}).encode())
