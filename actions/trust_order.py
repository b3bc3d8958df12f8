"""An order to change a trust store, in names only: certificates and a password follow it as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from config.immutable import immutable
from config.plain import text, texts


class TrustDeed(StrEnum):
    """What is done to a trust store."""

    ADD = "add"
    """Certificates are trusted: those that follow."""
    REMOVE = "remove"
    """A certificate is trusted no longer."""
    PASSWORD = "password"  # noqa: S105 (no password)
    """A keystore gets the password that follows."""
    RESTORE = "restore"
    """A backup set is given back."""
    ENFORCE = "enforce"
    """A client of the store validates, by the line of its configuration."""
    RELAX = "relax"
    """It no longer does."""


@immutable
class TrustOrder:
    """What a person wants of a trust store."""

    deed: TrustDeed
    named: str = ""
    """ADD: an alias; REMOVE: an alias, or the beginning of a SHA-256; RESTORE: a backup set; ENFORCE, RELAX: a client.

    Empty for the usual one of ADD and RESTORE.
    """
    losses: tuple[str, ...] = ()
    """Clients that may be lost."""
    dry_run: bool = False
    """Nothing is changed; the plan is told."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "deed": self.deed,
            "named": self.named,
            "losses": list(self.losses),
            **({"dry_run": True} if self.dry_run else {}),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the order of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        if not plain.keys() <= {"deed", "named", "losses", "dry_run"}:
            raise ValueError("unknown keys")
        return cls(
            TrustDeed(plain["deed"]),
            text(plain.get("named", "")),
            texts(plain.get("losses", [])),
            plain.get("dry_run", False) is True,
        )
