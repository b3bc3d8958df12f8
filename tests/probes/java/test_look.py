"""A look at a keystore tells its entries, whether its password verifies it, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.model import FileTarget
from config.text import Printable, harmless
from config.vocabulary import (
    Code,
    EntryKind,
    FileContent,
    FileFormat,
    FileRole,
    Integrity,
    Severity,
    UnreadableReason,
)
from monitor.lab.ca import Authority, KeyType
from probes.assess import FileContext, assess_file
from probes.assess_set import judge_use
from probes.certificate import certificate
from probes.file import look_at_file
from probes.finding import Finding
from probes.observation import FileObservation, Unreadable
from probes.set import SetReading
from tests.kit import java_keystore as java
from tests.kit.java_keystore import ALIASES, CHANGEIT, PASSWORD, JavaStores
from tests.kit.keystore import keystore

NOW = 1_800_000_000.0
ROOT = Authority.root("Root", not_before=NOW - 1e8, not_after=NOW + 1e9)
OTHER_ROOT = Authority.root("Other Root", not_before=NOW - 1e8, not_after=NOW + 1e9)
ENDED = Authority.root("Ended Root", not_before=NOW - 2e8, not_after=NOW - 1e8)
ISSUING = ROOT.intermediate("Issuing", not_before=NOW - 1e8, not_after=NOW + 5e8)
LEAF = ISSUING.issue("www.example.com", key=KeyType.P256, not_before=NOW - 1e6, not_after=NOW + 2e7)
CHAIN = tuple(certificate(each.der()) for each in LEAF.chain)
KEY = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
OWN = java.private("site", java.locked(KEY), [each.der() for each in LEAF.chain])
PLACES_OF_PACKAGES = (
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/usr/lib/jvm/java-17/lib/security/cacerts",
    "/usr/java/default/jre/lib/security/cacerts",
)


def look(
    directory: Path,
    data: bytes,
    password: bytes | None = None,
    role: FileRole = FileRole.LISTED,
    most: int | None = None,
) -> FileObservation:
    path, secret = directory / "store", directory / "store.pass"
    path.write_bytes(data)
    path.chmod(0o640)
    if password is not None:
        secret.write_bytes(password + b"\n")
    target = FileTarget("store", str(path), role, password_files=() if password is None else (str(secret),))
    return look_at_file(target, NOW, most_certificates=most)


def judged(seen: FileObservation, role: FileRole, path: str = "/store") -> tuple[Finding, ...]:
    return assess_file(seen, FileContext(FileTarget("store", path, role), keys=seen.keys), NOW).findings


def entries(seen: FileObservation) -> list[tuple[EntryKind, str, int]]:
    assert seen.keystore is not None
    return [(each.kind, each.alias, len(each.certificates)) for each in seen.keystore.entries]


@pytest.mark.server("keytool")
@pytest.mark.parametrize(
    ("name", "form"),
    [("trust.jks", FileFormat.JKS), ("trust.jceks", FileFormat.JCEKS), ("trust.p12", FileFormat.PKCS12)],
)
@pytest.mark.parametrize("password", [CHANGEIT, None])
def test_a_trust_store_is_read_with_its_aliases_and_opened_by_the_password_that_everybody_knows(
    made: JavaStores, tmp_path: Path, name: str, form: FileFormat, password: bytes | None
) -> None:
    seen = look(tmp_path, made.data[name], password)
    assert (seen.failure, seen.format, seen.content) == (None, form, FileContent.BUNDLE)
    assert seen.keystore is not None
    # The library gives no name in PKCS#12 that has a character beyond 16 bits.
    aliases = ("", ALIASES[0]) if form is FileFormat.PKCS12 else ALIASES
    assert sorted(entries(seen)) == [(EntryKind.TRUSTED, alias, 1) for alias in aliases]
    assert (seen.keystore.integrity, seen.keystore.default_password) == (Integrity.VERIFIED, True)
    assert set(seen.certificates) == set(map(certificate, made.roots))
    (found,) = [each for each in judged(seen, FileRole.LISTED) if each.code is Code.DEFAULT_STORE_PASSWORD]
    assert found.severity is Severity.WARNING


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["key.jks", "key.jceks", "key.p12"])
def test_the_keystore_of_a_component_gives_chain_and_key(made: JavaStores, tmp_path: Path, name: str) -> None:
    seen = look(tmp_path, made.data[name], PASSWORD, FileRole.KEYSTORE)
    assert seen.failure is None
    chain = tuple(map(certificate, made.chain))
    assert set(chain) <= set(seen.certificates)
    assert seen.keys == (chain[0].public_key_sha256(),)
    assert seen.encrypted_keys == (name == "key.jks")
    assert PASSWORD.decode() not in repr(seen)


def test_a_chain_and_its_key_in_jks_are_judged_like_those_in_pkcs12(tmp_path: Path) -> None:
    seen = look(tmp_path, java.store(OWN), PASSWORD, FileRole.KEYSTORE)
    other = look(tmp_path, keystore(LEAF), PASSWORD, FileRole.KEYSTORE)
    assert (seen.certificates, seen.keys, seen.content) == (CHAIN, other.keys, FileContent.LEAF)
    assert judged(seen, FileRole.KEYSTORE) == judged(other, FileRole.KEYSTORE)


def test_the_key_of_another_certificate_in_jks_is_found(tmp_path: Path) -> None:
    other = ISSUING.issue("www.example.com", key=KeyType.P384, not_before=NOW - 1e6, not_after=NOW + 2e7)
    entry = java.private("site", java.locked(KEY), [each.der() for each in other.chain])
    seen = look(tmp_path, java.store(entry), PASSWORD, FileRole.KEYSTORE)
    assert Code.KEY_MISMATCH in {each.code for each in judged(seen, FileRole.KEYSTORE)}
    target = FileTarget("store", "/store", FileRole.KEYSTORE)
    (fault,) = judge_use(SetReading((seen,)), (target,), NOW)
    assert fault.code is Code.KEY_MISMATCH


def test_trusted_certificates_beside_a_key_are_no_part_of_its_chain(tmp_path: Path) -> None:
    trusted = (java.trusted("root", ROOT.der()), java.trusted("ended", ENDED.der()))
    seen = look(tmp_path, java.store(*trusted, OWN), PASSWORD, FileRole.KEYSTORE)
    assert seen.certificates == CHAIN
    (found,) = judged(seen, FileRole.KEYSTORE)
    assert (found.code, found.subject, found.severity) == (Code.EXPIRED, "CN=Ended Root", Severity.NOTICE)
    assert found.detail.startswith("alias ended: CN=Ended Root ended at ")


def test_without_a_password_certificates_are_there_and_nothing_is_verified(tmp_path: Path) -> None:
    seen = look(tmp_path, java.store(OWN, java.trusted("root", ROOT.der())), None, FileRole.KEYSTORE)
    assert seen.keystore is not None
    assert (seen.failure, seen.keystore.integrity) == (None, Integrity.UNVERIFIED)
    assert (seen.certificates, seen.keys, seen.encrypted_keys) == (CHAIN, (), 1)
    target = FileTarget("store", "/store", FileRole.KEYSTORE)
    assert judge_use(SetReading((seen,)), (target,), NOW) == ()


def test_a_wrong_password_is_named_by_its_file_and_hides_no_certificate(tmp_path: Path) -> None:
    seen = look(tmp_path, java.store(OWN), b"wrong", FileRole.KEYSTORE)
    detail = (
        "a JKS keystore that is not verified by this password: another one is needed, or somebody changed the file "
        f"(password of {tmp_path}/store.pass)"
    )
    assert seen.failure == Unreadable(UnreadableReason.WRONG_PASSWORD, harmless(detail))
    assert (seen.certificates, seen.keys) == (CHAIN, ())
    target = FileTarget("store", "/store", FileRole.KEYSTORE)
    assert [each.locked for each in judge_use(SetReading((seen,)), (target,), NOW)] == [True]


def test_a_password_that_cannot_be_read_is_said_and_no_other_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(java.store(java.trusted("root", ROOT.der()), password=CHANGEIT))
    target = FileTarget("store", str(path), FileRole.LISTED, password_files=(str(tmp_path / "none"),))
    seen = look_at_file(target, NOW)
    assert seen.failure is not None
    assert seen.failure.reason is UnreadableReason.NO_PASSWORD
    assert seen.keystore is not None
    assert (seen.keystore.default_password, len(seen.certificates)) == (False, 1)


def test_an_entry_that_holds_no_certificate_is_named_by_its_alias(tmp_path: Path) -> None:
    seen = look(tmp_path, java.store(java.trusted("root", ROOT.der()), java.trusted("odd", b"\x30\x03abc")))
    assert entries(seen) == [(EntryKind.TRUSTED, "root", 1), (EntryKind.TRUSTED, "odd", 0)]
    assert seen.failure is not None
    assert seen.failure.reason is UnreadableReason.BAD_DER


def test_of_more_entries_than_are_asked_for_none_is_decoded(tmp_path: Path) -> None:
    data = java.store(*(java.trusted(str(number), ROOT.der()) for number in range(4)))
    seen = look(tmp_path, data, most=3)
    assert seen.keystore is None
    assert seen.failure == Unreadable(
        UnreadableReason.TOO_LARGE, Printable("it holds 4 entries, at most 3 are looked at")
    )


def test_a_locked_pkcs12_stays_locked_where_the_password_is_not_the_default_one(tmp_path: Path) -> None:
    seen = look(tmp_path, java.trust_store((ROOT,), ("root",), PASSWORD))
    assert seen.failure == Unreadable(UnreadableReason.LOCKED, Printable("a PKCS#12 keystore that needs a password"))


@pytest.mark.parametrize("password", [None, CHANGEIT])
def test_a_pkcs12_without_a_password_has_no_default_one(tmp_path: Path, password: bytes | None) -> None:
    seen = look(tmp_path, keystore(LEAF, None), password)
    assert seen.keystore is not None
    assert (seen.keystore.integrity, seen.keystore.default_password) == (Integrity.UNPROTECTED, False)


def test_a_keystore_with_a_password_of_its_own_has_no_finding_for_it(tmp_path: Path) -> None:
    for data in (java.store(OWN), keystore(LEAF)):
        seen = look(tmp_path, data, PASSWORD, FileRole.KEYSTORE)
        assert Code.DEFAULT_STORE_PASSWORD not in {each.code for each in judged(seen, FileRole.KEYSTORE)}


@pytest.mark.parametrize("path", PLACES_OF_PACKAGES)
def test_the_default_password_of_a_package_s_trust_store_is_informational(tmp_path: Path, path: str) -> None:
    seen = look(tmp_path, java.store(java.trusted("root", ROOT.der()), password=CHANGEIT))
    (found,) = judged(seen, FileRole.LISTED, path)
    assert (found.code, found.severity) == (Code.DEFAULT_STORE_PASSWORD, Severity.INFORMATIONAL)
    (found,) = judged(seen, FileRole.LISTED, "/var/app/cacerts")
    assert (found.code, found.severity) == (Code.DEFAULT_STORE_PASSWORD, Severity.WARNING)


@pytest.mark.parametrize("path", PLACES_OF_PACKAGES)
def test_the_default_password_of_a_private_key_is_a_warning_wherever_it_lies(tmp_path: Path, path: str) -> None:
    own = java.private("site", java.locked(KEY, CHANGEIT), [each.der() for each in LEAF.chain])
    seen = look(tmp_path, java.store(own, password=CHANGEIT))
    assert seen.keys == (CHAIN[0].public_key_sha256(),), "it was opened"
    found = [each for each in judged(seen, FileRole.LISTED, path) if each.code is Code.DEFAULT_STORE_PASSWORD]
    assert [each.severity for each in found] == [Severity.WARNING]


def test_of_many_aliases_of_one_certificate_some_are_named(tmp_path: Path) -> None:
    data = java.store(*(java.trusted(str(number), ENDED.der()) for number in range(1000)))
    found = judged(look(tmp_path, data, PASSWORD), FileRole.LISTED)
    assert {each.code for each in found} == {Code.EXPIRED, Code.UNNEEDED_CERTIFICATE}
    assert all("alias 0, alias 1, alias 2, alias 3, alias 4 and 995 more" in each.detail for each in found)


@pytest.mark.parametrize("role", [FileRole.LISTED, FileRole.FOUND])
def test_a_trust_store_is_judged_as_roots_and_not_as_a_chain(tmp_path: Path, role: FileRole) -> None:
    pinned = ISSUING.issue("pinned.example.com", not_before=NOW - 1e6, not_after=NOW + 5e5)
    data = java.store(
        java.trusted("one", ROOT.der()),
        java.trusted("ended", ENDED.der()),
        java.trusted("other", OTHER_ROOT.der()),
        java.trusted("again", ROOT.der()),
        java.trusted("pinned", pinned.der()),
    )
    seen = look(tmp_path, data, PASSWORD, role)
    found = judged(seen, role)
    assert {(each.code, each.subject) for each in found} == {
        (Code.EXPIRED, "position 1"),
        (Code.UNNEEDED_CERTIFICATE, "position 0"),
        (Code.EXPIRING, "position 3"),
    }
    details = [each.detail for each in found if each.code is not Code.UNNEEDED_CERTIFICATE]
    assert sorted(each.partition(":")[0] for each in details) == ["alias ended", "alias pinned"]
    assert {each.severity for each in found} == {Severity.NOTICE}
    twice = next(each for each in found if each.code is Code.UNNEEDED_CERTIFICATE)
    said = "CN=Root is in the keystore 2 times: alias one, alias again"
    assert twice.detail == f"{said}; to cure it, take all but one of these entries out of the trust store"
