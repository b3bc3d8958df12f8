"""The families of clients, one row for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from config.model import Client
from config.vocabulary import VerifierName
from probes.reencoding import (
    EXTENSION_TWICE,
    LONG_LENGTH,
    NO_TIME,
    ODD_TEXT,
    OTHER_ZONE,
    TRUE_NOT_FF,
    WITH_FRACTION,
    WITHOUT_SECONDS,
)
from probes.verify.facts import KNOWN_CRITICAL
from probes.verify.family import (
    ANY_PURPOSE,
    MICROSOFT_GATED,
    NETSCAPE_GATED,
    SERVER_AUTH,
    AlgorithmRules,
    BareAnchor,
    ClientFamily,
    CommonName,
    Comparison,
    ConstraintRules,
    KeyIdentifiers,
    NameRules,
    PinnedLeaf,
    Search,
    SubjectEmail,
    Wildcards,
)

_GATED: Final = frozenset({SERVER_AUTH, NETSCAPE_GATED, MICROSOFT_GATED})

_SERVER_OR_ANY: Final = frozenset({SERVER_AUTH, ANY_PURPOSE})
_CRL_POINTS: Final = "2.5.29.31"
_AUTHORITY_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
_NIST: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_SHA2: Final = frozenset({"sha224", "sha256", "sha384", "sha512"})

OPENSSL: Final = ClientFamily(
    name="openssl",
    title="OpenSSL",
    versions="3.0 to 3.4",
    search=Search.ONE_TRUSTED_FIRST,
    partial_chain=False,
    pinned_leaf=PinnedLeaf.IF_SELF_SIGNED,
    comparison=Comparison.FOLDED,
    key_identifiers=KeyIdentifiers.ALL,
    issuer_needs_usage=True,
    most_issuers=100,
    bare_anchor=BareAnchor.IF_USED_SO,
    refused_encodings=frozenset({NO_TIME, WITHOUT_SECONDS, WITH_FRACTION, OTHER_ZONE, EXTENSION_TWICE}),
    leaf_usages=frozenset({"digital_signature", "key_encipherment", "key_agreement"}),
    purposes=_GATED,
    issuer_purposes=_GATED,
    known_critical=KNOWN_CRITICAL | {_CRL_POINTS, "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8", "1.3.6.1.5.5.7.1.14"},
    names=NameRules(
        common_name=CommonName.WITHOUT_DNS_NAMES, wildcards=Wildcards.PART_OF_LABEL, underscore_under_wildcard=False
    ),
    constraints=ConstraintRules(common_name=CommonName.WITHOUT_DNS_NAMES),
    algorithms=AlgorithmRules(
        level=2,
        ed448=True,
        dsa=True,
        hashes=frozenset({"md5", "sha1", *_SHA2}),
        curves=frozenset({*_NIST, "secp224r1", "secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"}),
    ),
    sources=MappingProxyType(
        {
            "search": "`build_chain` in crypto/x509/x509_vfy.c",
            "partial_chain": "X509_V_FLAG_PARTIAL_CHAIN in X509_VERIFY_PARAM_set_flags(3)",
            "key_identifiers": "`X509_check_akid` in crypto/x509/v3_purp.c",
            "issuer_needs_usage": "`ossl_x509_signing_allowed` in crypto/x509/v3_purp.c",
            "leaf_usages": "`check_purpose_ssl_server` in crypto/x509/v3_purp.c",
            "purposes": "`check_purpose_ssl_server` in crypto/x509/v3_purp.c",
            "known_critical": "`X509_supported_extension` in crypto/x509/v3_purp.c",
            "names": "X509_check_host(3)",
            "constraints": "crypto/x509/v3_ncons.c",
            "algorithms": "SSL_CTX_set_security_level(3)",
        }
    ),
)

PYTHON: Final = replace(
    OPENSSL,
    name="python",
    title="Python",
    versions="3.7 to 3.12",
    names=replace(OPENSSL.names, wildcards=Wildcards.WHOLE_LABEL),
    sources=MappingProxyType({**OPENSSL.sources, "names": "X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS in Modules/_ssl.c"}),
)

PYTHON_3_13: Final = replace(
    PYTHON,
    name="python-3.13",
    versions="3.13 and later",
    partial_chain=True,
    strict=True,
    bare_anchor=BareAnchor.NEVER,
    anchor_of_version_1=False,
    sources=MappingProxyType({**PYTHON.sources, "strict": "ssl.create_default_context, changed in 3.13"}),
)

CURL: Final = replace(
    OPENSSL,
    name="curl",
    title="curl",
    versions="7.87 and later, with OpenSSL",
    empty_issuers=False,
    partial_chain=True,
    names=NameRules(
        common_name=CommonName.WITHOUT_SERVER_NAMES,
        last_common_name=True,
        address_in_common_name=True,
        trailing_dot=True,
    ),
    sources=MappingProxyType({**OPENSSL.sources, "names": "lib/vtls/hostcheck.c and `ossl_verifyhost`"}),
)

GO: Final = ClientFamily(
    name="go",
    title="Go",
    versions="1.24 and later",
    pinned_leaf=PinnedLeaf.CHECKED,
    self_issued_counts=True,
    purposes=_SERVER_OR_ANY,
    issuer_purposes=_SERVER_OR_ANY,
    known_critical=KNOWN_CRITICAL | {_CRL_POINTS},
    negative_serials=False,
    reads_all=True,
    refused_encodings=frozenset({TRUE_NOT_FF, LONG_LENGTH, ODD_TEXT, NO_TIME, WITH_FRACTION, EXTENSION_TWICE}),
    versions_read=frozenset({1, 2, 3}),
    extensions_of_version_3_alone=True,
    explicit_policy=True,
    names=NameRules(labels_below_wildcard=0),
    constraints=ConstraintRules(
        subject_email=SubjectEmail.NEVER,
        directory_names=False,
        forms=frozenset({"dns", "address", "email", "uri"}),
        name_of_that_form_only=False,
        wildcards_expand=True,
    ),
    algorithms=AlgorithmRules(least_rsa=1024, hashes=_SHA2, curves=_NIST | {"secp224r1"}),
    sources=MappingProxyType(
        {
            "search": "`Certificate.Verify` in crypto/x509",
            "purposes": "`VerifyOptions.KeyUsages` in crypto/x509",
            "constraints": "crypto/x509/constraints.go",
            "explicit_policy": "`policiesValid` in crypto/x509/verify.go",
            "names": "`Certificate.VerifyHostname` in crypto/x509",
            "algorithms": "`InsecureAlgorithmError` in crypto/x509; crypto/rsa, GODEBUG=rsa1024min",
        }
    ),
)

JAVA: Final = ClientFamily(
    name="java-17",
    title="Java",
    versions="17",
    empty_issuers=False,
    search=Search.AS_PRESENTED_THEN_EVERY,
    pinned_leaf=PinnedLeaf.UNCHECKED,
    comparison=Comparison.FOLDED,
    most_issuers=6,
    anchor_times=False,
    anchor_path_length=False,
    anchor_purposes=False,
    anchor_critical=False,
    anchor_identifiers=True,
    reads_all=True,
    refused_encodings=frozenset({NO_TIME, EXTENSION_TWICE}),
    versions_read=frozenset({1, 2, 3}),
    extensions_of_version_2=False,
    empty_subject_needs_critical_names=True,
    leaf_usages=frozenset({"digital_signature"}),
    purposes=_GATED | {ANY_PURPOSE},
    known_critical=KNOWN_CRITICAL,
    explicit_policy=True,
    names=NameRules(
        common_name=CommonName.WITHOUT_DNS_NAMES,
        wildcards=Wildcards.ANY_LABEL,
        labels_below_wildcard=1,
        std3_alone=True,
    ),
    constraints=ConstraintRules(
        of_anchors=False,
        common_name=CommonName.WITHOUT_SERVER_NAMES,
        subject_email=SubjectEmail.WITHOUT_NAMES,
        empty_dns=False,
    ),
    algorithms=AlgorithmRules(least_rsa=1024, hashes=frozenset({"sha1", *_SHA2}), curves=_NIST),
    sources=MappingProxyType(
        {
            "search": "sun.security.validator.PKIXValidator",
            "leaf_usages": "`checkTLSServer` of sun.security.validator.EndEntityChecker",
            "purposes": "`checkTLSServer` of sun.security.validator.EndEntityChecker",
            "constraints": "sun.security.provider.certpath.ConstraintsChecker",
            "explicit_policy": "sun.security.provider.certpath.PolicyChecker",
            "names": "sun.security.util.HostnameChecker",
            "algorithms": "jdk.certpath.disabledAlgorithms in java.security",
        }
    ),
)

GNUTLS: Final = ClientFamily(
    name="gnutls",
    title="GnuTLS",
    versions="3.7",
    search=Search.ONE_AS_SORTED,
    comparison=Comparison.TEXT,
    pinned_leaf=PinnedLeaf.WITHIN_TIME,
    bare_anchor=BareAnchor.ALWAYS,
    key_identifiers=KeyIdentifiers.KEY,
    self_issued_counts=True,
    known_critical=(KNOWN_CRITICAL - {"2.5.29.36", "2.5.29.33"})
    | {_CRL_POINTS, "2.5.29.35", "1.3.6.1.5.5.7.1.24", _AUTHORITY_ACCESS},
    refused_encodings=frozenset({NO_TIME, WITH_FRACTION, OTHER_ZONE, EXTENSION_TWICE}),
    extensions_of_version_2=False,
    leaf_usages=frozenset({"digital_signature"}),
    must_staple=True,
    names=NameRules(
        common_name=CommonName.WITHOUT_PLACES,
        one_common_name=True,
        address_in_dns_name=True,
        wildcards=Wildcards.BEGIN_OF_LABEL,
    ),
    constraints=ConstraintRules(
        common_name=CommonName.WITHOUT_DNS_NAMES,
        to_issuers=False,
        subject_email=SubjectEmail.WITHOUT_EMAIL,
        directory_names=False,
        forms=frozenset({"dns", "address", "email"}),
        refuses_unknown_forms=False,
        refused_if_excluded=frozenset({"directory", "uri"}),
    ),
    algorithms=AlgorithmRules(least_rsa=1024, hashes=_SHA2, curves=_NIST | {"secp224r1"}),
    sources=MappingProxyType(
        {
            "search": "lib/x509/verify-high.c",
            "leaf_usages": "`_gnutls_check_key_usage_for_sig` in lib/tls-sig.c",
            "known_critical": "`is_ext_oid_supported` in lib/x509/verify.c",
            "constraints": "lib/x509/name_constraints.c",
            "must_staple": "lib/cert-session.c",
            "names": "lib/x509/hostname-verify.c",
            "algorithms": "the profile `low` of gnutls_priority_init(3)",
        }
    ),
)

WEBPKI: Final = ClientFamily(
    name="webpki",
    title="the web PKI",
    versions="RFC 5280 and the Baseline Requirements",
    is_run=False,
    key_identifiers=KeyIdentifiers.KEY,
    most_issuers=9,
    leaf_usages=OPENSSL.leaf_usages,
    purposes=frozenset({SERVER_AUTH}),
    issuer_purposes=_SERVER_OR_ANY,
    known_critical=KNOWN_CRITICAL | {_CRL_POINTS},
    reads_all=True,
    names=NameRules(underscore_under_wildcard=False),
    algorithms=AlgorithmRules(least_rsa=2048, most_rsa=8192, hashes=_SHA2 - {"sha224"}, ed25519=False),
)
"""To say why `probes.verifier.verify_webpki` refuses, which alone decides for it."""

FAMILIES: Final[Mapping[VerifierName, ClientFamily]] = MappingProxyType(
    {VerifierName(each.name): each for each in (OPENSSL, CURL, PYTHON, PYTHON_3_13, GO, JAVA, GNUTLS, WEBPKI)}
)


@lru_cache(maxsize=64)
def family_of(client: Client) -> ClientFamily:
    """Return the row by which a client judges, with what its configuration says of its OpenSSL."""
    row = FAMILIES[client.verifier]
    if client.verifier is not VerifierName.OPENSSL:
        return row
    rules = replace(row.algorithms, level=client.security_level, post_quantum=client.post_quantum)
    return replace(row, algorithms=rules)
