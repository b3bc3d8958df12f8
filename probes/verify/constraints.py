"""Name constraints (RFC 5280, 4.2.1.10), by the rules of a family."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from probes.certificate import Certificate
from probes.verify.facts import Facts, folded
from probes.verify.family import Family
from probes.verify.naming import counts_common_name

MOST_COMPARED: Final = 1 << 16
"""Pairs of a name and a constraint on names; verifiers give up as well (Go: 250,000; OpenSSL: 1 << 20)."""


class TooManyNamesError(Exception):
    """There are more names and constraints than anybody compares."""


def names_of(certificate: Certificate, facts: Facts, family: Family, *, leaf: bool) -> list[x509.GeneralName]:
    """Return the names of a certificate that constraints apply to."""
    found = list(facts.names or ())
    rules = family.constraints
    subject = _subject(certificate) if rules.directory_names and not facts.empty_subject else None
    if subject is not None:
        found.append(x509.DirectoryName(subject))
        found += [
            x509.RFC822Name(str(each.value))
            for each in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
            if str(each.value).isascii()
        ]
    if leaf and counts_common_name(facts, rules.common_name):
        found += [x509.DNSName(each) for each in facts.common_names if each.isascii() and _looks_like_host(each)]
    return found


def _subject(certificate: Certificate) -> x509.Name | None:
    try:
        return certificate.decoded().subject
    except Exception:  # noqa: BLE001 (why is among the failures already)
        return None


def _looks_like_host(name: str) -> bool:
    """Whether OpenSSL takes a common name for the name of a host (`cn2dnsid`), with a dot somewhere in it."""
    return "." in name and all(each.isalnum() or each in "-._*" for each in name)


def violated(names: Sequence[x509.GeneralName], authority: Facts, family: Family) -> Iterator[x509.GeneralName]:
    """Yield each of `names` that the constraints of `authority` do not allow; raises TooManyNamesError."""
    if len(names) * (len(authority.permitted) + len(authority.excluded)) > MOST_COMPARED:
        raise TooManyNamesError
    for name in names:
        permitted = [each for each in authority.permitted if type(each) is type(name)]
        excluded = (each for each in authority.excluded if type(each) is type(name))
        allowed = not permitted or any(within(name, each, family) for each in permitted)
        if not allowed or any(_is_excluded(name, each, family) for each in excluded):
            yield name


def _is_excluded(name: x509.GeneralName, tree: x509.GeneralName, family: Family) -> bool:
    if within(name, tree, family):
        return True
    if not (family.constraints.wildcards_expand and isinstance(name, x509.DNSName) and isinstance(tree, x509.DNSName)):
        return False
    return name.value.startswith("*.") and tree.value.lower().partition(".")[2] == name.value.lower()[2:]


FORMS: Final = {
    x509.DNSName: "dns",
    x509.IPAddress: "address",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
    x509.DirectoryName: "directory",
}


def unknown_forms(names: Sequence[x509.GeneralName], authority: Facts, family: Family) -> bool:
    """Whether `authority` has constraints of a form that this family does not know, and refuses for it."""
    rules = family.constraints
    if any(FORMS.get(type(tree), "other") in rules.refused_if_excluded for tree in authority.excluded):
        return True
    for tree in (*authority.permitted, *authority.excluded):
        if not rules.empty_dns and isinstance(tree, x509.DNSName) and not tree.value:
            return True
        if FORMS.get(type(tree), "other") in rules.forms or not rules.refuses_unknown_forms:
            continue
        if not rules.name_of_that_form_only or any(type(each) is type(tree) for each in names):
            return True
    return False


def within(name: x509.GeneralName, tree: x509.GeneralName, family: Family) -> bool:
    """Whether `name` lies in a subtree of the same form."""
    match name, tree:
        case x509.DNSName(), x509.DNSName():
            return _dns_within(name.value.lower().rstrip("."), tree.value.lower(), family)
        case x509.IPAddress(), x509.IPAddress():
            network, address = tree.value, name.value
            if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
                return False
            return isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) and address in network
        case x509.RFC822Name(), x509.RFC822Name():
            return _email_within(name.value, tree.value)
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host = (urlsplit(name.value).hostname or "").lower()
            base = tree.value.lower()
            return host.endswith(base) if base.startswith(".") else host == base
        case x509.DirectoryName(), x509.DirectoryName():
            own, top = folded(name.value.public_bytes()), folded(tree.value.public_bytes())
            return own == top or not top or own.startswith(top + b"\x00")
        case _:
            return False


def _dns_within(host: str, base: str, family: Family) -> bool:
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
