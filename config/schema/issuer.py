"""The issuers of acceptable certificates, as they are written."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from config import model
from config.schema.section import Section, StoreName, broken_rule
from config.text import printable


def _no_name(value: object) -> object:
    if isinstance(value, str):
        raise broken_rule(
            f"found the name '{printable(value, 80)}', which anybody can write into a certificate, expected "
            "{trust_store: NAME}, or {spki_sha256: HASH} with the hash of the issuer's public key, which "
            "'certvigil plan' says of a candidate"
        )
    return value


class _Issuer(Section):
    """The issuer of acceptable certificates: one of the two keys."""

    trust_store: StoreName | None = None
    """The name of a trust store, for each certificate with a chain that leads to it."""
    spki_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the issuer's public key, 64 hexadecimal digits in lower case."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.trust_store is None) is (self.spki_sha256 is None):
            raise broken_rule("not one way to name an issuer, expected either 'trust_store' or 'spki_sha256'")
        return self

    def build(self) -> model.AllowedIssuer:
        """Return the issuer."""
        return model.AllowedIssuer(self.trust_store, self.spki_sha256)


AllowedIssuerSection = Annotated[_Issuer, BeforeValidator(_no_name)]
