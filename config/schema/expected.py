"""What a site expects of its servers and clients, as it is written."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from config import expected
from config.address import split_address
from config.fields import AbsolutePath, Address, Sentence
from config.schema.section import Section, broken_rule
from config.vocabulary import OwnCertificate, TLSVersion

Own = Annotated[OwnCertificate, Field(strict=False)]
Version = Annotated[TLSVersion, Field(strict=False)]


class NegotiationSection(Section):
    """What a server may negotiate without a finding."""

    protocols: Annotated[list[Version], Field(min_length=1)] | None = None
    """The allowed versions of TLS; another one is `obsolete_protocol`. By default TLSv1.2 and TLSv1.3."""
    ciphers: list[Sentence] | None = None
    """The allowed ciphers in OpenSSL's spelling, with * and ?, such as ECDHE-*-GCM-*; any other is `weak_cipher`.

    By default, and as an empty list, all that RFC 9325 does not forbid.
    """

    def build(self, base: expected.AllowedTLS = expected.ANY_MODERN) -> expected.AllowedTLS:
        """Return what is allowed; what is not given here is as in `base`."""
        return expected.AllowedTLS(
            base.protocols if self.protocols is None else frozenset(self.protocols),
            base.ciphers if self.ciphers is None else tuple(self.ciphers),
        )


class DefaultCertificateSection(Section):
    """How the certificate is told that a product makes itself at its installation; one sign is enough."""

    self_signed: bool = False
    """Whether a certificate that is signed by its own key is one."""
    issuers: list[Sentence] = []
    """Issuers of such certificates in RFC 4514, with * and ?, such as "CN=Appliance Federation CA*"."""
    subjects: list[Sentence] = []
    """Subjects of such certificates in RFC 4514, with * and ?."""
    own_sha256: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = []
    """Your own certificates that are signed by their own key, and none of these, by SHA-256."""

    @model_validator(mode="after")
    def _check_signs(self) -> Self:
        if not (self.self_signed or self.issuers or self.subjects):
            raise broken_rule("no sign of a default certificate, expected 'self_signed', 'issuers' or 'subjects'")
        return self

    def build(self, own: OwnCertificate) -> expected.DefaultCertificate:
        """Return the signs, with whether an own certificate is expected instead."""
        issuers, subjects = tuple(self.issuers), tuple(self.subjects)
        return expected.DefaultCertificate(self.self_signed, issuers, subjects, own, frozenset(self.own_sha256))


class ValidationSwitchSection(Section):
    """The line of a configuration file that turns off a client's validation of certificates."""

    file: AbsolutePath
    """A file of lines `key=value`, as Java's properties."""
    key: Sentence
    """The key of the line."""
    disables: Sentence
    """The value that turns validation off."""
    default: Sentence | None = None
    """The value that counts where the line is absent; without it, validation is then on."""

    def build(self) -> expected.ValidationSwitch:
        """Return the switch."""
        return expected.ValidationSwitch(self.file, self.key, self.disables, self.default)


class PlainPortSection(Section):
    """A UDP port of the host that speaks no TLS: it is listed, and never looked at."""

    address: Address
    """Host and port."""
    reason: Sentence
    """What it speaks instead, for readers of `status` and `inventory`."""

    def build(self) -> expected.NotTLS:
        """Return the port."""
        return expected.NotTLS(*split_address(self.address), self.reason)
