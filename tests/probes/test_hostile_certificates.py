"""Certificates made to crash, to stall or to lie: each is judged in bounded time, and raises nothing but ValueError."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from config.model import Client, Endpoint, FileTarget
from config.text import Printable
from config.vocabulary import Code, FileContent, FileRole, KeyKind, VerifierName
from monitor.lab.ca import Authority, KeyType
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file
from probes.certificate import MOST_BYTES, Certificate, certificate
from probes.chain import signed
from probes.container.registry import open_container
from probes.finding import Assessment
from probes.judge.client import View
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.trust import Trust
from tests.kit.examples import examples
from tests.kit.odd_certificates import slow_key

NOW = time.time()
NAME = "www.example.com"
ROOT = Authority.root("Root")
ISSUING = ROOT.intermediate("Issuing", permitted=["example.com"])
GENERAL_NAMES = (
    x509.DNSName(NAME),
    x509.RFC822Name("a@example.com"),
    x509.UniformResourceIdentifier("http://example.com/"),
    x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])),
    x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
)
FEATURE = x509.TLSFeature([x509.TLSFeatureType.status_request])
LEAF = ISSUING.issue(*GENERAL_NAMES, extensions=[x509.Extension(FEATURE.oid, False, FEATURE)])
DIRECTORY = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
LIMITING = ROOT.intermediate(
    "Limiting",
    permitted=[
        "example.com",
        x509.RFC822Name("example.com"),
        x509.UniformResourceIdentifier("example.com"),
        x509.DirectoryName(DIRECTORY),
    ],
)
LIMITED = LIMITING.issue(
    *GENERAL_NAMES,
    subject=x509.Name([*DIRECTORY, x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "a@example.com")]),
    extensions=[x509.Extension(FEATURE.oid, False, FEATURE)],
)
CONTENTS = (
    b"",
    b"\0",
    b"\xff" * 21,
    b"99991231235959Z",
    b"000101000000Z",
    b"\x1b[31m\n",
    b"\xed\xa0\x80",
    b"*.",
    b"..",
    b"http://[",
    b"A <b@c>",
)

FOR_DEVELOPERS = re.compile(r"ParseError|PhantomData|PyErr|DefinedByMarker|Some\(")
"""What the library says to its own developers."""

Span = tuple[int, int, int]
"""Where an element starts, where its content does, and where it ends."""


def spans(der: bytes, at: int, end: int) -> Iterator[Span]:
    """Yield every element of `der`, those inside strings included, outer before inner."""
    while at + 2 <= end:
        octets = der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0
        start = at + 2 + octets
        length = int.from_bytes(der[at + 2 : start], "big") if octets else der[at + 1]
        if start + length > end:
            return
        yield at, start, start + length
        if der[at] & 0x20 or der[at] in {3, 4}:
            yield from spans(der, start + (der[at] == 3), start + length)
        at = start + length


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = b"" if size < 128 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets) if octets else size]) + octets + content


def replaced(der: bytes, span: Span, new: bytes) -> bytes:
    """Return `der` with the element at `span` replaced and the lengths of all around it set right."""
    at, _, end = span
    for outer, start, outer_end in sorted(spans(der, 0, len(der)), reverse=True):
        if outer < at and outer_end >= end:
            new = element(der[outer], der[start:at] + new + der[end:outer_end])
            at, end = outer, outer_end
    return der[:at] + new + der[end:]


@st.composite
def mutants(draw: st.DrawFn, der: bytes) -> bytes:
    """Well-formed DER, mostly, that no longer is the certificate it was."""
    for _ in range(draw(st.integers(1, 3))):
        found = list(spans(der, 0, len(der)))
        if found:
            span, other = draw(st.sampled_from(found)), draw(st.sampled_from(found))
            der = replaced(der, span, draw(elements(der, span, other)))
    return der


def elements(der: bytes, span: Span, other: Span) -> st.SearchStrategy[bytes]:
    """Give what may take the place of the element at `span`."""
    tag, content = der[span[0]], der[span[1] : span[2]]
    octets = st.tuples(st.integers(0, max(0, len(content) - 1)), st.binary(min_size=1, max_size=1))
    return st.one_of(
        st.sampled_from([element(tag, each) for each in CONTENTS]),
        st.integers(0, 255).map(lambda each: element(each, content)),
        octets.map(lambda pair: element(tag, content[: pair[0]] + pair[1] + content[pair[0] + 1 :])),
        st.sampled_from([b"", der[span[0] : span[2]] * 2, der[other[0] : other[2]]]),
    )


def views(store: Trust) -> tuple[View, ...]:
    return tuple(View(Client(each.value, store.name, each), store) for each in VerifierName)


def judge(*chain: bytes, store: Trust | None = None) -> Assessment:
    store = store or Trust("store", (certificate(ROOT.der()),))
    certificates = tuple(map(certificate, chain))
    observation = EndpointObservation("web", NOW, (Presented(Printable("192.0.2.1"), certificates, "TLSv1.3", "", ""),))
    clients = tuple(each.client.name for each in views(store))
    context = EndpointContext(Endpoint("web", NAME, 443, clients=clients), views(store))
    in_file = FileObservation("file", NOW, None, FileContent.LEAF, certificates)
    for role in (FileRole.FOUND, FileRole.CERTIFICATE, FileRole.CHAIN):
        assess_file(in_file, FileContext(FileTarget("file", "/f", role), view=views(store)[0]), NOW)
    return assess_endpoint(observation, context, NOW)


@settings(max_examples=examples(150), deadline=None)
@given(mutants(LIMITED.der()), mutants(LIMITING.der()), mutants(ROOT.der()))
def test_whatever_is_in_a_certificate_nothing_but_value_error_is_raised(
    leaf: bytes, issuing: bytes, root: bytes
) -> None:
    """What the libraries raise for broken fields is neither documented nor of one kind."""
    whole = (LIMITED.der(), LIMITING.der(), ROOT.der())
    refused: list[str] = []
    for position, mutant in enumerate((leaf, issuing, root)):
        open_container(mutant)
        try:
            decoded = certificate(mutant)
        except ValueError as error:
            refused.append(str(error))
            continue
        for text in (decoded.subject, decoded.issuer, decoded.serial, *decoded.names, *decoded.failures):
            assert text.isprintable()
        assert not any(map(FOR_DEVELOPERS.search, decoded.failures))
        chain = [*whole[:position], mutant, *whole[position + 1 :]]
        store = Trust("store", (certificate(chain.pop()),))
        assessment = judge(*chain, store=store)
        assert all((each.detail + each.subject).isprintable() for each in assessment.findings)
        assert not any(FOR_DEVELOPERS.search(each.detail) for each in assessment.findings)
    assert not any(map(FOR_DEVELOPERS.search, refused))


def test_an_unknown_tls_feature_costs_that_extension_and_no_more() -> None:
    der = LEAF.der()
    at = der.index(bytes.fromhex("3003020105"))
    decoded = certificate(der[: at + 4] + b"\x77" + der[at + 5 :])
    assert decoded.names == certificate(der).names
    assert decoded.not_after == certificate(der).not_after
    assert decoded.failures == ("the extension 1.3.6.1.5.5.7.1.24 cannot be decoded: 119",)


def test_what_openssl_cannot_decode_it_is_said_to_refuse() -> None:
    """The library reads the subject leniently, OpenSSL does not."""
    der = ISSUING.issue(NAME, subject="host").der()
    broken = der.replace(b"\x0c\x04host", b"\x0c\x04\xff\xfe\xfd\xfc")
    refused = next(each for each in judge(broken, ISSUING.der()).edges if each.client == VerifierName.OPENSSL)
    assert not refused.accepted


def test_a_name_that_no_host_can_have_is_no_reason_to_fail() -> None:
    assessment = judge(ISSUING.issue("..", subject="host").der(), ISSUING.der())
    assert Code.HOSTNAME_MISMATCH in {each.code for each in assessment.findings}


def test_a_certificate_larger_than_any_client_takes_is_none() -> None:
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(MOST_BYTES))
    der = ROOT.issue(NAME, extensions=[x509.Extension(value.oid, False, value)]).der()
    with pytest.raises(ValueError, match="larger than"):
        certificate(der)


@pytest.fixture(scope="module")
def slow_authority() -> Authority:
    """Return a CA with which each signature takes 14 ms, if it was verified."""
    return Authority.root("Slow", key=slow_key())


def test_a_key_made_to_be_slow_is_named_and_never_verified_with(slow_authority: Authority) -> None:
    issuing = slow_authority.intermediate("Slow Issuing", key=slow_authority.key)
    leaf = issuing.issue(NAME)
    assert not signed(certificate(issuing.der()), certificate(leaf.der()))
    assessment = judge(leaf.der(), issuing.der())
    assert not any(each.accepted for each in assessment.edges)
    assert "too large to verify with" in assessment.edges[0].why


def test_a_long_key_in_use_is_verified_with() -> None:
    assert not certificate(Authority.root("Plain", key=KeyType.RSA2048).der()).is_costly


@pytest.mark.parametrize("kind", ["one name, one key", "one name, many keys"])
def test_a_mesh_of_cross_signed_authorities_is_judged_in_bounded_time(kind: str) -> None:
    first = Authority.root("Mesh", key=KeyType.P256)
    mesh = [first]
    for _ in range(30):
        key = first.key if kind == "one name, one key" else KeyType.P384
        mesh.append(mesh[-1].intermediate("Mesh", key=key))
    leaf = first.issue(NAME)
    started = time.process_time()
    assessment = judge(leaf.der(), *(each.der() for each in mesh))
    assert time.process_time() - started < 2
    assert Code.CLIENT_REJECTS in {each.code for each in assessment.findings}


def test_names_against_constraints_on_names_are_compared_in_bounded_time() -> None:
    limited = Authority.root("Limited", permitted=[f"h{each}.example.com" for each in range(1500)])
    leaf = limited.issue(*(f"h{each}.example.net" for each in range(1500)))
    started = time.process_time()
    assessment = judge(leaf.der(), limited.der(), store=Trust("store", (certificate(limited.der()),)))
    assert time.process_time() - started < 2
    assert not any(each.accepted for each in assessment.edges)


def test_thousands_of_unknown_critical_extensions_give_one_finding() -> None:
    unknown = [x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{each}"), b"") for each in range(800)]
    leaf = ROOT.issue(NAME, extensions=[x509.Extension(each.oid, True, each) for each in unknown])
    rejected = [each for each in judge(leaf.der()).findings if each.code is Code.PATH_REJECTED]
    assert len(rejected) == 1


def test_a_hostile_kind_of_key_is_unknown_rather_than_wrong() -> None:
    """The curve of the key gives way to an object identifier that means nothing."""
    der = ROOT.issue(NAME, key=KeyType.P256).der()
    curve = bytes.fromhex("06082a8648ce3d030107")
    decoded: Certificate = certificate(der.replace(curve, bytes.fromhex("06082a8648ce3d03017f")))
    assert decoded.key.kind is KeyKind.UNKNOWN
    assert "public key cannot be decoded" in decoded.failures[0]
