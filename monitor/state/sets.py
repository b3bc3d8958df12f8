"""The state of the sets of components: the files of a component are read together, and judged once at rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import printable
from config.vocabulary import Code, FileRole
from monitor.state.events import StateEvent
from monitor.state.pending import awaits_writers
from monitor.state.registry import TargetRegistry
from monitor.state.target import Raised, TargetState, failure_of, learn, waive
from monitor.state.trust import TrustContext
from probes.assess import file_facts, is_faulty
from probes.assess_set import WITH_LEAF, LiveEndpoint, SetContext, judge_unrest, leaf_target
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Assessment
from probes.set import SetReading

_OF_ONE_FILE: Final = frozenset(
    {
        *(Code.UNREADABLE, Code.NO_CERTIFICATE, Code.EXPIRED, Code.EXPIRING, Code.NOT_YET_VALID),
        *(Code.VALIDITY_TOO_LONG, Code.WEAK_KEY, Code.KEYS_UNREAD, Code.DEFAULT_CERTIFICATE),
    }
)
"""Findings that follow from one file alone, without the others of its set."""
_OF_READING: Final = frozenset({Code.UNREADABLE, Code.KEYS_UNREAD})
"""Findings about a file that could not be read."""
_DURING_UNREST: Final = frozenset({Code.UNSETTLED, Code.KEY_EXPOSED})
"""Findings about a set to which somebody writes without a pause."""


@immutable
class _JudgedSet:
    """The last reading of a set that was judged, and the context of the verdict."""

    reading: SetReading
    trust_context: TrustContext
    context: SetContext
    until: float | None


class SetRegistry:
    """The sets of components in the registry."""

    def __init__(self, registry: TargetRegistry) -> None:
        self.registry = registry
        self._judged: dict[str, _JudgedSet] = {}
        """By component."""
        self._at_rest: dict[str, TargetState] = {}
        """The state of each member of a set to which somebody is writing, as it was judged last."""
        self._unsure: set[str] = set()
        """Components with files that may have changed unseen."""
        self._outdated: set[str] = set()
        """Components whose certificate on disk cannot be read now, so that only an earlier one is known."""
        self._whole_since: dict[str, float] = {}
        """Unix time since when nothing is pending about the set of a component."""
        self._last_whole: dict[str, Certificate] = {}
        """The leaf of the set of each component when nothing was pending about it last."""
        registry.on_removal(lambda target: self._at_rest.pop(target, None))

    # The verdict

    def context(self, component: str, targets: Sequence[FileTarget]) -> SetContext:
        """Return the context for a verdict on the set of a component now."""
        live: list[LiveEndpoint] = []
        for name in self.registry.config.components[component].endpoints:
            endpoint, state = self.registry.config.endpoints[name], self.registry.targets.get(name)
            if state is not None and state.failure is None and state.addresses:
                accepting = frozenset(edge.client for edge in state.edges if edge.accepted)
                served = tuple(dict.fromkeys(each.chain for each in state.addresses if each.chain))
                live.append(
                    LiveEndpoint(endpoint, self.registry.trust_context.views(endpoint.clients), accepting, served)
                )
        return SetContext(
            tuple(targets),
            {each.name: self.registry.trust_context.store_view(each.trust_store) for each in targets},
            tuple(live),
            tuple(self.registry.trust_context.trusts.values()),
            {
                each.name: self.registry.targets[each.name].presented
                for each in targets
                if each.name in self.registry.targets
            },
            self.registry.revocations.about(
                self.registry.targets[each.name].presented for each in targets if each.name in self.registry.targets
            ),
        )

    def is_judged(self, component: str, reading: SetReading, context: SetContext, now: float) -> bool:
        """Whether the verdict on the set of a component still stands."""
        judged = self._verdict(component)
        return (
            judged is not None
            and judged.reading.observations == reading.observations
            and judged.reading.unsure == reading.unsure
            and judged.context == context
            and (judged.until is None or now < judged.until)
            and not any(
                each.name in self._at_rest or self.registry.targets[each.name].pending for each in context.targets
            )
        )

    def until(self, component: str) -> float | None:
        """Return the Unix time at which the verdict on a set may change by itself, None for never."""
        judged = self._verdict(component)
        return judged.until if judged else None

    def _verdict(self, component: str) -> _JudgedSet | None:
        """Return the last verdict on a set; None where the trust context has changed since, or there is no verdict."""
        judged = self._judged.get(component)
        return judged if judged is not None and judged.trust_context is self.registry.trust_context else None

    def forget_verdicts(self) -> None:
        """Judge every set again, since the verdicts were by another clock."""
        self._judged.clear()

    def pending_until(self, component: str) -> float | None:
        """Return the Unix time at which a pending finding about a component is told, None without any."""
        patience = self.registry.config.settings.pending
        since = [
            raised.since + patience
            for role in FileRole
            # Time alone does not decide about these findings.
            if component not in self._unsure and (state := self.registry.targets.get(f"{component}/{role}")) is not None
            for raised in state.pending.values()
        ]
        return min(since, default=None)

    def forget(self, component: str) -> None:
        """Forget the set of a component that is watched no longer, or has other files."""
        self._judged.pop(component, None)
        self._whole_since.pop(component, None)
        self._last_whole.pop(component, None)
        self._unsure.discard(component)
        self._outdated.discard(component)

    # The disk, as `monitor.state.endpoints` compares it with the endpoints

    def is_whole(self, component: str) -> bool:
        """Whether the set of a component is at rest, and nothing is pending about it."""
        names, targets = [f"{component}/{role}" for role in FileRole], self.registry.targets
        return not any(name in self._at_rest or (name in targets and targets[name].pending) for name in names)

    def is_certain(self, component: str) -> bool:
        """Whether it is known which certificate lies on the disk now."""
        return component not in self._unsure | self._outdated

    def since(self, component: str, leaf: TargetState) -> float:
        """Return the Unix time since when neither the file with that leaf nor the set has changed."""
        return max(leaf.since, self._whole_since.get(component, 0.0))

    def leaf_on_disk(self, component: str) -> TargetState | None:
        """Return the state of the file with the leaf of a component; None where no such file is watched."""
        names = (f"{component}/{role}" for role in WITH_LEAF)
        return next((self.registry.targets[name] for name in names if name in self.registry.targets), None)

    # Changes by a reading

    def glimpse(self, reading: SetReading, assessments: Mapping[str, Assessment], now: float) -> bool:
        """Show the facts of a set to which somebody is writing; return whether they have changed.

        The verdict, and with it every event, is that of the last time that the set was at rest.
        """
        changed = False
        for observation in reading.observations:
            target, state = observation.target, self.registry.targets[observation.target]
            self._at_rest.setdefault(target, state)
            presented = file_facts(observation, state.presented)
            changed |= presented != state.presented or observation.identity != state.identity
            self.registry.update(
                replace(
                    state,
                    presented=presented,
                    since=state.since if presented == state.presented else now,
                    expiry=assessments[target].expiry,
                    identity=observation.identity,
                    failure=failure_of(observation),
                    last_look=now,
                    keystore=observation.keystore or state.keystore,
                )
            )
        return changed

    def learn(
        self,
        component: str,
        reading: SetReading,
        context: SetContext,
        assessments: Mapping[str, Assessment],
        now: float,
        *,
        restless: bool = False,
    ) -> bool:
        """Take up a reading of a set and the verdict on it; return whether that is a change.

        Of a `restless` set, that nobody leaves alone, nothing waits for a writer.
        """
        until = min((each.until for each in assessments.values() if each.until is not None), default=None)
        self._judged.pop(component, None)
        if not restless:
            terms = replace(context, last_known={})
            self._judged[component] = _JudgedSet(reading, self.registry.trust_context, terms, until)
        (self._unsure.add if reading.unsure else self._unsure.discard)(component)
        leaf = leaf_target(context.targets)
        faulty = {each.target for each in reading.observations if is_faulty(each)}
        outdated = leaf is not None and leaf.name in faulty
        (self._outdated.add if outdated else self._outdated.discard)(component)
        waits = self._awaits_clock if restless else self._waits(component, now)
        was_whole = self.is_whole(component)
        events: list[StateEvent] = []
        for observation in reading.observations:
            target, glimpsed = observation.target, self.registry.targets[observation.target]
            state = self._at_rest.pop(target, glimpsed)
            presented = file_facts(observation, state.presented)
            assessment = waive(assessments[target], target, self.registry.config.waivers, now)
            if reading.unsure:
                assessment = _upheld(state, assessment, sure=target not in reading.unsure)
            elif presented is not observation.certificates:
                assessment = _with_old_mismatch(state, assessment)
            new, found = learn(
                state,
                presented,
                assessment,
                failure_of(observation),
                now=now,
                identity=observation.identity,
                seen_at=glimpsed.since if presented == glimpsed.presented != state.presented else None,
                waits=partial(_stays_pending, state) if reading.unsure else waits,
                keystore=observation.keystore,
                lists=observation.lists,
                file_format=observation.format,
            )
            self.registry.update(new)
            events += found
        if self.is_whole(component):
            if not was_whole:
                self._whole_since[component] = now
            self._note_whole(component)
        self.registry.publish(events)
        return bool(events)

    def note_unrest(
        self, component: str, context: SetContext, assessments: Mapping[str, Assessment], now: float
    ) -> None:
        """Take note that the set of a component does not come to rest; the verdict on it stays as it was.

        That a key is exposed is so whatever is written next, and is published.
        """
        leaf = leaf_target(context.targets)
        events: list[StateEvent] = []
        for target in context.targets:
            state = self._at_rest.get(target.name, self.registry.targets[target.name])
            found = [each.finding for each in state.findings.values() if each.finding.code not in _DURING_UNREST]
            found += [each for each in assessments[target.name].findings if each.code is Code.KEY_EXPOSED]
            if target is leaf:
                found.append(judge_unrest(printable(component)))
            assessment = Assessment(tuple(found), state.edges, state.expiry)
            new, changed = learn(
                state,
                state.presented,
                assessment,
                state.failure,
                now=now,
                identity=state.identity,
                keystore=state.keystore,
            )
            self._at_rest[target.name] = new
            self.registry.update(replace(self.registry.targets[target.name], findings=new.findings))
            events += changed
        self.registry.publish(events)

    def _awaits_clock(self, raised: Raised) -> bool:
        return self.registry.clock.awaits(raised.finding)

    def _waits(self, component: str, now: float) -> Callable[[Raised], bool]:
        config = self.registry.config
        endpoints = [
            self.registry.targets[name]
            for name in config.components[component].endpoints
            if name in self.registry.targets
        ]
        patience, last_whole = config.settings.pending, self._last_whole.get(component)
        return lambda raised: (
            self.registry.clock.awaits(raised.finding) or awaits_writers(raised, endpoints, now, patience, last_whole)
        )

    def _note_whole(self, component: str) -> None:
        on_disk = self.leaf_on_disk(component)
        if on_disk is not None and on_disk.presented:
            self._last_whole[component] = find_leaf(on_disk.presented)


def _upheld(state: TargetState, assessment: Assessment, *, sure: bool) -> Assessment:
    """Return the verdict on a member of a set, some of whose files could not be seen.

    Facts of two moments together prove nothing, neither that something is wrong nor that it is right again. So only
    findings on the file itself are new, where it is `sure`, and the finding that others were not read.
    """
    new = _OF_ONE_FILE if sure else _OF_READING
    found = tuple(each for each in assessment.findings if each.code in new)
    stood = [each.finding for each in (*state.findings.values(), *state.pending.values())]
    kept = tuple(each for each in stood if each.code not in new)
    return replace(
        assessment, findings=(*found, *kept), edges=state.edges, expiry=assessment.expiry if sure else state.expiry
    )


def _with_old_mismatch(state: TargetState, assessment: Assessment) -> Assessment:
    """Return the verdict on a file whose certificates cannot be read now: an earlier `key_mismatch` stays."""
    kept = [each.finding for each in state.findings.values() if each.finding.code is Code.KEY_MISMATCH]
    return replace(assessment, findings=(*assessment.findings, *kept))


def _stays_pending(state: TargetState, raised: Raised) -> bool:
    return (raised.finding.code, raised.finding.subject) in state.pending
