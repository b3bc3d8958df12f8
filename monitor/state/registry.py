"""The state of every target in one place; a change of a state is published as events.

It lives on the event loop's thread and does no I/O. How a look changes a state depends on the kind of target:
`monitor.state.files`, `monitor.state.sets`, `monitor.state.endpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from config.model import Config
from config.vocabulary import Code, Severity
from monitor.state.bus import Bus
from monitor.state.events import StateEvent, TargetAdded, TargetRemoved
from monitor.state.pending import ClockSteps
from monitor.state.revocation import KnownRevocations
from monitor.state.target import Raised, TargetState, learn, waive
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.finding import Assessment, Finding
from probes.judge.source import UNREACHABLE_AFTER


class PageSink(Protocol):
    """Shows the targets."""

    def update(self, state: TargetState) -> None:
        """Show `state` in place of the earlier state of its target."""

    def remove(self, target: str) -> None:
        """Show nothing of a target any more."""


class TargetRegistry:
    """The state of every target, by name, and the trust context in which all of them are judged."""

    def __init__(self, trust_context: TrustContext, bus: Bus, page: PageSink) -> None:
        self.trust_context = trust_context
        self.targets: dict[str, TargetState] = {}
        self._bus = bus
        self._page = page
        self.revocations = KnownRevocations(self._anchors)
        self.clock = ClockSteps()
        self._forgets: list[Callable[[str], object]] = []

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.trust_context.config

    def _anchors(self) -> Iterator[Certificate]:
        for each in self.trust_context.trusts.values():
            yield from each.anchors

    def location(self, target: str) -> str:
        """Return the path or the address of a target; empty for one that is watched no longer."""
        state = self.targets.get(target)
        return state.location if state is not None else ""

    def on_removal(self, forget: Callable[[str], object]) -> None:
        """Call `forget` with the name of each target that is watched no longer."""
        self._forgets.append(forget)

    def add(self, state: TargetState, now: float) -> None:
        """Watch a target that was not watched before."""
        self.remember(state)
        self._bus.publish([TargetAdded(state.target, now, state.kind, state.location, state.component)])

    def watch(self, state: TargetState, now: float) -> None:
        """Watch a target unless it is watched already; one of that name that was somewhere else is forgotten.

        Its labels are those given.
        """
        before = self.targets.get(state.target)
        if before is None or (before.location, before.component) != (state.location, state.component):
            self.remove(state.target, now)
            self.add(state, now)
        elif before.labels != state.labels:
            self.update(replace(before, labels=state.labels))

    def remember(self, state: TargetState) -> None:
        """Take up the state of a target from before a restart."""
        if state.failure is not None and state.failures == 0:
            # How often it failed is not recorded, but that it was often enough is.
            critical = any(
                each.finding.code is Code.UNREACHABLE and each.finding.severity is Severity.CRITICAL
                for each in state.findings.values()
            )
            state = replace(state, failures=UNREACHABLE_AFTER if critical else 1)
        self.update(state)

    def remove(self, target: str, now: float) -> None:
        """Watch a target no longer."""
        if self.targets.pop(target, None) is None:
            return
        for forget in self._forgets:
            forget(target)
        self.revocations.note(target, ())
        self._page.remove(target)
        self._bus.publish([TargetRemoved(target, now)])

    def update(self, state: TargetState) -> None:
        """Put a state in place of the earlier one of its target; its events are yet to be published."""
        self.targets[state.target] = state
        self.revocations.note(state.target, state.lists)
        self._page.update(state)

    def looked_again(self, target: str, now: float) -> None:
        """Note a look that saw nothing new."""
        self.update(replace(self.targets[target], last_look=now))

    def about(
        self,
        target: TargetState,
        findings: Iterable[Finding],
        now: float,
        failure: tuple[str, str] | None = None,
        *,
        waits: Callable[[Raised], bool] = lambda _raised: False,
    ) -> None:
        """Give exactly these findings to a target without certificates; with `failure`, it could not be looked at.

        A finding that is new and `waits` is pending.
        """
        name = target.target
        self.watch(target, now)
        assessment = waive(Assessment(tuple(findings)), name, self.config.waivers, now)
        state, events = learn(self.targets[name], (), assessment, failure, now=now, waits=waits)
        self.update(state)
        self.publish(events)

    def publish(self, events: Sequence[StateEvent]) -> None:
        """Publish the events of watched targets, where there are any."""
        if events:
            self._bus.publish(events)
