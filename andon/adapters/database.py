"""The databases of the line: where they are, and that they exist."""

from __future__ import annotations

from typing import Any

from andon.adapters.sockets import postgres_sockets
from andon.errors import PlatformError
from andon.settings import Settings

DATABASES = ("prefect", "mlflow", "ledger")
OWNER = "postgres"
PORT = "5432"  # part of the socket's name
CONNECT_SECONDS = 5


def url(settings: Settings, name: str, driver: str = "psycopg") -> str:
    """SQLAlchemy URL of one of DATABASES; with `driver=""` one that psycopg itself takes."""
    from sqlalchemy.engine import URL, make_url

    scheme = f"postgresql+{driver}" if driver else "postgresql"
    if settings.database_url is None:
        # With the port, or $PGPORT of the caller's shell would be taken.
        place = {"host": str(postgres_sockets(settings)), "port": PORT}
        found = URL.create(scheme, username=OWNER, database=name, query=place)
    else:
        found = make_url(settings.database_url).set(drivername=scheme, database=name)
        if driver == "asyncpg" and "sslmode" in found.query:
            # asyncpg has another name for what libpq calls sslmode.
            mode = found.query["sslmode"]
            found = found.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    text = found.render_as_string(hide_password=False)
    if driver:
        return text
    base, mark, query = text.partition("?")
    return base + mark + query.replace("+", "%20")  # libpq knows no other way to write a space


def where(settings: Settings) -> str:
    """Where the server is, without the password, for messages."""
    from sqlalchemy.engine import make_url

    if settings.database_url is None:
        return f"the embedded PostgreSQL at {postgres_sockets(settings)}"
    return make_url(settings.database_url).render_as_string(hide_password=True)


def problem(settings: Settings) -> str | None:
    """Why the server cannot be reached, or None if it can."""
    import psycopg

    try:
        with _maintenance(settings) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        return f"{where(settings)}: {_first_line(error)}"
    return None


def ensure_databases(settings: Settings) -> None:
    """Create those of DATABASES that the server does not have yet."""
    import psycopg
    from psycopg import sql

    try:
        with _maintenance(settings) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
            for name in sorted(set(DATABASES) - {row[0] for row in rows}):
                _create(connection, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege:
        raise PlatformError(
            f"{where(settings)}: this user may not create databases; create "
            f"{', '.join(DATABASES)} by hand, owned by it"
        ) from None
    except psycopg.Error as error:
        raise PlatformError(f"{where(settings)}: {_first_line(error)}") from None


def _create(connection: Any, statement: Any) -> None:
    import psycopg

    try:
        connection.execute(statement)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another `andon up` on the same server was first


def _maintenance(settings: Settings) -> Any:
    """A connection to the database that is there before ours are."""
    import psycopg
    from sqlalchemy.engine import make_url

    given = make_url(settings.database_url).database if settings.database_url else None
    return psycopg.connect(
        url(settings, given or "postgres", driver=""),
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
