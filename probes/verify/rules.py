"""The rules that a path must keep, by the row of a family: each that one of its certificates breaks is an objection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from config.immutable import immutable
from config.vocabulary import KeyKind
from probes.algorithm import ALGORITHMS, POST_QUANTUM, STRENGTHS
from probes.certificate import Certificate
from probes.chain import made_signature
from probes.lifetime import has_ended
from probes.verify.building import End, TriedPath
from probes.verify.constraints import NameComparisons, TooManyNamesError
from probes.verify.facts import Facts, facts_of, without_extensions
from probes.verify.family import BareAnchor, ClientFamily, PinnedLeaf
from probes.verify.naming import names_server
from probes.verify.policy import has_no_policy

_BASIC_CONSTRAINTS: Final = "2.5.29.19"
_ALTERNATIVE_NAMES: Final = "2.5.29.17"
_AUTHORITY_KEY: Final = "2.5.29.35"
_SUBJECT_KEY: Final = "2.5.29.14"
_JUDGED_ELSEWHERE: Final = ("public key", "signature algorithm", "notBefore", "notAfter", "serial number")
"""Fields that other rules ask for, where they cannot be decoded."""


TOO_MANY_NAMES: Final = "too many"
"""Detail of an objection: a verdict has compared so many names with constraints that it compares no more."""


class Rule(StrEnum):
    """What a path must keep."""

    ENCODING = "encoding"
    SERIAL = "serial"
    ANCHOR = "anchor"
    """It ends at a certificate of the store."""
    SIGNATURE = "signature"
    BEGIN = "begin"
    END = "end"
    CA = "ca"
    """Who signed another is a CA by its basic constraints."""
    SIGNING_USAGE = "signing_usage"
    """Its key usage allows to sign certificates."""
    PATH_LENGTH = "path_length"
    LEAF_IS_CA = "leaf_is_ca"
    KEY_USAGE = "key_usage"
    PURPOSE = "purpose"
    CRITICAL = "critical"
    CONSTRAINTS = "constraints"
    POLICY = "policy"
    KEY = "key"
    SIGNATURE_ALGORITHM = "signature_algorithm"
    PROFILE = "profile"
    """What X509_V_FLAG_X509_STRICT asks for, beside the others."""
    STAPLE = "staple"
    """A promised OCSP response is sent in the handshake."""
    NAME = "name"


_SOURCES: Final[Mapping[Rule, str]] = MappingProxyType(
    {
        Rule.ENCODING: "RFC 5280, 4.1",
        Rule.SERIAL: "RFC 5280, 4.1.2.2",
        Rule.ANCHOR: "RFC 5280, 6.1",
        Rule.SIGNATURE: "RFC 5280, 6.1.3 (a)(1)",
        Rule.BEGIN: "RFC 5280, 6.1.3 (a)(2)",
        Rule.END: "RFC 5280, 6.1.3 (a)(2)",
        Rule.CA: "RFC 5280, 6.1.4 (k)",
        Rule.SIGNING_USAGE: "RFC 5280, 6.1.4 (n)",
        Rule.PATH_LENGTH: "RFC 5280, 6.1.4 (l) and (m)",
        Rule.LEAF_IS_CA: "RFC 5280, 4.2.1.9",
        Rule.KEY_USAGE: "RFC 5280, 4.2.1.3",
        Rule.PURPOSE: "RFC 5280, 4.2.1.12",
        Rule.CRITICAL: "RFC 5280, 4.2",
        Rule.CONSTRAINTS: "RFC 5280, 4.2.1.10",
        Rule.POLICY: "RFC 5280, 6.1.5 (g)",
        Rule.KEY: "RFC 8446, 4.4.2.2",
        Rule.SIGNATURE_ALGORITHM: "RFC 8446, 4.4.2.4",
        Rule.PROFILE: "RFC 5280, 4.2",
        Rule.STAPLE: "RFC 7633, 4.2.3",
        Rule.NAME: "RFC 9525, 6",
    }
)
_FIELDS: Final[Mapping[Rule, str]] = MappingProxyType(
    {
        Rule.ANCHOR: "search",
        Rule.KEY_USAGE: "leaf_usages",
        Rule.PURPOSE: "purposes",
        Rule.CRITICAL: "known_critical",
        Rule.CONSTRAINTS: "constraints",
        Rule.POLICY: "explicit_policy",
        Rule.KEY: "algorithms",
        Rule.SIGNATURE_ALGORITHM: "algorithms",
        Rule.PROFILE: "strict",
        Rule.STAPLE: "must_staple",
        Rule.NAME: "names",
    }
)
"""The field of a row that decides."""


def sources_of(rule: Rule, family: ClientFamily) -> tuple[str, ...]:
    """Return where a rule is written down: for all, and for the family."""
    own = family.sources.get(_FIELDS.get(rule, ""))
    return (_SOURCES[rule],) if own is None else (_SOURCES[rule], own)


@immutable
class PathObjection:
    """A rule that a certificate of a path breaks."""

    rule: Rule
    index: int
    """Of the certificate in the path; 0 is the leaf."""
    detail: str = ""
    """Of rules that are several: which one."""


def objections(
    path: TriedPath,
    family: ClientFamily,
    name: str | None,
    now: float,
    comparisons: NameComparisons,
    *,
    unstapled: bool,
) -> Iterator[PathObjection]:
    """Yield each rule of `family` that `path` breaks for a client that asks for `name`, the most telling first.

    Without a name, names are not judged. `comparisons` are those of the whole verdict. `unstapled` says that no OCSP
    response came with the chain.
    """
    facts = [known_to(each, family) for each in path.certificates]
    if name is not None and not names_server(facts[0], name, family.names):
        yield PathObjection(Rule.NAME, 0)
    if path.end is not End.ANCHOR:
        yield PathObjection(Rule.ANCHOR, len(facts) - 1, path.end.value)
    if path.pinned and family.pinned_leaf in {PinnedLeaf.UNCHECKED, PinnedLeaf.WITHIN_TIME}:
        yield from _of_key(path.certificates[0], facts[0], 0, family)
        if unstapled:
            yield from _of_staple(facts[0], 0, family)
        if family.pinned_leaf is PinnedLeaf.WITHIN_TIME:
            yield from _of_times(path.certificates[0], 0, now)
        return
    yield from _of_signatures(path)
    for index, (certificate, known) in enumerate(zip(path.certificates, facts, strict=True)):
        is_anchor = path.end is End.ANCHOR and index == len(facts) - 1
        at = now if not is_anchor or family.anchor_times or path.passed_over else None
        yield from _of_each(certificate, known, index, family, at, is_anchor=is_anchor)
        if family.strict and len(facts) > 1:
            yield from _of_profile(known, index, is_last=is_anchor)
        if unstapled and not is_anchor:
            yield from _of_staple(known, index, family)
        if index:
            yield from _of_issuers(facts, index, family, is_anchor=is_anchor)
    yield from _of_leaf(facts[0], family)
    yield from _of_constraints(path, facts, family, comparisons)
    if family.explicit_policy and path.end is End.ANCHOR and has_no_policy(facts[:-1] or facts):
        yield PathObjection(Rule.POLICY, 0)


def known_to(certificate: Certificate, family: ClientFamily) -> Facts:
    """Return the facts of a certificate that a family sees."""
    facts = facts_of(certificate)
    if family.extensions_of_version_3_alone and facts.version < 3 and facts.extensions:
        return without_extensions(facts)
    return facts


def _of_signatures(path: TriedPath) -> Iterator[PathObjection]:
    for index, (subject, issuer) in enumerate(pairwise(path.certificates)):
        if not made_signature(issuer, subject):
            yield PathObjection(Rule.SIGNATURE, index)


def unreadable(certificate: Certificate, facts: Facts, family: ClientFamily) -> str:
    """Return why a family cannot read a certificate, a rule; empty where it can."""
    for each in certificate.encoding_faults:
        if each in family.refused_encodings:
            return each
    for each in certificate.failures:
        if not each.startswith(_JUDGED_ELSEWHERE):
            return each
    if facts.version not in family.versions_read:
        return f"version {facts.version}"
    if facts.version == 2 and facts.extensions and not family.extensions_of_version_2:
        return "extensions of version 2"
    if family.empty_subject_needs_critical_names and facts.empty_subject and _ALTERNATIVE_NAMES not in facts.critical:
        return "an empty subject without critical names"
    return ""


def _of_each(
    certificate: Certificate, facts: Facts, index: int, family: ClientFamily, at: float | None, *, is_anchor: bool
) -> Iterator[PathObjection]:
    """Yield the rules that hold for every certificate; `at` is None where its validity does not matter."""
    if why := unreadable(certificate, facts, family):
        yield PathObjection(Rule.ENCODING, index, why)
    if not family.empty_issuers and facts.empty_issuer:
        yield PathObjection(Rule.ENCODING, index, "an empty issuer")
    if not family.negative_serials and facts.serial < 0:
        yield PathObjection(Rule.SERIAL, index)
    if at is not None:
        yield from _of_times(certificate, index, at)
    if not is_anchor or family.anchor_critical:
        unknown = facts.critical - family.known_critical
        if unknown:
            yield PathObjection(Rule.CRITICAL, index, min(unknown))
    if not is_anchor or family.algorithms.of_anchors:
        yield from _of_key(certificate, facts, index, family)
    if not is_anchor:
        yield from _of_algorithm(certificate, index, family)


def _of_times(certificate: Certificate, index: int, now: float) -> Iterator[PathObjection]:
    if certificate.not_before is None or now < certificate.not_before:
        yield PathObjection(Rule.BEGIN, index)
    if certificate.not_after is None or has_ended(certificate, now):
        yield PathObjection(Rule.END, index)


def _of_staple(facts: Facts, index: int, family: ClientFamily) -> Iterator[PathObjection]:
    if family.must_staple and facts.promises_staple:
        yield PathObjection(Rule.STAPLE, index)


def _of_key(certificate: Certificate, facts: Facts, index: int, family: ClientFamily) -> Iterator[PathObjection]:
    key, rules = certificate.key, family.algorithms
    match key.kind:
        case KeyKind.RSA:
            fits = rules.least_rsa <= key.bits <= rules.most_rsa
        case KeyKind.EC:
            fits = facts.curve in (rules.curves if index else rules.leaf_curves)
        case KeyKind.ED25519:
            fits = rules.ed25519
        case KeyKind.ED448:
            fits = rules.ed448
        case KeyKind.DSA:
            fits = bool(index) and rules.dsa
        case _:
            fits = key.kind in POST_QUANTUM and key.kind is not KeyKind.COMPOSITE and rules.post_quantum
            fits = fits and not (index == 0 and key.kind is KeyKind.SLH_DSA)
    if fits and rules.level:
        fits = (key.strength or 0) >= STRENGTHS[rules.level - 1]
    if not fits:
        yield PathObjection(Rule.KEY, index)


def _of_algorithm(certificate: Certificate, index: int, family: ClientFamily) -> Iterator[PathObjection]:
    rules, hashed = family.algorithms, certificate.signature_hash
    known = ALGORITHMS.get(certificate.signature_oid)
    if known is not None:
        fits = rules.post_quantum and known.kind is not KeyKind.COMPOSITE
    else:
        fits = certificate.signature_strength is not None and (not hashed or hashed in rules.hashes)
    if fits and rules.level:
        fits = (certificate.signature_strength or 0) >= STRENGTHS[rules.level - 1]
    if not fits:
        yield PathObjection(Rule.SIGNATURE_ALGORITHM, index)


def _of_issuers(
    facts: Sequence[Facts], index: int, family: ClientFamily, *, is_anchor: bool
) -> Iterator[PathObjection]:
    """Yield the rules for the certificate at `index`, which signed the one before it."""
    known = facts[index]
    if (not is_anchor or family.anchor_is_checked_as_ca) and not _is_ca(known, family, is_anchor=is_anchor):
        yield PathObjection(Rule.CA, index)
    if (not is_anchor or family.anchor_is_checked_as_ca) and known.usage is not None and not _signs(known):
        yield PathObjection(Rule.SIGNING_USAGE, index)
    if known.path_length is not None and (not is_anchor or family.anchor_path_length):
        below = sum(family.self_issued_counts or not each.self_issued for each in facts[1:index])
        if below > known.path_length:
            yield PathObjection(Rule.PATH_LENGTH, index)
    if not is_anchor or family.anchor_purposes:
        yield from _of_purposes(known, family.issuer_purposes, index)


def _is_ca(facts: Facts, family: ClientFamily, *, is_anchor: bool) -> bool:
    if facts.has_constraints:
        return facts.ca
    if not is_anchor:
        return False
    if facts.version != 3:
        return family.anchor_of_version_1
    used_so = facts.usage is not None and family.bare_anchor is BareAnchor.IF_USED_SO
    return used_so or family.bare_anchor is BareAnchor.ALWAYS


def _of_purposes(facts: Facts, wanted: frozenset[str] | None, index: int) -> Iterator[PathObjection]:
    if wanted is not None and facts.purposes is not None and not facts.purposes & wanted:
        yield PathObjection(Rule.PURPOSE, index)


def _of_leaf(facts: Facts, family: ClientFamily) -> Iterator[PathObjection]:
    if facts.ca and not family.leaf_may_be_ca:
        yield PathObjection(Rule.LEAF_IS_CA, 0)
    if family.leaf_usages is not None and facts.usage is not None and not facts.usage & family.leaf_usages:
        yield PathObjection(Rule.KEY_USAGE, 0)
    if family.strict and not facts.has_constraints and (_signs(facts) or _is_root_of_version_1(facts)):
        yield PathObjection(Rule.PROFILE, 0, "only a CA may have the key usage to sign certificates")
    yield from _of_purposes(facts, family.purposes, 0)


def _of_constraints(
    path: TriedPath, facts: Sequence[Facts], family: ClientFamily, comparisons: NameComparisons
) -> Iterator[PathObjection]:
    """Yield each certificate whose name constraints exclude a name below it."""
    rules = family.constraints
    for index in range(1, len(facts)):
        is_anchor = path.end is End.ANCHOR and index == len(facts) - 1
        if not facts[index].limits_names or (is_anchor and not rules.of_anchors):
            continue
        below = range(index) if rules.to_issuers else range(1)
        try:
            for other in below:
                if other and facts[other].self_issued:
                    continue
                certificate = path.certificates[other]
                detail = comparisons.objection(certificate, facts[other], facts[index], leaf=other == 0)
                if detail:
                    yield PathObjection(Rule.CONSTRAINTS, index, detail)
        except TooManyNamesError:
            yield PathObjection(Rule.CONSTRAINTS, index, TOO_MANY_NAMES)


def _of_profile(facts: Facts, index: int, *, is_last: bool) -> Iterator[PathObjection]:
    for text, breaks in _PROFILE:
        if breaks(facts, is_last):
            yield PathObjection(Rule.PROFILE, index, text)


def _is_root_of_version_1(facts: Facts) -> bool:
    return facts.version == 1 and facts.self_issued


def _signs(facts: Facts) -> bool:
    return facts.usage is not None and "key_cert_sign" in facts.usage


_PROFILE: Final[Sequence[tuple[str, Callable[[Facts, bool], bool]]]] = (
    ("a path length must stand beside a CA alone", lambda it, _: it.path_length is not None and not it.ca),
    (
        "a path length must stand beside a key usage to sign certificates",
        lambda it, _: it.path_length is not None and it.usage is not None and not _signs(it),
    ),
    ("the basic constraints of a CA must be critical", lambda it, _: it.ca and _BASIC_CONSTRAINTS not in it.critical),
    ("a CA must have a key usage", lambda it, _: it.ca and it.usage is None),
    ("only a CA may have the key usage to sign certificates", lambda it, _: not it.ca and _signs(it)),
    ("the issuer must have a name", lambda it, _: it.empty_issuer),
    (
        "a CA, and whoever has no alternative names, must have a subject",
        lambda it, _: it.empty_subject and (it.ca or it.names is None or "crl_sign" in (it.usage or ())),
    ),
    (
        "alternative names beside an empty subject must be critical",
        lambda it, _: it.empty_subject and it.names is not None and _ALTERNATIVE_NAMES not in it.critical,
    ),
    ("alternative names must have one at least", lambda it, _: it.names is not None and not it.names),
    ("an authority key identifier must not be critical", lambda it, _: _AUTHORITY_KEY in it.critical),
    ("a subject key identifier must not be critical", lambda it, _: _SUBJECT_KEY in it.critical),
    (
        "a certificate must have an authority key identifier",
        lambda it, is_last: it.version >= 3 and not is_last and it.issuer_identifier is None,
    ),
    (
        "a CA must have a subject key identifier",
        lambda it, _: it.version >= 3 and it.ca and it.own_identifier is None,
    ),
    ("extensions must stand in a certificate of version 3", lambda it, _: it.version < 3 and bool(it.extensions)),
)
"""What X509_V_FLAG_X509_STRICT asks for (`check_extensions` in OpenSSL's crypto/x509/x509_vfy.c), and what breaks it.

The second argument says whether it is the last of the path.
"""
