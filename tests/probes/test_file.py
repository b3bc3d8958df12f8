from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from config.model import FileTarget
from config.text import Printable
from config.vocabulary import FileContent, FileFormat, FileRole, UnreadableReason
from monitor.lab.ca import Authority, KeyType, bundle, self_signed
from probes import file
from probes.certificate import certificate
from probes.file import SIZE_LIMIT, identify, look_at_file
from probes.observation import FileIdentity, FileObservation, Unreadable
from tests.kit.unprivileged import unprivileged

ROOT = Authority.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.issue("www.example.com", key=KeyType.P256)
KEY_DER = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
KEY_SHA256 = hashlib.sha256(
    LEAF.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).hexdigest()
NOW = 1_700_000_000.0


def look(path: Path, role: FileRole = FileRole.LISTED) -> FileObservation:
    return look_at_file(FileTarget("a file", str(path), role), NOW)


def holding(directory: Path, data: bytes, role: FileRole = FileRole.LISTED) -> FileObservation:
    path = directory / "file"
    path.write_bytes(data)
    return look(path, role)


def test_a_look_tells_everything_about_a_file(tmp_path: Path) -> None:
    path = tmp_path / "site.pem"
    path.write_bytes(LEAF.chain_pem() + LEAF.key_pem())
    path.chmod(0o640)
    status = path.stat()
    assert look(path, FileRole.COMBINED) == FileObservation(
        target="a file",
        at=NOW,
        identity=FileIdentity(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size),
        content=FileContent.LEAF,
        certificates=(certificate(LEAF.der()), certificate(ISSUING.der())),
        keys=(KEY_SHA256,),
        mode=0o640,
        owner=os.getuid(),
        format=FileFormat.PEM,
    )


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (LEAF.pem(), FileContent.LEAF),
        (LEAF.der(), FileContent.LEAF),
        (LEAF.chain_pem(), FileContent.LEAF),
        (bundle([ISSUING, LEAF]), FileContent.LEAF),
        (self_signed("a").pem(), FileContent.LEAF),
        (self_signed("a").pem() + ISSUING.pem() + LEAF.key_pem(), FileContent.LEAF),
        (ROOT.pem(), FileContent.ANCHOR),
        (ROOT.pem() + ROOT.pem(), FileContent.ANCHOR),
        (bundle([ROOT, ISSUING]), FileContent.BUNDLE),
        (bundle([ROOT, self_signed("a"), self_signed("b")]), FileContent.BUNDLE),
        (LEAF.key_pem(), FileContent.KEY),
        (b"", FileContent.NOTHING),
        (b"text\n", FileContent.NOTHING),
    ],
)
def test_a_file_is_classified_by_what_it_holds(tmp_path: Path, data: bytes, content: FileContent) -> None:
    observation = holding(tmp_path, data)
    assert observation.content is content
    assert observation.failure is None


@pytest.mark.parametrize("role", sorted(set(FileRole) - {FileRole.KEYSTORE}))
def test_a_key_is_loaded_only_where_it_is_compared(tmp_path: Path, role: FileRole) -> None:
    observation = holding(tmp_path, LEAF.key_pem(), role)
    compared = role is not FileRole.CHAIN and not role.is_line
    assert observation.keys == ((KEY_SHA256,) if compared else ())
    assert observation.content is FileContent.KEY


def test_a_der_key_is_compared_too(tmp_path: Path) -> None:
    assert holding(tmp_path, KEY_DER, FileRole.KEY).keys == (KEY_SHA256,)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("shape", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_counted_and_no_failure(tmp_path: Path, encoding: Encoding, shape: PrivateFormat) -> None:
    if encoding is Encoding.DER:
        shape = PrivateFormat.PKCS8
    data = LEAF.key.private_bytes(encoding, shape, BestAvailableEncryption(b"secret"))
    observation = holding(tmp_path, data, FileRole.KEY)
    assert (observation.content, observation.keys, observation.encrypted_keys) == (FileContent.KEY, (), 1)
    assert observation.failure is None


def test_a_damaged_key_is_told_without_any_of_it(tmp_path: Path) -> None:
    lines = LEAF.key_pem().split(b"\n")
    body = lines[1]
    lines[1] = body[:20] + b"AAAA" + body[24:]
    lines[2] = b""
    observation = holding(tmp_path, LEAF.pem() + b"\n".join(lines), FileRole.COMBINED)
    assert observation.certificates == (certificate(LEAF.der()),)
    assert observation.failure == Unreadable(UnreadableReason.BAD_PEM, Printable("private key 1 cannot be decoded"))


def test_a_bad_certificate_is_the_failure_while_the_others_stay_facts(tmp_path: Path) -> None:
    data = LEAF.pem() + b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n" + ROOT.pem()
    observation = holding(tmp_path, data)
    assert observation.certificates == (certificate(LEAF.der()), certificate(ROOT.der()))
    assert observation.failure is not None
    assert observation.failure.reason is UnreadableReason.BAD_DER
    assert observation.failure.detail.startswith("certificate 2 of 3 cannot be decoded: ")


def test_a_renewal_cut_short_is_told(tmp_path: Path) -> None:
    failure = holding(tmp_path, LEAF.pem()[:-40]).failure
    assert failure is not None
    assert failure.reason is UnreadableReason.BAD_PEM


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # A socket's address is short, the test's directory may not be.
        os.chdir(path.parent)
        server.bind(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.mkdir()


def broken_link(path: Path) -> None:
    path.symlink_to("no\x1b[31mwhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def huge(path: Path) -> None:
    with path.open("wb") as opened:
        opened.truncate(SIZE_LIMIT + 1)


def nothing(path: Path) -> None:
    assert not path.exists()


def beneath_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "reason", "detail"),
    [
        (fifo, UnreadableReason.NOT_REGULAR, "it is not a regular file"),
        (unix_socket, UnreadableReason.NOT_REGULAR, "it is not a regular file"),
        (device, UnreadableReason.NOT_REGULAR, "it is not a regular file"),
        (directory, UnreadableReason.NOT_REGULAR, "it is not a regular file"),
        (broken_link, UnreadableReason.BROKEN_SYMLINK, r"it links to no\x1b[31mwhere, which does not exist"),
        (loop, UnreadableReason.SYMLINK_LOOP, "its symbolic links lead in a circle"),
        (huge, UnreadableReason.TOO_LARGE, "it is larger than 8388608 bytes"),
        (nothing, UnreadableReason.NOT_FOUND, "there is no such file"),
        (beneath_a_file, UnreadableReason.NOT_FOUND, "there is no such file"),
    ],
)
def test_what_cannot_be_read_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], reason: UnreadableReason, detail: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "d" / "file"
    path.parent.mkdir()
    make(path)
    observation = look(path)
    assert observation.failure is not None
    assert observation.failure.reason is reason
    assert observation.failure.detail == detail
    assert observation.content is FileContent.NOTHING
    if reason is not UnreadableReason.TOO_LARGE:
        identified = identify(str(path))
        assert isinstance(identified, Unreadable)
        assert identified.reason is reason


def test_a_path_that_no_file_can_have_has_a_reason() -> None:
    assert look(Path("/a\0b")).failure == Unreadable(UnreadableReason.NOT_FOUND, Printable("there is no such file"))
    assert look(Path("/" + "x" * 300)).failure == Unreadable(UnreadableReason.IO_ERROR, Printable("File name too long"))


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secret.pem"
    path.write_bytes(LEAF.pem())
    path.chmod(0)
    with unprivileged(tmp_path):
        assert _reason(look(path)) is UnreadableReason.PERMISSION_DENIED


def test_a_file_in_a_directory_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    path = tmp_path / "d" / "secret.pem"
    path.parent.mkdir()
    path.write_bytes(LEAF.pem())
    path.parent.chmod(0)
    with unprivileged(tmp_path):
        assert _reason(look(path)) is UnreadableReason.PERMISSION_DENIED
    path.parent.chmod(0o700)


def _reason(observation: FileObservation) -> UnreadableReason | None:
    return observation.failure.reason if observation.failure else None


def test_a_file_that_is_written_to_whenever_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(LEAF.pem())
    interfere(monkeypatch, path, b"", LEAF.pem())
    assert _reason(look(path)) is UnreadableReason.CHANGED_WHILE_READ


def test_a_single_write_during_reading_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(LEAF.pem())
    interfere(monkeypatch, path, ROOT.pem())
    observation = look(path)
    assert observation.certificates == (certificate(ROOT.der()),)
    assert observation.identity == identify(str(path))


def interfere(monkeypatch: pytest.MonkeyPatch, path: Path, *contents: bytes) -> None:
    """Have someone write the next of `contents` to the file after each reading."""
    left = list(contents)

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        data = os.pread(descriptor, size, offset)
        if left:
            path.write_bytes(left.pop(0))
        return data

    class Interfered:
        def __getattr__(self, name: str) -> object:
            return pread if name == "pread" else getattr(os, name)

    monkeypatch.setattr(file, "os", Interfered())
