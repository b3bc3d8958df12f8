"""Until when the verdict on a file holds and by which rules, and whether all facts of a certificate are recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("targets", sa.Column("verdict", sa.String()))
    op.add_column("certificates", sa.Column("is_whole", sa.Boolean()))
