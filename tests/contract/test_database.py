"""The URLs of the line's databases, taken by the libraries that are given them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from support import free_port_block, scratch_folder, supervised, wait_until

from andon.adapters.database import DATABASES, ensure_databases, problem, url
from andon.adapters.supervisor import Supervisor
from andon.settings import Settings
from deployments.platform import postgres

NAME = "SELECT current_database()"


@pytest.fixture(scope="module")
def settings():
    """A PostgreSQL in a folder whose path is long and needs quoting wherever it is written."""
    with scratch_folder() as folder:
        project = folder / ("a long way " * 9).strip() / "ours, (really)=a+b"
        settings = Settings(project=project, port_base=free_port_block())
        with supervised(settings):
            postgres.prepare(settings)
            supervisor = Supervisor(settings)
            supervisor.add(postgres.program(settings))
            supervisor.start("postgres")
            wait_until(lambda: problem(settings) is None, 60, "PostgreSQL is ready")
            ensure_databases(settings)
            yield settings


@pytest.mark.parametrize("name", DATABASES)
def test_psycopg_sqlalchemy_and_asyncpg_take_the_urls(settings, name, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")  # a person's own setting must not lead us astray
    with psycopg.connect(url(settings, name, driver="")) as connection:
        assert connection.execute(NAME).fetchone() == (name,)
    engine = sqlalchemy.create_engine(url(settings, name))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text(NAME)) == name
    engine.dispose()
    assert asyncio.run(current_database(url(settings, name, driver="asyncpg"))) == name


async def current_database(target: str) -> str:
    engine = create_async_engine(target)
    async with engine.connect() as connection:
        found = await connection.scalar(sqlalchemy.text(NAME))
    await engine.dispose()
    return found


def test_databases_that_exist_are_left_alone(settings):
    with psycopg.connect(url(settings, "ledger", driver=""), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        ensure_databases(settings)
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_an_external_url_keeps_all_but_the_name_and_the_driver():
    given = "postgresql+psycopg2://me:p%40ss@db.example:6000/postgres?sslmode=require"
    settings = Settings(project="/p", database_url=given)
    assert url(settings, "mlflow") == (
        "postgresql+psycopg://me:p%40ss@db.example:6000/mlflow?sslmode=require"
    )
    assert url(settings, "prefect", "asyncpg") == (
        "postgresql+asyncpg://me:p%40ss@db.example:6000/prefect?ssl=require"
    )
    assert url(settings, "ledger", "") == (
        "postgresql://me:p%40ss@db.example:6000/ledger?sslmode=require"
    )
