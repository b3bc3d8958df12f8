"""Clients and trust stores, as they are written."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from config import model
from config.fields import AbsolutePath, Host, SecurityLevel
from config.schema.expected import ValidationSwitch
from config.schema.section import Section, StoreName, broken_rule
from config.vocabulary import VerifierName


class TrustStoreSection(Section):
    """A set of anchors, from one source."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    certifi: Literal[True] | None = None
    """Mozilla's anchors, as the certifi package ships them."""
    system: Literal[True] | None = None
    """The operating system's anchors."""
    bundle: AbsolutePath | None = None
    """A file of certificates: PEM, PKCS#7, one in DER, or a keystore of Java's (JKS, JCEKS)."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if len([each for each in (self.certifi, self.system, self.bundle) if each is not None]) != 1:
            raise broken_rule("not one source, expected exactly one of 'certifi: true', 'system: true', 'bundle: PATH'")
        return self

    def build(self, name: str) -> model.TrustStore:
        """Return the trust store called `name`."""
        if self.bundle is not None:
            return model.TrustStore(name, model.PemBundle(self.bundle))
        return model.TrustStore(name, model.CertifiStore() if self.certifi else model.SystemStore())


class ClientSection(Section):
    """A kind of program that connects."""

    trusts: StoreName
    """The name of a trust store."""
    verifier: Annotated[VerifierName, Field(strict=False)] = VerifierName.OPENSSL
    """The rules by which it judges."""
    intermediates: list[AbsolutePath] = []
    """Files with intermediate certificates that it holds itself."""
    names: list[Host] = []
    """The names by which it connects; by default the endpoint's own."""
    validates: bool = True
    """Whether it validates at all. If not, a chain that it would reject is a notice."""
    validation_switch: ValidationSwitch | None = None
    """The line of its configuration that turns validation off; `validates` counts while that cannot be read."""

    security_level: SecurityLevel = model.DEFAULT_SECURITY_LEVEL
    """OpenSSL's demand on keys and signatures: level 0 takes any, 2 is the default of its programs."""

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        if "security_level" in self.model_fields_set and self.verifier is not VerifierName.OPENSSL:
            raise broken_rule(
                "'security_level' beside another verifier, expected 'verifier: openssl', or no 'security_level'",
                *("security_level", "verifier"),
            )
        return self

    def build(self, name: str) -> model.Client:
        """Return the client called `name`."""
        return model.Client(
            name=name,
            trusts=self.trusts,
            verifier=self.verifier,
            intermediates=tuple(self.intermediates),
            names=tuple(self.names),
            validates=self.validates,
            validation_switch=self.validation_switch.build() if self.validation_switch else None,
            security_level=self.security_level,
        )
