"""The tables of a database file: created, or migrated. Importing this loads SQLModel."""

from __future__ import annotations

import os

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from monitor.store import tables  # noqa: F401 (declares the tables)
from monitor.store.database import REVISIONS, writing


def engine(path: str) -> Engine:
    """Return SQLAlchemy's way to the database: every transaction takes the write lock as it begins."""
    made = create_engine("sqlite://", creator=lambda: writing(path), poolclass=NullPool)

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that first reads and then writes cannot wait for the lock: it would have to begin anew.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


def create(path: str) -> None:
    """Create the tables in an empty database, as the migrations would."""
    with engine(path).begin() as connection:
        SQLModel.metadata.create_all(connection)
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (REVISIONS[-1],))


def migrate(path: str) -> None:
    """Bring the tables to the newest revision, all or nothing."""
    from alembic import command  # noqa: PLC0415 (dear, and needed once in a version's life)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations").replace("%", "%%"))
    with engine(path).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
