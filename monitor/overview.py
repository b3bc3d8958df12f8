"""The view of the daemon for the web server: each answer comes from the part that has it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from actions.journal import Record
from config.document import Mistake
from config.expected import ANY_MODERN, AllowedTLS
from config.load import Marked, load_marked
from config.model import Config, Thresholds
from config.text import printable, sentence
from config.version import own_version
from monitor.act.record import RecordReader
from monitor.act.status import ComponentStatus
from monitor.actor.request import Verb
from monitor.audit import AuditEntry
from monitor.decide.situation import Situation
from monitor.http import DaemonStatus, SubjectActs, UnderWay
from monitor.inventory import inventory
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics import Piece, piece
from monitor.metrics.probed import Probed, ProbedFiles
from monitor.notify.notifier import Notifier
from monitor.rotation_facts import declared_roots, rotation
from monitor.state.feed import EventFeed
from monitor.state.target import TargetState
from monitor.store import Degraded, HistoryEntry, HistoryPlace, What
from monitor.store import history as read_history
from monitor.wiring import Parts


@dataclass(slots=True)
class RunState:
    """How far the life of the daemon has come."""

    started: float
    """Unix time."""
    loaded: float
    """Unix time at which the configuration in force was read."""
    stale: bool = False
    """Whether the configuration on disk is another by now."""
    stopping: bool = False


class Overview:
    """All that the web server can show or ask for: it implements `monitor.http.view.DaemonView`."""

    def __init__(
        self,
        parts: Parts,
        run: RunState,
        database: str,
        path: str,
        reload: Callable[[str], Awaitable[Sequence[Mistake]]],
    ) -> None:
        """`database` is the path of the history, `path` that of the configuration, which `reload` reads again."""
        self._parts = parts
        self._run = run
        self._database = database
        self._path = path
        self._reload = reload
        self._records = RecordReader()

    @property
    def notifier(self) -> Notifier:
        """The notifier."""
        return self._parts.notify.notifier

    @property
    def feed(self) -> EventFeed:
        """The events, for readers."""
        return self._parts.state.feed

    def targets(self) -> Mapping[str, TargetState]:
        """Return the state of every target, by name."""
        return self._parts.state.registry.targets

    def allowed_tls(self, target: str) -> AllowedTLS:
        """Return what an endpoint may negotiate without a finding."""
        endpoint = self._parts.state.registry.config.endpoints.get(target)
        return ANY_MODERN if endpoint is None else endpoint.tls

    def config(self) -> Config:
        """Return the configuration in force."""
        return self._parts.state.registry.config

    def thresholds(self, target: str) -> Thresholds | None:
        """Return the configured thresholds of a target, None for the usual ones; on whichever thread."""
        endpoint = self._parts.state.registry.config.endpoints.get(target)
        return self._parts.look.files.thresholds(target) if endpoint is None else endpoint.thresholds

    def under_way(self) -> Sequence[UnderWay]:
        """Return the transactions that are being carried out, oldest first."""
        journal = self._parts.act.journal
        if journal.no_actor is not None:
            return []
        return [_under_way(begin) for begin in journal.state.under_way.values()]

    def acts(self, subject: str) -> SubjectActs:
        """Return what the actor has told about a group, or a component of none."""
        act, config = self._parts.act, self._parts.state.registry.config
        journal, members = act.journal.state, config.members_of(subject)
        endings = {each.transaction: each for name in members for each in journal.recent.get(name, ())}
        return SubjectActs(
            answer=act.inboxes.answer(subject),
            requests=tuple(each for each in journal.requests.values() if each.subject in {subject, *members}),
            recent=tuple(sorted(endings.values(), key=lambda each: each.at)),
        )

    async def audit(self) -> Sequence[AuditEntry] | str:
        """Return the newest records of the actor, the newest first, without single steps; or why there are none."""
        journal = self._parts.act.journal
        if journal.no_actor is not None:
            return journal.no_actor
        return await self._records.read(self._parts.state.registry.config.settings.actor.socket, journal.position)

    async def configured_anew(self) -> Marked | None:
        """Return the configuration as it lies on disk, with the place of each value and without secrets.

        None where it has mistakes.
        """
        read = partial(load_marked, self._path, os.environ, secrets=False)
        found = await asyncio.get_running_loop().run_in_executor(None, read)
        return found if isinstance(found, Marked) else None

    def components(self) -> Sequence[ComponentStatus]:
        """Return the status of each component that certvigil may change."""
        return self._parts.act.components.statuses(time.time())

    def situations(self) -> Sequence[Situation]:
        """Return the situations on which decisions rest."""
        return self._parts.decide.decider.situations()

    def metrics(self) -> Iterator[Piece]:
        """Return the metrics, made step by step."""
        begun = time.monotonic()
        yield from self._parts.state.page.pieces()
        yield piece(self._parts.state.counters.text())
        if self._parts.state.sources is not None:
            self._parts.state.sources.scraped(time.monotonic() - begun)

    def not_ready(self) -> Sequence[str]:
        """Return the reasons why the daemon is not ready; empty where it is."""
        parts = self._parts
        if self._run.stopping:
            return ["it is stopping"]
        problems = [found.detail for found in parts.state.own.of("web")]
        progress = parts.look.files.progress
        if not progress.finished:
            problems.append(sentence("it has looked at {} of {} files", progress.done, progress.total))
        if parts.look.sets.unseen:
            problems.append(
                sentence("it has not looked yet at the files of {} components", len(parts.look.sets.unseen))
            )
        if unseen := parts.look.endpoints.unseen:
            endpoints = len(parts.state.registry.config.endpoints)
            problems.append(
                sentence("it has looked at {} of {} endpoints, and waits for the others", endpoints - unseen, endpoints)
            )
        return problems

    def status(self) -> DaemonStatus:
        """Return the status of the daemon."""
        parts, config = self._parts, self._parts.state.registry.config
        now, watching, progress = time.time(), parts.look.files.watch_state, parts.look.files.progress
        return DaemonStatus(
            version=own_version(),
            host=config.host,
            started=self._run.started,
            given=config.given,
            sources=config.sources,
            digest=config.digest,
            loaded=self._run.loaded,
            stale=self._run.stale,
            files_looked_at=progress.done,
            files_to_look_at=progress.total,
            directories_notified=watching.watched,
            directories_polled=watching.polled,
            polled_because=watching.reason,
            waivers=tuple(waiver for waiver in config.waivers if now < waiver.until),
            no_actor=parts.act.journal.no_actor or "",
            not_tls=config.not_tls,
        )

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Mapping[str, Any] | str:
        """Have the actor record that `by` approves or rejects a plan; return its answer, or why it does not."""
        return await self._parts.act.orders.rule(verb, plan, by, why)

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
        """Return the history from Unix time `since` until just before `until`, newest first."""
        loop = asyncio.get_running_loop()
        read = partial(read_history, self._database, target, since, until, limit, what=what, place=place)
        return await loop.run_in_executor(None, read)

    async def inventory(self) -> Mapping[str, Any]:
        """Return the inventory, made beside the loop: signatures may have to be verified."""
        registry, loop = self._parts.state.registry, asyncio.get_running_loop()
        return await loop.run_in_executor(None, inventory, registry.trust_context, dict(registry.targets), time.time())

    async def rotation(self) -> Mapping[str, Any]:
        """Return how far the declared rotation is, made beside the loop as the inventory is."""
        registry, loop = self._parts.state.registry, asyncio.get_running_loop()
        targets, confirmed = dict(registry.targets), dict(self._parts.act.journal.state.confirmed)
        # By its hash the plan of an offer is carried out, too.
        brought = {each.name: each.candidate.plan for each in self.components() if each.candidate.plan}
        ways = {name: ("replace", name, "--plan", plan) for name, plan in brought.items()}

        def made() -> Mapping[str, Any]:
            roots = declared_roots(registry.config)
            return rotation(registry.trust_context, targets, confirmed, roots, time.time(), ways=ways)

        return await loop.run_in_executor(None, made)

    async def probe(self, request: ProbeRequest) -> Probed | ProbedFiles | RefusedProbe:
        """Look at `target`, if that is permitted, within `seconds`."""
        return await self._parts.look.prober.probe(request, self._parts.state.registry.trust_context)

    async def reload(self, who: str) -> Sequence[Mistake]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
        return await self._reload(who)


def _under_way(begin: Record) -> UnderWay:
    plan = begin.data.get("plan", {})
    return UnderWay(
        begin.transaction,
        tuple(printable(str(each)) for each in plan.get("components", ())),
        printable(str(plan.get("kind", ""))),
        begin.at,
        printable(str(begin.data.get("by", ""))),
    )
