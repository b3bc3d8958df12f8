"""The rules in which families of clients differ, as data; each row is one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from config.immutable import immutable


class Search(StrEnum):
    """How a family builds paths."""

    ONE_TRUSTED_FIRST = "one_trusted_first"
    """One path: at each step an issuer from the store, else one that is presented; it never goes back."""
    ONE_AS_SORTED = "one_as_sorted"
    """One path: the presented certificates by who issued whom, cut where the store goes on."""
    AS_PRESENTED_THEN_EVERY = "as_presented_then_every"
    """The presented order where each follows the one before; else every path."""
    EVERY = "every"
    """Every path, until one is accepted."""


class PinnedLeaf(StrEnum):
    """What an anchor is worth that is the presented leaf itself."""

    IF_SELF_SIGNED = "if_self_signed"
    """It ends the path where it is self-signed; the rules for issuers are not asked."""
    CHECKED = "checked"
    """It ends the path, and is checked as a leaf."""
    UNCHECKED = "unchecked"
    """It is accepted without any other rule but those of names and of the handshake."""
    WITHIN_TIME = "within_time"
    """The same, but for its times."""


class KeyIdentifiers(StrEnum):
    """Whether an issuer must fit the authority key identifier."""

    IGNORED = "ignored"
    KEY = "key"
    """Its key identifier alone."""
    ALL = "all"
    """Also the name and the serial number in it."""


class CommonName(StrEnum):
    """When the common name counts as the name of a server."""

    NEVER = "never"
    WITHOUT_DNS_NAMES = "without_dns_names"
    """Where no alternative name is a DNS name."""
    WITHOUT_SERVER_NAMES = "without_server_names"
    """Where none is a DNS name or an address."""
    WITHOUT_PLACES = "without_places"
    """Where none is a DNS name, an address or a URI."""


class Comparison(StrEnum):
    """How the names of issuers and subjects are compared."""

    BYTES = "bytes"
    TEXT = "text"
    """By their text, whatever its type."""
    FOLDED = "folded"
    """By their text without regard to case, types and more spaces (RFC 5280, 7.1)."""


class BareAnchor(StrEnum):
    """Whether an anchor of version 3 without basic constraints is a CA."""

    NEVER = "never"
    IF_USED_SO = "if_used_so"
    """Where its key usage allows to sign certificates."""
    ALWAYS = "always"


class Wildcards(StrEnum):
    """Which wildcards count."""

    BEGIN_OF_LABEL = "begin_of_label"
    """At the begin of the left-most label."""

    WHOLE_LABEL = "whole_label"
    """As the whole left-most label."""
    PART_OF_LABEL = "part_of_label"
    """Also beside a part of it."""
    ANY_LABEL = "any_label"
    """Also in other labels, and several."""


@immutable
class NameRules:
    """How a family compares the names of a certificate with that of the server (RFC 9525)."""

    common_name: CommonName = CommonName.NEVER
    wildcards: Wildcards = Wildcards.WHOLE_LABEL
    labels_below_wildcard: int = 2
    """At least so many labels must follow."""
    address_in_common_name: bool = False
    address_in_dns_name: bool = False
    """Where no alternative name is an address, DNS names are compared with it."""
    trailing_dot: bool = False
    """A dot at the end of a DNS name in the certificate is passed over."""
    underscore_under_wildcard: bool = True
    one_common_name: bool = False
    """Of several common names, none counts."""
    last_common_name: bool = False
    """Of several common names, the last one counts alone."""
    leading_dot: bool = False
    """A DNS name that begins with a dot stands for all below it."""
    std3_alone: bool = False
    """It asks for no name whose labels have other than letters, digits and inner hyphens."""


class SubjectEmail(StrEnum):
    """When the addresses for e-mail in a subject must keep name constraints."""

    NEVER = "never"
    ALWAYS = "always"
    WITHOUT_NAMES = "without_names"
    """Where no alternative names are there."""
    WITHOUT_EMAIL = "without_email"
    """Where no alternative name is such an address."""


@immutable
class ConstraintRules:
    """How a family applies name constraints (RFC 5280, 4.2.1.10)."""

    of_anchors: bool = True
    common_name: CommonName = CommonName.NEVER
    """When they apply to the common name."""
    leading_dot: bool = True
    """`.example.com` is taken for all below `example.com`; else nothing fits it."""
    to_issuers: bool = True
    """They apply to the names of CAs below, too."""
    subject_email: SubjectEmail = SubjectEmail.ALWAYS
    directory_names: bool = True
    """Subjects are compared with constraints on directory names."""
    forms: frozenset[str] = frozenset({"dns", "address", "email", "uri", "directory"})
    """The forms of constraints that it knows, and compares names with."""
    refuses_unknown_forms: bool = True
    """A critical constraint of another form refuses the path."""
    name_of_that_form_only: bool = True
    """And so only where a name of that form is there."""
    refused_if_excluded: frozenset[str] = frozenset()
    """Forms that are not compared: where one is excluded, each name of that form is refused; a subject is one."""
    wildcards_expand: bool = False
    """A name with a wildcard is excluded where one that it stands for is."""
    empty_dns: bool = True
    """An empty constraint on DNS names is one on all; else the path is refused for it."""


@immutable
class AlgorithmRules:
    """The keys and signatures that a family takes."""

    least_rsa: int = 0
    most_rsa: int = 1 << 14
    hashes: frozenset[str] = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})
    """Of signatures with RSA and ECDSA on certificates that are not anchors."""
    level: int = 0
    """OpenSSL's security level; 0 asks for nothing."""
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})
    """Of the keys of CAs."""
    leaf_curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})
    """Of the keys of servers, by what is offered in the handshake."""
    ed25519: bool = True
    ed448: bool = False
    dsa: bool = False
    """Of CAs; no server has one by today's TLS."""
    post_quantum: bool = False
    of_anchors: bool = True
    """The keys of anchors count, too."""


@immutable
class ClientFamily:
    """Clients that judge alike: the rules in which they differ from others."""

    name: str
    title: str
    """As sentences name it."""
    versions: str
    is_run: bool = True
    """Whether its verdicts are proved against the real verifier; else they are modelled alone."""
    search: Search = Search.EVERY
    partial_chain: bool = True
    """An anchor that is not self-signed ends a path."""
    pinned_leaf: PinnedLeaf = PinnedLeaf.CHECKED
    comparison: Comparison = Comparison.BYTES
    key_identifiers: KeyIdentifiers = KeyIdentifiers.IGNORED
    anchor_identifiers: bool = False
    """In the presented order, an anchor must fit key identifier and serial number of an authority key identifier."""
    issuer_needs_usage: bool = False
    """An issuer is passed over whose key usage does not allow to sign certificates."""
    most_issuers: int = 16
    """Certificates above the leaf."""
    anchor_times: bool = True
    built_anchor_times: bool = True
    """Where every path is built, anchors outside their validity are passed over."""
    anchor_is_checked_as_ca: bool = True
    anchor_path_length: bool = True
    anchor_of_version_1: bool = True
    bare_anchor: BareAnchor = BareAnchor.NEVER
    self_issued_counts: bool = False
    """For path lengths, self-issued certificates count as others."""
    leaf_may_be_ca: bool = True
    leaf_usages: frozenset[str] | None = None
    """The leaf's key usage must have one of them; None where it is not asked."""
    purposes: frozenset[str] | None = None
    """Of these the leaf's extended key usage must have one; None where it is not asked."""
    issuer_purposes: frozenset[str] | None = None
    anchor_purposes: bool = True
    known_critical: frozenset[str] = frozenset()
    """Critical extensions that it knows."""
    anchor_critical: bool = True
    """Critical extensions of anchors count."""
    strict: bool = False
    """It asks for all that X509_V_FLAG_X509_STRICT does."""
    refused_encodings: frozenset[str] = frozenset()
    """The rules of encoding, as `probes.reencoding` words them, for which it reads no certificate that breaks one."""
    reads_all: bool = False
    """A presented certificate that it cannot read ends the handshake, wherever it stands."""
    versions_read: frozenset[int] = frozenset({1, 2, 3, 4})
    extensions_of_version_2: bool = True
    """It reads certificates of version 2 that have extensions."""
    extensions_of_version_3_alone: bool = False
    """Extensions of a certificate of an older version are passed over."""
    empty_subject_needs_critical_names: bool = False
    negative_serials: bool = True
    empty_issuers: bool = True
    """It takes certificates whose issuer has no name."""
    must_staple: bool = False
    """It refuses a server that sends no OCSP response where a certificate promises one (RFC 7633)."""
    explicit_policy: bool = False
    """It does as policy constraints ask (RFC 5280, 6.1.3 d)."""
    names: NameRules = NameRules()
    constraints: ConstraintRules = ConstraintRules()
    algorithms: AlgorithmRules = AlgorithmRules()
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Where each rule is written down, by the name of its field."""


SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
ANY_PURPOSE: Final = "2.5.29.37.0"
NETSCAPE_GATED: Final = "2.16.840.1.113730.4.1"
MICROSOFT_GATED: Final = "1.3.6.1.4.1.311.10.3.3"
