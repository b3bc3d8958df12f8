"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("sha256", sa.String(), nullable=False, unique=True),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("not_before", sa.Integer()),
        sa.Column("not_after", sa.Integer()),
        sa.Column("names", sa.String(), nullable=False),
        sa.Column("key_kind", sa.String(), nullable=False),
        sa.Column("key_bits", sa.Integer(), nullable=False),
        sa.Column("signature_hash", sa.String(), nullable=False),
        sa.Column("is_ca", sa.Boolean(), nullable=False),
        sa.Column("self_issued", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.String(), nullable=False),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("component", sa.String()),
        sa.Column("identity", sa.String()),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.Column("removed_at", sa.Float()),
    )
    op.create_index("ix_targets_watched", "targets", ["name"], unique=True, sqlite_where=sa.text("removed_at IS NULL"))
    op.create_table(
        "presentations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("target", sa.Integer(), sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("certificates", sa.String(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float()),
    )
    op.create_index("ix_presentations_target", "presentations", ["target"])
    op.create_table(
        "findings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("target", sa.Integer(), sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("raised_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float()),
        sa.Column("superseded_at", sa.Float()),
        sa.Column("cleared_at", sa.Float()),
    )
    op.create_index("ix_findings_target", "findings", ["target"])
    op.create_table(
        "failed_looks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("target", sa.Integer(), sa.ForeignKey("targets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("failed_at", sa.Float(), nullable=False),
        sa.Column("superseded_at", sa.Float()),
        sa.Column("recovered_at", sa.Float()),
    )
    op.create_index("ix_failed_looks_target", "failed_looks", ["target"])
