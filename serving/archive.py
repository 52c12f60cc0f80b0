"""model.skops, written so that equal pipelines are equal files.

skops names its members by memory addresses and random ids, zip archives carry the time, and copies
of a tree's node array carry whatever was in memory between its fields. Here members are named by
their content, in one order, without time, and padding is zero.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from serving.bundle import BundleError

SCHEMA = "schema.json"
_OWNERS = {"NdArrayNode", "SparseMatrixNode", "BytesNode", "BytearrayNode"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip archive can name


def dump(pipeline: Any, path: Path) -> None:
    """Write `pipeline`; raises BundleError if skops cannot hold a part of it."""
    import skops.io

    try:
        raw = skops.io.dumps(pipeline)
    except Exception as error:
        raise BundleError(f"{path.name}: the pipeline cannot be stored: {error}") from error
    path.write_bytes(canonical(raw))


def canonical(raw: bytes) -> bytes:
    """The same archive, depending on nothing but what is in it."""
    members: dict[str, bytes] = {}
    with ZipFile(io.BytesIO(raw)) as source:
        schema = _rename(json.loads(source.read(SCHEMA)), source, members)
    members[SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name in sorted(members):
            info = ZipInfo(name, date_time=_EPOCH)
            info.compress_type = ZIP_STORED
            archive.writestr(info, members[name])
    return target.getvalue()


def _rename(node: Any, source: ZipFile, members: dict[str, bytes]) -> Any:
    """The schema with members named by content and without memory addresses.

    An address only says that two places held one object; a pipeline that predicts does not care.
    """
    if isinstance(node, list):
        return [_rename(item, source, members) for item in node]
    if not isinstance(node, dict):
        return node
    loader = node.get("__loader__")
    is_node = isinstance(loader, str)  # a dict's content has the dict's own keys
    clean = {
        key: _rename(value, source, members)
        for key, value in node.items()
        if not (is_node and key == "__id__")
    }
    if loader == "SetNode":
        clean["content"] = sorted(clean["content"], key=json.dumps)
    if is_node and loader in _OWNERS and "file" in clean:
        suffix = Path(clean["file"]).suffix
        content = source.read(clean["file"])
        content = _unpadded(content) if suffix == ".npy" else content
        clean["file"] = hashlib.sha256(content).hexdigest()[:32] + suffix
        members[clean["file"]] = content
    return clean


def _unpadded(content: bytes) -> bytes:
    """A .npy file whose padding is zero."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()
