"""The tables of an older database, brought to the newest revision. Importing this loads SQLAlchemy."""

from __future__ import annotations

import os

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from monitor.store.database import writing


def engine(path: str) -> Engine:
    """Return SQLAlchemy's way to the database: every transaction takes the write lock as it begins."""
    made = create_engine("sqlite://", creator=lambda: writing(path), poolclass=NullPool)

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that first reads and then writes cannot wait for the lock: it would have to begin anew.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


def migrate(path: str) -> None:
    """Bring the tables to the newest revision, all or nothing."""
    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations").replace("%", "%%"))
    with engine(path).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
