"""From text to specs: every problem of a file at once, with key, found and allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

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
    found = raw.get("name", name)
    wrong = [] if found == name else [f"name: found {found!r}, the folder is called {name!r}"]
    return _validated(ModelSpec, {**raw, "name": name}, file, wrong)


def parse_settings(text: str, *, file: str, overrides: dict[str, Any]) -> Settings:
    """The line's settings; `overrides` (from the environment) win. Raises SpecError."""
    return _validated(Settings, {**_mapping(text, file), **overrides}, file)


def _mapping(text: str, file: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError) as error:
        # PyYAML lets these two through: a date like 2026-99-99, a list as a key.
        raise SpecError(f"{file}: not YAML: {error}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise SpecError(f"{file}: found {type(raw).__name__}, expected keys and values")
    return raw


def _validated(kind: type[M], raw: dict[str, Any], file: str, wrong: Sequence[str] = ()) -> M:
    problems = list(wrong)
    try:
        made = kind.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(it, kind) for it in error.errors() if not _follows(it, error)]
    if problems:
        lines = "\n  ".join(problems)
        raise SpecError(f"{file}: {len(problems)} problem(s)\n  {lines}")
    return made


def _follows(problem: Any, error: ValidationError) -> bool:
    """A list that is too short only because the problems in it were taken out."""
    place = problem["loc"]
    within = [it for it in error.errors() if it["loc"][: len(place)] == place]
    return problem["type"] == "too_short" and len(within) > 1


def _problem(error: Any, kind: type[BaseModel]) -> str:
    key, allowed, tags = _place(kind, error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed here: {', '.join(allowed)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "union_tag_not_found":
        missing = error["ctx"]["discriminator"].strip("'")
        return f"{key}.{missing}: missing; allowed: {', '.join(tags)}"
    if error["type"] == "value_error":
        return f"{key}.{error['ctx']['error']}"  # our own validators name the rest of the key
    return f"{key}: found {error['input']!r}: {error['msg']}"


def _place(kind: type[BaseModel], loc: Sequence[str | int]) -> tuple[str, list[str], list[str]]:
    """A problem's key as it stands in the file, the keys allowed beside it, and its kinds.

    Pydantic's own key also has the kind (canary, drift, …) where there are several.
    """
    inside, key = [kind], []
    fields: dict[str, FieldInfo] = {}
    for part in loc:
        told = [it for it in inside if len(inside) > 1 and part in _tags(it)]
        if told:
            inside = told
            continue
        key.append(str(part))
        fields = {
            it.alias or name: it for model in inside for name, it in model.model_fields.items()
        }
        if part in fields:
            inside = _models(fields[str(part)].annotation)
    return ".".join(key) or "(file)", list(fields), [tag for it in inside for tag in _tags(it)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this type may be, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _tags(model: type[BaseModel]) -> list[str]:
    """What tells a model from others in a union: a field with one value, or a key of its own."""
    literals = [get_args(it.annotation) for it in model.model_fields.values()]
    tags = [it[0] for it in literals if len(it) == 1 and isinstance(it[0], str)]
    return [*tags, model.told_by] if hasattr(model, "told_by") else tags
