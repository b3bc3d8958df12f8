"""The view of the daemon for the web server: each answer comes from the part that has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.document import Mistake
from config.expected import ANY_MODERN, AllowedTLS
from config.text import sentence
from config.version import own_version
from monitor.act.status import ComponentStatus
from monitor.actor.request import Verb
from monitor.decide.situation import Situation
from monitor.http import DaemonStatus
from monitor.inventory import inventory
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics import Piece, piece
from monitor.metrics.probed import Probed, ProbedFiles
from monitor.notify.notifier import Notifier
from monitor.rotation_facts import declared_roots, rotation
from monitor.state.target import TargetState
from monitor.store import Degraded, HistoryEntry
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
        self, parts: Parts, run: RunState, database: str, reload: Callable[[str], Awaitable[Sequence[Mistake]]]
    ) -> None:
        """`database` is the path of the history; `reload` has the configuration read again."""
        self._parts = parts
        self._run = run
        self._database = database
        self._reload = reload

    @property
    def notifier(self) -> Notifier:
        """The notifier."""
        return self._parts.notify.notifier

    def targets(self) -> Mapping[str, TargetState]:
        """Return the state of every target, by name."""
        return self._parts.state.registry.targets

    def allowed_tls(self, target: str) -> AllowedTLS:
        """Return what an endpoint may negotiate without a finding."""
        endpoint = self._parts.state.registry.config.endpoints.get(target)
        return ANY_MODERN if endpoint is None else endpoint.tls

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
        self, target: str | None, since: float, until: float | None, limit: int
    ) -> Sequence[HistoryEntry] | Degraded:
        """Return the history from Unix time `since` until just before `until`, newest first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, read_history, self._database, target, since, until, limit)

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
