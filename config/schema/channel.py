"""Channels and the section `notifications`, as they are written."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from config import channel as model
from config.fields import (
    AbsolutePath,
    Attempts,
    ChannelURL,
    Duration,
    HeartbeatURL,
    Interval,
    LastDay,
    PlainName,
    RunbookURL,
    Sentence,
    default_duration,
    duration,
)
from config.policy import Window
from config.schema.section import ChannelName, Cron, Section, Timezone, broken_rule
from config.vocabulary import Code, Severity, TargetKind
from config.window import check_window


def _severity(value: object) -> object:
    return Severity(value) if isinstance(value, str) and value in set(Severity) else value


_ToldSeverity = Annotated[Literal[Severity.NOTICE, Severity.WARNING, Severity.CRITICAL], BeforeValidator(_severity)]
"""Informational findings are told in a digest only."""
_TELLING: Final = model.Notifications()
_HEARTBEAT: Final = model.Heartbeat("")


class ChannelSection(Section):
    """A destination of messages."""

    urls: list[ChannelURL] | None = Field(default=None, min_length=1)
    """A list of URLs of apprise. Each is a secret: write "${VARIABLE}", or use urls_file."""
    urls_file: AbsolutePath | None = None
    """A file with one such URL on each line, which others may neither read nor write: root's, and of the daemon's group
    with mode 0640. Commands that deliver nothing do not read it."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.urls is None) == (self.urls_file is None):
            raise broken_rule("not one source, expected exactly one of 'urls' and 'urls_file'")
        return self

    def build(self, name: str, read: tuple[str, ...]) -> model.Channel:
        """Return the channel called `name`; `read` is the content of its file, where it has one."""
        return model.Channel(name, tuple(self.urls or read), self.urls_file)


class Matching(Section):
    """The findings that are meant: those that fit every given key."""

    target: list[str] = []
    """Names of targets, or patterns with `*` and `?`; by default all targets."""
    component: list[str] = []
    """Names of components and groups."""
    label: dict[PlainName, list[str]] = {}
    """Labels of the component; each must have one of the given values."""
    kind: list[Annotated[TargetKind, Field(strict=False)]] = []
    """The kind of the target: file, endpoint, component or self."""
    finding: list[Annotated[Code, Field(strict=False)]] = []
    """Codes of findings."""

    def match(self) -> model.FindingMatch:
        """Return the match."""
        labels = tuple((name, tuple(values)) for name, values in self.label.items())
        return model.FindingMatch(
            tuple(self.target), tuple(self.component), tuple(self.kind), tuple(self.finding), labels
        )


class RouteSection(Matching):
    """The findings that some channels are told of; where several routes match, each applies."""

    channels: list[ChannelName] = Field(min_length=1)
    """A list of names of channels."""
    severity: _ToldSeverity = Severity.WARNING
    """Findings of this severity, and worse ones."""
    events: list[Annotated[model.ToldEvent, Field(strict=False)]] = []
    """Events that they are told of beside findings: `committed` gives one line for each change that holds."""

    lasting: Duration = Field("0s", alias="for", validate_default=True)
    """How long a finding must have this severity before it is told, such as 5m."""

    def build(self) -> model.Route:
        """Return the route."""
        return model.Route(tuple(self.channels), self.severity, self.match(), self.lasting, tuple(self.events))


class DigestSection(Section):
    """A message at fixed times with all informational findings: nobody on this host can change their cause."""

    channels: list[ChannelName] = Field(min_length=1)
    """A list of names of channels."""
    cron: Cron
    """Its times: minute, hour, day of the month, month, day of the week, such as "0 7 * * mon"."""
    timezone: Timezone = "UTC"
    """The time zone, such as Europe/Zurich."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        try:
            check_window(Window(self.cron, 0.0, self.timezone))
        except ValueError as error:
            raise broken_rule(str(error)) from None
        return self

    def build(self) -> model.Digest:
        """Return the digest."""
        return model.Digest(tuple(self.channels), self.cron, self.timezone)


class SilenceSection(Matching):
    """Findings that nobody is notified of until a date; they show everywhere else."""

    reason: Sentence
    """The reason, for readers of the status."""
    until: LastDay
    """The last day, in UTC, on which it holds, such as 2027-03-31."""

    def build(self) -> model.Silence:
        """Return the silence."""
        return model.Silence(self.match(), self.reason, self.until)


def _reminder(value: object) -> float | None:
    if value == "never":
        return None
    try:
        seconds = duration(value)
    except ValueError:
        seconds = 0.0
    if seconds < 1:
        raise ValueError("a duration of at least 1s, or never")
    return seconds


Reminder = Annotated[float | None, BeforeValidator(_reminder), WithJsonSchema({"type": "string"})]


class Remind(Section):
    """The time after which a lasting problem is told again, by its severity."""

    notice: Reminder = Field(default="never", validate_default=True)
    """A duration such as 30d, or never."""
    warning: Reminder = Field(default="7d", validate_default=True)
    """A duration such as 7d, or never."""
    critical: Reminder = Field(default="1d", validate_default=True)
    """A duration such as 4h, or never."""


class HeartbeatSection(Section):
    """A URL that is called as long as the daemon looks. A service behind it can raise the alarm when the calls stop."""

    url: HeartbeatURL | None = None
    """An http or https URL. It may be a secret: write "${VARIABLE}", or use url_file."""
    url_file: AbsolutePath | None = None
    """A file with the URL, which others may neither read nor write."""
    every: Interval = default_duration(_HEARTBEAT.every)
    """The time between two calls."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise broken_rule("not one source, expected exactly one of 'url' and 'url_file'")
        return self

    def build(self, read: str) -> model.Heartbeat:
        """Return the heartbeat; `read` is the content of its file, where it has one."""
        return model.Heartbeat(self.url or read, self.every, self.url_file)


class NotificationsSection(Section):
    """How people are notified of problems."""

    enabled: bool = _TELLING.enabled
    """Whether certvigil notifies people itself; false where Prometheus' Alertmanager does."""
    routes: list[RouteSection] = []
    """The findings for each channel; without routes, each channel is told of all warnings and critical findings."""
    digest: DigestSection | None = None
    """A message at fixed times with all informational findings, which are never told one by one."""
    remind: Remind = Remind()
    """The time after which a lasting problem is told again."""
    resolved_after: Duration = default_duration(_TELLING.resolved_after)
    """How long a problem must be gone before its end is told, so that a problem which returns is not told twice."""
    attempts: Attempts = _TELLING.attempts
    """The number of attempts before a message is given up; fifty attempts take about a day."""
    runbook: RunbookURL | None = _TELLING.runbook
    """The start of a URL, which the code of a finding completes: your own copy of the page of findings, for example."""
    silences: list[SilenceSection] = []
    """Findings that nobody is notified of until a date."""
    heartbeat: HeartbeatSection | None = None
    """The URL that is called as long as the daemon looks."""

    def build(self, heartbeat: str) -> model.Notifications:
        """Return the notifications; `heartbeat` is the content of the heartbeat's file, where it has one."""
        remind = {
            Severity.NOTICE: self.remind.notice,
            Severity.WARNING: self.remind.warning,
            Severity.CRITICAL: self.remind.critical,
        }
        return model.Notifications(
            enabled=self.enabled,
            routes=tuple(each.build() for each in self.routes),
            digest=self.digest.build() if self.digest else None,
            remind=remind,
            resolved_after=self.resolved_after,
            attempts=self.attempts,
            runbook=self.runbook,
            silences=tuple(each.build() for each in self.silences),
            heartbeat=self.heartbeat.build(heartbeat) if self.heartbeat else None,
        )
