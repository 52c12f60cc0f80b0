"""What a version's tags in the registry are: so that they can be mended there."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("candidates", sa.Column("tags", sa.JSON(), nullable=True))
