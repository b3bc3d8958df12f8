"""The whole verdict on one observation: `(observation, context, now) -> Assessment`, pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace

from config.immutable import immutable
from config.model import Endpoint, FileTarget
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, EntryKind, FileContent, FileFormat, FileRole, Integrity, UnreadableReason
from probes.certificate import Certificate
from probes.chain import are_anchors, find_leaf, named_path, presented_path
from probes.container.registry import may_hold_certificates
from probes.file import NOT_FOR_US
from probes.finding import Assessment, Edge, Finding
from probes.judge.anchor import with_cures_of_anchors
from probes.judge.bundle import judge_bundle
from probes.judge.client import Circumstances, View, judge_validation, leaf_first, subject_in
from probes.judge.conformance import judge_encoding
from probes.judge.default import judge_default
from probes.judge.key import judge_algorithm, judge_exposure, judge_match, judge_strength
from probes.judge.keystore import judge_store_password, judge_trusted
from probes.judge.name import judge_common_name, judge_names
from probes.judge.presented import Audience, earliest_end, judge_presented
from probes.judge.revocation import SeenPath, judge_lists, judge_revocation, judge_staple, list_boundaries
from probes.judge.sharing import (
    SharingFile,
    SharingServer,
    judge_shared,
    judge_shared_files,
    servers_leaf,
    validity_boundaries,
)
from probes.judge.source import judge_endpoint_source, judge_file_source
from probes.judge.state import OnDisk, judge_agreement, judge_served
from probes.judge.time import boundaries, judge_time
from probes.judge.tls import judge_supported, judge_tls
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.tls.support import Supported
from probes.trust import Trust

_NEVER_A_CERTIFICATE = frozenset(
    {UnreadableReason.BAD_DER, UnreadableReason.NOT_REGULAR, UnreadableReason.TOO_LARGE, UnreadableReason.NOT_FOUND}
)
_DOCUMENTS = frozenset({FileFormat.KUBECONFIG, FileFormat.DOCUMENT})
_SERVERS_OWN = frozenset({FileRole.CERTIFICATE, FileRole.COMBINED, FileRole.KEYSTORE})
_ARTEFACTS = frozenset({FileRole.CERTIFICATE, FileRole.CHAIN, FileRole.COMBINED, FileRole.KEYSTORE})


@immutable
class FileContext:
    """The terms by which a file is judged."""

    target: FileTarget
    view: View | None = None
    """Where given, the chain in the file is judged as this client would if a server presented it."""
    keys: tuple[str, ...] = ()
    """SHA-256 of the public halves of the component's private keys, for its certificate."""
    keys_where: str = ""
    last_known: tuple[Certificate, ...] = field(default=(), compare=False)
    """The content of the file when it could last be read: that it does now is no other context."""
    names: tuple[str, ...] = ()
    """Names that the certificate must have, where the client of `view` has no names of its own."""
    elsewhere: tuple[Trust, ...] = ()
    """Trust stores by which a root is told from an intermediate; they grant no trust."""
    revocation: Evidence = NO_EVIDENCE
    sharing: tuple[SharingFile, ...] = ()
    """Other files with a certificate for the key of that in the file."""


@immutable
class EndpointContext:
    """The terms by which an endpoint is judged."""

    endpoint: Endpoint
    views: tuple[View, ...]
    """Of each client that must accept it."""
    elsewhere: tuple[Trust, ...] = ()
    """Trust stores by which a root is told from an intermediate; they grant no trust."""
    on_disk: OnDisk | None = None
    last_known: tuple[Presented, ...] = ()
    """Its chains when it could last be reached."""
    failures_in_a_row: int = 0
    """Looks that no address answered, this one included."""
    just_went_dark: bool = False
    """It answered so short a time ago that its service may be restarting, however many looks there were since."""
    sharing: tuple[SharingServer, ...] = ()
    """Other servers that present the same key, by name."""
    supported: Supported | None = None
    """What it takes beside what it negotiates; None where it was not asked."""
    revocation: Evidence = NO_EVIDENCE


def file_facts(observation: FileObservation, last_known: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Return the certificates to believe: those of the observation, or the last known ones where it is faulty."""
    return last_known if last_known and is_faulty(observation) else observation.certificates


def is_told_by_certificates(observation: FileObservation) -> bool:
    """Whether a file of no component can be judged by its certificates alone: nothing else in it has a say."""
    more = observation.keys or observation.encrypted_keys or observation.keystore or observation.lists
    return not more and observation.failure is None and observation.content in {FileContent.LEAF, FileContent.ANCHOR}


def is_faulty(observation: FileObservation) -> bool:
    """Whether an observation has no certificates, or only the remains of them in a damaged file.

    An observation by the actor, of a file that nobody here may read, has all that the file had then.
    """
    failure = observation.failure
    if observation.absent:
        return False
    return not observation.certificates or (failure is not None and failure.reason not in NOT_FOR_US)


def is_worth_watching(observation: FileObservation, context: FileContext) -> bool:
    """Whether a file is a target: one met by a pattern is, where it holds or has held a certificate, or might.

    So is a private key that others may read or replace, and a file with a revocation list.
    """
    found = observation.certificates or observation.lists or context.last_known
    if context.target.role is not FileRole.FOUND or found:
        return True
    if observation.content is FileContent.KEY and any(_judge_key(observation)):
        return True
    if observation.failure is None or is_denied(observation, context):
        return False
    # A keystore that cannot be opened holds certificates all the same.
    return observation.failure.reason not in _NEVER_A_CERTIFICATE or may_hold_certificates(observation.format)


def is_denied(observation: FileObservation, context: FileContext) -> bool:
    """Whether a file met by a pattern may not be read and never could be: many of these are the matter of a place."""
    return (
        context.target.role is FileRole.FOUND
        and not context.last_known
        and observation.failure is not None
        and observation.failure.reason is UnreadableReason.PERMISSION_DENIED
    )


def assess_file(observation: FileObservation, context: FileContext, now: float) -> Assessment:
    """Return the verdict on a file at Unix time `now`: a fault of the reading, and findings on the known content."""
    target = context.target
    certificates = file_facts(observation, context.last_known)
    findings = list(judge_file_source(observation, target.role, had_certificate=bool(context.last_known)))
    times: list[float] = []
    expiry: int | None = None
    keys = (*observation.keys, *context.keys)
    keystore = observation.keystore
    trusted = () if keystore is None else keystore.trusted
    of_document = observation.format in _DOCUMENTS
    about_trusted = judge_trusted(trusted, subject_in(certificates), now, target.thresholds, of_document=of_document)
    findings += with_cures_of_anchors(about_trusted)
    if keystore is not None:
        findings += judge_store_password(keystore, target.path)
    if keystore is not None and keystore.is_trust_store and target.role not in _SERVERS_OWN:
        expiry = earliest_end(certificates) if len(certificates) == 1 else None
    elif certificates and _are_trusted(observation, target.role, certificates, keys):
        findings += with_cures_of_anchors(_judge_anchors(certificates, target, now))
        if len(certificates) == 1 or target.role is FileRole.CHAIN:
            expiry = earliest_end(certificates)
    elif certificates:
        leaf = find_leaf(certificates)
        chains = chains_in(observation, target.role, certificates)
        if context.view is not None or target.role in _ARTEFACTS:
            views = () if context.view is None else (context.view,)
            audience = Audience(
                target.name,
                views,
                context.names,
                context.elsewhere,
                target.thresholds,
                revocation=context.revocation,
            )
            reception = judge_presented((chain for _, chain in chains), audience, now)
            findings += reception.findings
            times += reception.boundaries
            expiry = reception.expiry
        else:
            ends: list[int | None] = []
            for name, chain in chains:
                path = named_path(chain)
                ends.append(earliest_end(path))
                for found in _judge_unseen(path, chain, certificates, context, now):
                    findings.append(replace(found, detail=sentence("{}: {}", name, found.detail)) if name else found)
            times += context.revocation.boundaries()
            expiry = min((end for end in ends if end is not None), default=None)
        findings += judge_default(leaf, target.default_certificate)
        if context.view is None:
            findings += judge_names(leaf, context.names)
        if certificates is observation.certificates:
            # A last known certificate and a key that was read later prove nothing together.
            findings += judge_match(leaf, context.keys, harmless(context.keys_where))
    findings += _judge_sharing(observation, certificates, context.sharing, now)
    times += validity_boundaries(each.leaf for each in context.sharing)
    findings += judge_lists(observation.lists, now, found=target.role is FileRole.FOUND)
    times += list_boundaries(observation.lists)
    if _holds_open_key(observation, target.role):
        findings += _judge_key(observation)
    held = (certificate for entry in trusted for certificate in entry.certificates)
    times += boundaries(dict.fromkeys((*certificates, *held)), target.thresholds)
    return _assessment(findings, (), expiry, times, now)


def _judge_sharing(
    observation: FileObservation, certificates: Sequence[Certificate], sharing: Sequence[SharingFile], now: float
) -> Iterator[Finding]:
    """Yield that the key of the server's certificate in a file is that of others, in files of other names."""
    own = servers_leaf(observation.content, certificates) if sharing else None
    if own is not None:
        yield from judge_shared_files(own, sharing, now)


def _judge_key(observation: FileObservation) -> Iterator[Finding]:
    return judge_exposure(observation.mode, Printable("the file"), observation.owner, observation.directory_owner)


def _holds_open_key(observation: FileObservation, role: FileRole) -> bool:
    """Whether there is a private key that anybody who reads the file has.

    A keystore that a pattern found may be meant to be read by all, under a password of its own.
    """
    keystore = observation.keystore
    if role is FileRole.FOUND and keystore is not None and keystore.integrity is Integrity.VERIFIED:
        return keystore.default_password and bool(observation.keys)
    return bool(observation.keys) or observation.content is FileContent.KEY


def _judge_anchors(certificates: Sequence[Certificate], target: FileTarget, now: float) -> Iterator[Finding]:
    """Yield findings on a bundle, on one CA certificate, or on the chain of a component, which a server presents."""
    if len(certificates) > 1 and target.role is not FileRole.CHAIN:
        yield from judge_bundle(certificates, now, target.thresholds)
        return
    for index, each in enumerate(certificates):
        anchor = target.role is FileRole.FOUND
        subject = sentence("position {}", index)
        yield from judge_time(each, subject, now, target.thresholds, anchor=anchor)
        yield from judge_encoding(each, subject)


def _are_trusted(
    observation: FileObservation, role: FileRole, certificates: Sequence[Certificate], keys: Sequence[str]
) -> bool:
    """Whether the certificates of a file are trusted by somebody, and presented by no server.

    Where nobody calls the file a server's, these are also certificates that clients pin, each its own issuer.
    """
    if role in _SERVERS_OWN:
        return False
    pinned = role not in _ARTEFACTS and observation.content is FileContent.BUNDLE and not keys
    return pinned or are_anchors(certificates, keys)


def chains_in(
    observation: FileObservation, role: FileRole, certificates: tuple[Certificate, ...]
) -> tuple[tuple[Printable, tuple[Certificate, ...]], ...]:
    """Return the chains in a file: that of each private key in a keystore or document, or all certificates as one.

    Each of several has a name: its alias, or its place in the document.

    Of a component's own keystore, its service has chosen one.
    """
    keystore = observation.keystore
    if keystore is None or role in _SERVERS_OWN or certificates is not observation.certificates:
        return ((Printable(""), certificates),)
    own = [each for each in keystore.entries if each.kind is EntryKind.PRIVATE_KEY and each.certificates]
    chains = tuple((each.alias, each.certificates) for each in own)
    return chains if len(chains) > 1 else ((Printable(""), certificates),)


def _judge_unseen(
    path: Sequence[Certificate],
    chain: Sequence[Certificate],
    certificates: Sequence[Certificate],
    context: FileContext,
    now: float,
) -> Iterator[Finding]:
    """Yield findings on certificates that no known server presents; no signature is verified but for revocation."""
    subject_of = subject_in(certificates)
    for each in path:
        yield from judge_time(each, subject_of(each), now, context.target.thresholds)
        yield from judge_strength(each, subject_of(each))
        yield from judge_algorithm(each, subject_of(each))
        yield from judge_encoding(each, subject_of(each))
    yield from judge_common_name(path[0], subject_of(path[0]))
    if not context.revocation.is_empty:
        yield from judge_revocation([SeenPath(presented_path(chain))], context.revocation, now, subject_of)


def assess_endpoint(observation: EndpointObservation, context: EndpointContext, now: float) -> Assessment:
    """Return the verdict at Unix time `now` on an endpoint's chains, or its last ones where no address answers."""
    endpoint = context.endpoint
    presented = tuple(each for each in observation.presented or context.last_known if each.chain)
    audience = audience_of(presented, context)
    reception = judge_presented((each.chain for each in presented), audience, now)
    failures = 1 if context.just_went_dark else context.failures_in_a_row
    findings = [*judge_endpoint_source(observation, failures), *reception.findings]
    times = list(reception.boundaries)
    for each in presented:
        findings += judge_tls(each, endpoint.tls)
        findings += judge_staple(each)
    if context.supported is not None:
        findings += judge_supported(context.supported, endpoint.tls)
    findings += judge_agreement(presented, endpoint.key_types if len(endpoint.key_types) > 1 else ())
    for view in context.views:
        findings += judge_validation(view)
    findings += judge_shared(presented, endpoint.verified_name, context.sharing)
    if context.on_disk is not None:
        findings += judge_served(presented, context.on_disk, now)
        times.append(context.on_disk.since + context.on_disk.grace)
    told = (_at_address(each, observation.addresses) for each in findings)
    return _assessment(told, reception.edges, reception.expiry, times, now)


def audience_of(presented: Sequence[Presented], context: EndpointContext) -> Audience:
    """Return to whom an endpoint presents those chains (none empty), and with which OCSP responses."""
    endpoint = context.endpoint
    return Audience(
        endpoint.name,
        context.views,
        (endpoint.verified_name,),
        context.elsewhere,
        endpoint.thresholds,
        Circumstances(endpoint.default_certificate, endpoint.sends_intermediates),
        context.revocation.beside((find_leaf(each.chain).sha256, each.staple) for each in presented if each.staple),
        # Without a version, nobody knows the handshake any more.
        frozenset(leaf_first(each.chain) for each in presented if each.version and not each.staple),
    )


def _at_address(found: Finding, addresses: frozenset[Printable]) -> Finding:
    """Return a finding on one of several addresses with that address in its sentence."""
    if len(addresses) <= 1 or found.subject not in addresses:
        return found
    return replace(found, detail=sentence("{} (at {})", found.detail, found.subject))


def in_place_of_unreadable(assessment: Assessment, found: Finding) -> Assessment:
    """Return `assessment` with this finding on the unreadable file."""
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
