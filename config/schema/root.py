"""The whole document, as it is written."""

from __future__ import annotations

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
    LastDay,
    ListenAddress,
    PlainName,
    Sentence,
    Sha256,
    Successes,
    default_duration,
)
from config.schema.channel import ChannelSection, NotificationsSection
from config.schema.component import ComponentSection, ComponentService
from config.schema.export import MetricsSection, Probe
from config.schema.looking import EndpointSection, WatchSection
from config.schema.policy import PolicySection
from config.schema.section import ComponentName, Section
from config.schema.trust import ClientSection, TrustStoreSection
from config.vocabulary import Code, Keys, Scope

_SETTINGS: Final = model.Settings()


class WaiverSection(Section):
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


class TokenSection(Section):
    """A token: who sends it as `Authorization: Bearer TOKEN` may do more than read."""

    sha256: Sha256
    """The SHA-256 of the token, hexadecimal: a token of 32 random bytes cannot be guessed from it."""
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(min_length=1)
    """What its bearer may do: approve."""

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
    """Who may do more than read, by a name for the record."""

    def build(self) -> model.Web:
        """Return the settings of the web server."""
        tokens = tuple(each.build(name) for name, each in self.tokens.items())
        return model.Web(tuple(self.listen), self.config_file, tuple(self.allowed_hosts), tokens)


class ValidationSection(Section):
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


class Actor(Section):
    """The one with the rights to act: where it is asked, where it keeps what it needs, and who may ask for what."""

    socket: AbsolutePath = _SETTINGS.actor.socket
    """The Unix socket at which it is asked; another one is taken up at the next start."""
    directory: AbsolutePath = _SETTINGS.actor.directory
    """Where it keeps journal, audit, backups and locks; nobody else may write there."""
    inbox_directory: AbsolutePath = _SETTINGS.actor.inbox_directory
    """Holds a directory for each component, in which candidates are put."""
    operators: list[PlainName] = []
    """Users, beside root and the actor's own, who may ask it for anything."""
    group: PlainName = _SETTINGS.actor.group
    """The group of its socket, by name or number: daemon and operators must be in it to be heard at all.

    Another one is taken up at the next start.
    """
    daemon_user: PlainName = _SETTINGS.actor.daemon_user
    """The user of the daemon, who may ask for what modes and approvals allow."""
    approval_lifetime: Duration = default_duration(_SETTINGS.actor.approval_lifetime)
    """How long an approval holds."""
    approvals_over_api: bool = _SETTINGS.actor.approvals_over_api
    """Whether the daemon's word is taken that somebody approved or rejected a plan over its API."""
    require_synchronised_clock: bool = _SETTINGS.actor.require_synchronised_clock
    """Whether nothing is done unattended while the kernel does not count the clock as synchronised."""

    def build(self) -> model.ActorSettings:
        """Return the settings of the actor."""
        return model.ActorSettings(
            socket=self.socket,
            directory=self.directory,
            inbox_directory=self.inbox_directory,
            operators=tuple(self.operators),
            group=self.group,
            daemon_user=self.daemon_user,
            approval_lifetime=self.approval_lifetime,
            approvals_over_api=self.approvals_over_api,
            require_synchronised_clock=self.require_synchronised_clock,
        )


class RootSection(Section):
    """The configuration of certvigil."""

    model_config = ConfigDict(title="certvigil")

    profile: str | None = None
    """The name of a shipped profile, to which this document adds; its own values win, key by key."""
    appliance: dict[str, Any] = {}
    """What the profile asks for."""
    watch: list[WatchSection] = []
    """Files to find and to look at."""
    endpoints: list[EndpointSection] = []
    """Live TLS servers to look at."""
    components: dict[PlainName, ComponentSection] = {}
    """Services, by name."""
    groups: dict[PlainName, list[ComponentName]] = {}
    """Components that are changed as one or not at all, by the name of the group; an empty list takes one away."""
    services: dict[PlainName, ComponentService] = {}
    """Services that components share, by the name that they give as `service`."""
    trust_stores: dict[PlainName, TrustStoreSection] = {}
    """Sets of anchors, by name; `system` and `mozilla` are always there."""
    clients: dict[PlainName, ClientSection] = {}
    """Who connects, by name; `default`, which trusts `system`, is always there."""
    policies: list[PolicySection] = []
    """What is to be done about what, in the order in which they are asked; those that are shipped come last."""
    waivers: list[WaiverSection] = []
    """Findings that are openly silenced until a date."""
    channels: dict[PlainName, ChannelSection] = {}
    """Where messages go, by name."""
    notifications: NotificationsSection = NotificationsSection()
    """Who is told what, when again, and how often that is tried."""
    validation: ValidationSection = ValidationSection()
    """When a change counts as good, and when it is undone."""
    actor: Actor = Actor()
    """The one with the rights to act."""
    keys: Annotated[Keys, Field(strict=False)] = Keys.READ
    """Whether private keys are meant to be read: `unread` where nobody may, as in a container without an actor."""
    host: HostName | None = None
    """What to call this host in messages, records and answers; by default its fully qualified name."""
    state_directory: AbsolutePath = _SETTINGS.state_directory
    """Where the database lives."""
    socket: AbsolutePath = _SETTINGS.socket
    """The Unix socket at which the daemon answers the command line."""
    rescan: Interval = default_duration(_SETTINGS.rescan)
    """How often to look at every file, whether or not an event was seen."""
    settle: Duration = default_duration(_SETTINGS.settle)
    """How long the files of a component must be left alone before they are judged, as one set."""
    pending: Duration = default_duration(_SETTINGS.pending)
    """How long a set that is wrong on disk is only shown, as pending, while what is served is good."""
    concurrency: Concurrency = _SETTINGS.concurrency
    """How many looks at endpoints may be under way at once."""
    history_days: HistoryDays = _SETTINGS.history_days
    """How long history is kept."""
    web: WebSection = WebSection()
    """The daemon's HTTP server."""
    probe: Probe = Probe()
    """How far it reaches for those who ask for `/probe`."""
    metrics: MetricsSection = MetricsSection()
    """Which metrics there are beside certvigil's own."""

    def settings(self) -> model.Settings:
        """Return how the daemon runs."""
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
            x509_cert=self.metrics.x509_cert,
            settle=self.settle,
            pending=self.pending,
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RootSection.model_json_schema()}
