"""The verdict on presented chains, the same for a live endpoint, for files and for a rehearsal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from config.immutable import immutable
from config.model import Thresholds
from config.text import harmless, listed, sentence
from config.vocabulary import Code, Sending, Severity
from probes.certificate import Certificate
from probes.chain import presented_path
from probes.finding import Edge, Finding, finding
from probes.judge.chain import judge_presentation
from probes.judge.client import (
    NO_CIRCUMSTANCES,
    ChainVerdict,
    Circumstances,
    View,
    chain_boundaries,
    edge_of,
    explained,
    judge_acceptance,
    judge_chain,
    leaf_first,
    rejections,
    subject_in,
)
from probes.judge.conformance import judge_encoding
from probes.judge.default import judge_default
from probes.judge.key import judge_algorithm, judge_strength
from probes.judge.name import judge_common_name, judge_names
from probes.judge.revocation import SeenPath, judge_revocation
from probes.judge.time import boundaries, judge_time, judge_validity
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.trust import Trust


@immutable
class Audience:
    """To whom a chain is presented, and by which names they connect."""

    presenter: str
    """The noun for the holder in sentences: the name of an endpoint, the path of a file."""
    views: tuple[View, ...]
    """Of each client that must accept it."""
    names: tuple[str, ...] = ()
    """By which a client connects that declares none itself; without any, names are not judged."""
    elsewhere: tuple[Trust, ...] = ()
    """Trust stores by which a root is told from an intermediate; they grant no trust."""
    thresholds: Thresholds | None = None
    circumstances: Circumstances = NO_CIRCUMSTANCES
    revocation: Evidence = NO_EVIDENCE
    unstapled: frozenset[tuple[Certificate, ...]] = frozenset()
    """The chains, leaf first, that came in a handshake without an OCSP response."""


@immutable
class Reception:
    """The verdict of an audience on the chains presented to it."""

    findings: tuple[Finding, ...]
    """A `(code, subject)` may be there more than once: the most severe counts."""
    edges: tuple[Edge, ...]
    """One for each client, in the order of the views; none where nothing is presented."""
    expiry: int | None
    """Earliest end on the verified paths; of the presented certificates where no client accepts; Unix time."""
    boundaries: tuple[float, ...]
    """The Unix times at which the verdict may change by itself."""


def judge_presented(presented: Iterable[Sequence[Certificate]], audience: Audience, now: float) -> Reception:
    """Return the verdict of `audience` at Unix time `now` on the `presented` chains, each as it was presented.

    `client_rejects` is among the findings for each client that refuses one of them.
    """
    as_presented = tuple(dict.fromkeys(tuple(each) for each in presented if each))
    chains = tuple(dict.fromkeys(map(leaf_first, as_presented)))
    findings: list[Finding] = []
    times: list[float] = []
    edges: list[Edge] = []
    on_accepted_paths = _verified(chains, audience, now)
    for view in audience.views:
        names, verifier = view.client.names or audience.names, view.client.verifier
        wrong_names = {chain[0]: tuple(judge_names(chain[0], names, verifier)) for chain in chains}
        causes = rejections(
            chains,
            view,
            wrong_names,
            now,
            audience.elsewhere,
            audience.circumstances,
            audience.revocation,
            audience.unstapled,
        )
        edge = edge_of(view, causes)
        if chains:
            edges.append(edge)
        findings += judge_acceptance(edge, view, audience.presenter, causes)
        for chain in chains:
            times += chain_boundaries(chain, view)
            found = (*_judged(chain, view, audience, now).causes, *wrong_names[chain[0]])
            told = explained(found, chain[0], view, audience.circumstances)
            findings += told if view.client.validates else map(_as_notice, told)
    for chain in chains:
        findings += judge_default(chain[0], audience.circumstances.default)
        findings += _judge_sending(chain, audience, now)
        findings += judge_revocation(_seen_paths(chain, audience, now), audience.revocation, now, subject_in(chain))
    for each in as_presented:
        findings += _judge_for_anyone(each, audience, on_accepted_paths, now)
        times += boundaries(each, audience.thresholds)
    expiry = earliest_end(on_accepted_paths) or min(
        filter(None, (earliest_end(presented_path(chain)) for chain in chains)), default=None
    )
    times += audience.revocation.boundaries()
    return Reception(tuple(findings), tuple(edges), expiry, tuple(times))


def _judged(chain: tuple[Certificate, ...], view: View, audience: Audience, now: float) -> ChainVerdict:
    return judge_chain(chain, view, now, audience.elsewhere, unstapled=chain in audience.unstapled)


def _seen_paths(chain: tuple[Certificate, ...], audience: Audience, now: float) -> Iterator[SeenPath]:
    """Yield the path of each client, or where there is none, that of the presented certificates."""
    for view in audience.views:
        yield SeenPath(_judged(chain, view, audience, now).path, view.client)
    if not audience.views and not audience.revocation.is_empty:
        yield SeenPath(presented_path(chain))


def _verified(chains: Iterable[tuple[Certificate, ...]], audience: Audience, now: float) -> set[Certificate]:
    """Return every certificate on a path that some validating client accepts."""
    on_accepted_paths: set[Certificate] = set()
    for chain in chains:
        for view in audience.views:
            judged = _judged(chain, view, audience, now)
            if judged.accepted and view.client.validates:
                on_accepted_paths.update(judged.path)
    return on_accepted_paths


def _judge_sending(chain: tuple[Certificate, ...], audience: Audience, now: float) -> Iterator[Finding]:
    """Yield the intermediates that a server is expected to send and does not, where a client accepts it all the same.

    What such a client holds, another one may lack; that a client rejects is said of it.
    """
    if audience.circumstances.sends is not Sending.EXPECTED:
        return
    for view in audience.views:
        judged = _judged(chain, view, audience, now)
        kept = [each.title for each in judged.path[1:] if not each.self_issued and each not in chain]
        if judged.accepted and kept:
            who = harmless(view.client.name)
            detail = sentence("the server does not send {}, which {} has by itself", listed(kept, " and "), who)
            yield finding(Code.INCOMPLETE_CHAIN, detail, subject_in(chain)(chain[0]), Severity.WARNING)
            return


def _judge_for_anyone(
    presented: Sequence[Certificate], audience: Audience, on_accepted_paths: Collection[Certificate], now: float
) -> Iterator[Finding]:
    """Yield the faults of one presented chain that do not depend on a client."""
    subject_of = subject_in(presented)
    leading = presented_path(presented)
    if any(view.trust.holds_as_public(each) for view in audience.views for each in on_accepted_paths):
        yield from judge_validity(leading[0], subject_of(leading[0]))
    for each in leading:
        if each in on_accepted_paths or not on_accepted_paths:
            yield from judge_time(each, subject_of(each), now, audience.thresholds)
        yield from judge_strength(each, subject_of(each))
        yield from judge_algorithm(each, subject_of(each))
        if each not in on_accepted_paths:
            yield from judge_encoding(each, subject_of(each))
    yield from judge_common_name(leading[0], subject_of(leading[0]))
    yield from judge_presentation(presented, on_accepted_paths, now, subject_of)


def earliest_end(certificates: Iterable[Certificate]) -> int | None:
    """Return the earliest notAfter among `certificates`, None where none is known."""
    return min((each.not_after for each in certificates if each.not_after is not None), default=None)


def _as_notice(found: Finding) -> Finding:
    """Return a finding as a notice at most."""
    return replace(found, severity=min(found.severity, Severity.NOTICE, key=lambda severity: severity.rank))
