"""From scikit-learn's trees, forests and boosted trees to the tree engine's files.

Its node arrays are read as they are: thresholds, leaves and the order of sums stay its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.bundle import Manifest
from serving.compiling.classes import check_classes, takes_nan
from serving.compiling.errors import CannotCompile
from serving.compiling.hist_trees import read_hist
from serving.compiling.tree_graph import Tree, write_graph
from serving.engines.trees import Ensemble

Part = tuple[Ensemble, list[Tree]]
EXACT = 2.0**20  # sums of multiples of 1/EXACT below 2**32 have no rounding


def compile_trees(estimator: Any, width: int, manifest: Manifest) -> dict[str, bytes]:
    """`trees.json` and `model.onnx`; raises CannotCompile."""
    kind = type(estimator)
    name = kind.__name__
    if name not in _READERS or not kind.__module__.startswith("sklearn."):
        raise CannotCompile(f"{name} is no ensemble of trees that can be compiled")
    if estimator.n_features_in_ != width:
        raise CannotCompile(f"{name} takes {estimator.n_features_in_} features, not {width}")
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise CannotCompile(f"{name} has more than one output")
    check_classes(estimator, manifest)
    ensemble, trees = _READERS[name](estimator)
    if not all(np.isfinite(tree.weight).all() for tree in trees):
        raise CannotCompile(f"{name} has leaves that are not finite")
    return {
        "trees.json": msgspec.json.encode(ensemble),
        "model.onnx": write_graph(trees, width, ensemble.outputs),
    }


def _forest(estimator: Any) -> Part:
    return _averaged(estimator, getattr(estimator, "estimators_", [estimator]))


def _bagging(estimator: Any) -> Part:
    trees = estimator.estimators_
    for tree in trees:
        if type(tree).__name__ not in _TREES:
            raise CannotCompile(f"bagging of {type(tree).__name__} is no ensemble of trees")
        if hasattr(tree, "classes_") and len(tree.classes_) != len(estimator.classes_):
            raise CannotCompile("bagging: a tree has not seen every class")
    return _averaged(estimator, trees, estimator.estimators_features_)


def _averaged(
    estimator: Any, members: Sequence[Any], columns: Sequence[NDArray[Any]] | None = None
) -> Part:
    """Trees whose answers are averaged; `columns`: the features that each of them is given."""
    classification = hasattr(estimator, "classes_")
    values = [_leaves(member.tree_) for member in members]
    single = not classification or _one_sum_is_enough(values)
    weights, shares = ([it[:, -1] for it in values], None) if single else _numbered(values)
    trees = [
        _tree(member.tree_, weight, 0 if single else number)
        for number, (member, weight) in enumerate(zip(members, weights, strict=True))
    ]
    if columns is not None:
        trees = [
            replace(tree, feature=np.where(tree.left < 0, 0, chosen[tree.feature]))
            for tree, chosen in zip(trees, columns, strict=True)
        ]
    ensemble = Ensemble(
        link="votes" if classification else "mean",
        width=estimator.n_features_in_,
        outputs=1 if single else len(trees),
        count=len(trees),
        float32=True,
        takes_nan=takes_nan(estimator, estimator.n_features_in_),
        leaves=b"" if shares is None else shares.astype("<f8").tobytes(),
    )
    return ensemble, trees


def _leaves(tree: Any) -> NDArray[np.float64]:
    """The values of its leaves, in their order."""
    values: NDArray[np.float64] = tree.value[tree.children_left < 0, 0, :]
    return values


def _one_sum_is_enough(values: list[NDArray[np.float64]]) -> bool:
    """Whether the votes for the first of two classes are exactly what the second's leave over."""
    return all(
        it.shape[1] == 2
        and bool(np.all(it[:, 0] == 1.0 - it[:, 1]))
        and bool(np.all(it[:, 1] * EXACT % 1.0 == 0.0))
        for it in values
    )


def _numbered(
    values: list[NDArray[np.float64]],
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Each leaf's row of shares by its number, and the rows, each once."""
    rows, numbers = np.unique(np.concatenate(values), axis=0, return_inverse=True)
    ends = np.cumsum([len(it) for it in values])[:-1]
    return np.split(numbers.ravel().astype(np.float64), ends), rows


def _tree(tree: Any, weight: NDArray[np.float64], target: int = 0, missing: bool = True) -> Tree:
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        feature=tree.feature.astype(np.int64),
        threshold=widened(tree.threshold),
        missing_left=tree.missing_go_to_left.astype(bool) & missing,
        weight=weight,
        target=target,
    )


def widened(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest float64 which, rounded to float32 as scikit-learn does, is not above each.

    With these nothing has to be rounded to take the same turns.
    """
    with np.errstate(over="ignore"):
        below = threshold.astype(np.float32)
        below = np.where(below > threshold, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
    middle = (below.astype(np.float64) + above.astype(np.float64)) / 2
    even = below.view(np.uint32) % 2 == 0  # a tie is rounded to the even one
    widest: NDArray[np.float64] = np.where(even, middle, np.nextafter(middle, -np.inf))
    # What would round to an infinity is refused before.
    widest[np.isposinf(above)] = np.inf
    widest[np.isneginf(below)] = -np.inf
    return widest


def _boosting(estimator: Any) -> Part:
    """GradientBoosting: a constant to begin with, then one tree after the other."""
    stages, rate = estimator.estimators_, estimator.learning_rate
    outputs = stages.shape[1]
    start = _start(estimator)
    trees = [Tree.constant(float(value), target) for target, value in enumerate(start)]
    for stage in stages:
        for target, member in enumerate(stage):
            tree = member.tree_
            trees.append(_tree(tree, rate * _leaves(tree)[:, 0], target, missing=False))
    ensemble = Ensemble(
        link=_boosting_link(estimator),
        width=estimator.n_features_in_,
        outputs=outputs,
        scale=2.0 if estimator.loss == "exponential" else 1.0,
        zero_is_positive=True,
        float32=True,
    )
    return ensemble, trees


def _boosting_link(estimator: Any) -> Any:
    if not hasattr(estimator, "classes_"):
        return "mean"
    return "sigmoid" if len(estimator.classes_) == 2 else "softmax"


def _start(estimator: Any) -> NDArray[np.float64]:
    """What GradientBoosting's sums start from, if it is the same for every row."""
    first = estimator.init_
    name = first if isinstance(first, str) else type(first).__name__
    random = getattr(first, "strategy", "") in ("stratified", "uniform")
    if name not in ("zero", "DummyClassifier", "DummyRegressor") or random:
        raise CannotCompile(f"{type(estimator).__name__} starts from {name}, not from a constant")
    row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    start: NDArray[np.float64] = estimator._raw_predict_init(row)[0]
    return start


_TREES = (
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
)
_READERS: dict[str, Callable[[Any], Part]] = {
    **dict.fromkeys(_TREES, _forest),
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "BaggingClassifier": _bagging,
    "BaggingRegressor": _bagging,
    "GradientBoostingClassifier": _boosting,
    "GradientBoostingRegressor": _boosting,
    "HistGradientBoostingClassifier": read_hist,
    "HistGradientBoostingRegressor": read_hist,
}
