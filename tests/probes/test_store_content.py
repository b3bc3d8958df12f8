"""How people name the entries of a trust store."""

from __future__ import annotations

import pytest

from config.vocabulary import EntryKind, FileFormat
from probes.keystore import StoreEntry
from probes.store_content import StoreContent, sha256_of

FIRST, SECOND = b"first", b"second"
ROOT = StoreEntry("root", EntryKind.TRUSTED, (FIRST,))
AGAIN = StoreEntry("again", EntryKind.TRUSTED, (FIRST,))
OTHER = StoreEntry(sha256_of(FIRST)[:8], EntryKind.TRUSTED, (SECOND,))
KEY = StoreEntry("key", EntryKind.PRIVATE_KEY, (SECOND,))
STORE = StoreContent(FileFormat.JKS, (ROOT, AGAIN, OTHER, KEY))
NO_ALIASES = StoreContent(FileFormat.PEM, (StoreEntry("", EntryKind.TRUSTED, (FIRST,)),))


@pytest.mark.parametrize(
    ("named", "entries"),
    [
        ("Root", (ROOT,)),
        ("key", (KEY,)),
        (sha256_of(FIRST)[:9], (ROOT, AGAIN)),
        (sha256_of(FIRST).upper(), (ROOT, AGAIN)),
        (":".join((sha256_of(SECOND)[:2], sha256_of(SECOND)[2:8])), (OTHER,)),
        (sha256_of(FIRST)[:8], (OTHER,)),
        (sha256_of(SECOND)[:7], ()),
        ("", ()),
    ],
    ids=["alias", "alias of a key", "digits", "all digits", "colons", "an alias of digits", "few digits", "nothing"],
)
def test_an_alias_names_an_entry_and_else_the_digits_of_a_trusted_certificate(
    named: str, entries: tuple[StoreEntry, ...]
) -> None:
    assert STORE.named(named) == entries


def test_an_entry_without_an_alias_is_named_by_digits_alone() -> None:
    assert NO_ALIASES.named("") == ()
    assert NO_ALIASES.named(sha256_of(FIRST)[:8]) == NO_ALIASES.entries
