"""Monitors of real files and servers, with everything they say kept for the test to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from config.model import Client, Config, SystemStore, TrustStore
from config.vocabulary import Code, LookOutcome, Severity
from monitor.look.endpoints import EndpointMonitor
from monitor.look.files import FileMonitor
from monitor.look.sets import ReadSet, SetMonitor
from monitor.look.supported import SupportedMonitor
from monitor.state.bus import Bus, route
from monitor.state.endpoints import EndpointRegistry
from monitor.state.events import StateEvent
from monitor.state.files import FileRegistry
from monitor.state.messages import ArtefactsChanged, Looked
from monitor.state.registry import TargetRegistry
from monitor.state.sets import SetRegistry
from monitor.state.target import TargetState
from monitor.state.trust import read_trust_context
from probes.finding import Finding


@dataclass
class FakePage:
    shown: dict[str, TargetState] = field(default_factory=dict)

    def update(self, state: TargetState) -> None:
        self.shown[state.target] = state

    def remove(self, target: str) -> None:
        del self.shown[target]


@dataclass
class Kept:
    """What a monitor said."""

    bus: Bus = field(default_factory=Bus)
    page: FakePage = field(default_factory=FakePage)
    events: list[StateEvent] = field(default_factory=list)
    looks: list[Looked] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    unsearched: list[Sequence[Finding]] = field(default_factory=list)
    files: FileMonitor | None = None
    sets: SetMonitor | None = None
    endpoints: EndpointMonitor | None = None
    supported: SupportedMonitor | None = None
    on_component: Callable[[str], None] = lambda _: None
    on_look: Callable[[Looked], None] = lambda _: None
    registry: TargetRegistry | None = None
    set_registry: SetRegistry | None = None

    def codes(self, target: str) -> set[Code]:
        state = self.page.shown.get(target)
        return {code for code, _ in state.findings} if state else set()

    def worst(self, target: str) -> Severity | None:
        severities = [each.finding.severity for each in self.page.shown[target].findings.values()]
        return max(severities, key=lambda each: each.rank, default=None)

    def take(self, events: Sequence[StateEvent]) -> None:
        self.events.extend(events)

    def looked(self, look: Looked) -> None:
        self.looks.append(look)
        self.on_look(look)

    def artefacts_changed(self, message: ArtefactsChanged) -> None:
        self.components.append(message.component)
        self.on_component(message.component)

    def tell_sets(self, events: Sequence[StateEvent]) -> None:
        if self.sets is not None:
            self.sets.take(events)


def registry_of(config: Config, kept: Kept) -> TargetRegistry:
    trust_context, _ = read_trust_context(config)
    routes = (route(Looked, kept.looked), route(ArtefactsChanged, kept.artefacts_changed))
    kept.bus.connect((kept.take, kept.tell_sets), routes)
    return TargetRegistry(trust_context, kept.bus, kept.page)


@asynccontextmanager
async def file_monitor(
    config: Config,
    remembered: Sequence[TargetState] = (),
    helpers: Executor | None = None,
    read: ReadSet | None = None,
) -> AsyncIterator[Kept]:
    """Look at the files of `config`, read sets by `read`; the first look is over once this is entered."""
    kept = Kept()
    registry = registry_of(config, kept)
    for state in remembered:
        registry.remember(state)
    with ThreadPoolExecutor(1) as worker:
        set_registry = SetRegistry(registry)
        sets = SetMonitor(set_registry, kept.bus, worker, event_latency=lambda _: None, read=read)
        files = FileMonitor(
            FileRegistry(registry),
            sets,
            kept.bus,
            worker,
            event_latency=lambda _: None,
            overflowed=lambda: None,
            unsearched=kept.unsearched.append,
            helpers=helpers,
        )
        kept.files, kept.sets, kept.registry, kept.set_registry = files, sets, registry, set_registry
        sets.reconfigure()
        running = [asyncio.create_task(each.run()) for each in (files, sets)]
        try:
            await until(lambda: (files.progress.finished and not sets.unseen) or any(each.done() for each in running))
            yield kept
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    """Return once `condition` holds; fail after `deadline` seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(max(0.002, (loop.time() - began) / 20))


def config_with(**more: object) -> Config:
    stores = {"system": TrustStore("system", SystemStore())}
    clients = {"default": Client("default", "system")}
    return Config(trust_stores=MappingProxyType(stores), clients=MappingProxyType(clients), **more)  # type: ignore[arg-type]


@dataclass
class WatchedEndpoints(Kept):
    """What a monitor of endpoints said."""

    def configure(self, config: Config) -> None:
        """Put another configuration in force, as a reload does."""
        assert self.registry is not None
        assert self.endpoints is not None
        self.registry.trust_context, _ = read_trust_context(config, self.registry.trust_context)
        self.endpoints.reconfigure()
        assert self.supported is not None
        self.supported.reconfigure()

    def looked_at(self, target: str) -> list[LookOutcome]:
        return [look.outcome for look in self.looks if look.target == target]


@asynccontextmanager
async def keep_looking(config: Config, remembered: Sequence[TargetState] = ()) -> AsyncIterator[WatchedEndpoints]:
    kept = WatchedEndpoints()
    registry = registry_of(config, kept)
    for state in remembered:
        registry.remember(state)
    with ThreadPoolExecutor(1) as worker:
        endpoints = EndpointRegistry(SetRegistry(registry))
        monitor = EndpointMonitor(endpoints, kept.bus, worker)
        supported = SupportedMonitor(endpoints, monitor.hasten)
        kept.registry, kept.endpoints, kept.supported = registry, monitor, supported
        monitor.reconfigure()
        supported.reconfigure()
        running = [asyncio.create_task(each.run()) for each in (monitor, supported)]
        try:
            yield kept
            assert not any(each.done() for each in running)
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
