"""Alerts, messages and silences."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("channel", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("content", sa.String(), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("fate", sa.String(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.Column("content", sa.String(), nullable=False),
    )
    op.create_index("ix_deliveries_fate", "deliveries", ["fate"])
    op.create_table(
        "silences",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("content", sa.String(), nullable=False),
    )
