"""The script that alembic runs: the caller's connection, in the caller's transaction."""

from alembic import context
from sqlmodel import SQLModel

from monitor.store import tables  # noqa: F401 (declares the tables)

context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, transactional_ddl=True
)
context.run_migrations()
