"""The state of endpoints: the context for a verdict, and the changes by a look.

An endpoint is compared with the files of its component, and its failures with those of other endpoints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from config.immutable import immutable
from config.model import Endpoint
from config.text import harmless
from config.vocabulary import Code, LookOutcome
from monitor.state.events import SupportedChanged
from monitor.state.pending import EXPECTED, REMEMBERED, SURE, Darkness, awaits_second_look
from monitor.state.sets import SetRegistry
from monitor.state.sharing import KeyIndex, index_of
from monitor.state.target import Raised, TargetState, failure_of, learn, representative, waive
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Assessment, Finding
from probes.judge.sharing import SharingServer
from probes.judge.state import OnDisk
from probes.judge.tls import SUPPORTED
from probes.observation import EndpointObservation, Presented
from probes.ocsp import possible_issuers
from probes.tls.support import Supported


@immutable
class _JudgedEndpoint:
    """The last look that was judged, and the context of the verdict, so that an equal look costs nothing."""

    observation: EndpointObservation
    trust_context: TrustContext
    context: EndpointContext
    until: float | None


@immutable
class _Drift:
    """An endpoint serves another certificate than the one on disk."""

    since: float
    """Unix time."""
    served: tuple[Certificate, ...]


class EndpointRegistry:
    """The endpoints in the registry."""

    def __init__(self, sets: SetRegistry) -> None:
        """Compare served certificates with those on disk, which `sets` has."""
        self.registry = sets.registry
        self._sets = sets
        self._judged: dict[str, _JudgedEndpoint] = {}
        self._dark: dict[str, float] = {}
        """Unix time since when an endpoint does not answer."""
        self._went_dark: dict[str, deque[float]] = {}
        """Unix times at which an endpoint last began not to answer, unexpectedly."""
        self._touched: dict[str, float] = {}
        """By component: the Unix time at which its files were last seen to change."""
        self._starting: dict[str, float] = {}
        """By endpoint: the Unix time until which the unit of its service may be on its way to answer."""
        self._drifts: dict[str, _Drift] = {}
        """By endpoint."""
        self._index: KeyIndex | None = None
        """Of the keys that endpoints present; None before the first look, when the remembered ones are known."""
        self.registry.on_removal(self._forget)

    @property
    def _keys(self) -> KeyIndex:
        if self._index is None:
            self._index = index_of(self.registry.targets, self.registry.config)
        return self._index

    def _forget(self, target: str) -> None:
        if self._index is not None:
            self._index.forget(target)
        for kept in (self._judged, self._drifts, self._dark, self._went_dark, self._starting):
            kept.pop(target, None)

    # The verdict

    def context(self, endpoint: Endpoint, observation: EndpointObservation) -> EndpointContext:
        """Return the context for a verdict on this look at an endpoint."""
        failed = failure_of(observation) is not None
        state = self.registry.targets[endpoint.name]
        last = state.addresses
        if not last and state.presented:
            last = (Presented(harmless(state.location), state.presented, "", "", ""),)
        return EndpointContext(
            endpoint,
            self.registry.trust_context.views(endpoint.clients),
            elsewhere=tuple(self.registry.trust_context.trusts.values()),
            on_disk=self._on_disk(state),
            last_known=last if failed else (),
            failures_in_a_row=state.failures + 1 if failed else 0,
            just_went_dark=failed and self._just_went_dark(state, observation.at),
            sharing=self._sharing(endpoint, observation),
            supported=None if endpoint.supported_every is None else state.supported,
            revocation=self.registry.revocations.about(each.chain for each in observation.presented or last),
        )

    def _just_went_dark(self, state: TargetState, now: float) -> bool:
        # Where it is not known since when, that was before a restart of the daemon.
        dark_for = self.dark_for(state.target, now) if state.failures else 0.0
        return dark_for is not None and dark_for < SURE

    def dark_for(self, target: str, now: float) -> float | None:
        """Return for how many seconds an endpoint has not answered; None where it answers or nobody knows."""
        since = self._dark.get(target)
        return None if since is None else now - since

    def note_touched(self, component: str, now: float) -> None:
        """Note that the files of a component were seen to change: its service will be restarted."""
        self._touched[component] = now

    def forget_verdicts(self) -> None:
        """Judge every endpoint again, since the verdicts were by another clock."""
        self._judged.clear()

    def note_starting(self, target: str, until: float) -> None:
        """Note until when the unit behind an endpoint may be on its way to answer: a Unix time that may be past."""
        self._starting[target] = until

    def _is_expected(self, endpoint: str, at: float) -> bool:
        """Whether an endpoint may not answer since then: its unit starts, or its component's files just changed."""
        if at < self._starting.get(endpoint, 0.0):
            return True
        touched = self._touched.get(self.registry.targets[endpoint].component or "")
        return touched is not None and touched - EXPECTED <= at <= touched + EXPECTED

    def _sharing(self, endpoint: Endpoint, observation: EndpointObservation) -> tuple[SharingServer, ...]:
        leaves = tuple(dict.fromkeys(each.chain[0] for each in observation.presented if each.chain))
        # Where it does not answer, its last ones are believed.
        if leaves:
            self._keys.note(endpoint.name, leaves, self.registry.config)
        return self._keys.sharing(endpoint, self.registry.config)

    def _on_disk(self, endpoint: TargetState) -> OnDisk | None:
        """Return the leaf on disk of the component of an endpoint, and since when the endpoint serves another."""
        component = endpoint.component
        state = self._sets.leaf_on_disk(component) if component is not None else None
        if component is None or state is None or not state.presented:
            return None
        leaf = find_leaf(state.presented)
        grace = self.registry.config.components[component].not_served_after
        told = [each.since for (code, _), each in endpoint.findings.items() if code is Code.NOT_SERVED]
        if not told and not (self._sets.is_certain(component) and self._sets.is_whole(component)):
            # A set that is not whole yet need not be served, nor a certificate that may be gone from the disk.
            return None
        since = self._sets.since(component, state)
        if endpoint.presented and leaf in endpoint.presented:
            self._drifts.pop(endpoint.target, None)
            return OnDisk((leaf,), since, grace, state.location, state.since)
        drift = self._drifts.get(endpoint.target)
        if drift is None:
            drift = _Drift(min(told) - grace if told else since, endpoint.presented)
        elif drift.served != endpoint.presented:
            # The service took up an earlier certificate meanwhile: only the later one is not served.
            drift = _Drift(max(since, endpoint.since), endpoint.presented)
        self._drifts[endpoint.target] = drift
        return OnDisk((leaf,), drift.since, grace, state.location, state.since)

    def is_news(self, observation: EndpointObservation, context: EndpointContext, now: float) -> bool:
        """Whether a look must be judged: the facts, the context or the time differ from those of the last verdict."""
        judged = self._verdict(observation.target)
        return (
            judged is None
            # A second look decides.
            or bool(self.registry.targets[observation.target].pending)
            or (judged.until is not None and now >= judged.until)
            or judged.context != context
            or judged.observation.presented != observation.presented
            or judged.observation.failures != observation.failures
        )

    def until(self, target: str) -> float | None:
        """Return the Unix time at which the verdict on an endpoint may change by itself, None for never."""
        judged = self._verdict(target)
        return judged.until if judged else None

    def _verdict(self, target: str) -> _JudgedEndpoint | None:
        """Return the last verdict on an endpoint; None where the trust context has changed since, or without any."""
        judged = self._judged.get(target)
        return judged if judged is not None and judged.trust_context is self.registry.trust_context else None

    # Changes by a look

    def learn(
        self, observation: EndpointObservation, context: EndpointContext, assessment: Assessment, now: float
    ) -> LookOutcome:
        """Take up a look and the verdict on it, and publish the changes."""
        registry, target = self.registry, observation.target
        assessment = waive(assessment, target, registry.config.waivers, now)
        assessment = replace(assessment, findings=(*assessment.findings, *self._found_before(target)))
        self._judged[target] = _JudgedEndpoint(observation, registry.trust_context, context, assessment.until)
        self._note_darkness(observation, now)
        state = replace(registry.targets[target], went_dark=tuple(self._went_dark.get(target, ())))
        presented = representative(observation.presented) or state.presented
        new, events = learn(
            state,
            presented,
            assessment,
            failure_of(observation),
            now=now,
            addresses=observation.presented,
            issuers=_issuers(observation, context),
            waits=partial(self._awaits_look, state=state, changed=presented != state.presented, now=now),
        )
        registry.update(new)
        registry.publish(events)
        if new.failure is not None:
            return LookOutcome.FAILED
        return LookOutcome.CHANGED if events else LookOutcome.UNCHANGED

    def _found_before(self, target: str) -> Iterator[Finding]:
        """Yield what was found in all that an endpoint takes before a restart, until it is asked again."""
        state, endpoint = self.registry.targets[target], self.registry.config.endpoints.get(target)
        if state.supported is None and endpoint is not None and endpoint.supported_every is not None:
            yield from (each.finding for (_, subject), each in state.findings.items() if subject == SUPPORTED)

    def take_up(self, target: str, supported: Supported) -> bool:
        """Note everything that an endpoint takes; whether its verdict may be another by that.

        An inquiry that is not complete takes nothing back of one that was.
        """
        state = self.registry.targets[target]
        before = state.supported
        if not supported.versions or (supported.unclear and before is not None and not before.unclear):
            return False
        self._now_takes(state, supported, supported.at)
        return supported != before

    def forget_supported(self, target: str, now: float) -> None:
        """Know nothing any more of what an endpoint takes, where it is watched yet."""
        state = self.registry.targets.get(target)
        if state is not None and state.supported is not None:
            self._now_takes(state, None, now)

    def _now_takes(self, state: TargetState, supported: Supported | None, now: float) -> None:
        self.registry.update(replace(state, supported=supported))
        self.registry.publish([SupportedChanged(state.target, now, supported)])

    def _note_darkness(self, observation: EndpointObservation, now: float) -> None:
        target = observation.target
        if observation.presented:
            self._dark.pop(target, None)
            self._starting.pop(target, None)
        elif target not in self._dark:
            before = self._dark_before_start(target)
            self._dark[target] = now if before is None else before
            if before is None and not self._is_expected(target, now):
                self._went_dark.setdefault(target, deque(maxlen=REMEMBERED)).append(now)

    def _dark_before_start(self, target: str) -> float | None:
        """Return since when an endpoint did not answer before the daemon's start; None where it did, or was looked at.

        Else a server that is dark for days would be one that just went dark, at the second look after a restart.
        """
        state = self.registry.targets[target]
        if state.last_look is not None or state.failure is None:
            return None
        return min((each.since for (code, _), each in state.findings.items() if code is Code.UNREACHABLE), default=None)

    def _awaits_look(self, raised: Raised, state: TargetState, *, changed: bool, now: float) -> bool:
        """Whether a finding about an endpoint waits for another look, at the endpoint or at the files behind it.

        What is served is another than before where the files are, too: until these were read since, it proves nothing.
        """
        if self.registry.clock.awaits(raised.finding):
            return True
        if raised.finding.code is not Code.NOT_SERVED:
            return self._awaits_second_look(raised, state, now)
        on_disk = self._sets.leaf_on_disk(state.component) if state.component is not None else None
        return changed or on_disk is None or on_disk.last_look is None or on_disk.last_look < state.since

    def _awaits_second_look(self, raised: Raised, state: TargetState, now: float) -> bool:
        endpoints = self.registry.config.endpoints
        if state.target not in endpoints:
            return False
        # One server may have many names.
        dark = {(each.host, each.port): at for name, at in self._dark.items() if (each := endpoints.get(name))}
        expected = self._is_expected(state.target, raised.since)
        before, starting = tuple(self._went_dark.get(state.target, ())), self._starting.get(state.target, 0.0)
        darkness = Darkness(tuple(dark.values()), before, expected, starting)
        return awaits_second_look(raised, state, endpoints[state.target].every, darkness, now)


def _issuers(observation: EndpointObservation, context: EndpointContext) -> tuple[Certificate, ...]:
    """Return the CAs by which a staple of the addresses may be verified: a server need not send them."""
    anchors = [anchor for view in context.views for anchor in view.trust.anchors]
    stapled = (each for each in observation.presented if each.staple)
    return tuple(dict.fromkeys(issuer for each in stapled for issuer in possible_issuers(each.chain, anchors)))
