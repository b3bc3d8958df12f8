"""Nothing that a password opens costs this process more than a trial in another one allows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from actions.candidate import Given, NoCandidate, read_candidates
from config.model import FileTarget
from config.vocabulary import FileRole, UnreadableReason
from monitor.lab.ca import Authority, KeyType
from monitor.lab.process import wait_for
from probes import trial
from probes.container.pkcs12 import seal_of, unlock
from probes.file import look_at_file
from probes.trial import Sealed, too_much_work
from tests.kit.keystore import PASSWORD, hiding, keystore
from tests.kit.worlds import in_a_process

LEAF = Authority.root().issue("www.example.com", key=KeyType.P256)
FOREVER = 2**31 - 1
HOSTILE = hiding(LEAF, FOREVER)
"""What a trial found out about it is remembered, which spares the next test its work."""

pytestmark = pytest.mark.filterwarnings("ignore:PKCS#12 .* could not be parsed as DER:UserWarning")


@pytest.fixture(autouse=True)
def _little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trials end sooner: each that is too dear takes all of it."""
    assert trial.WORK == 3
    monkeypatch.setattr(trial, "WORK", 0.5)


def test_a_keystore_that_hides_how_much_work_it_takes_is_not_opened_here() -> None:
    assert len(unlock(hiding(LEAF, 2), PASSWORD).keys) == 1, "the shape as such is opened"
    assert seal_of(HOSTILE).work < 10
    before = time.process_time()
    (fault,) = unlock(HOSTILE, PASSWORD).faults
    assert fault.reason is UnreadableReason.TOO_LARGE
    assert "takes more than 0.5 s of work" in fault.detail
    assert time.process_time() - before < 1.0


def test_the_daemon_and_an_inbox_say_that_it_takes_too_much_work(tmp_path: Path) -> None:
    path, secret = tmp_path / "site.p12", tmp_path / "site.pass"
    path.write_bytes(HOSTILE)
    secret.write_bytes(PASSWORD)
    target = FileTarget("site", str(path), FileRole.KEYSTORE, password_files=(str(secret),))
    failure = look_at_file(target, 1.8e9).failure
    assert failure is not None
    assert failure.reason is UnreadableReason.TOO_LARGE
    made = read_candidates([Given("site.p12", HOSTILE)], PASSWORD, [])
    assert isinstance(made, NoCandidate)
    assert "takes more than 0.5 s of work" in made.detail


def test_an_encrypted_key_is_tried_elsewhere_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[Sealed, bytes | None]] = []

    def too_dear(sealed: Sealed, _data: bytes, password: bytes | None) -> str:
        tried.append((sealed, password))
        return "takes too much"

    monkeypatch.setattr("probes.container.private_key.too_much_work", too_dear)
    key = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    made = read_candidates([Given("site.key", key)], b"secret", [])
    assert isinstance(made, NoCandidate)
    assert tried == [(Sealed.KEY, b"secret")]


@pytest.mark.parametrize(("rounds", "code"), [(2, 0), (FOREVER, -signal.SIGPROF)])
def test_where_a_unit_permits_no_limits_of_its_own_a_trial_ends_all_the_same(rounds: int, code: int) -> None:
    script = """
import errno, os, resource, sys
def refuse(*_):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
resource.setrlimit = refuse
from probes import trial
sys.exit(trial.main(0.5))
"""
    data = hiding(LEAF, rounds)
    given = f"{Sealed.KEYSTORE} ={b64encode(PASSWORD).decode()} {len(data)}\n".encode() + data
    ended = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"%d\n" % code), ended.stderr


def test_a_result_is_remembered_and_a_wrong_password_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = keystore(LEAF)
    assert not too_much_work(Sealed.KEYSTORE, data, b"wrong")
    monkeypatch.setattr(trial, "_tried", lambda *_: pytest.fail("it was tried before"))
    assert not too_much_work(Sealed.KEYSTORE, data, b"wrong")


@pytest.mark.parametrize("password", [None, b"wrong"])
def test_all_passwords_of_a_keystore_are_tried_in_one_trial(
    monkeypatch: pytest.MonkeyPatch, password: bytes | None
) -> None:
    tried: list[str] = []
    real = trial._tried

    def counted(sealed: Sealed, said: str, data: bytes) -> str:
        tried.append(said)
        return real(sealed, said, data)

    monkeypatch.setattr(trial, "_tried", counted)
    (fault,) = unlock(keystore(LEAF), password).faults
    assert fault.reason is UnreadableReason.WRONG_PASSWORD
    assert tried == ["-,=" if password is None else f"={b64encode(password).decode()},-,="]


@pytest.mark.parametrize("first", [PASSWORD, b"wrong"])
def test_a_trial_ends_with_the_first_password_that_fits_or_costs_too_much(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    tried: list[bytes | None] = []

    def load(_data: bytes, password: bytes | None) -> None:
        tried.append(password)
        if password != PASSWORD:
            raise ValueError

    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.pkcs12.load_pkcs12", load)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    monkeypatch.setattr("signal.setitimer", lambda *_: None)
    trial._open(Sealed.KEYSTORE, b"", [first, PASSWORD, b"never"], 3)
    assert tried == [*dict.fromkeys((first, PASSWORD))]


def children() -> set[int]:
    """Return the processes that this one has started and that are there, run or not."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(each) for task in tasks for each in (task / "children").read_text().split()}


@pytest.fixture
def forkers(monkeypatch: pytest.MonkeyPatch) -> trial._Forkers:
    """Return such as nobody has used yet, with no result remembered."""
    made = trial._Forkers()
    monkeypatch.setattr(trial, "_forkers", made)
    monkeypatch.setattr(trial, "_results", trial._Results())
    return made


def test_one_process_is_begun_for_many_trials_and_ended_when_there_are_no_more(
    forkers: trial._Forkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_IDLE", 0.2)
    before = children()
    begun = set()
    for password in (None, b"", b"a", b"b"):
        assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), password)
        begun |= children() - before
    assert len(begun) == 1
    wait_for(lambda: not begun & children(), what="its end")
    assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), b"c")
    assert not begun & children()


def test_a_trial_that_is_too_dear_costs_the_next_nothing(forkers: trial._Forkers) -> None:
    before = children()
    with ThreadPoolExecutor() as threads:
        dear = threads.submit(too_much_work, Sealed.KEYSTORE, HOSTILE, PASSWORD)
        wait_for(lambda: children() - before, what="the trial")
        assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), PASSWORD), "beside it"
        assert not dear.done()
        assert "takes more than 0.5 s of work" in dear.result()
    assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), b"another"), "after it"


def test_a_process_that_was_killed_is_begun_again(forkers: trial._Forkers) -> None:
    before = children()
    assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), PASSWORD)
    (begun,) = children() - before
    os.kill(begun, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{begun}/stat").read_text().split()[2] == "Z", what="its end")
    assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), b"another")


def test_a_process_that_was_forked_from_this_one_begins_its_own(forkers: trial._Forkers) -> None:
    assert not too_much_work(Sealed.KEYSTORE, keystore(LEAF), PASSWORD)
    before = children()
    data = keystore(LEAF)

    def tried_beside() -> None:
        assert not too_much_work(Sealed.KEYSTORE, data, PASSWORD)
        assert len(children()) == 1

    assert in_a_process(tried_beside) == 0
    assert not too_much_work(Sealed.KEYSTORE, data, PASSWORD)
    assert children() == before
