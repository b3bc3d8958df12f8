"""Where it is learnt if certificates are revoked, as it is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.immutable import immutable
from config.reach import Reach

if TYPE_CHECKING:
    from config.model import Proxy


@immutable
class Fetching:
    """How revocation lists and answers are fetched, and from where."""

    crls: bool = True
    """Whether lists are fetched from where certificates say they are."""
    ocsp: bool = False
    """Whether CAs are asked by OCSP, which tells them who looks at which certificate."""
    proxy: Proxy | None = None
    allow: tuple[Reach, ...] = ()
    """Addresses beside the public ones, at the ports 80 and 443 of which everything may be fetched."""
    every: float = 4 * 3600.0
    """Seconds between two requests for the same list, unless it ends before."""
    timeout: float = 30.0
    """Seconds for one list, redirects included."""
    largest: int = 16
    """MiB of one list."""


@immutable
class RevocationSettings:
    """The files with revocation lists, and how others are fetched."""

    crls: tuple[str, ...] = ()
    """Paths, directories and patterns, as in a watch."""
    fetch: Fetching | None = None
    """None where nothing is fetched."""


NO_SOURCES: Final = RevocationSettings()
