"""Clients and trust stores, as they are written."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from config import model
from config.fields import AbsolutePath, Host, SecurityLevel
from config.schema.component import NamedService
from config.schema.expected import ValidationSwitchSection
from config.schema.section import Section, StoreName, broken_rule
from config.vocabulary import Elsewhere, Mode, RevocationCheck, VerifierName, WriteMode

_CHANGED: Final = ("password_file", "mode", "service", "write_mode", "keytool")
"""Keys that are about a file alone."""


class TrustStoreSection(Section):
    """A set of anchors, from one source, and who may change it."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    certifi: Literal[True] | None = None
    """Mozilla's anchors, as the certifi package ships them."""
    system: Literal[True] | None = None
    """The operating system's anchors."""
    elsewhere: Annotated[Elsewhere, Field(strict=False)] | None = None
    """Anchors on such machines, which nobody here can see: `certvigil trust confirm` records what a person saw."""
    bundle: AbsolutePath | None = None
    """A file of certificates: PEM as OpenSSL reads it, one or PKCS#7 in DER, or a keystore (JKS, JCEKS, PKCS#12)."""
    password_file: AbsolutePath | None = None
    """The file with the password of a keystore; without it, certvigil tries none and Java's default one."""
    mode: Annotated[Mode, Field(strict=False)] = Mode.OBSERVE
    """Whether a person may have it changed by `certvigil trust` (approve), or nobody (observe)."""
    service: NamedService = None
    """The service that reads it: its commands, or the name of one of `services`. It takes up each change."""
    write_mode: Annotated[WriteMode, Field(strict=False)] = WriteMode.RENAME
    """How the file is replaced: `in_place` where it is a mount point or has several names, else `rename`."""
    keytool: AbsolutePath | None = None
    """Java's keytool for this keystore; by default of the Java that holds the keystore, else `/usr/bin/keytool`."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        sources = (self.certifi, self.system, self.bundle, self.elsewhere)
        if len([each for each in sources if each is not None]) != 1:
            raise broken_rule(
                "not one source, expected exactly one of 'certifi: true', 'system: true', 'bundle: PATH', "
                "'elsewhere: windows'"
            )
        if self.bundle is None and (given := [key for key in _CHANGED if key in self.model_fields_set]):
            raise broken_rule(f"'{given[0]}' without 'bundle', expected it beside a file", *given)
        if self.mode not in {Mode.OBSERVE, Mode.APPROVE}:
            raise broken_rule(f"'mode: {self.mode}' of a trust store, expected 'observe' or 'approve'", "mode")
        return self

    def build(self, name: str) -> model.TrustStore:
        """Return the trust store called `name`."""
        if self.bundle is not None:
            return model.TrustStore(
                name,
                model.PemBundle(self.bundle),
                self.password_file,
                self.mode,
                self.service.build() if self.service else None,
                self.write_mode,
                self.keytool,
            )
        if self.elsewhere is not None:
            return model.TrustStore(name, model.OtherMachines(self.elsewhere))
        return model.TrustStore(name, model.CertifiStore() if self.certifi else model.SystemStore())


class RotationSection(Section):
    """A change of the root, as long as it lasts."""

    new: AbsolutePath
    """The file of the new root."""
    old: list[AbsolutePath] = []
    """The files of the roots that are to go; by default, those of the certificates in use."""

    def build(self) -> model.Rotation:
        """Return the rotation."""
        return model.Rotation(self.new, tuple(self.old))


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
    validation_switch: ValidationSwitchSection | None = None
    """The line of its configuration that turns validation off; `validates` counts while that cannot be read."""

    revocation: Annotated[RevocationCheck, Field(strict=False)] = RevocationCheck.NONE
    """Whether it asks if a certificate is revoked: none, soft_fail (accepts where nobody can tell) or hard_fail."""
    security_level: SecurityLevel = model.DEFAULT_SECURITY_LEVEL
    """OpenSSL's demand on keys and signatures: level 0 takes any, 2 is the default of its programs."""
    post_quantum: bool = False
    """Whether it knows ML-DSA and SLH-DSA, as OpenSSL does since 3.5."""

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        for key in ("security_level", "post_quantum"):
            if key in self.model_fields_set and self.verifier is not VerifierName.OPENSSL:
                raise broken_rule(
                    f"'{key}' beside another verifier, expected 'verifier: openssl', or no '{key}'", key, "verifier"
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
            post_quantum=self.post_quantum,
            revocation=self.revocation,
        )
