"""Vigils over real files and servers, with everything they say kept for the test to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from config.model import Client, Config, SystemStore, TrustStore
from config.vocabulary import Code
from monitor.beliefs import Beliefs
from monitor.bus import Bus
from monitor.events import Event, Looked
from monitor.files import FileVigil
from monitor.known import Known
from monitor.surroundings import read_surroundings


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
    unsearched: list[Mapping[str, str]] = field(default_factory=list)
    vigil: FileVigil | None = None
    beliefs: Beliefs | None = None

    def codes(self, target: str) -> set[Code]:
        known = self.page.shown.get(target)
        return {code for code, _ in known.findings} if known else set()

    def take(self, events: Sequence[Event]) -> None:
        self.events.extend(events)


def beliefs_of(config: Config, kept: Kept) -> Beliefs:
    surroundings, _ = read_surroundings(config)
    return Beliefs(surroundings, Bus(kept.take), kept.page)


@asynccontextmanager
async def file_vigil(
    config: Config, remembered: Sequence[Known] = (), helpers: Executor | None = None
) -> AsyncIterator[Kept]:
    """Keep vigil over the files of `config`; the first look is over once this is entered."""
    kept = Kept()
    beliefs = beliefs_of(config, kept)
    for known in remembered:
        beliefs.remember(known)
    with ThreadPoolExecutor(1) as worker:
        vigil = FileVigil(
            beliefs,
            worker,
            looked=kept.looks.append,
            event_latency=lambda _: None,
            overflowed=lambda: None,
            component_changed=kept.components.append,
            surroundings_changed=lambda: None,
            unsearched=kept.unsearched.append,
            helpers=helpers,
        )
        kept.vigil, kept.beliefs = vigil, beliefs
        running = asyncio.create_task(vigil.run())
        try:
            await until(lambda: vigil.progress.finished or running.done())
            yield kept
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    """Return once `condition` holds; fail after `deadline` seconds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.002)


def config_with(**more: object) -> Config:
    stores = {"system": TrustStore("system", SystemStore())}
    clients = {"default": Client("default", "system")}
    return Config(trust_stores=MappingProxyType(stores), clients=MappingProxyType(clients), **more)  # type: ignore[arg-type]
