"""The interface between the web server and the rest of the daemon: all that HTTP can show or ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from actions.csr import WaitingRequest
from actions.journal_state import RecordedEnding
from config.channel import FindingMatch
from config.document import Mistake
from config.expected import AllowedTLS, NotTLS
from config.immutable import immutable
from config.load import Marked
from config.model import Config, Thresholds, Waiver
from monitor.act.status import ComponentStatus
from monitor.actor.request import Verb
from monitor.audit import AuditEntry
from monitor.decide.situation import Situation
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics import Piece
from monitor.metrics.probed import Probed, ProbedFiles
from monitor.notify.delivery import Delivery
from monitor.notify.lifecycle import Alert
from monitor.notify.open_problem import OpenProblem
from monitor.notify.outbox import RequestedSilence
from monitor.state.feed import EventFeed
from monitor.state.target import TargetState
from monitor.store import Degraded, HistoryEntry, HistoryPlace, What


@immutable
class DaemonStatus:
    """The status of the daemon; its problems are findings of the target `certvigil`."""

    version: str
    host: str
    """The name of this host in the configuration."""
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
    """Of the first scan, as is `files_to_look_at`."""
    files_to_look_at: int
    directories_notified: int
    """In which the kernel notices changes."""
    directories_polled: int
    polled_because: str
    """A sentence; empty where no directory is polled."""
    waivers: tuple[Waiver, ...]
    """In force."""
    no_actor: str
    """Why there is no actor, a sentence; empty where an actor answers."""
    given: str = ""
    """The path by which the configuration was named; empty for the usual one."""
    not_tls: tuple[NotTLS, ...] = ()
    """Ports that are listed, and never looked at."""


@immutable
class UnderWay:
    """A transaction that is being carried out."""

    transaction: str
    components: tuple[str, ...]
    action: str
    """Of `Kind`."""
    since: float
    """Unix time."""
    by: str
    """On whose behalf; printable."""


@immutable
class SubjectActs:
    """What the actor has told about a group or a component."""

    answer: Mapping[str, Any] | None
    """Its last answer about the inbox, as `certvigil plan --json` prints it; None where it has told nothing."""
    requests: tuple[WaitingRequest, ...]
    """For certificates, that wait for their answer."""
    recent: tuple[RecordedEnding, ...]
    """Of transactions, oldest first."""


class NotifierView(Protocol):
    """The notifier, as the web server sees it."""

    def alerts(self) -> Sequence[Alert]:
        """Return the problems that a channel was told of and that are not resolved."""

    def problems(self, offset: int, limit: int) -> tuple[int, Sequence[OpenProblem]]:
        """Return how many problems are open, and some of them, the worst first, whether or not they were told."""

    def undelivered(self) -> Sequence[Delivery]:
        """Return the messages that wait for delivery or were given up, oldest first."""

    def silences(self) -> Sequence[RequestedSilence]:
        """Return the silences in force."""

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        """Acknowledge a problem for `who`; return the number of channels that were told of it."""

    def silence(self, match: FindingMatch, reason: str, until: float, who: str) -> RequestedSilence:
        """Silence the findings that `match` selects until Unix time `until`."""

    def unsilence(self, identifier: str, who: str) -> bool:
        """End a silence; return whether there was one."""

    def retry(self, channel: str | None) -> int:
        """Deliver the messages that were given up, for `channel` or for all; return their number."""

    def drop(self, channel: str | None) -> int:
        """Forget the messages that were given up, for `channel` or for all; return their number."""


class DaemonView(Protocol):
    """The daemon, as the web server sees it; every method is called on the event loop's thread."""

    @property
    def notifier(self) -> NotifierView:
        """The notifier."""

    @property
    def feed(self) -> EventFeed:
        """The events, for readers."""

    def targets(self) -> Mapping[str, TargetState]:
        """Return the state of every target, by name."""

    def allowed_tls(self, target: str) -> AllowedTLS:
        """Return what an endpoint may negotiate without a finding."""

    def config(self) -> Config:
        """Return the configuration in force."""

    def thresholds(self, target: str) -> Thresholds | None:
        """Return the configured thresholds of a target, None for the usual ones; on whichever thread."""

    def under_way(self) -> Sequence[UnderWay]:
        """Return the transactions that are being carried out, oldest first."""

    def acts(self, subject: str) -> SubjectActs:
        """Return what the actor has told about a group, or a component of none."""

    async def audit(self) -> Sequence[AuditEntry] | str:
        """Return the newest records of the actor, the newest first, without single steps; or why there are none."""

    async def configured_anew(self) -> Marked | None:
        """Return the configuration as it lies on disk, with the place of each value and without secrets.

        None where it has mistakes.
        """

    def components(self) -> Sequence[ComponentStatus]:
        """Return the status of each component that certvigil may change."""

    def situations(self) -> Sequence[Situation]:
        """Return the situations on which decisions rest."""

    def metrics(self) -> Iterator[Piece]:
        """Return the metrics, made step by step."""

    def not_ready(self) -> Sequence[str]:
        """Return the reasons why the daemon is not ready; empty where it is."""

    def status(self) -> DaemonStatus:
        """Return the status of the daemon."""

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Mapping[str, Any] | str:
        """Have the actor record that `by` approves or rejects a plan; return its answer, or why it does not."""

    async def history(
        self,
        target: str | None,
        since: float,
        until: float | None,
        limit: int,
        *,
        what: What | None = None,
        place: HistoryPlace | None = None,
    ) -> Sequence[HistoryEntry] | Degraded:
        """Return the history from Unix time `since` until just before `until`, newest first.

        `what` None admits every kind; the list goes on behind `place`.
        """

    async def inventory(self) -> Mapping[str, Any]:
        """Return the inventory, as `monitor.inventory.inventory` makes it."""

    async def rotation(self) -> Mapping[str, Any]:
        """Return how far the declared rotation is, as `monitor.rotation_facts.rotation` tells it."""

    async def probe(self, request: ProbeRequest) -> Probed | ProbedFiles | RefusedProbe:
        """Look where a request wants it, if that is permitted."""

    async def reload(self, who: str) -> Sequence[Mistake]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
