from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from weakref import WeakValueDictionary

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.text import Printable
from config.vocabulary import Code, KeyKind, TargetKind
from monitor.lab.ca import Authority
from monitor.state.events import (
    ActionEnded,
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    KeptVerdict,
    LookFailed,
    LookRecovered,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.state.target import TargetState
from monitor.store import Degraded, DegradedReason, HistoryPlace, RowCounts, What, counts, history, load
from monitor.store.catchup import differences
from monitor.store.database import prepare
from monitor.store.writer import RowWriter
from probes.certificate import Certificate, Key, certificate
from probes.observation import FileIdentity
from probes.tls.support import Supported, SupportedVersion
from tests.kit.examples import examples
from tests.kit.odd_certificates import ODDITIES, odd_certificate
from tests.kit.store import (
    EXPIRING,
    EXPIRING_SOON,
    ISSUER,
    LEAF,
    OTHER,
    Owner,
    added,
    believe,
    loaded,
    presented,
    write,
)

IDENTITY = FileIdentity(device=2**64 - 1, inode=2**64 - 2, mtime_ns=3, ctime_ns=4, size=5)
"""Some file systems number their inodes with all 64 bits."""

SUPPORTED = Supported(
    Printable("192.0.2.1"),
    (
        SupportedVersion("TLSv1.3", ("TLS_AES_128_GCM_SHA256",), ("X25519MLKEM768",), signatures=("ed25519",)),
        SupportedVersion("TLSv1.2", ("DHE-RSA-AES128-SHA",), prime_bits=2048),
    ),
    (Printable("does not answer"),),
    7,
    5.25,
)
EVENTS = st.sampled_from(["web", "mail", "ca"]).flatmap(
    lambda target: st.sampled_from(
        [
            added(target),
            added(target),
            TargetAdded(target, 1.0, TargetKind.ENDPOINT, "web.example:443", "portal"),
            TargetRemoved(target, 1.0),
            presented(target, 1.0, LEAF, ISSUER),
            presented(target, 1.0, ISSUER, LEAF),
            presented(target, 1.0, OTHER),
            presented(target, 1.0),
            FileJudged(target, 1.0, IDENTITY, None),
            FileJudged(target, 1.0, IDENTITY, KeptVerdict("by these", 1.0, 2.5, 3)),
            FileJudged(target, 1.0, None, None),
            SupportedChanged(target, 1.0, SUPPORTED),
            SupportedChanged(target, 1.0, None),
            FindingRaised(target, 1.0, EXPIRING),
            FindingRaised(target, 1.0, replace(EXPIRING, subject=Printable("1"))),
            FindingChanged(target, 1.0, EXPIRING, EXPIRING_SOON),
            FindingCleared(target, 1.0, EXPIRING, 0.5),
            LookFailed(target, 1.0, "timed_out", "no answer"),
            LookFailed(target, 1.0, "not_tls", "an answer of another kind"),
            LookRecovered(target, 1.0),
        ]
    )
)
BATCHES = st.lists(st.lists(EVENTS, max_size=12), max_size=4)


def in_time(batches: Sequence[Sequence[StateEvent]]) -> list[list[StateEvent]]:
    """Let a second pass from event to event."""
    clock = iter(range(1, 10_000))
    return [[at_time(event, float(next(clock))) for event in batch] for batch in batches]


def at_time(event: StateEvent, at: float) -> StateEvent:
    assert not isinstance(event, ActionEnded)
    return replace(event, at=at)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a database without content, to copy: creating one takes longer than most examples."""
    path = str(tmp_path_factory.mktemp("store") / "empty.db")
    prepare(path, 0.0)
    return path


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "certvigil.db")


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_what_is_loaded_equals_a_simple_model_of_the_events(empty: str, batches: list[list[StateEvent]]) -> None:
    model: dict[str, TargetState] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = shutil.copy(empty, directory)
        write(path, *in_time(batches))
        for batch in in_time(batches):
            for event in batch:
                believe(model, event)
        assert loaded(path) == model


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recorded=BATCHES, believed=BATCHES)
def test_catching_up_makes_any_database_say_what_is_believed(
    empty: str, recorded: list[list[StateEvent]], believed: list[list[StateEvent]]
) -> None:
    registry: dict[str, TargetState] = {}
    for batch in in_time(believed):
        for event in batch:
            believe(registry, event)
    looked_at = [replace(known, last_look=99.0) for known in registry.values()]
    with tempfile.TemporaryDirectory() as directory:
        path = shutil.copy(empty, directory)
        write(path, *in_time(recorded))
        write(path, list(differences(loaded(path), looked_at, 99.0)))
        assert {name: without_times(known) for name, known in loaded(path).items()} == {
            name: without_times(known) for name, known in registry.items()
        }
        assert not list(differences(loaded(path), looked_at, 100.0))


def without_times(known: TargetState) -> object:
    findings = {key: raised.finding for key, raised in known.findings.items()}
    reason = known.failure and known.failure[0]
    return known.kind, known.location, known.component, known.presented, known.identity, findings, reason


def test_catching_up_keeps_what_is_recorded_of_a_target_not_yet_looked_at(path: str) -> None:
    write(path, [added("web"), presented("web", 2.0, LEAF), FindingRaised("web", 2.0, EXPIRING)])
    unseen = TargetState("web", TargetKind.FILE, "/etc/web.pem")
    assert not list(differences(loaded(path), [unseen], 9.0))


def test_a_certificate_comes_back_with_each_of_its_facts(path: str) -> None:
    odd = Certificate(
        b"\x30\x00odd",
        "ab" * 32,
        Printable(""),
        Printable("O=a\\x0ab"),
        "",
        None,
        None,
        (),
        Key(KeyKind.UNKNOWN, 0),
        Printable(""),
        is_ca=True,
        self_issued=True,
        failures=(Printable("notBefore cannot be decoded: 1"), Printable("notAfter cannot be decoded: 2")),
    )
    write(path, [added("web"), presented("web", 2.0, LEAF, odd)])
    facts = [[getattr(each, field.name) for field in fields(Certificate)] for each in (LEAF, odd)]
    script = (
        "import sys; from dataclasses import fields; from monitor.store import load\n"
        "chain = load(sys.argv[1])['web'].presented\n"
        "print([[getattr(each, field.name) for field in fields(each)] for each in chain])\n"
        "print(sorted({'sqlmodel', 'sqlalchemy', 'alembic', 'pydantic'} & sys.modules.keys()))"
    )
    output = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == [str(facts), "[]"], "in another process, which holds no equal value, without SQLModel"


def test_certificates_are_loaded_as_the_values_already_held(path: str) -> None:
    write(path, [added("web"), presented("web", 2.0, LEAF), added("mail"), presented("mail", 2.0, LEAF)])
    known = loaded(path)
    assert known["web"].presented[0] is known["mail"].presented[0]


def test_names_that_are_no_unicode_come_back_exactly(path: str) -> None:
    name = os.fsdecode(b"/etc/ssl/caf\xe9.pem")
    write(path, [TargetAdded(name, 1.0, TargetKind.FILE, name, None), presented(name, 2.0, LEAF)])
    assert loaded(path)[name].location == name
    entries = history(path, name)
    assert isinstance(entries, list)
    assert [entry.target for entry in entries] == [name, name]
    assert "caf\\udce9" in entries[1].sentence


def test_a_target_that_is_removed_and_added_at_once_is_known_afresh(path: str) -> None:
    write(path, [added("web"), presented("web", 2.0, LEAF)], [TargetRemoved("web", 3.0), added("web", 3.0)])
    assert loaded(path) == {"web": TargetState("web", TargetKind.FILE, "/etc/web.pem")}


def test_the_same_events_again_add_no_row(path: str) -> None:
    batch: list[StateEvent] = [
        added("web"),
        presented("web", 2.0, LEAF, ISSUER),
        FindingRaised("web", 2.0, EXPIRING),
        LookFailed("web", 3.0, "timed_out", "no answer"),
    ]
    write(path, batch)
    before = counts(path)
    write(path, batch)
    assert counts(path) == before == RowCounts(certificates=2, targets=1, presentations=1, findings=1, failed_looks=1)


def test_history_tells_what_happened_newest_first(path: str) -> None:
    write(
        path,
        [
            added("web", 1.0),
            presented("web", 2.0, LEAF, ISSUER),
            FindingRaised("web", 3.0, EXPIRING),
            FindingChanged("web", 4.0, EXPIRING, EXPIRING_SOON),
            LookFailed("web", 5.0, "timed_out", "no answer"),
            LookFailed("web", 6.0, "not_tls", "\x1b[31mred"),
            LookRecovered("web", 7.0),
            FindingCleared("web", 8.0, EXPIRING_SOON, 3.0),
            TargetRemoved("web", 9.0),
            added("mail", 10.0),
        ],
    )
    entries = history(path, "web")
    assert isinstance(entries, list)
    assert [(entry.at, entry.what, entry.sentence) for entry in entries] == [
        (9.0, What.REMOVED, "no longer watched"),
        (8.0, What.CLEARED, "cleared: expiring (0): ends on 2027-01-15"),
        (7.0, What.RECOVERED, "could be looked at again (was not_tls)"),
        (6.0, What.FAILED, "could not be looked at (not_tls): \\x1b[31mred"),
        (5.0, What.FAILED, "could not be looked at (timed_out): no answer"),
        (4.0, What.CHANGED, "now critical: expiring (0): ends on 2027-01-15"),
        (3.0, What.RAISED, "warning: expiring (0): ends on 2027-01-15"),
        (2.0, What.PRESENTED, "presents CN=a.example, valid until 2027-01-15 08:00:00Z, and 1 more"),
        (1.0, What.ADDED, "watched from now on: file /etc/web.pem"),
    ]
    assert entries[7].certificates == (LEAF.sha256, ISSUER.sha256)
    assert (entries[5].code, entries[5].severity, entries[5].subject) == (Code.EXPIRING, "critical", "0")


def test_history_can_be_narrowed(path: str) -> None:
    write(path, [added("web", 1.0), added("mail", 2.0), added("ca", 3.0), presented("web", 4.0)])
    for arguments, targets in (
        ({}, ["web", "ca", "mail", "web"]),
        ({"limit": 2}, ["web", "ca"]),
        ({"since": 2.0}, ["web", "ca", "mail"]),
        ({"until": 2.0}, ["web"]),
        ({"since": 2.0, "until": 4.0}, ["ca", "mail"]),
        ({"target": "web"}, ["web", "web"]),
        ({"what": What.PRESENTED, "limit": 1}, ["web"]),
        ({"what": What.ADDED, "limit": 3}, ["ca", "mail", "web"]),
        ({"place": HistoryPlace(2.0, 1), "limit": 1}, ["web"]),
        ({"place": HistoryPlace(3.0, 0)}, ["ca", "mail", "web"]),
    ):
        entries = history(path, **arguments)
        assert isinstance(entries, list)
        assert [entry.target for entry in entries] == targets, arguments


def test_pruning_forgets_what_ended_and_keeps_what_is_true_now(path: str) -> None:
    gone: list[StateEvent] = [added("gone", 1.0), presented("gone", 1.0, ISSUER), TargetRemoved("gone", 4.0)]
    web: list[StateEvent] = [
        added("web", 1.0),
        presented("web", 1.0, OTHER),
        FindingRaised("web", 1.0, EXPIRING),
        FindingChanged("web", 2.0, EXPIRING, EXPIRING_SOON),
        FindingCleared("web", 3.0, EXPIRING_SOON, 1.0),
        FindingRaised("web", 3.0, replace(EXPIRING, subject=Printable("1"))),
        LookFailed("web", 2.0, "timed_out", ""),
        LookRecovered("web", 4.0),
        presented("web", 5.0, LEAF),
    ]
    write(path, [*gone, *web])
    before = loaded(path)
    with closing(RowWriter(path)) as writer:
        writer.prune(4.0)
        assert counts(path) == RowCounts(certificates=3, targets=2, presentations=3, findings=1, failed_looks=1)
        writer.prune(100.0)
    assert counts(path) == RowCounts(certificates=1, targets=1, presentations=1, findings=1, failed_looks=0)
    assert loaded(path) == before


def test_the_writer_prunes_when_asked(path: str) -> None:
    owner = Owner(path)
    owner.publish(added("web"), presented("web", 2.0, OTHER), presented("web", 3.0, LEAF))
    owner.store.prune(10.0)
    owner.store.start()
    assert owner.close()
    assert counts(path) == RowCounts(certificates=1, targets=1, presentations=1, findings=0, failed_looks=0)


def test_what_was_recorded_is_loaded_after_a_restart(path: str) -> None:
    owner = Owner(path)
    assert owner.store.load() == {}
    owner.store.start()
    judged = FileJudged("web", 2.0, IDENTITY, KeptVerdict("by these", 2.0, None, None))
    owner.publish(added("web"), presented("web", 2.0, LEAF, ISSUER), judged)
    owner.publish(FindingRaised("web", 3.0, EXPIRING), LookFailed("web", 4.0, "timed_out", "no answer"))
    owner.publish(SupportedChanged("web", 5.25, SUPPORTED))
    assert owner.close()
    found = Owner(path).store.load()
    assert found == owner.registry
    kept = found["web"].supported
    assert kept is not None
    assert (kept.at, kept.connections) == (5.25, 7)
    assert owner.told == []


def test_a_store_with_nothing_to_write_touches_nothing(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    assert owner.close()
    assert not os.path.exists(os.path.dirname(path))


def test_events_after_closing_are_ignored(path: str) -> None:
    owner = Owner(path)
    owner.store.start()
    owner.publish(added("web"))
    assert owner.close()
    owner.publish(added("mail"))
    assert list(loaded(path)) == ["web"]


def test_only_the_owner_may_read_the_file(path: str) -> None:
    write(path, [added("web")])
    os.chmod(path, 0o644)
    with closing(RowWriter(path)) as writer:
        writer.write([added("mail")])
        modes = {
            name: os.stat(f"{os.path.dirname(path)}/{name}").st_mode & 0o777 for name in os.listdir(Path(path).parent)
        }
    assert modes == {"certvigil.db": 0o600, "certvigil.db-wal": 0o600, "certvigil.db-shm": 0o600}
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_one_can_read_while_another_process_writes(path: str) -> None:
    write(path, [added("web")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM targets")
        assert list(loaded(path)) == ["web"]


def test_a_database_that_cannot_be_read_is_a_value(tmp_path: Path) -> None:
    missing, nonsense = str(tmp_path / "missing.db"), str(tmp_path / "nonsense.db")
    Path(nonsense).write_bytes(b"nonsense" * 1000)
    for read in (load, counts, history):
        absent, corrupt = read(missing), read(nonsense)
        assert isinstance(absent, Degraded)
        assert absent.reason is DegradedReason.MISSING
        assert isinstance(corrupt, Degraded)
        assert corrupt.reason is DegradedReason.CORRUPT
    assert not os.path.exists(missing)


def test_a_row_that_makes_no_sense_is_corruption(path: str) -> None:
    write(path, [added("web"), presented("web", 2.0, LEAF)])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE presentations SET certificates = '[7]'")
    result = load(path)
    assert isinstance(result, Degraded)
    assert result.reason is DegradedReason.CORRUPT


def test_reading_and_writing_load_no_database_library() -> None:
    script = (
        "import monitor.store.writer, sys; print(sorted({'sqlmodel', 'sqlalchemy', 'alembic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_certificate_that_breaks_a_rule_of_encoding_comes_back_with_all_its_facts(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = certificate(odd_certificate(Authority.root(), ODDITIES["a true that is 1"], "www.example.com").der())
    write(path, [added("web"), presented("web", 2.0, odd, LEAF)])
    # As in a process that has not read it.
    monkeypatch.setattr("probes.certificate._known", WeakValueDictionary())
    restored, plain = loaded(path)["web"].presented
    assert restored is not odd
    assert (restored.encoding_faults, restored.reencoded, restored.is_strict) == (
        odd.encoding_faults,
        odd.reencoded,
        False,
    )
    assert (plain, plain.is_strict) == (LEAF, True)
