"""Progression after a year: ridge regression on scaled measures."""

from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def pipeline() -> Pipeline:
    """A missing measure counts as the median."""
    return Pipeline(
        [
            ("fill", SimpleImputer(strategy="median")),
            ("scale", StandardScaler()),
            ("line", Ridge(alpha=10.0)),
        ]
    )
