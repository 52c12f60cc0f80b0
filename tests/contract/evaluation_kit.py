"""A project that the evaluation's tests write, with gaps to fill."""

from __future__ import annotations

PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import {cls}
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

def pipeline():
    front = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["region"]),
        (StandardScaler(), {columns}),
    )
    return make_pipeline(front, {cls}({settings}))
"""
SPEC = """
data: d.csv
target: y
task: {task}
key: id
serving: {{engine: sklearn}}
slices: {{columns: [region], min_rows: 50}}
{more}
"""
