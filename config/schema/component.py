"""A component, as it is written: a service with its files, its endpoints and its clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from config import model
from config.expected import ANY_MODERN, AllowedTLS
from config.fields import AbsolutePath, Duration, PlainName, Sentence, default_duration
from config.label import labels_of
from config.schema.expected import DefaultCertificateSection, Own
from config.schema.issuer import AllowedIssuerSection
from config.schema.looking import ComponentEndpoint, check_own
from config.schema.section import ClientName, Labels, Section, broken_rule
from config.service import Activation, Service, systemd
from config.text import printable
from config.vocabulary import LINE_ROLES, FileRole, Keys, LineSyntax, Mode, OwnCertificate, WriteMode

_COMPONENT: Final = model.Component("", model.Artefacts())


_KEPT: Final = (FileRole.CERTIFICATE, FileRole.KEY, FileRole.CHAIN, FileRole.COMBINED, FileRole.KEYSTORE)
"""The artefacts that other programs keep."""
_SETTING: Final = {
    LineSyntax.LIGHTTPD: (r"[A-Za-z][A-Za-z0-9._-]*", "the name of a setting, such as ssl.ca-file"),
    LineSyntax.XML: (
        r"[A-Za-z_][A-Za-z0-9_.-]*(/[A-Za-z_][A-Za-z0-9_.-]*)+",
        "the path of an element, such as ssl/certificate_chain_file",
    ),
}


class LineSection(Section):
    """A line of a configuration file that names the chain: certvigil adds and removes it with the chain itself."""

    file: AbsolutePath
    """The configuration file; files that it includes are not edited."""
    syntax: Annotated[LineSyntax, Field(strict=False)]
    """How it is written: lighttpd or xml."""
    setting: str
    """The setting, such as ssl.ca-file; of XML the element within its outer one, ssl/certificate_chain_file."""

    @model_validator(mode="after")
    def _check_setting(self) -> Self:
        pattern, expected = _SETTING[self.syntax]
        if not re.fullmatch(pattern, self.setting) or len(self.setting) > 200:
            raise broken_rule(f"'setting' is none of {self.syntax}, expected {expected}", "setting")
        return self

    def build(self, chain: str, certificate: str) -> model.ConfigLine:
        """Return the line, which names the file `chain` beside the file `certificate`."""
        return model.ConfigLine(self.file, self.syntax, self.setting, chain, certificate)


class ArtefactsSection(Section):
    """The files of a component: a keystore, a combined file, or certificate and key with a chain beside them."""

    certificate: AbsolutePath | None = None
    """The file with the certificate, and perhaps its chain."""
    key: AbsolutePath | None = None
    """The file with the private key."""
    chain: AbsolutePath | None = None
    """The file with the intermediate certificates, where it is separate."""
    combined: AbsolutePath | None = None
    """The file with certificate and private key, and perhaps the chain."""
    keystore: AbsolutePath | None = None
    """The one file with private key, certificate and chain: PKCS#12; JKS and JCEKS are watched, and not written."""
    password_file: AbsolutePath | None = None
    """The file with the password of the keystore. certvigil reads it at each look, and stores it nowhere."""
    lines: Annotated[list[LineSection], Field(max_length=len(LINE_ROLES))] = []
    """The lines of configuration files that name the chain, where the service reads it only if it is named there."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if self.combined is not None and (self.certificate is not None or self.key is not None):
            raise broken_rule("'combined' beside 'certificate' or 'key', expected the one or the others")
        if self.keystore is not None and (self.combined or self.certificate or self.key or self.chain):
            raise broken_rule("'keystore' beside other files, expected the one or the others")
        if self.lines and self.chain is None:
            raise broken_rule("'lines' without 'chain', expected it beside the file that the lines name")
        if self.keystore is None and self.password_file is not None:
            raise broken_rule("'password_file' without 'keystore', expected it beside the keystore that it opens")
        if self.combined is None and self.certificate is None and self.keystore is None:
            raise broken_rule("no certificate, expected 'certificate', perhaps with 'key', or 'combined' or 'keystore'")
        return self

    def build(self) -> model.Artefacts:
        """Return the artefacts."""
        lines = tuple(each.build(self.chain or "", self.combined or self.certificate or "") for each in self.lines)
        return model.Artefacts(**self.model_dump(exclude={"lines"}), lines=lines)


_NAME: Final = r"[A-Za-z0-9_.-]*\*[A-Za-z0-9_.-]*"


class BackupFolderSection(Section):
    """A folder in which another program keeps earlier files of the component; certvigil lists them, and only reads."""

    directory: AbsolutePath
    """The folder."""
    names: dict[str, str]
    """By artefact, such as certificate: the names of its files, in which * stands for the date, `*-web.crt`."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for role, name in self.names.items():
            if role not in _KEPT:
                raise broken_rule(f"'{printable(role)}' in 'names', expected {', '.join(_KEPT)}", "names")
            if not re.fullmatch(_NAME, name) or len(name) > 200:
                raise broken_rule(
                    f"'{role}' in 'names' is no name with one *, expected one such as '*-web.crt'", "names"
                )
        if not self.names:
            raise broken_rule(
                "no 'names', expected a name for each artefact, such as {certificate: '*-web.crt'}", "names"
            )
        return self

    def build(self, artefacts: model.Artefacts) -> model.BackupFolder:
        """Return the folder, as far as it is of these artefacts."""
        names = {role: self.names[role] for role in _KEPT if role in self.names and role in artefacts.files}
        return model.BackupFolder(self.directory.rstrip("/") or "/", MappingProxyType(names))


def _command(words: list[str]) -> list[str]:
    if not words or not words[0].startswith("/"):
        raise ValueError("a list of arguments that begins with an absolute path")
    return words


CommandLine = Annotated[list[str], AfterValidator(_command)]


_COMMANDS: Final = ("unit", "reload", "restart", "stop", "start")


class ComponentService(Section):
    """The commands of a service, as argument lists; a systemd `unit` has its own."""

    unit: str | None = None
    """A systemd unit, from which all commands but `test` follow."""
    test: CommandLine | None = None
    """Succeeds if the service would start with the present files, such as [/usr/sbin/nginx, -t]."""
    activate: Annotated[Activation, Field(strict=False)] = Activation.RESTART
    """How the service loads new files: `reload` where a failed reload does no harm, else `restart`."""
    reload: CommandLine | None = None
    """Loads new files without an interruption."""
    restart: CommandLine | None = None
    """Stops and starts the service. It is needed beside `reload`, too, for a service that is dead after a reload."""
    stop: CommandLine | None = None
    """Stops the service."""
    start: CommandLine | None = None
    """Starts the service."""
    timeout: Duration = default_duration(30.0)
    """The time limit of each command."""
    writes: list[AbsolutePath] = []
    """Further directories to which these commands write, such as /var/log/nginx."""
    quiesce: bool = False
    """Whether the service is stopped while its files are switched, because it may read them at any moment."""

    @model_validator(mode="after")
    def _check_commands(self) -> Self:
        if self.unit is not None and (self.reload or self.restart or self.stop or self.start):
            raise broken_rule("'unit' beside commands of its own, expected 'unit' or the commands", *_COMMANDS)
        try:
            self.build()
        except ValueError as error:
            raise broken_rule(str(error), *_COMMANDS, "activate", "quiesce") from None
        return self

    def build(self) -> Service:
        """Return the service; raises ValueError where a command that it needs is missing."""
        test = tuple(self.test) if self.test else None
        if self.unit is not None:
            return systemd(
                self.unit,
                test=test,
                activate=self.activate,
                timeout=self.timeout,
                quiesce=self.quiesce,
                writes=tuple(self.writes),
            )
        if self.restart is None:
            raise ValueError(
                "given without 'restart', expected 'restart' or 'unit': where a reload leaves the service dead, only a "
                "restart brings it back onto the old files"
            )
        return Service(
            restart=tuple(self.restart),
            test=test,
            reload=tuple(self.reload) if self.reload else None,
            stop=tuple(self.stop) if self.stop else None,
            start=tuple(self.start) if self.start else None,
            activate=self.activate,
            timeout=self.timeout,
            quiesce=self.quiesce,
            writes=tuple(self.writes),
        )


UNKNOWN_UNIT: Final = "unknown.service"
_UNKNOWN: Final = ComponentService(unit=UNKNOWN_UNIT)
"""Stands for a service with mistakes, which are reported at its declaration."""


def declared_services(section: Mapping[str, object]) -> Mapping[str, ComponentService]:
    """Return the service of each name in the section `services`; it may have mistakes."""

    def read(value: object) -> ComponentService:
        try:
            return ComponentService.model_validate(value)
        except ValidationError:
            return _UNKNOWN

    return {name: read(value) for name, value in section.items()}


def _named(value: object, info: ValidationInfo) -> object:
    """Return the service that a text names, and any other value as it is."""
    if not isinstance(value, str):
        return value
    known: Mapping[str, object] | None = info.context.services if info.context else None
    if known is not None and value not in known:
        raise PydanticCustomError("reference", "", {"what": "service", "known": known})
    return _UNKNOWN if known is None else known[value]


def _or_name(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "description": "The name of one of `services`."})


NamedService = Annotated[ComponentService | None, BeforeValidator(_named), Field(json_schema_extra=_or_name)]
"""A service, or the name of one of `services`."""


class ComponentSection(Section):
    """A service with its files, its own endpoints and the clients that must accept it."""

    artefacts: ArtefactsSection
    """The files that the service reads: certificate, key and chain, or combined, or keystore."""
    endpoints: list[ComponentEndpoint] = []
    """The ports at which the service serves the certificate."""
    clients: list[ClientName] = [model.DEFAULT_CLIENT]
    """The clients that must accept it."""
    not_served_after: Duration = default_duration(_COMPONENT.not_served_after)
    """How long a new certificate may be on disk without being served, before this is a finding."""
    service: NamedService = None
    """The commands of the service, or the name of one of `services`; without it, certvigil only watches."""
    allowed_issuers: list[AllowedIssuerSection] = []
    """Acceptable issuers, such as {trust_store: corporate}, or {spki_sha256: HASH} of a CA's key."""
    mode: Annotated[Mode, Field(strict=False)] = _COMPONENT.mode
    """How far a candidate in the component's inbox is taken without a person: observe, plan, approve or auto."""
    write_mode: Annotated[WriteMode, Field(strict=False)] = _COMPONENT.write_mode
    """How the files are replaced: `in_place` where one of them is itself a mount point, else `rename`."""
    labels: Labels = {}
    """Labels for the matches of policies and for Prometheus, such as {env: prod}; its targets have them."""
    keys: Annotated[Keys, Field(strict=False)] | None = None
    """Whether certvigil should read its private keys: read or unread; by default as in the whole configuration."""
    min_lifetime: Duration | None = None
    """How long a new certificate must last at least; by default it must not count as expiring."""
    do_first: Sentence | None = None
    """What must have been done before the first replacement; each plan says it until certvigil has made a change."""
    guide: PlainName | None = None
    """The topic of `certvigil guide` about its replacement by hand; its plans name it."""
    backup_folder: BackupFolderSection | None = None
    """A folder in which another program keeps earlier files, which can be given back as well."""
    default_certificate: DefaultCertificateSection | None = None
    """How its default certificate is told, which a product makes itself at its installation."""
    own_certificate: Own | None = None
    """Whether an own certificate must stand in its place: optional, expected (the default) or mandatory."""

    @model_validator(mode="after")
    def _check_own(self) -> Self:
        check_own(self.own_certificate, self.default_certificate)
        for each in self.endpoints:
            check_own(each.own_certificate, each.default_certificate or self.default_certificate)
        return self

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode is not Mode.AUTO:
            return self
        needed = {
            "allowed_issuers": "the issuers that are trusted with that",
            "service": "how the service is put onto new files",
        }
        missing = [key for key in needed if not getattr(self, key)]
        if missing:
            without = " and ".join(f"'{key}'" for key in missing)
            expected = " and ".join(needed[key] for key in missing)
            raise broken_rule(f"'mode: auto' without {without}, expected {expected}", "mode", *missing)
        return self

    def build(
        self, name: str, keys: Keys = Keys.READ, tls: AllowedTLS = ANY_MODERN
    ) -> tuple[model.Component, tuple[model.Endpoint, ...]]:
        """Return the component called `name`, and its endpoints.

        `keys` and `tls` are the defaults of the whole configuration.
        """
        clients = tuple(self.clients)
        own = self.own_certificate or OwnCertificate.EXPECTED
        default = self.default_certificate.build(own) if self.default_certificate else None
        endpoints: list[model.Endpoint] = []
        for each in self.endpoints:
            built = each.build(name, clients, [before.name for before in endpoints], tls, default)
            endpoints.append(replace(built, labels=labels_of(self.labels, each.labels)))
        component = model.Component(
            name=name,
            artefacts=self.artefacts.build(),
            endpoints=tuple(each.name for each in endpoints),
            clients=clients,
            not_served_after=self.not_served_after,
            service=self.service.build() if self.service else None,
            allowed_issuers=tuple(each.build() for each in self.allowed_issuers),
            mode=self.mode,
            write_mode=self.write_mode,
            labels=MappingProxyType(dict(self.labels)),
            keys=self.keys or keys,
            min_lifetime=self.min_lifetime,
            do_first=self.do_first,
            backup_folder=self.backup_folder.build(self.artefacts.build()) if self.backup_folder else None,
            default_certificate=default,
            guide=self.guide,
        )
        return component, tuple(endpoints)
