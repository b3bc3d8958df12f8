"""Looks that somebody asks for at `/probe`, and where these may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from config.address import is_ip_address, join_address, split_address
from config.model import DEFAULT_CLIENT, Endpoint
from config.text import printable
from config.vocabulary import UnreachableReason
from monitor.look.slots import Places
from monitor.metrics.probed import PHASES, Asked, Probed
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate
from probes.http.drive import Fetched, fetch
from probes.http.exchange import NoResponse, Response
from probes.judge.client import judge_chain, leaf_first
from probes.observation import EndpointObservation
from probes.tls.drive import look

MOST_REDIRECTS: Final = 10


@dataclass(frozen=True, slots=True)
class Module:
    """How a target is read, the requests to it, and the condition of success beside the clients' verdicts."""

    prober: str
    """Its name in ssl_exporter."""
    default_port: int | None = None
    """The port of a target without one; where there is none, the target needs one."""
    asks: bool = False
    """A request is sent, and there must be an answer in HTTP."""
    wants_2xx: bool = False
    """Redirects are followed, and the status of the answer must be one of 200 to 299."""


_TCP: Final = Module("tcp")
_HTTPS: Final = Module("https", 443, asks=True)
_HTTP_2XX: Final = Module("https", 443, asks=True, wants_2xx=True)

MODULES: Final = MappingProxyType(
    {"tls": _TCP, "tcp": _TCP, "tls_connect": _TCP, "https": _HTTPS, "http_2xx": _HTTP_2XX}
)
"""By the names that the examples of blackbox_exporter and ssl_exporter give them, too."""
DEFAULT_MODULE: Final = "tls"


@dataclass(frozen=True, slots=True)
class RefusedProbe:
    """It is not looked there."""

    why: str


@dataclass(frozen=True, slots=True)
class ProbeAddress:
    """Where a target leads."""

    endpoint: Endpoint
    path: str = "/"
    """And perhaps a query."""
    by_name: bool = False
    """Whether it is an endpoint that was asked for by its name: no other address is shown our client certificate."""


def place_of(target: str, module: Module, trust_context: TrustContext) -> ProbeAddress | RefusedProbe:
    """Return where `target` leads: to an endpoint by its name or address, else to where `probe.allow` may allow.

    Whether it does is known only once its name is resolved.
    """
    config = trust_context.config
    named = config.endpoints.get(target)
    if named is not None:
        return ProbeAddress(named, by_name=True)
    if target.lower().startswith("http://"):
        return RefusedProbe("certvigil looks at TLS: a target of http:// is not probed")
    try:
        host, port, path = _address(target, module)
    except ValueError:
        return RefusedProbe("the target is neither an endpoint nor host:port")
    at_address = [each for each in config.endpoints.values() if (each.host.lower(), each.port) == (host.lower(), port)]
    if at_address:
        return ProbeAddress(at_address[0], path)
    if not any(port in reach.ports for reach in config.settings.probe):
        return RefusedProbe(f"no endpoint is at {join_address(host, port)}, and probe.allow does not have its port")
    return ProbeAddress(Endpoint(join_address(host, port), host, port, clients=(DEFAULT_CLIENT,)), path)


def _address(target: str, module: Module) -> tuple[str, int, str]:
    """Return host, port and path of a URL, of `host:port`, or of `host` where the module knows the port."""
    path = "/"
    if "://" in target:
        parts = urlsplit(target)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("not https://host")
        target = join_address(parts.hostname, parts.port or 443)
        path = quote(parts.path or "/", _IN_PATH) + (f"?{quote(parts.query, _IN_PATH)}" if parts.query else "")
    elif module.default_port is not None:
        bare = target.strip("[]") if is_ip_address(target.strip("[]")) else target
        if is_ip_address(bare) or ":" not in bare:
            target = join_address(bare, module.default_port)
    return *split_address(target), path


_IN_PATH: Final = "/?:@!$&'()*+,;=-._~%[]"
"""Characters that stay as they are in a path or a query; everything else is percent-encoded."""


class Prober:
    """Looks where it is asked to, and is allowed to, a bounded number of times at once."""

    def __init__(self, worker: Executor, at_once: int) -> None:
        """Judge in `worker`."""
        self._worker = worker
        self._at_once = at_once
        self._places = Places(at_once)

    def reconfigure(self, at_once: int) -> None:
        """Look at so many places at once from now on."""
        if at_once != self._at_once:
            self._at_once = at_once
            self._places.resize(at_once)

    async def probe(
        self, target: str, module: Module, trust_context: TrustContext, seconds: float
    ) -> Probed | RefusedProbe:
        """Return the observation of `target` within `seconds`."""
        place = place_of(target, module, trust_context)
        if isinstance(place, RefusedProbe):
            return place
        name = join_address(place.endpoint.host, place.endpoint.port)
        asked_at = time.monotonic()
        try:
            return await self._places.take(
                name, lambda: self._probe(place, module, trust_context, asked_at + seconds), _is_silent
            )
        finally:
            self._places.forget_all_but(MOST_REMEMBERED)

    async def _probe(
        self, place: ProbeAddress, module: Module, trust_context: TrustContext, latest: float
    ) -> Probed | RefusedProbe:
        """Return the observation until monotonic time `latest`."""
        begun = time.monotonic()
        deadline = min(latest, begun + place.endpoint.timeout)
        first = step = await self._step(place, module, trust_context, deadline)
        steps: list[_Step] = []
        while not isinstance(step, RefusedProbe):
            steps.append(step)
            onward = None
            if module.wants_2xx and len(steps) <= MOST_REDIRECTS:
                onward = redirect_of(place, step, module, trust_context)
            if onward is None:
                break
            # Where it may not be followed, the redirect itself is the last answer, and no good one.
            place, step = onward, await self._step(onward, module, trust_context, deadline)
        if isinstance(first, RefusedProbe):
            return first
        asked = _asked(steps) if module.asks else None
        accepted = all(each.accepted for each in steps) and (asked is None or _is_good(asked.answer, module))
        took = time.monotonic() - begun
        return Probed(module.prober, first.observation, first.paths, accepted, took, first.lookup, asked)

    async def _step(
        self, place: ProbeAddress, module: Module, trust_context: TrustContext, deadline: float
    ) -> _Step | RefusedProbe:
        """Look at one place, and where the module wants that, ask there."""
        shown = place.endpoint.client_certificate if place.by_name else None
        endpoint = replace(place.endpoint, timeout=_left(deadline), client_certificate=shown)
        # Not by its name: whoever asks may have chosen one that is taken.
        configured = trust_context.config.endpoints.get(endpoint.name) is place.endpoint

        def permits(address: str) -> bool:
            reaches = trust_context.config.settings.probe
            return configured or any(each.covers(address, endpoint.port) for each in reaches)

        lookup = 0.0

        def resolved(seconds: float) -> None:
            nonlocal lookup
            lookup = seconds

        now = time.time()
        observation = await look(endpoint, now, permits, resolved)
        if any(each.reason is UnreachableReason.NOT_PERMITTED for each in observation.failures):
            return RefusedProbe(f"probe.allow does not have every address of {printable(endpoint.host)}")
        fetched: Fetched | None = None
        if module.asks and observation.presented:
            # Where several addresses answer, the worst answer stands for all: whoever meets it is not served.
            left = _left(deadline)
            asking = (fetch(each.address, endpoint, place.path, left) for each in observation.presented)
            fetched = max(await asyncio.gather(*asking), key=_badness)
        loop = asyncio.get_running_loop()
        accepted, paths = await loop.run_in_executor(
            self._worker, _judge, place.endpoint, observation, trust_context, now
        )
        return _Step(observation, accepted, paths, lookup, fetched)


MOST_REMEMBERED: Final = 10_000
"""Places that are remembered as unanswered."""


@dataclass(frozen=True, slots=True)
class _Step:
    """The result at one place of a chain of redirects."""

    observation: EndpointObservation
    accepted: bool
    paths: tuple[tuple[Certificate, ...], ...]
    lookup: float
    """Seconds that its name took to be resolved."""
    fetched: Fetched | None
    """None where nobody was asked."""


def redirect_of(place: ProbeAddress, step: _Step, module: Module, trust_context: TrustContext) -> ProbeAddress | None:
    """Return where the answer from `place` redirects to; None where it does not, or where that may not be looked at.

    A redirect to the same name and port stays at the endpoint, at whatever address that is configured.
    """
    location = _location(step)
    if location is None:
        return None
    endpoint = place.endpoint
    here = join_address(endpoint.verified_name, endpoint.port)
    try:
        where = urljoin(f"https://{here}{place.path}", location)
        host, port, path = _address(where, module) if "://" in where else ("", 0, "")
    except ValueError:
        return None
    if join_address(host, port).lower() == here.lower():
        return ProbeAddress(endpoint, path)
    onward = place_of(where, module, trust_context)
    return None if isinstance(onward, RefusedProbe) else onward


def _location(step: _Step) -> str | None:
    answer = step.fetched.answer if step.fetched is not None else None
    return answer.location if isinstance(answer, Response) and answer.status in _REDIRECTS else None


_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def _is_silent(found: Probed | RefusedProbe) -> bool:
    return isinstance(found, Probed) and any(
        each.reason is UnreachableReason.TIMED_OUT for each in found.observation.failures
    )


def _left(deadline: float) -> float:
    """Return the seconds until a monotonic time, as people like to read them."""
    return round(max(0.0, deadline - time.monotonic()), 3)


def _badness(fetched: Fetched) -> int:
    return fetched.answer.status if isinstance(fetched.answer, Response) else 1000


def _is_good(answer: Response | NoResponse, module: Module) -> bool:
    return isinstance(answer, Response) and (not module.wants_2xx or 200 <= answer.status < 300)


def _asked(steps: Sequence[_Step]) -> Asked:
    """Return the results of all requests: the last answer, and the time that all of them took."""
    seconds = {"resolve": sum(each.lookup for each in steps)}
    fetched = [each.fetched for each in steps if each.fetched is not None]
    for phase in PHASES:
        took = [each.seconds[phase] for each in fetched if phase in each.seconds]
        if took:
            seconds[phase] = sum(took)
    last = steps[-1].fetched
    answer = NoResponse("no address presented anything") if last is None else last.answer
    return Asked(answer, sum(_location(each) is not None for each in steps), seconds)


def _judge(
    endpoint: Endpoint, observation: EndpointObservation, trust_context: TrustContext, now: float
) -> tuple[bool, tuple[tuple[Certificate, ...], ...]]:
    """Return whether every client accepts, and the paths that those verified who validate and do."""
    views = trust_context.views(endpoint.clients)
    elsewhere = tuple(trust_context.trusts.values())
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
