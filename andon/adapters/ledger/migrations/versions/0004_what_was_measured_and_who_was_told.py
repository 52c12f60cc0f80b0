"""Figures over time, messages that are to be sent, and how bad an incident is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("incidents", sa.Column("severity", sa.String(20), nullable=True))
    op.add_column("incidents", sa.Column("looked_by", sa.String(80), nullable=True))
    op.add_column("incidents", sa.Column("looked_at", sa.Double(), nullable=True))
    op.create_table(
        "measures",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("environment", sa.String(40), nullable=False),
        sa.Column("model", sa.String(40), nullable=False),
        sa.Column("what", sa.String(120), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.create_index("ix_measures_what", "measures", ["environment", "model", "what", "at"])
    op.create_table(
        "notices",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("incident", sa.String(64), sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("route", sa.String(80), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
    )
    op.create_index("ix_notices_incident", "notices", ["incident"])
    op.create_index("ix_verdicts_station", "verdicts", ["model", "station", "at"])
