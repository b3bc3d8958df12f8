"""The reader's facts about the files of a component: facts, as plain values, and never a byte of a key.

Each side takes the other's words for hostile: it has exactly this shape and these sizes, or is no answer.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any, Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import Printable, harmless, printable
from config.vocabulary import EntryKind, FileContent, FileFormat, Integrity, LineState, UnreadableReason
from probes.certificate import MOST_BYTES, certificate
from probes.file import MOST_KEYS
from probes.keystore import Keystore, KeystoreEntry
from probes.line.syntax import LineReading
from probes.observation import FileIdentity, FileObservation, Unreadable, bounded
from probes.set import SetReading

if TYPE_CHECKING:
    # What an actor is asked for takes long to load, and no reader needs it.
    from monitor.actor.request import Document

MOST_FILES: Final = 16
MOST_CERTIFICATES: Final = 2000
"""In one file."""
MOST_DER: Final = 2 * 2**20
"""Bytes of certificates in one answer, and of the entries of keystores."""
LONGEST_DETAIL: Final = 1000
"""Characters."""
LONGEST_NAME: Final = 4096
LONGEST_ALIAS: Final = 2400
"""Characters, of which some are escaped."""
LONGEST_LINE: Final = 4 * 2**20
"""Bytes of an answer."""
_ENTRY_BYTES: Final = 100
_CHARACTER_BYTES: Final = 6
"""As JSON writes an entry without its alias, and a character of an alias."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FACTS: Final = frozenset(
    {
        *("name", "path", "identity", "content", "certificates", "keys", "encrypted_keys", "mode", "owner", "failure"),
        *("format", "keystore", "line"),
    }
)
_OF_KEYSTORE: Final = frozenset({"more", "entries", "integrity", "default_password", "locked_keys"})
_OF_ENTRY: Final = frozenset({"kind", "alias", "created", "certificates"})
_TOO_MUCH: Final = Unreadable(
    UnreadableReason.TOO_LARGE, Printable("it holds more certificates than the reader tells of")
)


@immutable
class FileFacts:
    """One file of a component and its content."""

    name: str
    """Of the target."""
    path: str
    identity: FileIdentity | None
    content: FileContent
    certificates: tuple[bytes, ...] = ()
    """In DER."""
    keys: tuple[str, ...] = ()
    """SHA-256 of public halves, hexadecimal."""
    encrypted_keys: int = 0
    mode: int = 0
    owner: int = 0
    failure: Unreadable | None = None
    format: FileFormat = FileFormat.OTHER
    keystore: Keystore[bytes] | None = None
    line: LineReading | None = None
    """Of a configuration file, in place of all else that it holds."""

    @property
    def pool(self) -> tuple[bytes, ...]:
        """The certificates, then those of a keystore's entries that are not among them, each once, in DER."""
        entries = () if self.keystore is None else self.keystore.entries
        return tuple(dict.fromkeys((*self.certificates, *(der for each in entries for der in each.certificates))))


@immutable
class ComponentFacts:
    """The files of a component and their content."""

    files: tuple[FileFacts, ...]
    moved: bool
    """They were written to while they were read, and are not of one moment."""


class NotFactsError(ValueError):
    """A document is no facts; the text is a sentence that says why, without anything that the document holds."""


def facts_of(reading: SetReading, targets: Sequence[FileTarget]) -> ComponentFacts:
    """Return the facts from a reading of `targets`."""
    files: list[FileFacts] = []
    size = 0
    for target, seen in zip(targets, reading.observations, strict=True):
        file = FileFacts(
            *(target.name, target.path, seen.identity, seen.content, tuple(each.der for each in seen.certificates)),
            *(seen.keys[:MOST_KEYS], min(seen.encrypted_keys, MOST_KEYS), seen.mode, seen.owner, seen.failure),
            *(seen.format, None if seen.keystore is None else seen.keystore.of(lambda each: each.der), seen.line),
        )
        count = max(len(file.certificates), len(file.pool), len(file.keystore.entries) if file.keystore else 0)
        if count > MOST_CERTIFICATES or size + _size(file) > MOST_DER:
            file = replace(file, certificates=(), keystore=None, failure=_TOO_MUCH)
        size += _size(file)
        files.append(file)
    return ComponentFacts(tuple(files), reading.moved)


def _size(file: FileFacts) -> int:
    """Return about how many bytes are told of a file: certificates, and the entries of a keystore."""
    entries = () if file.keystore is None else file.keystore.entries
    named = sum(_ENTRY_BYTES + _CHARACTER_BYTES * len(each.alias) for each in entries)
    return sum(map(len, file.certificates)) + sum(map(len, _more(file))) + named


def _more(file: FileFacts) -> tuple[bytes, ...]:
    """Return the certificates that only entries of its keystore have."""
    return file.pool[len(set(file.certificates)) :]


def to_document(facts: ComponentFacts) -> Document:
    """Return facts as plain values."""
    return {"moved": facts.moved, "files": [_plain(each) for each in facts.files]}


def _plain(file: FileFacts) -> Document:
    return {
        "name": file.name,
        "path": file.path,
        "identity": None if file.identity is None else [*map(bounded, astuple(file.identity))],
        "content": str(file.content),
        "certificates": [b64encode(each).decode() for each in file.certificates],
        "keys": list(file.keys),
        "encrypted_keys": file.encrypted_keys,
        "mode": file.mode,
        "owner": file.owner,
        "failure": None if file.failure is None else [str(file.failure.reason), file.failure.detail[:LONGEST_DETAIL]],
        "format": str(file.format),
        "keystore": None if file.keystore is None else _plain_keystore(file, file.keystore),
        "line": None if file.line is None else _plain_line(file.line),
    }


def _plain_line(line: LineReading) -> list[object]:
    return [str(line.state), line.detail[:LONGEST_DETAIL], line.absent, line.cure[:LONGEST_DETAIL], line.is_odd]


def _plain_keystore(file: FileFacts, keystore: Keystore[bytes]) -> Document:
    """Return the keystore of a file; the certificates of an entry are numbers, in the order of the pool."""
    number = {each: index for index, each in enumerate(file.pool)}
    return {
        "more": [b64encode(each).decode() for each in _more(file)],
        "entries": [
            {
                "kind": str(each.kind),
                "alias": each.alias,
                "created": each.created,
                "certificates": [number[der] for der in each.certificates],
            }
            for each in keystore.entries
        ],
        "integrity": str(keystore.integrity),
        "default_password": keystore.default_password,
        "locked_keys": min(keystore.locked_keys, MOST_KEYS),
    }


def from_document(plain: object) -> ComponentFacts:
    """Return the facts that a document holds; raises NotFactsError."""
    try:
        document = _mapping(plain)
        files = _list(document["files"], MOST_FILES)
        found = ComponentFacts(tuple(_file(_mapping(each)) for each in files), _truth(document["moved"]))
    except NotFactsError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise NotFactsError("it is not of the right shape") from None
    if sum(map(_size, found.files)) > MOST_DER:
        raise NotFactsError("it holds more certificates than the reader tells of")
    return found


def _file(plain: Mapping[str, Any]) -> FileFacts:
    if plain.keys() != _FACTS:
        raise NotFactsError("it has not the facts that are to be told of a file")
    keys = tuple(_text(each, 64) for each in _list(plain["keys"], MOST_KEYS))
    if not all(map(_SHA256.fullmatch, keys)):
        raise NotFactsError("a key is no SHA-256")
    certificates = tuple(map(_der, _list(plain["certificates"], MOST_CERTIFICATES)))
    return FileFacts(
        _text(plain["name"], LONGEST_NAME),
        _text(plain["path"], LONGEST_NAME),
        None if plain["identity"] is None else FileIdentity(*map(_number, _list(plain["identity"], 5))),
        FileContent(_text(plain["content"], 20)),
        certificates,
        keys,
        _within(plain["encrypted_keys"], MOST_KEYS),
        _within(plain["mode"], 0o7777),
        _within(plain["owner"], 2**32 - 1),
        None if plain["failure"] is None else _failure(_list(plain["failure"], 2)),
        FileFormat(_text(plain["format"], 50)),
        None if plain["keystore"] is None else _keystore(_mapping(plain["keystore"]), certificates),
        None if plain["line"] is None else _line(_list(plain["line"], 5)),
    )


def _line(plain: Sequence[object]) -> LineReading:
    state, detail, absent, cure, is_odd = plain
    text, todo = (printable(_text(each, LONGEST_DETAIL), LONGEST_DETAIL) for each in (detail, cure))
    return LineReading(LineState(_text(state, 20)), text, _truth(absent), todo, _truth(is_odd))


def _keystore(plain: Mapping[str, Any], certificates: Sequence[bytes]) -> Keystore[bytes]:
    if plain.keys() != _OF_KEYSTORE:
        raise NotFactsError("it has not the facts that are to be told of a keystore")
    more = map(_der, _list(plain["more"], MOST_CERTIFICATES))
    pool = tuple(dict.fromkeys((*certificates, *more)))
    return Keystore(
        tuple(_entry(_mapping(each), pool) for each in _list(plain["entries"], MOST_CERTIFICATES)),
        Integrity(_text(plain["integrity"], 20)),
        _truth(plain["default_password"]),
        _within(plain["locked_keys"], MOST_KEYS),
    )


def _entry(plain: Mapping[str, Any], pool: Sequence[bytes]) -> KeystoreEntry[bytes]:
    if plain.keys() != _OF_ENTRY:
        raise NotFactsError("it has not the facts that are to be told of an entry of a keystore")
    created = plain["created"]
    if created is not None and (type(created) is not float or not math.isfinite(created)):
        raise TypeError
    numbers = _list(plain["certificates"], MOST_CERTIFICATES)
    return KeystoreEntry(
        EntryKind(_text(plain["kind"], 20)),
        harmless(_text(plain["alias"], LONGEST_ALIAS)),
        created,
        tuple(pool[_within(each, len(pool) - 1)] for each in numbers),
    )


def _failure(plain: Sequence[object]) -> Unreadable:
    reason, detail = plain
    return Unreadable(UnreadableReason(_text(reason, 50)), printable(_text(detail, LONGEST_DETAIL), LONGEST_DETAIL))


def _mapping(plain: object) -> Mapping[str, Any]:
    if not isinstance(plain, dict):
        raise TypeError
    return plain


def _truth(plain: object) -> bool:
    if not isinstance(plain, bool):
        raise TypeError
    return plain


def _list(plain: object, most: int) -> Sequence[object]:
    if not isinstance(plain, list) or len(plain) > most:
        raise TypeError
    return plain


def _text(plain: object, longest: int) -> str:
    if not isinstance(plain, str) or len(plain) > longest:
        raise TypeError
    return plain


def _number(plain: object) -> int:
    # A time before 1970 is one, too.
    if type(plain) is not int or bounded(plain) != plain:
        raise TypeError
    return plain


def _within(plain: object, most: int) -> int:
    if type(plain) is not int or not 0 <= plain <= most:
        raise TypeError
    return plain


def _der(plain: object) -> bytes:
    try:
        der = b64decode(_text(plain, 2 * MOST_BYTES), validate=True)
    except binascii.Error:
        raise NotFactsError("a certificate is no Base64") from None
    if not der.startswith(b"\x30"):
        raise NotFactsError("a certificate is no DER")
    return der


def reading_of(facts: ComponentFacts, targets: Sequence[FileTarget], now: float) -> SetReading:
    """Return the reading of `targets` at Unix time `now` that the facts amount to, certificates decoded here.

    Raises NotFactsError where they are of other files.
    """
    files = {(each.name, each.path): each for each in facts.files}
    wanted = [files.get((each.name, each.path)) for each in targets]
    observations = tuple(_observation(each, now) for each in wanted if each is not None)
    if len(observations) < len(targets):
        raise NotFactsError("the actor's configuration has other files for this component")
    return SetReading(observations, facts.moved)


def _observation(file: FileFacts, now: float) -> FileObservation:
    try:
        certificates = tuple(map(certificate, file.certificates))
        keystore = None if file.keystore is None else file.keystore.of(certificate)
    except ValueError as error:
        raise NotFactsError(f"a certificate cannot be decoded: {printable(str(error), 200)}") from None
    return FileObservation(
        file.name,
        now,
        file.identity,
        file.content,
        certificates,
        file.keys,
        file.mode,
        file.owner,
        file.failure,
        file.encrypted_keys,
        file.format,
        keystore,
        line=file.line,
    )
