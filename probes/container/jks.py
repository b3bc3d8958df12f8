"""Java's own keystores, JKS and JCEKS, which `probes.java` reads; and Bouncy Castle's, recognised and not read yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from config.vocabulary import FileFormat
from probes.container.blocks import Blocks, Container, EncodingFault, Format, Password
from probes.java import store
from probes.java.store import exact_entries, read_java_keystore

_BKS: Final = (bytes.fromhex("0000000100000014"), bytes.fromhex("0000000200000014"))
"""Version 1 or 2, and the length of a salt."""


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(beginnings)


def _java(name: FileFormat, called: str, beginning: bytes) -> Format:
    return Format(
        name,
        called,
        _begins(beginning),
        beginning[0],
        opened=partial(_open, name, called),
        with_certificates=True,
        is_keystore=True,
        encoding=name.upper(),
        exact=lambda data, _password: exact_entries(data),
        shows_trusted=True,
    )


def _open(name: FileFormat, called: str, data: bytes, password: Password) -> Container:
    """Return the chains of its private keys, or where there is none its trusted certificates, and all entries."""
    read = read_java_keystore(data, password)
    faults = tuple(EncodingFault(each.reason, f"{called} that {each.detail}") for each in read.faults)
    return Container(name, Blocks(read.keystore.served, read.keys, faults), frozenset({name}), read.keystore)


JKS: Final = _java(FileFormat.JKS, "a JKS keystore", store.JKS)
JCEKS: Final = _java(FileFormat.JCEKS, "a JCEKS keystore", store.JCEKS)
BKS: Final = Format(
    FileFormat.BKS,
    "a Bouncy Castle keystore (BKS)",
    _begins(*_BKS),
    _BKS[0][0],
    with_certificates=True,
    is_keystore=True,
)
