"""A web server in a thread of its own, and a daemon that it may show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx
import uvloop

from config.channel import FindingMatch, Silence
from config.document import Mistake
from config.expected import ANY_MODERN, AllowedTLS
from config.load import Marked
from config.model import Config, Settings, Thresholds
from monitor.act.status import ComponentStatus
from monitor.actor.request import Verb
from monitor.audit import AuditEntry
from monitor.decide.situation import Situation
from monitor.http import DaemonStatus, SubjectActs, UnderWay, WebServer
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics import Page, Piece
from monitor.metrics.probed import Probed, ProbedFiles
from monitor.notify.delivery import Delivery
from monitor.notify.lifecycle import Alert
from monitor.notify.open_problem import OpenProblem
from monitor.notify.outbox import RequestedSilence
from monitor.state.feed import EventFeed
from monitor.state.target import TargetState
from monitor.store import Degraded, HistoryEntry, HistoryPlace, What

T = TypeVar("T")


@dataclass
class FakeNotifier:
    """Tells nobody, and remembers what it was asked."""

    told: list[Alert] = field(default_factory=list)
    open: list[OpenProblem] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    held: list[RequestedSilence] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def alerts(self) -> Sequence[Alert]:
        return self.told

    def problems(self, offset: int, limit: int) -> tuple[int, Sequence[OpenProblem]]:
        return len(self.open), self.open[offset : offset + limit]

    def undelivered(self) -> Sequence[Delivery]:
        return self.deliveries

    def silences(self) -> Sequence[RequestedSilence]:
        return self.held

    def acknowledge(self, problem: str, who: str, until: float | None) -> int:
        self.asked.append(("acknowledge", problem, who, until))
        return sum(alert.problem == problem for alert in self.told)

    def silence(self, match: FindingMatch, reason: str, until: float, who: str) -> RequestedSilence:
        held = RequestedSilence("abcd", Silence(match, reason, until), who, 0.0)
        self.held.append(held)
        return held

    def unsilence(self, identifier: str, who: str) -> bool:
        self.asked.append(("unsilence", identifier, who))
        return any(held.id == identifier for held in self.held)

    def retry(self, channel: str | None) -> int:
        self.asked.append(("retry", channel))
        return len(self.deliveries)

    def drop(self, channel: str | None) -> int:
        self.asked.append(("drop", channel))
        return len(self.deliveries)


NOTHING_INVENTORIED: Final[Mapping[str, Any]] = {
    "schema": 1,
    "host": "web1.example.com",
    "at": "2026-11-29T12:00:00Z",
    "components": [],
    "endpoints": [],
    "trust_stores": [],
    "not_looked_at": [],
}


NO_ROTATION: Final[Mapping[str, Any]] = {
    "schema": 1,
    "host": "web1.example.com",
    "at": "2026-11-29T12:00:00Z",
    "new": None,
    "old": [],
    "done": 0,
    "steps": [],
    "notes": [],
}


@dataclass
class FakeView:
    """A daemon that says what the test gave it."""

    registry: dict[str, TargetState] = field(default_factory=dict)
    reasons: Sequence[str] = ()
    happened: Sequence[HistoryEntry] | Degraded = ()
    mistakes: Sequence[Mistake] = ()
    probed: list[ProbeRequest] = field(default_factory=list)
    refusal: RefusedProbe = RefusedProbe("it is none of the endpoints")  # noqa: RUF009 (it is frozen)
    decided_by: Sequence[Situation] = ()
    asked_by: list[str] = field(default_factory=list)
    asked_for: list[tuple[str | None, float, float | None, int]] = field(default_factory=list)
    page: Page = field(default_factory=Page)
    statuses: Sequence[ComponentStatus] = ()
    ruled: list[tuple[Verb, str, str, str]] = field(default_factory=list)
    takes: str = ""
    inventoried: Mapping[str, Any] = field(default_factory=lambda: NOTHING_INVENTORIED)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    configured: Config = Config()  # noqa: RUF009 (it is frozen)
    acting: Sequence[UnderWay] = ()
    told_by_actor: Mapping[str, SubjectActs] = field(default_factory=dict)
    audited: Sequence[AuditEntry] | str = "nobody answers"
    feed: EventFeed = field(default_factory=lambda: EventFeed(1_795_000_000.0))
    allowed: Mapping[str, AllowedTLS] = field(default_factory=dict)
    given: str = ""

    def add(self, *believed: TargetState) -> None:
        for each in believed:
            self.registry[each.target] = each
            self.page.update(each)

    def targets(self) -> Mapping[str, TargetState]:
        return self.registry

    def allowed_tls(self, target: str) -> AllowedTLS:
        return self.allowed.get(target, ANY_MODERN)

    def config(self) -> Config:
        return self.configured

    def thresholds(self, target: str) -> Thresholds | None:
        endpoint = self.configured.endpoints.get(target)
        return None if endpoint is None else endpoint.thresholds

    def under_way(self) -> Sequence[UnderWay]:
        return self.acting

    def acts(self, subject: str) -> SubjectActs:
        return self.told_by_actor.get(subject, SubjectActs(None, (), ()))

    async def audit(self) -> Sequence[AuditEntry] | str:
        return self.audited

    async def configured_anew(self) -> Marked | None:
        return None

    def situations(self) -> Sequence[Situation]:
        return self.decided_by

    def components(self) -> Sequence[ComponentStatus]:
        return self.statuses

    def metrics(self) -> Iterator[Piece]:
        return self.page.pieces()

    def not_ready(self) -> Sequence[str]:
        return self.reasons

    def status(self) -> DaemonStatus:
        return DaemonStatus(
            version="0.1.0",
            host="web1.example.com",
            started=1_795_000_000.0,
            sources=("/etc/certvigil/main.yaml",),
            digest="ab" * 32,
            loaded=1_795_000_000.0,
            stale=False,
            files_looked_at=1,
            files_to_look_at=2,
            directories_notified=3,
            directories_polled=0,
            polled_because="",
            waivers=(),
            no_actor="nobody answers",
            given=self.given,
        )

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Mapping[str, Any] | str:
        self.ruled.append((verb, plan, by, why))
        return self.takes or {"approved": plan, "rejected": plan}

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
        self.asked_for.append((target, since, until, limit))
        if isinstance(self.happened, Degraded):
            return self.happened
        behind = [each for each in self.happened if place is None or each.at <= place.at]
        return [each for each in behind if what in {None, each.what}]

    async def inventory(self) -> Mapping[str, Any]:
        return self.inventoried

    async def rotation(self) -> Mapping[str, Any]:
        return NO_ROTATION

    async def probe(self, request: ProbeRequest) -> Probed | ProbedFiles | RefusedProbe:
        self.probed.append(request)
        return self.refusal

    async def reload(self, who: str) -> Sequence[Mistake]:
        self.asked_by.append(who)
        return self.mistakes


PATIENCE: Final = 60.0
"""Seconds: the first request for more than metrics has the application loaded, beside all other tests."""


class RunningServer:
    """A server that answers."""

    def __init__(self, server: WebServer, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.settings = settings
        self.problems: tuple[str, ...] = ()
        self.loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` in the server's event loop."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(10)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.server.addresses[0].rpartition(":")
        return host, int(port)

    def tcp(self, **options: Any) -> httpx.Client:
        scheme = "https" if "verify" in options else "http"
        # Without TLS, too, it would read the certificates of all public CAs, which takes longer than a test.
        return httpx.Client(
            base_url=f"{scheme}://{self.server.addresses[0]}", **{"verify": False, "timeout": PATIENCE} | options
        )

    def unix(self) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=False, uds=self.settings.socket)
        return httpx.Client(transport=transport, base_url="http://certvigil", timeout=PATIENCE)


@contextmanager
def running(view: FakeView, settings: Settings) -> Iterator[RunningServer]:
    """Run a server in the loop that the daemon uses, too."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = RunningServer(WebServer(view, settings), settings, loop)
    try:
        server.problems = server.run(server.server.start())
        yield server
    finally:
        server.run(server.server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
