"""The parts of the daemon on one page: how they are made, and who takes which event and which message, in what order.

- `build` makes each part after those that it needs.
- `subscribers_of` is who takes the events of targets; every batch goes to all of them.
- `routes_of` is who takes each kind of message.
- `reconfigure` is who goes by another configuration.

So whoever meets `bus.publish(...)` or `bus.send(SomeMessage(...))` in the code finds here where that leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from config.model import Config
from monitor.act.components import Components
from monitor.act.connection import ActorConnection
from monitor.act.findings import ActionFindings
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.orders import Orders
from monitor.decide.decision import DecisionMade
from monitor.decide.loop import Decider
from monitor.decide.notices import PolicyNotices
from monitor.decide.outlook import outlook
from monitor.decide.table import DecisionTable
from monitor.look.demand import Prober
from monitor.look.endpoints import EndpointMonitor
from monitor.look.files import FileMonitor
from monitor.look.reading import ArtefactReader
from monitor.look.sets import SetMonitor
from monitor.metrics import Counters, Page
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Outbox
from monitor.notify.problem import Member
from monitor.state.bus import Bus, MessageRoute, Subscriber, route
from monitor.state.endpoints import EndpointRegistry
from monitor.state.files import FileRegistry
from monitor.state.log import event_log
from monitor.state.messages import (
    ArtefactsChanged,
    CandidateConsidered,
    ComponentsChanged,
    DatabaseHealthChanged,
    DecisionInputsChanged,
    JournalNews,
    Looked,
    ReadingDue,
    ServiceTouched,
    TrustFilesChanged,
)
from monitor.state.own import OwnFindings
from monitor.state.registry import TargetRegistry
from monitor.state.sets import SetRegistry
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from monitor.store import Degraded, Store


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads beside the event loop: judging must not wait for a file on a file system that hangs."""

    files: Executor
    judge: Executor
    sets: Executor

    @classmethod
    def start(cls) -> Pools:
        """Return pools whose threads start when they are needed."""
        return cls(ThreadPoolExecutor(1, "files"), ThreadPoolExecutor(1, "judge"), ThreadPoolExecutor(2, "sets"))

    def shut_down(self) -> None:
        """Give up what waits; what is under way is left to end by itself."""
        for each in (self.files, self.judge, self.sets):
            each.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon consists of."""

    bus: Bus
    counters: Counters
    page: Page
    registry: TargetRegistry
    own: OwnFindings
    table: DecisionTable
    journal: JournalFollower
    inboxes: Inboxes
    orders: Orders
    components: Components
    action_findings: ActionFindings
    decider: Decider
    outbox: Outbox
    store: Store
    notifier: Notifier
    notices: PolicyNotices
    endpoints: EndpointMonitor
    sets: SetMonitor
    files: FileMonitor
    prober: Prober


def build(trust_context: TrustContext, database: str, pools: Pools, helpers: Executor | None, now: float) -> Parts:
    """Return the parts of a daemon that begins at Unix time `now`; nothing goes on yet, and no event is carried."""
    config = trust_context.config
    bus = Bus()
    counters = Counters(version("certvigil"), now)
    counters.host(config.host)
    page = Page(x509_cert=config.settings.x509_cert, interval=_intervals(config))
    registry = TargetRegistry(trust_context, bus, page)
    own = OwnFindings(registry)
    # Decide and act: the table is what has been decided, which those who act read and the decider writes.
    table = DecisionTable(config.policies)
    actor = ActorConnection(registry)
    journal = JournalFollower(registry, actor, bus)
    inboxes = Inboxes(registry, actor, journal, bus)
    orders = Orders(registry, actor, journal, inboxes, table, bus)
    components = Components(registry, journal, inboxes, orders, table)
    action_findings = ActionFindings(registry, journal, inboxes, components, own, counters)
    decider = Decider(registry, table, components.record, bus)
    # Record and notify.
    outbox = Outbox(registry.targets, partial(_outlook, table, registry), orders.transactions)
    store = Store(
        database,
        snapshot=partial(_snapshot, registry),
        on_health=partial(_tell_health, asyncio.get_running_loop(), bus),
        kept=outbox.everything,
    )
    notifier = Notifier(config, registry.targets, outbox, store, counters, partial(own.report, "notifications"))
    # Look.
    set_registry = SetRegistry(registry)
    endpoints = EndpointMonitor(EndpointRegistry(set_registry), bus, pools.judge)
    reader = ArtefactReader(partial(_actor_socket, registry), pools.sets, bus.send)
    sets = SetMonitor(set_registry, bus, pools.sets, event_latency=counters.event_latency, read=reader.read)
    files = FileMonitor(
        FileRegistry(registry),
        sets,
        bus,
        pools.files,
        event_latency=counters.event_latency,
        overflowed=counters.overflowed,
        unsearched=partial(own.report, "files"),
        helpers=helpers,
    )
    return Parts(
        bus=bus,
        counters=counters,
        page=page,
        registry=registry,
        own=own,
        table=table,
        journal=journal,
        inboxes=inboxes,
        orders=orders,
        components=components,
        action_findings=action_findings,
        decider=decider,
        outbox=outbox,
        store=store,
        notifier=notifier,
        notices=PolicyNotices(notifier),
        endpoints=endpoints,
        sets=sets,
        files=files,
        prober=Prober(pools.judge, config.settings.concurrency),
    )


def subscribers_of(parts: Parts) -> tuple[Subscriber, ...]:
    """Return who takes every batch of events (`monitor.state.events`), in this order."""
    return (
        event_log(parts.registry.location),
        parts.store.record,
        parts.notifier.take,  # findings -> messages to people
        parts.decider.take,  # -> decisions about the target or its component
        parts.sets.take,  # an endpoint changed -> its component's files
        parts.inboxes.take,  # files present something else -> the actor is asked who changed them
    )


def routes_of(parts: Parts, read_trust_again: Callable[[TrustFilesChanged], None]) -> tuple[MessageRoute[Any], ...]:
    """Return who takes each kind of message, in this order."""
    return (
        # Looking
        route(Looked, parts.counters.looked, parts.notifier.looked),
        route(ArtefactsChanged, parts.endpoints.component_touched),
        route(ReadingDue, parts.sets.look_again),
        route(TrustFilesChanged, read_trust_again),
        # Acting
        route(JournalNews, parts.inboxes.journal_news, parts.decider.inputs_changed),
        route(ServiceTouched, parts.sets.look_again, parts.endpoints.component_touched),
        route(CandidateConsidered, parts.orders.candidate_considered, parts.decider.candidate_considered),
        route(ComponentsChanged, parts.action_findings.components_changed),
        # Deciding
        route(DecisionInputsChanged, parts.decider.inputs_changed),
        route(DecisionMade, parts.counters.decision_made, parts.notices.decision_made, parts.orders.decision_made),
        # Recording
        route(
            DatabaseHealthChanged,
            parts.counters.database_health_changed,
            parts.own.database_health_changed,
            parts.notifier.database_health_changed,
        ),
    )


def reconfigure(parts: Parts, trust_context: TrustContext) -> None:
    """Have every part go by another configuration, or by trust stores that were read anew."""
    config = trust_context.config
    parts.registry.trust_context = trust_context
    parts.page.reconfigure(_intervals(config))
    parts.sets.reconfigure()
    parts.endpoints.reconfigure()
    parts.notifier.reconfigure(config)
    parts.files.rescan()
    parts.action_findings.reconfigure()
    parts.inboxes.reconfigure()
    parts.decider.reconfigure()


def running(parts: Parts) -> Sequence[Coroutine[Any, Any, None]]:
    """Return what goes on until the daemon ends."""
    going_on = (
        parts.files,
        parts.sets,
        parts.endpoints,
        parts.journal,
        parts.inboxes,
        parts.orders,
        parts.decider,
        parts.notifier,
    )
    return [each.run() for each in going_on]


def _intervals(config: Config) -> Callable[[TargetState], float | None]:
    """Return what gives the longest time between two looks at a target, by a configuration."""
    return lambda state: config.interval(state.target, state.kind)


def _outlook(table: DecisionTable, registry: TargetRegistry, member: Member) -> str:
    """Say what will happen about a finding without anybody doing anything."""
    component = member.component
    return outlook(table.about(member.target if component is None else registry.config.subject_of(component)))


def _snapshot(registry: TargetRegistry) -> tuple[TargetState, ...]:
    return tuple(registry.targets.values())


def _actor_socket(registry: TargetRegistry) -> str:
    return registry.config.settings.actor.socket


def _tell_health(loop: asyncio.AbstractEventLoop, bus: Bus, health: Degraded | None) -> None:
    """Tell, from whichever thread, whether the database can be used."""
    problem = "" if health is None else f"{health.reason}: {health.detail}"
    loop.call_soon_threadsafe(bus.send, DatabaseHealthChanged(problem))
