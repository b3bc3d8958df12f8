"""What the daemon believes of files that it may not read: what the actor tells, and while it is away, what holds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

import pytest

import monitor.look.reading
from config.model import Artefacts, Component, FileTarget
from config.text import Printable, harmless
from config.vocabulary import Code, FileContent, FileRole, Keys, Severity, TargetKind, UnreadableReason
from monitor.actor.facts import facts_of, to_document
from monitor.lab.ca import Authority, KeyType, new_key
from monitor.look.reading import MISSED_AFTER, STALE_AFTER, ArtefactReader, Here, LastReading, believed
from monitor.state.cure import cure
from monitor.state.messages import ReadingDue
from monitor.state.sets import SetRegistry
from monitor.state.target import TargetState
from probes.assess_set import SetContext, assess_set
from probes.certificate import Certificate, certificate
from probes.judge.source import judge_unread
from probes.observation import FileIdentity, FileObservation, Unreadable
from probes.set import SetReading, read_set
from tests.kit.monitors import Kept as Reported
from tests.kit.monitors import config_with, registry_of

NOW: Final = 1_700_000_000.0
LEAF: Final = Authority.root().intermediate().issue("www.example.com", key=KeyType.P256)
CRT: Final = FileTarget("web/certificate", "/tls/site.crt", FileRole.CERTIFICATE, "web")
KEY: Final = FileTarget("web/key", "/tls/site.key", FileRole.KEY, "web")
PAIR: Final = (CRT, KEY)
DENIED: Final = Unreadable(UnreadableReason.PERMISSION_DENIED, Printable("reading it is not permitted"))
WHY: Final = "no actor answers on /run/a.sock: start it"


def identity(inode: int) -> FileIdentity:
    return FileIdentity(1, inode, 0, 0, 100)


def seen(target: FileTarget, inode: int, **more: Any) -> FileObservation:
    if target.role is FileRole.KEY:
        return FileObservation(target.name, NOW, identity(inode), FileContent.KEY, keys=("a" * 64,), **more)
    return FileObservation(
        target.name, NOW, identity(inode), FileContent.LEAF, certificates=(certificate(LEAF.der()),), **more
    )


def denied(target: FileTarget) -> FileObservation:
    return FileObservation(target.name, NOW, None, FileContent.NOTHING, failure=DENIED)


READ: Final = SetReading((seen(CRT, 1), seen(KEY, 2)))
KEPT: Final = LastReading(PAIR, READ, NOW)


def believe(
    here: Sequence[FileObservation],
    identities: Sequence[FileIdentity | Unreadable],
    kept: LastReading | None = KEPT,
    after: float = 10.0,
    *,
    early: bool = False,
) -> tuple[FileObservation, ...]:
    found = Here(SetReading(tuple(here)), tuple(identities))
    return believed(found, PAIR, kept, harmless(WHY), NOW + after, early=early).observations


def reason(observation: FileObservation) -> UnreadableReason | None:
    return None if observation.failure is None else observation.failure.reason


def test_what_the_daemon_may_read_it_reads_and_the_key_stays_as_the_actor_read_it() -> None:
    crt, key = believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)])
    assert crt == seen(CRT, 1)
    assert (key.keys, reason(key)) == (("a" * 64,), UnreadableReason.NO_READER)
    assert key.failure is not None
    assert "2023-11-14" in key.failure.detail, "since when"
    assert WHY in key.failure.detail


@pytest.mark.parametrize(
    ("here", "identities"),
    [
        pytest.param([seen(CRT, 9), denied(KEY)], [identity(9), identity(2)], id="the certificate"),
        pytest.param([seen(CRT, 1), denied(KEY)], [identity(1), identity(9)], id="the key"),
        pytest.param([seen(CRT, 9), denied(KEY)], [identity(9), DENIED], id="the certificate, the key unseen"),
    ],
)
def test_where_a_file_of_the_set_is_another_by_now_no_old_key_is_compared_with_it(
    here: Sequence[FileObservation], identities: Sequence[FileIdentity | Unreadable]
) -> None:
    _, key = believe(here, identities)
    assert (key.keys, reason(key)) == ((), UnreadableReason.NO_READER)


def test_below_a_closed_directory_everything_stays_as_the_actor_read_it() -> None:
    crt, key = believe([denied(CRT), denied(KEY)], [DENIED, DENIED])
    assert crt.certificates == READ.observations[0].certificates
    assert key.keys == ("a" * 64,)


def test_an_actor_that_stays_away_is_missed() -> None:
    _, key = believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], after=STALE_AFTER + 1)
    assert (key.keys, reason(key)) == (("a" * 64,), UnreadableReason.PERMISSION_DENIED)
    _, key = believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], None)
    assert reason(key) is UnreadableReason.PERMISSION_DENIED
    _, key = believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], None, early=True)
    assert reason(key) is UnreadableReason.NO_READER


def test_what_was_wrong_when_the_actor_read_it_stays_wrong() -> None:
    broken = seen(KEY, 2, failure=Unreadable(UnreadableReason.BAD_PEM, Printable("broken")))
    kept = LastReading(PAIR, SetReading((seen(CRT, 1), broken)), NOW)
    assert believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], kept)[1] == broken


def test_facts_of_other_targets_are_not_believed() -> None:
    kept = replace(KEPT, targets=(CRT, replace(KEY, path="/else")))
    assert believe([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], kept)[1].keys == ()


@pytest.mark.parametrize(
    ("here", "identities", "unsure"),
    [
        pytest.param([seen(CRT, 1), denied(KEY)], [identity(1), identity(2)], set(), id="seen to be the same"),
        pytest.param([seen(CRT, 1), denied(KEY)], [identity(1), DENIED], {KEY.name}, id="the key unseen"),
        pytest.param([denied(CRT), denied(KEY)], [DENIED, DENIED], {CRT.name, KEY.name}, id="nothing seen"),
        pytest.param([denied(CRT), denied(KEY)], [DENIED, identity(2)], {CRT.name, KEY.name}, id="one unseen"),
        pytest.param([seen(CRT, 9), denied(KEY)], [identity(9), DENIED], set(), id="another, so that nothing stands"),
    ],
)
def test_what_cannot_be_seen_to_be_the_same_is_shown_and_not_sure(
    here: Sequence[FileObservation], identities: Sequence[FileIdentity | Unreadable], unsure: set[str]
) -> None:
    found = believed(Here(SetReading(tuple(here)), tuple(identities)), PAIR, KEPT, harmless(WHY), NOW + 10, early=False)
    assert found.unsure == unsure


def test_where_the_actor_runs_nobody_is_told_to_run_it() -> None:
    found = Here(SetReading((seen(CRT, 1), denied(KEY))), (identity(1), DENIED))
    for kept, after, expected in (
        (KEPT, 10.0, (Code.KEYS_UNREAD, Severity.NOTICE)),
        (KEPT, STALE_AFTER + 1, (Code.KEYS_UNREAD, Severity.WARNING)),
        (None, 10.0, (Code.KEYS_UNREAD, Severity.WARNING)),
    ):
        reading = believed(found, PAIR, kept, Printable("it reads it later"), NOW + after, early=False, busy=True)
        said = judge_unread(PAIR, reading.observations)[KEY.name]
        assert (said.code, said.severity) == expected
        assert "it runs" in cure(said.code, said.detail)
        assert "run the actor" not in cure(said.code, said.detail)


def test_an_actor_that_says_when_to_ask_again_is_asked_then(
    tmp_path: Path, on_disk: tuple[FileTarget, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no sooner or later than makes sense, whatever it says; many answers, one question."""
    monkeypatch.setattr(monitor.look.reading, "AGAIN_AFTER", 0.1)
    monkeypatch.setattr(monitor.look.reading, "AGAIN_WITHIN", 0.2)
    monkeypatch.setattr(monitor.look.reading, "_is_denied", lambda _: True)
    path = str(tmp_path / "a.sock")
    looked: list[float] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"cannot": "it reads it later", "again": 86400}\n')
        writer.close()

    async def ask() -> float:
        again = asyncio.Event()

        def look_again(due: ReadingDue) -> None:
            assert due.component == "web"
            looked.append(time.monotonic())
            again.set()

        server = await asyncio.start_unix_server(converse, path)
        with ThreadPoolExecutor(1) as worker:
            reader = ArtefactReader(lambda: path, worker, look_again, missed_after=0.0)
            for _ in range(3):
                reading = await reader.read("web", on_disk, NOW)
            last = time.monotonic()
            await asyncio.wait_for(again.wait(), 10)
            server.close()
        assert all("it reads it later" in each.failure.detail for each in reading.observations if each.failure)
        return last

    last = asyncio.run(ask())
    (at,) = looked
    assert at - last > 0.15


# Judging


def judged(observations: Sequence[FileObservation], targets: Sequence[FileTarget] = PAIR) -> dict[str, list[Any]]:
    context = SetContext(tuple(targets), {each.name: None for each in targets})
    found = assess_set(SetReading(tuple(observations)), context, certificate(LEAF.der()).not_before or 0)
    return {name: [(each.code, each.severity) for each in assessment.findings] for name, assessment in found.items()}


def test_a_key_that_nobody_may_read_is_one_warning_for_its_component() -> None:
    assert judged([seen(CRT, 1), denied(KEY)]) == {
        "web/certificate": [],
        "web/key": [(Code.KEYS_UNREAD, Severity.WARNING)],
    }


def test_a_closed_directory_is_one_warning_too_about_the_key() -> None:
    found = judged([denied(CRT), denied(KEY)])
    assert found == {
        "web/certificate": [(Code.UNREADABLE, Severity.NOTICE)],
        "web/key": [(Code.KEYS_UNREAD, Severity.WARNING)],
    }
    said = judge_unread(PAIR, [denied(CRT), denied(KEY)])
    assert "keys_unread of web/key" in said["web/certificate"].detail
    assert "keys: unread" in said["web/key"].detail


@pytest.mark.parametrize("why", [UnreadableReason.PERMISSION_DENIED, UnreadableReason.UNSAFE_LINK])
def test_where_it_is_meant_it_is_a_notice(why: UnreadableReason) -> None:
    meant = [replace(each, keys=Keys.UNREAD) for each in PAIR]
    key = replace(denied(KEY), failure=Unreadable(why, Printable("x")))
    assert judged([seen(CRT, 1), key], meant)["web/key"] == [(Code.KEYS_UNREAD, Severity.NOTICE)]


def test_stale_facts_are_judged_and_said_to_be_stale() -> None:
    away = Unreadable(UnreadableReason.NO_READER, Printable("believed"))
    found = judged([seen(CRT, 1), seen(KEY, 2, failure=away)])
    # The key of this test is no key of the certificate: that is still known.
    assert found["web/key"] == [(Code.KEYS_UNREAD, Severity.NOTICE)]
    assert (Code.KEY_MISMATCH, Severity.CRITICAL) in found["web/certificate"]


@pytest.mark.parametrize("role", [FileRole.COMBINED, FileRole.KEYSTORE])
def test_a_file_with_certificate_and_key_bears_it_itself(role: FileRole) -> None:
    one = FileTarget(f"web/{role}", "/x", role, "web")
    assert judged([replace(denied(KEY), target=one.name)], [one])[one.name] == [(Code.KEYS_UNREAD, Severity.WARNING)]


def test_a_file_that_is_missing_or_damaged_is_as_bad_as_ever() -> None:
    for why in (UnreadableReason.NOT_FOUND, UnreadableReason.BAD_PEM, UnreadableReason.WRONG_PASSWORD):
        gone = replace(denied(KEY), failure=Unreadable(why, Printable("x")))
        assert judged([seen(CRT, 1), gone])["web/key"] == [(Code.UNREADABLE, Severity.CRITICAL)]


# Asking


Answer = Callable[[bytes], bytes]


async def asked(tmp_path: Path, answer: Answer | None, targets: Sequence[FileTarget], **more: Any) -> SetReading:
    """Return what is read where an actor answers like that, or where there is none."""
    path = str(tmp_path / "a.sock")

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert answer is not None
        writer.write(answer(await reader.readline()))
        writer.close()

    server = None if answer is None else await asyncio.start_unix_server(converse, path)
    with ThreadPoolExecutor(1) as worker:
        reading = await ArtefactReader(lambda: path, worker, **more).read("web", targets, NOW)
    if server is not None:
        server.close()
    return reading


@pytest.fixture
def on_disk(tmp_path: Path) -> tuple[FileTarget, ...]:
    """Give a pair that everybody may read, so that what is read here can be told from what an actor tells."""
    (tmp_path / "crt").write_bytes(LEAF.chain_pem())
    (tmp_path / "key").write_bytes(LEAF.key_pem())
    return replace(CRT, path=str(tmp_path / "crt")), replace(KEY, path=str(tmp_path / "key"))


def told(targets: Sequence[FileTarget], reading: SetReading = READ) -> bytes:
    return json.dumps({"facts": to_document(facts_of(reading, targets)), "host": "h"}).encode() + b"\n"


def test_an_actor_is_asked_for_the_component_by_its_name_alone(tmp_path: Path, on_disk: tuple[FileTarget, ...]) -> None:
    said: list[bytes] = []

    def answer(line: bytes) -> bytes:
        said.append(line)
        return told(on_disk)

    assert asyncio.run(asked(tmp_path, answer, on_disk)) == READ
    assert [json.loads(each) for each in said] == [{"verb": "read", "components": ["web"]}]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nobody"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b"[" * 100_000 + b"\n", id="depth"),
        pytest.param(b'{"facts": {}}\n', id="no facts"),
        pytest.param(b'{"cannot": "this user may ask the actor for nothing"}\n', id="a refusal"),
        pytest.param(b'{"cannot": {"\\u001b[2J": 1}}\n', id="a hostile refusal"),
        pytest.param(told(PAIR), id="other files"),
        pytest.param(b"x" * 5_000_000, id="too much"),
        pytest.param(b"\xff\xfe\n", id="no text"),
    ],
)
def test_whatever_an_actor_says_that_are_no_facts_the_daemon_reads_itself(
    answer: bytes | None, tmp_path: Path, on_disk: tuple[FileTarget, ...]
) -> None:
    reading = asyncio.run(asked(tmp_path, None if answer is None else lambda _: answer, on_disk))
    assert reading == read_set(on_disk, NOW)


def test_what_even_the_reader_may_not_read_says_what_helps(tmp_path: Path, on_disk: tuple[FileTarget, ...]) -> None:
    link = Unreadable(UnreadableReason.UNSAFE_LINK, Printable("the symbolic link a on its way belongs to user 33"))
    reading = SetReading((seen(CRT, 1), replace(denied(KEY), failure=link)))
    found = asyncio.run(asked(tmp_path, lambda _: told(on_disk, reading), on_disk)).observations[1]
    assert found.failure is not None
    assert "give that link to root" in found.failure.detail


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be kept from reading by giving up its rights")
def test_an_actor_that_is_not_missed_yet_is_missed_in_time(on_disk: tuple[FileTarget, ...]) -> None:
    assert MISSED_AFTER == 60
    looked: list[str] = []

    async def early() -> None:
        again = asyncio.Event()

        def look_again(due: ReadingDue) -> None:
            looked.append(due.component)
            again.set()

        with ThreadPoolExecutor(1, initializer=_without_rights) as worker:
            reader = ArtefactReader(lambda: "/nobody/listens", worker, look_again, missed_after=0.2)
            first = await reader.read("web", targets, NOW)
            await asyncio.wait_for(again.wait(), 10)
            second = await reader.read("web", targets, NOW)
        assert reason(first.observations[1]) is UnreadableReason.NO_READER
        assert reason(second.observations[1]) is UnreadableReason.PERMISSION_DENIED
        assert reason(second.observations[0]) is None

    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        targets = [replace(each, path=shutil.copy(each.path, directory)) for each in on_disk]
        for each, mode in zip(targets, (0o644, 0o600), strict=True):
            os.chmod(each.path, mode)
        asyncio.run(early())
    assert looked == ["web"]


def _without_rights() -> None:
    """Have this thread alone look at files as a user without rights."""
    import ctypes  # noqa: PLC0415

    # setfsuid(2) is of a thread, and no other call tells whether it did anything.
    ctypes.CDLL(None).setfsuid(64_010)


# Believing


class ReadHost:
    """What is believed of a set, by readings."""

    def __init__(
        self,
        artefacts: Artefacts = Artefacts(certificate=CRT.path, key=KEY.path),  # noqa: B008 (frozen)
        targets: tuple[FileTarget, ...] = PAIR,
    ) -> None:
        self.targets = targets
        web = Component("web", artefacts)
        self.told = Reported()
        self.registry = registry_of(config_with(files=targets, components=MappingProxyType({"web": web})), self.told)
        self.sets = SetRegistry(self.registry)
        for each in targets:
            self.registry.watch(TargetState(each.name, TargetKind.FILE, each.path, "web"), NOW)

    def learn(self, now: float, *observations: FileObservation, unsure: Sequence[str] = ()) -> None:
        reading = SetReading(observations, unsure=frozenset(unsure))
        context = self.sets.context("web", self.targets)
        self.sets.learn("web", reading, context, assess_set(reading, context, now), now)

    def codes(self, target: FileTarget) -> set[Code]:
        return {code for code, _ in self.registry.targets[target.name].findings}

    def pending(self, target: FileTarget) -> set[Code]:
        return {code for code, _ in self.registry.targets[target.name].pending}


AWAY: Final = Unreadable(UnreadableReason.READER_BUSY, Printable("believed"))
OWN: Final = (certificate(LEAF.der()).public_key_sha256(),)
BEGUN: Final = float(certificate(LEAF.der()).not_before or 0) + 1
ENDED: Final = float(certificate(LEAF.der()).not_after or 0) + 1
CHAIN: Final = tuple(map(certificate, (LEAF.der(), *(each.der() for each in LEAF.chain[1:]))))


@pytest.fixture
def host() -> ReadHost:
    return ReadHost()


def own(inode: int, **more: Any) -> FileObservation:
    return replace(seen(KEY, inode, **{"mode": 0o600, **more}), keys=OWN)


def whole(inode: int, **more: Any) -> FileObservation:
    return replace(seen(CRT, inode, **more), certificates=CHAIN)


def test_nothing_new_follows_from_facts_of_two_moments(host: ReadHost) -> None:
    host.learn(BEGUN, whole(1), own(2))
    assert host.codes(CRT) == host.codes(KEY) == set()
    # The key was replaced by root meanwhile, as nobody here could see.
    stale = seen(KEY, 3, mode=0o644, failure=AWAY)
    for after in (1.0, 10.0, 1e6):
        host.learn(BEGUN + after, whole(9), stale, unsure=[KEY.name])
        assert (host.codes(CRT), host.codes(KEY)) == (set(), {Code.KEYS_UNREAD})
        assert (host.pending(CRT), host.pending(KEY)) == (set(), set())
    # As soon as they are of one moment, it is told.
    host.learn(BEGUN + 2e6, whole(9), seen(KEY, 3, mode=0o644))
    assert host.codes(KEY) == {Code.KEY_EXPOSED}
    assert host.pending(CRT) == {Code.KEY_MISMATCH}


def test_a_file_that_the_daemon_reads_itself_is_judged_by_itself_even_then(host: ReadHost) -> None:
    host.learn(BEGUN, whole(1), own(2))
    host.learn(ENDED, whole(1), own(2, failure=AWAY), unsure=[KEY.name])
    assert Code.EXPIRED in host.codes(CRT)
    host.learn(ENDED + 1, whole(1, failure=AWAY), own(2, failure=AWAY), unsure=[CRT.name, KEY.name])
    assert Code.EXPIRED in host.codes(CRT), "it stands"


def test_of_a_file_that_cannot_be_seen_not_even_its_end_is_told(host: ReadHost) -> None:
    """It may have been replaced in time."""
    host.learn(BEGUN, whole(1), own(2))
    host.learn(ENDED, whole(1, failure=AWAY), own(2, failure=AWAY), unsure=[CRT.name, KEY.name])
    assert (host.codes(CRT), host.codes(KEY)) == ({Code.UNREADABLE}, {Code.KEYS_UNREAD})


def test_what_was_wrong_or_pending_stays_so_and_comes_of_age_by_no_belief(host: ReadHost) -> None:
    for after in (0, 1e5):
        host.learn(BEGUN + after, whole(1), own(2, mode=0o644))
    assert host.codes(KEY) == {Code.KEY_EXPOSED}
    host.learn(BEGUN + 1e5 + 1, whole(1), seen(KEY, 3, mode=0o644))
    assert host.pending(CRT) == {Code.KEY_MISMATCH}
    assert host.sets.pending_until("web") is not None
    since = [each.since for each in host.registry.targets[CRT.name].pending.values()]
    for after in (2e5, 1e6):
        host.learn(BEGUN + after, whole(1), own(2, failure=AWAY), unsure=[KEY.name])
        assert host.pending(CRT) == {Code.KEY_MISMATCH}
        assert host.codes(KEY) == {Code.KEY_EXPOSED, Code.KEYS_UNREAD}
        assert host.sets.pending_until("web") is None, "no time at which to look again"
    assert [each.since for each in host.registry.targets[CRT.name].pending.values()] == since
    host.learn(BEGUN + 2e6, whole(1), own(2, mode=0o600))
    assert (host.codes(CRT), host.pending(CRT), host.codes(KEY)) == (set(), set(), set())


RENEWED: Final = Authority.root().intermediate().issue("www.example.com", key=new_key(KeyType.P256))
NEW_CHAIN: Final = tuple(map(certificate, (RENEWED.der(), *(each.der() for each in RENEWED.chain[1:]))))
NEW_KEY: Final = (NEW_CHAIN[0].public_key_sha256(),)
COMBINED: Final = FileTarget("web/combined", "/tls/site.pem", FileRole.COMBINED, "web")


@pytest.mark.parametrize("after", [1.0, STALE_AFTER + 1], ids=["lately", "long ago"])
def test_a_renewed_pair_that_only_the_actor_read_is_believed_as_one(host: ReadHost, after: float) -> None:
    """The actor told of the new pair before it died, and nothing could be judged of it before."""
    host.learn(BEGUN, whole(1), own(2))
    new = SetReading((replace(whole(3), certificates=NEW_CHAIN), replace(own(4), keys=NEW_KEY)))
    here = Here(SetReading((denied(CRT), denied(KEY))), (identity(3), identity(4)))
    reading = believed(here, PAIR, LastReading(PAIR, new, BEGUN), harmless(WHY), BEGUN + after, early=False)
    for later in (after, after + 1e5):
        host.learn(BEGUN + later, *reading.observations)
        assert Code.KEY_MISMATCH not in host.codes(CRT) | host.pending(CRT)
    assert host.registry.targets[CRT.name].presented == NEW_CHAIN


def test_a_renewed_file_with_certificate_and_key_that_only_the_actor_read_is_believed_as_one() -> None:
    host = ReadHost(Artefacts(combined=COMBINED.path), (COMBINED,))
    old = replace(whole(1), target=COMBINED.name, keys=OWN, mode=0o600)
    host.learn(BEGUN, old)
    new = replace(old, identity=identity(2), certificates=NEW_CHAIN, keys=NEW_KEY)
    here = Here(SetReading((denied(COMBINED),)), (identity(2),))
    kept = LastReading((COMBINED,), SetReading((new,)), BEGUN)
    reading = believed(here, (COMBINED,), kept, harmless(WHY), BEGUN + 1, early=False)
    for later in (1.0, 1e5):
        host.learn(BEGUN + later, *reading.observations)
        assert (host.codes(COMBINED), host.pending(COMBINED)) == ({Code.KEYS_UNREAD}, set())
    assert host.registry.targets[COMBINED.name].presented == NEW_CHAIN


@pytest.mark.parametrize("left", [NEW_CHAIN[1:], ()], ids=["a part of it", "nothing"])
def test_a_last_known_certificate_is_compared_with_no_key_that_was_read_later(
    host: ReadHost, left: tuple[Certificate, ...]
) -> None:
    """The new certificate is damaged; the key is whole, and of it."""
    host.learn(BEGUN, whole(1), own(2))
    broken = replace(whole(3), certificates=left, failure=Unreadable(UnreadableReason.BAD_PEM, Printable("broken")))
    for later in (1.0, 1e5):
        host.learn(BEGUN + later, broken, replace(own(4), keys=NEW_KEY))
    assert host.codes(CRT) == {Code.UNREADABLE}
    assert host.registry.targets[CRT.name].presented == CHAIN


def test_a_mismatch_that_is_known_stands_while_the_certificate_cannot_be_read(host: ReadHost) -> None:
    for later in (0.0, 1e5):
        host.learn(BEGUN + later, whole(1), replace(own(2), keys=NEW_KEY))
    assert host.codes(CRT) == {Code.KEY_MISMATCH}
    host.learn(BEGUN + 2e5, denied(CRT), replace(own(2), keys=NEW_KEY))
    assert Code.KEY_MISMATCH in host.codes(CRT)
    host.learn(BEGUN + 3e5, whole(1), own(2))
    assert host.codes(CRT) == set()
