"""The tables. Times are Unix seconds; a row whose end is NULL is true now.

A new table or column needs a revision in `migrations/versions`, named in `database.REVISIONS`, and its line in
`tables.sql`, from which a new database is made without loading this module.
"""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel


class CertificateRow(SQLModel, table=True):
    """A certificate with its facts, so that reading it back needs no decoding."""

    __tablename__ = "certificates"

    id: int = Field(primary_key=True)
    sha256: str = Field(unique=True)
    der: bytes
    subject: str
    issuer: str
    serial: str
    not_before: int | None
    not_after: int | None
    names: str
    """One per line: they are printable, so none holds a line break; so are the failures."""
    key_kind: str
    key_bits: int
    signature_hash: str
    is_ca: bool
    self_issued: bool
    failures: str
    is_whole: bool | None
    """Whether these are all facts: where the encoding breaks a rule, or nobody knows, they are decoded again."""


class TargetRow(SQLModel, table=True):
    """A target for as long as it was watched: one that comes back gets another row."""

    __tablename__ = "targets"
    __table_args__ = (Index("ix_targets_watched", "name", unique=True, sqlite_where=text("removed_at IS NULL")),)

    id: int = Field(primary_key=True)
    name: str
    """Name and location are stored as bytes where they are not Unicode, as a path may be."""
    kind: str
    location: str
    component: str | None
    identity: str | None
    """JSON array of device, inode, mtime_ns, ctime_ns, size: unsigned 64-bit numbers do not fit into SQLite's own."""
    added_at: float
    removed_at: float | None
    verdict: str | None
    """JSON array of rules, since, until, expiry, where the verdict on a file need not be given again."""
    supported: str | None
    """JSON of all that an endpoint takes (`monitor.store.text.supported_text`); NULL where it was not asked."""


class PresentationRow(SQLModel, table=True):
    """The certificates that a target presented for a while."""

    __tablename__ = "presentations"

    id: int = Field(primary_key=True)
    target: int = Field(foreign_key="targets.id", ondelete="CASCADE", index=True)
    certificates: str
    """JSON array of their rows, as presented: values that are compared, written and read together are in one column."""
    since: float
    until: float | None


class FindingRow(SQLModel, table=True):
    """A finding for as long as it had one severity and one detail: when these change, another row supersedes it."""

    __tablename__ = "findings"

    id: int = Field(primary_key=True)
    target: int = Field(foreign_key="targets.id", ondelete="CASCADE", index=True)
    code: str
    subject: str
    severity: str
    detail: str
    raised_at: float
    """The same in every row that supersedes another."""
    changed_at: float | None
    """When it became like this; NULL where it was raised like this."""
    superseded_at: float | None
    cleared_at: float | None


class ActionRow(SQLModel, table=True):
    """How a transaction ended for one component: the columns are those of `actions.journal_state.EndingFacts`."""

    __tablename__ = "actions"

    id: int = Field(primary_key=True)
    target: int = Field(foreign_key="targets.id", ondelete="CASCADE", index=True)
    ended_at: float = Field(index=True)
    transaction: str
    action: str
    outcome: str
    cause: str
    reason: str
    by: str


class DecisionRow(SQLModel, table=True):
    """A decision, when a policy first came to it."""

    __tablename__ = "decisions"

    id: int = Field(primary_key=True)
    subject: str
    """A component, or a target that belongs to none."""
    decided_at: float = Field(index=True)
    policy: str
    action: str
    status: str
    identity: str
    reasons: str
    """One per line: they are printable."""
    waits_for: str


class DayRow(SQLModel, table=True):
    """How many changes of one target began and ended within one day (UTC), and how many of them were left out."""

    __tablename__ = "days"
    __table_args__ = (Index("ix_days_name", "name", "day", unique=True),)

    id: int = Field(primary_key=True)
    name: str
    """Of a target, or of the subject of decisions."""
    day: int
    """Days since 1970-01-01."""
    presentations: int
    others: int
    left_out: int
    at: float
    """When the last change was left out; before the first one, when the first change was counted."""


class FailedLookRow(SQLModel, table=True):
    """A time in which a target could not be looked at, for one reason."""

    __tablename__ = "failed_looks"

    id: int = Field(primary_key=True)
    target: int = Field(foreign_key="targets.id", ondelete="CASCADE", index=True)
    reason: str
    detail: str
    failed_at: float
    superseded_at: float | None
    """When it failed for another reason."""
    recovered_at: float | None


class AlertRow(SQLModel, table=True):
    """An open problem, as a channel was told of it."""

    __tablename__ = "alerts"

    channel: str = Field(primary_key=True)
    """Its name: its URLs are stored nowhere."""
    key: str = Field(primary_key=True)
    content: str
    """JSON, as in the tables below."""


class LetterRow(SQLModel, table=True):
    """A message to a channel, also once it was delivered."""

    __tablename__ = "deliveries"

    id: str = Field(primary_key=True)
    channel: str
    at: float
    fate: str = Field(index=True)
    ended_at: float | None
    content: str


class SilenceRow(SQLModel, table=True):
    """A silence that was asked for while the daemon ran."""

    __tablename__ = "silences"

    id: str = Field(primary_key=True)
    content: str
