"""Who is told what: channels, routes, silences and the heartbeat, as frozen values that are valid once built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from config.pattern import is_one_of
from config.vocabulary import Code, Severity, TargetKind

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Channel:
    """Where messages go: URLs as apprise takes them, each a secret, known to everybody else by its place in line."""

    name: str
    urls: tuple[str, ...] = field(repr=False)
    urls_file: str | None = None
    """Where they were read from; None where they stand in the configuration itself."""

    def url_name(self, position: int) -> str:
        """Return what a URL is called wherever people read of it, such as `ops, URL 1 (slack)`."""
        return f"{self.name}, URL {position + 1} ({self.urls[position].partition('://')[0]})"


@dataclass(frozen=True, slots=True)
class FindingMatch:
    """Which findings are meant: all that agree with every field; an empty field agrees with everything."""

    targets: tuple[str, ...] = ()
    """Names, or patterns with `*` and `?`."""
    components: tuple[str, ...] = ()
    """Names of components and groups."""
    kinds: tuple[TargetKind, ...] = ()
    codes: tuple[Code, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Labels of the component, and the values of which each must have one."""
    related: tuple[str, ...] = ()
    """What else is meant by `components`: the members of a group, and for a route also the group of a component."""

    def holds(
        self, target: str, component: str | None, kind: TargetKind, code: Code, labels: Mapping[str, str] = NO_LABELS
    ) -> bool:
        """Whether a finding is meant that is about this, `labels` being those of the component."""
        return (
            (not self.targets or is_one_of(target, self.targets))
            and (not self.components or component in self.components or component in self.related)
            and (not self.kinds or kind in self.kinds)
            and (not self.codes or code in self.codes)
            and all(labels.get(name) in values for name, values in self.labels)
        )


class ToldEvent(StrEnum):
    """What happened that is no problem, and is told where a route asks for it."""

    COMMITTED = "committed"
    """A component was given another certificate, or what it had before, and that held; or somebody else gave it one
    meanwhile."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a channel is told."""

    channels: tuple[str, ...]
    severity: Severity = Severity.WARNING
    """From which one up."""
    match: FindingMatch = FindingMatch()
    lasting: float = 0.0
    """Seconds for which a finding must have been that severe."""
    events: tuple[ToldEvent, ...] = ()
    """What else it is told."""


@dataclass(frozen=True, slots=True)
class Digest:
    """When some channels are told all that is informational, in one message."""

    channels: tuple[str, ...]
    cron: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Silence:
    """Findings that nobody is told of until a time."""

    match: FindingMatch
    reason: str
    until: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A URL that is called for as long as the daemon looks: who waits there for it notices when it does not."""

    url: str = field(repr=False)
    every: float = 60.0
    url_file: str | None = None


REMIND: Mapping[Severity, float | None] = MappingProxyType(
    {Severity.NOTICE: None, Severity.WARNING: 7 * 86_400.0, Severity.CRITICAL: 86_400.0}
)


@dataclass(frozen=True, slots=True)
class Notifications:
    """How people are told."""

    enabled: bool = True
    """False where the site pages otherwise, as through Alertmanager."""
    routes: tuple[Route, ...] = ()
    """Each that matches applies."""
    digest: Digest | None = None
    """None where nobody wants to be told what nobody can change."""
    remind: Mapping[Severity, float | None] = field(default_factory=lambda: REMIND)
    """Seconds after which a problem of that severity is told again, None for never."""
    resolved_after: float = 30.0
    """Seconds for which a problem must be gone before that is told."""
    attempts: int = 50
    """To deliver a message before it is given up; these last about a day."""
    runbook: str | None = None
    """The start of a URL that the code of a finding completes; without it, a message names `certvigil explain`."""
    silences: tuple[Silence, ...] = ()
    heartbeat: Heartbeat | None = None
