"""What a site expects of its servers and clients: allowed TLS, an own certificate, validation, ports without TLS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from config.immutable import immutable
from config.vocabulary import OwnCertificate, TLSVersion


@immutable
class AllowedTLS:
    """What a server may negotiate without a finding."""

    protocols: frozenset[TLSVersion] = frozenset({TLSVersion.TLS1_2, TLSVersion.TLS1_3})
    ciphers: tuple[str, ...] = ()
    """Names of ciphers in OpenSSL's spelling, or patterns; empty allows all that RFC 9325 does not forbid."""


ANY_MODERN: Final = AllowedTLS()
"""What is allowed where a site says nothing."""


@immutable
class DefaultCertificate:
    """How the certificate is told that a product makes itself at its installation; one sign is enough."""

    self_signed: bool = False
    """A certificate that is signed by its own key is one, unless it is among `own_sha256`."""
    issuers: tuple[str, ...] = ()
    """Issuers in RFC 4514, or patterns."""
    subjects: tuple[str, ...] = ()
    """Subjects in RFC 4514, or patterns."""
    own: OwnCertificate = OwnCertificate.EXPECTED
    """Whether an own certificate must stand in its place."""
    own_sha256: frozenset[str] = frozenset()
    """Certificates by SHA-256, hexadecimal: of the site's own making, though they may be signed by their own key."""

    def but_for(self, own_sha256: Iterable[str]) -> DefaultCertificate:
        """Return these signs where those certificates are known to be the site's own, too."""
        return replace(self, own_sha256=self.own_sha256.union(own_sha256)) if self.self_signed else self


@immutable
class ValidationSwitch:
    """The line of a configuration file that turns off a client's validation of certificates."""

    file: str
    key: str
    disables: str
    """The value that turns validation off, in any case of letters."""
    default: str | None = None
    """The value that counts where the line is absent."""


@immutable
class NotTLS:
    """A UDP port of the host that speaks no TLS: it is listed, and never looked at."""

    host: str
    port: int
    reason: str
