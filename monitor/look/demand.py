"""Looks that somebody asks for at `/probe`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from math import inf
from typing import Final

from config.address import is_dns_name, is_ip_address, join_address
from config.immutable import immutable
from config.model import Config, Endpoint, FileTarget
from config.probing import DEFAULT_MODULE, ProbeModule
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import FileRole, ProbeKind, UnreachableReason
from monitor.look.demand_files import look_at_files
from monitor.look.demand_places import ProbeAddress, RefusedProbe, location_of, place_of, redirect_of
from monitor.look.slots import Places
from monitor.metrics.probed import PHASES, Asked, Probed, ProbedFiles
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate
from probes.file import look_into
from probes.finding import Edge
from probes.http.drive import Fetched, fetch
from probes.http.exchange import NoResponse, Response
from probes.http.url import MOST_REDIRECTS
from probes.judge.client import judge_chain, leaf_first
from probes.observation import EndpointObservation, Unreachable
from probes.tls.dialogue import DialogueWithin
from probes.tls.drive import converse_with, handshake_with, look, resolve
from probes.tls.own_files import own_files
from probes.tls.preamble.dialogue import UNMET
from probes.tls.preamble.talk import Declined


@immutable
class ProbeRequest:
    """What is asked for."""

    target: str
    """Empty where the request names none."""
    module: str = DEFAULT_MODULE
    """Its name."""
    hostname: str | None = None
    """The name that is asked for and verified, where it is not that of the target."""
    seconds: float = inf
    """Its time limit."""


class Prober:
    """Looks where it is asked to, and is allowed to, a bounded number of times at once."""

    def __init__(self, worker: Executor, files: Executor, at_once: int) -> None:
        """Judge in `worker`, and read files in `files`, which a large directory may hold up."""
        self._worker = worker
        self._files = files
        self._at_once = at_once
        self._places = Places(at_once)
        self._reading = asyncio.Lock()

    def reconfigure(self, at_once: int) -> None:
        """Look at so many places at once from now on."""
        if at_once != self._at_once:
            self._at_once = at_once
            self._places.resize(at_once)

    async def probe(self, request: ProbeRequest, trust_context: TrustContext) -> Probed | ProbedFiles | RefusedProbe:
        """Return what is found."""
        asked_at = time.monotonic()
        modules = trust_context.config.settings.probe_modules
        module = modules.get(request.module)
        if module is None:
            known = ", ".join(modules)
            return RefusedProbe(
                f"there is no module {printable(request.module, 60)}, expected {known}", is_mistake=True
            )
        target = module.target or request.target
        if not target:
            return RefusedProbe("the parameter target is missing", is_mistake=True)
        if request.hostname is not None and not (is_dns_name(request.hostname) or is_ip_address(request.hostname)):
            return RefusedProbe("hostname is neither a DNS name nor an IP address", is_mistake=True)
        seconds = request.seconds if module.timeout is None else min(request.seconds, module.timeout)
        if module.kind in {ProbeKind.FILE, ProbeKind.KUBECONFIG}:
            return await self._look_at_files(target, module.kind, trust_context.config, seconds)
        place = place_of(target, module, trust_context)
        if isinstance(place, RefusedProbe):
            return place
        place = replace(place, endpoint=_as_asked(place.endpoint, module, request.hostname))
        name = join_address(place.endpoint.host, place.endpoint.port)
        try:
            return await self._places.take(
                name, lambda: self._probe(place, module, trust_context, asked_at + seconds), _is_silent
            )
        finally:
            self._places.forget_all_but(MOST_REMEMBERED)

    async def _look_at_files(
        self, target: str, kind: ProbeKind, config: Config, seconds: float
    ) -> ProbedFiles | RefusedProbe:
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None if seconds == inf else seconds):
                # One at a time, also where somebody has given up waiting: else work would pile up.
                await self._reading.acquire()
                work = loop.run_in_executor(self._files, look_at_files, target, kind, config, time.time())
                work.add_done_callback(lambda _done: self._reading.release())
                found = await asyncio.shield(work)
        except TimeoutError:
            return RefusedProbe(f"the files were not read within {seconds:g} s")
        if found is None:
            return RefusedProbe("neither a watch nor probe.files has such files")
        return ProbedFiles(kind, found, time.monotonic() - begun)

    async def _probe(
        self, place: ProbeAddress, module: ProbeModule, trust_context: TrustContext, latest: float
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
                onward = redirect_of(place, step.fetched, module, trust_context)
            if onward is None:
                break
            # Where it may not be followed, the redirect itself is the last answer, and no good one.
            place, step = onward, await self._step(onward, module, trust_context, deadline)
        if isinstance(first, RefusedProbe):
            return first
        asked = _asked(steps) if module.asks else None
        accepted = all(each.accepted for each in steps) and (asked is None or _is_good(asked.answer, module))
        in_body = None
        if module.kind is ProbeKind.HTTP_FILE:
            in_body = await self._certificates_in(asked.answer if asked is not None and accepted else None)
        return Probed(
            module.called,
            first.observation,
            first.paths,
            accepted and in_body != (),
            time.monotonic() - begun,
            first.lookup,
            asked,
            limit=deadline - begun,
            unmatched=any(each.unmatched for each in steps),
            in_body=in_body,
            log=tuple(line for each in steps for line in each.log),
        )

    async def _certificates_in(self, answer: Response | NoResponse | None) -> tuple[Certificate, ...]:
        """Return the certificates in the body of an answer; none where it is no good answer."""
        if not isinstance(answer, Response) or not answer.body:
            return ()
        target = FileTarget("body", "", FileRole.LISTED)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._worker, partial(look_into, answer.body, target, 0.0))
        return () if found.failure is not None else found.certificates

    async def _step(
        self, place: ProbeAddress, module: ProbeModule, trust_context: TrustContext, deadline: float
    ) -> _Step | RefusedProbe:
        """Look at one place, and where the module wants that, ask there."""
        shown = place.endpoint.client_certificate if place.by_name else None
        endpoint = replace(place.endpoint, timeout=_left(deadline), client_certificate=shown)

        def permits(address: str) -> bool:
            if place.configured or endpoint.proxy is not None:
                # The address is the proxy's, and the name was permitted.
                return True
            reaches = trust_context.config.settings.probe
            return any(each.covers(address, endpoint.port) for each in reaches)

        if place.plain:
            return await self._plain_step(place, endpoint, permits)
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
            left, keeps = _left(deadline), module.kind is ProbeKind.HTTP_FILE
            asking = (
                fetch(each.address, endpoint, place.path, left, keeps_body=keeps) for each in observation.presented
            )
            fetched = max(await asyncio.gather(*asking), key=_badness)
        declined = await _say_within(module, endpoint, observation, _left(deadline))
        loop = asyncio.get_running_loop()
        edges, paths = await loop.run_in_executor(self._worker, _judge, endpoint, observation, trust_context, now)
        accepts = {each.client: each.accepted for each in edges}
        # A client whose trust store cannot be read makes nothing of it.
        verified = not module.verifies or all(accepts.get(name, False) for name in endpoint.clients)
        accepted = any(each.chain for each in observation.presented) and verified and not declined
        unmatched = bool(declined) or any(UNMET in each.detail for each in observation.failures)
        log = tuple(_told(endpoint, observation, edges, declined))
        return _Step(observation, accepted, paths, lookup, fetched, unmatched, log)

    async def _plain_step(
        self, place: ProbeAddress, endpoint: Endpoint, permits: Callable[[str], bool]
    ) -> _Step | RefusedProbe:
        """Ask at one place without TLS: at the first address, since what it hands out proves itself or nothing."""
        begun = time.monotonic()
        latest = asyncio.get_running_loop().time() + endpoint.timeout
        addresses = await resolve(endpoint.host, endpoint.timeout, latest)
        lookup = time.monotonic() - begun
        failures = (addresses,) if isinstance(addresses, Unreachable) else ()
        observation = EndpointObservation(endpoint.name, time.time(), (), failures)
        if isinstance(addresses, Unreachable):
            return _Step(observation, False, (), lookup, None, False, (addresses.detail,))
        if not all(map(permits, addresses)):
            return RefusedProbe(f"probe.allow does not have every address of {printable(endpoint.host)}")
        fetched = await fetch(addresses[0], endpoint, place.path, endpoint.timeout, keeps_body=True, secured=False)
        log = sentence("{}: asked without TLS", harmless(addresses[0]))
        return _Step(observation, True, (), lookup, fetched, False, (log,))


def _as_asked(endpoint: Endpoint, module: ProbeModule, hostname: str | None) -> Endpoint:
    """Return `endpoint` with the name and the protocol of the module, or of the request."""
    return replace(
        endpoint,
        server_name=module.server_name or hostname or endpoint.server_name,
        protocol=module.protocol or endpoint.protocol,
        dialogue=module.before,
    )


async def _say_within(
    module: ProbeModule, endpoint: Endpoint, observation: EndpointObservation, seconds: float
) -> tuple[Printable, ...]:
    """Lead the dialogue of a module within TLS at each address, and return why it failed where it did."""
    if not module.within:
        return ()
    deadline = asyncio.get_running_loop().time() + seconds
    own = await own_files(endpoint, deadline)

    async def declined(address: Printable) -> Printable | None:
        def begin() -> DialogueWithin:
            return DialogueWithin(handshake_with(endpoint, address, own, goes_on=True), module.within)

        dialogue, _ = await converse_with(endpoint, address, begin, deadline)
        outcome = dialogue.end()
        return sentence("{}: the server {}", address, harmless(outcome.why)) if isinstance(outcome, Declined) else None

    found = await asyncio.gather(*(declined(each.address) for each in observation.presented))
    return tuple(each for each in found if each is not None)


def _told(
    endpoint: Endpoint, observation: EndpointObservation, edges: Iterable[Edge], declined: Iterable[Printable]
) -> Iterator[Printable]:
    """Yield what happened, for whoever asks with `debug=true`."""
    yield sentence("{}, asked for {}", printable(endpoint.name), printable(endpoint.verified_name))
    for each in observation.presented:
        count, version, cipher = len(each.chain), printable(each.version), printable(each.cipher)
        yield sentence("{}: {} certificates, {}, {}", each.address, count, version, cipher)
    for failure in observation.failures:
        yield sentence("{}: {}: {}", failure.address, failure.reason, failure.detail)
    for edge in edges:
        verdict = Printable("accepts") if edge.accepted else sentence("rejects: {}", edge.why or Printable(""))
        yield sentence("the client {} {}", printable(edge.client), verdict)
    yield from declined


MOST_REMEMBERED: Final = 10_000
"""Places that are remembered as unanswered."""


@immutable
class _Step:
    """The result at one place of a chain of redirects."""

    observation: EndpointObservation
    accepted: bool
    paths: tuple[tuple[Certificate, ...], ...]
    lookup: float
    """Seconds that its name took to be resolved."""
    fetched: Fetched | None
    """None where nobody was asked."""
    unmatched: bool
    """Whether a server did not say what the module expects."""
    log: tuple[Printable, ...]


def _is_silent(found: Probed | RefusedProbe) -> bool:
    return isinstance(found, Probed) and any(
        each.reason is UnreachableReason.TIMED_OUT for each in found.observation.failures
    )


def _left(deadline: float) -> float:
    """Return the seconds until a monotonic time, as people like to read them."""
    return round(max(0.0, deadline - time.monotonic()), 3)


def _badness(fetched: Fetched) -> int:
    return fetched.answer.status if isinstance(fetched.answer, Response) else 1000


def _is_good(answer: Response | NoResponse, module: ProbeModule) -> bool:
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
    return Asked(answer, sum(location_of(each.fetched) is not None for each in steps), seconds)


def _judge(
    endpoint: Endpoint, observation: EndpointObservation, trust_context: TrustContext, now: float
) -> tuple[tuple[Edge, ...], tuple[tuple[Certificate, ...], ...]]:
    """Return the verdict of each client, and the paths that those verified who validate and accept."""
    views = trust_context.views(endpoint.clients)
    elsewhere = tuple(trust_context.trusts.values())
    chains = tuple(dict.fromkeys(leaf_first(each.chain) for each in observation.presented if each.chain))
    if not chains:
        return (), ()
    edges = tuple(assess_endpoint(observation, EndpointContext(endpoint, views, elsewhere), now).edges)
    accepted = {each.client: each.accepted for each in edges}
    paths = dict.fromkeys(
        judge_chain(chain, view, now, elsewhere).path
        for view in views
        if view.client.validates and accepted[view.client.name]
        for chain in chains
    )
    return edges, tuple(paths)
