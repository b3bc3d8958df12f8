"""Several passwords for one watch: each is tried in its turn, and what none of them opens says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from config.model import FileTarget
from config.vocabulary import FileRole, UnreadableReason
from probes.file import look_at_file
from probes.observation import FileObservation
from tests.kit import java_keystore as java
from tests.kit.authority import ISSUING, NAME, ROOT

NOW = 1.8e9
LEAF = ISSUING.issue(NAME)


def keystore(password: bytes) -> bytes:
    sealed = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"site", LEAF.key, LEAF.certificate, [ISSUING.certificate], sealed)


def encrypted_key(password: bytes) -> bytes:
    return LEAF.pem() + LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))


def look(directory: Path, data: bytes, *passwords: str, role: FileRole = FileRole.LISTED) -> FileObservation:
    path = directory / "file"
    path.write_bytes(data)
    files = []
    for number, each in enumerate(passwords):
        secret = directory / f"{number}.pass"
        if each:
            secret.write_text(each + "\n")
        files.append(str(secret))
    return look_at_file(FileTarget("file", str(path), role, password_files=tuple(files)), NOW, with_keys=True)


@pytest.mark.parametrize("data", [keystore(b"third"), encrypted_key(b"third")], ids=["keystore", "key"])
@pytest.mark.parametrize("passwords", [("third",), ("first", "third"), ("first", "second", "third", "fourth")])
def test_the_password_that_fits_counts_wherever_it_stands(
    tmp_path: Path, data: bytes, passwords: tuple[str, ...]
) -> None:
    seen = look(tmp_path, data, *passwords)
    assert seen.failure is None
    assert (len(seen.keys), seen.encrypted_keys) == (1, 0)
    assert seen.certificates[0].der == LEAF.der()


def test_a_keystore_of_java_is_verified_by_the_password_that_fits(tmp_path: Path) -> None:
    data = java.store(java.trusted("root", ROOT.der()), password=b"third")
    seen = look(tmp_path, data, "first", "third")
    assert seen.failure is None
    assert seen.keystore is not None
    assert seen.keystore.integrity == "verified"


def test_where_none_fits_all_of_them_are_named_and_none_is_shown(tmp_path: Path) -> None:
    seen = look(tmp_path, keystore(b"third"), "first", "second")
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.detail) == (
        UnreadableReason.WRONG_PASSWORD,
        f"a PKCS#12 keystore that this password does not open (passwords of {tmp_path}/0.pass, {tmp_path}/1.pass)",
    )
    assert "second" not in seen.failure.detail


def test_a_password_that_cannot_be_read_is_told_only_where_no_other_opens(tmp_path: Path) -> None:
    assert look(tmp_path, keystore(b"second"), "", "second").failure is None
    assert look(tmp_path, LEAF.pem(), "", "second").failure is None
    failure = look(tmp_path, keystore(b"third"), "", "second").failure
    assert failure is not None
    assert (failure.reason, failure.detail) == (
        UnreadableReason.NO_PASSWORD,
        f"the file with its password, {tmp_path}/0.pass, cannot be read: there is no such file",
    )


@pytest.mark.parametrize("password", [b"", b"changeit"])
def test_no_password_an_empty_one_and_the_one_that_everybody_knows_need_no_file(
    tmp_path: Path, password: bytes
) -> None:
    assert look(tmp_path, keystore(password)).failure is None
