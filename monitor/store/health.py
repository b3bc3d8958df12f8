"""Why the database cannot be used just now, as a value."""

from __future__ import annotations

import errno
import sqlite3
from enum import StrEnum
from typing import Final

from config.immutable import immutable
from config.text import printable


class DegradedReason(StrEnum):
    """Why the database cannot be read or written."""

    MISSING = "missing"
    """There is no database."""
    LOCKED = "locked"
    """Another process keeps it locked."""
    FULL = "full"
    """The disk is full."""
    READ_ONLY = "read_only"
    CORRUPT = "corrupt"
    OTHER_REVISION = "other_revision"
    """Its tables are those of another version of certvigil."""
    UNAVAILABLE = "unavailable"
    """It cannot be opened, or the disk fails."""
    BEHIND = "behind"
    """Changes were not recorded one by one; the states of now are being written instead."""
    FAILED = "failed"
    """Anything else."""


@immutable
class Degraded:
    """The database cannot be used, or lacks something."""

    reason: DegradedReason
    detail: str
    """A sentence, printable."""


class UnusableError(Exception):
    """The content is not as certvigil writes it."""

    def __init__(self, reason: DegradedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_BY_RESULT_CODE: Final = {
    sqlite3.SQLITE_BUSY: DegradedReason.LOCKED,
    sqlite3.SQLITE_LOCKED: DegradedReason.LOCKED,
    sqlite3.SQLITE_FULL: DegradedReason.FULL,
    sqlite3.SQLITE_READONLY: DegradedReason.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: DegradedReason.CORRUPT,
    sqlite3.SQLITE_NOTADB: DegradedReason.CORRUPT,
    sqlite3.SQLITE_CANTOPEN: DegradedReason.UNAVAILABLE,
    sqlite3.SQLITE_PERM: DegradedReason.UNAVAILABLE,
    sqlite3.SQLITE_IOERR: DegradedReason.UNAVAILABLE,
}
_BY_ERRNO: Final = {
    errno.ENOENT: DegradedReason.MISSING,
    errno.ENOSPC: DegradedReason.FULL,
    errno.EDQUOT: DegradedReason.FULL,
    errno.EROFS: DegradedReason.READ_ONLY,
}


def degraded(error: BaseException) -> Degraded:
    """Return the meaning of `error` (of sqlite3, of the system, or wrapped by SQLAlchemy) for the database."""
    cause = getattr(error, "orig", None) or error
    match cause:
        case UnusableError():
            reason = cause.reason
        case sqlite3.Error():
            # The low byte is the primary result code (https://www.sqlite.org/rescode.html).
            primary = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            reason = _BY_RESULT_CODE.get(primary, DegradedReason.FAILED)
        case OSError():
            reason = _BY_ERRNO.get(cause.errno or 0, DegradedReason.UNAVAILABLE)
        case _:
            reason = DegradedReason.FAILED
    return Degraded(reason, printable(str(cause) or type(cause).__name__, 300))
