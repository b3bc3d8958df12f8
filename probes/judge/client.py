"""Findings about clients: whether each accepts, and if not, the cause and the cure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from config.catalogue import CATALOGUE, NAMED_CURE
from config.expected import DefaultCertificate
from config.immutable import immutable
from config.model import Client, Endpoint
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, Sending, Severity, VerifierName
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Edge, Finding, finding
from probes.judge.conformance import judge_conformance
from probes.judge.default import STANDS_FOR, is_fault, judge_default
from probes.judge.path import RefusedPath
from probes.judge.revocation import SeenPath, refusals
from probes.judge.subject import SubjectOf
from probes.lifetime import turning_points
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.trust import Trust
from probes.verifier import Accepted, verify_webpki
from probes.verify.building import may_concern
from probes.verify.engine import verify
from probes.verify.families import family_of
from probes.verify.rules import Rule

_NONE: Final = Printable("")


@immutable
class View:
    """The terms by which one client judges a chain."""

    client: Client
    trust: Trust
    held: tuple[Certificate, ...] = ()
    """Intermediates that it holds itself."""
    disabled: Printable = _NONE
    """The line of its configuration that turns validation off, a clause; empty where no such line was found."""

    @property
    def unvalidated(self) -> Printable:
        """Why it does not validate, a clause; empty where it does."""
        if self.client.validates:
            return _NONE
        return self.disabled or Printable("the configuration says `validates: false`")


@immutable
class Circumstances:
    """What a site says of a server: it changes the words and the severity of findings, and no client's verdict."""

    default: DefaultCertificate | None = None
    """How the product's own default certificate is told."""
    sends: Sending | None = None
    """Whether the server is expected to send its intermediates; None where the site does not say."""


NO_CIRCUMSTANCES: Final = Circumstances()


@immutable
class ChainVerdict:
    """The verdict of a verifier on a chain, names aside, with the causes."""

    accepted: bool
    path: tuple[Certificate, ...]
    """The verified path; where there is none, the path with the fewest faults."""
    causes: tuple[Finding, ...]
    """The faults of that path; where it is accepted, rules that only a stricter verifier enforces."""


def cure_of(cause: Finding) -> str:
    """Return the cure of a cause of a rejection, a clause."""
    entry = CATALOGUE[cause.code]
    return cause.cure or entry.client_cure or entry.cure


def judge_chain(
    chain: tuple[Certificate, ...],
    view: View,
    now: float,
    elsewhere: tuple[Trust, ...] = (),
    *,
    unstapled: bool = False,
) -> ChainVerdict:
    """Return the verdict of the client of `view` on a presented `chain` (not empty) at Unix time `now`.

    `unstapled` says that it came in a handshake without an OCSP response; else a promised one is not asked for.
    Computed once for each chain, store, verifier and span of time within which nothing begins or ends.
    """
    client, at = _as_verifier(view.client), _span(chain, view, now)
    return _judge_chain(chain, view.trust, client, view.held, at, elsewhere, unstapled)


def affordable(chain: Sequence[Certificate], held: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the leaf of a chain, and the issuers at hand but those whose keys cost too much to verify with."""
    return (chain[0], *(each for each in (*chain[1:], *held) if not each.is_costly))


@lru_cache(maxsize=64)
def _as_verifier(client: Client) -> Client:
    """Return those properties of `client` on which a verdict depends, so that clients with the same ones share it."""
    return Client("", "", client.verifier, security_level=client.security_level, post_quantum=client.post_quantum)


def chain_boundaries(chain: Sequence[Certificate], view: View) -> Iterator[float]:
    """Yield the Unix times at which the verdict of `view` on `chain` may change."""
    for each in may_concern((*chain, *view.held), view.trust):
        yield from turning_points(each)


def _span(chain: Sequence[Certificate], view: View, now: float) -> float:
    """Return the first moment of the span of time around `now` within which every verdict is the same."""
    times = sorted(chain_boundaries(chain, view))
    return max((at for at in times if at <= now), default=times[0] - 1 if times else now)


# A server may present another 100 KiB at every look, so the cache is bounded.
@lru_cache(maxsize=512)
def _judge_chain(  # noqa: PLR0917 (each argument is part of the key)
    chain: tuple[Certificate, ...],
    trust: Trust,
    client: Client,
    held: tuple[Certificate, ...],
    now: float,
    elsewhere: tuple[Trust, ...],
    unstapled: bool,
) -> ChainVerdict:
    issuers = (*chain[1:], *held)
    pool = affordable(chain, held)
    strict = verify_webpki(chain[0], pool[1:], trust, now)
    judgement = verify(pool, trust, family_of(client), None, now, unstapled=unstapled)
    best, accepted = judgement.best, judgement.accepted
    subject_of = subject_in(chain)
    if client.verifier is VerifierName.WEBPKI:
        # The library decides, but for keys, some of which it knows and the profile does not allow.
        accepted = isinstance(strict, Accepted) and all(each.rule not in _OF_KEYS for each in best.objections)
    if accepted:
        path = strict.path if isinstance(strict, Accepted) and not judgement.accepted else best.path.certificates
        causes = tuple(judge_conformance(path, strict, subject_of))
        if trust.public:
            # The owner of a public CA's certificate cannot change how the CA issues.
            causes = tuple(replace(each, severity=Severity.INFORMATIONAL) for each in causes)
        return ChainVerdict(True, path, causes)
    path = best.path.certificates
    costly = tuple(_too_large(each, subject_of) for each in issuers if each.is_costly)
    faults = tuple(RefusedPath(best, trust, client, now, subject_of, elsewhere).findings())
    # The library may know a rule that the row does not.
    unexplained = () if faults else tuple(judge_conformance(path, strict, subject_of))
    return ChainVerdict(False, path, costly or faults or unexplained)


_OF_KEYS: Final = frozenset({Rule.KEY, Rule.SIGNATURE_ALGORITHM})


def _too_large(certificate: Certificate, subject_of: SubjectOf) -> Finding:
    detail = sentence("the key of {}, {}, is too large to verify with", certificate.title, certificate.key.shown)
    return finding(
        Code.PATH_REJECTED, detail, subject_of(certificate), cure=Printable("have it issued for a key of a usual size")
    )


def judge_edge(  # noqa: PLR0917 (each is a fact of the verdict)
    chains: Sequence[tuple[Certificate, ...]],
    view: View,
    wrong_names: Mapping[Certificate, Sequence[Finding]],
    now: float,
    elsewhere: tuple[Trust, ...] = (),
    circumstances: Circumstances = NO_CIRCUMSTANCES,
    revocation: Evidence = NO_EVIDENCE,
) -> Edge:
    """Return the verdict of the client of `view` on all `chains` that an endpoint presents.

    `wrong_names` gives for each leaf the findings on its names for this client.
    """
    causes = rejections(chains, view, wrong_names, now, elsewhere, circumstances, revocation)
    return edge_of(view, causes)


def rejections(  # noqa: PLR0917 (as above)
    chains: Sequence[tuple[Certificate, ...]],
    view: View,
    wrong_names: Mapping[Certificate, Sequence[Finding]],
    now: float,
    elsewhere: tuple[Trust, ...],
    circumstances: Circumstances,
    revocation: Evidence,
    unstapled: Collection[tuple[Certificate, ...]] = (),
) -> tuple[Finding, ...]:
    """Return every cause for which the client of `view` rejects one of `chains`; none where it accepts.

    Those that are `unstapled` came in a handshake without an OCSP response.
    """
    causes: list[Finding] = []
    for chain in chains:
        judged = judge_chain(chain, view, now, elsewhere, unstapled=chain in unstapled)
        against = () if judged.accepted else judged.causes
        causes += explained((*against, *wrong_names.get(chain[0], ())), chain[0], view, circumstances)
        causes += refusals(SeenPath(judged.path, view.client), revocation, now, subject_in(chain))
    return tuple(causes)


def edge_of(view: View, causes: Sequence[Finding]) -> Edge:
    """Return the verdict of the client of `view`, given why it rejects."""
    if not causes:
        return Edge(view.client.name, accepted=True, unvalidated=view.unvalidated)
    first = causes[0]
    return Edge(
        view.client.name,
        not view.client.validates,
        sentence("{}{}{}", first.detail, harmless(NAMED_CURE), harmless(cure_of(first))),
        view.unvalidated,
        first,
    )


def explained(
    causes: Sequence[Finding], leaf: Certificate, view: View, circumstances: Circumstances
) -> tuple[Finding, ...]:
    """Return the causes in the words that fit the circumstances; there is one wherever there was one.

    The default certificate stands for all that is wrong with it for being one. Where the server is not expected to send
    its intermediates, a missing one is what the client lacks.
    """
    if is_fault(leaf, circumstances.default) and any(each.code in STANDS_FOR for each in causes):
        others = (each for each in causes if each.code not in STANDS_FOR)
        return (*judge_default(leaf, circumstances.default), *others)
    if circumstances.sends is not Sending.NOT_EXPECTED:
        return tuple(causes)
    return tuple(_lacking(each, view) if each.code is Code.INCOMPLETE_CHAIN else each for each in causes)


def _lacking(cause: Finding, view: View) -> Finding:
    """Return that the client lacks what the server is not expected to send."""
    name = harmless(view.client.name)
    return replace(
        cause,
        severity=Severity.NOTICE,
        detail=sentence("{}, and the server is not expected to send it: its clients must hold it", cause.detail),
        cure=sentence("add that certificate to the intermediates that {} holds, or to its trust store", name),
    )


def judge_acceptance(edge: Edge, view: View, endpoint: str, causes: Sequence[Finding] = ()) -> Iterator[Finding]:
    """Yield that a client rejects; a notice where it does not validate and so connects all the same.

    Where nothing but a default certificate is among the `causes`, it is as severe as that.
    """
    if not edge.why:
        return
    name, where = harmless(view.client.name), harmless(endpoint)
    if view.client.validates:
        by_default = all(each.code is Code.DEFAULT_CERTIFICATE for each in causes) and causes
        severity = max((each.severity for each in causes), key=lambda each: each.rank) if by_default else None
        yield finding(Code.CLIENT_REJECTS, sentence("{} rejects {}: {}", name, where, edge.why), name, severity)
    else:
        detail = sentence("{} would reject {} if it validated: {}", name, where, edge.why)
        yield finding(Code.CLIENT_REJECTS, detail, name, Severity.NOTICE)


def judge_validation(view: View) -> Iterator[Finding]:
    """Yield that the configuration of a client turns its validation off."""
    if view.disabled and not view.client.validates:
        name = harmless(view.client.name)
        detail = sentence("{} does not validate: {}, or: certvigil trust enforce {}", name, view.disabled, name)
        yield finding(Code.VALIDATION_DISABLED, detail, name)


def subject_in(chain: Sequence[Certificate]) -> SubjectOf:
    """Return how findings name a certificate: by its position where it is presented, else by its subject."""
    positions = {certificate: position for position, certificate in reversed(tuple(enumerate(chain)))}

    def subject(certificate: Certificate) -> Printable:
        position = positions.get(certificate)
        return certificate.title if position is None else sentence("position {}", position)

    return subject


def sent_for_sure(chain: tuple[Certificate, ...], endpoint: Endpoint) -> tuple[Certificate, ...]:
    """Return the part of a presented `chain` that the clients of an endpoint can count on."""
    return leaf_first(chain)[:1] if endpoint.may_send_leaf_alone else chain


def leaf_first(presented: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return `presented` with its end entity at the front, as clients take it whatever the rest's order."""
    if not presented:
        return ()
    leaf = find_leaf(presented)
    return (leaf, *(each for each in presented if each is not leaf))
