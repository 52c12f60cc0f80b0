"""The house rules: what is allowed in which room, and that the README tells the truth."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FILE_LINES = 350
FUNCTION_LINES = 60

# Folders of one machine, and registries: settings of whoever builds, never of the project.
MACHINE_PATH = re.compile(r"(?<![\w/.~-])/(?:home|root|work)(?![\w.-])")
REGISTRY = re.compile(
    r"(?:pypi|pythonhosted|npmjs)\.org|docker\.io/|registry-1\.|ghcr\.io|quay\.io|gcr\.io|ecr\.aws"
)
# Seconds to import each: a run pays for what its own station needs.
HEAVY = {"mlflow", "great_expectations", "sklearn", "dvc", "matplotlib", "scipy", "docker", "skops"}
ACTS = {
    "asyncio", "http", "httpx", "os", "prefect", "psutil", "random", "requests", "shutil",
    "socket", "sqlalchemy", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
ACTING_METHODS = {
    "now", "utcnow", "today", "open", "read_text", "read_bytes", "write_text", "write_bytes",
    "exists", "is_file", "is_dir", "glob", "rglob", "iterdir", "mkdir", "unlink", "resolve", "cwd",
}  # fmt: skip


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def modules(pattern: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.glob(pattern)):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """The packages that these statements import, by their first name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE))


def recipe(target: str) -> list[list[str]]:
    """What make would run for a target, without its prerequisites' work."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    said = subprocess.run(
        ["make", "-n", "-o", "setup", target],
        cwd=ROOT,
        env=outside,
        check=True,
        capture_output=True,
        text=True,
    )
    return [shlex.split(line) for line in said.stdout.splitlines()]


def readme_commands() -> Iterator[list[str]]:
    """Each command of the README's ```sh blocks, as words."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words:
                end = next((i for i, it in enumerate(words) if it in ("&&", "|", ";")), len(words))
                command, words = words[:end], words[end + 1 :]
                while command and re.fullmatch(r"\w+=.*", command[0]):
                    command = command[1:]
                if command:
                    yield command


def test_files_and_functions_are_small_enough_to_read_at_once():
    long = []
    for path in tracked():
        if path.suffix != ".py":
            continue
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        if (lines := text.count("\n")) > FILE_LINES:
            long.append(f"{name}: {lines} lines")
        if "migrations" in path.parts:
            continue  # a list of statements, in one function by Alembic's rules
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["path", "registry"])
def test_nothing_belongs_to_one_machine_or_one_registry(pattern):
    found = []
    for path in tracked():
        if path.name == "uv.lock":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_imports_go_one_way(capsys):
    status = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_core_has_no_clock_no_network_and_no_files():
    found = []
    for name, tree in modules("andon/*.py"):
        nodes = list(ast.walk(tree))
        found += [f"{name}: imports {it}" for it in imported(iter(nodes)) if it in ACTS]
        for node in nodes:
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in ACTING_METHODS:
                    found.append(f"{name}:{node.lineno} calls {called}()")
    assert found == []


def test_only_flows_tasks_and_deployments_know_prefect():
    rooms = ("andon/**/*.py", "serving/**/*.py", "models/**/*.py")
    found = [
        name
        for room in rooms
        for name, tree in modules(room)
        if "prefect" in imported(ast.walk(tree))
    ]
    assert found == []


@pytest.mark.parametrize("room", ["andon/adapters", "tasks", "flows", "deployments"])
def test_heavy_libraries_are_imported_where_they_are_used(room):
    found = [
        f"{name}: {it}"
        for name, tree in modules(f"{room}/**/*.py")
        for it in imported(tree.body)
        if it in HEAVY
    ]
    assert found == []


def test_the_prediction_server_imports_only_what_its_image_holds():
    groups = project()["dependency-groups"]
    serving, onnx, sklearn = (
        {Requirement(it).name.replace("scikit-learn", "sklearn") for it in groups[name]}
        for name in ("serving", "serving-onnx", "serving-sklearn")
    )
    authors = {"onnx", "skl2onnx", *onnx, *sklearn}  # never run in an image
    beyond = {
        "serving/engines/onnx.py": onnx,
        "serving/engines/trees.py": onnx,
        "serving/engines/sklearn.py": sklearn,
        "serving/archive.py": authors,
        "serving/writing.py": authors,
    }

    def may(name: str, module: str) -> bool:
        own = authors if name.startswith("serving/compiling/") else beyond.get(name, set())
        return module in {"serving", *serving, *own, *sys.stdlib_module_names}

    found = {
        f"{name}: {it}"
        for name, tree in modules("serving/**/*.py")
        for it in imported(ast.walk(tree))
        if not may(name, it)
    }
    assert found == set()


def test_the_pins_without_which_things_break_are_there():
    pins = {it.name: it.specifier for it in map(Requirement, project()["project"]["dependencies"])}
    assert str(pins["prefect"]) == "==3.8.8"
    assert not any(version in pins["fastapi"] for version in ("0.151.0", "0.155.0", "1.0.0"))
    assert not any(version in pins["sqlalchemy"] for version in ("2.1.0", "2.1.5", "3.0.0"))
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    for package in lock["package"]:
        if package["name"] in ("prefect", "fastapi", "sqlalchemy"):
            assert package["version"] in pins[package["name"]], package["name"]


def test_every_make_target_is_described():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    described = set(re.findall(r"^([a-z-]+):.*## \w", text, flags=re.MULTILINE))
    assert described == make_targets()


def test_hooks_and_ci_check_the_same():
    """`make lint` is the one list; hooks may add how files are handed over, not leave one out."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [shlex.split(hook["entry"]) for repo in hooks["repos"] for hook in repo["hooks"]]
    assert [[word for word in entry if word != "--force-exclude"] for entry in entries] == recipe(
        "lint"
    )
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert {"make lint", "make test"} <= set(re.findall(r"\bmake \w+", ci))


def test_the_readme_names_commands_that_exist():
    commands = list(readme_commands())
    targets = {command[1] for command in commands if command[0] == "make" and len(command) > 1}
    assert {"demo", "test"} <= targets
    assert targets <= make_targets()
    for command in {it[1] for it in commands if Path(it[0]).name == "andon" and len(it) > 1}:
        asked = subprocess.run(
            [Path(sys.executable).with_name("andon"), command, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, f"andon {command}: {asked.stderr}"
