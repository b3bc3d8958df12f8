"""Whether a certificate names a server, by the rules of a family (RFC 9525; X509_check_host(3))."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from cryptography import x509

from config.address import is_ip_address
from probes.verify.facts import Facts
from probes.verify.family import CommonName, NameRules, Wildcards

_STD3 = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_LABELS = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def names_server(facts: Facts, name: str, rules: NameRules) -> bool:
    """Whether a certificate covers `name`, a DNS name or an IP address, by these rules."""
    if is_ip_address(name):
        return _names_address(facts, name, rules)
    host = name.lower().rstrip(".")
    if "*" in host or host.startswith("."):
        return False
    if rules.std3_alone and _STD3.fullmatch(host) is None:
        return False
    return any(fits(pattern, host, rules) for pattern in host_patterns(facts, rules))


def host_patterns(facts: Facts, rules: NameRules) -> Sequence[str]:
    """Return the names that count as a server's, perhaps with wildcards."""
    if counts_common_name(facts, rules.common_name):
        return tuple(_common_names(facts, rules))
    return tuple(each.value for each in facts.names or () if isinstance(each, x509.DNSName))


def counts_common_name(facts: Facts, when: CommonName) -> bool:
    """Whether the common name counts as the name of a server."""
    names = facts.names or ()
    match when:
        case CommonName.NEVER:
            return False
        case CommonName.WITHOUT_DNS_NAMES:
            return not any(isinstance(each, x509.DNSName) for each in names)
        case CommonName.WITHOUT_SERVER_NAMES:
            return not any(isinstance(each, x509.DNSName | x509.IPAddress) for each in names)
        case CommonName.WITHOUT_NAMES:
            return facts.names is None


def _common_names(facts: Facts, rules: NameRules) -> Iterator[str]:
    names = facts.common_names
    if rules.one_common_name and len(names) > 1:
        return
    yield from names[-1:] if rules.last_common_name else names


def _names_address(facts: Facts, name: str, rules: NameRules) -> bool:
    wanted = ipaddress.ip_address(name)
    names = facts.names or ()
    if any(isinstance(each, x509.IPAddress) and each.value == wanted for each in names):
        return True
    has_address = any(isinstance(each, x509.IPAddress) for each in names)
    in_dns_names = any(isinstance(each, x509.DNSName) and each.value == name for each in names)
    if rules.address_in_dns_name and not has_address and in_dns_names:
        return True
    return (
        rules.address_in_common_name
        and not any(isinstance(each, x509.DNSName | x509.IPAddress) for each in names)
        and name in tuple(_common_names(facts, rules))
    )


def fits(pattern: str, host: str, rules: NameRules) -> bool:
    """Whether a name in a certificate covers `host`, which is in lower case and ends with no dot."""
    pattern = pattern.lower()
    if rules.trailing_dot:
        pattern = pattern.rstrip(".")
    if pattern == host:
        return True
    if rules.leading_dot and pattern.startswith(".") and host.endswith(pattern):
        return True
    if "*" not in pattern or not pattern.isascii():
        return False
    theirs, ours = pattern.split("."), host.split(".")
    if len(theirs) != len(ours):
        return False
    if rules.wildcards is Wildcards.ANY_LABEL:
        last = max(index for index, each in enumerate(theirs) if "*" in each)
        return len(theirs) - 1 - last >= rules.labels_below_wildcard and all(map(_fits_label, theirs, ours))
    first, *rest = theirs
    if "*" in "".join(rest) or rest != ours[1:] or len(rest) < rules.labels_below_wildcard:
        return False
    if first == "*":
        return _LABELS.fullmatch(host) is not None and (rules.underscore_under_wildcard or "_" not in ours[0])
    if rules.wildcards is Wildcards.BEGIN_OF_LABEL:
        return first.startswith("*") and first.count("*") == 1 and ours[0].endswith(first[1:])
    return rules.wildcards is Wildcards.PART_OF_LABEL and _fits_part(first, ours[0])


def _fits_label(pattern: str, label: str) -> bool:
    """Whether a label with any number of wildcards covers another; the letters of an A-label are those of its name."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), _letters(label)) is not None


def _letters(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label.removeprefix("xn--").encode().decode("punycode")
    except UnicodeError:
        return label


def _fits_part(pattern: str, label: str) -> bool:
    """Whether a label with one wildcard at its begin or its end covers another (`valid_star`, `wildcard_match`)."""
    before, _, after = pattern.partition("*")
    if (before and after) or "*" in after or len(label) < len(before) + len(after):
        return False
    # The letters of an A-label are not those of the name (RFC 6125, 6.4.3).
    if label.startswith("xn--") or pattern.startswith("xn--"):
        return False
    return label.startswith(before) and label.endswith(after)
