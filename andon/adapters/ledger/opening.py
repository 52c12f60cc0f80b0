"""Open the ledger: migrate it to this version, and lock what only one run may change."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from andon.adapters.ledger.ledger import Ledger
from andon.errors import PlatformError

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 4_202_611_23


def open_ledger(url: str) -> Ledger:
    """Connect, and bring the tables to this version's form.

    Raises PlatformError if the database cannot be reached or is of a later version.
    """
    engine = sa.create_engine(url, pool_pre_ping=True)
    try:
        _migrate(engine)
    except sa.exc.OperationalError as error:
        raise PlatformError(
            f"the ledger's database does not answer ({error.orig}); is the platform up? `andon up`"
        ) from None
    return Ledger(engine)


def head() -> str:
    """The revision of this version's tables: the number of the last migration's file.

    As Alembic says it, but that takes longer to load than a rollback to write.
    """
    return max(it.name for it in (MIGRATIONS / "versions").glob("[0-9]*_*.py")).partition("_")[0]


def _migrate(engine: sa.Engine) -> None:
    with engine.begin() as tx:
        # Two runs that start at once must not both migrate.
        if engine.dialect.name == "postgresql":
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        if sa.inspect(tx).has_table("alembic_version"):
            found = tx.execute(sa.text("select version_num from alembic_version")).scalar()
            if found == head():
                return
        _upgrade(tx)


def _upgrade(tx: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = tx
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise PlatformError(
            f"the ledger is of another version of Andon ({error}); use that version, or move "
            "the state folder away and start anew"
        ) from None


@contextmanager
def lock(ledger: Ledger, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a named lock; it is freed when the holder ends, however it ends.

    PostgreSQL: an advisory lock of one connection. SQLite: an advisory lock on a file beside the
    database. `waiting` is called once if somebody else has it.
    """
    engine = ledger.engine
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            key = sa.func.hashtextextended(name, 0)
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
                waiting()
                _queue(connection, name)
            try:
                yield
            finally:
                # A connection that broke has given the lock back already.
                with suppress(sa.exc.DBAPIError):
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
        return
    path = Path(f"{engine.url.database}.{name.replace('/', '-')}.lock")
    with path.open("w") as file:
        _poll(lambda: _flock(file.fileno()), waiting)
        yield


@contextmanager
def lock_if_free(ledger: Ledger, name: str) -> Iterator[bool]:
    """The same without waiting: yields whether it is held now, or somebody else has it."""
    with ExitStack() as held:
        try:
            held.enter_context(lock(ledger, name, _refuse))
            free = True
        except _Taken:
            free = False
        yield free


class _Taken(Exception):
    """Somebody else has the lock."""


def _refuse() -> None:
    raise _Taken


def _queue(connection: sa.Connection, name: str) -> None:
    """PostgreSQL's own queue: who came first is next. Among those who poll it would be chance."""
    try:
        connection.execute(sa.select(sa.func.pg_advisory_lock(sa.func.hashtextextended(name, 0))))
    except sa.exc.OperationalError as error:
        raise PlatformError(
            f"the ledger's database went away while this waited for {name} ({error.orig}); "
            "run it again"
        ) from None


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _poll(take: Callable[[], bool], waiting: Callable[[], None]) -> None:
    if take():
        return
    waiting()
    while not take():
        time.sleep(0.5)
