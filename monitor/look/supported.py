"""Asking endpoints for everything that they take, where a site wants it: seldom, and few at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from config.model import Endpoint
from config.text import Log, harmless
from monitor.look.rounds import Rounds
from monitor.state.endpoints import EndpointRegistry
from probes.tls.inquire import inquire

log: Log = logging.getLogger("certvigil.supported")

_AT_ONCE: Final = 4
"""Endpoints that are asked at once: each makes one connection after the other."""
_AGAIN: Final = 300.0
"""Seconds after which one is asked again that did not answer."""
_FIRST: Final = 2.0
"""Seconds after which it is seen again whether an endpoint was looked at for the first time."""


class SupportedMonitor:
    """Asks each endpoint that the configuration wants to be asked, in its own beat, the first time at the start."""

    def __init__(self, endpoints: EndpointRegistry, look_again: Callable[[Iterable[str]], None]) -> None:
        """Have endpoints be judged once more by `look_again` whose answers changed."""
        self._endpoints = endpoints
        self._registry = endpoints.registry
        self._look_again = look_again
        self._rounds = Rounds(self._begin, lambda _name: _AGAIN)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[str, Endpoint] = {}

    def reconfigure(self) -> None:
        """Ask the endpoints that the configuration names; at once, where one is new or another than before."""
        wanted = {
            name: each for name, each in self._registry.config.endpoints.items() if each.supported_every is not None
        }
        for name in self._asked.keys() - wanted.keys():
            self._rounds.forget(name)
        # Those of before a restart as well.
        known = {name for name, each in self._registry.targets.items() if each.supported is not None}
        for name in sorted(known - wanted.keys()):
            self._endpoints.forget_supported(name, time.time())
        changed = [name for name, each in wanted.items() if self._asked.get(name) != each]
        for name in changed:
            self._rounds.give_up(name)
        self._asked = wanted
        self._rounds.hasten(changed)

    async def run(self) -> None:
        """Ask endpoints when they are due, until cancelled."""
        await self._rounds.run()

    def _begin(self, name: str, _due: float) -> Coroutine[None, None, None] | None:
        endpoint = self._asked.get(name)
        return None if endpoint is None else self._ask(endpoint)

    async def _ask(self, endpoint: Endpoint) -> None:
        state, pause = self._registry.targets.get(endpoint.name), _AGAIN
        try:
            if state is None or state.last_look is None:
                pause = _FIRST
                return
            async with self._room:
                if await self._ask_at_once(endpoint):
                    pause = endpoint.supported_every or _AGAIN
        except Exception:
            log.exception("asking %s for all that it takes failed for no foreseen reason", harmless(endpoint.name))
        finally:
            if self._rounds.is_current(endpoint.name):
                self._rounds.hasten([endpoint.name], time.monotonic() + pause)

    async def _ask_at_once(self, endpoint: Endpoint) -> bool:
        """Return whether the endpoint answered."""
        state = self._registry.targets.get(endpoint.name)
        if state is None or state.failure is not None or not state.addresses:
            return False
        supported = await inquire(endpoint, state.addresses[0].address, time.time())
        if self._registry.config.endpoints.get(endpoint.name) != endpoint:
            return False
        if self._endpoints.take_up(endpoint.name, supported):
            self._look_again([endpoint.name])
        return bool(supported.versions)
