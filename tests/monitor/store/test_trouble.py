"""Whatever befalls the database: nothing stops, it is said, and afterwards the database says what is believed."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from config.vocabulary import TargetKind
from monitor.state.events import FindingRaised, StateEvent
from monitor.state.target import TargetState
from monitor.store import Degraded, DegradedReason, Store, history, load
from monitor.store.database import reading, set_aside
from monitor.store.health import degraded
from tests.kit.store import (
    DEADLINE,
    EXPIRING,
    LEAF,
    OTHER,
    Owner,
    added,
    loaded,
    make_certificate,
    presented,
    write,
)

NOBODY = 65534


def is_well(reason: DegradedReason | None) -> bool:
    return reason is None


def is_not_well(reason: DegradedReason | None) -> bool:
    return reason is not None


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "certvigil.db")


def fill(path: str) -> None:
    """Write a database of some hundred pages."""
    write(path, [event for i in range(200) for event in found(f"t{i}")])


def found(target: str) -> tuple[StateEvent, StateEvent]:
    return added(target), presented(target, 2.0, make_certificate(target, 1500))


def overwrite(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 4096)


def aside(path: str, why: str) -> list[str]:
    return sorted(
        each.name for each in Path(path).parent.iterdir() if f".{why}-" in each.name and each.name.endswith("Z")
    )


def test_events_wait_while_another_process_holds_the_lock(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        owner.publish(added("web"), presented("web", 2.0, LEAF))
        owner.wait_until_told(is_not_well)
        owner.publish(presented("web", 3.0, OTHER))
        other.execute("ROLLBACK")
    owner.wait_until_told(is_well)
    assert owner.reasons == [DegradedReason.LOCKED, None]
    assert owner.close()
    assert loaded(path) == owner.registry
    entries = history(path, "web")
    assert isinstance(entries, list)
    assert len(entries) == 3, "nothing is lost by waiting"


def test_of_two_daemons_with_one_state_directory_the_second_waits_and_says_so(path: str) -> None:
    first, second = Owner(path), Owner(path)
    first.store.start()
    first.publish(added("web"))
    wait_for(lambda: isinstance(recorded := load(path), Mapping) and "web" in recorded)
    second.store.start()
    second.publish(added("web"), presented("web", 3.0, LEAF))
    second.wait_until_told(is_not_well)
    health = second.told[-1]
    assert health is not None
    assert health.reason is DegradedReason.LOCKED
    assert health.detail == f"another certvigil records in {os.path.dirname(path)}"
    assert first.close()
    second.wait_until_told(is_well)
    assert second.close()
    assert loaded(path) == second.registry


def test_a_fifo_in_the_place_of_the_database_is_said_and_not_waited_for(path: str) -> None:
    os.mkfifo(path)
    owner = Owner(path)
    assert owner.store.load() == {}
    assert owner.reasons == [DegradedReason.UNAVAILABLE]


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.mark.parametrize(
    "spoil",
    [
        f"DROP TABLE days; CREATE VIEW days AS {ENDLESS}",
        "CREATE TRIGGER t AFTER INSERT ON days BEGIN SELECT 1; END",
        "ALTER TABLE days ADD COLUMN more TEXT AS (hex(zeroblob(400000000)))",
        "CREATE VIRTUAL TABLE more USING fts5(text)",
    ],
    ids=["view", "trigger", "generated column", "virtual table"],
)
def test_a_database_that_computes_is_not_read(path: str, spoil: str) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(spoil)
    answer = history(path)
    assert isinstance(answer, Degraded)
    assert (answer.reason, "computed" in answer.detail) == (DegradedReason.CORRUPT, True)


@pytest.mark.parametrize(
    ("query", "why"), [(ENDLESS, "interrupted"), ("SELECT hex(zeroblob(400000000))", "too big")], ids=["time", "memory"]
)
def test_what_is_read_takes_no_more_than_its_time_and_memory(path: str, query: str, why: str) -> None:
    fill(path)
    with pytest.raises(sqlite3.Error, match=why), reading(path, patience=0.05) as connection:
        connection.execute(query).fetchall()


def test_closing_gives_up_on_a_locked_database_in_time(path: str) -> None:
    write(path, [added("web")])
    owner = Owner(path)
    owner.store.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        owner.publish(added("mail"))
        assert not owner.close()
    assert list(loaded(path)) == ["web"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: overwrite(path, 0), id="header"),
        pytest.param(lambda path: overwrite(path, os.path.getsize(path) // 2 // 4096 * 4096), id="page in the middle"),
        pytest.param(lambda path: os.truncate(path, os.path.getsize(path) // 2 + 100), id="truncated"),
        pytest.param(lambda path: os.truncate(path, 700), id="only a header"),
    ],
)
def test_a_corrupt_database_is_kept_aside_and_written_anew(path: str, damage: Callable[[str], None]) -> None:
    fill(path)
    damage(path)
    damaged = Path(path).read_bytes()
    owner = Owner(path)
    owner.store.load()
    owner.publish(added("web"), presented("web", 2.0, LEAF), FindingRaised("web", 3.0, EXPIRING))
    owner.store.start()
    owner.wait_until_told(is_well)
    assert owner.close()
    assert DegradedReason.CORRUPT in owner.reasons
    assert loaded(path) == owner.registry
    (kept,) = aside(path, "corrupt")
    assert kept == "certvigil.db.corrupt-20010909T014640.000000Z"
    assert Path(path).with_name(kept).read_bytes() == damaged


def test_a_database_that_turns_corrupt_while_written_is_begun_anew(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    owner.publish(added("web"), presented("web", 2.0, LEAF))
    wait_for(lambda: load(path) == owner.registry)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # What a failing disk does to a page, without racing with SQLite's own cache of it.
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'presentations'")
        other.execute("PRAGMA schema_version = 4711")
    owner.publish(added("mail"), presented("mail", 3.0, OTHER))
    owner.wait_until_told(is_well)
    assert owner.reasons == [DegradedReason.CORRUPT, None]
    assert owner.close()
    assert loaded(path) == owner.registry
    assert len(aside(path, "corrupt")) == 1


def test_a_database_that_is_deleted_while_written_is_begun_anew(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    owner.publish(added("web"), presented("web", 2.0, LEAF))
    wait_for(lambda: load(path) == owner.registry)
    for each in Path(path).parent.iterdir():
        each.unlink()
    owner.publish(added("mail"))
    owner.wait_until_told(is_well)
    assert owner.reasons == [DegradedReason.BEHIND, None]
    assert owner.close()
    assert loaded(path) == owner.registry


def test_three_corrupt_databases_are_kept(path: str) -> None:
    for second in range(5):
        Path(path).write_bytes(b"nonsense")
        Path(path + "-wal").write_bytes(b"log")
        set_aside(path, "corrupt", float(second))
    assert aside(path, "corrupt") == [f"certvigil.db.corrupt-19700101T00000{second}.000000Z" for second in (2, 3, 4)]
    assert len(list(Path(path).parent.iterdir())) == 6, "each with its log"


def test_a_full_disk_is_said_and_caught_up_with(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        path = str(disk / "certvigil.db")
        owner = Owner(path)
        owner.store.start()
        owner.publish(added("web"))
        wait_for(lambda: load(path) == owner.registry)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            fill_up_with(ballast)
        owner.publish(presented("web", 2.0, make_certificate("a.example", 200_000)))
        owner.wait_until_told(is_not_well)
        assert owner.reasons == [DegradedReason.FULL]
        assert history(path) != [], "what was recorded can still be read"
        ballast.unlink()
        owner.wait_until_told(is_well)
        assert owner.close()
        assert loaded(path) == owner.registry


def fill_up_with(ballast: Path) -> None:
    with open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if mount is None or umount is None:
        pytest.skip("no mount command")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run([umount, "--lazy", str(disk)], check=True)


def test_a_disk_that_fails_to_take_more_is_said_and_caught_up_with(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    owner.publish(added("web"))
    wait_for(lambda: load(path) == owner.registry)
    with file_size_limit(os.path.getsize(path) + 100_000):
        owner.publish(presented("web", 2.0, make_certificate("a.example", 500_000)))
        owner.wait_until_told(is_not_well)
    owner.wait_until_told(is_well)
    assert owner.reasons in ([DegradedReason.UNAVAILABLE, None], [DegradedReason.FULL, None])
    assert owner.close()
    assert loaded(path) == owner.registry


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_sqlite_says_that_the_disk_is_full() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 3")
        connection.execute("CREATE TABLE big (content)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO big VALUES (zeroblob(100000))")
    assert degraded(caught.value) == Degraded(DegradedReason.FULL, "database or disk is full")


def test_a_directory_that_cannot_be_made_is_said_until_it_can(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("")
    path = str(in_the_way / "certvigil.db")
    owner = Owner(path)
    assert owner.store.load() == {}
    owner.store.start()
    owner.publish(added("web"))
    owner.wait_until_told(is_not_well)
    in_the_way.unlink()
    owner.wait_until_told(is_well)
    assert set(owner.reasons) == {DegradedReason.UNAVAILABLE, None}
    assert owner.close()
    assert loaded(path) == owner.registry


def test_a_database_that_may_only_be_read_is_said() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/certvigil.db"
        write(path, [added("web")])
        for each, mode in ((directory, 0o700), (path, 0o400)):
            os.chmod(each, mode)
            os.chown(each, NOBODY if os.geteuid() == 0 else -1, -1)
        with unprivileged():
            owner = Owner(path)
            assert list(owner.store.load()) == ["web"]
            owner.store.start()
            owner.publish(added("mail"))
            owner.wait_until_told(is_not_well)
            assert owner.reasons == [DegradedReason.READ_ONLY]
            assert not owner.close()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_too_many_events_to_keep_become_one_snapshot(path: str) -> None:
    owner = Owner(path, limit=5)
    for number in range(10):
        owner.publish(added(f"t{number}"), presented(f"t{number}", 2.0, LEAF))
    owner.store.start()
    owner.wait_until_told(is_well)
    assert owner.reasons == [DegradedReason.BEHIND, None]
    assert owner.close()
    assert loaded(path) == owner.registry


def test_what_was_not_believed_any_more_is_closed_when_catching_up(path: str) -> None:
    write(path, [added("old"), added("web"), presented("web", 2.0, LEAF), FindingRaised("web", 2.0, EXPIRING)])
    owner = Owner(path, limit=1)
    owner.publish(added("web"), presented("web", 5.0, OTHER))
    owner.store.start()
    owner.wait_until_told(is_well)
    assert owner.close()
    assert loaded(path) == owner.registry
    entries = history(path, since=1e9)
    assert isinstance(entries, list)
    assert {(entry.target, str(entry.what)) for entry in entries} == {("old", "removed"), ("web", "cleared")}


def test_a_snapshot_or_a_listener_that_fails_ends_nothing(path: str) -> None:
    calls: list[object] = []

    def snapshot() -> Iterable[TargetState]:
        calls.append("snapshot")
        if len(calls) < 3:
            raise RuntimeError("not now")
        return [TargetState("web", TargetKind.FILE, "/etc/web.pem", presented=(LEAF,), since=2.0, last_look=3.0)]

    def on_health(health: Degraded | None) -> None:
        calls.append(health)
        raise RuntimeError("event loop is closed")

    store = Store(path, snapshot=snapshot, on_health=on_health, limit=0)
    store.record([added("web")])
    store.start()
    wait_for(lambda: calls[-1:] == [None])
    assert store.close(DEADLINE)
    assert loaded(path)["web"].presented == (LEAF,)


def test_a_database_of_a_newer_version_is_kept_aside_untouched(path: str) -> None:
    write(path, [added("web")])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = Path(path).read_bytes()
    owner = Owner(path)
    assert owner.store.load() == {}
    assert owner.reasons == [DegradedReason.OTHER_REVISION]
    owner.store.start()
    owner.publish(added("mail"))
    owner.wait_until_told(is_well)
    assert owner.close()
    assert loaded(path) == owner.registry
    (kept,) = aside(path, "newer")
    assert Path(path).with_name(kept).read_bytes() == newer


def test_being_killed_at_any_moment_leaves_a_sound_database(path: str) -> None:
    script = """
import sys
from tests.kit.store import *
prepare(sys.argv[1], 0.0)
writer = RowWriter(sys.argv[1])
for number in range(10**9):
    name = f"t{number % 50}"
    writer.write([added(name), presented(name, number, make_certificate(f"host{number}.example", 3000))])
    print(number, flush=True)
"""
    recorded = -1
    for enough in (3, 40, 300):
        with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                recorded = int(line)
                if recorded >= enough:
                    break
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                recorded = int(line)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        known = loaded(path)[f"t{recorded % 50}"]
        assert known.since >= recorded, "what was committed before the kill is there"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
