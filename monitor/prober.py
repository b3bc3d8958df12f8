"""Looks that somebody asks for at `/probe`, and where these may go."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from config.address import is_ip_address, join_address, split_address
from config.model import DEFAULT_CLIENT, Endpoint
from config.text import printable
from config.vocabulary import UnreachableReason
from monitor.metrics.probed import Probed
from monitor.surroundings import Surroundings
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate
from probes.judge.client import judge_chain, leaf_first
from probes.observation import EndpointObservation
from probes.tls.drive import look


@dataclass(frozen=True, slots=True)
class Module:
    """How a target is read, and looked at."""

    prober: str
    """What ssl_exporter calls it."""
    default_port: int | None = None
    """The port of a target without one; where there is none, the target needs one."""


_TCP: Final = Module("tcp")
_HTTPS: Final = Module("https", 443)

MODULES: Final = MappingProxyType({"tls": _TCP, "tcp": _TCP, "tls_connect": _TCP, "https": _HTTPS, "http_2xx": _HTTPS})
"""By the names that the examples of blackbox_exporter and ssl_exporter give them, too."""
DEFAULT_MODULE: Final = "https"


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not looked there."""

    why: str


def endpoint_of(target: str, module: Module, surroundings: Surroundings) -> Endpoint | Refused:
    """Return the endpoint that `target` means: one by its name or its address, else one that `probe.allow` may allow.

    Whether it does is known only once its name is resolved.
    """
    config = surroundings.config
    named = config.endpoints.get(target)
    if named is not None:
        return named
    try:
        host, port = _address(target, module)
    except ValueError:
        return Refused("the target is neither an endpoint nor host:port")
    at_address = [each for each in config.endpoints.values() if (each.host.lower(), each.port) == (host.lower(), port)]
    if at_address:
        return at_address[0]
    if not any(port in reach.ports for reach in config.settings.probe):
        return Refused(f"no endpoint is at {join_address(host, port)}, and probe.allow does not have its port")
    return Endpoint(join_address(host, port), host, port, clients=(DEFAULT_CLIENT,))


def _address(target: str, module: Module) -> tuple[str, int]:
    """Return host and port of `https://host[:port]/path`, `host:port`, or `host` where the module knows the port."""
    if "://" in target:
        parts = urlsplit(target)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("not https://host")
        target = join_address(parts.hostname, parts.port or 443)
    elif module.default_port is not None:
        bare = target.strip("[]") if is_ip_address(target.strip("[]")) else target
        if is_ip_address(bare) or ":" not in bare:
            target = join_address(bare, module.default_port)
    return split_address(target)


class Prober:
    """Looks where it is asked to, and is allowed to, a bounded number of times at once."""

    def __init__(self, worker: Executor, at_once: int) -> None:
        """Judge in `worker`."""
        self._worker = worker
        self._turns = asyncio.Semaphore(at_once)

    async def probe(self, target: str, module: Module, surroundings: Surroundings, seconds: float) -> Probed | Refused:
        """Return what is seen at `target` within `seconds`."""
        endpoint = endpoint_of(target, module, surroundings)
        if isinstance(endpoint, Refused):
            return endpoint
        # Not by its name: whoever asks may have chosen one that is taken.
        configured = surroundings.config.endpoints.get(endpoint.name) is endpoint

        def permits(address: str) -> bool:
            reaches = surroundings.config.settings.probe
            return configured or any(each.covers(address, endpoint.port) for each in reaches)

        async with self._turns:
            now, started = time.time(), time.monotonic()
            observation = await look(replace(endpoint, timeout=min(seconds, endpoint.timeout)), now, permits)
            took = time.monotonic() - started
        if any(each.reason is UnreachableReason.NOT_PERMITTED for each in observation.failures):
            return Refused(f"probe.allow does not have every address of {printable(endpoint.host)}")
        loop = asyncio.get_running_loop()
        accepted, paths = await loop.run_in_executor(self._worker, _judge, endpoint, observation, surroundings, now)
        return Probed(module.prober, observation, paths, accepted, took)


def _judge(
    endpoint: Endpoint, observation: EndpointObservation, surroundings: Surroundings, now: float
) -> tuple[bool, tuple[tuple[Certificate, ...], ...]]:
    """Return whether every client accepts, and the paths that those verified who validate and do."""
    views = surroundings.views(endpoint.clients)
    elsewhere = tuple(surroundings.trusts.values())
    chains = tuple(dict.fromkeys(leaf_first(each.chain) for each in observation.presented if each.chain))
    if not chains:
        return False, ()
    accepted = {
        each.client: each.accepted
        for each in assess_endpoint(observation, EndpointContext(endpoint, views, elsewhere), now).edges
    }
    paths = dict.fromkeys(
        judge_chain(chain, view, now, elsewhere).path
        for view in views
        if view.client.validates and accepted[view.client.name]
        for chain in chains
    )
    # A client whose trust store cannot be read makes nothing of it.
    return all(accepted.get(name, False) for name in endpoint.clients), tuple(paths)
