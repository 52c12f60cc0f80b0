"""From text to specs: every problem of a file at once, with key, found and allowed."""

from __future__ import annotations

from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from andon.errors import SpecError
from andon.settings import Settings
from andon.spec import ModelSpec

M = TypeVar("M", bound=BaseModel)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a repeated key win silently; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_spec(text: str, *, name: str, file: str) -> ModelSpec:
    """A model project's spec; `name` is its folder's. Raises SpecError with every problem."""
    raw = _mapping(text, file)
    if raw.setdefault("name", name) != name:
        raise SpecError(f"{file}: name: found {raw['name']!r}, the folder is called {name!r}")
    return _validated(ModelSpec, raw, file)


def parse_settings(text: str, *, file: str, overrides: dict[str, Any]) -> Settings:
    """The line's settings; `overrides` (from the environment) win. Raises SpecError."""
    return _validated(Settings, {**_mapping(text, file), **overrides}, file)


def _mapping(text: str, file: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise SpecError(f"{file}: not YAML: {error}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise SpecError(f"{file}: found {type(raw).__name__}, expected keys and values")
    return raw


def _validated(kind: type[M], raw: dict[str, Any], file: str) -> M:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(it, kind) for it in error.errors()]
        lines = "\n  ".join(problems)
        raise SpecError(f"{file}: {len(problems)} problem(s)\n  {lines}") from None


def _problem(error: Any, kind: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "(file)"
    if error["type"] == "extra_forbidden":
        allowed = f" (at the top level allowed: {', '.join(kind.model_fields)})"
        return f"{key}: unknown key" + (allowed if len(error["loc"]) == 1 else "")
    if error["type"] == "missing":
        return f"{key}: missing"
    found = "" if error["type"] == "value_error" else f"found {error['input']!r}: "
    return f"{key}: {found}{error['msg']}"
