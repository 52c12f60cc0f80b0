"""Malignant or benign: a line through scaled measures."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def pipeline() -> Pipeline:
    """All columns are numbers without nulls."""
    return Pipeline(
        [("scale", StandardScaler()), ("line", LogisticRegression(C=0.5, max_iter=1_000))]
    )
