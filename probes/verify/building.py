"""The paths from a leaf to the anchors of a store that a family tries, in the order in which it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509

from config.immutable import immutable
from probes.certificate import Certificate
from probes.chain import made_signature
from probes.lifetime import is_within_validity
from probes.trust import Trust
from probes.verify.facts import facts_of, folded, folded_name, text_of
from probes.verify.family import ClientFamily, Comparison, KeyIdentifiers, Search

MOST_PATHS: Final = 64
"""Paths compared at most: cross-signing may offer many, an attacker may offer exponentially many."""
MOST_SIGNATURES: Final = 128
"""Signatures that are verified at most (Go: 100; webpki of Rust: 100)."""


class End(StrEnum):
    """How a path ends."""

    ANCHOR = "anchor"
    SELF_SIGNED = "self_signed"
    """At a self-signed certificate that is no anchor."""
    MISSING = "missing"
    """At a certificate whose issuer is not at hand."""
    BAD_SIGNATURE = "bad_signature"
    """At a certificate whose issuer, by name, is at hand but did not sign it."""


@immutable
class TriedPath:
    """Certificates, leaf first, each the issuer of the one before, and how they end."""

    certificates: tuple[Certificate, ...]
    end: End
    pinned: bool = False
    """The leaf itself is the anchor."""
    passed_over: bool = False
    """The family passes the anchor over, since it is outside its validity."""

    @property
    def last(self) -> Certificate:
        """The certificate nearest to an anchor."""
        return self.certificates[-1]


@dataclass(slots=True)
class _Web:
    """The certificates at hand, by name, and what is left to spend."""

    presented: Sequence[Certificate]
    trust: Trust
    family: ClientFamily
    now: float
    pool: dict[bytes, list[Certificate]]
    anchors: Mapping[bytes, Sequence[Certificate]]
    left: int = MOST_SIGNATURES

    def name(self, name: bytes) -> bytes:
        """Return a name as the family compares it."""
        return compared(name, self.family.comparison)

    def issued_by(self, issuer: Certificate, subject: Certificate) -> bool:
        """Whether the family takes `issuer`, which has the right name, for the issuer of `subject`."""
        return may_have_issued(issuer, subject, self.family)

    def anchors_named(self, certificate: Certificate) -> Iterator[Certificate]:
        """Yield the anchors that may have issued a certificate."""
        named = self.anchors.get(self.name(facts_of(certificate).outline.issuer), ())
        return (each for each in named if self.issued_by(each, certificate))

    def presented_named(self, certificate: Certificate) -> Iterator[Certificate]:
        """Yield the presented certificates that may have issued a certificate."""
        named = self.pool.get(self.name(facts_of(certificate).outline.issuer), ())
        return (each for each in named if self.issued_by(each, certificate))


def compared(name: bytes, comparison: Comparison) -> bytes:
    """Return a DER Name such that those are equal that a family takes for equal."""
    match comparison:
        case Comparison.BYTES:
            return name
        case Comparison.TEXT:
            return text_of(name)
        case Comparison.FOLDED:
            return folded(name)


def may_have_issued(issuer: Certificate, subject: Certificate, family: ClientFamily) -> bool:
    """Whether a family takes `issuer` for the issuer of `subject`, by all but the name and the signature."""
    usage = facts_of(issuer).usage
    if family.issuer_needs_usage and usage is not None and "key_cert_sign" not in usage:
        return False
    return is_identified(issuer, subject, family)


def is_identified(issuer: Certificate, subject: Certificate, family: ClientFamily) -> bool:
    """Whether `issuer` fits the authority key identifier of `subject`, as far as a family compares it."""
    theirs, own = facts_of(issuer), facts_of(subject)
    if family.key_identifiers is not KeyIdentifiers.IGNORED:
        wanted, found = own.issuer_identifier, theirs.own_identifier
        if wanted is not None and found is not None and wanted != found:
            return False
    if family.key_identifiers is KeyIdentifiers.ALL:
        if own.issuer_serial is not None and own.issuer_serial != theirs.serial:
            return False
        directories = [each.value for each in own.issuer_names or () if isinstance(each, x509.DirectoryName)]
        if directories and folded_name(directories[0]) != folded(theirs.outline.issuer):
            return False
    return True


def tried_paths(
    presented: Sequence[Certificate], trust: Trust, family: ClientFamily, now: float
) -> Iterator[TriedPath]:
    """Yield the paths that `family` tries from the first of `presented`, at most `MOST_PATHS`."""
    pool: dict[bytes, list[Certificate]] = {}
    web = _Web(presented, trust, family, now, pool, _anchors_by_name(trust, family.comparison))
    for each in dict.fromkeys(presented[1:]):
        pool.setdefault(web.name(facts_of(each).outline.subject), []).append(each)
    match family.search:
        case Search.ONE_TRUSTED_FIRST:
            found = _one_trusted_first(web)
        case Search.ONE_AS_SORTED:
            found = _one_as_sorted(web)
        case Search.AS_PRESENTED_THEN_EVERY:
            found = _as_presented(web)
        case Search.EVERY:
            found = _from_leaf(web)
    for number, path in enumerate(found):
        yield path
        if number + 1 >= MOST_PATHS:
            return


@lru_cache(maxsize=64)
def _anchors_by_name(trust: Trust, comparison: Comparison) -> Mapping[bytes, Sequence[Certificate]]:
    if comparison is Comparison.BYTES:
        return trust.by_subject
    found: dict[bytes, list[Certificate]] = {}
    for each in trust.anchors:
        found.setdefault(compared(each.outline().subject, comparison), []).append(each)
    return found


def may_concern(presented: Sequence[Certificate], trust: Trust) -> tuple[Certificate, ...]:
    """Return the certificates that any family may have on a path from `presented`: these, and anchors by their names.

    Anchors are followed to the anchors that issued them. Whoever compares names more strictly finds fewer of them.
    """
    anchors = _anchors_by_name(trust, Comparison.FOLDED)
    found = dict.fromkeys(presented)
    names = dict.fromkeys(
        folded(name) for each in presented for name in (each.outline().issuer, each.outline().subject)
    )
    waiting = list(names)
    while waiting:
        for anchor in anchors.get(waiting.pop(), ()):
            found[anchor] = None
            issuer = folded(anchor.outline().issuer)
            if issuer not in names:
                names[issuer] = None
                waiting.append(issuer)
    return tuple(found)


def _is_self_signed(certificate: Certificate) -> bool:
    return facts_of(certificate).self_issued and made_signature(certificate, certificate)


def _best(issuers: Sequence[Certificate], web: _Web) -> Certificate | None:
    """Return the issuer that OpenSSL takes: the first within its validity, else the one that ends last."""
    for each in issuers:
        if is_within_validity(each, web.now):
            return each
    return max(issuers, key=lambda each: each.not_after or 0, default=None)


def _one_trusted_first(web: _Web) -> Iterator[TriedPath]:
    """Yield the path that OpenSSL builds (`build_chain` in crypto/x509/x509_vfy.c)."""
    path = [web.presented[0]]
    asks_presented, partial = True, web.family.partial_chain
    while len(path) <= web.family.most_issuers + 1:
        last = path[-1]
        if _is_self_issued_by_itself(last, web.family):
            # Another certificate of the same name would be an impersonation.
            if web.trust.holds(last):
                yield TriedPath(tuple(path), End.ANCHOR, pinned=len(path) == 1)
                return
            break
        if (issuer := _best(list(web.anchors_named(last)), web)) is not None and issuer not in path:
            path.append(issuer)
            if partial or _is_self_issued_by_itself(issuer, web.family):
                yield TriedPath(tuple(path), End.ANCHOR)
                return
            asks_presented = False
            continue
        named = [each for each in web.presented_named(last) if each not in path]
        issuer = _best(named, web) if asks_presented else None
        if issuer is None:
            break
        path.append(issuer)
    if partial and web.trust.holds(path[0]):
        yield TriedPath(tuple(path), End.ANCHOR, pinned=len(path) == 1)
        return
    yield TriedPath(tuple(path), End.SELF_SIGNED if _is_self_issued_by_itself(path[-1], web.family) else End.MISSING)


def _is_self_issued_by_itself(certificate: Certificate, family: ClientFamily) -> bool:
    return facts_of(certificate).self_issued and is_identified(certificate, certificate, family)


def _one_as_sorted(web: _Web) -> Iterator[TriedPath]:
    """Yield the path that GnuTLS builds (lib/x509/common.c, lib/x509/verify-high.c).

    Anchors are looked up by the bytes of the last issuer's name, and then of the last subject's.
    """
    path = [web.presented[0]]
    while len(path) < web.family.most_issuers + 1:
        issuer = next((each for each in web.presented_named(path[-1]) if each not in path), None)
        if issuer is None:
            break
        path.append(issuer)
    chained = len(path)
    if len(path) > 1 and _is_self_issued_by_itself(path[-1], web.family):
        path.pop()
    last = facts_of(path[-1]).outline
    tried = 0
    # By its subject, the last presented certificate is looked up, be it of the path or not.
    names = (last.issuer, *((last.subject,) if chained == len(web.presented) else ()))
    for name in dict.fromkeys(names):
        for each in _onto_trusted(path, web.trust.by_subject.get(name, ()), web):
            tried += 1
            yield each
    if not tried:
        yield TriedPath(tuple(path), _end_of(path[-1], web.trust.by_subject.get(last.issuer, ())))


def _onto_trusted(path: Sequence[Certificate], anchors: Sequence[Certificate], web: _Web) -> Iterator[TriedPath]:
    """Yield the paths onto some anchors, cut where one of these, or its key under its name, is presented."""
    for index, each in enumerate(path):
        for anchor in anchors:
            if _stands_for(anchor, each) if index else anchor == each:
                yield TriedPath((*path[:index], anchor), End.ANCHOR, pinned=not index)
                return
    for anchor in anchors:
        if web.issued_by(anchor, path[-1]) and made_signature(anchor, path[-1]):
            yield TriedPath((*path, anchor), End.ANCHOR)


def _end_of(last: Certificate, named: Sequence[Certificate]) -> End:
    if _is_self_signed(last):
        return End.SELF_SIGNED
    return End.BAD_SIGNATURE if named else End.MISSING


def _as_presented(web: _Web) -> Iterator[TriedPath]:
    """Yield the paths of Java: `engineValidate` of sun.security.validator.PKIXValidator."""
    path: list[Certificate] = []
    for each in web.presented:
        name = web.name(facts_of(each).outline.subject)
        if path and name != web.name(facts_of(path[-1]).outline.issuer):
            yield from _from_leaf(web)
            return
        same = (_key_of(anchor) == _key_of(each) for anchor in web.anchors.get(name, ()))
        if not path and web.trust.holds(each):
            yield TriedPath((each,), End.ANCHOR, pinned=True)
            return
        if path and any(same):
            yield from _onto_anchors(path, web)
            return
        path.append(each)
    if any(made_signature(each, path[-1]) for each in web.anchors_named(path[-1])):
        yield from _onto_anchors(path, web)
    else:
        yield from _from_leaf(web)


def _onto_anchors(path: Sequence[Certificate], web: _Web) -> Iterator[TriedPath]:
    found = [each for each in web.anchors_named(path[-1]) if _is_identified_anchor(each, path[-1], web.family)]
    for anchor in found:
        yield TriedPath((*path, anchor), End.ANCHOR)
    if not found:
        yield TriedPath(tuple(path), End.MISSING)


def _is_identified_anchor(anchor: Certificate, certificate: Certificate, family: ClientFamily) -> bool:
    if not family.anchor_identifiers:
        return True
    theirs, own = facts_of(anchor), facts_of(certificate)
    if own.issuer_serial not in {None, theirs.serial}:
        return False
    return None in {own.issuer_identifier, theirs.own_identifier} or own.issuer_identifier == theirs.own_identifier


def _from_leaf(web: _Web) -> Iterator[TriedPath]:
    leaf = web.presented[0]
    if web.trust.holds(leaf):
        yield TriedPath((leaf,), End.ANCHOR, pinned=True)
        return
    yield from _every((leaf,), web)


def _every(path: tuple[Certificate, ...], web: _Web) -> Iterator[TriedPath]:
    """Yield every path that goes on from `path`."""
    last = path[-1]
    ends = True
    named: list[Certificate] = []
    outside: list[Certificate] = []
    for anchor in web.anchors_named(last):
        named.append(anchor)
        if web.family.built_anchor_times and not is_within_validity(anchor, web.now):
            outside.append(anchor)
            continue
        web.left -= 1
        if made_signature(anchor, last):
            ends = False
            yield TriedPath((*path, anchor), End.ANCHOR)
    if len(path) <= web.family.most_issuers:
        for issuer in web.presented_named(last):
            if web.left <= 0:
                break
            web.left -= 1
            named.append(issuer)
            if any(_stands_for(issuer, each) for each in path) or not made_signature(issuer, last):
                continue
            ends = False
            yield from _every((*path, issuer), web)
    for anchor in outside:
        if web.left <= 0:
            break
        web.left -= 1
        if made_signature(anchor, last):
            ends = False
            yield TriedPath((*path, anchor), End.ANCHOR, passed_over=True)
    if ends:
        yield TriedPath(path, _end_of(last, [each for each in named if each not in path]))


def _stands_for(one: Certificate, other: Certificate) -> bool:
    """Whether two certificates have the same name and key, so that a path needs no more than one of them."""
    return facts_of(one).outline.subject == facts_of(other).outline.subject and _key_of(one) == _key_of(other)


def _key_of(certificate: Certificate) -> bytes:
    return facts_of(certificate).outline.public_key
