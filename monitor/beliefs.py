"""All that is believed of the targets, in one place: it gives the context to judge in, learns, and publishes changes.

It lives on the event loop's thread and does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from config.model import Endpoint, FileTarget
from config.vocabulary import Code, FileRole, LookOutcome, Severity, TargetKind
from monitor.bus import Bus
from monitor.events import Event, TargetAdded, TargetRemoved
from monitor.known import Known, failure_of, learn, representative, waive
from monitor.surroundings import Surroundings
from probes.assess import EndpointContext, FileContext, file_facts
from probes.chain import find_leaf
from probes.finding import Assessment, Finding
from probes.judge.source import UNREACHABLE_AFTER
from probes.judge.state import OnDisk
from probes.observation import EndpointObservation, FileObservation, Presented

SELF = "certvigil"
"""The target that findings about certvigil itself belong to."""
WITH_LEAF: Final = (FileRole.CERTIFICATE, FileRole.COMBINED, FileRole.KEYSTORE)
"""Files of a component in which its own certificate is."""


class Page(Protocol):
    """Shows what is believed."""

    def update(self, known: Known) -> None:
        """Show `known` in place of what was believed of its target before."""

    def remove(self, target: str) -> None:
        """Show nothing of a target any more."""


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
        self._keys: dict[str, tuple[str, ...]] = {}
        self._bus = bus
        self._page = page

    def add(self, known: Known, now: float) -> None:
        """Watch a target that was not watched before."""
        self.remember(known)
        self._bus.publish([TargetAdded(known.target, now, known.kind, known.location, known.component)])

    def watch(self, known: Known, now: float) -> None:
        """Watch a target unless it is watched already; one of that name that was somewhere else is forgotten."""
        before = self.known.get(known.target)
        if before is None or (before.location, before.component) != (known.location, known.component):
            self.remove(known.target, now)
            self.add(known, now)

    def remember(self, known: Known) -> None:
        """Believe of a target what was believed before a restart."""
        if known.failure is not None and known.failures == 0:
            # How often it failed is not recorded, but that it was often enough is.
            critical = any(
                each.finding.code is Code.UNREACHABLE and each.finding.severity is Severity.CRITICAL
                for each in known.findings.values()
            )
            known = replace(known, failures=UNREACHABLE_AFTER if critical else 1)
        self.known[known.target] = known
        self._page.update(known)

    def remove(self, target: str, now: float) -> None:
        """Watch a target no longer."""
        if self.known.pop(target, None) is None:
            return
        for kept in (self._judged, self._keys):
            kept.pop(target, None)
        self._page.remove(target)
        self._bus.publish([TargetRemoved(target, now)])

    def file_context(self, target: FileTarget) -> FileContext:
        """Return what is needed to judge that file now."""
        known = self.known.get(target.name)
        keys = ""
        if target.component is not None and target.role in WITH_LEAF:
            keys = f"{target.component}/{FileRole.KEY if target.role is FileRole.CERTIFICATE else target.role}"
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
        last = known.addresses
        if not last and known.presented:
            last = (Presented(known.location, known.presented, "", "", ""),)
        return EndpointContext(
            endpoint,
            self.surroundings.views(endpoint.clients),
            elsewhere=tuple(self.surroundings.trusts.values()),
            on_disk=self._on_disk(endpoint.component),
            last_known=last if failed else (),
            failures_in_a_row=known.failures + 1 if failed else 0,
        )

    def _on_disk(self, component: str | None) -> OnDisk | None:
        if component is None:
            return None
        for role in WITH_LEAF:
            known = self.known.get(f"{component}/{role}")
            if known is not None and known.presented:
                grace = self.surroundings.config.components[component].not_served_after
                return OnDisk((find_leaf(known.presented),), known.since, grace, known.location)
        return None

    def is_news(self, observation: EndpointObservation, context: EndpointContext, now: float) -> bool:
        """Whether what was seen must be judged: it, its context or the time differ from when it was judged last."""
        judged = self._judged.get(observation.target)
        return (
            judged is None
            or (judged.until is not None and now >= judged.until)
            or judged.context != context
            or not isinstance(judged.observation, EndpointObservation)
            or judged.observation.presented != observation.presented
            or judged.observation.failures != observation.failures
        )

    def is_judged(self, context: FileContext, now: float) -> bool:
        """Whether the verdict on what was seen last still stands in `context`."""
        judged = self._judged.get(context.target.name)
        return judged is not None and (judged.until is None or now < judged.until) and judged.context == context

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
            identity, addresses = None, observation.presented
        else:
            presented = file_facts(observation, known.presented)
            identity, addresses = observation.identity, ()
            self._keys[target] = observation.keys
        self._judged[target] = _Judged(observation, context, assessment.until)
        self.known[target], events = learn(
            known, presented, assessment, failure_of(observation), now=now, identity=identity, addresses=addresses
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

    def about_self(self, findings: Iterable[Finding], now: float) -> None:
        """Believe exactly these findings of certvigil itself."""
        self.about(Known(SELF, TargetKind.SELF, SELF), findings, now)

    def about(
        self, target: Known, findings: Iterable[Finding], now: float, failure: tuple[str, str] | None = None
    ) -> None:
        """Believe exactly these findings of what presents no certificate; with `failure`, it could not be looked at."""
        name = target.target
        self.watch(target, now)
        assessment = waive(Assessment(tuple(findings)), name, self.surroundings.config.waivers, now)
        self.known[name], events = learn(self.known[name], (), assessment, failure, now=now)
        self._page.update(self.known[name])
        self._bus.publish(events)

    def tell(self, events: Sequence[Event]) -> None:
        """Publish what happened to targets that are watched."""
        self._bus.publish(events)
