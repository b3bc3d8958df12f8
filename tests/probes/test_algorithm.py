"""Algorithms by their object identifiers: each has its name, and none that is unknown makes a certificate broken."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from config.model import Client, FileTarget
from config.vocabulary import Code, FileRole, KeyKind, Severity, VerifierName
from monitor.lab.ca import Authority, KeyType
from probes.algorithm import ALGORITHMS
from probes.assess import FileContext, assess_file
from probes.certificate import Certificate, certificate, restored_key
from probes.encoding import DERError, enter, key_algorithm, object_identifier, outline
from probes.file import look_at_file
from probes.judge.client import View, judge_chain
from probes.judge.key import judge_algorithm, judge_strength
from probes.trust import Trust

ROOT = Authority.root("Root")
LEAF = ROOT.issue("www.example.com", key=KeyType.P256).der()
UNKNOWN = "1.3.6.1.4.1.99999.7"
NOW = 1_900_000_000.0


def element(tag: int, *content: bytes) -> bytes:
    """Return a DER element."""
    inside = b"".join(content)
    size = len(inside)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + inside


def identifier(oid: str) -> bytes:
    """Return an AlgorithmIdentifier without parameters."""
    first, second, *rest = map(int, oid.split("."))
    content = bytearray()
    for number in (40 * first + second, *rest):
        octets = [number & 0x7F]
        while number := number >> 7:
            octets.append(number & 0x7F | 0x80)
        content += bytes(reversed(octets))
    return element(0x30, element(0x06, bytes(content)))


def edited(*, key: tuple[str, int] | None = None, signature: str | None = None) -> Certificate:
    """Return the certificate `LEAF` with another key, given by its algorithm and its length, or another signature.

    Nobody can verify it; all its facts are there.
    """
    start, end = enter(LEAF, enter(LEAF, 0)[0])
    old = identifier("1.2.840.10045.4.3.2")
    signed = old if signature is None else identifier(signature)
    public = outline(LEAF).public_key
    new = public if key is None else element(0x30, identifier(key[0]), element(0x03, bytes(1 + key[1])))
    signed_part = element(0x30, LEAF[start:end].replace(public, new).replace(old, signed))
    return certificate(element(0x30, signed_part, LEAF[end:].replace(old, signed)))


def names(oids: list[str]) -> list[str]:
    return [ALGORITHMS[each].name for each in oids]


def test_the_identifiers_are_those_of_the_standards() -> None:
    nist = "2.16.840.1.101.3.4.3"
    assert names([f"{nist}.17", f"{nist}.18", f"{nist}.19"]) == ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
    assert names([f"{nist}.20", f"{nist}.25", f"{nist}.26", f"{nist}.31"]) == [
        *("SLH-DSA-SHA2-128s", "SLH-DSA-SHA2-256f", "SLH-DSA-SHAKE-128s", "SLH-DSA-SHAKE-256f"),
    ]
    pkix = "1.3.6.1.5.5.7.6"
    assert names([f"{pkix}.37", f"{pkix}.45", f"{pkix}.54"]) == [
        *("MLDSA44-RSA2048-PSS-SHA256", "MLDSA65-ECDSA-P256-SHA512", "MLDSA87-ECDSA-P521-SHA512"),
    ]
    assert len(ALGORITHMS) == 3 + 12 + 18


@pytest.mark.parametrize("oid", ALGORITHMS)
def test_a_post_quantum_key_and_signature_have_their_name_and_strength(oid: str) -> None:
    algorithm = ALGORITHMS[oid]
    known = edited(key=(oid, algorithm.key_bytes or 1500), signature=oid)
    assert known.failures == ()
    assert (known.key.kind, known.key.shown, known.key.strength) == (algorithm.kind, algorithm.name, algorithm.strength)
    assert (known.signature, known.signature_strength, known.signature_hash) == (algorithm.name, algorithm.strength, "")
    assert restored_key(known.key.kind, known.key.bits, known.der) == known.key
    assert [*judge_strength(known, known.title), *judge_algorithm(known, known.title)] == []


def test_a_key_of_the_wrong_length_is_a_failure_with_its_name() -> None:
    torn = edited(key=("2.16.840.1.101.3.4.3.18", 12))
    assert torn.key.name == "ML-DSA-65"
    assert torn.failures == ("public key cannot be decoded: it has 12 bytes, and a key of ML-DSA-65 has 1952",)


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        (
            edited(key=(UNKNOWN, 40)),
            f"has a key of the algorithm {UNKNOWN}, which certvigil does not know: its strength is not judged",
        ),
        (
            edited(signature=UNKNOWN),
            f"is signed with {UNKNOWN}, which certvigil does not know: its strength is not judged",
        ),
        (
            edited(key=(UNKNOWN, 40), signature=UNKNOWN),
            (
                f"has a key of the algorithm {UNKNOWN} and is signed with {UNKNOWN}, which certvigil does not know: "
                "its strength is not judged"
            ),
        ),
    ],
    ids=["key", "signature", "both"],
)
def test_an_unknown_algorithm_is_one_informational_finding_and_every_other_fact_is_there(
    strange: Certificate, told: str
) -> None:
    assert strange.subject == certificate(LEAF).subject
    assert strange.not_after is not None
    (found,) = (*judge_strength(strange, strange.title), *judge_algorithm(strange, strange.title))
    assert (found.code, found.severity) == (Code.UNKNOWN_ALGORITHM, Severity.INFORMATIONAL)
    assert found.detail == f"CN=www.example.com {told}"


def test_a_file_with_an_unknown_algorithm_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("strange") / "strange.der"
    strange = edited(key=(UNKNOWN, 40), signature=UNKNOWN)
    path.write_bytes(strange.der)
    target = FileTarget("strange", str(path), FileRole.LISTED)
    assert strange.not_before is not None
    now = strange.not_before + 3600.0
    observation = look_at_file(target, now)
    assert observation.certificates == (strange,)
    assert [each.code for each in assess_file(observation, FileContext(target), now).findings] == [
        Code.UNKNOWN_ALGORITHM
    ]


def test_a_merkle_tree_certificate_is_named() -> None:
    assert edited(signature="1.3.6.1.4.1.44363.47.0").signature == "mtcProof"


@pytest.mark.parametrize(
    ("oid", "verifier", "why"),
    [
        ("2.16.840.1.101.3.4.3.18", VerifierName.OPENSSL, ""),
        ("2.16.840.1.101.3.4.3.20", VerifierName.OPENSSL, "by which no server can sign a handshake"),
        ("1.3.6.1.5.5.7.6.45", VerifierName.OPENSSL, "which OpenSSL does not know"),
        ("2.16.840.1.101.3.4.3.18", VerifierName.WEBPKI, "which the web PKI does not allow"),
        ("1.3.6.1.5.5.7.6.45", VerifierName.WEBPKI, "which the web PKI does not allow"),
    ],
)
def test_a_client_that_cannot_use_the_key_of_a_server_has_its_reason(
    oid: str, verifier: VerifierName, why: str
) -> None:
    leaf = edited(key=(oid, ALGORITHMS[oid].key_bytes or 1500))
    store = Trust("corp", (certificate(ROOT.der()),))
    view = View(Client("client", "corp", verifier, post_quantum=verifier is VerifierName.OPENSSL), store)
    assert leaf.not_before is not None
    causes = judge_chain((leaf,), view, leaf.not_before + 60.0).causes
    told = [each.detail for each in causes if ALGORITHMS[oid].name in each.detail]
    assert (why in told[0]) if why else not told


def test_the_identifier_of_a_known_algorithm_is_read_as_the_library_reads_it() -> None:
    for key in KeyType:
        known = certificate(ROOT.issue("a.example", key=key).der())
        library = known.x509()
        assert known.signature_oid == library.signature_algorithm_oid.dotted_string
        oid, _ = key_algorithm(known.outline().public_key)
        assert oid == library.public_key_algorithm_oid.dotted_string
        assert library.public_bytes(Encoding.DER) == known.der
        assert known.key.kind is not KeyKind.UNKNOWN


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x2a\x86", b"\x01" * 65])
def test_a_broken_identifier_is_none(content: bytes) -> None:
    with pytest.raises(DERError):
        object_identifier(content)
