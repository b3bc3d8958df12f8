"""Names in certificates, in the parts and the notation that other exporters have them in."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from config.immutable import immutable
from config.text import printable
from probes.certificate import Certificate

ATTRIBUTES: Final = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}

_NOBODY: Final = x509.Name([])


@immutable
class NameLabels:
    """The names of a certificate's subject and issuer; empty where they cannot be decoded."""

    subject: x509.Name
    issuer: x509.Name

    @classmethod
    def of(cls, certificate: Certificate) -> NameLabels:
        """Return those of `certificate`."""
        parsed = certificate.decoded()
        try:
            return cls(parsed.subject, parsed.issuer)
        except ValueError:
            return cls(_NOBODY, _NOBODY)


def values(name: x509.Name, attribute: str) -> tuple[str, ...]:
    """Return every value that `name` has of one of the `ATTRIBUTES`, printable."""
    found = name.get_attributes_for_oid(ATTRIBUTES[attribute])
    return tuple(printable(str(each.value)) for each in found)


def value(name: x509.Name, attribute: str) -> str:
    """Return the value of an attribute as Go's crypto/x509 has it: the last common name, the first of all others."""
    found = values(name, attribute) or ("",)
    return found[-1 if attribute == "CN" else 0]


def decimal_serial(certificate: Certificate) -> str:
    """Return the serial number in decimal notation, empty where it cannot be decoded."""
    return str(int(certificate.serial, 16)) if certificate.serial else ""
