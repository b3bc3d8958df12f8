"""A component, as it is written: a service with its files, its endpoints and its clients."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from config import model
from config.fields import AbsolutePath, Duration, PlainName, default_duration
from config.schema.issuer import AllowedIssuer
from config.schema.looking import ComponentEndpoint
from config.schema.section import ClientName, Section, broken_rule
from config.service import Activation, Service, systemd
from config.vocabulary import Keys, Mode, WriteMode

_COMPONENT: Final = model.Component("", model.Artefacts())


class ArtefactsSection(Section):
    """The files of a component: a keystore, a combined file, or certificate and key; and the chain where separate."""

    certificate: AbsolutePath | None = None
    """The file with the certificate, perhaps with its chain appended."""
    key: AbsolutePath | None = None
    """The file with the private key."""
    chain: AbsolutePath | None = None
    """The file with the intermediate certificates, where it is separate."""
    combined: AbsolutePath | None = None
    """The one file with certificate and private key, perhaps with the chain."""
    keystore: AbsolutePath | None = None
    """The one file with private key, certificate and chain in PKCS#12."""
    password_file: AbsolutePath | None = None
    """The file with the password of the keystore, which certvigil reads whenever it looks, and keeps nowhere."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if self.combined is not None and (self.certificate is not None or self.key is not None):
            raise broken_rule("'combined' beside 'certificate' or 'key', expected the one or the others")
        if self.keystore is not None and (self.combined or self.certificate or self.key or self.chain):
            raise broken_rule("'keystore' beside other files, expected the one or the others")
        if self.keystore is None and self.password_file is not None:
            raise broken_rule("'password_file' without 'keystore', expected it beside the keystore that it opens")
        if self.combined is None and self.certificate is None and self.keystore is None:
            raise broken_rule("no certificate, expected 'certificate', perhaps with 'key', or 'combined' or 'keystore'")
        return self

    def build(self) -> model.Artefacts:
        """Return the artefacts."""
        return model.Artefacts(**self.model_dump())


def _command(words: list[str]) -> list[str]:
    if not words or not words[0].startswith("/"):
        raise ValueError("a list of arguments that begins with an absolute path")
    return words


CommandLine = Annotated[list[str], AfterValidator(_command)]


_COMMANDS: Final = ("unit", "reload", "restart", "stop", "start")


class ComponentService(Section):
    """The commands of a service, as argument lists; a `unit` of systemd brings its own."""

    unit: str | None = None
    """A unit of systemd, from which all commands but `test` follow."""
    test: CommandLine | None = None
    """Passes where the service would start on the files as they are, such as [/usr/sbin/nginx, -t]."""
    activate: Annotated[Activation, Field(strict=False)] = Activation.RESTART
    """How it takes up new files: `reload` where that fails safe, else `restart`."""
    reload: CommandLine | None = None
    """Takes up new files without an interruption."""
    restart: CommandLine | None = None
    """Ends it and starts it again; needed beside `reload`, too, for a service that a reload left dead."""
    stop: CommandLine | None = None
    """Ends it."""
    start: CommandLine | None = None
    """Starts it."""
    timeout: Duration = default_duration(30.0)
    """How long each command may take."""
    writes: list[AbsolutePath] = []
    """Directories, beside those of its artefacts, to which these commands write, such as /var/log/nginx."""
    quiesce: bool = False
    """Whether it is stopped while its files are switched, because it might read them at any moment."""

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
"""Stands for a service whose own mistakes are reported where it is declared."""


def declared_services(section: Mapping[str, object]) -> Mapping[str, ComponentService]:
    """Return what components mean by each name in the section `services`, perhaps not a sound one."""

    def read(value: object) -> ComponentService:
        try:
            return ComponentService.model_validate(value)
        except ValidationError:
            return _UNKNOWN

    return {name: read(value) for name, value in section.items()}


def _named(value: object, info: ValidationInfo) -> object:
    """Return the service that a text names, and anything else as it is."""
    if not isinstance(value, str):
        return value
    known: Mapping[str, object] | None = info.context.services if info.context else None
    if known is not None and value not in known:
        raise PydanticCustomError("reference", "", {"what": "service", "known": known})
    return _UNKNOWN if known is None else known[value]


def _or_name(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "description": "The name of one of `services`."})


class ComponentSection(Section):
    """A service with its files, its own endpoints and the clients that must accept it."""

    artefacts: ArtefactsSection
    """The files that the service reads: certificate, key and chain, or combined, or keystore."""
    endpoints: list[ComponentEndpoint] = []
    """Where the service serves that certificate."""
    clients: list[ClientName] = [model.DEFAULT_CLIENT]
    """Who must accept it."""
    not_served_after: Duration = default_duration(_COMPONENT.not_served_after)
    """How long a new certificate may lie on disk before not serving it is a finding."""
    service: Annotated[ComponentService | None, BeforeValidator(_named), Field(json_schema_extra=_or_name)] = None
    """How the service is put onto new files, or the name of one of `services`; without it, certvigil only watches."""
    allowed_issuers: list[AllowedIssuer] = []
    """Whose certificates may be installed, such as {trust_store: corporate}, or {spki_sha256: HASH} of a CA's key."""
    mode: Annotated[Mode, Field(strict=False)] = _COMPONENT.mode
    """How far a candidate in the component's inbox is taken without a person: observe, plan, approve or auto."""
    write_mode: Annotated[WriteMode, Field(strict=False)] = _COMPONENT.write_mode
    """How the files are replaced: `in_place` where one of them is itself a mount point, else `rename`."""
    labels: dict[PlainName, str] = {}
    """What policies may match it by, such as {env: prod}."""
    keys: Annotated[Keys, Field(strict=False)] | None = None
    """Whether its private keys are meant to be read: read or unread; by default as the whole configuration says."""
    min_lifetime: Duration | None = None
    """How long a new certificate must last at least; by default it may end before the old one until it is expiring."""

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

    def build(self, name: str, keys: Keys = Keys.READ) -> tuple[model.Component, tuple[model.Endpoint, ...]]:
        """Return the component called `name`, and its endpoints; `keys` is what holds where it does not say."""
        clients = tuple(self.clients)
        endpoints: list[model.Endpoint] = []
        for each in self.endpoints:
            endpoints.append(each.build(name, clients, [built.name for built in endpoints]))
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
        )
        return component, tuple(endpoints)
