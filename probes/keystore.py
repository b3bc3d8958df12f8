"""A keystore of any format, as values: its entries, and the password that verifies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from config.immutable import immutable
from config.text import Printable
from config.vocabulary import EntryKind, Integrity

AnyCertificate = TypeVar("AnyCertificate")
Another = TypeVar("Another")

DEFAULT_PASSWORD: Final = b"changeit"
"""The password that Java's own trust store has, and that its documentation proposes for all others."""
LONGEST_ALIAS: Final = 200
"""Characters that are kept; in JKS it may have 65,535 bytes."""


@immutable
class KeystoreEntry(Generic[AnyCertificate]):
    """One entry of a keystore."""

    kind: EntryKind
    alias: Printable
    """Empty where the entry has none."""
    created: float | None
    """Unix time; None where the format does not tell."""
    certificates: tuple[AnyCertificate, ...]
    """The chain of a private key, its own certificate first; one of a trusted certificate; none of a secret key."""


@immutable
class Keystore(Generic[AnyCertificate]):
    """The entries of a keystore, in file order."""

    entries: tuple[KeystoreEntry[AnyCertificate], ...]
    integrity: Integrity
    default_password: bool = False
    """The password that verifies or opens it is `DEFAULT_PASSWORD`."""
    locked_keys: int = 0
    """Private keys that no known password opens."""

    def of(self, each: Callable[[AnyCertificate], Another]) -> Keystore[Another]:
        """Return the same with each certificate as that function gives it; raises what that does."""
        entries = tuple(
            KeystoreEntry(one.kind, one.alias, one.created, tuple(map(each, one.certificates))) for one in self.entries
        )
        return Keystore(entries, self.integrity, self.default_password, self.locked_keys)

    @property
    def is_trust_store(self) -> bool:
        """Whether it holds trusted certificates and no private key."""
        kinds = {each.kind for each in self.entries}
        return EntryKind.TRUSTED in kinds and EntryKind.PRIVATE_KEY not in kinds

    @property
    def trusted(self) -> tuple[KeystoreEntry[AnyCertificate], ...]:
        """The entries with trusted certificates."""
        return tuple(each for each in self.entries if each.kind is EntryKind.TRUSTED)

    @property
    def served(self) -> tuple[AnyCertificate, ...]:
        """The chains of the private keys, or all trusted certificates where there is no private key; each once."""
        kind = EntryKind.TRUSTED if self.is_trust_store else EntryKind.PRIVATE_KEY
        held = (certificate for each in self.entries if each.kind is kind for certificate in each.certificates)
        return tuple(dict.fromkeys(held))


@immutable
class StoreEntry:
    """One entry exactly as it is written, to be compared with another, whatever its format calls it."""

    alias: str
    """Hostile; empty where there is none, as in PEM."""
    kind: EntryKind
    certificates: tuple[bytes, ...]
    """DER: one that is trusted, or the chain of a private key."""
    created: float | None = None
    """Unix time; None where the format does not tell."""
    secret: str = ""
    """SHA-256 of the private or secret key as it lies there, hexadecimal; empty where there is none."""


@immutable
class ExactEntries:
    """The entries of a keystore, in file order."""

    entries: tuple[StoreEntry, ...]
    private_keys: int
    """That can be seen, also where entries do not show them."""


def password_in(data: bytes) -> bytes:
    """Return the password that a file holds, without the end of its line."""
    return data.rstrip(b"\r\n")
