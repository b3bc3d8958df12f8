"""The shape of the configuration document: what each section takes, and how it becomes a declared thing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from config import model
from config.address import join_address, split_address
from config.document import Document, Path, Value, shown
from config.fields import (
    AbsolutePath,
    Address,
    Concurrency,
    Days,
    Duration,
    Handshakes,
    HistoryDays,
    Host,
    Interval,
    LastDay,
    ListenAddress,
    PlainName,
    Sentence,
    Share,
    Successes,
    TargetName,
    default_duration,
    duration,
)
from config.service import Activation, Service, systemd
from config.text import printable
from config.vocabulary import Code, TLSVersion, VerifierName

DEFAULT_CLIENT: Final = "default"

_ENDPOINT: Final = model.Endpoint("", "", 0)
_COMPONENT: Final = model.Component("", model.Artefacts())
_SETTINGS: Final = model.Settings()
_THRESHOLDS: Final = model.Thresholds()


@dataclass(frozen=True, slots=True)
class Names:
    """What a reference may name, by section; None where that cannot be known."""

    trust_stores: Collection[str] | None
    clients: Collection[str] | None


class Problem(NamedTuple):
    """What is wrong with the value at `path`, and what was expected."""

    path: Path
    text: str


def broken_rule(problem: str) -> PydanticCustomError:
    """Return the error that a validator raises to say `problem` as it is."""
    return PydanticCustomError("rule", "{problem}", {"problem": problem})


def unlike(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says of `word` that it is none of `known`."""
    names = sorted(known)
    if not names:
        return ", expected none"
    close = difflib.get_close_matches(word, names, 1)
    guess = f" (did you mean '{printable(close[0], 60)}'?)" if close else ""
    more = f" and {len(names) - 50} more" if len(names) > 50 else ""
    return f"{guess}, expected {'one of ' if len(names) > 1 else ''}{printable(', '.join(names[:50]), 4096)}{more}"


def _reference(section: Literal["trust_stores", "clients"], what: str) -> AfterValidator:
    """Return the validator of a name that `section` declares."""

    def read(name: str, info: ValidationInfo) -> str:
        known = getattr(info.context, section)
        if known is not None and name not in known:
            raise PydanticCustomError("reference", "", {"what": what, "known": known})
        return name

    return AfterValidator(read)


StoreName = Annotated[str, _reference("trust_stores", "trust store")]
ClientName = Annotated[str, _reference("clients", "client")]
Version = Annotated[TLSVersion, Field(strict=False)]


class Section(BaseModel):
    """A mapping in the document, with no other keys than its fields."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


def _or_duration(schema: dict[str, Any]) -> None:
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [whole, {"type": "string", "description": "Days alone, as a duration such as 21d."}]


class Level(Section):
    """A point before the end of a lifetime; a duration such as `21d` stands for its days."""

    model_config = ConfigDict(json_schema_extra=_or_duration)

    share: Share | None = None
    """The share of the lifetime that is left, such as 33%."""
    days: Days | None = None
    """Never earlier than this many days before the end."""

    @model_validator(mode="before")
    @classmethod
    def _read_duration(cls, value: object) -> object:
        return {"days": duration(value) / model.DAY} if isinstance(value, str) else value

    def build(self, default: model.Threshold) -> model.Threshold:
        """Return the threshold, what is not given being that of `default`."""
        return model.Threshold(
            default.share if self.share is None else self.share, default.days if self.days is None else self.days
        )


class Thresholds(Section):
    """When a certificate counts as expiring; what is not given is as by default."""

    notice: Level = Level()
    """By default 1/3 of the lifetime, at most 60 days."""
    warning: Level = Level()
    """By default 25%, at most 30 days."""
    critical: Level = Level()
    """By default 12.5%, at most 14 days."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        built = self.build()
        levels = {"notice": built.notice, "warning": built.warning, "critical": built.critical}
        for milder, worse in pairwise(levels):
            if levels[worse].share > levels[milder].share or levels[worse].days > levels[milder].days:
                raise broken_rule(
                    f"{worse} ({_threshold_text(levels[worse])}) comes before {milder} "
                    f"({_threshold_text(levels[milder])}), expected notice, then warning, then critical"
                )
        return self

    def build(self) -> model.Thresholds:
        """Return the three thresholds."""
        return model.Thresholds(
            self.notice.build(_THRESHOLDS.notice),
            self.warning.build(_THRESHOLDS.warning),
            self.critical.build(_THRESHOLDS.critical),
        )


def _threshold_text(threshold: model.Threshold) -> str:
    return f"{threshold.share * 100:.4g}%, {threshold.days:g} days"


class Watch(Section):
    """Files to find."""

    files: list[AbsolutePath] = Field(min_length=1)
    """A list of files, directories (recursive) and patterns with `*`, `?`, `[...]` and `**`, absolute."""
    exclude: list[AbsolutePath] = []
    """What to leave out, with everything beneath it."""
    trust_store: StoreName | None = None
    """Judge the chains in these files against this trust store."""
    thresholds: Thresholds | None = None
    """When a certificate in these files counts as expiring."""

    def build(self) -> model.Watch:
        """Return the watch."""
        return model.Watch(tuple(self.files), tuple(self.exclude), self.trust_store, _built(self.thresholds))


class _Looking(Section):
    """What every endpoint takes."""

    address: Address
    """Host and port, such as www.example.com:443 or "[2001:db8::1]:443"; every address of the host is looked at."""
    protocol: Literal["tls"] = "tls"
    """What is spoken from the first byte on."""
    every: Interval = default_duration(_ENDPOINT.every)
    """How often to look."""
    timeout: Interval = default_duration(_ENDPOINT.timeout)
    """How long a look may take."""
    minimum_version: Version = _ENDPOINT.minimum_version
    """The lowest TLS version that certvigil itself accepts: low, since it wants to see what is there."""
    allowed_versions: list[Version] = Field(default=sorted(_ENDPOINT.allowed_versions), min_length=1)
    """The TLS versions that may be negotiated without a finding."""
    clients: list[ClientName] | None = None
    """Who must accept what is presented; an empty list means nobody."""
    thresholds: Thresholds | None = None
    """When a certificate presented here counts as expiring."""

    def _build(
        self, name: str, server_name: str | None, clients: tuple[str, ...], component: str | None
    ) -> model.Endpoint:
        host, port = split_address(self.address)
        return model.Endpoint(
            name,
            host,
            port,
            server_name,
            self.every,
            self.timeout,
            self.minimum_version,
            frozenset(self.allowed_versions),
            clients if self.clients is None else tuple(self.clients),
            component,
            _built(self.thresholds),
        )


class Endpoint(_Looking):
    """A live TLS server."""

    name: TargetName | None = None
    """What to call this target; by default its address, and its server_name where that differs from the host."""
    server_name: Host | None = None
    """The name to ask for (SNI) and to verify; by default the host."""

    def build(self) -> model.Endpoint:
        """Return the endpoint."""
        host, port = split_address(self.address)
        derived = join_address(host, port)
        if self.server_name not in {None, host}:
            derived += f"/{self.server_name}"
        return self._build(self.name or derived, self.server_name, (DEFAULT_CLIENT,), None)


class ComponentEndpoint(_Looking):
    """A port at which a component serves its certificate."""

    name: Host | None = None
    """The name to ask for (SNI) and to verify; by default the host."""

    def build(self, component: str, clients: tuple[str, ...], taken: Collection[str]) -> model.Endpoint:
        """Return the endpoint of `component`, called by its address, and by its name too where that is `taken`."""
        target = f"{component}/{join_address(*split_address(self.address))}"
        if target in taken and self.name is not None:
            target += f"/{self.name}"
        return self._build(target, self.name, clients, component)


class Artefacts(Section):
    """The files of a component: a combined one, or a certificate and its key; and the chain where it is separate."""

    certificate: AbsolutePath | None = None
    """The file with the certificate, perhaps with its chain appended."""
    key: AbsolutePath | None = None
    """The file with the private key."""
    chain: AbsolutePath | None = None
    """The file with the intermediate certificates, where it is separate."""
    combined: AbsolutePath | None = None
    """The one file with certificate and private key, perhaps with the chain."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if self.combined is not None and (self.certificate is not None or self.key is not None):
            raise broken_rule("'combined' beside 'certificate' or 'key', expected the one or the others")
        if self.combined is None and self.certificate is None:
            raise broken_rule("no certificate, expected 'certificate', perhaps with 'key', or 'combined'")
        return self

    def build(self) -> model.Artefacts:
        """Return the artefacts."""
        return model.Artefacts(self.certificate, self.key, self.chain, self.combined)


def _command(words: list[str]) -> list[str]:
    if not words or not words[0].startswith("/"):
        raise ValueError("a list of arguments that begins with an absolute path")
    return words


CommandLine = Annotated[list[str], AfterValidator(_command)]


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
    """Ends it and starts it again."""
    stop: CommandLine | None = None
    """Ends it."""
    start: CommandLine | None = None
    """Starts it."""
    timeout: Duration = default_duration(30.0)
    """How long each command may take."""
    quiesce: bool = False
    """Whether it is stopped while its files are switched, because it might read them at any moment."""

    @model_validator(mode="after")
    def _check_commands(self) -> Self:
        if self.unit is not None and (self.reload or self.restart or self.stop or self.start):
            raise broken_rule("given with commands of its own, expected 'unit' or the commands")
        try:
            self.build()
        except ValueError as error:
            raise broken_rule(str(error)) from None
        return self

    def build(self) -> Service:
        """Return the service; raises ValueError where a command that it needs is missing."""
        test = tuple(self.test) if self.test else None
        if self.unit is not None:
            return systemd(self.unit, test=test, activate=self.activate, timeout=self.timeout, quiesce=self.quiesce)
        if self.restart is None:
            raise ValueError("given without 'restart', expected 'restart' or 'unit'")
        return Service(
            restart=tuple(self.restart),
            test=test,
            reload=tuple(self.reload) if self.reload else None,
            stop=tuple(self.stop) if self.stop else None,
            start=tuple(self.start) if self.start else None,
            activate=self.activate,
            timeout=self.timeout,
            quiesce=self.quiesce,
        )


class Component(Section):
    """A service with its files, its own endpoints and the clients that must accept it."""

    artefacts: Artefacts
    """The files that the service reads: certificate, key, chain, or combined."""
    endpoints: list[ComponentEndpoint] = []
    """Where the service serves that certificate."""
    clients: list[ClientName] = [DEFAULT_CLIENT]
    """Who must accept it."""
    not_served_after: Duration = default_duration(_COMPONENT.not_served_after)
    """How long a new certificate may lie on disk before not serving it is a finding."""
    service: ComponentService | None = None
    """How the service is put onto new files; without it, certvigil only watches."""
    allowed_issuers: list[str] = []
    """Issuers, such as "CN=Corp Issuing CA 3,O=Corp", whose certificates may be installed; by default any."""

    def build(self, name: str) -> tuple[model.Component, tuple[model.Endpoint, ...]]:
        """Return the component called `name`, and its endpoints."""
        clients = tuple(self.clients)
        endpoints: list[model.Endpoint] = []
        for each in self.endpoints:
            endpoints.append(each.build(name, clients, [built.name for built in endpoints]))
        component = model.Component(
            name,
            self.artefacts.build(),
            tuple(each.name for each in endpoints),
            clients,
            self.not_served_after,
            self.service.build() if self.service else None,
            tuple(self.allowed_issuers),
        )
        return component, tuple(endpoints)


class TrustStore(Section):
    """A set of anchors, from one source."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    certifi: Literal[True] | None = None
    """Mozilla's anchors, as the certifi package ships them."""
    system: Literal[True] | None = None
    """The operating system's anchors."""
    bundle: AbsolutePath | None = None
    """A file of PEM certificates, or one DER certificate."""

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


class Client(Section):
    """Someone who connects."""

    trusts: StoreName
    """The name of a trust store."""
    verifier: Annotated[VerifierName, Field(strict=False)] = VerifierName.OPENSSL
    """Whose rules it follows."""
    intermediates: list[AbsolutePath] = []
    """Files with intermediate certificates that it holds itself."""
    names: list[Host] = []
    """The names it connects by; by default the endpoint's own."""
    validates: bool = True
    """Whether it validates at all; where it does not, what it would refuse is a notice."""

    def build(self, name: str) -> model.Client:
        """Return the client called `name`."""
        return model.Client(
            name, self.trusts, self.verifier, tuple(self.intermediates), tuple(self.names), self.validates
        )


class Waiver(Section):
    """A finding that is openly silenced until a date."""

    target: str
    """The name of a target, or the path of a file that a watch finds."""
    finding: Annotated[Code, Field(strict=False)]
    """The code of a finding."""
    reason: Sentence
    """Why, for those who see the waiver in the status."""
    until: LastDay
    """The last day, in UTC, on which it holds, such as 2027-03-31."""

    def build(self) -> model.Waiver:
        """Return the waiver."""
        return model.Waiver(self.target, self.finding, self.reason, self.until)


class Web(Section):
    """Where and how the daemon answers HTTP."""

    listen: list[ListenAddress] = list(_SETTINGS.web.listen)
    """Addresses to listen on, such as 127.0.0.1:9790 or "[::]:9790"; port 0 is any free one."""
    config_file: AbsolutePath | None = None
    """A file in the shape of Prometheus' web.config.file, for TLS and basic auth."""
    allowed_hosts: list[Host] = []
    """Host header values accepted beside the listening addresses and the host's own names."""

    def build(self) -> model.Web:
        """Return the settings of the web server."""
        return model.Web(tuple(self.listen), self.config_file, tuple(self.allowed_hosts))


class Validation(Section):
    """When a change counts as good."""

    successes: Successes = _SETTINGS.validation.successes
    """Live looks in a row that must find nothing wrong."""
    interval: Interval = default_duration(_SETTINGS.validation.interval)
    """The time between two looks."""
    deadline: Interval = default_duration(_SETTINGS.validation.deadline)
    """How long to wait for that before the change is undone."""
    handshakes: Handshakes = _SETTINGS.validation.handshakes
    """How many in one look with each address: more, where more than eight workers share a port by SO_REUSEPORT."""

    def build(self) -> model.Validation:
        """Return the terms."""
        return model.Validation(self.successes, self.interval, self.deadline, self.handshakes)


class Root(Section):
    """The configuration of certvigil."""

    model_config = ConfigDict(title="certvigil")

    profile: str | None = None
    """The name of a shipped profile, to which this document adds; same names in this document win."""
    appliance: dict[str, Any] = {}
    """What the profile asks for."""
    watch: list[Watch] = []
    """Files to find and to look at."""
    endpoints: list[Endpoint] = []
    """Live TLS servers to look at."""
    components: dict[PlainName, Component] = {}
    """Services, by name."""
    trust_stores: dict[PlainName, TrustStore] = {}
    """Sets of anchors, by name; `system` and `mozilla` are always there."""
    clients: dict[PlainName, Client] = {}
    """Who connects, by name; `default`, which trusts `system`, is always there."""
    waivers: list[Waiver] = []
    """Findings that are openly silenced until a date."""
    validation: Validation = Validation()
    """When a change counts as good, and when it is undone."""
    actor_directory: AbsolutePath = _SETTINGS.actor_directory
    """Where the one with the rights to act keeps journal, backups and locks."""
    state_directory: AbsolutePath = _SETTINGS.state_directory
    """Where the database lives."""
    socket: AbsolutePath = _SETTINGS.socket
    """The Unix socket at which the daemon answers the command line."""
    rescan: Interval = default_duration(_SETTINGS.rescan)
    """How often to look at every file, whether or not an event was seen."""
    concurrency: Concurrency = _SETTINGS.concurrency
    """How many looks at endpoints may be under way at once."""
    history_days: HistoryDays = _SETTINGS.history_days
    """How long history is kept."""
    web: Web = Web()
    """The daemon's HTTP server."""

    def settings(self) -> model.Settings:
        """Return how the daemon runs."""
        return model.Settings(
            self.state_directory,
            self.socket,
            self.rescan,
            self.concurrency,
            self.history_days,
            self.web.build(),
            self.actor_directory,
            self.validation.build(),
        )


def _built(thresholds: Thresholds | None) -> model.Thresholds | None:
    return thresholds.build() if thresholds is not None else None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Root.model_json_schema()}


class Validated(NamedTuple):
    """What a document holds."""

    root: Root
    """Made of its sound parts only."""
    positions: Mapping[str, Sequence[int]]
    """For each list in `root`, the positions in the document that its items come from."""
    problems: tuple[Problem, ...]


def validate(document: Document, names: Names) -> Validated:
    """Return what is in `document`, whose references may name `names`, and everything that is wrong with it."""
    values = document.values
    found: tuple[Problem, ...] = ()
    try:
        root = Root.model_validate(values, context=names)
    except ValidationError as error:
        found = tuple(problems(error, json_schema(), document))
        values = _without({problem.path[:2] for problem in found}, values)
        root = Root.model_validate(values, context=names)
    faulty = {problem.path[:2] for problem in found}
    positions = {
        key: [index for index in range(len(value)) if (key, index) not in faulty]
        for key, value in document.values.items()
        if isinstance(value, list)
    }
    return Validated(root, positions, found)


def _without(faulty: Collection[Path], values: Mapping[str, Value]) -> dict[str, Value]:
    """Return `values` without the sections and the items of sections at these paths."""
    sound: dict[str, Value] = {}
    for key, value in values.items():
        if (key,) in faulty:
            continue
        if isinstance(value, dict):
            sound[key] = {name: item for name, item in value.items() if (key, name) not in faulty}
        elif isinstance(value, list):
            sound[key] = [item for index, item in enumerate(value) if (key, index) not in faulty]
        else:
            sound[key] = value
    return sound


def problems(
    error: ValidationError, schema: Mapping[str, Any], document: Document, base: Path = ()
) -> Iterator[Problem]:
    """Yield what `error` found wrong with the value at `base`, in the words of the JSON Schema of its model."""
    for each in error.errors(include_url=False):
        path = each["loc"]
        if path[-1:] == ("[key]",) and each["type"] != "extra_forbidden":
            path = path[:-1]
        whole = (*base, *path)
        mark = document.marks.get(whole)
        found = shown(each["input"] if mark is None or mark.text is None else mark.text)
        yield Problem(whole, _problem_text(each, found, path, schema))


_TYPES: Final = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "too_short": "at least one item",
}


def _problem_text(error: ErrorDetails, found: str, path: Path, schema: Mapping[str, Any]) -> str:
    word = str(error["input"])
    match error["type"]:
        case "rule":
            return error["msg"]
        case "reference":
            return f"there is no {error['ctx']['what']} {found}{unlike(word, error['ctx']['known'])}"
        case "value_error":
            return f"found {found}, expected {error['ctx']['error']}"
        case "missing":
            description = _schema_at(path, schema)["description"].removesuffix(".")
            return f"missing, expected {description[0].lower()}{description[1:]}"
        case "extra_forbidden":
            return f"unknown key{unlike(str(path[-1]), _resolved(_schema_at(path[:-1], schema), schema)['properties'])}"
        case "enum" | "literal_error":
            node = _resolved(_schema_at(path, schema), schema)
            allowed = node["enum"] if "enum" in node else [node["const"]]
            return f"found {found}{unlike(word, (each if isinstance(each, str) else shown(each) for each in allowed))}"
        case "string_type" if isinstance(error["input"], bool | int | float):
            return f"found {found}, expected text: put it in quotes"
        case kind:
            return f"found {found}, expected {_TYPES.get(kind, error['msg'])}"


def _schema_at(path: Path, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of `schema` that the value at `path` must fit."""
    node = schema
    for part in path:
        node = _resolved(node, schema)
        if isinstance(part, int):
            node = node["items"]
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            (node,) = node["patternProperties"].values()
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node or "anyOf" in node:
        node = node["anyOf"][0] if "anyOf" in node else schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
