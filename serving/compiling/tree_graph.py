"""Trees as one ONNX node: `ai.onnx.ml` TreeEnsemble, thresholds and leaves in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]
LESS_OR_EQUAL, MEMBER = 0, 6  # the operator's numbers for its node modes
OPSET, MACHINE_LEARNING, IR = 18, 5, 9


@dataclass(frozen=True)
class Tree:
    """One tree by its nodes, the root first; a leaf has no `left` (-1).

    Left is `value <= threshold`, or where `members` has the node: `value` is one of these integers.
    A missing value goes left where `missing_left` says so.
    """

    left: Integers
    right: Integers
    feature: Integers
    threshold: Numbers
    missing_left: NDArray[np.bool_]
    weight: Numbers  # of its leaves, in their order
    target: int = 0  # which output the leaves add to
    members: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def constant(cls, value: float, target: int = 0) -> Tree:
        """A tree of one leaf."""
        none, zero = np.array([-1]), np.zeros(1)
        return cls(none, none, none, zero, zero.astype(bool), np.array([value]), target)


def write_graph(trees: Sequence[Tree], width: int, outputs: int) -> bytes:
    """X, double (n, width), to Y, double (n, outputs): what the leaves add up to, tree by tree."""
    from onnx import TensorProto, helper

    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["Y"],
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function=1,  # sum
        post_transform=0,  # none
    )
    node.attribute.extend(_attributes(trees))
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info("Y", TensorProto.DOUBLE, [None, outputs])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", MACHINE_LEARNING)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw


def _attributes(trees: Sequence[Tree]) -> list[Any]:
    parts, roots, nodes, leaves = [], [], 0, 0
    for tree in trees:
        part = _columns(tree, nodes, leaves)
        parts.append(part)
        roots.append(nodes)
        nodes += len(part["nodes_featureids"])
        leaves += len(part["leaf_weights"])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["tree_roots"] = np.array(roots, dtype=np.int64)
    for name in ("nodes_missing_value_tracks_true", "membership_values"):
        if not columns[name].any():  # slower with than without
            del columns[name]
    return [_attribute(name, values) for name, values in sorted(columns.items())]


def _columns(tree: Tree, first_node: int, first_leaf: int) -> dict[str, NDArray[Any]]:
    """A tree's part of each attribute; its nodes and leaves are counted on from the first."""
    leaf = tree.left < 0
    inner = np.flatnonzero(~leaf)
    number = np.where(leaf, np.cumsum(leaf) - 1 + first_leaf, np.cumsum(~leaf) - 1 + first_node)
    left, right = tree.left[inner], tree.right[inner]
    feature, threshold, missing = (
        it[inner] for it in (tree.feature, tree.threshold, tree.missing_left)
    )
    if not len(inner):  # a leaf for a root is written as a node with that leaf on both sides
        left = right = feature = np.zeros(1, dtype=np.int64)
        threshold, missing = np.zeros(1), np.zeros(1, dtype=bool)
    modes = np.full(len(left), LESS_OR_EQUAL, dtype=np.uint8)
    modes[np.isin(inner, list(tree.members))] = MEMBER
    sets = [[*tree.members[it], np.nan] for it in inner.tolist() if it in tree.members]
    return {
        "nodes_featureids": feature,
        "nodes_splits": threshold,
        "nodes_modes": modes,
        "nodes_truenodeids": number[left],
        "nodes_trueleafs": leaf[left].astype(np.int64),
        "nodes_falsenodeids": number[right],
        "nodes_falseleafs": leaf[right].astype(np.int64),
        "nodes_missing_value_tracks_true": missing.astype(np.int64),
        "leaf_targetids": np.full(leaf.sum(), tree.target, dtype=np.int64),
        "leaf_weights": tree.weight,
        "membership_values": np.array([*chain.from_iterable(sets)], dtype=np.float64),
    }


def _attribute(name: str, values: NDArray[Any]) -> Any:
    # onnx.helper looks at every single number, which takes seconds for a large forest.
    from onnx import AttributeProto, numpy_helper

    attribute = AttributeProto()
    attribute.name = name
    if values.dtype == np.int64:
        attribute.type = AttributeProto.INTS
        attribute.ints.extend(values.tolist())
    else:
        attribute.type = AttributeProto.TENSOR
        attribute.t.CopyFrom(numpy_helper.from_array(values))
    return attribute
