"""What is found in content: blocks, faults, and the format that holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Final

from config.immutable import immutable
from config.vocabulary import FileFormat, UnreadableReason
from probes.keystore import ExactEntries, Keystore

Password = bytes | None

SEALED: Final = frozenset({UnreadableReason.LOCKED, UnreadableReason.WRONG_PASSWORD})
"""The faults that the right password mends."""
MOST_FAULTS: Final = 16
"""Faults that are told of one file: a hostile file could hold a million."""


@immutable
class EncodingFault:
    """One block of a file could not be decoded."""

    reason: UnreadableReason
    detail: str


@immutable
class Blocks:
    """The content of a file, block by block, in file order."""

    certificates: tuple[bytes, ...]
    """DER."""
    keys: tuple[bytes, ...] = field(repr=False)
    """PEM, boundaries included, or DER; never shown to anyone."""
    faults: tuple[EncodingFault, ...]
    """The first `MOST_FAULTS`."""
    lists: tuple[bytes, ...] = ()
    """Certificate revocation lists, DER."""


NOTHING: Final = Blocks((), (), ())


def faulty(reason: UnreadableReason, detail: str) -> Blocks:
    """Return that nothing could be read, for one reason."""
    return Blocks((), (), (EncodingFault(reason, detail),))


@immutable
class Container:
    """Content, opened."""

    format: FileFormat
    blocks: Blocks
    encodings: frozenset[FileFormat] = frozenset()
    """The formats in which certificates and keys were met, such as PEM and PKCS#7 within it."""
    keystore: Keystore[bytes] | None = None
    """The entries, where it is a keystore that could be read; their certificates are DER."""


@immutable
class Format:
    """A format of content: how it is recognised, called and opened."""

    name: FileFormat
    called: str = ""
    """For a person, with an article; empty where certificates are no more than expected."""
    begins: Callable[[bytes], bool] | None = None
    """Whether content is written in it; None where a PEM label alone tells that."""
    first: int | None = None
    """The octet by which all content in it begins, so that other content is not even tried; None where several do."""
    labels: frozenset[bytes] = frozenset()
    """Of PEM blocks whose body is in this format."""
    opened: Callable[[bytes, Password], Container] | None = None
    """Opens content, and raises nothing; None where certvigil looks at nothing in it."""
    with_certificates: bool = False
    """Whether content that cannot be read counts as holding certificates."""
    is_keystore: bool = False
    """Whether a password may seal it, so that opening it may cost work."""
    encoding: str = ""
    """The name of this encoding of certificates and keys, in a sentence; empty where it is none of its own."""
    exact: Callable[[bytes, Password], ExactEntries] | None = None
    """Returns the entries of a keystore that this password opens, exactly, and raises nothing; None for all others."""
    shows_trusted: bool = False
    """Whether the trusted certificates of a keystore are read without a password, and without work."""
