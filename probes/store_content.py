"""The content of a trust store of any format, exact enough to compare two of them entry by entry; pure.

`probes.container` opens files to be judged: it escapes aliases and leaves out what nobody is told. Whoever changes a
store needs all of it: to say which store has which anchor, and to see that nothing else was changed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from config.immutable import immutable
from config.text import printable
from config.vocabulary import EntryKind, FileFormat, Integrity, UnreadableReason
from probes.certificate import decodable, folded_name
from probes.container.blocks import Container, EncodingFault, Password
from probes.container.bundle import MOST_ANCHORS, read_bundle
from probes.container.registry import PEM, is_keystore, open_container, recognise
from probes.keystore import DEFAULT_PASSWORD, StoreEntry

LARGEST: Final = 16 * 2**20
"""Bytes of a trust store."""
MOST_OF_ONE_NAME: Final = 256
"""Certificates in it with one subject: a verifier compares each with each."""
_LEAST_DIGITS: Final = 8


@immutable
class StoreContent:
    """The entries of a trust store, in file order."""

    format: FileFormat
    entries: tuple[StoreEntry, ...]
    faults: tuple[EncodingFault, ...] = ()
    """Why not all of it could be read."""
    integrity: Integrity | None = None
    """Whether the password verifies a keystore; None for what is no keystore."""
    password: Password = field(default=None, repr=False)
    """That verifies or opens it; None where none does."""
    private_keys: int = 0
    """That can be seen, also where entries do not show them."""

    @property
    def is_keystore(self) -> bool:
        """Whether its entries have aliases, under one password."""
        return is_keystore(self.format)

    @property
    def has_default_password(self) -> bool:
        """Whether its password is Java's default one."""
        return self.password == DEFAULT_PASSWORD

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """The certificates that its clients trust, in DER, each once."""
        trusted = (each for each in self.entries if each.kind is EntryKind.TRUSTED)
        return tuple(dict.fromkeys(der for each in trusted for der in each.certificates))

    def holding(self, sha256: str) -> tuple[StoreEntry, ...]:
        """Return the entries that trust the certificate with that SHA-256, hexadecimal."""
        return tuple(
            each
            for each in self.entries
            if each.kind is EntryKind.TRUSTED and any(sha256_of(der) == sha256 for der in each.certificates)
        )

    def called(self, alias: str) -> StoreEntry | None:
        """Return the entry with that alias; Java does not tell upper from lower case."""
        return next((each for each in self.entries if each.alias and same_alias(each.alias, alias)), None)

    def named(self, named: str) -> tuple[StoreEntry, ...]:
        """Return the entries that an alias names, or else the beginning of the SHA-256 of a trusted certificate.

        Of a SHA-256, hexadecimal and perhaps with colons, it takes at least 8 digits.
        """
        if by_alias := tuple(each for each in self.entries if each.alias and same_alias(each.alias, named)):
            return by_alias
        digits = named.lower().replace(":", "")
        if len(digits) < _LEAST_DIGITS:
            return ()
        trusted = (each for each in self.entries if each.kind is EntryKind.TRUSTED)
        return tuple(each for each in trusted if any(sha256_of(der).startswith(digits) for der in each.certificates))

    @property
    def digest(self) -> str:
        """The SHA-256 of what it says, times and order aside, hexadecimal: the same each time that it is made."""
        said = [
            [each.alias, each.kind, [sha256_of(der) for der in each.certificates], each.secret] for each in self.entries
        ]
        return hashlib.sha256(json.dumps(sorted(said)).encode()).hexdigest()


def sha256_of(der: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def same_alias(one: str, other: str) -> bool:
    """Whether Java takes two aliases for the same."""
    return one.lower() == other.lower()


def read_store(data: bytes, passwords: Iterable[Password] = (None, DEFAULT_PASSWORD)) -> StoreContent:
    """Return the content of a store; the password that proves most counts. It raises nothing.

    Of a store that is too large, a fault is all that is returned: whoever may write it must not choose how long it
    holds others up.
    """
    if len(data) > LARGEST:
        return StoreContent(FileFormat.OTHER, (), (_too_large(f"it is larger than {LARGEST} bytes"),))
    content = _read_store(data, passwords)
    why = why_too_many(content.anchors)
    return content if not why else replace(content, entries=(), faults=(_too_large(why),))


def _too_large(why: str) -> EncodingFault:
    return EncodingFault(UnreadableReason.TOO_LARGE, why)


def why_too_many(anchors: Sequence[bytes]) -> str:
    """Return why so many anchors, in DER, are not used, the rest of a sentence; empty where they are."""
    if len(anchors) > MOST_ANCHORS:
        return f"it holds more than {MOST_ANCHORS} certificates, and is not read"
    if len(anchors) <= MOST_OF_ONE_NAME:
        return ""
    named = Counter(folded_name(each.subject) for each in decodable(anchors))
    if max(named.values(), default=0) > MOST_OF_ONE_NAME:
        return f"it holds more than {MOST_OF_ONE_NAME} certificates with one subject, and is not read"
    return ""


def _read_store(data: bytes, passwords: Iterable[Password]) -> StoreContent:
    form = recognise(data)
    if form is PEM:
        return _of_pem(data)
    if form is None or form.exact is None:
        return _without_aliases(open_container(data))
    opened = [(each, open_container(data, each)) for each in dict.fromkeys(passwords)]
    password, container = min(opened, key=lambda each: _doubt(each[1]))
    if container.keystore is None:
        return _without_aliases(container)
    integrity = container.keystore.integrity
    exact = form.exact(data, password)
    return StoreContent(
        container.format,
        exact.entries,
        container.blocks.faults,
        integrity,
        password if integrity is Integrity.VERIFIED else None,
        exact.private_keys,
    )


def _doubt(opened: Container) -> int:
    """Order openings by how little they prove."""
    if opened.keystore is None:
        return 3
    proves = {Integrity.VERIFIED: 0, Integrity.UNPROTECTED: 1, Integrity.UNVERIFIED: 2}[opened.keystore.integrity]
    return proves if not opened.blocks.faults else proves + 3


def _without_aliases(opened: Container) -> StoreContent:
    # Of a document with clients' certificates, only those are trusted that it trusts itself.
    trusted = () if opened.keystore is None else (der for each in opened.keystore.trusted for der in each.certificates)
    ders = tuple(trusted) if opened.keystore is not None else opened.blocks.certificates
    entries = tuple(StoreEntry("", EntryKind.TRUSTED, (der,)) for der in ders)
    return StoreContent(opened.format, entries, opened.blocks.faults, private_keys=len(opened.blocks.keys))


def _of_pem(data: bytes) -> StoreContent:
    """Return the content of a bundle: as anchors those that OpenSSL reads; that it leaves out others is a fault."""
    read, opened = read_bundle(data), open_container(data)
    faults = list(opened.blocks.faults)
    if read.why:
        faults.append(EncodingFault(UnreadableReason.BAD_PEM, read.why))
    elif left := len({*opened.blocks.certificates} - {*read.certificates}):
        why = f"OpenSSL takes {left} of its certificates for no anchors: their blocks are not written as it reads them"
        faults.append(EncodingFault(UnreadableReason.BAD_PEM, why))
    entries = tuple(StoreEntry("", EntryKind.TRUSTED, (der,)) for der in read.certificates)
    return StoreContent(opened.format, entries, tuple(faults), private_keys=len(opened.blocks.keys))


def why_unlike(before: StoreContent, after: StoreContent, added: Mapping[str, bytes], removed: Iterable[str]) -> str:
    """Return what a tool has changed in a keystore beside what it was told, the end of a sentence; empty for nothing.

    `added` gives the certificate of each new alias, `removed` are aliases that were to go.
    """
    if after.format is not before.format:
        return f"is {after.format} instead of {before.format}"
    gone = {each.lower() for each in removed}
    wanted = Counter(_exactly(each) for each in before.entries if each.alias.lower() not in gone)
    wanted.update(_exactly(StoreEntry(alias, EntryKind.TRUSTED, (der,))) for alias, der in added.items())
    found = Counter(map(_exactly, after.entries))
    for different, how in ((wanted - found, "is missing, or another"), (found - wanted, "is new, or another")):
        if different:
            alias = min(different)[0]
            return f"has an entry {printable(alias, 100) or 'without an alias'} that {how}"
    if before.private_keys != after.private_keys:
        return f"has {after.private_keys} private keys instead of {before.private_keys}"
    return ""


def _exactly(entry: StoreEntry) -> tuple[str, str, tuple[bytes, ...], str]:
    return entry.alias.lower(), str(entry.kind), entry.certificates, entry.secret
