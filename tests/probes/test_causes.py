"""Why a client refuses, and what would cure it: the cause that is named is the cause, the cure cures."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.catalogue import CATALOGUE
from config.model import Client
from config.vocabulary import Code, KeyKind, Severity, VerifierName
from monitor.lab.ca import DAY, Authority, Issued, KeyType, Knobs, new_key
from probes.certificate import Certificate, certificate
from probes.finding import Finding
from probes.judge.client import ChainVerdict, View, cure_of, judge_chain
from probes.judge.presented import Audience, judge_presented
from probes.trust import Trust

NOW: Final = time.time()
NAME: Final = "www.example.com"
ROOT: Final = Authority.root("Root")
ISSUING: Final = ROOT.intermediate("Issuing")
LOWER: Final = ISSUING.intermediate("Lower")
STRANGER: Final = Authority.root("Stranger")
REKEYED: Final = Authority.root("Root", key=new_key(KeyType.P256))
BOTH: Final = pytest.mark.parametrize("verifier", [VerifierName.OPENSSL, VerifierName.WEBPKI])

_FOR_DEVELOPERS: Final = re.compile(r"[{}]|::|PhantomData|ParseError|candidates exhausted|invalid extension: ")


def value(each: Issued | bytes) -> Certificate:
    return certificate(each if isinstance(each, bytes) else each.der())


def trust(*anchors: Issued | bytes, name: str = "corp") -> Trust:
    return Trust(name, tuple(map(value, anchors)))


def judge(
    chain: Sequence[Issued | bytes],
    store: Trust,
    verifier: VerifierName,
    *elsewhere: Trust,
    level: int = 2,
    post_quantum: bool = False,
) -> ChainVerdict:
    view = View(Client("client", store.name, verifier, security_level=level, post_quantum=post_quantum), store)
    verdict = judge_chain(tuple(map(value, chain)), view, NOW, elsewhere)
    assert not any(_FOR_DEVELOPERS.search(each.detail) for each in verdict.causes)
    return verdict


def cause(verdict: ChainVerdict) -> Finding:
    assert not verdict.accepted
    return verdict.causes[0]


@BOTH
def test_a_missing_upper_intermediate_may_be_appended(verifier: VerifierName) -> None:
    """Whether it is an intermediate or a root is not to be seen: both are said, neither is claimed."""
    found = cause(judge((LOWER.issue(NAME), LOWER), trust(ROOT), verifier))
    assert "the certificate of CN=Issuing, which issued CN=Lower, is neither presented nor in" in found.detail
    assert cure_of(found).startswith(
        "append the certificate of CN=Issuing to the server's chain if it is an intermediate"
    )


@BOTH
def test_a_leaf_under_an_unknown_root_may_need_that_root(verifier: VerifierName) -> None:
    found = cause(judge((STRANGER.issue(NAME),), trust(ROOT), verifier))
    assert cure_of(found).endswith(
        "or add it to the client's store if it is a root whose fingerprint is one that the CA itself publishes"
    )


@BOTH
def test_a_leaf_under_a_root_that_another_store_holds_needs_that_root(verifier: VerifierName) -> None:
    store = trust(ROOT)
    found = cause(judge((STRANGER.issue(NAME),), store, verifier, store, trust(STRANGER, name="theirs")))
    assert found.code is Code.UNTRUSTED_ISSUER
    assert "a root in the store theirs, but not in the store corp" in found.detail
    assert cure_of(found).endswith("add that root to the client's store")


@BOTH
@pytest.mark.parametrize("identified", [True, False], ids=["its key is identified", "its key is not identified"])
def test_a_root_with_a_new_key_is_not_said_to_be_in_the_store_and_not(verifier: VerifierName, identified: bool) -> None:
    store = trust(REKEYED)
    leaf = ROOT.issue(NAME, authority_key_identifier=identified)
    found = cause(judge((leaf,), store, verifier, store))
    assert found.code is (Code.UNTRUSTED_ISSUER if identified else Code.BAD_SIGNATURE)
    assert "but not in the store" not in found.detail
    assert cure_of(found).endswith("add its new certificate to the client's store")


@BOTH
def test_a_root_under_the_name_of_a_trusted_one_is_called_perhaps_forged_and_trusted_by_fingerprint_alone(
    verifier: VerifierName,
) -> None:
    forged = REKEYED
    found = cause(judge((forged.issue(NAME), forged), trust(ROOT), verifier))
    assert found.code is Code.UNTRUSTED_ISSUER
    assert value(forged).sha256 in found.detail
    assert value(ROOT).sha256 in found.detail
    assert "may be forged" in found.detail
    cure = cure_of(found)
    assert cure.startswith("serve a certificate of the CA that the store holds")
    assert "by a fingerprint that the CA itself publishes" in cure
    assert cure.index("openssl x509 -in FILE -noout -fingerprint -sha256") < cure.index("add its new certificate")


def test_no_advice_of_the_catalogue_has_anybody_trusted_without_a_fingerprint() -> None:
    texts = [text for each in CATALOGUE.values() for text in (each.cure, each.client_cure, *each.cures.values())]
    trusting = [text for text in texts if re.search(r"\badd (that|this|its)\b.* store|have the client trust", text)]
    assert len(trusting) == 3
    assert all("fingerprint" in each for each in trusting)


@BOTH
def test_a_new_key_of_a_root_that_another_store_has_is_named(verifier: VerifierName) -> None:
    store = trust(REKEYED)
    found = cause(judge((ROOT.issue(NAME),), store, verifier, store, trust(ROOT, name="new")))
    assert "a root in the store new, but not in the store corp, which holds another of that name" in found.detail


@BOTH
def test_a_presented_root_with_a_new_key_is_told_from_the_old_one(verifier: VerifierName) -> None:
    found = cause(judge((ISSUING.issue(NAME), ISSUING, ROOT), trust(REKEYED), verifier))
    assert "the store corp holds another certificate of that name, with another key" in found.detail


@pytest.mark.parametrize(
    ("chain", "anchor"),
    [((LEAF := ISSUING.issue(NAME),), ISSUING), ((LEAF,), LEAF)],
    ids=["an intermediate", "the leaf itself"],
)
def test_an_anchor_that_is_no_root_needs_its_root_for_openssl(chain: Sequence[Issued], anchor: Issued) -> None:
    found = cause(judge(chain, trust(anchor), VerifierName.OPENSSL))
    assert found.code is Code.UNTRUSTED_ISSUER
    assert "is in the store corp but is no root" in found.detail
    assert cure_of(found) == f"add {value(anchor).issuer} to the client's store"
    assert judge(chain, trust(anchor), VerifierName.WEBPKI).accepted
    root = next(each for each in (ROOT, ISSUING) if value(each).subject == value(anchor).issuer)
    assert judge((*chain, ISSUING), trust(anchor, root, ROOT), VerifierName.OPENSSL).accepted


@pytest.mark.parametrize(("verifier", "who"), [(VerifierName.OPENSSL, "OpenSSL"), (VerifierName.PYTHON, "Python")])
def test_who_asks_for_a_root_has_its_own_name_in_the_sentence(verifier: VerifierName, who: str) -> None:
    found = cause(judge((LEAF,), trust(ISSUING), verifier))
    assert f"but is no root, and {who} by default accepts only a path that ends at a root" in found.detail


def test_an_anchor_below_its_root_in_the_store_is_no_fault() -> None:
    ended = ISSUING.issue(NAME, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    verdict = judge((ended,), trust(ISSUING, ROOT), VerifierName.OPENSSL)
    assert [each.code for each in verdict.causes] == [Code.EXPIRED]


def test_openssl_does_not_take_any_purpose_for_that_of_a_server() -> None:
    chain = (ISSUING.issue(NAME, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), ISSUING)
    found = cause(judge(chain, trust(ROOT), VerifierName.OPENSSL))
    assert found.detail == f"the extended key usage of CN={NAME} excludes TLS servers"


OLD = ROOT.intermediate("Old", key=KeyType.RSA2048)
SHORT = ROOT.intermediate("Short", key=KeyType.RSA1024)
WEAK: Final = {
    "a short key": ((ISSUING.issue(NAME, key=KeyType.RSA1024), ISSUING), Code.WEAK_KEY, "rsa 1024"),
    "a short key of a CA": ((SHORT.issue(NAME), SHORT), Code.WEAK_KEY, "CN=Short has a key of rsa 1024"),
    "SHA-1": ((OLD.issue(NAME, signature_hash="sha1"), OLD), Code.WEAK_SIGNATURE, "signed with sha1"),
    "MD5": ((OLD.issue(NAME, signature_hash="md5"), OLD), Code.WEAK_SIGNATURE, "signed with md5"),
}


@BOTH
@pytest.mark.parametrize("fault", WEAK)
def test_what_is_too_weak_for_a_client_is_why_it_rejects(fault: str, verifier: VerifierName) -> None:
    chain, code, said = WEAK[fault]
    view = View(Client("client", "corp", verifier), trust(ROOT))
    found = judge_presented([tuple(map(value, chain))], Audience("shop", (view,), (NAME,)), NOW).findings
    worst = {(each.code, each.severity) for each in found if each.severity is Severity.CRITICAL}
    assert worst == {(code, Severity.CRITICAL), (Code.CLIENT_REJECTS, Severity.CRITICAL)}
    (rejects,) = [each for each in found if each.code is Code.CLIENT_REJECTS]
    assert said in rejects.detail
    assert "to cure it, have the certificate issued" in rejects.detail


@pytest.mark.parametrize("fault", WEAK)
def test_at_security_level_0_openssl_takes_what_is_weak(fault: str) -> None:
    assert judge(WEAK[fault][0], trust(ROOT), VerifierName.OPENSSL, level=0).accepted


@pytest.mark.parametrize(
    "key", [KeyType.ED25519, ec.generate_private_key(ec.SECP256K1())], ids=["ed25519", "secp256k1"]
)
def test_the_web_pki_takes_no_key_that_its_requirements_do_not_name(key: KeyType) -> None:
    found = cause(judge((ISSUING.issue(NAME, key=key), ISSUING), trust(ROOT), VerifierName.WEBPKI))
    assert found.code is Code.PATH_REJECTED
    assert cure_of(found).startswith("have the certificate issued anew for an RSA key")


def post_quantum(*, by: bool) -> tuple[tuple[bytes | Issued, ...], Trust]:
    """Return a chain with a key of ML-DSA, the leaf's or, where that is `by`, its issuer's, and who trusts its root."""
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    key = mldsa.MLDSA65PrivateKey.generate()
    if not by:
        leaf = _certificate(NAME, key.public_key(), "Issuing", ISSUING.key, hashes.SHA256())
        return (leaf, ISSUING), trust(ROOT)
    root = _certificate("Quantum Root", key.public_key(), "Quantum Root", key, None, ca=True)
    return (_certificate(NAME, new_key(KeyType.P256).public_key(), "Quantum Root", key, None),), trust(root)


def _certificate(
    subject: str, public: object, issuer: str, signer: object, algorithm: object, *, ca: bool = False
) -> bytes:
    now = datetime.now(UTC)
    name = x509.NameAttribute(NameOID.COMMON_NAME, subject)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([name]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)  # type: ignore[arg-type]
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)  # type: ignore[attr-defined]
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(signer, algorithm)  # type: ignore[arg-type]
        .public_bytes(Encoding.DER)
    )


@BOTH
@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("by", [False, True], ids=["its own key", "its issuer's key"])
def test_an_algorithm_that_most_clients_do_not_know_is_accepted_by_none(
    by: bool, level: int, verifier: VerifierName
) -> None:
    chain, store = post_quantum(by=by)
    found = cause(judge(chain, store, verifier, level=level if verifier is VerifierName.OPENSSL else 2))
    assert found.code is Code.PATH_REJECTED
    assert "ML-DSA-65" in found.detail
    assert value(chain[0]).failures == ()


@pytest.mark.parametrize("by", [False, True], ids=["its own key", "its issuer's key"])
def test_ml_dsa_is_accepted_by_a_client_that_is_declared_to_know_it_as_far_as_its_level_goes(by: bool) -> None:
    chain, store = post_quantum(by=by)
    refused = cause(judge(chain, store, VerifierName.OPENSSL))
    assert "ML-DSA-65, which OpenSSL knows only since its version 3.5" in refused.detail
    assert cure_of(refused).startswith("say `post_quantum: true` of the client where it has that version; else ")
    judged = judge(chain, store, VerifierName.OPENSSL, post_quantum=True)
    assert judged.accepted
    assert [each.code for each in judged.causes] == [Code.NONCONFORMING]
    weak = cause(judge(chain, store, VerifierName.OPENSSL, post_quantum=True, level=5))
    assert weak.code in {Code.WEAK_KEY, Code.WEAK_SIGNATURE}


@BOTH
def test_an_algorithm_that_nobody_knows_is_named_by_its_identifier(verifier: VerifierName) -> None:
    der = ISSUING.issue(NAME, key=KeyType.P256).der()
    unknown = value(der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f")))
    assert unknown.key.kind is KeyKind.UNKNOWN
    assert "1.2.840.10045.2.127" in unknown.failures[0]
    found = judge((unknown.der, ISSUING), trust(ROOT), verifier).causes
    assert any("1.2.840.10045.2.127, an algorithm that most clients do not know" in each.detail for each in found)


@BOTH
def test_a_signature_that_nobody_knows_is_named_by_its_identifier(verifier: VerifierName) -> None:
    der = ISSUING.issue(NAME).der()
    unknown = value(der.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")))
    assert unknown.failures == (
        "signature algorithm cannot be decoded: the algorithm 1.2.840.10045.4.3.127 is not known",
    )
    found = judge((unknown.der, ISSUING), trust(ROOT), verifier).causes
    assert any("1.2.840.10045.4.3.127, an algorithm that most clients do not know" in each.detail for each in found)


@BOTH
def test_a_root_without_a_key_usage_is_named_with_the_rule_in_no_words_of_a_library(verifier: VerifierName) -> None:
    root = Authority.root("Old root", key_usage=None)
    verdict = judge((root.issue(NAME),), trust(root), verifier)
    assert verdict.accepted is (verifier is VerifierName.OPENSSL)
    (found,) = verdict.causes
    assert found.detail == (
        "a verifier of the web PKI refuses it: CN=Old root breaks RFC 5280 4.2.1.3: a CA must have a key usage"
    )


RULES: Final[dict[str, Knobs]] = {
    "6.1.5": Knobs(key=KeyType.ED25519),
    "7.1.2.7.10": Knobs(purposes=()),
    "4.2.1.1": Knobs(authority_key_identifier=False),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_web_pki_that_openssl_overlooks_is_named_in_a_notice(rule: str) -> None:
    verdict = judge((ISSUING.issue(NAME, **RULES[rule]), ISSUING), trust(ROOT), VerifierName.OPENSSL)
    assert verdict.accepted
    assert [(each.code, each.severity) for each in verdict.causes] == [(Code.NONCONFORMING, Severity.NOTICE)]
    assert rule in verdict.causes[0].detail


def test_a_wildcard_beside_a_part_of_a_label_is_named_in_a_notice() -> None:
    verdict = judge((ISSUING.issue("w*.example.com"), ISSUING), trust(ROOT), VerifierName.OPENSSL)
    assert "a wildcard must be a whole label" in verdict.causes[0].detail
    assert not judge((ISSUING.issue("w*.example.com"), ISSUING), trust(ROOT), VerifierName.WEBPKI).accepted


@pytest.mark.parametrize("name", ["www.*.example.com", "*.*.example.com"])
def test_a_wildcard_outside_the_left_most_label_is_named_as_such(name: str) -> None:
    found = judge((ISSUING.issue(name), ISSUING), trust(ROOT), VerifierName.OPENSSL).causes[0]
    assert "RFC 9525 6.3: a wildcard must be alone, in the left-most label" in found.detail
    assert "a whole label" not in found.detail


def test_an_issuer_in_the_store_that_the_certificate_does_not_name_is_not_said_to_lack() -> None:
    other = x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    leaf = ROOT.issue(NAME, authority_key_identifier=False, extensions=[x509.Extension(other.oid, False, other)])
    for verifier in (VerifierName.OPENSSL, VerifierName.JAVA_17):
        found = cause(judge((leaf,), trust(ROOT), verifier))
        assert "its authority key identifier names another certificate" in found.detail
    assert judge((leaf,), trust(ROOT), VerifierName.GO).accepted


def test_names_that_a_ca_may_not_certify_are_laid_to_its_constraints() -> None:
    """OpenSSL's own words for it, `excluded subtree violation`, help nobody."""
    limited = ROOT.intermediate("Limited", extensions=[_constraints()])
    leaf = limited.issue(x509.RFC822Name("ops@example.com"), NAME)
    found = cause(judge((leaf, limited), trust(ROOT), VerifierName.OPENSSL))
    assert found.detail == "the name constraints of CN=Limited exclude a name of CN=ops@example.com"
    assert cure_of(found) == "have the certificate issued for names that these allow"


def _constraints() -> x509.Extension[x509.ExtensionType]:
    constraints = x509.NameConstraints(None, [x509.RFC822Name("example.com")])
    return x509.Extension(constraints.oid, True, constraints)


def test_a_leaf_that_may_sign_others_without_being_a_ca_is_named() -> None:
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    verdict = judge((ISSUING.issue(NAME, key_usage=usage), ISSUING), trust(ROOT), VerifierName.OPENSSL)
    assert "RFC 5280 4.2.1.3: only a CA's" in verdict.causes[0].detail
