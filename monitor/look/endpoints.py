"""Looking at endpoints: each at its own pace, independent of the others, and a bounded number at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from concurrent.futures import Executor

from config.model import Endpoint
from config.text import Log, harmless, printable
from config.vocabulary import Code, LookOutcome, TargetKind, UnreachableReason
from monitor.host.schedule import spread
from monitor.host.systemd import starting_for
from monitor.look.crowded import try_lists
from monitor.look.job import UNFORESEEN
from monitor.look.rounds import Rounds
from monitor.look.slots import Places
from monitor.state import pending
from monitor.state.bus import Bus
from monitor.state.endpoints import EndpointRegistry
from monitor.state.messages import ArtefactsChanged, ClockStepped, Looked, ServiceTouched
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from probes.assess import assess_endpoint
from probes.finding import Assessment
from probes.judge.source import judge_endpoint_source
from probes.observation import EndpointObservation, Unreachable
from probes.tls.drive import look

log: Log = logging.getLogger("certvigil.endpoints")

SECOND_LOOK = 1.0
"""Seconds from a failed look to the next, until it is sure that the endpoint does not answer. The pause is at least as
long, and less than twice as long: each endpoint has its own, so that looks are spread."""
_OF_DARKNESS = 4
"""The part of the time for which an endpoint is dark, or a finding pending, that may pass until it is looked at again.
"""
_OF_A_START = frozenset(
    {
        UnreachableReason.CONNECTION_REFUSED,
        UnreachableReason.CONNECTION_CLOSED,
        UnreachableReason.TIMED_OUT,
        UnreachableReason.HANDSHAKE_FAILED,
        UnreachableReason.NOT_TLS,
        UnreachableReason.TLS_DECLINED,
    }
)
"""How a server fails that is starting or stopping."""
SOON = 0.001
"""Seconds after a moment at which a verdict changes, to be on its far side."""


class EndpointMonitor:
    """Looks at endpoints."""

    def __init__(self, endpoints: EndpointRegistry, bus: Bus, worker: Executor) -> None:
        """Judge in `worker`."""
        self._endpoints = endpoints
        self._registry = endpoints.registry
        self._bus = bus
        self._worker = worker
        self._rounds = Rounds(self._begin, self._timeout)
        self._places = Places(self._registry.config.settings.concurrency)
        self._at_once = self._registry.config.settings.concurrency
        self._grounds: dict[str, _Grounds] = {}
        """On which each endpoint is looked at and judged."""
        self._first_looks: dict[str, float] | None = None
        """Endpoints of the start whose first look is not over; the monotonic time at which its time limit runs out."""

    @property
    def unseen(self) -> int:
        """The number of endpoints of the start that have neither answered yet nor used up their time limit."""
        now = time.monotonic()
        return sum(limit > now for limit in (self._first_looks or {}).values())

    def reconfigure(self) -> None:
        """Watch the endpoints that the configuration names.

        One that is new, or is to be looked at or judged otherwise than before, is looked at as soon as there is a
        place, and its look under way is given up. All others keep their beat.
        """
        trust_context = self._registry.trust_context
        endpoints = trust_context.config.endpoints
        if trust_context.config.settings.concurrency != self._at_once:
            self._at_once = trust_context.config.settings.concurrency
            self._places.resize(self._at_once)
        for state in tuple(self._registry.targets.values()):
            if state.kind is TargetKind.ENDPOINT and state.target not in endpoints:
                self._forget(state.target)
        before, self._grounds = self._grounds, {each.name: _grounds(each, trust_context) for each in endpoints.values()}
        for name, endpoint in endpoints.items():
            if self._grounds[name] == before.get(name):
                continue
            self._give_up(name)
            location = printable(f"{endpoint.host}:{endpoint.port}")
            known = TargetState(name, TargetKind.ENDPOINT, location, endpoint.component, labels=endpoint.labels)
            self._registry.watch(known, time.time())
            self._rounds.hasten([name])
        if self._first_looks is None:
            now = time.monotonic()
            self._first_looks = {each.name: now + each.timeout for each in endpoints.values()}

    def _forget(self, name: str) -> None:
        self._give_up(name)
        self._rounds.forget(name)
        self._seen(name)
        self._registry.remove(name, time.time())

    def _give_up(self, name: str) -> None:
        """End the look under way: it may be at where an endpoint was, or be judged as it was to be judged."""
        self._places.forget(name)
        self._rounds.give_up(name)

    def _seen(self, name: str) -> None:
        if self._first_looks is not None:
            self._first_looks.pop(name, None)

    def hasten(self, names: Iterable[str]) -> None:
        """Look at these endpoints as soon as there is room."""
        self._rounds.hasten(names)

    def clock_stepped(self, _: ClockStepped) -> None:
        """Look at all endpoints as soon as there is room: the verdicts were by another clock."""
        self._endpoints.forget_verdicts()
        self.hasten(self._registry.config.endpoints)

    def component_touched(self, message: ArtefactsChanged | ServiceTouched) -> None:
        """Look at the endpoints of a component as soon as there is room."""
        if isinstance(message, ArtefactsChanged):
            self._endpoints.note_touched(message.component, time.time())
        component = self._registry.config.components.get(message.component)
        if component is not None:
            self.hasten(component.endpoints)

    async def run(self) -> None:
        """Look at endpoints when they are due, until cancelled."""
        await self._rounds.run()

    def _begin(self, name: str, due: float) -> Coroutine[None, None, None] | None:
        endpoint = self._registry.config.endpoints.get(name)
        return None if endpoint is None else self._look(endpoint, due)

    def _timeout(self, name: str) -> float:
        """Return the seconds after which a look under way will be over."""
        endpoint = self._registry.config.endpoints.get(name)
        return 0.0 if endpoint is None else endpoint.timeout

    async def _look(self, endpoint: Endpoint, due: float) -> None:
        """Look at an endpoint that is due since monotonic time `due`."""
        begun = Begun()
        outcome = LookOutcome.FAILED
        try:
            outcome = await self._look_and_learn(endpoint, begun)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic in Rust is no Exception
            log.exception("looking at %s failed for no foreseen reason", harmless(endpoint.name))
            self._learn_of_failure(endpoint)
        finally:
            if self._rounds.is_current(endpoint.name):
                self._rounds.hasten([endpoint.name], self._next_look(endpoint, begun.at))
        self._seen(endpoint.name)
        seconds = time.monotonic() - begun.at
        self._bus.send(Looked(endpoint.name, TargetKind.ENDPOINT, outcome, seconds, begun.first - due))

    async def _look_and_learn(self, endpoint: Endpoint, begun: Begun) -> LookOutcome:
        async def begin() -> tuple[EndpointObservation, float]:
            begun.now()
            now = time.time()
            return await look(endpoint, now), now

        observation, now = await self._places.take(endpoint.name, begin, lambda found: is_silent(found[0]))
        await self._ask_unit(endpoint, observation, now)
        await try_lists(self._registry, [each.chain for each in observation.presented], self._worker)
        context = self._endpoints.context(endpoint, observation)
        if not self._endpoints.is_news(observation, context, now):
            self._registry.looked_again(endpoint.name, now)
            return LookOutcome.UNCHANGED
        # A chain made to be costly to judge must not stall the loop.
        loop = asyncio.get_running_loop()
        assessment = await loop.run_in_executor(self._worker, assess_endpoint, observation, context, now)
        return self._endpoints.learn(observation, context, assessment, now)

    async def _ask_unit(self, endpoint: Endpoint, observation: EndpointObservation, now: float) -> None:
        """Ask systemd whether the service behind an endpoint is on its way to answer, before people are told.

        It is on its way for no longer than its own time limit, from when the endpoint went dark.
        """
        component = self._registry.config.components.get(endpoint.component or "")
        service = None if component is None else component.service
        progress = None if service is None else service.progress
        if progress is None or observation.presented:
            return
        told = any(code is Code.UNREACHABLE for code, _ in self._registry.targets[endpoint.name].findings)
        if told or not all(each.reason in _OF_A_START for each in observation.failures):
            return
        dark_for = self._endpoints.dark_for(endpoint.name, now) or 0.0
        left = await asyncio.to_thread(starting_for, progress, dark_for, pending.RESTART)
        if self._rounds.is_current(endpoint.name):
            self._endpoints.note_starting(endpoint.name, now + left)

    def _learn_of_failure(self, endpoint: Endpoint) -> None:
        """Note that the endpoint could not be looked at, so that its state does not look up to date."""
        now = time.time()
        why = Unreachable(printable(endpoint.host), UnreachableReason.UNFORESEEN, harmless(UNFORESEEN))
        observation = EndpointObservation(endpoint.name, now, (), (why,))
        context = self._endpoints.context(endpoint, observation)
        findings = judge_endpoint_source(observation, context.failures_in_a_row)
        self._endpoints.learn(observation, context, Assessment(tuple(findings)), now)

    def _next_look(self, endpoint: Endpoint, begun: float) -> float:
        """Return the monotonic time of the next look: on the endpoint's own beat, or when its verdict may change.

        One that does not answer is looked at again soon, since it may only be starting anew; the longer it is dark, the
        later: nobody should be told for long that it is dark once it answers. So it is with a finding that is pending.
        """
        beat = begun - begun % endpoint.every + spread(endpoint.name, endpoint.every)
        while beat <= begun + endpoint.every / 2:
            beat += endpoint.every
        state = self._registry.targets.get(endpoint.name)
        dark_for = self._endpoints.dark_for(endpoint.name, time.time())
        if state is not None and (state.pending or dark_for is not None):
            lasting = max(dark_for or 0.0, *(time.time() - each.since for each in state.pending.values()), 0.0)
            pause = max(SECOND_LOOK + spread(endpoint.name, SECOND_LOOK), lasting / _OF_DARKNESS)
            beat = min(beat, time.monotonic() + pause)
        until = self._endpoints.until(endpoint.name)
        if until is None:
            return beat
        return min(beat, time.monotonic() + max(0.0, until - time.time()) + SOON)


def is_silent(observation: EndpointObservation) -> bool:
    """Whether some address let all the time pass without an answer."""
    return any(each.reason is UnreachableReason.TIMED_OUT for each in observation.failures)


class Begun:
    """When a look began, which may be twice; monotonic times; the present one is taken before the look begins."""

    def __init__(self) -> None:
        self.first = self.at = time.monotonic()
        self._begun = False

    def now(self) -> None:
        """Note that it begins."""
        self.at = time.monotonic()
        if not self._begun:
            self.first, self._begun = self.at, True


_Grounds = tuple[object, ...]


def _grounds(endpoint: Endpoint, trust_context: TrustContext) -> _Grounds:
    """Return all settings for an endpoint's looks and verdicts."""
    config = trust_context.config
    return (
        endpoint,
        trust_context.views(endpoint.clients),
        # They explain why a client does not trust a chain.
        tuple(trust_context.trusts.values()),
        config.components.get(endpoint.component or ""),
        tuple(each for each in config.waivers if each.target == endpoint.name),
    )
