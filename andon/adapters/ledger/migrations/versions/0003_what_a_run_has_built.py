"""What a run's stations made: so that a run that waited for a person goes on with that."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("built", sa.JSON(), nullable=True))
