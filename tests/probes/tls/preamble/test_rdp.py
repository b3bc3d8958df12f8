"""RDP's request for TLS, without I/O."""

from __future__ import annotations

import pytest

from probes.tls.preamble.rdp import RDP
from probes.tls.preamble.talk import Agreed, Declined, declines

CONFIRM = bytes.fromhex("030000130ed000001234000200080001000000")


@pytest.mark.parametrize("protocol", [1, 2])
def test_the_request_asks_for_tls_and_a_confirm_that_names_it_is_agreement(protocol: int) -> None:
    rdp = RDP()
    assert rdp.start() == bytes.fromhex("030000130ee000000000000100080003000000")
    said = CONFIRM[:15] + bytes((protocol,)) + CONFIRM[16:]
    for at in range(len(said)):
        assert rdp.outcome is None
        assert rdp.receive(said[at : at + 1]) == b""
    assert rdp.outcome == Agreed()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (bytes.fromhex("030000130ed000001234000300080005000000"), "speaks RDP, and takes no TLS"),
        (bytes.fromhex("0300000b06d00000123400"), "speaks RDP, and takes no TLS"),
        (CONFIRM[:15] + b"\0" + CONFIRM[16:], "speaks RDP, and takes no TLS"),
        (bytes.fromhex("0300000b06f00000123400"), "does not speak RDP"),
        (bytes.fromhex("03000004"), "does not speak RDP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak RDP"),
        (b"\x03\x01", "does not speak RDP"),
        (CONFIRM + b"\x16", "sent more in the clear behind its agreement to begin TLS"),
    ],
)
def test_a_server_that_does_not_is_said(said: bytes, why: str) -> None:
    rdp = RDP()
    rdp.receive(said)
    assert rdp.outcome == (Declined(why) if why.startswith(("does not", "sent")) else declines(why))
