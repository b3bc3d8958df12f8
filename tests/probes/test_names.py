"""A certificate names a server by RFC 9525, and by what OpenSSL takes beside it."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from config.vocabulary import VerifierName
from monitor.lab.ca import Authority, self_signed
from probes.certificate import AlternativeName, Certificate, NameKind, certificate
from probes.names import is_misplaced_wildcard, is_partial_wildcard, names_server
from tests.kit.odd_certificates import ODDITIES, odd_certificate

STRICT, LENIENT = VerifierName.WEBPKI, VerifierName.OPENSSL


def issued(*names: str | x509.GeneralName) -> Certificate:
    return certificate(self_signed(*names).der())


MAIL = x509.RFC822Name("DNS:www.example.com@example.com")
PLACE = x509.UniformResourceIdentifier("IP:192.0.2.1")
REGISTERED = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))


def test_alternative_names_are_values_whose_kind_no_text_of_theirs_can_feign() -> None:
    found = issued("www.example.com", "192.0.2.1", "10.0.0.0/8", "2001:db8::1", MAIL, PLACE, REGISTERED)
    assert tuple(found.alternative_names()) == (
        AlternativeName(NameKind.DNS, "www.example.com"),
        AlternativeName(NameKind.IP, "192.0.2.1"),
        AlternativeName(NameKind.IP, "10.0.0.0/8"),
        AlternativeName(NameKind.IP, "2001:db8::1"),
        AlternativeName(NameKind.EMAIL, "DNS:www.example.com@example.com"),
        AlternativeName(NameKind.URI, "IP:192.0.2.1"),
        AlternativeName(NameKind.OTHER, ""),
    )
    assert tuple(map(str, found.alternative_names())) == found.names
    assert found.dns_names() == ("www.example.com",)
    assert found.ip_addresses() == (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1"))
    assert found.has_server_names
    assert not issued(MAIL, PLACE, REGISTERED).has_server_names


@pytest.mark.parametrize(
    ("name", "asked", "by"),
    [
        ("www.example.com", "WWW.example.com", {STRICT, LENIENT}),
        ("*.example.com", "www.example.com", {STRICT, LENIENT}),
        ("*.example.com", "example.com", set()),
        ("*.example.com", "a.www.example.com", set()),
        ("*.example.com", ".example.com", set()),
        ("w*.example.com", "www.example.com", {LENIENT}),
        ("w*.example.com", "xn--www.example.com", set()),
        ("www.*.example.com", "www.a.example.com", set()),
        ("www.*.example.com", "www.*.example.com", set()),
        ("*.*.example.com", "a.b.example.com", set()),
        ("*w*.example.com", "www.example.com", set()),
        ("192.0.2.1", "192.0.2.1", {STRICT, LENIENT}),
        ("2001:db8::1", "2001:DB8:0:0::1", {STRICT, LENIENT}),
        ("192.0.2.0/24", "192.0.2.1", set()),
        ("192.0.2.1", "192.0.2.2", set()),
        (x509.DNSName("192.0.2.1"), "192.0.2.1", set()),
        (MAIL, "www.example.com", set()),
    ],
)
def test_who_is_named_by_whose_rules(name: str | x509.GeneralName, asked: str, by: set[VerifierName]) -> None:
    found = issued(name)
    assert {each for each in (STRICT, LENIENT) if names_server(found, asked, each)} == by


@pytest.mark.parametrize(
    ("pattern", "partial", "misplaced"),
    [
        ("www.example.com", False, False),
        ("*.example.com", False, False),
        ("*", False, False),
        ("w*.example.com", True, False),
        ("*w.example.com", True, False),
        ("w*w.example.com", True, False),
        ("www.*.example.com", False, True),
        ("*.*.example.com", False, True),
        ("**.example.com", True, True),
        ("www.w*.example.com", True, True),
        ("www.example.*", False, True),
    ],
)
def test_a_wildcard_is_one_whole_label_and_the_left_most(pattern: str, partial: bool, misplaced: bool) -> None:
    """RFC 9525, 6.3; RFC 6125, 6.4.3 permitted a part of the left-most label."""
    assert (is_partial_wildcard(pattern), is_misplaced_wildcard(pattern)) == (partial, misplaced)


def test_who_does_not_see_the_extensions_of_an_old_version_sees_no_alternative_names() -> None:
    odd = odd_certificate(Authority.root(), ODDITIES["version 2"], "www.example.com")
    found = certificate(odd.der())
    by = {each for each in VerifierName if names_server(found, "www.example.com", each)}
    assert set(VerifierName) - by == {VerifierName.GO}
