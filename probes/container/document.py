"""YAML and JSON with certificates in their texts, as PEM or in base64: kubeconfigs, Secrets, settings of programs.

A place in a document is a JSON pointer (RFC 6901). In a pattern of such pointers, `*` stands for any key or index.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from config.immutable import immutable
from config.pointer import ANY, steps, written
from config.text import Printable, printable, sentence
from config.vocabulary import EntryKind, FileFormat, Integrity, UnreadableReason
from probes.certificate import decodable
from probes.container.blocks import MOST_FAULTS, Blocks, Container, EncodingFault, Format, Password, faulty
from probes.keystore import LONGEST_ALIAS, Keystore, KeystoreEntry

if TYPE_CHECKING:
    from config.document import Value

LARGEST: Final = 1024 * 1024
"""Bytes of a document."""
MOST_NODES: Final = 20_000
"""Keys and values of a document: what takes a second to read, however they are nested."""
MOST_PLACES: Final = 1_000
"""Texts in one document that are looked at."""

Opened = Callable[[bytes, Password], Container]
"""Opens content of any other format."""

_KUBECONFIG: Final = re.compile(
    rb"""^[ \t]*["']?kind["']?[ \t]*:[ \t]*["']?Config["']?[ \t]*(?:,[ \t]*)?\r?$""", re.MULTILINE
)
_COMPACT_KUBECONFIG: Final = re.compile(rb'\A\s*\{[^{}\[\]]{0,200}"kind"\s*:\s*"Config"')
_CLUSTERS: Final = re.compile(rb"""["']?clusters["']?[ \t]*:""")
CERTIFICATES_OF_KUBECONFIG: Final = (
    ("clusters", "cluster", "certificate-authority"),
    ("users", "user", "client-certificate"),
)
"""List, what is in it, and the key with the path of a certificate; with `-data` behind it, with the certificate."""
_IN_KUBECONFIG: Final = (
    *(f"/{plural}/*/{kind}/{key}-data" for plural, kind, key in CERTIFICATES_OF_KUBECONFIG),
    "/users/*/user/client-key-data",
)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\s]+(?:=\s*){0,2}")
_ENCODINGS: Final = frozenset({FileFormat.DOCUMENT})


def is_kubeconfig(data: bytes) -> bool:
    """Whether `data` looks like the configuration of kubectl: of the kind Config, with clusters, not too large."""
    if len(data) > LARGEST or b"Config" not in data or b"clusters" not in data:
        return False
    kind = _KUBECONFIG.search(data) or _COMPACT_KUBECONFIG.match(data)
    return kind is not None and _CLUSTERS.search(data) is not None


def kubeconfig(opened: Opened) -> Format:
    """Return the format of kubectl's configuration: clusters' CAs, users' certificates and keys."""

    def open_it(data: bytes, password: Password) -> Container:
        return replace(open_document(data, _IN_KUBECONFIG, password, opened), format=FileFormat.KUBECONFIG)

    return Format(
        FileFormat.KUBECONFIG,
        "a kubeconfig",
        is_kubeconfig,
        opened=open_it,
        encoding="kubeconfig",
        shows_trusted=True,
    )


@immutable
class _Found:
    """What stands at one place."""

    place: str
    container: Container


def open_document(data: bytes, pointers: Sequence[str], password: Password, opened: Opened) -> Container:
    """Return the certificates, private keys and faults at the places that match `pointers`, in their order.

    As in a keystore, what stands at each place is an entry by the name of the place. It raises nothing.
    """
    # It loads YAML, which no other format needs.
    from config.document import parse  # noqa: PLC0415

    if len(data) > LARGEST:
        why = f"it is a document of more than {LARGEST} bytes, which is not looked into"
        return Container(FileFormat.DOCUMENT, faulty(UnreadableReason.TOO_LARGE, why), _ENCODINGS)
    document, mistakes = parse(data, "", MOST_NODES)
    if document is None:
        where = f"line {mistakes[-1].line}: " if mistakes[-1].line else ""
        why = f"it is no YAML and no JSON that can be read: {where}{mistakes[-1].problem}"
        return Container(FileFormat.DOCUMENT, faulty(UnreadableReason.BAD_DOCUMENT, why), _ENCODINGS)
    found: list[_Found] = []
    places: set[str] = set()
    for pointer in pointers:
        for place, value in _at(document.values, steps(pointer), ()):
            if len(places) >= MOST_PLACES:
                why = f"more than {MOST_PLACES} texts in it are to be looked at"
                return _joined(
                    [*found, _Found("", Container(FileFormat.DOCUMENT, faulty(UnreadableReason.TOO_LARGE, why)))]
                )
            name = written(place)
            if name not in places:
                places.add(name)
                found.append(_Found(name, _read(value, password, opened)))
    return _joined(found)


def _at(value: Value, steps_: Sequence[str], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Yield each value that these steps lead to, and its place; nothing where they lead nowhere."""
    if not steps_:
        yield above, value
        return
    step, *rest = steps_
    inside: Mapping[str, Value] = {}
    if isinstance(value, dict):
        inside = value
    elif isinstance(value, list):
        inside = {str(index): each for index, each in enumerate(value)}
    for key in inside if step == ANY else (step,):
        if key in inside:
            yield from _at(inside[key], rest, (*above, key))


def _read(value: Value, password: Password, opened: Opened) -> Container:
    if not isinstance(value, str):
        return _faulty("it is no text")
    if not value.strip():
        return Container(FileFormat.DOCUMENT, Blocks((), (), ()))
    inside = content_of(value)
    if inside is None:
        return _faulty(NO_CONTENT)
    read = opened(inside, password)
    if read.format is FileFormat.OTHER and "-----BEGIN " not in value:
        return _faulty("what it holds in base64 is neither a certificate nor a key")
    return read


NO_CONTENT: Final = Printable("it is neither PEM nor base64")


def content_of(text: str) -> bytes | None:
    """Return the content of a file that stands in a text, as PEM or in base64 with any white space; None for others."""
    data = text.encode(errors="replace")
    if b"-----BEGIN " in data:
        return data
    if _BASE64.fullmatch(data) is None:
        return None
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        return None


def _faulty(why: str) -> Container:
    return Container(FileFormat.DOCUMENT, faulty(UnreadableReason.BAD_DOCUMENT, why))


def _joined(found: Sequence[_Found]) -> Container:
    entries: list[KeystoreEntry[bytes]] = []
    keys: list[bytes] = []
    lists: list[bytes] = []
    faults: list[EncodingFault] = []
    for each in found:
        inside = each.container
        entries += _entries(each)
        keys += inside.blocks.keys
        lists += inside.blocks.lists
        where = f"at {printable(each.place, LONGEST_ALIAS)}: " if each.place else ""
        faults += (EncodingFault(fault.reason, f"{where}{fault.detail}") for fault in inside.blocks.faults)
    keystore = Keystore(tuple(entries), Integrity.UNPROTECTED)
    blocks = Blocks(keystore.served, tuple(dict.fromkeys(keys)), tuple(faults[:MOST_FAULTS]), tuple(lists))
    return Container(FileFormat.DOCUMENT, blocks, _ENCODINGS, keystore if entries else None)


def _entries(found: _Found) -> Iterator[KeystoreEntry[bytes]]:
    """Yield the entries at a place: CA's certificates without a key are trusted by somebody, all else is presented."""
    name, inside = printable(found.place, LONGEST_ALIAS), found.container
    if inside.keystore is not None:
        for each in inside.keystore.entries:
            yield replace(each, alias=sentence("{} {}", name, each.alias) if each.alias else name)
    elif inside.blocks.certificates:
        ders = inside.blocks.certificates
        if not inside.blocks.keys and all(each.is_ca for each in decodable(ders)):
            yield from (KeystoreEntry(EntryKind.TRUSTED, name, None, (der,)) for der in ders)
        else:
            yield KeystoreEntry(EntryKind.PRIVATE_KEY, name, None, ders)
