"""The whole verdict on a set of files, as on one value: `(reading, context, now) -> assessments`, pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final

from config.immutable import immutable
from config.model import Endpoint, FileTarget
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, FileRole, Severity, UnreadableReason
from probes.assess import FileContext, assess_file, in_place_of_unreadable, with_findings
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Assessment, Finding, finding
from probes.judge.client import Circumstances, View, judge_edge, leaf_first, sent_for_sure
from probes.judge.line import judge_line
from probes.judge.name import judge_names
from probes.judge.source import judge_unread
from probes.lifetime import has_ended
from probes.line.use import is_chain_used
from probes.observation import FileObservation
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.set import SetReading
from probes.trust import Trust

WITH_LEAF = (FileRole.CERTIFICATE, FileRole.COMBINED, FileRole.KEYSTORE)
"""Files of a component that hold its own certificate."""

_BROKEN: Final = frozenset(
    {
        UnreadableReason.NOT_FOUND,
        UnreadableReason.BROKEN_SYMLINK,
        UnreadableReason.SYMLINK_LOOP,
        UnreadableReason.NOT_REGULAR,
        UnreadableReason.BAD_PEM,
        UnreadableReason.BAD_DER,
        UnreadableReason.BAD_DOCUMENT,
        UnreadableReason.NO_PASSWORD,
        UnreadableReason.WRONG_PASSWORD,
    }
)
"""Why nobody reads a file: any other reason may be of whoever looks, and not of the server."""


@immutable
class SetFault:
    """Something that makes a set of no use to its server."""

    code: Code
    target: str
    detail: Printable
    """A sentence without the file, printable."""
    certain: bool = True
    """No server starts with such a set; where it is not certain, it depends on the server."""

    locked: bool = False
    """It is a keystore that its password does not open."""

    @property
    def explains_test(self) -> bool:
        """Whether a configuration test that fails may fail for it: servers start with a certificate that has ended."""
        return self.code is not Code.EXPIRED


@immutable
class LiveEndpoint:
    """One endpoint of the component, with its clients, as it was looked at last."""

    endpoint: Endpoint
    views: tuple[View, ...]
    """Of each client that must accept it."""
    accepting: frozenset[str]
    """Names of the clients that accept the chain that is served now."""
    served: tuple[tuple[Certificate, ...], ...]
    """The chains that its addresses present, as presented."""


@immutable
class SetContext:
    """The terms by which a set is judged."""

    targets: tuple[FileTarget, ...]
    views: Mapping[str, View | None]
    """By target: where given, the chain in that file is judged as this client would."""
    live: tuple[LiveEndpoint, ...] = ()
    elsewhere: tuple[Trust, ...] = ()
    """Trust stores by which a root is told from an intermediate; they grant no trust."""
    last_known: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict, compare=False)
    """By target: the content of the file when it could last be read."""
    revocation: Evidence = NO_EVIDENCE


def leaf_target(targets: Sequence[FileTarget]) -> FileTarget | None:
    """Return the member that holds the component's own certificate, None where there is none."""
    return next((each for each in targets if each.role in WITH_LEAF), None)


def assess_set(reading: SetReading, context: SetContext, now: float) -> Mapping[str, Assessment]:
    """Return the verdict on each member at Unix time `now`, by the name of its target."""
    by_name = {each.target: each for each in reading.observations}
    leaf = leaf_target(context.targets)
    assessments: dict[str, Assessment] = {}
    unread = judge_unread(context.targets, [by_name[each.name] for each in context.targets])
    for target in context.targets:
        keys, where = _keys(target, context.targets, by_name)
        file_context = FileContext(
            target,
            view=context.views.get(target.name),
            keys=keys,
            keys_where=where,
            last_known=context.last_known.get(target.name, ()),
            elsewhere=context.elsewhere,
            revocation=context.revocation,
        )
        assessment = assess_file(by_name[target.name], file_context, now)
        assessment = with_findings(assessment, list(judge_line(target, context.targets, by_name)), now)
        if target.name in unread:
            assessment = in_place_of_unreadable(assessment, unread[target.name])
        assessments[target.name] = assessment
    if leaf is not None:
        chain = observed_chain(context.targets, by_name)
        found = list(_judge_next_reload(chain, context, now)) if chain else []
        assessments[leaf.name] = with_findings(assessments[leaf.name], found, now)
    return assessments


def observed_chain(
    targets: Sequence[FileTarget], observations: Mapping[str, FileObservation]
) -> tuple[Certificate, ...]:
    """Return the chain that a service would present from these files, its leaf first; empty where there is no leaf."""
    leaf = leaf_target(targets)
    if leaf is None or not observations[leaf.name].certificates:
        return ()
    chain = leaf_first(observations[leaf.name].certificates)
    is_used = is_chain_used(targets, observations)
    for target in targets:
        if target.role is FileRole.CHAIN and is_used:
            chain += tuple(each for each in observations[target.name].certificates if each not in chain)
    return chain


def _keys(
    target: FileTarget, targets: Sequence[FileTarget], observations: Mapping[str, FileObservation]
) -> tuple[tuple[str, ...], str]:
    """Return the public halves that must match the certificate in `target`, and where their private keys lie."""
    if target.role in {FileRole.COMBINED, FileRole.KEYSTORE}:
        return observations[target.name].keys, printable(target.path)
    if target.role is FileRole.CERTIFICATE:
        for each in targets:
            if each.role is FileRole.KEY:
                return observations[each.name].keys, printable(each.path)
    return (), ""


def _judge_next_reload(chain: tuple[Certificate, ...], context: SetContext, now: float) -> Iterator[Finding]:
    """Yield each client that accepts the served chain, and would reject the set on disk."""
    breaks: dict[str, tuple[str, list[str]]] = {}
    for each in context.live:
        endpoint = each.endpoint
        asked_for = endpoint.key_type is None or chain[0].key.kind is endpoint.key_type
        sent = sent_for_sure(chain, endpoint)
        if not asked_for or {chain, sent} & set(map(leaf_first, each.served)):
            continue
        for view in each.views:
            if view.client.name not in each.accepting or not view.client.validates:
                continue
            names = view.client.names or (endpoint.verified_name,)
            edge = judge_edge(
                (sent,),
                view,
                {chain[0]: tuple(judge_names(chain[0], names, view.client.verifier))},
                now,
                context.elsewhere,
                Circumstances(endpoint.default_certificate, endpoint.sends_intermediates),
                context.revocation,
            )
            if not edge.accepted:
                breaks.setdefault(view.client.name, (edge.why, []))[1].append(endpoint.name)
    for client, (why, endpoints) in breaks.items():
        yield finding(
            Code.NEXT_RELOAD_BREAKS,
            sentence(
                "{} accepts {} now and will reject it after the next reload or restart: {}",
                harmless(client),
                harmless(Printable(", ").join(endpoints)),
                harmless(why),
            ),
            harmless(client),
        )


def judge_use(reading: SetReading, targets: Sequence[FileTarget], now: float) -> tuple[SetFault, ...]:
    """Return why a server cannot use a set, its key included, at Unix time `now`; empty where nothing of that is known.

    Of the verdict of `assess_set`, only such faults count. An invisible fact is no fault.
    """
    assessments = assess_set(reading, SetContext(tuple(targets), {}), now)
    by_name = {each.target: each for each in reading.observations}
    faults: list[SetFault] = []
    for target in targets:
        seen = by_name[target.name]
        faults += _faults_of_file(target, seen, assessments[target.name])
        if target.role in WITH_LEAF and seen.failure is None and seen.certificates:
            faults += _faults_of_leaf(target, seen, _keys(target, targets, by_name)[0], now)
    return tuple(faults)


def _faults_of_file(target: FileTarget, seen: FileObservation, assessment: Assessment) -> Iterator[SetFault]:
    # A chain of its own file may be missing where no server was told of that file, and a configuration file where
    # that of another moment is known to have been there.
    certain = target.role is not FileRole.CHAIN
    for found in assessment.findings:
        if target.role.is_line:
            if found.code is Code.CONFIG_LINE_MISSING and found.severity is Severity.CRITICAL:
                yield SetFault(found.code, target.name, found.detail)
        elif found.code is Code.UNREADABLE and seen.failure is not None and seen.failure.reason in _BROKEN:
            locked = seen.failure.reason is UnreadableReason.WRONG_PASSWORD
            yield SetFault(found.code, target.name, seen.failure.detail, certain, locked)
        elif found.code in {Code.NO_CERTIFICATE, Code.KEY_MISMATCH}:
            yield SetFault(found.code, target.name, found.detail, certain)
    with_key = target.role in {FileRole.COMBINED, FileRole.KEYSTORE}
    if with_key and seen.failure is None and not seen.keys and not seen.encrypted_keys:
        yield SetFault(Code.KEY_MISMATCH, target.name, Printable("it holds no private key"))


def _faults_of_leaf(target: FileTarget, seen: FileObservation, keys: Sequence[str], now: float) -> Iterator[SetFault]:
    leaf, first = find_leaf(seen.certificates), seen.certificates[0]
    if has_ended(leaf, now):
        yield SetFault(Code.EXPIRED, target.name, sentence("{} has ended", leaf.title), certain=False)
    if target.role is FileRole.KEYSTORE or leaf.public_key_sha256() not in keys:
        return
    if first.public_key_sha256() not in keys:
        # Most servers take the first for their own; some sort.
        detail = Printable("its first certificate is not the one that the private key belongs to")
        yield SetFault(Code.WRONG_ORDER, target.name, detail, certain=False)


def judge_unrest(where: str) -> Finding:
    """Return that the files of a component are written to again and again, so that they cannot be judged."""
    detail = sentence(
        "the files of {} are written to without a pause: the verdict on them is that of before", harmless(where)
    )
    return finding(Code.UNSETTLED, detail)


def with_unrest(
    assessments: Mapping[str, Assessment], targets: Sequence[FileTarget], where: str, now: float
) -> Mapping[str, Assessment]:
    """Return the verdicts on a set that is judged although it is written to without a pause, and a warning of that."""
    leaf = leaf_target(targets)
    if leaf is None:
        return assessments
    detail = sentence(
        "the files of {} have been written to without a pause for minutes: each look is judged by itself",
        harmless(where),
    )
    found = finding(Code.UNSETTLED, detail, severity=Severity.WARNING)
    return {**assessments, leaf.name: with_findings(assessments[leaf.name], [found], now)}
