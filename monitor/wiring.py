"""The parts of the daemon on one page: how they are made, and who takes each event and each message, in order.

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
from functools import partial
from typing import Any

from config.immutable import immutable
from config.model import Config
from config.version import own_version
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
from monitor.look.clock import ClockMonitor
from monitor.look.demand import Prober
from monitor.look.endpoints import EndpointMonitor
from monitor.look.files import FileMonitor
from monitor.look.reading import ArtefactReader
from monitor.look.revocation import RevocationFetcher
from monitor.look.sets import SetMonitor
from monitor.look.supported import SupportedMonitor
from monitor.look.undeclared import UndeclaredPorts
from monitor.metrics import Counters, Page
from monitor.metrics.x509_cert import FileCertificates
from monitor.metrics.x509_source import Sources
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Outbox
from monitor.notify.problem import Member
from monitor.state.bus import Bus, MessageRoute, Subscriber, route
from monitor.state.endpoints import EndpointRegistry
from monitor.state.feed import EventFeed
from monitor.state.files import FileRegistry
from monitor.state.log import event_log
from monitor.state.messages import (
    ArtefactsChanged,
    CandidateConsidered,
    ClockStepped,
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
from probes.finding import Finding


@immutable
class Pools:
    """Threads beside the event loop: judging must not wait for a file on a file system that hangs."""

    files: Executor
    judge: Executor
    sets: Executor
    probed: Executor
    fetched: Executor
    """For the answers of CAs' servers, so that none of them delays the verdict on an endpoint."""

    @classmethod
    def start(cls) -> Pools:
        """Return pools whose threads start when they are needed."""
        sizes = {"files": 1, "judge": 1, "sets": 2, "probed": 1, "fetched": 1}
        return cls(**{name: ThreadPoolExecutor(size, name) for name, size in sizes.items()})

    def shut_down(self) -> None:
        """Drop the work that waits; work that is under way ends by itself."""
        for each in (self.files, self.judge, self.sets, self.probed, self.fetched):
            each.shutdown(wait=False, cancel_futures=True)


@immutable
class StateParts:
    """The state of all targets, and the parts that hear of each change of it."""

    bus: Bus
    counters: Counters
    page: Page
    registry: TargetRegistry
    own: OwnFindings
    feed: EventFeed
    """For readers of events over HTTP."""
    sources: Sources | None
    """Of the certificates in files, where these are counted for x509-certificate-exporter's rules."""


@immutable
class LookParts:
    """The parts that look at files, sets and endpoints."""

    clock: ClockMonitor
    endpoints: EndpointMonitor
    supported: SupportedMonitor
    sets: SetMonitor
    files: FileMonitor
    prober: Prober
    revocation: RevocationFetcher
    undeclared: UndeclaredPorts


@immutable
class ActParts:
    """The parts that ask the actor."""

    journal: JournalFollower
    inboxes: Inboxes
    orders: Orders
    components: Components
    findings: ActionFindings


@immutable
class DecideParts:
    """The parts that decide by policies."""

    table: DecisionTable
    decider: Decider


@immutable
class NotifyParts:
    """The parts that record events, and that tell people of them."""

    outbox: Outbox
    store: Store
    notifier: Notifier
    notices: PolicyNotices


@immutable
class Parts:
    """All parts of a daemon, grouped as the folders of `monitor/` are."""

    state: StateParts
    look: LookParts
    act: ActParts
    decide: DecideParts
    notify: NotifyParts


def build(trust_context: TrustContext, database: str, pools: Pools, helpers: Executor | None, now: float) -> Parts:
    """Return the parts of a daemon that begins at Unix time `now`; nothing goes on yet, and no event is carried."""
    state = _build_state(trust_context, now)
    # Those who act read the decisions in the table, and the decider writes them.
    table = DecisionTable(trust_context.config.policies)
    act = _build_act(state, table)
    decide = DecideParts(table, Decider(state.registry, table, act.components.record, state.bus))
    notify = _build_notify(state, act, table, database)
    return Parts(state, _build_look(state, pools, helpers), act, decide, notify)


def _build_state(trust_context: TrustContext, now: float) -> StateParts:
    config = trust_context.config
    bus = Bus()
    counters = Counters(own_version(), now)
    counters.host(config.host)
    x509_cert = _x509_cert(config, counters)
    page = Page(x509_cert=x509_cert, interval=_intervals(config))
    registry = TargetRegistry(trust_context, bus, page)
    feed = EventFeed(now)
    return StateParts(
        bus, counters, page, registry, OwnFindings(registry), feed, x509_cert.sources if x509_cert else None
    )


def _x509_cert(config: Config, counters: Counters) -> FileCertificates | None:
    """Return the metrics of x509-certificate-exporter, where they are wanted."""
    settings = config.settings.x509_cert
    if settings is None:
        return None
    sources = Sources(config, own_version())
    counters.add(sources)
    return FileCertificates(settings, sources)


def _build_act(state: StateParts, table: DecisionTable) -> ActParts:
    registry, bus = state.registry, state.bus
    actor = ActorConnection(registry)
    journal = JournalFollower(registry, actor, bus)
    inboxes = Inboxes(registry, actor, journal, bus)
    orders = Orders(registry, actor, journal, inboxes, table, bus)
    components = Components(registry, journal, inboxes, orders, table)
    findings = ActionFindings(registry, journal, inboxes, components, state.own, state.counters)
    return ActParts(journal, inboxes, orders, components, findings)


def _build_notify(state: StateParts, act: ActParts, table: DecisionTable, database: str) -> NotifyParts:
    registry = state.registry
    outbox = Outbox(registry.targets, partial(_outlook, table, registry), act.orders.transactions)
    store = Store(
        database,
        snapshot=partial(_snapshot, registry),
        on_health=partial(_tell_health, asyncio.get_running_loop(), state.bus),
        kept=outbox.everything,
    )
    report = partial(state.own.report, "notifications")
    notifier = Notifier(registry.config, registry.targets, outbox, store, state.counters, report)
    return NotifyParts(outbox, store, notifier, PolicyNotices(notifier))


def _build_look(state: StateParts, pools: Pools, helpers: Executor | None) -> LookParts:
    registry, bus, counters = state.registry, state.bus, state.counters
    set_registry = SetRegistry(registry)
    endpoint_registry = EndpointRegistry(set_registry)
    endpoints = EndpointMonitor(endpoint_registry, bus, pools.judge)
    supported = SupportedMonitor(endpoint_registry, endpoints.hasten)
    reader = ArtefactReader(partial(_actor_socket, registry), pools.sets, bus.send)
    sets = SetMonitor(set_registry, bus, pools.sets, event_latency=counters.event_latency, read=reader.read)
    files = FileMonitor(
        FileRegistry(registry),
        sets,
        bus,
        pools.files,
        event_latency=counters.event_latency,
        overflowed=counters.overflowed,
        unsearched=partial(_tell_unsearched, state),
        helpers=helpers,
    )
    prober = Prober(pools.judge, pools.probed, registry.config.settings.concurrency)
    revocation = RevocationFetcher(
        registry, pools.fetched, endpoints.hasten, counters.revocation_fetched, counters.revocation_sources
    )
    undeclared = UndeclaredPorts(registry, partial(state.own.report, "undeclared"), pools.judge)
    return LookParts(
        ClockMonitor(registry.clock, bus), endpoints, supported, sets, files, prober, revocation, undeclared
    )


def subscribers_of(parts: Parts) -> tuple[Subscriber, ...]:
    """Return who takes every batch of events (`monitor.state.events`), in this order."""
    state, look, act, decide, notify = parts.state, parts.look, parts.act, parts.decide, parts.notify
    return (
        event_log(state.registry.location),
        notify.store.record,
        notify.notifier.take,  # findings -> messages to people
        decide.decider.take,  # -> decisions about the target or its component
        look.sets.take,  # an endpoint changed -> its component's files
        look.revocation.take,  # other certificates -> other revocation lists
        state.feed.take,  # -> browsers and other readers over HTTP
        act.inboxes.take,  # files present something else -> the actor is asked who changed them
    )


def routes_of(
    parts: Parts,
    read_trust_again: Callable[[TrustFilesChanged], None],
    learn_own: Callable[[JournalNews], None],
) -> tuple[MessageRoute[Any], ...]:
    """Return who takes each kind of message, in this order."""
    state, look, act, decide, notify = parts.state, parts.look, parts.act, parts.decide, parts.notify
    return (
        # Looking
        # -> counts, the sign that looks go on, decisions that wait for a look
        route(Looked, state.counters.looked, notify.notifier.looked, decide.decider.looked),
        route(ArtefactsChanged, look.endpoints.component_touched),  # -> another look at its endpoints
        route(ReadingDue, look.sets.look_again),  # -> another look at its files
        # -> all is looked at and judged again
        route(ClockStepped, look.files.clock_stepped, look.endpoints.clock_stepped),
        route(TrustFilesChanged, read_trust_again),  # -> all is judged by the trust stores as they are now
        # Acting
        # -> the site's own certificates are known, inboxes, decisions
        route(JournalNews, learn_own, act.inboxes.journal_news, decide.decider.inputs_changed, state.feed.acting),
        # -> looks at its files and endpoints
        route(ServiceTouched, look.sets.look_again, look.endpoints.component_touched),
        # -> plans that wait for approval are proposed once more; decisions
        route(
            CandidateConsidered,
            act.orders.candidate_considered,
            decide.decider.candidate_considered,
            state.feed.acting,
        ),
        # -> findings and metrics of components
        route(ComponentsChanged, act.findings.components_changed, state.feed.acting),
        # Deciding
        route(DecisionInputsChanged, decide.decider.inputs_changed),  # -> decisions once more
        # -> a count, a message to people, an order to the actor
        route(DecisionMade, state.counters.decision_made, notify.notices.decision_made, act.orders.decision_made),
        # Recording
        # -> a metric, a finding, messages that do without a record
        route(
            DatabaseHealthChanged,
            state.counters.database_health_changed,
            state.own.database_health_changed,
            notify.notifier.database_health_changed,
        ),
    )


def reconfigure(parts: Parts, trust_context: TrustContext) -> None:
    """Have every part go by another configuration, or by trust stores that were read anew."""
    state, look, act, decide, notify = parts.state, parts.look, parts.act, parts.decide, parts.notify
    config = trust_context.config
    state.registry.trust_context = trust_context
    state.page.reconfigure(_intervals(config))
    if state.sources is not None:
        state.sources.reconfigure(config)
    look.sets.reconfigure()
    look.endpoints.reconfigure()
    look.undeclared.reconfigure()
    look.supported.reconfigure()
    look.prober.reconfigure(config.settings.concurrency)
    look.revocation.reconfigure()
    notify.notifier.reconfigure(config)
    look.files.rescan()
    act.findings.reconfigure()
    act.inboxes.reconfigure()
    decide.decider.reconfigure()


def running(parts: Parts) -> Sequence[Coroutine[Any, Any, None]]:
    """Return the work that goes on until the daemon ends, beside the following of the journal."""
    look, act, decide, notify = parts.look, parts.act, parts.decide, parts.notify
    going_on = (
        look.clock,
        look.files,
        look.sets,
        look.endpoints,
        look.supported,
        look.revocation,
        look.undeclared,
        act.inboxes,
        act.orders,
        decide.decider,
        notify.notifier,
    )
    return [each.run() for each in going_on]


def _intervals(config: Config) -> Callable[[TargetState], float | None]:
    """Return a function that gives the longest time between two looks at a target, by a configuration."""
    return lambda state: config.interval(state.target, state.kind)


def _outlook(table: DecisionTable, registry: TargetRegistry, member: Member) -> str:
    """Return the course of a finding if no person does anything."""
    component = member.component
    return outlook(table.about(member.target if component is None else registry.config.subject_of(component)))


def _tell_unsearched(state: StateParts, findings: Sequence[Finding]) -> None:
    """Tell which files are not looked at; the first call is after every file was looked at once."""
    state.own.report("files", findings)
    if state.sources is not None:
        state.sources.searched(findings)


def _snapshot(registry: TargetRegistry) -> tuple[TargetState, ...]:
    return tuple(registry.targets.values())


def _actor_socket(registry: TargetRegistry) -> str:
    return registry.config.settings.actor.socket


def _tell_health(loop: asyncio.AbstractEventLoop, bus: Bus, health: Degraded | None) -> None:
    """Tell, from whichever thread, whether the database can be used."""
    problem = "" if health is None else f"{health.reason}: {health.detail}"
    loop.call_soon_threadsafe(bus.send, DatabaseHealthChanged(problem))
