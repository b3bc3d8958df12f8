"""Name constraints (RFC 5280, 4.2.1.10), by the rules of a family."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from config.immutable import immutable
from probes.certificate import Certificate
from probes.verify.facts import Facts, folded, folded_name
from probes.verify.family import ClientFamily, SubjectEmail
from probes.verify.naming import counts_common_name

Address = ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network
Value = str | bytes | Address

MOST_COMPARED: Final = 1 << 17
"""Pairs of a name and a constraint on names in one verdict; verifiers give up, too (Go: 250,000; OpenSSL: 1 << 20)."""


class TooManyNamesError(Exception):
    """There are more names and constraints than anybody compares."""


@immutable
class Named:
    """A name, or the subtree of a constraint, as it is compared."""

    form: str
    value: Value | None
    """None where it cannot be read: nobody can tell then whether it lies in a subtree."""


def named(name: x509.GeneralName) -> Named:
    """Return a decoded name as it is compared."""
    match name:
        case x509.DNSName():
            return Named("dns", name.value.lower())
        case x509.IPAddress():
            return Named("address", name.value)
        case x509.RFC822Name():
            return Named("email", name.value)
        case x509.UniformResourceIdentifier():
            return Named("uri", name.value.lower())
        case x509.DirectoryName():
            return Named("directory", folded_name(name.value))
        case _:
            return Named(type(name).__name__, None)


def names_of(certificate: Certificate, facts: Facts, family: ClientFamily, *, leaf: bool) -> list[Named]:
    """Return the names of a certificate that constraints apply to; what cannot be read of it has no value."""
    found = list(_alternative_names(facts))
    rules = family.constraints
    if rules.directory_names and not facts.empty_subject:
        found.append(Named("directory", folded(facts.outline.subject)))
    subject = _subject(certificate) if _counts_email(facts, rules.subject_email) else None
    if subject is not None:
        addresses = subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        found += [_readable(Named("email", str(each.value))) for each in addresses]
    if leaf and counts_common_name(facts, rules.common_name):
        found += [
            Named("dns", each.lower()) for each in facts.common_names if each.isascii() and _looks_like_host(each)
        ]
    return found


@lru_cache(maxsize=256)
def _alternative_names(facts: Facts) -> tuple[Named, ...]:
    return tuple(_readable(named(each)) for each in facts.names or ())


def _counts_email(facts: Facts, when: SubjectEmail) -> bool:
    match when:
        case SubjectEmail.NEVER:
            return False
        case SubjectEmail.ALWAYS:
            return True
        case SubjectEmail.WITHOUT_NAMES:
            return facts.names is None
        case SubjectEmail.WITHOUT_EMAIL:
            return not any(isinstance(each, x509.RFC822Name) for each in facts.names or ())


def _readable(name: Named) -> Named:
    """Return a name as it is compared with subtrees: of a URI, its host counts."""
    match name.form, name.value:
        case "uri", str(text):
            return Named("uri", _host_of(text))
        case "email", str(text) if "@" not in text or not text.isascii():
            return Named("email", None)
        case _:
            return name


def _host_of(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname or None
    except ValueError:
        return None


def _subject(certificate: Certificate) -> x509.Name | None:
    try:
        return certificate.decoded().subject
    except Exception:  # noqa: BLE001 (why is among the failures already)
        return None


def _looks_like_host(name: str) -> bool:
    """Whether OpenSSL takes a common name for the name of a host (`cn2dnsid`), with a dot somewhere in it."""
    return "." in name and all(each.isalnum() or each in "-._*" for each in name)


@lru_cache(maxsize=256)
def _subtrees(authority: Facts) -> tuple[Mapping[str, Sequence[Named]], Mapping[str, Sequence[Named]]]:
    """Return what the constraints of a CA permit, and what they exclude, by form."""
    permitted, excluded = (_by_form(trees) for trees in (authority.permitted, authority.excluded))
    return permitted, excluded


def _by_form(trees: Sequence[x509.GeneralName]) -> Mapping[str, Sequence[Named]]:
    found: dict[str, list[Named]] = {}
    for each in map(named, trees):
        found.setdefault(each.form, []).append(each)
    return MappingProxyType(found)


class NameComparisons:
    """The comparisons of names with constraints in one verdict: each pair of certificates once, and not without end."""

    def __init__(self, family: ClientFamily) -> None:
        self._family = family
        self._left = MOST_COMPARED
        self._known: dict[tuple[Facts, Facts, bool], str] = {}

    def objection(self, certificate: Certificate, facts: Facts, authority: Facts, *, leaf: bool) -> str:
        """Return how the constraints of `authority` refuse a certificate below it: `names`, `form`, or empty.

        Raises TooManyNamesError where this verdict has compared too much.
        """
        pair = (facts, authority, leaf)
        if pair not in self._known:
            self._take(0)
            names = names_of(certificate, facts, self._family, leaf=leaf)
            self._take(len(names) + len(authority.permitted) + len(authority.excluded))
            refused = any(self._is_violated(each, authority) for each in names)
            form = "form" if not refused and unknown_forms(names, authority, self._family) else ""
            self._known[pair] = "names" if refused else form
        return self._known[pair]

    def _is_violated(self, name: Named, authority: Facts) -> bool:
        family = self._family
        if name.form not in family.constraints.forms:
            return False
        permitted, excluded = (each.get(name.form, ()) for each in _subtrees(authority))
        self._take(len(permitted) + len(excluded))
        if permitted and not any(within(name, each, family) for each in permitted):
            return True
        return any(_is_excluded(name, each, family) for each in excluded)

    def _take(self, comparisons: int) -> None:
        self._left -= comparisons
        if self._left < 0:
            raise TooManyNamesError


def _is_excluded(name: Named, tree: Named, family: ClientFamily) -> bool:
    if name.value is None or tree.value is None:
        return True
    if within(name, tree, family):
        return True
    match name.form, name.value, tree.value:
        case "dns", str(host), str(base) if family.constraints.wildcards_expand:
            return host.startswith("*.") and base.partition(".")[2] == host[2:]
        case _:
            return False


def unknown_forms(names: Sequence[Named], authority: Facts, family: ClientFamily) -> bool:
    """Whether `authority` has constraints of a form that this family does not know, and refuses for it."""
    rules = family.constraints
    permitted, excluded = _subtrees(authority)
    there = {each.form for each in names}
    if not rules.refused_if_excluded.isdisjoint(excluded.keys() & {"directory", *there}):
        return True
    for form, trees in (*permitted.items(), *excluded.items()):
        if not rules.empty_dns and form == "dns" and not all(each.value for each in trees):
            return True
        if form in rules.forms or not rules.refuses_unknown_forms:
            continue
        if not rules.name_of_that_form_only or form in there:
            return True
    return False


def within(name: Named, tree: Named, family: ClientFamily) -> bool:
    """Whether `name` lies in a subtree of the same form."""
    match name.form, name.value, tree.value:
        case "dns", str(host), str(base):
            return _dns_within(host.rstrip("."), base, family)
        case "address", own, network if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
            return isinstance(own, ipaddress.IPv4Address | ipaddress.IPv6Address) and own in network
        case "email", str(address), str(base):
            return _email_within(address, base)
        case "uri", str(host), str(base):
            return host.endswith(base) if base.startswith(".") else host == base
        case "directory", bytes(own), bytes(top):
            return own == top or not top or own.startswith(top + b"\x00")
        case _:
            return False


def _dns_within(host: str, base: str, family: ClientFamily) -> bool:
    if not base:
        return True
    if base.startswith("."):
        return family.constraints.leading_dot and host.endswith(base)
    return host == base or host.endswith("." + base)


def _email_within(address: str, base: str) -> bool:
    local, _, host = address.rpartition("@")
    if "@" in base:
        own_local, _, own_host = base.rpartition("@")
        return local == own_local and host.lower() == own_host.lower()
    return host.lower().endswith(base.lower()) if base.startswith(".") else host.lower() == base.lower()
