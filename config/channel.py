"""Notifications as declared: channels, routes, silences and the heartbeat, as frozen values, valid once built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType

from config.immutable import immutable
from config.pattern import is_one_of
from config.vocabulary import Code, Severity, TargetKind

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@immutable
class Channel:
    """A destination of messages: URLs of apprise. Each is a secret; in texts it is called by its position."""

    name: str
    urls: tuple[str, ...] = field(repr=False)
    urls_file: str | None = None
    """The file that holds them; None where the configuration itself does."""

    def url_name(self, position: int) -> str:
        """Return the name of a URL for people, such as `ops, URL 1 (slack)`."""
        return f"{self.name}, URL {position + 1} ({self.urls[position].partition('://')[0]})"


@immutable
class FindingMatch:
    """A set of findings: those that fit every field; an empty field fits all findings."""

    targets: tuple[str, ...] = ()
    """Names, or patterns with `*` and `?`."""
    components: tuple[str, ...] = ()
    """Names of components and groups."""
    kinds: tuple[TargetKind, ...] = ()
    codes: tuple[Code, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Labels of the component; each must have one of the given values."""
    related: tuple[str, ...] = ()
    """What else is meant by `components`: the members of a group, and for a route also the group of a component."""

    def holds(
        self, target: str, component: str | None, kind: TargetKind, code: Code, labels: Mapping[str, str] = NO_LABELS
    ) -> bool:
        """Whether a finding with these properties is meant; `labels` are the component's."""
        return (
            (not self.targets or is_one_of(target, self.targets))
            and (not self.components or component in self.components or component in self.related)
            and (not self.kinds or kind in self.kinds)
            and (not self.codes or code in self.codes)
            and all(labels.get(name) in values for name, values in self.labels)
        )


class ToldEvent(StrEnum):
    """An event that is no problem. It is told where a route asks for it."""

    COMMITTED = "committed"
    """A component has another certificate, or its former files, and the change held; or somebody else gave it a
    certificate meanwhile."""


@immutable
class Route:
    """The messages of some channels."""

    channels: tuple[str, ...]
    severity: Severity = Severity.WARNING
    """The least severity."""
    match: FindingMatch = FindingMatch()
    lasting: float = 0.0
    """Seconds for which a finding must have had this severity."""
    events: tuple[ToldEvent, ...] = ()
    """Events that are told, too."""


@immutable
class Digest:
    """The message with all informational findings: its times and channels."""

    channels: tuple[str, ...]
    cron: str
    timezone: str = "UTC"


@immutable
class Silence:
    """Findings that nobody is notified of until a time."""

    match: FindingMatch
    reason: str
    until: float
    """Unix time."""


@immutable
class Heartbeat:
    """A URL that is called as long as the daemon looks. A service behind it can raise the alarm when the calls stop."""

    url: str = field(repr=False)
    every: float = 60.0
    url_file: str | None = None


REMIND: Mapping[Severity, float | None] = MappingProxyType(
    {Severity.NOTICE: None, Severity.WARNING: 7 * 86_400.0, Severity.CRITICAL: 86_400.0}
)


@immutable
class Notifications:
    """How people are notified."""

    enabled: bool = True
    """False where another system pages, such as Alertmanager."""
    routes: tuple[Route, ...] = ()
    """Each matching route applies."""
    digest: Digest | None = None
    """None where nobody wants informational findings."""
    remind: Mapping[Severity, float | None] = field(default_factory=lambda: REMIND)
    """Seconds after which a problem of this severity is told again; None for never."""
    resolved_after: float = 30.0
    """Seconds for which a problem must be gone before its end is told."""
    attempts: int = 50
    """Attempts before a message is given up; the default takes about a day."""
    runbook: str | None = None
    """The start of a URL, which the code of a finding completes. Without it, a message names `certvigil explain`."""
    silences: tuple[Silence, ...] = ()
    heartbeat: Heartbeat | None = None
