"""Whether a candidate may be installed: every objection to it, before any file is touched; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from actions.candidate import Candidate
from actions.ending import Ground
from config.catalogue import CATALOGUE, NAMED_CURE
from config.fields import duration_text
from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import Code, VerifierName
from probes.certificate import AlternativeName, Certificate
from probes.chain import presented_path
from probes.finding import Edge, Finding
from probes.judge.chain import judge_presentation
from probes.judge.client import View, cure_of, judge_chain, leaf_first, subject_in
from probes.judge.key import judge_match, judge_strength
from probes.judge.name import judge_names
from probes.judge.presented import earliest_end
from probes.judge.time import judge_time, moment
from probes.lifetime import leaf_thresholds, lifetime
from probes.trust import Trust

HOUR: Final = 3_600


@immutable
class Gap:
    """The certificate of an issuer is missing, for whoever does not have it: one fault, however many components."""

    identity: str
    """The same wherever the same certificate lacks its issuer."""
    said: str
    """The fault, a sentence without an end, printable."""
    clients: tuple[str, ...]
    cure: str
    """The end of a sentence, with which the cure begins; may be empty."""

    def objection(self) -> Objection:
        """Return the objection, which names all clients."""
        return Objection(
            Ground.INCOMPLETE_CHAIN, f"{self.said}; {', '.join(self.clients)} would miss it{self.cure}", self
        )

    def with_clients(self, more: Iterable[str]) -> Gap:
        """Return the same gap for more clients."""
        return replace(self, clients=tuple(dict.fromkeys((*self.clients, *more))))


@immutable
class Objection:
    """One reason against a plan, with a sentence for a person, printable."""

    ground: Ground
    detail: str
    gap: Gap | None = field(default=None, compare=False)
    """Of an incomplete chain."""


@immutable
class Issuers:
    """An issuer whose certificates may be installed, or a trust store of such issuers."""

    shown: str
    """Their name in the configuration."""
    spki_sha256: str = ""
    """SHA-256 of the public key of the issuer, hexadecimal; empty for a trust store."""
    view: View | None = None
    """Of a client with that trust store; None where the store could not be read, and so allows no issuer."""


def nothing_given_up(_keys: Iterable[str]) -> str:
    """Return the empty sentence: no key was given up."""
    return ""


def nothing_revoked(_presented: Sequence[Certificate]) -> str:
    """Return the empty sentence: nothing is known to be revoked."""
    return ""


@immutable
class Demands:
    """The demands of a component on a candidate."""

    names: tuple[str, ...] = ()
    """The names by which its clients connect; empty means the names of the certificate in use."""
    views: tuple[View, ...] = ()
    """Of the clients that must accept it."""
    installed: tuple[Certificate, ...] = ()
    """The chain that it presents today, in that order; empty where there is none, or none that can be read."""
    served: tuple[Certificate, ...] = ()
    """The chain that it was seen to serve, its leaf first, where that may be another; empty where nobody looked."""
    allowed_issuers: tuple[Issuers, ...] = ()
    """The acceptable issuers; empty allows every issuer."""
    allow_shorter: bool = False
    """It may end at any time, except within `least_left`."""
    min_lifetime: float | None = None
    """Seconds for which it must remain valid.

    None means: it may end before the installed certificate only while its own first threshold is not reached.
    """
    least_left: float = HOUR
    """Seconds for which it must remain valid."""
    given_up: Callable[[Iterable[str]], str] = nothing_given_up
    """Returns that one of these keys was given up, as `JournalState.why_not` does."""
    revoked: Callable[[Sequence[Certificate]], str] = nothing_revoked
    """Returns that one of the certificates of a presented chain is revoked, a sentence; empty where none is."""
    compromised: Callable[[Sequence[Certificate]], str] = nothing_revoked
    """Returns that the leaf of a presented chain is revoked because its key is compromised, a sentence; else empty."""
    leaf_alone: frozenset[View] = frozenset()
    """Those of `views` that can count on nothing but the server's own certificate."""


_STRENGTH: Final = {Code.WEAK_KEY: Ground.WEAK_KEY, Code.WEAK_SIGNATURE: Ground.WEAK_SIGNATURE}
_NOT_VALID: Final = frozenset({Code.EXPIRED, Code.NOT_YET_VALID})


def precheck(candidate: Candidate, demands: Demands, now: float) -> tuple[Objection, ...]:
    """Return every objection to installing `candidate` at Unix time `now`; none means that it may be rehearsed."""
    presented = candidate.presented
    objections = [
        *_key(candidate),
        *_given_up(candidate, demands),
        *_revoked(candidate, demands),
        *_order(presented, now),
        *_names(candidate.certificate, demands),
        *_times(presented, demands, now),
        *_strength(presented),
        *_issuer(candidate, demands, now),
        *_clients(candidate, demands, now),
    ]
    return tuple(dict.fromkeys(objections))


_UNFIT: Final = frozenset(
    {
        *(Ground.KEY_MISMATCH, Ground.KEY_GIVEN_UP, Ground.NAMES_MISSING, Ground.NOT_VALID_NOW),
        Ground.REVOKED,
        Ground.ISSUER_NOT_ALLOWED,
    }
)


def unfit(candidate: Candidate, demands: Demands, now: float) -> tuple[Objection, ...]:
    """Return why `candidate` is not for this component at Unix time `now`, before its clients are asked.

    Another candidate of the same inbox may then be used instead.
    """
    found = (
        *_key(candidate),
        *_given_up(candidate, demands),
        *_revoked(candidate, demands),
        *_names(candidate.certificate, demands),
        *_times(candidate.presented, demands, now),
        *_issuer(candidate, demands, now),
    )
    return tuple(each for each in found if each.ground in _UNFIT)


def covers_names(leaf: Certificate, demands: Demands) -> bool:
    """Whether `leaf` covers the names of the component."""
    return not any(_names(leaf, demands))


def dropped_names(leaf: Certificate, installed: Sequence[Certificate]) -> tuple[str, ...]:
    """Return the names of the installed certificate, such as `DNS:www.example.com`, that `leaf` does not cover."""
    if not installed:
        return ()
    names = leaf_first(installed)[0].alternative_names()
    return tuple(str(name) for name in names if name.is_of_server and not _covers(leaf, name))


def _covers(leaf: Certificate, name: AlternativeName) -> bool:
    written = str(name).casefold()
    return any(each.casefold() == written for each in leaf.names) or not any(judge_names(leaf, (name.value,)))


def roots_known(candidate: Candidate, views: Sequence[View]) -> tuple[Trust, ...]:
    """Return the stores that tell a root that a client lacks from an intermediate that the candidate lacks."""
    stores = tuple(dict.fromkeys(view.trust for view in views))
    return stores if candidate.root is None else (*stores, Trust("of the candidate", (candidate.root,)))


def _key(candidate: Candidate) -> Iterator[Objection]:
    for found in judge_match(candidate.certificate, (candidate.key.public_sha256,), Printable("the candidate")):
        yield Objection(Ground.KEY_MISMATCH, found.detail)


def _given_up(candidate: Candidate, demands: Demands) -> Iterator[Objection]:
    if why := demands.given_up((candidate.key.public_sha256, candidate.certificate.public_key_sha256())):
        yield Objection(Ground.KEY_GIVEN_UP, f"{candidate.certificate.title}: {why}; it takes a new key")


def _revoked(candidate: Candidate, demands: Demands) -> Iterator[Objection]:
    if why := demands.revoked(candidate.presented):
        yield Objection(Ground.REVOKED, why)
        return
    key = candidate.certificate.public_key_sha256()
    for chain in dict.fromkeys((demands.installed, demands.served)):
        if chain and leaf_first(chain)[0].public_key_sha256() == key and (why := demands.compromised(chain)):
            yield Objection(
                Ground.REVOKED, f"{candidate.certificate.title} has the key of a revoked certificate: {why}"
            )
            return


def _order(presented: Sequence[Certificate], now: float) -> Iterator[Objection]:
    for found in judge_presentation(presented, (), now, subject_in(presented)):
        if found.code is Code.WRONG_ORDER:
            yield Objection(Ground.WRONG_ORDER, found.detail)


def _names(leaf: Certificate, demands: Demands) -> Iterator[Objection]:
    # By the rules of its clients: the web PKI accepts fewer forms than OpenSSL. Without clients, strict rules count.
    verifiers = {view.client.verifier for view in demands.views if view.client.validates} or {VerifierName.WEBPKI}
    for found in dict.fromkeys(found for each in sorted(verifiers) for found in judge_names(leaf, demands.names, each)):
        yield Objection(Ground.NAMES_MISSING, found.detail)
    if not demands.names:
        for name in dropped_names(leaf, demands.installed):
            yield Objection(Ground.NAMES_MISSING, f"{name}, a name of the certificate in use, is not among its names")


def _times(presented: Sequence[Certificate], demands: Demands, now: float) -> Iterator[Objection]:
    for each in presented:
        for found in judge_time(each, Printable(""), now):
            if found.code in _NOT_VALID:
                yield Objection(Ground.NOT_VALID_NOW, found.detail)
        if each.not_before is None or each.not_after is None:
            yield Objection(Ground.NOT_VALID_NOW, f"the validity of {each.title} cannot be decoded")
    end = earliest_end(presented)
    today = earliest_end(presented_path(demands.installed))
    if end is None or end < now:
        return
    if end - now < demands.least_left:
        yield Objection(Ground.TOO_SHORT, f"it ends at {moment(end)}, within {demands.least_left:.0f} seconds")
    if demands.allow_shorter:
        return
    if demands.min_lifetime is not None:
        if end - now < demands.min_lifetime:
            least = duration_text(demands.min_lifetime)
            yield Objection(Ground.TOO_SHORT, f"it ends at {moment(end)}, and 'min_lifetime' is {least}")
    elif today is not None and end < today and end - now <= _first_threshold(presented[0]):
        yield Objection(
            Ground.TOO_SHORT,
            f"it ends at {moment(end)}, before the installed certificate, which ends at {moment(today)}, and already "
            "counts as expiring",
        )


def _first_threshold(leaf: Certificate) -> float:
    """Return the seconds before its end from which a certificate counts as expiring."""
    whole = lifetime(leaf)
    return leaf_thresholds(whole).notice.seconds_left(whole)


def _strength(presented: Sequence[Certificate]) -> Iterator[Objection]:
    for each in presented:
        for found in judge_strength(each, Printable("")):
            yield Objection(_STRENGTH.get(found.code, Ground.WEAK_KEY), found.detail)


def _while_valid(presented: Sequence[Certificate], now: float) -> float:
    """Return the Unix time nearest to `now` at which all of these are valid; `now` where there is none.

    At that time everything but the validity is judged, since the validity has an objection of its own.
    """
    begin = max((each.not_before for each in presented if each.not_before is not None), default=now)
    end = min((each.not_after for each in presented if each.not_after is not None), default=now)
    return min(max(now, begin), end) if begin <= end else now


def _issuer(candidate: Candidate, demands: Demands, now: float) -> Iterator[Objection]:
    allowed = demands.allowed_issuers
    if not allowed:
        return
    keys = tuple(dict.fromkeys(_issuing_keys(candidate, demands)))
    at = _while_valid(candidate.presented, now)
    if any(_has_issued(each, candidate, keys, at) for each in allowed):
        return
    shown = ", ".join(printable(each.shown) for each in allowed)
    key = f", with the key spki_sha256 {' or '.join(keys)}" if keys else ", whose certificate is not at hand"
    yield Objection(
        Ground.ISSUER_NOT_ALLOWED, f"it is issued by {candidate.certificate.issuer}{key}; allowed are {shown}"
    )


def _has_issued(allowed: Issuers, candidate: Candidate, keys: Sequence[str], now: float) -> bool:
    if allowed.spki_sha256:
        return allowed.spki_sha256 in keys
    return allowed.view is not None and judge_chain(candidate.presented, allowed.view, now).accepted


def _issuing_keys(candidate: Candidate, demands: Demands) -> Iterator[str]:
    """Yield the SHA-256 of each public key that signed the certificate, of those at hand."""
    leaf = candidate.certificate.x509()
    anchors = (each for view in demands.views for each in (*view.held, *view.trust.anchors))
    root = () if candidate.root is None else (candidate.root,)
    for each in (*candidate.chain, *root, *anchors):
        if each.subject != candidate.certificate.issuer:
            continue
        # A certificate without a key that can sign has signed nothing.
        with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            leaf.verify_directly_issued_by(each.x509())
            yield each.public_key_sha256()


_BESIDE: Final = (
    "put the missing certificate beside the candidate (into the inbox, or among the files given) if it is an "
    "intermediate, or add it to the client's store if it is a root whose fingerprint is one that the CA itself "
    "publishes"
)


def why_rejected(edge: Edge, *, is_offer: bool = False) -> str:
    """Return why a client rejects a candidate, with the cure for a candidate: no server presents it yet.

    An offer is anybody's: it has no cure by which a client would trust its issuer.
    """
    cause = edge.cause
    return edge.why if cause is None else f"{cause.detail}{_with_cure(_cure_for_candidate(cause), is_offer=is_offer)}"


def _with_cure(cure: str, *, is_offer: bool) -> str:
    return "" if is_offer else f"{NAMED_CURE}{cure}"


def _cure_for_candidate(cause: Finding) -> str:
    if cause.code is Code.SELF_SIGNED:
        # Not to add it to the store: nobody shall trust a server's certificate because it is to be installed.
        return CATALOGUE[cause.code].cure
    return _BESIDE if cause.may_lack_in_chain else cure_of(cause)


def _clients(candidate: Candidate, demands: Demands, now: float) -> Iterator[Objection]:
    """Yield faults of the chain: an issuer is missing that was there before, or no client accepts the chain.

    A client that misses an issuer today, too, is no fault of the candidate. The same gap is reported once for all
    clients that miss the issuer.
    """
    views = [view for view in demands.views if view.client.validates]
    elsewhere, at = roots_known(candidate, demands.views), _while_valid(candidate.presented, now)
    verdicts = {view: judge_chain(candidate.presented, view, at, elsewhere) for view in views}
    gaps: dict[str, Gap] = {}
    for view in views:
        # An intermediate that is served, and not on disk any more, is missed by whoever was sent it.
        known = [each for each in (demands.installed, demands.served) if each]
        if known and all(_incomplete(each, view, now, elsewhere) for each in known):
            continue
        for cause in verdicts[view].causes:
            if cause.code is Code.INCOMPLETE_CHAIN:
                cure = _with_cure(_cure_for_candidate(cause), is_offer=bool(candidate.offered))
                identity = f"{candidate.certificate.sha256} {cause.subject}"
                gap = gaps.get(cause.subject) or Gap(identity, cause.detail, (), cure)
                gaps[cause.subject] = gap.with_clients([view.client.name])
    yield from (gap.objection() for gap in gaps.values())
    sent = [
        judge_chain(candidate.presented[:1], view, at, elsewhere) if view in demands.leaf_alone else verdict
        for view, verdict in zip(views, verdicts.values(), strict=True)
    ]
    if views and not gaps and not any(verdict.accepted for verdict in sent):
        why = next((cause.detail for verdict in sent for cause in verdict.causes), "")
        yield Objection(Ground.NO_CLIENT_ACCEPTS, f"no client of it accepts it: {why}")


def missing_issuer(candidate: Candidate, views: Sequence[View], now: float) -> frozenset[str]:
    """Return the clients, by name, that would reject `candidate` because the certificate of an issuer is missing."""
    elsewhere = roots_known(candidate, views)
    return frozenset(
        view.client.name
        for view in views
        if any(
            cause.code is Code.INCOMPLETE_CHAIN
            for cause in judge_chain(candidate.presented, view, now, elsewhere).causes
        )
    )


def kept_out_by_time(candidate: Candidate, views: Sequence[View], now: float) -> frozenset[str]:
    """Return the clients, by name, that reject `candidate` only because it is not valid at Unix time `now`."""
    at = _while_valid(candidate.presented, now)
    if at == now:
        return frozenset()
    elsewhere = roots_known(candidate, views)
    return frozenset(
        view.client.name for view in views if judge_chain(candidate.presented, view, at, elsewhere).accepted
    )


def _incomplete(chain: Sequence[Certificate], view: View, now: float, elsewhere: tuple[Trust, ...]) -> bool:
    causes = judge_chain(leaf_first(chain), view, now, elsewhere).causes
    return any(cause.code is Code.INCOMPLETE_CHAIN for cause in causes)
