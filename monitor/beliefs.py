"""All that is believed of the targets, in one place: it gives the context to judge in, learns, and publishes changes.

It lives on the event loop's thread and does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from config.model import Client, Config, Endpoint, FileTarget
from config.vocabulary import Code, FileRole, LookOutcome, TargetKind
from monitor.bus import Bus
from monitor.events import TargetAdded, TargetRemoved
from monitor.known import Known, failure_of, learn, representative, waive
from probes.assess import EndpointContext, FileContext, file_facts
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Assessment, Finding
from probes.judge.client import View
from probes.judge.state import OnDisk
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.trust import Trust

SELF = "certvigil"
"""The target that findings about certvigil itself belong to."""


class Page(Protocol):
    """Shows what is believed."""

    def update(self, known: Known) -> None:
        """Show `known` in place of what was believed of its target before."""

    def remove(self, target: str) -> None:
        """Show nothing of a target any more."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the configuration says, and what the files that its trust stores and clients name were read to hold."""

    config: Config
    trusts: Mapping[str, Trust]
    held: Mapping[str, tuple[Certificate, ...]]
    """Intermediates that each client holds itself."""

    def views(self, clients: Iterable[str]) -> tuple[View, ...]:
        """Return the view of each of those clients whose trust store could be read."""
        chosen = (self.config.clients[name] for name in clients)
        return tuple(
            View(client, self.trusts[client.trusts], self.held.get(client.name, ()))
            for client in chosen
            if client.trusts in self.trusts
        )

    def store_view(self, store: str | None) -> View | None:
        """Return the view of a plain client with nothing but that trust store."""
        trust = self.trusts.get(store) if store else None
        return View(Client(trust.name, trust.name), trust) if trust else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the last look saw and was judged in, so that the same again costs nothing."""

    observation: FileObservation | EndpointObservation
    context: FileContext | EndpointContext
    until: float | None


class Beliefs:
    """What is known of every target."""

    def __init__(self, surroundings: Surroundings, bus: Bus, page: Page) -> None:
        self.surroundings = surroundings
        self.known: dict[str, Known] = {}
        self._judged: dict[str, _Judged] = {}
        self._last_presented: dict[str, tuple[Presented, ...]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._bus = bus
        self._page = page

    def add(self, known: Known, now: float) -> None:
        """Watch a target that was not watched before."""
        self.remember(known)
        self._bus.publish([TargetAdded(known.target, now, known.kind, known.location, known.component)])

    def remember(self, known: Known) -> None:
        """Believe of a target what was believed before a restart."""
        self.known[known.target] = known
        self._page.update(known)

    def remove(self, target: str, now: float) -> None:
        """Watch a target no longer."""
        if self.known.pop(target, None) is None:
            return
        for kept in (self._judged, self._last_presented, self._keys):
            kept.pop(target, None)
        self._page.remove(target)
        self._bus.publish([TargetRemoved(target, now)])

    def file_context(self, target: FileTarget) -> FileContext:
        """Return what is needed to judge that file now."""
        known = self.known.get(target.name)
        keys = ""
        if target.component is not None and target.role in {FileRole.CERTIFICATE, FileRole.COMBINED}:
            keys = f"{target.component}/{FileRole.KEY if target.role is FileRole.CERTIFICATE else FileRole.COMBINED}"
        return FileContext(
            target,
            view=self.surroundings.store_view(target.trust_store),
            keys=self._keys.get(keys, ()),
            keys_where=self.known[keys].location if keys in self.known else "",
            last_known=known.presented if known else (),
        )

    def endpoint_context(self, endpoint: Endpoint, *, failed: bool) -> EndpointContext:
        """Return what is needed to judge that endpoint now, after a look that `failed` or not."""
        known = self.known[endpoint.name]
        last = self._last_presented.get(endpoint.name)
        if last is None and known.presented:
            last = (Presented(known.location, known.presented, "", "", ""),)
        return EndpointContext(
            endpoint,
            self.surroundings.views(endpoint.clients),
            elsewhere=tuple(self.surroundings.trusts.values()),
            on_disk=self._on_disk(endpoint.component),
            last_known=(last or ()) if failed else (),
            failures_in_a_row=known.failures + 1 if failed else 0,
        )

    def _on_disk(self, component: str | None) -> OnDisk | None:
        if component is None:
            return None
        for role in (FileRole.CERTIFICATE, FileRole.COMBINED):
            known = self.known.get(f"{component}/{role}")
            if known is not None and known.presented:
                grace = self.surroundings.config.components[component].not_served_after
                return OnDisk((find_leaf(known.presented),), known.since, grace, known.location)
        return None

    def is_news(
        self,
        observation: FileObservation | EndpointObservation,
        context: FileContext | EndpointContext,
        now: float,
    ) -> bool:
        """Whether what was seen must be judged: it, its context or the time differ from when it was judged last."""
        judged = self._judged.get(observation.target)
        return (
            judged is None
            or (judged.until is not None and now >= judged.until)
            or judged.context != context
            or replace(judged.observation, at=0.0) != replace(observation, at=0.0)
        )

    def looked_again(self, target: str, now: float) -> None:
        """Note a look that saw nothing new."""
        self.known[target] = known = replace(self.known[target], last_look=now)
        self._page.update(known)

    def learn(
        self,
        observation: FileObservation | EndpointObservation,
        context: FileContext | EndpointContext,
        assessment: Assessment,
        now: float,
    ) -> LookOutcome:
        """Believe what was seen and the verdict on it; publish what that changes."""
        target = observation.target
        assessment = waive(assessment, target, self.surroundings.config.waivers, now)
        known = self.known[target]
        if isinstance(observation, EndpointObservation):
            presented = representative(observation.presented) or known.presented
            identity = None
            if observation.presented:
                self._last_presented[target] = observation.presented
        else:
            presented = file_facts(observation, known.presented)
            identity = observation.identity
            self._keys[target] = observation.keys
        self._judged[target] = _Judged(observation, context, assessment.until)
        self.known[target], events = learn(
            known, presented, assessment, failure_of(observation), identity=identity, now=now
        )
        self._page.update(self.known[target])
        self._bus.publish(events)
        if self.known[target].failure is not None:
            return LookOutcome.FAILED
        return LookOutcome.CHANGED if events else LookOutcome.UNCHANGED

    def until(self, target: str) -> float | None:
        """Return the Unix time at which the verdict on a target may change by itself, None for never."""
        judged = self._judged.get(target)
        return judged.until if judged else None

    def reconsider(self) -> None:
        """Judge everything anew at its next look: the surroundings have changed."""
        self._judged.clear()

    def about_self(self, findings: Mapping[Code, Finding], now: float) -> None:
        """Believe exactly these findings of certvigil itself."""
        known = self.known.get(SELF)
        if known is None:
            self.add(Known(SELF, TargetKind.SELF, SELF), now)
            known = self.known[SELF]
        self.known[SELF], events = learn(known, (), Assessment(tuple(findings.values())), None, identity=None, now=now)
        self._page.update(self.known[SELF])
        self._bus.publish(events)

    def snapshot(self) -> Iterator[Known]:
        """Return everything believed, for a database that must be written anew."""
        return iter(tuple(self.known.values()))
