"""HistGradientBoosting's trees: float64 throughout, missing values and categories included."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.compiling.errors import CannotCompile
from serving.compiling.tree_graph import Integers, Tree
from serving.engines.trees import Categories, Ensemble, Link

_LINKS: dict[str, Link] = {
    "IdentityLink": "mean",
    "LogLink": "exp",
    "LogitLink": "sigmoid",
    "MultinomialLogit": "softmax",
}


def read_hist(estimator: Any) -> tuple[Ensemble, list[Tree]]:
    """Raises CannotCompile."""
    link = type(estimator._loss.link).__name__
    if link not in _LINKS:
        raise CannotCompile(f"{type(estimator).__name__} has the unknown link {link}")
    columns, categories = _columns(estimator)
    known = {it.feature: len(it.values) for it in categories}
    start = estimator._baseline_prediction[0]
    trees = [Tree.constant(float(value), target) for target, value in enumerate(start)]
    for stage in estimator._predictors:
        trees.extend(_tree(it, columns, known, target) for target, it in enumerate(stage))
    ensemble = Ensemble(
        link=_LINKS[link],
        width=estimator.n_features_in_,
        outputs=len(start),
        takes_nan=True,
        categories=categories,
    )
    return ensemble, trees


def _columns(estimator: Any) -> tuple[Integers, list[Categories]]:
    """Which of our features each of its columns is, and what their categories are.

    It puts the categories first, as numbers from 0 on, and takes what it has not seen for missing.
    """
    categorical = estimator.is_categorical_
    if categorical is None:
        return np.arange(estimator.n_features_in_), []
    features = np.flatnonzero(categorical)
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    categories = []
    for feature, values in zip(features.tolist(), encoder.categories_, strict=True):
        if values.dtype.kind not in "fiub":
            raise CannotCompile(f"{type(estimator).__name__} is given categories that are texts")
        numbers = values.astype(np.float64)
        categories.append(Categories(feature, numbers[~np.isnan(numbers)].tolist()))
    return np.concatenate([features, np.flatnonzero(~categorical)]), categories


def _tree(predictor: Any, columns: Integers, known: dict[int, int], target: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    tree = Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, 0, columns[nodes["feature_idx"]]),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        weight=nodes["value"][leaf].astype(np.float64),
        target=target,
    )
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        codes = _codes(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
        left = [code for code in codes if code < known[int(tree.feature[node])]]
        if left:
            tree.members[node] = left
        else:  # nothing is at most this
            tree.threshold[node] = -np.inf
    return tree


def _codes(bits: Any) -> list[int]:
    """The numbers whose bit is set in eight words of 32."""
    words = [int(word) for word in bits]
    return [32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1]
