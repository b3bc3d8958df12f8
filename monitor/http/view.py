"""What the HTTP interface shows and asks for: all that it knows of the rest of certvigil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from config.channel import FindingMatch
from config.document import Mistake
from config.model import Waiver
from monitor.act.status import ComponentStatus
from monitor.actor.request import Verb
from monitor.decide.situation import Situation
from monitor.look.demand import Module, RefusedProbe
from monitor.metrics import Piece
from monitor.metrics.probed import Probed
from monitor.notify.delivery import Delivery
from monitor.notify.lifecycle import Alert
from monitor.notify.outbox import RequestedSilence
from monitor.state.target import TargetState
from monitor.store import Degraded, HistoryEntry


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What certvigil knows of itself; what is wrong with it is among the findings of the target `certvigil`."""

    version: str
    host: str
    """What the configuration calls this host."""
    started: float
    """Unix time."""
    sources: tuple[str, ...]
    """The files that the configuration in force was read from."""
    digest: str
    """SHA-256 over those files, hexadecimal."""
    loaded: float
    """Unix time at which they were read."""
    stale: bool
    """Whether they are others now."""
    files_looked_at: int
    """Of the first scan, as is the next."""
    files_to_look_at: int
    directories_notified: int
    """In which the kernel notices changes."""
    directories_polled: int
    polled_because: str
    """A sentence; empty where none is polled."""
    waivers: tuple[Waiver, ...]
    """In force."""
    no_actor: str
    """Why none is there, a sentence; empty where one is."""


class NotifierView(Protocol):
    """Those who tell people, as the HTTP interface sees them."""

    def alerts(self) -> Sequence[Alert]:
        """Return every problem that a channel was told of, and that is not resolved."""

    def undelivered(self) -> Sequence[Delivery]:
        """Return the messages that are to be delivered or were given up, oldest first."""

    def silences(self) -> Sequence[RequestedSilence]:
        """Return the silences in force."""

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        """Note that `who` knows of a problem; return how many channels were told of it."""

    def silence(self, match: FindingMatch, reason: str, until: float, who: str) -> RequestedSilence:
        """Tell nobody of what `match` means until Unix time `until`."""

    def unsilence(self, identifier: str, who: str) -> bool:
        """End a silence; return whether there was one."""

    def retry(self, channel: str | None) -> int:
        """Deliver what was given up again, to `channel` or to all; return how many messages that are."""

    def drop(self, channel: str | None) -> int:
        """Forget what was given up, to `channel` or to all; return how many messages that are."""


class DaemonView(Protocol):
    """The daemon, as the HTTP interface sees it; every method is called on the event loop's thread."""

    @property
    def notifier(self) -> NotifierView:
        """Those who tell people."""

    def targets(self) -> Mapping[str, TargetState]:
        """Return the state of every target, by name."""

    def components(self) -> Sequence[ComponentStatus]:
        """Return the status of each component that certvigil may change."""

    def situations(self) -> Sequence[Situation]:
        """Return what decisions rest on."""

    def metrics(self) -> Iterator[Piece]:
        """Return the metrics, made step by step."""

    def not_ready(self) -> Sequence[str]:
        """Return why certvigil is not doing its work yet, or no longer; empty where it is."""

    def status(self) -> DaemonStatus:
        """Return what certvigil knows of itself."""

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Mapping[str, Any] | str:
        """Have the actor record that `by` approves or rejects a plan; return its answer, or why it does not."""

    async def history(
        self, target: str | None, since: float, until: float | None, limit: int
    ) -> Sequence[HistoryEntry] | Degraded:
        """Return what happened from Unix time `since` until just before `until`, newest first."""

    async def probe(self, target: str, module: Module, seconds: float) -> Probed | RefusedProbe:
        """Return what is seen at `target`, where it may be looked there, within `seconds`."""

    async def reload(self, who: str) -> Sequence[Mistake]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
