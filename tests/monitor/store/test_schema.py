from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from monitor.store import schema
from monitor.store.database import REVISIONS, prepare, writing
from tests.kit.store import Owner, added, loaded


@pytest.fixture
def migrated(tmp_path: Path) -> str:
    path = str(tmp_path / "migrated.db")
    schema.migrate(path)
    return path


def structure(path: str) -> dict[str, object]:
    """Return what SQLite knows of each table and index, spelling apart."""
    with closing(sqlite3.connect(path)) as connection:

        def ask(question: str) -> list[tuple[object, ...]]:
            return connection.execute(question).fetchall()

        tables = [str(name) for (name,) in ask("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        indexes = ask("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name")
        return {
            "indexes": indexes,
            "revision": ask("SELECT version_num FROM alembic_version"),
            **{
                table: [
                    ask(f"PRAGMA table_xinfo({table})"),
                    ask(f"PRAGMA foreign_key_list({table})"),
                    # In which order they were made is of no account.
                    sorted(each[1:] for each in ask(f"PRAGMA index_list({table})")),
                ]
                for table in tables
            },
        }


def test_migrating_from_nothing_gives_the_tables_that_creating_gives(migrated: str, tmp_path: Path) -> None:
    created = str(tmp_path / "created.db")
    assert prepare(created, 0.0)
    assert structure(migrated) == structure(created)


def test_the_migrations_and_the_models_agree(migrated: str) -> None:
    with schema.engine(migrated).begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_the_revisions_known_without_alembic_are_those_that_alembic_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(known)) == REVISIONS


def test_an_older_database_is_migrated_when_it_is_loaded(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    with closing(writing(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    owner = Owner(path)
    assert owner.store.load() == {}
    owner.store.start()
    owner.publish(added("web"))
    assert owner.close()
    assert loaded(path) == owner.registry
    assert owner.told == []
    assert {each.name for each in tmp_path.iterdir()} <= {"certvigil.db", "certvigil.db-wal", "certvigil.db-shm"}


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    with closing(writing(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("CREATE TABLE findings (in_the_way)")
    before = Path(path).read_bytes()
    owner = Owner(path)
    assert owner.store.load() == {}
    assert len(owner.told) == 1
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert Path(path).read_bytes() == before


def test_a_foreign_database_is_not_written_to(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE somebody_elses (content)")
    assert prepare(path, 0.0)
    kept = tmp_path / "certvigil.db.newer-19700101T000000.000000Z"
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("somebody_elses",)]
