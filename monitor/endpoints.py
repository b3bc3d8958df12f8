"""Keeping vigil over endpoints: each at its own pace, a bounded number at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from config.model import Endpoint
from config.text import printable
from config.vocabulary import LookOutcome, TargetKind, UnreachableReason
from monitor.agenda import Agenda, spread
from monitor.beliefs import Beliefs
from monitor.errand import UNFORESEEN
from monitor.events import Looked
from monitor.known import Known, failure_of
from probes.assess import assess_endpoint
from probes.finding import Assessment
from probes.judge.source import UNREACHABLE_AFTER, judge_endpoint_source
from probes.observation import EndpointObservation, Unreachable
from probes.tls.drive import look

log = logging.getLogger("certvigil.endpoints")

LEAST_PAUSE = 1.0
"""Seconds between looks at an endpoint that does not answer, at least."""
SOON = 0.001
"""Seconds after a moment at which a verdict changes, to be on its far side."""


class EndpointVigil:
    """Looks at live endpoints."""

    def __init__(self, beliefs: Beliefs, worker: Executor, *, looked: Callable[[Looked], None]) -> None:
        self._beliefs = beliefs
        self._worker = worker
        self._looked = looked
        self._agenda = Agenda()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    def reconfigure(self) -> None:
        """Watch the endpoints that the configuration names, each looked at once soon.

        Looks under way are given up: they may be at where an endpoint was, or be judged as it was to be judged.
        """
        for task in self._under_way.values():
            task.cancel()
        self._under_way.clear()
        endpoints = self._beliefs.surroundings.config.endpoints
        for known in tuple(self._beliefs.known.values()):
            if known.kind is TargetKind.ENDPOINT and known.target not in endpoints:
                self._agenda.forget(known.target)
                self._beliefs.remove(known.target, time.time())
        now = time.monotonic()
        for endpoint in endpoints.values():
            location = printable(f"{endpoint.host}:{endpoint.port}")
            known = Known(endpoint.name, TargetKind.ENDPOINT, location, endpoint.component)
            self._beliefs.watch(known, time.time())
            self._agenda.schedule(endpoint.name, now)
        self._wake.set()

    def hasten(self, names: Iterable[str]) -> None:
        """Look at these endpoints as soon as there is room."""
        now = time.monotonic()
        for name in names:
            self._agenda.hasten(name, now)
        self._wake.set()

    async def run(self) -> None:
        """Keep vigil until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._start_what_is_due()
                await self._sleep()
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _start_what_is_due(self) -> None:
        config = self._beliefs.surroundings.config
        taken = time.monotonic()
        for name, lag in self._agenda.take(taken):
            while len(self._under_way) >= config.settings.concurrency:
                await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
            endpoint = self._beliefs.surroundings.config.endpoints.get(name)
            if endpoint is None:
                continue
            if name in self._under_way:
                self._agenda.schedule(name, time.monotonic() + endpoint.timeout)
                continue
            self._under_way[name] = asyncio.create_task(self._look(endpoint, lag + time.monotonic() - taken))

    async def _sleep(self) -> None:
        due = self._agenda.next()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, endpoint: Endpoint, lag: float) -> None:
        started = time.monotonic()
        outcome = LookOutcome.FAILED
        try:
            outcome = await self._look_and_learn(endpoint)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic in Rust is no Exception
            log.exception("looking at %s failed for no reason that was foreseen", endpoint.name)
            self._learn_of_failure(endpoint)
        finally:
            if self._under_way.get(endpoint.name) is asyncio.current_task():
                del self._under_way[endpoint.name]
            if self._beliefs.surroundings.config.endpoints.get(endpoint.name) is endpoint:
                self._agenda.hasten(endpoint.name, self._next_look(endpoint, started))
                self._wake.set()
        self._looked(Looked(endpoint.name, TargetKind.ENDPOINT, outcome, time.monotonic() - started, lag))

    async def _look_and_learn(self, endpoint: Endpoint) -> LookOutcome:
        now = time.time()
        observation = await look(endpoint, now)
        context = self._beliefs.endpoint_context(endpoint, failed=failure_of(observation) is not None)
        if not self._beliefs.is_news(observation, context, now):
            self._beliefs.looked_again(endpoint.name, now)
            return LookOutcome.UNCHANGED
        # A chain made to be costly to judge must not stall the loop.
        loop = asyncio.get_running_loop()
        assessment = await loop.run_in_executor(self._worker, assess_endpoint, observation, context, now)
        return self._beliefs.learn(observation, context, assessment, now)

    def _learn_of_failure(self, endpoint: Endpoint) -> None:
        """Let nothing known stand as if it had been seen again."""
        now = time.time()
        why = Unreachable(printable(endpoint.host), UnreachableReason.UNFORESEEN, UNFORESEEN)
        observation = EndpointObservation(endpoint.name, now, (), (why,))
        context = self._beliefs.endpoint_context(endpoint, failed=True)
        findings = judge_endpoint_source(observation, context.failures_in_a_row)
        self._beliefs.learn(observation, context, Assessment(tuple(findings)), now)

    def _next_look(self, endpoint: Endpoint, started: float) -> float:
        """Return the monotonic time of the next look: on the endpoint's own beat, or when its verdict may change.

        One that does not answer is looked at sooner until that is sure.
        """
        beat = started - started % endpoint.every + spread(endpoint.name, endpoint.every)
        while beat <= started + endpoint.every / 2:
            beat += endpoint.every
        known = self._beliefs.known.get(endpoint.name)
        if known is not None and known.pending:
            # A second look decides.
            beat = min(beat, started + LEAST_PAUSE + spread(endpoint.name, LEAST_PAUSE))
        elif known is not None and 0 < known.failures < UNREACHABLE_AFTER:
            pause = max(LEAST_PAUSE, endpoint.every / 5)
            beat = min(beat, started + pause / 2 + spread(endpoint.name, pause))
        until = self._beliefs.until(endpoint.name)
        if until is None:
            return beat
        return min(beat, time.monotonic() + max(0.0, until - time.time()) + SOON)
