"""The database as a file: opened, made ready, kept aside. Importing this loads no library."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from glob import escape, glob
from typing import Final
from urllib.parse import quote

from config.text import Log, printable
from monitor.store.health import DegradedReason, UnusableError

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Oldest first, as in `migrations/versions`: alembic, which knows them too, is dear to import."""

_TABLES: Final = os.path.join(os.path.dirname(__file__), "tables.sql")
_BASE: Final = "base"
_KEPT_ASIDE: Final = 3
_WRITER_WAITS: Final = 0.5
_READER_WAITS: Final = 2.0
_READER_ENDS: Final = 60.0
"""Seconds for all that is read in one transaction: root reads what the daemon's user may have made."""
_LONGEST_VALUE: Final = 64 * 1024 * 1024
_STEPS: Final = 100_000
"""Of SQLite's virtual machine, some milliseconds, between two looks at the clock."""
_WAL_LIMIT: Final = 16 * 1024 * 1024
_log: Final[Log] = logging.getLogger("certvigil.store")

_COMPUTING: Final = """
SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index') OR rootpage = 0
UNION ALL
SELECT 1 FROM sqlite_master AS found, pragma_table_xinfo(found.name) AS it WHERE found.type = 'table' AND it.hidden <> 0
LIMIT 1
"""
"""Finds what certvigil never creates: views and triggers, virtual tables, which have no page, and generated columns."""

DATABASE_ENDINGS: Final = ("", "-wal", "-shm", "-journal")
"""Of the names of the files that make up a database."""


def database_path(state_directory: str) -> str:
    """Return where the database lies."""
    return os.path.join(state_directory, "certvigil.db")


@contextmanager
def reading(path: str, patience: float = _READER_ENDS) -> Iterator[sqlite3.Connection]:
    """Open the database for reading only, in one consistent transaction, beside whoever writes to it.

    What takes longer than `patience`, in seconds, is interrupted, and nothing that computes is read. Raises OSError,
    sqlite3.Error, or UnusableError where its tables are not those that this version reads.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        # SQLite would wait for a writer to a FIFO.
        raise UnusableError(DegradedReason.UNAVAILABLE, "the database is not a regular file")
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_READER_WAITS, isolation_level=None)) as connection:
        deadline = time.monotonic() + patience
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        if connection.execute(_COMPUTING).fetchone() is not None:
            raise UnusableError(DegradedReason.CORRUPT, "it has a view, a trigger, or a column that is computed")
        found = _revision(connection)
        if found is None:
            raise UnusableError(DegradedReason.MISSING, "the database is still empty")
        if found != REVISIONS[-1]:
            raise UnusableError(
                DegradedReason.OTHER_REVISION, f"its tables are at revision {found}, this version reads {REVISIONS[-1]}"
            )
        yield connection


def claim(path: str) -> int:
    """Return a descriptor that, while it is open, keeps other daemons from writing to the database at `path`.

    Raises UnusableError where another one does, and OSError.
    """
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UnusableError(DegradedReason.LOCKED, f"another certvigil records in {directory}") from None
    except OSError as error:
        _log.debug(
            "%s is not claimed, its file system has no such locks: %s",
            printable(directory),
            printable(str(error.strerror)),
        )
    return descriptor


def writing(path: str) -> sqlite3.Connection:
    """Open the database for writing, with no transaction begun; a file that is missing is created, mode 0600.

    Raises OSError or sqlite3.Error.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
    # An existing file is never opened here: closing it would drop the locks of this process's other connections
    # (https://www.sqlite.org/howtocorrupt.html, 2.2).
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o600)
    connection = sqlite3.connect(path, timeout=_WRITER_WAITS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(path: str, now: float) -> bool:
    """Make the file a database at the newest revision; return whether it had to be created.

    One that a newer version wrote is kept aside. Raises UnusableError where it is corrupt, OSError, and the errors of
    sqlite3, and of SQLAlchemy and alembic where an older one is migrated.
    """
    with closing(writing(path)) as connection:
        found = _revision(connection)
        sound = next(connection.execute("PRAGMA quick_check(1)"))[0]
    if sound != "ok":
        raise UnusableError(DegradedReason.CORRUPT, sound)
    if found == REVISIONS[-1]:
        return False
    if found == _BASE or found in REVISIONS:
        from monitor.store.schema import migrate  # noqa: PLC0415 (loads alembic, needed once in a version's life)

        migrate(path)
        return False
    if found is not None:
        _log.warning("the database is of another version (revision %s)", printable(found))
        set_aside(path, "newer", now)
    _create(path)
    return True


def _create(path: str) -> None:
    """Create the tables in an empty database, all or none, as the migrations would."""
    with open(_TABLES, encoding="utf-8") as file:
        tables = file.read()
    with closing(writing(path)) as connection:
        revision = f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}');"  # noqa: S608 (our own text)
        connection.executescript(f"BEGIN IMMEDIATE; {tables} {revision} COMMIT;")


def set_aside(path: str, why: str, now: float) -> None:
    """Rename the database and its side files to `<path>.<why>-<UTC time>`; of these, the newest three are kept."""
    aside = f"{path}.{why}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S.%fZ}"
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    _log.warning("the database was kept aside as %s", printable(aside))
    kept = sorted(glob(f"{escape(path)}.{why}-*Z"))
    for old in kept[:-_KEPT_ASIDE]:
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.unlink(old + suffix)


def _revision(connection: sqlite3.Connection) -> str | None:
    """Return the revision of the tables, `base` for tables without one, None for a database without tables."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not tables:
        return None
    if "alembic_version" not in tables:
        return "unknown"
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else _BASE
