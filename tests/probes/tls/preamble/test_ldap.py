"""StartTLS in LDAP, without I/O."""

from __future__ import annotations

import pytest

from probes.tls.preamble.ldap import LDAP
from probes.tls.preamble.talk import Agreed, Declined, declines

RESPONSE = bytes.fromhex("300c02010178070a010004000400")


def result(code: int) -> bytes:
    return RESPONSE[:9] + bytes((code,)) + RESPONSE[10:]


def test_the_request_is_the_extended_operation_and_success_is_agreement() -> None:
    ldap = LDAP()
    assert ldap.start() == bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
    for at in range(len(RESPONSE)):
        assert ldap.outcome is None
        assert ldap.receive(RESPONSE[at : at + 1]) == b""
    assert ldap.outcome == Agreed()


def test_a_length_in_more_bytes_than_it_needs_is_read() -> None:
    ldap = LDAP()
    # As Active Directory writes it.
    ldap.receive(bytes.fromhex("308400000010020101788400000007") + RESPONSE[7:])
    assert ldap.outcome == Agreed()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (result(2), "speaks LDAP, and takes no TLS: result code 2"),
        (result(52), "speaks LDAP, and takes no TLS: result code 52"),
        (b"220 mail.example.com\r\n", "does not speak LDAP"),
        (b"\x30\x80\x02\x01\x01", "does not speak LDAP"),
        (b"\x30\x89\x01\x01\x01\x01\x01\x01\x01\x01\x01", "does not speak LDAP"),
        (b"\x30\x03\x02\x01\x01", "does not speak LDAP"),
        (b"\x30\x05\x02\x09\x01\x78\x00", "does not speak LDAP"),
        (RESPONSE + b"\x30", "sent more in the clear behind its agreement to begin TLS"),
    ],
)
def test_a_server_that_does_not_is_said(said: bytes, why: str) -> None:
    ldap = LDAP()
    ldap.receive(said)
    assert ldap.outcome == (Declined(why) if why.startswith(("does not", "sent")) else declines(why))
