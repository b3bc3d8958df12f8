"""The reader: a process that can read and do nothing else, which tells facts and never a byte of a key."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from config.model import FileTarget
from config.text import Printable
from config.vocabulary import EntryKind, FileContent, FileRole, Integrity, LineState, UnreadableReason
from monitor.actor.confine import Architecture, numbers, program
from monitor.actor.facts import (
    MOST_CERTIFICATES,
    MOST_DER,
    ComponentFacts,
    FileFacts,
    NotFactsError,
    facts_of,
    from_document,
    reading_of,
    to_document,
)
from monitor.actor.reader import Helper, NotNow, Reader
from monitor.actor.request import Document
from monitor.lab.ca import Authority, KeyType
from monitor.lab.process import wait_for
from probes.certificate import certificate
from probes.container.pkcs12 import MOST_WORK
from probes.file import look_at_file
from probes.keystore import Keystore, KeystoreEntry
from probes.line.syntax import LineReading
from probes.observation import FileObservation, Unreadable
from probes.set import SetReading, read_set
from tests.kit import java_keystore
from tests.kit.examples import examples
from tests.kit.keystore import PASSWORD, keystore, sealed

ISSUING: Final = Authority.root().intermediate()
LEAF: Final = ISSUING.issue("www.example.com", key=KeyType.P256)
KEY: Final = LEAF.key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
"""What is secret of it."""
NOW: Final = 1_700_000_000.0

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has rights to give up")
filtered = pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="calls are not filtered here")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.end()


def target(path: Path, role: FileRole = FileRole.KEY, password_file: Path | None = None) -> FileTarget:
    return FileTarget(
        f"web/{role}", str(path), role, "web", password_files=(str(password_file),) if password_file else ()
    )


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def facts(reader: Reader, *targets: FileTarget) -> tuple[FileFacts, ...]:
    found = reader.read("web", targets)
    assert isinstance(found, ComponentFacts), found
    return found.files


@pytest.fixture
def pair(tmp_path: Path) -> tuple[FileTarget, ...]:
    certificates = written(tmp_path / "site.crt", LEAF.chain_pem())
    return target(certificates, FileRole.CERTIFICATE), target(written(tmp_path / "site.key", LEAF.key_pem()))


def test_it_tells_what_a_look_would(reader: Reader, pair: tuple[FileTarget, ...]) -> None:
    found = reader.read("web", pair)
    assert isinstance(found, ComponentFacts)
    assert reading_of(found, pair, NOW) == read_set(pair, NOW)
    assert found.files[0].certificates == (LEAF.der(), ISSUING.der())
    assert found.files[1].mode == 0o600


@pytest.mark.parametrize("kind", ["pem", "keystore", "encrypted", "damaged"])
def test_no_byte_of_a_key_or_a_password_is_in_what_it_tells(kind: str, reader: Reader, tmp_path: Path) -> None:
    password = written(tmp_path / "password", PASSWORD + b"\n")
    if kind == "keystore":
        asked = target(written(tmp_path / "site.p12", keystore(LEAF)), FileRole.KEYSTORE, password)
    else:
        pem = LEAF.key_pem()
        pem = {"pem": pem, "encrypted": pem.replace(b"BEGIN PRI", b"BEGIN ENCRYPTED PRI"), "damaged": pem[:-60]}[kind]
        asked = target(written(tmp_path / "site.pem", pem + LEAF.pem()), FileRole.COMBINED)
    answer = json.dumps(to_document(ComponentFacts(facts(reader, asked), moved=False)))
    for secret in (KEY, PASSWORD):
        # Base64 spells it in three ways, by what stands before it.
        for spelt in (secret, secret.hex().encode(), *(base64.b64encode(secret[start:]) for start in range(3))):
            for start in range(len(spelt) - 10):
                assert spelt[start : start + 10].decode("latin-1") not in answer
    if kind in {"pem", "keystore"}:
        assert len(facts(reader, asked)[0].keys) == 1


@as_root
def test_a_service_s_directory_that_only_root_may_enter_is_read(reader: Reader, tmp_path: Path) -> None:
    closed = tmp_path / "archive"
    closed.mkdir(mode=0o700)
    path = written(closed / "key.pem", LEAF.key_pem())
    os.chown(path, 64_001, 64_001)
    (found,) = facts(reader, target(path))
    assert (found.owner, len(found.keys), found.failure) == (64_001, 1, None)


@as_root
def test_a_link_of_a_service_s_user_to_what_is_root_s_is_refused_and_said(reader: Reader, tmp_path: Path) -> None:
    link = tmp_path / "site.key"
    link.symlink_to("/etc/shadow")
    os.chown(link, 64_001, 64_001, follow_symlinks=False)
    (found,) = facts(reader, target(link))
    assert found.failure is not None
    assert found.failure.reason is UnreadableReason.UNSAFE_LINK
    assert "user 64001" in found.failure.detail
    assert (found.identity, found.mode, found.owner, found.keys) == (None, 0, 0, ())
    # Nor is it taken for a password.
    p12 = written(tmp_path / "site.p12", keystore(LEAF))
    (found,) = facts(reader, target(p12, FileRole.KEYSTORE, link))
    assert found.failure is not None
    assert (found.failure.reason, found.keys) == (UnreadableReason.UNSAFE_LINK, ())


@as_root
def test_a_link_of_a_service_s_user_tells_nobody_whether_there_is_something_behind_it(
    reader: Reader, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "link").symlink_to("none")
    (closed / "directory").mkdir()
    written(closed / "file", b"")
    link = tmp_path / "site.key"
    told = set()
    for place in ("none", "link", "directory", "file", "file/none"):
        link.symlink_to(closed / place)
        os.chown(link, 64_001, 64_001, follow_symlinks=False)
        told.add(facts(reader, target(link)))
        link.unlink()
    assert len(told) == 1


def test_what_is_no_file_holds_it_up_as_little_as_what_is_too_large(reader: Reader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(1 << 40)
    started = time.monotonic()
    files = facts(
        reader,
        target(tmp_path / "fifo"),
        target(tmp_path / "huge", FileRole.CHAIN),
        target(Path("/dev/zero"), FileRole.COMBINED),
        target(tmp_path / "none", FileRole.CERTIFICATE),
    )
    assert [each.failure.reason for each in files if each.failure] == [
        UnreadableReason.NOT_REGULAR,
        UnreadableReason.TOO_LARGE,
        UnreadableReason.NOT_REGULAR,
        UnreadableReason.NOT_FOUND,
    ]
    assert time.monotonic() - started < 5


@cache
def costly_keystore() -> bytes:
    """Return one that takes as much work as is done at all, to make as well."""
    return keystore(LEAF, rounds=int(0.45 * MOST_WORK))


def costly(tmp_path: Path) -> tuple[FileTarget, ...]:
    """Return keystores that take seconds together."""
    made = costly_keystore()
    asked = target(written(tmp_path / "costly.p12", made), FileRole.KEYSTORE, written(tmp_path / "pw", PASSWORD))
    return tuple(replace(asked, name=f"java/{number}") for number in range(3))


def test_a_keystore_that_asks_for_too_much_work_costs_its_time_once_and_others_none(
    pair: tuple[FileTarget, ...], tmp_path: Path
) -> None:
    reader = Reader(work=1)
    asked = costly(tmp_path)
    try:
        facts(reader, *pair)
        began = reader.pid
        found = reader.read("java", asked)
        assert isinstance(found, ComponentFacts)
        failure = found.files[0].failure
        assert failure is not None
        assert failure.reason is UnreadableReason.TOO_LARGE
        assert "more than 1 s of work" in failure.detail
        # It is not tried again at once, however often somebody asks; others are read meanwhile.
        started = time.monotonic()
        for _ in range(100):
            assert reader.read("java", asked) is found
        assert time.monotonic() - started < 0.5
        assert len(facts(reader, *pair)[1].keys) == 1
        assert reader.pid == began
    finally:
        reader.end()


def test_what_takes_long_for_another_reason_is_not_said_to_be_too_large(tmp_path: Path) -> None:
    """A host that is busy, or a file system that hangs."""
    reader = Reader(seconds=0.2)
    try:
        found = reader.read("java", costly(tmp_path))
        assert isinstance(found, NotNow)
        assert (found.why, found.after) == ("reading it took longer than 0.2 s", 60)
    finally:
        reader.end()


def test_two_to_the_31_rounds_are_not_begun(reader: Reader, tmp_path: Path) -> None:
    # A version, a salt and the number behind it, as in the MacData of RFC 7292.
    hostile = b"\x30\x0e\x02\x01\x03\x04\x01\x00\x02\x04\x7f\xff\xff\xff\x05\x00"
    (found,) = facts(reader, target(written(tmp_path / "it.p12", hostile), FileRole.KEYSTORE))
    assert found.failure is not None
    assert found.failure.reason is UnreadableReason.TOO_LARGE
    assert f"{4 * 2147483647} rounds" in found.failure.detail


def test_one_that_was_killed_is_begun_anew(reader: Reader, pair: tuple[FileTarget, ...]) -> None:
    facts(reader, *pair)
    killed = reader.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)

    def answers() -> bool:
        return isinstance(reader.read("web", pair), ComponentFacts)

    wait_for(answers, 30, "an answer")
    assert reader.pid != killed


def test_each_component_pays_for_its_own_work_and_for_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [0.0], ComponentFacts((), moved=False)

    def take_work(_self: object, targets: Sequence[FileTarget]) -> tuple[ComponentFacts, float]:
        # That a host is busy is no work of a component's.
        now[0] += 5
        return read, 2.0 if targets else 0.02

    monkeypatch.setattr("monitor.actor.reader.Helper.ask", take_work)
    reader = Reader(clock=lambda: now[0])
    asked = [FileTarget("java/keystore", "/k.p12", FileRole.KEYSTORE)]
    answers: list[ComponentFacts | NotNow] = []
    while now[0] < 10_000:
        answers.append(reader.read("java", asked))
        assert reader.read("web", ()) is read
        if isinstance(answers[-1], NotNow):
            assert answers[-1].why.startswith("reading these files has taken too much work lately")
            now[0] += answers[-1].after
            assert reader.read("java", asked) is read, "it may be read when it said so"
    assert all(each is read for each in answers[:5]), "a start may ask for much at once"
    assert any(isinstance(each, NotNow) for each in answers)


def test_a_component_that_takes_long_keeps_no_other_waiting(pair: tuple[FileTarget, ...], tmp_path: Path) -> None:
    reader = Reader(seconds=120.0, work=30)
    asked = costly(tmp_path)[:1]
    try:
        facts(reader, *pair)
        with ThreadPoolExecutor(1) as thread:
            long = thread.submit(reader.read, "java", asked)
            wait_for(lambda: reader.busy == 1, 10, "the work")
            for _ in range(3):
                assert len(facts(reader, *pair)[1].keys) == 1
            assert not long.done()
            assert isinstance(long.result(150), ComponentFacts)
    finally:
        reader.end()


def test_a_keystore_that_is_replaced_all_the_time_costs_no_more_than_a_reading(tmp_path: Path) -> None:
    """A MAC by SHA-512 that no password fits, renamed over the keystore again and again."""
    made = sealed(1_000_000)
    password = written(tmp_path / "pw", PASSWORD)
    asked = target(written(tmp_path / "k.p12", made), FileRole.KEYSTORE, password)
    over = threading.Event()

    def replace_it() -> None:
        while not over.wait(0.05):
            os.rename(written(tmp_path / "new", made), tmp_path / "k.p12")

    writer = threading.Thread(target=replace_it)
    writer.start()
    helper = Helper(30.0, 10)
    try:
        found, work = helper.ask([asked])
    finally:
        over.set()
        writer.join()
        helper.end()
    assert isinstance(found, ComponentFacts)
    assert found.files[0].failure is not None
    assert found.files[0].failure.reason is UnreadableReason.WRONG_PASSWORD
    assert work < 2.5


def test_more_keys_than_any_file_has_are_not_decoded(tmp_path: Path) -> None:
    pem = written(tmp_path / "keys.pem", LEAF.key_pem() * 30_000)
    helper = Helper(30.0, 10)
    try:
        found, work = helper.ask([target(pem)])
    finally:
        helper.end()
    assert isinstance(found, ComponentFacts)
    failure = found.files[0].failure
    assert failure == Unreadable(
        UnreadableReason.TOO_LARGE, Printable("it holds 30000 private keys, at most 100 are looked at")
    )
    assert found.files[0].keys == ()
    assert work < 1.5


def test_more_certificates_than_are_told_of_are_not_decoded(tmp_path: Path) -> None:
    pem = written(tmp_path / "many.pem", LEAF.pem() * (MOST_CERTIFICATES + 1))
    asked = target(pem, FileRole.CERTIFICATE)
    found = look_at_file(asked, NOW, most_certificates=MOST_CERTIFICATES)
    assert found.failure is not None
    assert (found.failure.reason, found.certificates) == (UnreadableReason.TOO_LARGE, ())
    assert len(look_at_file(asked, NOW).certificates) == MOST_CERTIFICATES + 1


def test_it_ends_with_whoever_began_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from config.model import FileTarget; from config.vocabulary import FileRole\n"
        "from monitor.actor.reader import NotNow, Reader, Helper\n"
        "reader = Reader(); reader.read('web', [FileTarget('web/key', '/none', FileRole.KEY)])\n"
        "print(reader.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert os.path.exists(f"/proc/{pid}")
        parent.kill()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10, "its end")


# Its rights


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@as_root
def test_it_is_another_user_with_one_capability_that_nothing_can_add_to(
    reader: Reader, pair: tuple[FileTarget, ...]
) -> None:
    facts(reader, *pair)
    assert reader.pid is not None
    status = status_of(reader.pid)
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    assert status["Groups"] == ""
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << 2, "CAP_DAC_READ_SEARCH"
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    environment = Path(f"/proc/{reader.pid}/environ").read_bytes()
    assert b"PYTEST_CURRENT_TEST" not in environment


@filtered
def test_its_system_calls_are_filtered(reader: Reader, pair: tuple[FileTarget, ...]) -> None:
    facts(reader, *pair)
    assert reader.pid is not None
    assert status_of(reader.pid)["Seccomp"] == "2"


TRIES: Final = {
    "a connection": "socket.create_connection(('127.0.0.1', 1))",
    "a Unix socket": "socket.socket(socket.AF_UNIX)",
    "a pair of sockets": "socket.socketpair()",
    "writing": "os.open(path, os.O_WRONLY)",
    "writing and reading": "os.open(path, os.O_RDWR)",
    "making": "os.open(path + '.new', os.O_WRONLY | os.O_CREAT)",
    "cutting": "os.open(path, os.O_RDONLY | os.O_TRUNC)",
    "removing": "os.unlink(path)",
    "renaming": "os.rename(path, path + '.new')",
    "linking": "os.link(path, path + '.new')",
    "a mode": "os.chmod(path, 0o777)",
    "an owner": "os.chown(path, 1, 1)",
    "a program": "os.execv('/bin/true', ['true'])",
    "a process": "os.fork()",
    "a thread": "threading.Thread(target=print).start()",
    "a signal": "os.kill(os.getppid(), 0)",
    "tracing": "called(libc.ptrace(16, os.getppid(), 0, 0))",
    "a file system": "called(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))",
    "a namespace": "called(libc.unshare(0x10000000))",
    "more descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))",
    "memory": "bytearray(2 << 30)",
}
REFUSED: Final = """
    import ctypes, json, os, resource, socket, sys, threading
    from monitor.actor.confine import Limits, confine, other_user, renounce
    path, tries = sys.argv[1], json.loads(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    def called(result):
        if result < 0:
            raise PermissionError(ctypes.get_errno(), "refused")
    assert renounce(*other_user()) == () or os.getuid() != 0
    parent = os.getpid()
    for what, tried in tries.items():
        if os.fork() == 0:
            code = 3
            try:
                confine(Limits(cpu=10), parent)
                os.close(os.open(path, os.O_RDONLY))
                code = 4
                exec(tried)
            except (PermissionError, MemoryError):
                code = 0
            except (RuntimeError, ValueError) as error:
                code = 0 if "can't start new thread" in str(error) or "not allowed to raise" in str(error) else 5
            finally:
                os._exit(code)
        _, status = os.wait()
        if status:
            print(what, os.waitstatus_to_exitcode(status), flush=True)
"""


@filtered
def test_whatever_took_it_over_could_do_nothing_but_read(tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"data", 0o666)
    tmp_path.chmod(0o777)
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REFUSED), str(path), json.dumps({**TRIES, "nothing": "None"})],
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("nothing 4\n", ""), "nothing but doing nothing went well"
    assert path.read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["file"]


UNFILTERED: Final = """
    import sys
    from monitor.actor import confine, reading
    confine._ARCHITECTURES = {}
    sys.argv = ["reading", "30", "10"]
    sys.exit(reading.main())
"""
"""A reader on a processor whose system calls are not known."""


@as_root
@pytest.mark.parametrize("forbidden", [True, False], ids=["without namespaces", "with namespaces"])
def test_a_reader_that_nothing_keeps_from_the_network_does_not_read(forbidden: bool) -> None:
    wrapper = ["setpriv", "--bounding-set", "-sys_admin"] if forbidden else []
    ran = subprocess.run(
        [*wrapper, sys.executable, "-c", textwrap.dedent(UNFILTERED)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    said = json.loads(ran.stdout)
    if forbidden:
        assert ran.returncode == 1
        assert said["refused"].startswith("nothing keeps it from the network")
    else:
        assert said == {"ready": ["system calls are not filtered on this kind of processor"]}, ran.stderr


def test_why_a_reader_is_not_confined_is_said_with_each_file_that_it_does_not_read(
    pair: tuple[FileTarget, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = written(tmp_path / "python", b'#!/bin/sh\necho \'{"refused": "nothing keeps it"}\'\n', 0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    reader = Reader()
    found = reader.read("web", pair)
    reader.end()
    assert isinstance(found, NotNow)
    assert found.why == "the reader cannot be confined: nothing keeps it"
    assert "no file is read: the reader cannot be confined: nothing keeps it" in caplog.text


def test_work_without_end_ends(tmp_path: Path) -> None:
    script = """
        import os, sys
        from monitor.actor.confine import Limits, confine
        parent = os.getpid()
        if os.fork() == 0:
            confine(Limits(cpu=1), parent)
            while True:
                pass
        _, status = os.wait()
        sys.exit(-os.waitstatus_to_exitcode(status))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert ran.returncode in {signal.SIGKILL, signal.SIGXCPU}


@pytest.mark.parametrize(
    "architecture", [Architecture(0xC000003E, 1), Architecture(0xC00000B7, 2)], ids=["x86-64", "AArch64"]
)
def test_a_filter_allows_what_it_names_and_nothing_else(architecture: Architecture) -> None:
    """Run as the kernel would run it, for each number there may be."""
    allowed = {
        "read": numbers(architecture, "read 0 63")["read"],
        "openat": numbers(architecture, "openat 257 56")["openat"],
    }
    code = list(program(architecture, allowed))

    def verdict(number: int, flags: int = 0, audit: int = architecture.audit) -> int:
        data = {0: number, 4: audit, 24: 0, 32: flags}
        at, value = 0, 0
        while True:
            instruction, yes, no, operand = code[at]
            at += 1
            if instruction == 0x20:
                value = data[operand]
            elif instruction == 0x06:
                return operand
            else:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[instruction]
                at += yes if holds else no

    passed = {number for number in range(1000) if verdict(number) == 0x7FFF0000}
    assert passed == set(allowed.values())
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_TMPFILE):
        assert verdict(allowed["openat"], flags) != 0x7FFF0000
    for flags in (os.O_PATH | os.O_NOFOLLOW, os.O_DIRECTORY, os.O_NONBLOCK | os.O_CLOEXEC):
        assert verdict(allowed["openat"], flags) == 0x7FFF0000
    assert verdict(allowed["read"] | 0x40000000) != 0x7FFF0000
    assert verdict(allowed["read"], audit=0x40000003) == 0x80000000


# What is said


def observation(**more: Any) -> FileObservation:
    plain = FileObservation("web/key", NOW, None, FileContent.LEAF, (certificate(LEAF.der()),), ("a" * 64,), 0o600, 0)
    return replace(plain, **more)


ASKED: Final = (FileTarget("web/key", "/k\udcff", FileRole.KEY, "web"),)


STORE: Final = Keystore(
    (
        KeystoreEntry(EntryKind.PRIVATE_KEY, Printable("site"), 1.5, (certificate(LEAF.der()),)),
        KeystoreEntry(EntryKind.TRUSTED, Printable("ä\\x1b"), None, (certificate(ISSUING.der()),)),
        KeystoreEntry(EntryKind.SECRET_KEY, Printable(""), -1e15, ()),
    ),
    Integrity.VERIFIED,
    default_password=True,
    locked_keys=3,
)


def test_every_fact_of_an_observation_is_told_as_it_is() -> None:
    told = {
        "target",
        "identity",
        "content",
        "certificates",
        "keys",
        "mode",
        "owner",
        "failure",
        "encrypted_keys",
        "format",
        "keystore",
        "line",
    }
    # Whether a chain is absent follows from the whole set; revocation lists are read where `revocation` names them.
    # The directory counts of keys that a pattern finds, which are of no component.
    assert {each.name for each in fields(FileObservation)} == told | {"at", "absent", "lists", "directory_owner"}, (
        "tell the new one, too, or say why not"
    )
    seen = observation(
        identity=look_at_file(FileTarget("x", __file__, FileRole.LISTED), NOW).identity,
        failure=Unreadable(UnreadableReason.BAD_PEM, Printable("broken")),
        encrypted_keys=2,
        keystore=STORE,
        line=LineReading(LineState.UNCLEAR, Printable("why"), absent=True),
    )
    document = json.loads(json.dumps(to_document(facts_of(SetReading((seen,), moved=True), ASKED))))
    assert reading_of(from_document(document), ASKED, NOW) == SetReading((seen,), moved=True)


def test_more_certificates_than_fit_into_an_answer_are_not_told_of() -> None:
    der = certificate(LEAF.der())
    for many in (MOST_CERTIFICATES + 1, MOST_DER // len(LEAF.der()) + 1):
        found = facts_of(SetReading((observation(certificates=(der,) * many),)), ASKED).files[0]
        assert found.certificates == ()
        assert found.failure is not None
        assert found.failure.reason is UnreadableReason.TOO_LARGE
        from_document(to_document(ComponentFacts((found,), moved=False)))


def test_more_entries_than_fit_into_an_answer_are_not_told_of() -> None:
    entry = KeystoreEntry(EntryKind.TRUSTED, Printable("x" * 200), None, (certificate(LEAF.der()),))
    for entries in ((entry,) * (MOST_CERTIFICATES + 1), (replace(entry, alias=Printable("x" * 2000)),) * 200):
        keystore = Keystore(entries, Integrity.UNVERIFIED)
        found = facts_of(SetReading((observation(keystore=keystore),)), ASKED).files[0]
        assert (found.certificates, found.keystore) == ((), None)
        assert found.failure is not None
        assert found.failure.reason is UnreadableReason.TOO_LARGE
        from_document(to_document(ComponentFacts((found,), moved=False)))


PLAIN: Final[Document] = to_document(facts_of(SetReading((observation(),)), ASKED))
PLAIN_STORE: Final[Document] = to_document(facts_of(SetReading((observation(keystore=STORE),)), ASKED))["files"][0][
    "keystore"
]
ENTRY: Final[Document] = PLAIN_STORE["entries"][0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keys", [LEAF.key_pem().hex()]),
        ("keys", ["a" * 63]),
        ("keys", ["a" * 64] * 101),
        ("keys", "a" * 64),
        ("certificates", ["not base64!"]),
        ("certificates", [base64.b64encode(b"no DER").decode()]),
        ("certificates", [base64.b64encode(b"\x30" * 400_000).decode()]),
        ("certificates", [base64.b64encode(b"\x30" * 250_000).decode()] * 9),
        ("identity", [1, 2, 3]),
        ("identity", [1, 2, 3, 4, 1.5]),
        ("identity", [1, 2, 3, 4, 1 << 64]),
        ("content", "secret"),
        ("mode", 0o10000),
        ("mode", True),
        ("owner", -1),
        ("encrypted_keys", 1 << 40),
        ("keystore", {}),
        ("keystore", {**PLAIN_STORE, "more": ["not base64!"]}),
        ("keystore", {**PLAIN_STORE, "more": [], "entries": [{**ENTRY, "certificates": [1]}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{**ENTRY, "certificates": [-1]}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{**ENTRY, "created": float("nan")}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{**ENTRY, "created": "yesterday"}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{**ENTRY, "kind": "secret"}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{**ENTRY, "alias": "x" * 2401}]}),
        ("keystore", {**PLAIN_STORE, "entries": [{"alias": "x"}]}),
        ("keystore", {**PLAIN_STORE, "entries": [ENTRY] * (MOST_CERTIFICATES + 1)}),
        ("keystore", {**PLAIN_STORE, "integrity": "whole"}),
        ("keystore", {**PLAIN_STORE, "default_password": 1}),
        ("keystore", {**PLAIN_STORE, "locked_keys": 101}),
        ("failure", ["unheard_of", ""]),
        ("failure", ["bad_pem", "x" * 1001]),
        ("failure", ["bad_pem"]),
        ("name", 1),
        ("more", "than was asked for"),
    ],
)
def test_what_has_another_shape_is_no_answer(name: str, value: object) -> None:
    with pytest.raises(NotFactsError) as error:
        from_document({**PLAIN, "files": [{**PLAIN["files"][0], name: value}]})
    assert KEY.hex()[:20] not in str(error.value)


def test_what_is_damaged_or_about_other_files_is_no_answer() -> None:
    found = from_document(PLAIN)
    with pytest.raises(NotFactsError, match="other files"):
        reading_of(found, [replace(ASKED[0], path="/else")], NOW)
    broken = replace(found, files=(replace(found.files[0], certificates=(b"\x30\x03\x02\x01\x01",)),))
    with pytest.raises(NotFactsError, match="cannot be decoded"):
        reading_of(broken, ASKED, NOW)
    shapes: tuple[object, ...] = (
        None,
        [],
        {},
        {"files": [], "moved": 1},
        {"files": [PLAIN["files"][0]] * 17, "moved": False},
    )
    for plain in shapes:
        with pytest.raises(NotFactsError):
            from_document(plain)


def test_an_alias_that_is_told_is_printable() -> None:
    entries = [{**ENTRY, "alias": "\x1b[2J\u202e\n"}]
    hostile = {**PLAIN["files"][0], "keystore": {**PLAIN_STORE, "entries": entries}}
    keystore = from_document({**PLAIN, "files": [hostile]}).files[0].keystore
    assert keystore is not None
    assert keystore.entries[0].alias.isprintable()


def test_it_tells_the_entries_of_java_s_keystores(reader: Reader, tmp_path: Path) -> None:
    own = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    entries = (
        java_keystore.private("site", java_keystore.locked(own), [each.der() for each in LEAF.chain]),
        java_keystore.private("other", java_keystore.locked(own, b"another"), []),
        java_keystore.trusted("root", ISSUING.der()),
    )
    password = written(tmp_path / "password", PASSWORD + b"\n")
    asked = target(written(tmp_path / "site.jks", java_keystore.store(*entries)), FileRole.KEYSTORE, password)
    found = reader.read("web", [asked])
    assert isinstance(found, ComponentFacts)
    assert reading_of(found, [asked], NOW) == read_set([asked], NOW)
    (file,) = found.files
    assert (len(file.keys), file.encrypted_keys, file.failure) == (1, 1, None)
    assert file.keystore is not None
    assert [each.alias for each in file.keystore.entries] == ["site", "other", "root"]
    assert KEY.hex() not in json.dumps(to_document(found))


def test_text_that_is_told_is_printable() -> None:
    hostile = {**PLAIN["files"][0], "failure": ["bad_pem", "\x1b[2J\u202e\n"]}
    found = from_document({**PLAIN, "files": [hostile]}).files[0]
    assert found.failure is not None
    assert found.failure.detail.isprintable()


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(name=st.sampled_from(sorted(PLAIN["files"][0])), value=JSON)
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_said_is_facts_or_refused(name: str, value: object) -> None:
    with suppress(NotFactsError):
        from_document({**PLAIN, "files": [{**PLAIN["files"][0], name: value}]})


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no file system has times of 64 bits here")
def test_a_file_of_any_time_is_told_of(reader: Reader) -> None:
    with TemporaryDirectory(dir="/dev/shm") as room:
        path = Path(room) / "site.crt"
        path.write_bytes(LEAF.pem())
        os.utime(path, (2**45, 2**45))
        of = target(path, FileRole.CERTIFICATE)
        found = reader.read("web", (of,))
        assert isinstance(found, ComponentFacts), found
        (told,) = reading_of(found, (of,), NOW).observations
        assert told.identity == look_at_file(of, NOW).identity
        assert [each.der for each in told.certificates] == [LEAF.der()]
