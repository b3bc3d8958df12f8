"""The whole document, as it is written."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from config import model
from config.fields import (
    AbsolutePath,
    Concurrency,
    Duration,
    Handshakes,
    HistoryDays,
    Host,
    HostName,
    Interval,
    KeptBackups,
    LastDay,
    ListenAddress,
    PlainName,
    Sentence,
    Sha256,
    Successes,
    WebURL,
    default_duration,
)
from config.probing import MODULES
from config.schema.channel import ChannelSection, NotificationsSection
from config.schema.component import ComponentSection, ComponentService
from config.schema.expected import NegotiationSection, PlainPortSection
from config.schema.export import MetricsSection, Probe
from config.schema.looking import EndpointSection, UndeclaredSection, WatchSection
from config.schema.policy import PolicySection
from config.schema.problem import schema_of
from config.schema.revocation import RevocationSection
from config.schema.section import ComponentName, Section
from config.schema.trust import ClientSection, RotationSection, TrustStoreSection
from config.vocabulary import Code, Keys, Scope

_SETTINGS: Final = model.Settings()


class WaiverSection(Section):
    """A finding that counts as a notice until a date."""

    target: str
    """The name of a target, or the path of a watched file."""
    finding: Annotated[Code, Field(strict=False)]
    """The code of a finding."""
    reason: Sentence
    """The reason, for readers of the status."""
    until: LastDay
    """The last day, in UTC, on which it holds, such as 2027-03-31."""

    def build(self) -> model.Waiver:
        """Return the waiver."""
        return model.Waiver(self.target, self.finding, self.reason, self.until)


class TokenSection(Section):
    """A token: a request with `Authorization: Bearer TOKEN` may do more than read."""

    sha256: Sha256
    """The SHA-256 of the token, hexadecimal: a token of 32 random bytes cannot be guessed from it."""
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(min_length=1)
    """The right of its bearer: approve."""

    def build(self, name: str) -> model.Token:
        """Return the token called `name`."""
        return model.Token(name, self.sha256, frozenset(self.scopes))


class WebSection(Section):
    """Where and how the daemon answers HTTP."""

    listen: list[ListenAddress] = list(_SETTINGS.web.listen)
    """Addresses to listen on, such as 127.0.0.1:9790 or "[::]:9790"; port 0 is any free one."""
    config_file: AbsolutePath | None = None
    """A file in the shape of Prometheus' web.config.file, for TLS and basic auth."""
    allowed_hosts: list[Host] = []
    """Host header values accepted beside the listening addresses and the host's own names."""
    tokens: dict[PlainName, TokenSection] = {}
    """Tokens for more than reading, each by a name for the audit."""
    console: bool | None = None
    """Whether the console is shown. Without it, where every address of `listen` is loopback, or a user or a client
    certificate is asked for."""
    external_url: WebURL | None = None
    """How browsers reach it, such as https://web1.example.com/certvigil; messages then link to the page about them."""

    def build(self) -> model.Web:
        """Return the settings of the web server."""
        tokens = tuple(each.build(name) for name, each in self.tokens.items())
        url = self.external_url and self.external_url.rstrip("/")
        return model.Web(tuple(self.listen), self.config_file, tuple(self.allowed_hosts), tokens, self.console, url)


class ValidationSection(Section):
    """When the result of a change counts as good."""

    successes: Successes = _SETTINGS.validation.successes
    """The number of looks in a row without a fault."""
    interval: Interval = default_duration(_SETTINGS.validation.interval)
    """The time between two looks."""
    deadline: Interval = default_duration(_SETTINGS.validation.deadline)
    """How long to wait for them before the change is undone."""
    handshakes: Handshakes = _SETTINGS.validation.handshakes
    """Handshakes with each address in one look. Raise it if more than eight workers share a port by SO_REUSEPORT."""

    def build(self) -> model.Validation:
        """Return the terms."""
        return model.Validation(self.successes, self.interval, self.deadline, self.handshakes)


class Actor(Section):
    """The process with the rights to act: its socket, its directories, and the users who may ask it."""

    socket: AbsolutePath = _SETTINGS.actor.socket
    """Its Unix socket. A change takes effect at the next start."""
    directory: AbsolutePath = _SETTINGS.actor.directory
    """The directory of journal, audit, backups and locks; nobody else may write there."""
    inbox_directory: AbsolutePath = _SETTINGS.actor.inbox_directory
    """The directory of the inboxes: one directory for each component, for its candidates."""
    offered_directory: AbsolutePath | None = None
    """The directory of offers: one directory for each component, in which the site lets others write certificates."""
    operators: list[PlainName] = []
    """Users, beside root and the actor's own, who may ask it for any action."""
    group: PlainName = _SETTINGS.actor.group
    """The group of its socket, by name or number: daemon and operators must be in it to be heard at all.

    Another one is taken up at the next start.
    """
    daemon_user: PlainName = _SETTINGS.actor.daemon_user
    """The user of the daemon, who may ask for actions that modes and approvals allow."""
    approval_lifetime: Duration = default_duration(_SETTINGS.actor.approval_lifetime)
    """How long an approval holds."""
    keep_backups: KeptBackups = _SETTINGS.actor.keep_backups
    """How many backup sets of a component are kept, the default set aside."""
    backup_lifetime: Duration = default_duration(_SETTINGS.actor.backup_lifetime)
    """After how long a backup set is removed, unless it is the default set or the last good one."""
    offer_lifetime: Duration = default_duration(_SETTINGS.actor.offer_lifetime)
    """After how long an offer that nobody took is taken out, unless it answers a request that waits."""
    approvals_over_api: bool = _SETTINGS.actor.approvals_over_api
    """Whether the actor believes the daemon that somebody approved or rejected a plan over its API."""
    require_synchronised_clock: bool = _SETTINGS.actor.require_synchronised_clock
    """Whether actions without a person need a clock that the kernel counts as synchronised."""

    def build(self) -> model.ActorSettings:
        """Return the settings of the actor."""
        return model.ActorSettings(
            socket=self.socket,
            directory=self.directory,
            inbox_directory=self.inbox_directory,
            offered_directory=self.offered_directory,
            operators=tuple(self.operators),
            group=self.group,
            daemon_user=self.daemon_user,
            approval_lifetime=self.approval_lifetime,
            keep_backups=self.keep_backups,
            backup_lifetime=self.backup_lifetime,
            offer_lifetime=self.offer_lifetime,
            approvals_over_api=self.approvals_over_api,
            require_synchronised_clock=self.require_synchronised_clock,
        )


class RootSection(Section):
    """The configuration of certvigil."""

    model_config = ConfigDict(title="certvigil")

    profile: str | None = None
    """The name of a shipped profile. This document adds to it; its own values win, key by key."""
    appliance: dict[str, Any] = {}
    """The parameters of the profile."""
    guides: AbsolutePath | None = None
    """A directory with topics of your own for `certvigil guide`, as files NAME.yaml."""
    watch: list[WatchSection] = []
    """Files to find and to look at."""
    endpoints: list[EndpointSection] = []
    """TLS servers to look at."""
    components: dict[PlainName, ComponentSection] = {}
    """Services, by name."""
    groups: dict[PlainName, list[ComponentName]] = {}
    """Components that are changed as one or not at all, by the name of the group; an empty list takes one away."""
    services: dict[PlainName, ComponentService] = {}
    """Services that components share; the `service` of a component may be such a name."""
    trust_stores: dict[PlainName, TrustStoreSection] = {}
    """Sets of anchors, by name; `system` and `mozilla` are always there."""
    clients: dict[PlainName, ClientSection] = {}
    """The clients that connect, by name; `default`, which trusts `system`, is always there."""
    rotation: RotationSection | None = None
    """The change of the root that is under way: `status` and `certvigil rotate` say how far it is."""
    policies: list[PolicySection] = []
    """Rules of actions, in their order of precedence; the shipped policies come last."""
    waivers: list[WaiverSection] = []
    """Findings that count as notices until a date."""
    not_tls: list[PlainPortSection] = []
    """UDP ports that speak no TLS: they are listed, and never looked at."""
    tls: NegotiationSection = NegotiationSection()
    """The TLS versions and ciphers that endpoints may negotiate without a finding."""
    channels: dict[PlainName, ChannelSection] = {}
    """Destinations of messages, by name."""
    notifications: NotificationsSection = NotificationsSection()
    """Who is notified of which findings, when again, and the number of attempts."""
    validation: ValidationSection = ValidationSection()
    """When the result of a change counts as good, and when the change is undone."""
    actor: Actor = Actor()
    """The process with the rights to act."""
    keys: Annotated[Keys, Field(strict=False)] = Keys.READ
    """Whether certvigil should read private keys: `unread` where nobody may, as in a container without an actor."""
    host: HostName | None = None
    """The name of this host in messages, records and answers; by default its fully qualified name."""
    state_directory: AbsolutePath = _SETTINGS.state_directory
    """The directory of the database."""
    socket: AbsolutePath = _SETTINGS.socket
    """The Unix socket at which the daemon answers the command line."""
    rescan: Interval = default_duration(_SETTINGS.rescan)
    """The time between two looks at every file, whether or not the kernel reported a change."""
    settle: Duration = default_duration(_SETTINGS.settle)
    """How long nobody must have written to the files of a component before they are judged, as one set."""
    pending: Duration = default_duration(_SETTINGS.pending)
    """How long the faults of a set on disk are only shown, as pending, while the served set is good."""
    concurrency: Concurrency = _SETTINGS.concurrency
    """The largest number of looks at endpoints at the same time."""
    history_days: HistoryDays = _SETTINGS.history_days
    """The age at which history is deleted."""
    web: WebSection = WebSection()
    """The daemon's HTTP server."""
    undeclared: UndeclaredSection = UndeclaredSection()
    """Open ports of this host with TLS that are not declared here."""
    probe: Probe = Probe()
    """The addresses that requests for `/probe` may have looked at."""
    metrics: MetricsSection = MetricsSection()
    """Metrics beside certvigil's own."""
    revocation: RevocationSection = RevocationSection()
    """The files with revocation lists, and how others are fetched."""

    def settings(self) -> model.Settings:
        """Return the settings of the daemon."""
        return model.Settings(
            state_directory=self.state_directory,
            socket=self.socket,
            rescan=self.rescan,
            concurrency=self.concurrency,
            history_days=self.history_days,
            web=self.web.build(),
            actor=self.actor.build(),
            validation=self.validation.build(),
            probe=tuple(each.build() for each in self.probe.allow),
            probe_files=tuple(self.probe.files),
            probe_modules=MappingProxyType(
                {**MODULES, **{name: each.build() for name, each in self.probe.modules.items()}}
            ),
            x509_cert=self.metrics.build(),
            settle=self.settle,
            pending=self.pending,
            tls=self.tls.build(),
            undeclared=self.undeclared.build(),
            revocation=self.revocation.build(),
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(RootSection)}
