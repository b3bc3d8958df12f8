"""Vigils over real files and servers, with everything they say kept for the test to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from config.model import Client, Config, SystemStore, TrustStore
from config.vocabulary import Code
from monitor.beliefs import Beliefs
from monitor.bus import Bus
from monitor.endpoints import EndpointVigil
from monitor.events import Event, Looked
from monitor.files import FileVigil
from monitor.known import Known
from monitor.sets import ReadSet, SetVigil
from monitor.surroundings import read_surroundings
from probes.finding import Finding


@dataclass
class FakePage:
    shown: dict[str, Known] = field(default_factory=dict)

    def update(self, known: Known) -> None:
        self.shown[known.target] = known

    def remove(self, target: str) -> None:
        del self.shown[target]


@dataclass
class Kept:
    """What a vigil said."""

    page: FakePage = field(default_factory=FakePage)
    events: list[Event] = field(default_factory=list)
    looks: list[Looked] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    unsearched: list[Sequence[Finding]] = field(default_factory=list)
    vigil: FileVigil | None = None
    sets: SetVigil | None = None
    endpoints: EndpointVigil | None = None
    on_component: Callable[[str], None] = lambda _: None
    beliefs: Beliefs | None = None

    def codes(self, target: str) -> set[Code]:
        known = self.page.shown.get(target)
        return {code for code, _ in known.findings} if known else set()

    def take(self, events: Sequence[Event]) -> None:
        self.events.extend(events)

    def component_changed(self, component: str) -> None:
        self.components.append(component)
        self.on_component(component)

    def tell_sets(self, events: Sequence[Event]) -> None:
        if self.sets is not None:
            self.sets.take(events)


def beliefs_of(config: Config, kept: Kept) -> Beliefs:
    surroundings, _ = read_surroundings(config)
    return Beliefs(surroundings, Bus(kept.take, kept.tell_sets), kept.page)


@asynccontextmanager
async def file_vigil(
    config: Config,
    remembered: Sequence[Known] = (),
    helpers: Executor | None = None,
    read: ReadSet | None = None,
) -> AsyncIterator[Kept]:
    """Keep vigil over the files of `config`, sets by `read`; the first look is over once this is entered."""
    kept = Kept()
    beliefs = beliefs_of(config, kept)
    for known in remembered:
        beliefs.remember(known)
    with ThreadPoolExecutor(1) as worker:
        sets = SetVigil(
            beliefs,
            worker,
            looked=kept.looks.append,
            event_latency=lambda _: None,
            component_changed=kept.component_changed,
            read=read,
        )
        vigil = FileVigil(
            beliefs,
            worker,
            looked=kept.looks.append,
            event_latency=lambda _: None,
            overflowed=lambda: None,
            sets=sets,
            surroundings_changed=lambda: None,
            unsearched=kept.unsearched.append,
            helpers=helpers,
        )
        kept.vigil, kept.sets, kept.beliefs = vigil, sets, beliefs
        sets.reconfigure()
        running = [asyncio.create_task(each.run()) for each in (vigil, sets)]
        try:
            await until(lambda: (vigil.progress.finished and not sets.unseen) or any(each.done() for each in running))
            yield kept
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    """Return once `condition` holds; fail after `deadline` seconds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.002)


def config_with(**more: object) -> Config:
    stores = {"system": TrustStore("system", SystemStore())}
    clients = {"default": Client("default", "system")}
    return Config(trust_stores=MappingProxyType(stores), clients=MappingProxyType(clients), **more)  # type: ignore[arg-type]
