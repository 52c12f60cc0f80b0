"""What the documents say is so: links, commands, the reference of the specs, and the examples."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from andon.adapters.expectations import read_suite
from andon.reading import parse_settings, parse_spec
from andon.settings import Settings
from andon.spec import ModelSpec
from deployments.cli import app

ROOT = Path(__file__).parents[2]
MINIMAL = {"data": "data/rows.csv", "target": "y", "task": "binary"}
GROUPS = {it.name: it.typer_instance for it in app.registered_groups}
COMMANDS = {it.name or it.callback.__name__ for it in app.registered_commands} | {
    f"{group} {it.name or it.callback.__name__}"
    for group, inner in GROUPS.items()
    for it in inner.registered_commands
}
# One word, or two where the first is a group's.
COMMAND = rf"(?:(?:{'|'.join(GROUPS)}) )?[a-z]+"
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@cache
def documents() -> dict[str, str]:
    """Every Markdown file of the project, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    paths = sorted(name for name in listed.stdout.split("\0") if name)
    return {it: (ROOT / it).read_text(encoding="utf-8") for it in paths if (ROOT / it).is_file()}


def blocks(language: str) -> list[tuple[str, str]]:
    """(document, content) of each fenced block."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    return [(name, it) for name, text in documents().items() for it in fenced.findall(text)]


def prose(text: str) -> str:
    """Without fenced blocks: what is in them is not Markdown."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", it.lower()).strip().replace(" ", "-") for it in headings}


def links(name: str) -> Iterator[tuple[str, Path, str]]:
    """(as written, the file, the heading) of each link of a document that leads to a file."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(documents()[name])):
        if not re.match(r"https?://", link):
            path, _, anchor = link.partition("#")
            yield link, ((ROOT / name).parent / path).resolve() if path else ROOT / name, anchor


def test_links_lead_somewhere():
    broken = []
    for name in documents():
        for link, path, anchor in links(name):
            if not path.exists():
                broken.append(f"{name}: {link}: no such file")
            elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
                broken.append(f"{name}: {link}: no such heading")
    assert broken == []


def test_every_document_can_be_reached_from_the_readme():
    reached: set[str] = set()
    waiting = ["README.md"]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in documents():
            reached.add(name)
            waiting += [str(it.relative_to(ROOT)) for _, it, _ in links(name)]
    assert set(documents()) - reached == set()


@pytest.mark.parametrize(("program", "known"), [("make", TARGETS), ("andon", COMMANDS)])
def test_commands_exist(program: str, known: set[str]):
    """In the prose of all documents, and in the blocks of all but the README, which has its own."""
    called = re.compile(rf"(?:^|[|;&] *)(?:\w+=\S+ )*{program} ({COMMAND})", flags=re.MULTILINE)
    code = [(name, it) for name, it in blocks("sh") if name != "README.md"]
    for name, text in documents().items():
        code += [(name, it) for it in re.findall(r"`([^`\n]+)`", prose(text))]
    found = {f"{name}: {program} {it}" for name, text in code for it in called.findall(text)}
    assert {it for it in found if it.partition(f": {program} ")[2] not in known} == set()
    assert len(found) > len(known) / 2, "the pattern finds none"


def test_the_readme_lists_every_command():
    listed = re.findall(rf"^\| `andon ({COMMAND})", documents()["README.md"], flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


def test_settings_and_specs_in_the_documents_are_accepted():
    """A block says in its first line which file it is, or is a part of."""
    seen = set()
    for document, text in blocks("yaml"):
        file = text.partition("\n")[0].removeprefix("# ")
        seen.add(Path(file).name)
        content = yaml.safe_load(text)
        if Path(file).name == "model.yaml":
            whole = yaml.safe_dump({**MINIMAL, **content})
            parse_spec(whole, name=Path(file).parent.name or "x", file=f"{document}: {file}")
        elif file == "andon.yaml":
            parse_settings(text, file=f"{document}: {file}", overrides={"project": ROOT})
        else:
            assert file == "prefect.yaml", f"{document}: which file is this? {text}"
    assert {"model.yaml", "andon.yaml"} <= seen


def test_the_readme_s_model_is_one(tmp_path: Path):
    """Its three files go together: the suite is one, and the pipeline learns."""
    from sklearn.datasets import load_wine

    ((_, spec),) = [it for it in blocks("yaml") if "models/wine/model.yaml" in it[1]]
    ((_, code),) = [it for it in blocks("python") if "models/wine/pipeline.py" in it[1]]
    ((_, suite),) = [it for it in blocks("json") if '"wine"' in it[1]]
    found = parse_spec(spec, name="wine", file="README.md")
    (tmp_path / "expectations.json").write_text(suite)
    columns = [it["kwargs"]["column"] for it in read_suite(tmp_path / "expectations.json")]
    assert found.key in columns
    made: dict[str, Any] = {}
    exec(code, made)  # noqa: S102 - it is our own
    wine = load_wine(as_frame=True)
    features = ["alcohol", "flavanoids", "color_intensity", "proline"]
    score = (
        made["pipeline"]()
        .fit(wine.data[features], wine.target)
        .score(wine.data[features], wine.target)
    )
    assert score > found.metric.limit


# --- the reference of model.yaml and andon.yaml

Row = tuple[str, str, str]  # key, what is allowed, default
NOT_TOLD_APART = ("environments.NAME.target.", "release.production.")
KNOWN_FROM_THE_FOLDER = {"name", "project"}


def reference(kind: type[BaseModel], given: BaseModel) -> Iterator[Row]:
    """What may be written, and what holds if it is not; `given` has every default."""
    schema = kind.model_json_schema()
    for row in _rows(
        schema, schema.get("$defs", {}), given.model_dump(mode="json", by_alias=True), ""
    ):
        if row[0] not in KNOWN_FROM_THE_FOLDER:
            yield row


def _rows(schema: Any, specs: Any, given: Any, prefix: str) -> Iterator[Row]:
    for name, field in schema["properties"].items():
        nested = [specs[it] for it in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(field))]
        # Pydantic wants the word that tells one kind from another even where the class has one.
        told_apart = "const" in field and prefix not in NOT_TOLD_APART
        default = given.get(name, field.get("default"))
        many = {"array": "[]", "object": ".NAME"}.get(field.get("type", ""), "")
        if not nested or many or len(nested) > 1 or default is None:
            required = name in schema.get("required", []) or told_apart
            yield (
                prefix + name,
                _allowed(field),
                "required" if required else _shown(default, nested),
            )
        inner = (default if len(nested) == 1 and not many else None) or {}
        for it in nested:
            yield from _rows(it, specs, inner, f"{prefix}{name}{many}.")


def _allowed(field: Any) -> str:
    if "const" in field or "enum" in field:
        return ", ".join(f"`{it}`" for it in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(_allowed(it) for it in field["anyOf"])
    words = {"string": "text", "array": "list", "object": "mapping", "boolean": "true or false"}
    kind = field.get("type", "object")
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:.10g}" for key, sign in bounds.items() if key in field]
    return " ".join([words.get(kind, kind), " and ".join(limits)]).strip()


def _shown(value: Any, nested: list[Any]) -> str:
    """A default as one writes it in YAML, without what is a default itself."""
    if value is None:
        return "none"
    if isinstance(value, list):
        value = [_brief(it, nested) for it in value]
    elif isinstance(value, dict):
        value = {key: {} for key in value} if len(nested) == 1 else _brief(value, nested)
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).partition(chr(10))[0]}`"


def _shared(key: str, field: Any, nested: list[Any]) -> bool:
    """A key with one value that all kinds have tells none of them apart."""
    return len(nested) > 1 and all(it["properties"].get(key) == field for it in nested)


def _brief(value: Any, nested: list[Any]) -> Any:
    if not isinstance(value, dict):
        return value
    silent = {
        (key, json.dumps(field["default"]))
        for it in nested
        for key, field in it["properties"].items()
        if "default" in field and ("const" not in field or _shared(key, field, nested))
    }
    return {key: it for key, it in value.items() if (key, json.dumps(it)) not in silent}


def written() -> list[Row]:
    """The rows of the tables in docs/model-yaml.md."""
    found = []
    for line in documents()["docs/model-yaml.md"].splitlines():
        cells = [it.strip() for it in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            found.append((cells[0].strip("`"), cells[1], cells[2]))
    return found


def test_the_reference_of_the_specs_is_complete_and_right():
    spec = ModelSpec(name="x", **MINIMAL)
    settings = Settings(project=ROOT)
    wanted = {*reference(ModelSpec, spec), *reference(Settings, settings)}
    missing = [" | ".join(["", f"`{key}`", *rest, "…", ""]) for key, *rest in wanted - {*written()}]
    assert sorted(missing) == [], "rows for docs/model-yaml.md"
    assert sorted({*written()} - wanted) == [], "rows that are not so"
