"""All that is believed of the targets, in one place: it gives the context to judge in, learns, and publishes changes.

It lives on the event loop's thread and does no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from config.model import Endpoint, FileTarget
from config.text import printable
from config.vocabulary import Code, FileRole, LookOutcome, Severity, TargetKind
from monitor.state.bus import Bus
from monitor.state.events import Event, TargetAdded, TargetRemoved
from monitor.state.pending import AGAIN, Darkness, awaits_rest, awaits_second_look, awaits_writers
from monitor.state.target import Raised, TargetState, failure_of, learn, representative, waive
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, FileContext, file_facts, is_faulty
from probes.assess_set import WITH_LEAF, LiveEndpoint, SetContext, judge_unrest, leaf_target
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Assessment, Finding
from probes.judge.source import UNREACHABLE_AFTER
from probes.judge.state import OnDisk
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.set import SetReading

_OF_ONE_FILE: Final = frozenset(
    {
        *(Code.UNREADABLE, Code.NO_CERTIFICATE, Code.EXPIRED, Code.EXPIRING, Code.NOT_YET_VALID),
        *(Code.VALIDITY_TOO_LONG, Code.WEAK_KEY, Code.KEYS_UNREAD),
    }
)
"""Findings that follow from one file, whatever the others of its set hold."""
_OF_BELIEF: Final = frozenset({Code.UNREADABLE, Code.KEYS_UNREAD})
"""Findings that say of a file itself that it is not read."""
SELF = "certvigil"
"""The target that findings about certvigil itself belong to."""


_DURING_UNREST: Final = frozenset({Code.UNSETTLED, Code.KEY_EXPOSED})
"""What is judged of a set that is written to without a pause."""


class PageSink(Protocol):
    """Shows what is believed."""

    def update(self, known: TargetState) -> None:
        """Show `known` in place of what was believed of its target before."""

    def remove(self, target: str) -> None:
        """Show nothing of a target any more."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the last look saw and was judged in, so that the same again costs nothing."""

    observation: FileObservation | EndpointObservation
    context: FileContext | EndpointContext
    until: float | None


@dataclass(frozen=True, slots=True)
class _JudgedSet:
    """What the last reading of a set saw and was judged in."""

    reading: SetReading
    context: SetContext
    until: float | None


@dataclass(frozen=True, slots=True)
class _Drift:
    """An endpoint serves another certificate than the one on disk."""

    since: float
    """Unix time."""
    served: tuple[Certificate, ...]


class TargetRegistry:
    """What is known of every target."""

    def __init__(self, trust_context: TrustContext, bus: Bus, page: PageSink) -> None:
        self.trust_context = trust_context
        self.known: dict[str, TargetState] = {}
        self._judged: dict[str, _Judged] = {}
        self._judged_sets: dict[str, _JudgedSet] = {}
        """By component."""
        self._at_rest: dict[str, TargetState] = {}
        """What was believed of each member of a set that is being written to, when it was judged last."""
        self._unsure: set[str] = set()
        """Components of whose files it cannot be seen whether they are others by now."""
        self._outdated: set[str] = set()
        """Components of which it is not known which certificate lies on the disk now, only which one did."""
        self._whole_since: dict[str, float] = {}
        """Unix time since when nothing is pending about the set of a component."""
        self._last_whole: dict[str, Certificate] = {}
        """The leaf of the set of each component when nothing was pending about it last."""
        self._dark: dict[str, float] = {}
        """Unix time since when an endpoint does not answer."""
        self._went_dark: dict[str, deque[float]] = {}
        """Unix times at which an endpoint last began not to answer."""
        self._drifts: dict[str, _Drift] = {}
        """By endpoint."""
        self._bus = bus
        self._page = page

    def add(self, known: TargetState, now: float) -> None:
        """Watch a target that was not watched before."""
        self.remember(known)
        self._bus.publish([TargetAdded(known.target, now, known.kind, known.location, known.component)])

    def watch(self, known: TargetState, now: float) -> None:
        """Watch a target unless it is watched already; one of that name that was somewhere else is forgotten."""
        before = self.known.get(known.target)
        if before is None or (before.location, before.component) != (known.location, known.component):
            self.remove(known.target, now)
            self.add(known, now)

    def remember(self, known: TargetState) -> None:
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
        for kept in (self._judged, self._at_rest, self._drifts, self._dark, self._went_dark):
            kept.pop(target, None)
        self._page.remove(target)
        self._bus.publish([TargetRemoved(target, now)])

    def file_context(self, target: FileTarget) -> FileContext:
        """Return what is needed to judge a file that is no component's now."""
        known = self.known.get(target.name)
        return FileContext(
            target,
            view=self.trust_context.store_view(target.trust_store),
            last_known=known.presented if known else (),
        )

    def set_context(self, component: str, targets: Sequence[FileTarget]) -> SetContext:
        """Return what is needed to judge the set of a component now."""
        live: list[LiveEndpoint] = []
        for name in self.trust_context.config.components[component].endpoints:
            endpoint, known = self.trust_context.config.endpoints[name], self.known.get(name)
            if known is not None and known.failure is None and known.addresses:
                accepting = frozenset(edge.client for edge in known.edges if edge.accepted)
                served = tuple(dict.fromkeys(each.chain for each in known.addresses if each.chain))
                live.append(LiveEndpoint(endpoint, self.trust_context.views(endpoint.clients), accepting, served))
        return SetContext(
            tuple(targets),
            {each.name: self.trust_context.store_view(each.trust_store) for each in targets},
            tuple(live),
            tuple(self.trust_context.trusts.values()),
            {each.name: self.known[each.name].presented for each in targets if each.name in self.known},
        )

    def endpoint_context(self, endpoint: Endpoint, *, failed: bool) -> EndpointContext:
        """Return what is needed to judge that endpoint now, after a look that `failed` or not."""
        known = self.known[endpoint.name]
        last = known.addresses
        if not last and known.presented:
            last = (Presented(known.location, known.presented, "", "", ""),)
        return EndpointContext(
            endpoint,
            self.trust_context.views(endpoint.clients),
            elsewhere=tuple(self.trust_context.trusts.values()),
            on_disk=self._on_disk(known),
            last_known=last if failed else (),
            failures_in_a_row=known.failures + 1 if failed else 0,
        )

    def _on_disk(self, endpoint: TargetState) -> OnDisk | None:
        """Return what the component of an endpoint has on disk, and since when that is not what it serves."""
        component = endpoint.component
        known = self._leaf_on_disk(component) if component is not None else None
        if component is None or known is None or not known.presented:
            return None
        leaf = find_leaf(known.presented)
        grace = self.trust_context.config.components[component].not_served_after
        told = [each.since for (code, _), each in endpoint.findings.items() if code is Code.NOT_SERVED]
        unknown = component in self._unsure | self._outdated
        if not told and (unknown or not self._is_whole(component)):
            # What is not whole yet is not to be served, nor what may lie on the disk no longer.
            return None
        since = self._since(component, known)
        if endpoint.presented and leaf in endpoint.presented:
            self._drifts.pop(endpoint.target, None)
            return OnDisk((leaf,), since, grace, known.location)
        drift = self._drifts.get(endpoint.target)
        if drift is None:
            drift = _Drift(min(told) - grace if told else since, endpoint.presented)
        elif drift.served != endpoint.presented:
            # It took up what lay there meanwhile: only what came after that is not served.
            drift = _Drift(max(since, endpoint.since), endpoint.presented)
        self._drifts[endpoint.target] = drift
        return OnDisk((leaf,), drift.since, grace, known.location)

    def _is_whole(self, component: str) -> bool:
        """Whether the set of a component is at rest, and nothing is pending about it."""
        names = [f"{component}/{role}" for role in FileRole]
        return not any(name in self._at_rest or (name in self.known and self.known[name].pending) for name in names)

    def _since(self, component: str, on_disk: TargetState) -> float:
        return max(on_disk.since, self._whole_since.get(component, 0.0))

    def _leaf_on_disk(self, component: str) -> TargetState | None:
        names = (f"{component}/{role}" for role in WITH_LEAF)
        return next((self.known[name] for name in names if name in self.known), None)

    def is_news(self, observation: EndpointObservation, context: EndpointContext, now: float) -> bool:
        """Whether what was seen must be judged: it, its context or the time differ from when it was judged last."""
        judged = self._judged.get(observation.target)
        return (
            judged is None
            # A second look decides.
            or bool(self.known[observation.target].pending)
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
        left_alone: float = float("inf"),
    ) -> LookOutcome:
        """Believe what was seen and the verdict on it; publish what that changes.

        `left_alone` is for how many seconds nobody has written to a file.
        """
        target = observation.target
        assessment = waive(assessment, target, self.trust_context.config.waivers, now)
        known = self.known[target]
        waits: Callable[[Raised], bool]
        if isinstance(observation, EndpointObservation):
            presented = representative(observation.presented) or known.presented
            waits = partial(self._awaits_look, known=known, changed=presented != known.presented, now=now)
            identity, addresses = None, observation.presented
            if observation.presented:
                self._dark.pop(target, None)
            elif target not in self._dark:
                self._dark[target] = now
                self._went_dark.setdefault(target, deque(maxlen=AGAIN)).append(now)
        else:
            settle = self.trust_context.config.settings.settle
            waits = partial(awaits_rest, left_alone=left_alone, settle=settle, now=now)
            presented = file_facts(observation, known.presented)
            # Where it held none of what is believed of it, it is read again, never judged by that.
            identity, addresses = observation.identity if observation.certificates else None, ()
        self._judged[target] = _Judged(observation, context, assessment.until)
        self.known[target], events = learn(
            known,
            presented,
            assessment,
            failure_of(observation),
            now=now,
            identity=identity,
            addresses=addresses,
            waits=waits,
        )
        self._page.update(self.known[target])
        self._bus.publish(events)
        if self.known[target].failure is not None:
            return LookOutcome.FAILED
        return LookOutcome.CHANGED if events else LookOutcome.UNCHANGED

    def is_set_judged(self, component: str, reading: SetReading, context: SetContext, now: float) -> bool:
        """Whether the verdict on the set of a component still stands."""
        judged = self._judged_sets.get(component)
        return (
            judged is not None
            and judged.reading.observations == reading.observations
            and judged.reading.unsure == reading.unsure
            and judged.context == context
            and (judged.until is None or now < judged.until)
            and not any(each.name in self._at_rest or self.known[each.name].pending for each in context.targets)
        )

    def glimpse_set(self, reading: SetReading, assessments: Mapping[str, Assessment], now: float) -> bool:
        """Show the facts of a set that is being written to; return whether they are others than before.

        The verdict, and with it every event, is that of the last time that the set was at rest.
        """
        changed = False
        for observation in reading.observations:
            target, known = observation.target, self.known[observation.target]
            self._at_rest.setdefault(target, known)
            presented = file_facts(observation, known.presented)
            changed |= presented != known.presented or observation.identity != known.identity
            self.known[target] = replace(
                known,
                presented=presented,
                since=known.since if presented == known.presented else now,
                expiry=assessments[target].expiry,
                identity=observation.identity,
                failure=failure_of(observation),
                last_look=now,
            )
            self._page.update(self.known[target])
        return changed

    def learn_set(
        self,
        component: str,
        reading: SetReading,
        context: SetContext,
        assessments: Mapping[str, Assessment],
        now: float,
        *,
        restless: bool = False,
    ) -> bool:
        """Believe what was seen of a set and the verdict on it; return whether that is another than before.

        Of a `restless` set, that nobody leaves alone, nothing waits for a writer.
        """
        until = min((each.until for each in assessments.values() if each.until is not None), default=None)
        self._judged_sets.pop(component, None)
        if not restless:
            self._judged_sets[component] = _JudgedSet(reading, context, until)
        (self._unsure.add if reading.unsure else self._unsure.discard)(component)
        leaf = leaf_target(context.targets)
        faulty = {each.target for each in reading.observations if is_faulty(each)}
        outdated = leaf is not None and leaf.name in faulty
        (self._outdated.add if outdated else self._outdated.discard)(component)
        waits = _never if restless else self._waits(component, now)
        was_whole = self._is_whole(component)
        events: list[Event] = []
        for observation in reading.observations:
            target, glimpsed = observation.target, self.known[observation.target]
            known = self._at_rest.pop(target, glimpsed)
            presented = file_facts(observation, known.presented)
            assessment = waive(assessments[target], target, self.trust_context.config.waivers, now)
            if reading.unsure:
                assessment = _upheld(known, assessment, sure=target not in reading.unsure)
            elif presented is not observation.certificates:
                assessment = _with_old_mismatch(known, assessment)
            new, found = learn(
                known,
                presented,
                assessment,
                failure_of(observation),
                now=now,
                identity=observation.identity,
                seen_at=glimpsed.since if presented == glimpsed.presented != known.presented else None,
                waits=partial(_stays_pending, known) if reading.unsure else waits,
            )
            self.known[target] = new
            self._page.update(new)
            events += found
        if self._is_whole(component):
            if not was_whole:
                self._whole_since[component] = now
            self._note_whole(component)
        self._bus.publish(events)
        return bool(events)

    def note_unrest(
        self, component: str, context: SetContext, assessments: Mapping[str, Assessment], now: float
    ) -> None:
        """Believe that the set of a component does not come to rest; the verdict on it stays as it was.

        That a key is exposed is so whatever is written next, and is believed.
        """
        leaf = leaf_target(context.targets)
        events: list[Event] = []
        for target in context.targets:
            known = self._at_rest.get(target.name, self.known[target.name])
            found = [each.finding for each in known.findings.values() if each.finding.code not in _DURING_UNREST]
            found += [each for each in assessments[target.name].findings if each.code is Code.KEY_EXPOSED]
            if target is leaf:
                found.append(judge_unrest(printable(component)))
            assessment = Assessment(tuple(found), known.edges, known.expiry)
            new, changed = learn(known, known.presented, assessment, known.failure, now=now, identity=known.identity)
            self._at_rest[target.name] = new
            self.known[target.name] = replace(self.known[target.name], findings=new.findings)
            self._page.update(self.known[target.name])
            events += changed
        self._bus.publish(events)

    def _waits(self, component: str, now: float) -> Callable[[Raised], bool]:
        config = self.trust_context.config
        endpoints = [self.known[name] for name in config.components[component].endpoints if name in self.known]
        return partial(
            awaits_writers,
            endpoints=endpoints,
            now=now,
            patience=config.settings.pending,
            last_whole=self._last_whole.get(component),
        )

    def _note_whole(self, component: str) -> None:
        on_disk = self._leaf_on_disk(component)
        if on_disk is not None and on_disk.presented:
            self._last_whole[component] = find_leaf(on_disk.presented)

    def pending_until(self, component: str) -> float | None:
        """Return the Unix time at which what is pending about a component is told, None where nothing is."""
        patience = self.trust_context.config.settings.pending
        since = [
            raised.since + patience
            for role in FileRole
            # Nothing comes of what is pending there by time alone.
            if component not in self._unsure and (known := self.known.get(f"{component}/{role}")) is not None
            for raised in known.pending.values()
        ]
        return min(since, default=None)

    def _awaits_look(self, raised: Raised, known: TargetState, *, changed: bool, now: float) -> bool:
        """Whether a finding about an endpoint waits for another look, at the endpoint or at the files behind it.

        What is served is another than before where the files are, too: until these were read since, it proves nothing.
        """
        if raised.finding.code is not Code.NOT_SERVED:
            return self._awaits_second_look(raised, known, now)
        on_disk = self._leaf_on_disk(known.component) if known.component is not None else None
        return changed or on_disk is None or on_disk.last_look is None or on_disk.last_look < known.since

    def _awaits_second_look(self, raised: Raised, known: TargetState, now: float) -> bool:
        endpoints = self.trust_context.config.endpoints
        if known.target not in endpoints:
            return False
        # One server may have many names.
        dark = {(each.host, each.port): at for name, at in self._dark.items() if (each := endpoints.get(name))}
        darkness = Darkness(tuple(dark.values()), tuple(self._went_dark.get(known.target, ())))
        return awaits_second_look(raised, known, endpoints[known.target].every, darkness, now)

    def until(self, target: str) -> float | None:
        """Return the Unix time at which the verdict on a target may change by itself, None for never."""
        judged = self._judged.get(target)
        return judged.until if judged else None

    def forget_set(self, component: str) -> None:
        """Remember nothing of the set of a component that is watched no longer, or has other files."""
        self._judged_sets.pop(component, None)
        self._whole_since.pop(component, None)
        self._last_whole.pop(component, None)
        self._unsure.discard(component)
        self._outdated.discard(component)

    def set_until(self, component: str) -> float | None:
        """Return the Unix time at which the verdict on a set may change by itself, None for never."""
        judged = self._judged_sets.get(component)
        return judged.until if judged else None

    def reconsider(self) -> None:
        """Judge everything anew at its next look: the trust context has changed."""
        self._judged.clear()
        self._judged_sets.clear()

    def about_self(self, findings: Iterable[Finding], now: float) -> None:
        """Believe exactly these findings of certvigil itself."""
        self.about(TargetState(SELF, TargetKind.SELF, SELF), findings, now)

    def about(
        self,
        target: TargetState,
        findings: Iterable[Finding],
        now: float,
        failure: tuple[str, str] | None = None,
        *,
        waits: Callable[[Raised], bool] = lambda _raised: False,
    ) -> None:
        """Believe exactly these findings of what presents no certificate; with `failure`, it could not be looked at.

        A finding that is new and `waits` is pending.
        """
        name = target.target
        self.watch(target, now)
        assessment = waive(Assessment(tuple(findings)), name, self.trust_context.config.waivers, now)
        self.known[name], events = learn(self.known[name], (), assessment, failure, now=now, waits=waits)
        self._page.update(self.known[name])
        self._bus.publish(events)

    def tell(self, events: Sequence[Event]) -> None:
        """Publish what happened to targets that are watched."""
        self._bus.publish(events)


def _never(_raised: Raised) -> bool:
    return False


def _upheld(known: TargetState, assessment: Assessment, *, sure: bool) -> Assessment:
    """Return the verdict that stands on a member of a set of which not every file could be seen.

    Facts of two moments together prove nothing, neither that something is wrong nor that it is right again. So new is
    only what follows from the file itself, where it is `sure`, and that others were not read.
    """
    new = _OF_ONE_FILE if sure else _OF_BELIEF
    found = tuple(each for each in assessment.findings if each.code in new)
    stood = [each.finding for each in (*known.findings.values(), *known.pending.values())]
    kept = tuple(each for each in stood if each.code not in new)
    return replace(
        assessment, findings=(*found, *kept), edges=known.edges, expiry=assessment.expiry if sure else known.expiry
    )


def _with_old_mismatch(known: TargetState, assessment: Assessment) -> Assessment:
    """Return the verdict on a file whose certificates cannot be read now: a mismatch of key that is known stands."""
    kept = [each.finding for each in known.findings.values() if each.finding.code is Code.KEY_MISMATCH]
    return replace(assessment, findings=(*assessment.findings, *kept))


def _stays_pending(known: TargetState, raised: Raised) -> bool:
    return (raised.finding.code, raised.finding.subject) in known.pending
