"""The certification path tests of NIST PKITS (version 1.0.1), and which of them the `openssl` verifier claims to pass.

The table beside this file has one line per test of the published description, "Conformance Testing of Relying Party
Client Certification Path Processing Logic": number (with the subpart, where a test has several), name, the inputs that
differ from the default settings, verdict, the gap that keeps us from it, the end entity, and the other certificates,
the one nearest to the trust anchor first. The data itself is shipped by the package cryptography_vectors.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cryptography_vectors

ANCHOR: Final = "TrustAnchorRootCertificate"
PUBLISHED: Final = 1_302_825_600.0
"""Unix time of 2011-04-15, when the data was published; all of it is meant to be judged in 2011 to 2030."""

_CERTIFICATES: Final = os.path.join(os.path.dirname(cryptography_vectors.__file__), "x509", "PKITS_data", "certs")
_TABLE: Final = os.path.join(os.path.dirname(__file__), "pkits.tsv")


class Gap(StrEnum):
    """Why a test is not supported."""

    NONE = ""
    REVOCATION = "revocation"
    """The path is valid but for its CRLs, and the verifier reads none."""
    POLICY = "policy"
    """The path is valid but for its certificate policies, and the verifier evaluates none."""
    SETTINGS = "settings"
    """It needs policy inputs, and the verifier has none: any policy will do, and none is required."""
    DSA_INHERITANCE = "dsa_inheritance"
    """A DSA key may leave its parameters to its issuer (RFC 3279, 2.3.2); cryptography cannot decode such a key."""


@dataclass(frozen=True, slots=True)
class PkitsCase:
    """One test."""

    number: str
    name: str
    settings: str
    """Inputs that differ from the default settings, empty where none does."""
    valid: bool
    gap: Gap
    end_entity: str
    intermediates: tuple[str, ...]

    @property
    def supported(self) -> bool:
        """Whether the verifier claims to give the published verdict."""
        return self.gap is Gap.NONE


def read(certificate: str) -> bytes:
    """Return the DER of a certificate of the data."""
    with open(os.path.join(_CERTIFICATES, f"{certificate}.crt"), "rb") as file:
        return file.read()


def all_certificates() -> frozenset[str]:
    """Return the names of all certificates of the data."""
    return frozenset(file.removesuffix(".crt") for file in os.listdir(_CERTIFICATES))


def _cases() -> Iterator[PkitsCase]:
    with open(_TABLE, encoding="ascii", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield PkitsCase(
                number=row["number"],
                name=row["name"],
                settings=row["settings"],
                valid={"valid": True, "invalid": False}[row["verdict"]],
                gap=Gap(row["gap"]),
                end_entity=row["end_entity"],
                intermediates=tuple(row["intermediates"].split()),
            )


CASES: Final = tuple(_cases())


def all_lists() -> tuple[bytes, ...]:
    """Return every revocation list of the data, in DER."""
    directory = os.path.join(os.path.dirname(_CERTIFICATES), "crls")
    found: list[bytes] = []
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as file:
            found.append(file.read())
    return tuple(found)
