"""The memory: the certificates and findings of each target, with their times, in SQLite.

Importing this package is cheap: reading and writing are plain SQL. Alembic and SQLAlchemy are loaded only when a
database of an older certvigil is met, which is migrated.
"""

from monitor.state.events import What
from monitor.store.database import DATABASE_ENDINGS, database_path
from monitor.store.health import Degraded, DegradedReason
from monitor.store.history import HistoryEntry, HistoryPlace, history, names
from monitor.store.reader import RowCounts, counts, load
from monitor.store.store import Store

__all__ = [
    "DATABASE_ENDINGS",
    "Degraded",
    "DegradedReason",
    "HistoryEntry",
    "HistoryPlace",
    "RowCounts",
    "Store",
    "What",
    "counts",
    "database_path",
    "history",
    "load",
    "names",
]
