"""Every way in which an endpoint is looked at: by asyncio's loop, by uvloop's, and without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import uvloop

from config.model import Endpoint
from probes.observation import EndpointObservation
from probes.tls.drive import look, look_blocking

NOW: Final = 1_800_000_000.0
Look = Callable[[Endpoint], EndpointObservation]


def by_asyncio(endpoint: Endpoint) -> EndpointObservation:
    return asyncio.run(look(endpoint, NOW))


def by_uvloop(endpoint: Endpoint) -> EndpointObservation:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(look(endpoint, NOW))


def by_blocking(endpoint: Endpoint) -> EndpointObservation:
    return look_blocking(endpoint, NOW)


DRIVERS: Final = (by_asyncio, by_uvloop, by_blocking)
