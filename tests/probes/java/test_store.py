"""JKS and JCEKS are read as keytool wrote them; and whatever the bytes are, reading ends soon and raises nothing."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import example, given
from hypothesis import strategies as st

from config.text import Printable
from config.vocabulary import EntryKind, Integrity, UnreadableReason
from monitor.lab.ca import Authority, KeyType
from probes.java.lock import MOST_ROUNDS
from probes.java.store import MOST_ENTRIES, MOST_IN_CHAIN, JavaKeystore, read_java_keystore
from probes.keystore import Keystore, KeystoreEntry
from tests.kit import java_keystore as java
from tests.kit.java_keystore import ALIASES, CHANGEIT, OTHER, PASSWORD, JavaStores

ROOT = Authority.root("Root")
LEAF = ROOT.intermediate("Issuing").issue("www.example.com", key=KeyType.P256)
CHAIN = tuple(each.der() for each in LEAF.chain)
LOCKED_KEY = java.protected(java.BY_JDK, b"\5\0", bytes(100))
SECRET = bytes.fromhex(
    "aced0005 7372 0003 41 2e 42 0000000000000000 02 0002 5b 0001 61 7400025b42 4c 0001 62 740001 53 7870"
    "7572 0002 5b42 acf317f8060854e0 02 0000 7870 00000003 010203 740003 414553".replace(" ", "")
)
"""An object of a class with an array of bytes and a string, as Java writes it."""


def public_half(key: bytes) -> bytes:
    loaded = load_der_private_key(key, None)
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def shapes(read: JavaKeystore) -> Sequence[tuple[EntryKind, str, int]]:
    return [(each.kind, each.alias, len(each.certificates)) for each in read.keystore.entries]


def details(read: JavaKeystore) -> Sequence[str]:
    return [each.detail for each in read.faults]


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["trust.jks", "trust.jceks"])
@pytest.mark.parametrize("password", [CHANGEIT, None])
def test_trusted_certificates_are_read_with_their_aliases_and_dates(
    made: JavaStores, name: str, password: bytes | None
) -> None:
    read = read_java_keystore(made.data[name], password)
    assert not read.faults
    found = {str(each.alias): each for each in read.keystore.entries}
    assert {alias: found[alias].certificates for alias in ALIASES} == {
        alias: (root,) for alias, root in zip(ALIASES, made.roots, strict=True)
    }
    assert {each.kind for each in found.values()} == {EntryKind.TRUSTED}
    assert all(each.created is not None and abs(each.created - time.time()) < 3600 for each in found.values())
    assert read.keystore.is_trust_store
    assert set(read.keystore.served) == set(made.roots)
    verified = Integrity.UNVERIFIED if password is None else Integrity.VERIFIED
    assert (read.keystore.integrity, read.keystore.default_password) == (verified, password is not None)


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["key.jks", "key.jceks"])
def test_a_private_key_is_opened_by_the_password_of_its_keystore(made: JavaStores, name: str) -> None:
    read = read_java_keystore(made.data[name], PASSWORD)
    assert not read.faults
    assert (read.keystore.integrity, read.keystore.default_password) == (Integrity.VERIFIED, False)
    site = next(each for each in read.keystore.entries if each.alias == "site")
    assert site.kind is EntryKind.PRIVATE_KEY
    assert site.certificates == made.chain
    (key,) = read.keys
    assert public_half(key) == made.public_half
    assert key not in repr(read).encode()


@pytest.mark.server("keytool")
def test_a_key_with_a_password_of_its_own_stays_locked_and_is_counted(made: JavaStores) -> None:
    read = read_java_keystore(made.data["key.jks"], PASSWORD)
    assert {each.alias for each in read.keystore.entries} == {"site", "own"}
    assert (len(read.keys), read.keystore.locked_keys) == (1, 1)
    assert read_java_keystore(made.data["key.jks"], OTHER).keystore.locked_keys == 2


@pytest.mark.server("keytool")
def test_a_secret_key_is_passed_over_and_named(made: JavaStores) -> None:
    read = read_java_keystore(made.data["key.jceks"], PASSWORD)
    assert sorted(shapes(read)) == [(EntryKind.PRIVATE_KEY, "site", 2), (EntryKind.SECRET_KEY, "secret", 0)]
    assert not read.faults


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["trust.jks", "key.jks", "key.jceks"])
@pytest.mark.parametrize("password", [b"wrong", b"", b"\xff\xfe", "pässwörd".encode(), b"x" * 5000])
def test_the_wrong_password_opens_nothing_and_hides_no_certificate(
    made: JavaStores, name: str, password: bytes
) -> None:
    read = read_java_keystore(made.data[name], password)
    (fault,) = read.faults
    assert fault.reason is UnreadableReason.WRONG_PASSWORD
    assert (read.keys, read.keystore.integrity) == ((), Integrity.UNVERIFIED)
    assert read.keystore.served == read_java_keystore(made.data[name]).keystore.served != ()


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["trust.jks", "key.jks", "key.jceks"])
def test_a_bit_that_is_changed_anywhere_is_noticed(made: JavaStores, name: str) -> None:
    data, password = made.data[name], CHANGEIT if name == "trust.jks" else PASSWORD
    for at in range(4, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 0x01
        read = read_java_keystore(bytes(changed), password)
        assert read.faults, f"byte {at}"
        assert read.keys == ()


@pytest.mark.server("keytool")
@pytest.mark.parametrize("name", ["trust.jks", "key.jks", "key.jceks"])
@pytest.mark.parametrize("password", [PASSWORD, None])
def test_a_keystore_that_is_cut_short_anywhere_says_so(made: JavaStores, name: str, password: bytes | None) -> None:
    data = made.data[name]
    whole = read_java_keystore(data).keystore.entries
    for end in range(4, len(data), 11):
        read = read_java_keystore(data[:end], password)
        (fault,) = read.faults
        assert fault.reason is UnreadableReason.BAD_DER, f"up to byte {end}"
        assert read.keystore.entries == whole[: len(read.keystore.entries)], "what was whole before is there"


def test_a_password_with_characters_beyond_ascii_is_digested_as_java_does() -> None:
    password = "pässwörd 😀".encode()
    assert not read_java_keystore(java.store(java.trusted("a", CHAIN[0]), password=password), password).faults


def test_version_1_has_no_types_of_certificates() -> None:
    entry = java.trusted("a", CHAIN[0]).replace(java.text("X.509"), b"")
    read = read_java_keystore(java.store(entry, version=1), PASSWORD)
    assert (read.keystore.served, read.faults) == ((CHAIN[0],), ())


def test_of_entries_with_one_alias_the_last_counts_as_it_does_for_java() -> None:
    entries = (java.trusted("a", CHAIN[0]), java.private("b", LOCKED_KEY, CHAIN), java.trusted("b", CHAIN[1]))
    read = read_java_keystore(java.store(*entries), PASSWORD)
    assert shapes(read) == [(EntryKind.TRUSTED, "a", 1), (EntryKind.TRUSTED, "b", 1)]
    assert read.keystore.served == CHAIN[:2]
    assert read.keystore.locked_keys == 0


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"a\xc0\x80b", r"a\x00b"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "😀"),
        (b"\xed\xa0\xbd", "\ufffd"),
        ("\x1b[31m\u202e".encode(), r"\x1b[31m\u202e"),
        (b"x" * 65535, "x" * 199 + "…"),
        (b"", ""),
    ],
)
def test_an_alias_may_be_any_text_and_is_printable(written: bytes, shown: str) -> None:
    read = read_java_keystore(java.store(java.trusted(written, CHAIN[0])), PASSWORD)
    assert [each.alias for each in read.keystore.entries] == [shown]
    assert not read.faults


@pytest.mark.parametrize("created", [-(2**63), -1, 0, 2**63 - 1])
def test_a_date_may_be_any_number(created: int) -> None:
    read = read_java_keystore(java.store(java.trusted("a", CHAIN[0], created)))
    assert read.keystore.entries == (KeystoreEntry(EntryKind.TRUSTED, Printable("a"), created / 1000, (CHAIN[0],)),)


NUMBER = (2**32 - 1).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", UnreadableReason.BAD_DER, "is cut short or damaged at byte 0"),
        (java.store(version=3), UnreadableReason.UNSUPPORTED, "has version 3, which certvigil does not read"),
        (
            java.store(count=2**32 - 1),
            UnreadableReason.TOO_LARGE,
            f"says that it has 4294967295 entries, at most {MOST_ENTRIES} are read",
        ),
        (
            java.store(count=MOST_ENTRIES),
            UnreadableReason.BAD_DER,
            "is damaged at byte 12, where an entry should begin",
        ),
        (
            java.store(java.private("a", LOCKED_KEY, CHAIN, MOST_IN_CHAIN + 1)),
            UnreadableReason.TOO_LARGE,
            f"has a chain of {MOST_IN_CHAIN + 1} certificates at byte 151, at most {MOST_IN_CHAIN} are read",
        ),
        (
            java.store(java.private("a", b"", ())[:-8] + NUMBER),
            UnreadableReason.BAD_DER,
            "is cut short or damaged at byte 31",
        ),
        (
            java.store(java.trusted(b"\xff", CHAIN[0])),
            UnreadableReason.BAD_DER,
            "is damaged at byte 16, where text should be",
        ),
        (
            java.store(java.trusted("a", CHAIN[0], kind="PGP\x1b")),
            UnreadableReason.UNSUPPORTED,
            r"has a certificate of the type PGP\x1b at byte 27, which certvigil does not read",
        ),
        (
            java.store(java.secret("a", SECRET)),
            UnreadableReason.BAD_DER,
            "is damaged at byte 12, where an entry should begin",
        ),
    ],
)
def test_what_is_damaged_or_not_read_is_said(data: bytes, reason: UnreadableReason, detail: str) -> None:
    (fault,) = read_java_keystore(data).faults
    assert (fault.reason, fault.detail) == (reason, detail)


@pytest.mark.parametrize(
    ("protected", "detail"),
    [
        (b"", "is damaged"),
        (java.protected(java.BY_JCE, b"\5\0", bytes(16)), "is damaged"),
        (java.protected(java.BY_JCE, java.rounds_of_md5(bytes(8), 0), bytes(16)), "is damaged"),
        (
            java.protected(java.BY_JCE, java.rounds_of_md5(bytes(8), 2**31), bytes(16)),
            f"asks for 2147483648 rounds of MD5, at most {MOST_ROUNDS} are done for one keystore",
        ),
        (java.protected(java.BY_JDK, b"\5\0", bytes(70_000)), "has 70000 bytes, at most 65536 are read"),
        (java.protected("2a03", b"\5\0", bytes(16)), "is locked in a way that certvigil does not read"),
    ],
)
def test_a_key_that_is_not_tried_says_why_and_hides_no_other(protected: bytes, detail: str) -> None:
    entries = (java.private("it", protected, CHAIN), java.trusted("a", CHAIN[1]))
    read = read_java_keystore(java.store(*entries, magic=java.JCEKS), PASSWORD)
    assert details(read) == [f"has a private key, it, that {detail}"]
    assert len(read.keystore.entries) == 2
    assert read.keystore.locked_keys == 1


def test_many_keys_share_one_budget_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    most = MOST_ROUNDS // 10
    monkeypatch.setattr("probes.java.lock.MOST_ROUNDS", most)
    locked = java.protected(java.BY_JCE, java.rounds_of_md5(bytes(8), most // 4), bytes(16))
    entries = [java.private(str(number), locked, ()) for number in range(100)]
    before = time.process_time()
    read = read_java_keystore(java.store(*entries, magic=java.JCEKS), PASSWORD)
    assert time.process_time() - before < 2
    assert {each.reason for each in read.faults} == {UnreadableReason.TOO_LARGE}
    assert read.keystore.locked_keys == 100


def spoiled(change: Callable[[bytearray], object]) -> bytes:
    data = bytearray(SECRET)
    change(data)
    return bytes(data)


def nested(depth: int) -> bytes:
    """Return objects within objects, each of a new class with one field."""
    head = bytes.fromhex("7372 0001 41 0000000000000000 02 0001 4c 0001 61 740001 53 7870".replace(" ", ""))
    return bytes.fromhex("aced0005") + head * depth + b"\x70"


def test_a_secret_key_is_passed_over_to_its_last_byte() -> None:
    read = read_java_keystore(java.store(java.secret("a", SECRET), java.trusted("b", CHAIN[0]), magic=java.JCEKS))
    assert shapes(read) == [(EntryKind.SECRET_KEY, "a", 0), (EntryKind.TRUSTED, "b", 1)]
    assert not read.faults


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(spoiled(lambda data: data.__setitem__(0, 0)), id="another beginning"),
        pytest.param(spoiled(lambda data: data.__setitem__(4, 0x7B)), id="an exception"),
        pytest.param(SECRET.replace(b"\x02\x00\x02\x5b", b"\x03\x00\x02\x5b"), id="a class that writes itself"),
        pytest.param(SECRET.replace(b"\x02\x00\x02\x5b", b"\x02\xff\xff\x5b"), id="65,535 fields"),
        pytest.param(SECRET.replace(b"[B\xac", b"[I\xac"), id="an array of others"),
        pytest.param(nested(50), id="objects within objects"),
        pytest.param(bytes.fromhex("aced00057371") + b"\x71" * 9, id="a reference to nothing"),
        pytest.param(bytes.fromhex("aced00057370"), id="an object of no class"),
    ],
)
def test_an_object_that_is_no_sealed_key_is_not_gone_into(stream: bytes) -> None:
    data = java.store(java.trusted("b", CHAIN[0]), java.secret("a", stream), magic=java.JCEKS)
    read = read_java_keystore(data)
    assert read.keystore.served == (CHAIN[0],)
    (fault,) = read.faults
    assert fault.reason is UnreadableReason.BAD_DER


def test_a_large_keystore_takes_no_more_memory_than_its_entries() -> None:
    data = java.store(*(java.trusted(str(number), b"\x30\x00") for number in range(MOST_ENTRIES)))
    tracemalloc.start()
    read = read_java_keystore(data, PASSWORD)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.keystore.entries) == MOST_ENTRIES
    assert most < 20 * 2**20


ENTRY = st.one_of(
    st.builds(java.trusted, st.text(max_size=5), st.binary(max_size=40)),
    st.builds(java.private, st.text(max_size=5), st.binary(max_size=60), st.just(CHAIN[:1]), st.integers(0, 3)),
    st.builds(java.secret, st.text(max_size=5), st.one_of(st.just(SECRET), st.binary(max_size=60).map(SECRET.__add__))),
    st.binary(max_size=60),
)
STORE = st.builds(
    lambda entries, magic, version, count: java.store(*entries, magic=magic, version=version, count=count),
    st.lists(ENTRY, max_size=4),
    st.sampled_from([java.JKS, java.JCEKS]),
    st.sampled_from([1, 2, 2, 2]),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)


@given(STORE, st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4), st.integers(0, 600))
@example(java.store(java.secret("a", SECRET), magic=java.JCEKS), [], 600)
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes, changes: list[tuple[int, int]], end: int) -> None:
    changed = bytearray(data)
    for at, value in changes:
        if at < len(changed):
            changed[at] = value
    for password in (None, PASSWORD):
        read = read_java_keystore(bytes(changed[:end]), password)
        assert isinstance(read.keystore, Keystore)
        assert len(read.keystore.entries) <= MOST_ENTRIES
        assert all(each.detail.isprintable() for each in read.faults)


def test_the_store_of_java_itself_is_read() -> None:
    path = Path("/etc/ssl/certs/java/cacerts")
    if not path.exists():
        pytest.skip("Java's own store is not installed")
    read = read_java_keystore(path.read_bytes(), CHANGEIT)
    assert not read.faults
    assert read.keystore.is_trust_store
    assert len(read.keystore.entries) > 50
    assert all(datetime.fromtimestamp(each.created or 0, UTC).year > 2000 for each in read.keystore.entries)
    assert len({hashlib.sha256(each).digest() for each in read.keystore.served}) == len(read.keystore.served)
