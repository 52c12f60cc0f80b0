"""What a delivery spec promises of its data, as expectations that are always checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from andon.spec import ModelSpec

Json = dict[str, Any]
STOPS = "critical"
NUMBERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
NUMBERS += ["float32", "float64"]


def promised(spec: ModelSpec, columns: Sequence[str]) -> list[Json]:
    """What `model.yaml` says of the data, as expectations."""
    rows = "make sure that the data was exported completely"
    named = "model.yaml names this column: correct `{}` there, or the data"
    roles = {"target": spec.target, "key": spec.key, "time": spec.time}
    wanted = [(role, name) for role, name in roles.items() if name is not None]
    wanted += [("drop", name) for name in spec.drop]
    configs = [_expect("expect_table_row_count_to_be_between", rows, min_value=1)]
    configs += [
        _expect("expect_column_to_exist", named.format(role), column=name) for role, name in wanted
    ]
    if spec.target in columns:
        configs += _promised_target(spec)
    return configs


def _promised_target(spec: ModelSpec) -> list[Json]:
    target = spec.target
    configs = [
        _expect(
            "expect_column_values_to_not_be_null",
            "a row without its target teaches nothing: leave such rows out",
            column=target,
        )
    ]
    if spec.task == "regression":
        return [
            *configs,
            _expect(
                "expect_column_values_to_be_in_type_list",
                "a regression needs a target of numbers: convert it, or change `task`",
                column=target,
                type_list=NUMBERS,
            ),
        ]
    configs.append(
        _expect(
            "expect_column_unique_value_count_to_be_between",
            f"task {spec.task!r} needs "
            + ("exactly 2 classes" if spec.task == "binary" else "at least 2 classes"),
            column=target,
            min_value=2,
            max_value=2 if spec.task == "binary" else None,
        )
    )
    if spec.positive is not None:
        configs.append(
            _expect(
                "expect_column_distinct_values_to_contain_set",
                "`positive` in model.yaml has to be a value of the target",
                column=target,
                value_set=[spec.positive],
            )
        )
    return configs


def _expect(kind: str, notes: str, **kwargs: Any) -> Json:
    return {"type": kind, "kwargs": kwargs, "severity": STOPS, "meta": {"notes": notes}}
