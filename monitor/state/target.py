"""The state of a target as a value, and the one place where a look turns into events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Final

from config.immutable import immutable
from config.label import Labels
from config.model import Waiver
from config.text import harmless, sentence
from config.vocabulary import Code, FileFormat, Severity, TargetKind, Verdict
from monitor.state.events import (
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    KeptVerdict,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
)
from probes.certificate import Certificate
from probes.finding import Assessment, Edge, Finding, verdict
from probes.judge.time import moment
from probes.keystore import Keystore
from probes.observation import EndpointObservation, FileIdentity, Observation, Presented
from probes.revocation.crl import RevocationList
from probes.tls.support import Supported

FindingKey = tuple[Code, str]


@immutable
class Raised:
    """A finding, and since when it is known."""

    finding: Finding
    since: float
    """Unix time."""


NO_FINDINGS: Final[Mapping[FindingKey, Raised]] = MappingProxyType({})


@immutable
class TargetState:
    """Everything that is known of one target."""

    target: str
    kind: TargetKind
    location: str
    """A path, or `host:port`."""
    component: str | None = None
    presented: tuple[Certificate, ...] = ()
    """The last known good: where the last look failed, a finding stands beside it."""
    since: float = 0.0
    """Unix time since when it presents these."""
    findings: Mapping[FindingKey, Raised] = field(default_factory=lambda: NO_FINDINGS)
    edges: tuple[Edge, ...] = ()
    expiry: int | None = None
    """Earliest end on the verified path, or of the presented certificates where nothing is verified; Unix time."""
    identity: FileIdentity | None = None
    kept: KeptVerdict | None = None
    """Of a file that its certificates alone tell of: the verdict, where it is remembered."""
    failures: int = 0
    """Looks that failed, in a row."""
    failure: tuple[str, str] | None = None
    """Reason and detail of the last look, where it failed."""
    last_look: float | None = None
    """Unix time; None before the first look of this run."""
    addresses: tuple[Presented, ...] = ()
    """Of an endpoint: the certificates of each address at the last look that was answered, in this run."""
    issuers: tuple[Certificate, ...] = ()
    """Of an endpoint: those in the trust stores of its clients that may have issued what these addresses present."""
    pending: Mapping[FindingKey, Raised] = field(default_factory=lambda: NO_FINDINGS)
    """Findings that may be a state between two writes or two looks: shown, and not told yet."""
    keystore: Keystore[Certificate] | None = None
    """Of a file that is one: its entries at the last look that could read them, in this run."""
    supported: Supported | None = None
    """Of an endpoint: everything that it takes, where it was asked for that."""
    lists: tuple[RevocationList, ...] = ()
    """Of a file: the revocation lists that it held at the last look that could read it, in this run."""
    labels: Labels = ()
    """By the configuration."""
    format: FileFormat | None = None
    """Of a file, at the last look of this run that read it."""
    went_dark: tuple[float, ...] = ()
    """Of an endpoint: the Unix times at which it last began not to answer, told or not, oldest first, in this run."""

    @property
    def up(self) -> bool | None:
        """Whether the last look gave facts; None before the first look."""
        return None if self.last_look is None else self.failure is None

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings; unknown before the first look."""
        return verdict((raised.finding for raised in self.findings.values()), known=self.last_look is not None)


def representative(presented: Sequence[Presented]) -> tuple[Certificate, ...]:
    """Return the chain that represents an endpoint: of the chains of its addresses, that whose leaf ends first."""
    chains = [each.chain for each in presented if each.chain]
    return min(chains, key=lambda chain: chain[0].not_after or 0) if chains else ()


def failure_of(observation: Observation) -> tuple[str, str] | None:
    """Return reason and detail where a look gave no facts; an endpoint fails where no address answers."""
    if isinstance(observation, EndpointObservation):
        if observation.presented or not observation.failures:
            return None
        return str(observation.failures[0].reason), observation.failures[0].detail
    return (str(observation.failure.reason), observation.failure.detail) if observation.failure else None


def learn(
    state: TargetState,
    presented: tuple[Certificate, ...],
    assessment: Assessment,
    failure: tuple[str, str] | None,
    *,
    now: float,
    identity: FileIdentity | None = None,
    addresses: tuple[Presented, ...] = (),
    seen_at: float | None = None,
    waits: Callable[[Raised], bool] = lambda _raised: False,
    keystore: Keystore[Certificate] | None = None,
    file_format: FileFormat | None = None,
    lists: tuple[RevocationList, ...] = (),
    issuers: tuple[Certificate, ...] = (),
    kept: KeptVerdict | None = None,
) -> tuple[TargetState, tuple[StateEvent, ...]]:
    """Return the state after a look at Unix time `now`, and each change as an event.

    The same facts and verdict again give no event. `seen_at` is when what is presented was seen first, where that was
    before it was judged. A finding that is new and `waits` is pending, which is no event. `keystore` is None where the
    file is none, or could not be read; `lists` are the revocation lists in it.
    `issuers` may have issued what `addresses` present. `kept` is the verdict as it is remembered, where nothing is
    pending.
    """
    standing, pending = _set_aside(state, assessment.findings, now, waits)
    findings, events = _compare(state, standing, now)
    # Not by replace(), which takes twice the time.
    new = TargetState(
        state.target,
        state.kind,
        state.location,
        state.component,
        presented,
        since=state.since if presented == state.presented else seen_at or now,
        addresses=addresses or state.addresses,
        issuers=issuers if addresses else state.issuers,
        findings=findings,
        edges=assessment.edges,
        expiry=assessment.expiry,
        identity=identity,
        kept=None if pending else kept,
        failures=state.failures + 1 if failure else 0,
        failure=failure,
        last_look=now,
        pending=pending,
        keystore=state.keystore if failure and keystore is None else keystore,
        supported=state.supported,
        lists=state.lists if failure and not lists else lists,
        labels=state.labels,
        went_dark=state.went_dark,
        format=file_format,
    )
    return new, (*_facts_changed(state, new, now), *events, *_judged(state, new, now))


def _facts_changed(old: TargetState, new: TargetState, now: float) -> Iterator[StateEvent]:
    if new.failure is not None and (old.failure is None or old.failure[0] != new.failure[0]):
        yield LookFailed(new.target, now, *new.failure)
    if new.failure is None and old.failure is not None:
        yield LookRecovered(new.target, now)
    if new.presented != old.presented:
        yield PresentedChanged(new.target, new.since, tuple(each.sha256 for each in old.presented), new.presented)


def _judged(old: TargetState, new: TargetState, now: float) -> Iterator[FileJudged]:
    if (new.identity, new.kept) != (old.identity, old.kept):
        yield FileJudged(new.target, now, new.identity, new.kept)


def _set_aside(
    state: TargetState, found: Iterable[Finding], now: float, waits: Callable[[Raised], bool]
) -> tuple[list[Finding], Mapping[FindingKey, Raised]]:
    """Return the findings that hold, and the pending ones: a finding that was told once stays told."""
    standing: list[Finding] = []
    pending: dict[FindingKey, Raised] = {}
    for finding in found:
        key = (finding.code, finding.subject)
        raised = Raised(finding, state.pending[key].since if key in state.pending else now)
        if key not in state.findings and waits(raised):
            pending[key] = raised
        else:
            standing.append(finding)
    return standing, pending or NO_FINDINGS


def _compare(
    state: TargetState, found: Iterable[Finding], now: float
) -> tuple[Mapping[FindingKey, Raised], tuple[StateEvent, ...]]:
    raised: dict[FindingKey, Raised] = {}
    events: list[StateEvent] = []
    for finding in found:
        key = (finding.code, finding.subject)
        before = state.findings.get(key)
        if before is None:
            since = state.pending[key].since if key in state.pending else now
            raised[key] = Raised(finding, since)
            events.append(FindingRaised(state.target, since, finding))
        elif before.finding == finding:
            raised[key] = before
        else:
            raised[key] = Raised(finding, before.since)
            events.append(FindingChanged(state.target, now, before.finding, finding))
    events.extend(
        FindingCleared(state.target, now, before.finding, before.since)
        for key, before in state.findings.items()
        if key not in raised
    )
    return raised or NO_FINDINGS, tuple(events)


def waive(assessment: Assessment, target: str, waivers: Iterable[Waiver], now: float) -> Assessment:
    """Return `assessment` with each finding that a waiver names turned into a notice which says so, until it ends."""
    active = {each.code: each for each in waivers if each.target == target and now < each.until}
    if not active:
        return assessment
    ends = [float(each.until) for each in active.values()]
    if assessment.until is not None:
        ends.append(assessment.until)
    findings = tuple(_waived(each, active.get(each.code)) for each in assessment.findings)
    return replace(assessment, findings=findings, until=min(ends))


def _waived(found: Finding, waiver: Waiver | None) -> Finding:
    if waiver is None:
        return found
    detail = sentence("{} (waived until {}: {})", found.detail, moment(waiver.until), harmless(waiver.reason))
    severity = min(found.severity, Severity.NOTICE, key=lambda each: each.rank)
    return replace(found, severity=severity, detail=detail)
