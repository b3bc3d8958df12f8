"""The quick decoding of names says what the library says, or nothing."""

from __future__ import annotations

import warnings

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from probes.encoding import plain_name

COMMON = (
    NameOID.COMMON_NAME,
    NameOID.COUNTRY_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)
OTHERS = (NameOID.SERIAL_NUMBER, NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS, NameOID.GIVEN_NAME)
SPECIAL = ' #+,;<>="\\\x00\x1b\n\u202eé'


def attribute(oid: x509.ObjectIdentifier, value: str, kind: _ASN1Type) -> x509.NameAttribute[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.NameAttribute(oid, value, kind, _validate=False)


def encoded(*attributes: x509.NameAttribute[str]) -> bytes:
    return x509.Name([x509.RelativeDistinguishedName([each]) for each in attributes]).public_bytes()


attributes = st.builds(
    attribute,
    st.sampled_from(COMMON * 2 + OTHERS),
    st.text(st.characters(codec="utf-8") | st.sampled_from(SPECIAL), min_size=1, max_size=70)
    | st.text("abcXYZ019.-*_@ ", min_size=1, max_size=70),
    st.just(_ASN1Type.UTF8String),
)


@given(st.lists(attributes, max_size=5))
def test_a_name_reads_as_the_library_reads_it_or_is_left_to_it(parts: list[x509.NameAttribute[str]]) -> None:
    name = x509.Name([x509.RelativeDistinguishedName([each]) for each in parts])
    assert plain_name(name.public_bytes()) in {None, name.rfc4514_string()}


@pytest.mark.parametrize("kind", [_ASN1Type.UTF8String, _ASN1Type.PrintableString])
def test_a_usual_name_is_read(kind: _ASN1Type) -> None:
    der = encoded(*(attribute(oid, "CH", kind) for oid in COMMON))
    assert plain_name(der) == "OU=CH,O=CH,ST=CH,L=CH,C=CH,CN=CH"


def test_letters_of_any_script_are_read() -> None:
    assert plain_name(encoded(attribute(NameOID.ORGANIZATION_NAME, "Zürich 東京", _ASN1Type.UTF8String))) == (
        "O=Zürich 東京"
    )


@pytest.mark.parametrize(
    "value", [" a", "a ", "#a", "a,b", "a+b", 'a"b', "a\\b", "a<b", "a>b", "a;b", "a\0b", "a\nb", "a\u202eb"]
)
def test_what_must_be_escaped_is_left_to_the_library(value: str) -> None:
    assert plain_name(encoded(attribute(NameOID.COMMON_NAME, value, _ASN1Type.UTF8String))) is None


def test_two_attributes_at_one_place_are_left_to_the_library() -> None:
    parts = [attribute(oid, "a", _ASN1Type.UTF8String) for oid in COMMON[:2]]
    assert plain_name(x509.Name([x509.RelativeDistinguishedName(parts)]).public_bytes()) is None


def test_bytes_that_are_no_such_text_are_left_to_the_library() -> None:
    der = encoded(attribute(NameOID.COMMON_NAME, "abc", _ASN1Type.UTF8String))
    assert plain_name(der.replace(b"abc", b"a\xffc")) is None
    assert plain_name(der.replace(b"\x0c\x03abc", b"\x13\x03a\xe9c")) is None


@given(st.integers(0, 40), st.integers(1, 255))
def test_a_damaged_length_is_never_read_past(at: int, change: int) -> None:
    der = bytearray(
        encoded(*(attribute(oid, "value", _ASN1Type.UTF8String) for oid in (NameOID.COMMON_NAME, COMMON[4])))
    )
    lengths = [1, 3, 5, 12, 19, 21, 28]
    der[lengths[at % len(lengths)]] ^= change
    assert plain_name(bytes(der)) is None
