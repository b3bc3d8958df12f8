"""The parts of a certificate are found without decoding it, and damage is a DERError at worst."""

from __future__ import annotations

from contextlib import suppress

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from monitor.lab.ca import Authority, KeyType
from probes.container.registry import open_container
from probes.encoding import DERError, outline

LEAF = Authority.root().issue("www.example.com", key=KeyType.P256)
OTHER = LEAF.anchor


def test_the_outline_shows_what_a_certificate_is_compared_by() -> None:
    shown, issuers = outline(LEAF.der()), outline(OTHER.der())
    assert shown.issuer == issuers.subject
    assert LEAF.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == shown.public_key


@given(st.data())
def test_a_damaged_certificate_never_raises_anything_but_a_der_error(data: st.DataObject) -> None:
    der = bytearray(LEAF.der())
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(der[: data.draw(st.integers(0, len(der)))])
    open_container(cut)
    with suppress(DERError):
        outline(cut)
