"""Keystores are looked into like any other file, and what keeps one closed is said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.model import FileTarget
from config.text import Printable, harmless, sentence
from config.vocabulary import FileContent, FileFormat, FileRole, UnreadableReason
from monitor.lab.ca import Authority, KeyType
from monitor.lab.process import find_command
from probes.assess import FileContext, assess_file
from probes.certificate import certificate
from probes.container import pkcs12
from probes.container.pkcs12 import MOST_WORK, is_pkcs12, seal_of, unlock
from probes.file import look_at_file
from probes.observation import FileIdentity, FileObservation, Unreadable
from tests.kit.examples import examples
from tests.kit.keystore import PASSWORD, indefinite, keystore, sealed

ROOT = Authority.root()
UPPER = ROOT.intermediate("Upper")
ISSUING = UPPER.intermediate("Issuing")
LEAF = ISSUING.issue("www.example.com", key=KeyType.P256)
CHAIN = tuple(certificate(each.der()) for each in (LEAF, ISSUING, UPPER))
NOW = 1_800_000_000.0

pytestmark = pytest.mark.filterwarnings("ignore:PKCS#12 .* could not be parsed as DER:UserWarning")


def look(directory: Path, data: bytes, password: bytes | None = PASSWORD) -> FileObservation:
    path, secret = directory / "site.p12", directory / "site.pass"
    path.write_bytes(data)
    path.chmod(0o640)
    if password is not None:
        secret.write_bytes(password)
    return look_at_file(FileTarget("java/keystore", str(path), FileRole.KEYSTORE, password_files=(str(secret),)), NOW)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(keystore(LEAF), id="today's"),
        pytest.param(keystore(LEAF, old=True), id="old"),
        pytest.param(keystore(LEAF, None), id="open"),
        pytest.param(keystore(LEAF, name=None), id="nameless"),
        pytest.param(keystore(LEAF, chain=[UPPER, ISSUING]), id="in disorder"),
        pytest.param(indefinite(keystore(LEAF)), id="BER"),
    ],
)
@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
def test_a_look_tells_everything_about_a_keystore(tmp_path: Path, data: bytes, line_end: bytes) -> None:
    found = look(tmp_path, data, PASSWORD + line_end)
    status = (tmp_path / "site.p12").stat()
    assert found == FileObservation(
        target="java/keystore",
        at=NOW,
        identity=FileIdentity(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size),
        content=FileContent.LEAF,
        certificates=CHAIN,
        keys=(CHAIN[0].public_key_sha256(),),
        mode=0o640,
        owner=os.getuid(),
        format=FileFormat.PKCS12,
        keystore=found.keystore,
    )
    assert found.keystore is not None
    assert found.keystore.served == CHAIN
    assert PASSWORD.decode() not in repr(found)


@pytest.mark.server("openssl")
@pytest.mark.parametrize("options", [[], ["-legacy"], ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"]])
def test_what_openssl_writes_is_read(tmp_path: Path, options: list[str]) -> None:
    pem, path = tmp_path / "site.pem", tmp_path / "site.p12"
    pem.write_bytes(LEAF.key_pem() + LEAF.chain_pem())
    command = [find_command("openssl") or "", "pkcs12", "-export", "-in", str(pem), "-out", str(path), *options]
    subprocess.run([*command, "-passout", f"pass:{PASSWORD.decode()}"], check=True, capture_output=True)
    found = look(tmp_path, path.read_bytes())
    assert (found.failure, found.certificates) == (None, CHAIN)


def test_a_key_of_another_certificate_in_a_keystore_is_found(tmp_path: Path) -> None:
    found = look(tmp_path, keystore(LEAF))
    target = FileTarget("java/keystore", "/site.p12", FileRole.KEYSTORE)
    judged = assess_file(found, FileContext(target, keys=found.keys), NOW)
    assert "key_mismatch" not in {each.code for each in judged.findings}
    judged = assess_file(found, FileContext(target, keys=("00" * 32,), keys_where="it"), NOW)
    assert "key_mismatch" in {each.code for each in judged.findings}


def test_the_chain_in_a_keystore_is_judged_as_that_of_a_combined_file_is(tmp_path: Path) -> None:
    found = look(tmp_path, keystore(LEAF, chain=[ROOT, UPPER, ISSUING]))
    target = FileTarget("java/keystore", "/site.p12", FileRole.KEYSTORE)
    codes = {each.code for each in assess_file(found, FileContext(target), NOW).findings}
    assert "root_presented" in codes
    assert "wrong_order" not in codes, "a keystore has none"


def no_file(directory: Path) -> None:
    (directory / "site.pass").unlink()


def a_directory(directory: Path) -> None:
    no_file(directory)
    (directory / "site.pass").mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"), [(no_file, "there is no such file"), (a_directory, "it is not a regular file")]
)
def test_without_the_file_of_its_password_a_keystore_is_unreadable(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    look(tmp_path, keystore(LEAF))
    spoil(tmp_path)
    found = look(tmp_path, keystore(LEAF), None)
    detail = sentence(
        "the file with its password, {}/site.pass, cannot be read: {}", harmless(str(tmp_path)), harmless(why)
    )
    assert found.failure == Unreadable(UnreadableReason.NO_PASSWORD, detail)
    assert (found.certificates, found.keys) == ((), ())


@pytest.mark.parametrize("password", [b"wrong", b"\xff\xfe"])
def test_the_wrong_password_is_named_by_its_file_and_never_shown(tmp_path: Path, password: bytes) -> None:
    found = look(tmp_path, keystore(LEAF), password)
    detail = sentence(
        "a PKCS#12 keystore that this password does not open (password of {}/site.pass)", harmless(str(tmp_path))
    )
    assert found.failure == Unreadable(UnreadableReason.WRONG_PASSWORD, detail)


def test_a_keystore_that_needs_a_password_says_so(tmp_path: Path) -> None:
    path = tmp_path / "site.p12"
    path.write_bytes(keystore(LEAF))
    found = look_at_file(FileTarget("a", str(path), FileRole.KEYSTORE), NOW)
    assert found.failure == Unreadable(UnreadableReason.LOCKED, Printable("a PKCS#12 keystore that needs a password"))


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (LEAF.key_pem() + LEAF.chain_pem(), "it is no keystore"),
        (b"", "it is no keystore"),
        (keystore(LEAF)[:-9], "the keystore is cut short or damaged"),
    ],
)
def test_what_is_no_whole_keystore_is_unreadable(tmp_path: Path, data: bytes, detail: str) -> None:
    assert look(tmp_path, data).failure == Unreadable(UnreadableReason.BAD_DER, harmless(detail))


def test_a_keystore_made_to_keep_us_busy_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (keystore(LEAF), keystore(LEAF, old=True), indefinite(keystore(LEAF))):
        rounds = seal_of(data).work
        assert rounds == 1000 + 1000 + 2048, "for the certificates, for the key, for the MAC"
        monkeypatch.setattr(pkcs12, "MOST_WORK", rounds)
        assert look(tmp_path, data).failure is None
        monkeypatch.setattr(pkcs12, "MOST_WORK", rounds - 1)
        failure = look(tmp_path, data).failure
        assert failure is not None
        assert failure.reason is UnreadableReason.TOO_LARGE
        assert f"takes the work of {rounds} rounds" in failure.detail


@pytest.mark.parametrize("number", [b"\x02\x04\x7f\xff\xff\xff", b"\x02\x82\x13\x88" + b"\x7f" * 5000])
def test_an_absurd_number_of_rounds_is_refused_and_said(number: bytes) -> None:
    blocks = unlock(b"\x30\x80\x02\x01\x03\x04\x01s" + number, PASSWORD)
    assert [each.reason for each in blocks.faults] == [UnreadableReason.TOO_LARGE]


def test_a_tag_by_which_rounds_could_be_hidden_is_damage() -> None:
    blocks = unlock(b"\x30\x80\x02\x01\x03\x1f\x81\x07\x04\x01s\x02\x02\x7f\xff", PASSWORD)
    assert [each.reason for each in blocks.faults] == [UnreadableReason.BAD_DER]


def test_what_tools_write_is_far_from_too_much_work() -> None:
    assert seal_of(keystore(LEAF, rounds=600_000)).work < MOST_WORK / 4


@pytest.mark.parametrize(
    ("digest", "cost"),
    [
        pytest.param("2b0e03021a", 1, id="SHA-1"),
        pytest.param("608648016503040201", 1, id="SHA-256"),
        pytest.param("608648016503040203", 4, id="SHA-512"),
        pytest.param("60864801650304020a", 4, id="SHA3-512"),
        pytest.param("2a0304", 4, id="unknown"),
    ],
)
def test_a_dear_hash_counts_as_what_it_costs(digest: str, cost: int) -> None:
    assert seal_of(sealed(1000, digest)).work == cost * 1000


def test_the_parameters_of_scrypt_count_together() -> None:
    salt = b"\x06\x09" + bytes.fromhex("2b06010401da47040b") + b"\x04\x01s"
    assert seal_of(salt + b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x02").work == 4 * 16384 * 8 * 2


def test_the_passwords_that_are_tried_count_each(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bytes | None] = []

    def load(_data: bytes, password: bytes | None) -> None:
        tried.append(password)
        raise ValueError

    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.pkcs12.load_pkcs12", load)
    for rounds, password, expected in (
        (MOST_WORK // 4, b"wrong", [b"wrong"]),
        (MOST_WORK // 8, b"wrong", [b"wrong", None]),
        (MOST_WORK // 12, b"wrong", [b"wrong", None, b""]),
        (MOST_WORK // 4 + 1, b"wrong", []),
    ):
        tried.clear()
        (fault,) = unlock(sealed(rounds), password).faults
        assert tried == expected
        assert fault.reason is (UnreadableReason.WRONG_PASSWORD if expected else UnreadableReason.TOO_LARGE)
    # Where none is known, it may be open, which was not tried.
    assert [each.reason for each in unlock(sealed(MOST_WORK // 4), None).faults] == [UnreadableReason.TOO_LARGE]


def test_only_keystores_are_taken_for_one() -> None:
    assert is_pkcs12(keystore(LEAF))
    assert is_pkcs12(indefinite(keystore(LEAF)))
    for data in (b"", b"0", LEAF.der(), LEAF.pem(), b"\x31\x03\x02\x01\x03"):
        assert not is_pkcs12(data)


DATA = keystore(LEAF)


@settings(deadline=None, max_examples=examples(150))
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255), st.integers(0, len(DATA)))
def test_no_damage_to_a_keystore_raises(at: int, difference: int, length: int) -> None:
    damaged = bytearray(DATA)
    damaged[at] ^= difference
    for data in (bytes(damaged), DATA[:length], bytes(damaged[:length])):
        if is_pkcs12(data):
            unlock(data, PASSWORD)


@given(st.binary(max_size=200))
def test_no_bytes_behind_the_version_raise(data: bytes) -> None:
    unlock(b"\x30\x80\x02\x01\x03" + data, PASSWORD)
