"""The entries of a JKS or JCEKS keystore (`sun.security.provider.JavaKeyStore`, `com.sun.crypto.provider.JceKeyStore`).

A number that names the format, a version, the count of entries, the entries, and SHA-1 over a password and all this.
Certificates are not encrypted: whoever has no password reads them, and does not know who wrote them.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import field
from typing import Final

from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import EntryKind, Integrity, UnreadableReason
from probes.container.blocks import MOST_FAULTS, EncodingFault
from probes.java.cursor import Cursor, DamagedError
from probes.java.lock import KeyOpener, java_password
from probes.java.secret import pass_over
from probes.keystore import DEFAULT_PASSWORD, LONGEST_ALIAS, ExactEntries, Keystore, KeystoreEntry, StoreEntry

JKS: Final = bytes.fromhex("feedfeed")
JCEKS: Final = bytes.fromhex("cececece")
"""How each begins."""

MOST_ENTRIES: Final = 10_000
MOST_IN_CHAIN: Final = 100

_VERSIONS: Final = frozenset({1, 2})
_WITH_TYPES: Final = 2
"""The version that says of each certificate what type it is."""
_X509: Final = frozenset({"X.509", "X509"})
_KINDS: Final = {1: EntryKind.PRIVATE_KEY, 2: EntryKind.TRUSTED, 3: EntryKind.SECRET_KEY}
_WHITENER: Final = b"Mighty Aphrodite"
_DIGEST: Final = 20


@immutable
class JavaKeystore:
    """What a JKS or JCEKS keystore holds."""

    keystore: Keystore[bytes]
    """Certificates are DER."""
    keys: tuple[bytes, ...] = field(repr=False)
    """The private keys that the password opened, PKCS#8 in DER."""
    faults: tuple[EncodingFault, ...]
    """Each detail is the rest of a sentence about the keystore. What was read before a fault is there all the same."""


def read_java_keystore(data: bytes, password: bytes | None = None) -> JavaKeystore:
    """Return the entries of `data`, which begins as `JKS` or `JCEKS`; `password`, in UTF-8, verifies it and opens keys.

    Of entries with the same alias, the last counts, as it does for Java. It raises nothing, whatever the bytes are.
    """
    reading = _Reading(Cursor(data))
    faults: list[EncodingFault] = []
    try:
        reading.read()
    except DamagedError as error:
        faults.append(EncodingFault(UnreadableReason.BAD_DER, str(error)))
    except _UnreadError as error:
        faults.append(error.fault)
    verified = not faults and password is not None and _verifies(data, reading.cursor.at, password)
    if password is not None and not verified and not faults:
        detail = "is not verified by this password: another one is needed, or somebody changed the file"
        faults.append(EncodingFault(UnreadableReason.WRONG_PASSWORD, detail))
    keys: list[bytes] = []
    locked = sum(1 for _ in reading.protected)
    if verified and password is not None:
        keys, more = _opened(reading.protected, password)
        faults += more
        locked -= len(keys)
    keystore = Keystore(
        tuple(reading.entries.values()),
        Integrity.VERIFIED if verified else Integrity.UNVERIFIED,
        default_password=verified and password == DEFAULT_PASSWORD,
        locked_keys=locked,
    )
    return JavaKeystore(keystore, tuple(keys), tuple(faults[:MOST_FAULTS]))


def exact_entries(data: bytes) -> ExactEntries:
    """Return the entries of `data` up to the first damage, keys under their passwords.

    Java orders entries anew with each change.
    """
    reading = _Reading(Cursor(data))
    with suppress(DamagedError, _UnreadError):
        reading.read()
    entries = tuple(
        StoreEntry(
            alias,
            each.kind,
            each.certificates,
            each.created or 0.0,
            hashlib.sha256(reading.secrets[alias]).hexdigest() if alias in reading.secrets else "",
        )
        for alias, each in reading.entries.items()
    )
    return ExactEntries(entries, sum(each.kind is EntryKind.PRIVATE_KEY for each in entries))


class _UnreadError(Exception):
    """Something in a keystore is known, and not read."""

    def __init__(self, reason: UnreadableReason, detail: str) -> None:
        super().__init__(detail)
        self.fault = EncodingFault(reason, detail)


class _Reading:
    """What was read of a keystore until now, by alias."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.entries: dict[str, KeystoreEntry[bytes]] = {}
        self.protected: dict[str, bytes] = {}
        self.secrets: dict[str, bytes] = {}
        """Private keys, and secret keys as serialised objects."""
        self._jceks = False
        self._typed = True

    def read(self) -> None:
        """Read up to the digest; raises DamagedError, _UnreadError."""
        cursor = self.cursor
        self._jceks = cursor.take(4) == JCEKS
        version = cursor.number(4)
        if version not in _VERSIONS:
            raise _UnreadError(UnreadableReason.UNSUPPORTED, f"has version {version}, which certvigil does not read")
        self._typed = version == _WITH_TYPES
        count = cursor.number(4)
        if count > MOST_ENTRIES:
            raise _UnreadError(
                UnreadableReason.TOO_LARGE, f"says that it has {count} entries, at most {MOST_ENTRIES} are read"
            )
        for _ in range(count):
            self._entry()
        if len(cursor.data) - cursor.at < _DIGEST:
            raise DamagedError(f"is cut short or damaged at byte {cursor.at}")

    def _entry(self) -> None:
        cursor, at = self.cursor, self.cursor.at
        kind = _KINDS.get(cursor.number(4))
        if kind is None or (kind is EntryKind.SECRET_KEY and not self._jceks):
            raise DamagedError(f"is damaged at byte {at}, where an entry should begin")
        alias, created = cursor.text(), cursor.signed(8) / 1000
        key = b""
        certificates: tuple[bytes, ...] = ()
        if kind is EntryKind.PRIVATE_KEY:
            key = cursor.sized()
            certificates = self._chain()
        elif kind is EntryKind.TRUSTED:
            certificates = (self._certificate(),)
        else:
            begin = cursor.at
            pass_over(cursor)
            key = cursor.data[begin : cursor.at]
        # The place of an alias is that of its last entry.
        self.entries.pop(alias, None)
        self.protected.pop(alias, None)
        self.secrets.pop(alias, None)
        self.entries[alias] = KeystoreEntry(kind, printable(alias, LONGEST_ALIAS), created, certificates)
        if kind is EntryKind.PRIVATE_KEY:
            self.protected[alias] = key
        if key:
            self.secrets[alias] = key

    def _chain(self) -> tuple[bytes, ...]:
        at = self.cursor.at
        count = self.cursor.number(4)
        if count > MOST_IN_CHAIN:
            detail = f"has a chain of {count} certificates at byte {at}, at most {MOST_IN_CHAIN} are read"
            raise _UnreadError(UnreadableReason.TOO_LARGE, detail)
        return tuple(self._certificate() for _ in range(count))

    def _certificate(self) -> bytes:
        at = self.cursor.at
        kind = self.cursor.text() if self._typed else "X.509"
        if kind not in _X509:
            detail = f"has a certificate of the type {printable(kind, 50)} at byte {at}, which certvigil does not read"
            raise _UnreadError(UnreadableReason.UNSUPPORTED, detail)
        return self.cursor.sized()


def _verifies(data: bytes, end: int, password: bytes) -> bool:
    """Whether the digest at `end` is that of the password and all before; what follows is not looked at, as by Java."""
    known = java_password(password)
    if known is None:
        return False
    digest = hashlib.sha1(known + _WHITENER, usedforsecurity=False)
    digest.update(memoryview(data)[:end])
    return hmac.compare_digest(digest.digest(), data[end : end + _DIGEST])


def _opened(protected: dict[str, bytes], password: bytes) -> tuple[list[bytes], list[EncodingFault]]:
    """Return the private keys that the password opens, and why others are not tried.

    A key may have a password of its own: that this one does not open it is no fault.
    """
    opener = KeyOpener(password)
    keys: list[bytes] = []
    faults: list[EncodingFault] = []
    for alias, each in protected.items():
        opened = opener.open(each)
        if isinstance(opened, EncodingFault):
            whose = _called(alias)
            faults.append(EncodingFault(opened.reason, f"has a private key, {whose}, that {opened.detail}"))
        elif opened is not None:
            keys.append(opened)
    return keys, faults


def _called(alias: str) -> Printable:
    return printable(alias, LONGEST_ALIAS) or Printable("without an alias")
