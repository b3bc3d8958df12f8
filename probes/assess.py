"""The whole verdict on one observation: `(observation, context, now) -> Assessment`, pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from config.model import Endpoint, FileTarget
from config.vocabulary import Code, FileContent, FileRole, Severity, UnreadableReason
from probes.certificate import Certificate
from probes.chain import named_path, presented_path
from probes.finding import Assessment, Edge, Finding
from probes.judge.chain import judge_presentation
from probes.judge.client import (
    View,
    chain_boundaries,
    judge_acceptance,
    judge_chain,
    judge_edge,
    leaf_first,
    subject_in,
)
from probes.judge.key import judge_exposure, judge_match, judge_strength
from probes.judge.name import judge_common_name, judge_names
from probes.judge.source import judge_endpoint_source, judge_file_source
from probes.judge.state import OnDisk, judge_agreement, judge_served
from probes.judge.time import boundaries, judge_time, judge_validity
from probes.judge.tls import judge_tls
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.trust import Trust

_NEVER_A_CERTIFICATE = frozenset(
    {UnreadableReason.BAD_DER, UnreadableReason.NOT_REGULAR, UnreadableReason.TOO_LARGE, UnreadableReason.NOT_FOUND}
)
_ARTEFACTS = frozenset({FileRole.CERTIFICATE, FileRole.CHAIN, FileRole.COMBINED, FileRole.KEYSTORE})


@dataclass(frozen=True, slots=True)
class FileContext:
    """What judging a file needs beside the file."""

    target: FileTarget
    view: View | None = None
    """Where given, the chain in the file is judged as this client would."""
    keys: tuple[str, ...] = ()
    """SHA-256 of the public halves of the component's private keys, for its certificate."""
    keys_where: str = ""
    last_known: tuple[Certificate, ...] = field(default=(), compare=False)
    """What the file held when it last could be read: that it does now is no other context."""


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """What judging an endpoint needs beside what it presented."""

    endpoint: Endpoint
    views: tuple[View, ...]
    """Of each client that must accept it."""
    elsewhere: tuple[Trust, ...] = ()
    """Trust stores by which a root is told from an intermediate; they grant no trust."""
    on_disk: OnDisk | None = None
    last_known: tuple[Presented, ...] = ()
    """What it presented when it last could be reached."""
    failures_in_a_row: int = 0
    """Looks that no address answered, this one included."""


def file_facts(observation: FileObservation, last_known: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Return the certificates to believe: those just read, or the last known ones where these are faulty."""
    if last_known and (observation.failure is not None or not observation.certificates):
        return last_known
    return observation.certificates


def is_worth_watching(observation: FileObservation, context: FileContext) -> bool:
    """Whether a file is a target: one met by a pattern is, where it holds or has held a certificate, or might."""
    if context.target.role is not FileRole.FOUND or observation.certificates or context.last_known:
        return True
    if is_denied(observation, context):
        return False
    return observation.failure is not None and observation.failure.reason not in _NEVER_A_CERTIFICATE


def is_denied(observation: FileObservation, context: FileContext) -> bool:
    """Whether a file met by a pattern may not be read and never could be: many of these are the matter of a place."""
    return (
        context.target.role is FileRole.FOUND
        and not context.last_known
        and observation.failure is not None
        and observation.failure.reason is UnreadableReason.PERMISSION_DENIED
    )


def assess_file(observation: FileObservation, context: FileContext, now: float) -> Assessment:
    """Return the verdict on a file at Unix time `now`, what is wrong with reading it beside what is known of it."""
    target = context.target
    certificates = file_facts(observation, context.last_known)
    findings = list(judge_file_source(observation, target.role, had_certificate=bool(context.last_known)))
    times: list[float] = []
    expiry: int | None = None
    if certificates and all(each.is_ca for each in certificates):
        anchors = target.role is FileRole.FOUND
        for index, each in enumerate(certificates):
            findings += judge_time(each, f"position {index}", now, target.thresholds, anchor=anchors)
        if len(certificates) == 1 or target.role is FileRole.CHAIN:
            expiry = earliest_end(certificates)
    elif certificates:
        chain = leaf_first(certificates)
        artefact = target.role in _ARTEFACTS
        path = presented_path(certificates) if artefact or context.view else named_path(certificates)
        subject_of = subject_in(certificates)
        for each in path:
            subject = subject_of(each)
            findings += judge_time(each, subject, now, target.thresholds)
            findings += judge_strength(each, subject)
        if context.view is not None:
            times += chain_boundaries(chain, context.view)
            judged = judge_chain(chain, context.view, now)
            path = judged.path
            findings += judged.causes
        if context.view is not None or artefact:
            findings += judge_presentation(certificates, path, now, subject_of)
        expiry = earliest_end(path)
        findings += judge_common_name(chain[0], subject_of(chain[0]))
        findings += judge_match(chain[0], context.keys, context.keys_where)
    if observation.keys or observation.content is FileContent.KEY:
        findings += judge_exposure(observation.mode, "the file")
    times += boundaries(certificates, target.thresholds)
    return _assessment(findings, (), expiry, times, now)


def assess_endpoint(observation: EndpointObservation, context: EndpointContext, now: float) -> Assessment:
    """Return the verdict at Unix time `now` on what an endpoint presents, or last did where no address answers."""
    findings = list(judge_endpoint_source(observation, context.failures_in_a_row))
    times: list[float] = []
    edges: list[Edge] = []
    endpoint = context.endpoint
    presented = tuple(each for each in observation.presented or context.last_known if each.chain)
    chains = tuple(dict.fromkeys(leaf_first(each.chain) for each in presented))
    used = _verified(chains, context, now)
    for view in context.views:
        wrong_names = {
            chain[0]: tuple(judge_names(chain[0], view.client.names or (endpoint.verified_name,))) for chain in chains
        }
        edge = judge_edge(chains, view, wrong_names, now, context.elsewhere)
        if chains:
            edges.append(edge)
        findings += judge_acceptance(edge, view, endpoint.name)
        for chain in chains:
            times += chain_boundaries(chain, view)
            causes = (*judge_chain(chain, view, now, context.elsewhere).causes, *wrong_names[chain[0]])
            findings += causes if view.client.validates else map(_as_notice, causes)
    for presentation in {each.chain: each for each in presented}.values():
        findings += _judge_presented(presentation, context, used, now)
        times += boundaries(presentation.chain, endpoint.thresholds)
    for each in presented:
        findings += judge_tls(each, endpoint.allowed_versions)
    findings += judge_agreement(presented)
    if context.on_disk is not None:
        findings += judge_served(presented, context.on_disk, now)
        times.append(context.on_disk.since + context.on_disk.grace)
    expiry = earliest_end(used) or min(
        filter(None, (earliest_end(presented_path(chain)) for chain in chains)), default=None
    )
    return _assessment(findings, tuple(edges), expiry, times, now)


def _verified(chains: Iterable[tuple[Certificate, ...]], context: EndpointContext, now: float) -> set[Certificate]:
    """Return every certificate on a path that some validating client accepts."""
    used: set[Certificate] = set()
    for chain in chains:
        for view in context.views:
            judged = judge_chain(chain, view, now, context.elsewhere)
            if judged.accepted and view.client.validates:
                used.update(judged.path)
    return used


def _judge_presented(
    presented: Presented, context: EndpointContext, used: set[Certificate], now: float
) -> Iterator[Finding]:
    """Yield what is wrong with one presented chain whoever connects."""
    subject_of = subject_in(presented.chain)
    thresholds = context.endpoint.thresholds
    leading = presented_path(presented.chain)
    public = any(view.trust.public and any(map(view.trust.holds, used)) for view in context.views)
    if public:
        yield from judge_validity(leading[0], subject_of(leading[0]))
    for each in leading:
        if each in used or not used:
            yield from judge_time(each, subject_of(each), now, thresholds)
        yield from judge_strength(each, subject_of(each))
    yield from judge_common_name(leading[0], subject_of(leading[0]))
    yield from judge_presentation(presented.chain, used, now, subject_of)


def earliest_end(certificates: Iterable[Certificate]) -> int | None:
    """Return the earliest notAfter among `certificates`, None where none is known."""
    return min((each.not_after for each in certificates if each.not_after is not None), default=None)


def _as_notice(found: Finding) -> Finding:
    return replace(found, severity=Severity.NOTICE)


def in_place_of_unreadable(assessment: Assessment, found: Finding) -> Assessment:
    """Return `assessment` with this said of what cannot be read."""
    return replace(
        assessment, findings=tuple(found if each.code is Code.UNREADABLE else each for each in assessment.findings)
    )


def with_findings(assessment: Assessment, found: Iterable[Finding], now: float) -> Assessment:
    """Return `assessment` with more that was found at Unix time `now`."""
    times = () if assessment.until is None else (assessment.until,)
    return _assessment((*assessment.findings, *found), assessment.edges, assessment.expiry, times, now)


def _assessment(
    findings: Iterable[Finding], edges: tuple[Edge, ...], expiry: int | None, times: Iterable[float], now: float
) -> Assessment:
    """Return the assessment with each `(code, subject)` once, at its worst."""
    worst: dict[tuple[Code, str], Finding] = {}
    for found in findings:
        key = (found.code, found.subject)
        if key not in worst or worst[key].severity.rank < found.severity.rank:
            worst[key] = found
    until = min((at for at in times if at > now), default=None)
    return Assessment(tuple(worst.values()), edges, expiry, until)
