"""A running platform for tests of the whole line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_under_test import LineUnderTest, copy_project
from support import REPOSITORY, free_port_block, running, scratch_folder

from andon.settings import Settings


@pytest.fixture(scope="session")
def platform_project() -> Iterator[Path]:
    """The project that `platform` serves; override it to bring models."""
    with scratch_folder() as folder:
        shutil.copy(REPOSITORY / "andon.yaml", folder)
        yield folder


@pytest.fixture(scope="session")
def platform(platform_project: Path) -> Iterator[Settings]:
    """The settings of a platform that is up until the last test ends."""
    settings = Settings(project=platform_project, port_base=free_port_block())
    with running(settings):
        yield settings


@pytest.fixture(scope="module")
def line() -> Iterator[LineUnderTest]:
    """The line with the three examples, on a platform of its own."""
    with scratch_folder() as folder:
        copy_project(folder, ("churn", "diabetes", "tumor"))
        found = LineUnderTest(Settings(project=folder, port_base=free_port_block(), image="off"))
        try:
            found.andon("up")
            yield found
        finally:
            found.close()
