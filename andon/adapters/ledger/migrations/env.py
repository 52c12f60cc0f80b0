"""Alembic's entry: runs on the connection that `open_ledger` hands over."""

from alembic import context

from andon.adapters.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
