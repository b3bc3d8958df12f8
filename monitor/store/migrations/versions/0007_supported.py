"""Everything that an endpoint takes, and when it was asked."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("targets", sa.Column("supported", sa.String(), nullable=True))
