"""The parity gate finds the one row that differs, and edge rows are what it promises."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import server_kit
from server_kit import COLUMNS, frame
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from serving.bundle import Column, Manifest, Signature
from serving.compiling.edge_rows import TEXTS, edge_rows
from serving.compiling.parity import Rows, compare, outcome
from serving.compiling.rows import rows_of, taken
from serving.engines.base import Engine, Refused, Scored
from serving.engines.sklearn import SklearnEngine
from serving.frame import to_table
from serving.table import Row, Table

SIGNATURE = Signature(COLUMNS)
ROWS = to_table(COLUMNS, server_kit.records(frame(400)))


class Rounded(Engine):
    """A candidate that computes on float32 features, as converters of models do."""

    def __init__(self, model: SklearnEngine) -> None:
        self._model = model

    def row(self, row: Row) -> Scored:
        return self.table(Table.of_rows(NUMBER_COLUMNS, [row]))

    def table(self, table: Table) -> Scored:
        columns: list[Any] = [np.asarray(it, np.float32).astype(float) for it in table.columns]
        return self._model.table(Table(table.n, columns))


NUMBER_COLUMNS = [Column("a", "number"), Column("b", "number")]


def boosted() -> tuple[SklearnEngine, Table]:
    """Trees whose splits lie closer than float32 can tell."""
    random = np.random.default_rng(0)
    values = 1e6 + random.normal(scale=0.05, size=(2_000, 2))
    y = (values[:, 0] + values[:, 1] > 2e6).astype(int)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(values, y)
    manifest = Manifest("m", "1", "binary", "y", "b", [0, 1])
    engine = SklearnEngine(model, manifest, Signature(NUMBER_COLUMNS))
    return engine, Table(2_000, [values[:, 0], values[:, 1]])


def test_a_float32_candidate_is_rejected_and_the_row_named():
    reference, table = boosted()
    rows = Rows(Signature(NUMBER_COLUMNS), table, 0)
    candidate = Rounded(reference)
    right, mine = outcome(reference, table), outcome(candidate, table)
    flips = np.flatnonzero(mine.labels != right.labels)
    assert len(flips) > 0, "the candidate would be right"
    verdict = compare("rounded", candidate, rows, mine, right, 1e-6)
    assert not verdict.accepted
    number = int(verdict.reason.split(":")[0].removeprefix("row "))
    apart = np.abs(mine.scores - right.scores).max(axis=1)
    assert number == int((apart > 1e-6).argmax())
    record = json.loads(verdict.reason.partition("; for ")[2])
    assert record == {"a": table.columns[0][number], "b": table.columns[1][number]}
    assert compare("itself", reference, rows, right, right, 0.0).accepted


class Wrong(Engine):
    """A candidate that answers one row otherwise: in its label, by refusing, or only alone."""

    def __init__(self, model: Engine, fault: str) -> None:
        self._model, self._fault = model, fault

    def row(self, row: Row) -> Scored:
        scored = self._model.row(row)
        if self._fault == "alone" and row[0] == 13.0:
            return Scored(scored.labels, [[0.5, 0.5]])
        return scored

    def table(self, table: Table) -> Scored:
        scored = self._model.table(table)
        where = [at for at, value in enumerate(table.columns[0]) if value == 13.0]
        if where and self._fault == "refused":
            raise Refused("unlucky")
        if where and self._fault == "label":
            scored.labels[where[0]] = 1 - scored.labels[where[0]]
        return scored


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("label", r"^row 13: wrong: label 1, scores .*; the pipeline: label 0"),
        ("refused", r"^row 13: wrong: refused \(unlucky\); the pipeline: label 0"),
        ("alone", r"^row 13: alone: label 0, scores 0.5, 0.5; in a batch: label 0"),
    ],
)
def test_one_row_that_differs_is_enough(fault, reason):
    signature = Signature([Column("x", "number")])
    model = LogisticRegression().fit([[0.0], [100.0]], [0, 1])
    reference = SklearnEngine(model, Manifest("m", "1", "binary", "y", "b", [0, 1]), signature)
    table = Table(40, [np.arange(40.0)])
    candidate = Wrong(reference, fault)
    right = outcome(reference, table)
    verdict = compare(
        "wrong", candidate, Rows(signature, table, 0), outcome(candidate, table), right, 1e-6
    )
    assert not verdict.accepted
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(verdict.reason)


def test_refused_rows_are_found_among_many():
    class Odd(Engine):
        def row(self, row: Row) -> Scored:
            return self.table(Table.of_rows([Column("x", "number")], [row]))

        def table(self, table: Table) -> Scored:
            odd = [value for value in table.columns[0] if value % 2]
            if odd:
                raise Refused(str(odd[0]))
            return Scored([], [[float(value)] for value in table.columns[0]])

    table = Table(9, [np.array([0.0, 2, 3, 4, 6, 7, 9, 10, 12])])
    for expected in ([], [2, 3]):
        found = outcome(Odd(), table, expected)
        assert found.refused == {2: "3.0", 5: "7.0", 6: "9.0"}
        assert found.scores[[0, 1, 3, 4, 7, 8], 0].tolist() == [0, 2, 4, 6, 10, 12]
        assert np.isnan(found.scores[[2, 5, 6], 0]).all()


# --- edge rows


def test_edge_rows_hold_what_they_promise():
    table = edge_rows(SIGNATURE, taken(ROWS, slice(0, 50)))
    rows = rows_of(SIGNATURE, table)
    by_name = [column.name for column in COLUMNS]
    plan, fee, visits = (by_name.index(it) for it in ("plan", "monthly fee", "visits"))
    cells = [set(it) for it in zip(*rows, strict=True)]
    assert set(TEXTS) | {"basic", "plus", "rare", None} <= cells[plan]
    assert {0.0, 5e-324, 1e39, -1e308, 2.0**53 - 1, None} <= cells[fee]
    assert any(math.copysign(1.0, row[fee]) < 0 for row in rows if row[fee] == 0.0)
    assert {2**53, 0, 2**62, -(2**63), None} <= cells[visits]
    assert {type(cell) for cell in cells[visits]} == {int, type(None)}
    assert cells[by_name.index("paper")] == {True, False}
    nullable = [at for at, column in enumerate(COLUMNS) if column.nullable]
    assert any(all(row[at] is None for at in nullable) for row in rows)
    for at in nullable:
        others = [it for it in nullable if it != at]
        assert any(row[at] is None and all(row[it] is not None for it in others) for row in rows)
    fees = [cell for cell in cells[fee] if cell is not None and 1.0 < cell < 1e6]
    assert any(float(np.float32(cell)) != cell for cell in fees)
    assert any(float(np.float32(cell)) == cell for cell in fees)


def test_edge_rows_are_the_same_each_time_and_not_too_many():
    few = taken(ROWS, slice(0, 50))
    first, second = (rows_of(SIGNATURE, edge_rows(SIGNATURE, few)) for _ in range(2))
    assert repr(first) == repr(second)
    wide = Signature([Column("s", "category", categories=[f"k{it}" for it in range(9_000)])])
    assert 2_000 <= edge_rows(wide, Table(1, [["k1"]])).n <= 2_200
    assert edge_rows(SIGNATURE, Table.of_rows(COLUMNS, [])).n > 100
