"""Findings about clients: whether each one accepts, and if not, why and what would cure it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from cryptography import x509

from config.catalogue import CATALOGUE
from config.model import Client
from config.vocabulary import Code, Severity, VerifierName
from probes.certificate import Certificate
from probes.chain import End, Path, find_leaf, paths
from probes.finding import Edge, Finding, finding
from probes.judge.algorithm import judge_algorithms
from probes.judge.conformance import judge_conformance
from probes.judge.path import SubjectOf, extension_of, judge_path
from probes.lifetime import turning_points
from probes.trust import Trust
from probes.verifier import Accepted, verify_openssl, verify_webpki


@dataclass(frozen=True, slots=True)
class View:
    """What one client brings to the judgement of a chain."""

    client: Client
    trust: Trust
    held: tuple[Certificate, ...] = ()
    """Intermediates that it holds itself."""


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What a verifier makes of a chain, names aside, and why."""

    accepted: bool
    path: tuple[Certificate, ...]
    """The verified path; where there is none, the one with the least wrong."""
    causes: tuple[Finding, ...]
    """What is wrong with that path; where it is accepted, rules that only a stricter verifier enforces."""


def cure_of(cause: Finding) -> str:
    """Return what would put right a cause of a refusal, a clause."""
    entry = CATALOGUE[cause.code]
    return cause.cure or entry.client_cure or entry.cure


def judge_chain(
    chain: tuple[Certificate, ...], view: View, now: float, elsewhere: tuple[Trust, ...] = ()
) -> ChainVerdict:
    """Return what the client of `view` makes of a presented `chain` (not empty) at Unix time `now`.

    Computed once for each chain, store, verifier and span of time within which nothing begins or ends.
    """
    return _judge_chain(chain, view.trust, _as_verifier(view.client), view.held, _span(chain, view, now), elsewhere)


@lru_cache(maxsize=64)
def _as_verifier(client: Client) -> Client:
    """Return what of `client` a verdict on a chain depends on, so that it is shared by all who are alike in that."""
    return Client("", "", client.verifier, security_level=client.security_level)


def chain_boundaries(chain: Sequence[Certificate], view: View) -> Iterator[float]:
    """Yield the Unix times at which what `view` makes of `chain` may change."""
    concerned = [*chain, *view.held]
    issuers = {each.outline().issuer for each in concerned}
    for issuer in issuers:
        concerned.extend(view.trust.by_subject.get(issuer, ()))
    for each in concerned:
        yield from turning_points(each)


def _span(chain: Sequence[Certificate], view: View, now: float) -> float:
    """Return the first moment of the span of time around `now` within which every verdict is the same."""
    times = sorted(chain_boundaries(chain, view))
    return max((at for at in times if at <= now), default=times[0] - 1 if times else now)


# A server may present another 100 KiB at every look, so what is kept is bounded.
@lru_cache(maxsize=512)
def _judge_chain(  # noqa: PLR0917 (each argument is part of the key)
    chain: tuple[Certificate, ...],
    trust: Trust,
    client: Client,
    held: tuple[Certificate, ...],
    now: float,
    elsewhere: tuple[Trust, ...],
) -> ChainVerdict:
    leaf = chain[0]
    issuers = (*chain[1:], *held)
    pool = (leaf, *(each for each in issuers if not each.is_costly))
    strict = verify_webpki(leaf, pool[1:], trust, now)
    by_web_pki = client.verifier is VerifierName.WEBPKI
    verification = strict if by_web_pki else verify_openssl(leaf, pool[1:], trust, now)
    subject_of = subject_in(chain)
    if isinstance(verification, Accepted):
        path = verification.path
        if unfit := tuple(judge_algorithms(path, client, subject_of, signed_end=False)):
            return ChainVerdict(False, path, unfit)
        causes = tuple(judge_conformance(path, strict, subject_of))
        if trust.public:
            # Who installs what a public CA issues cannot change how it does.
            causes = tuple(replace(each, severity=Severity.INFORMATIONAL) for each in causes)
        return ChainVerdict(True, path, causes)

    def faults(path: Path) -> tuple[Finding, ...]:
        unfit = judge_algorithms(path.certificates, client, subject_of, signed_end=path.end in _SIGNED_BY_ANOTHER)
        return (*judge_path(path, trust, client.verifier, now, subject_of, elsewhere=elsewhere), *unfit)

    best = min(paths(leaf, pool, trust), key=lambda path: _merit(path, faults(path)))
    costly = tuple(_too_large(each, subject_of) for each in issuers if each.is_costly)
    unexplained = (
        judge_conformance(best.certificates, strict, subject_of)
        if by_web_pki
        else [_in_openssls_words(verification.said, best.certificates)]
    )
    return ChainVerdict(False, best.certificates, costly or faults(best) or tuple(unexplained))


_SIGNED_BY_ANOTHER: Final = frozenset({End.MISSING, End.BAD_SIGNATURE})


def _in_openssls_words(said: str, path: Sequence[Certificate]) -> Finding:
    """Return why OpenSSL refuses where this has not found it out, with what on the path is likeliest to be it."""
    limiting = [each.title for each in path[1:] if extension_of(each, x509.NameConstraints) is not None]
    if not limiting:
        cure = "have the certificate issued anew, and show the CA what OpenSSL says"
        return finding(Code.PATH_REJECTED, f"OpenSSL refuses the path: {said}", cure=cure)
    return finding(
        Code.PATH_REJECTED,
        f"OpenSSL refuses the path: {said}; it has name constraints, of {' and of '.join(limiting)}",
        cure="have the certificate issued for names that these allow",
    )


def _too_large(certificate: Certificate, subject_of: SubjectOf) -> Finding:
    detail = f"the key of {certificate.title}, {certificate.key}, is too large to verify with"
    return finding(Code.PATH_REJECTED, detail, subject_of(certificate), cure="have it issued for a key of a usual size")


def _merit(path: Path, faults: Sequence[Finding]) -> tuple[bool, int, int]:
    """Order paths by how little is wrong with them, least first."""
    return (path.end is not End.ANCHOR, len(faults), -len(path.certificates))


def judge_edge(
    chains: Sequence[tuple[Certificate, ...]],
    view: View,
    wrong_names: Mapping[Certificate, Sequence[Finding]],
    now: float,
    elsewhere: tuple[Trust, ...] = (),
) -> Edge:
    """Return what the client of `view` makes of all `chains` that an endpoint presents.

    `wrong_names` gives for each leaf what is wrong with its names for this client.
    """
    causes: list[Finding] = []
    for chain in chains:
        judged = judge_chain(chain, view, now, elsewhere)
        if not judged.accepted:
            causes.extend(judged.causes)
        causes.extend(wrong_names.get(chain[0], ()))
    if not causes:
        return Edge(view.client.name, accepted=True)
    first = causes[0]
    return Edge(view.client.name, not view.client.validates, f"{first.detail}; to cure it, {cure_of(first)}")


def judge_acceptance(edge: Edge, view: View, endpoint: str) -> Iterator[Finding]:
    """Yield that a client rejects; a notice where it does not validate and so connects all the same."""
    if not edge.why:
        return
    name = view.client.name
    if view.client.validates:
        yield finding(Code.CLIENT_REJECTS, f"{name} rejects {endpoint}: {edge.why}", name)
    else:
        detail = f"{name} would reject {endpoint} if it validated: {edge.why}"
        yield finding(Code.CLIENT_REJECTS, detail, name, Severity.NOTICE)


def subject_in(chain: Sequence[Certificate]) -> SubjectOf:
    """Return how findings name a certificate: by its position where it is presented, else by its subject."""
    positions = {certificate: position for position, certificate in reversed(tuple(enumerate(chain)))}

    def subject(certificate: Certificate) -> str:
        position = positions.get(certificate)
        return certificate.title if position is None else f"position {position}"

    return subject


def leaf_first(presented: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return `presented` with its end entity at the front, as clients take it whatever the rest's order."""
    if not presented:
        return ()
    leaf = find_leaf(presented)
    return (leaf, *(each for each in presented if each is not leaf))
