"""MySQL's request for TLS, without I/O."""

from __future__ import annotations

import pytest

from probes.tls.preamble.mysql import MySQL
from probes.tls.preamble.talk import Agreed, Declined, declines


def packet(body: bytes, number: int = 0) -> bytes:
    return len(body).to_bytes(3, "little") + bytes((number,)) + body


def greeting(capabilities: int) -> bytes:
    return packet(b"\x0a10.11.6-MariaDB\0" + bytes(4) + b"n" * 8 + b"\0" + capabilities.to_bytes(2, "little") + b"more")


TLS = greeting(0xFFFF)


def test_the_server_offers_tls_in_its_greeting_and_is_asked_for_it_at_once() -> None:
    mysql = MySQL()
    assert mysql.start() == b""
    sent = b"".join(mysql.receive(TLS[at : at + 1]) for at in range(len(TLS)))
    assert mysql.outcome == Agreed()
    assert (sent[:4], len(sent), sent[4:8]) == (b"\x20\0\0\1", 36, bytes.fromhex("008a0000"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (greeting(0xF7FF), "speaks MySQL's protocol, and takes no TLS"),
        (packet(b"\xff\x6a\x04Host is blocked"), "answers a connection with an error"),
        (packet(b"\x0a8.0"), "does not speak MySQL's protocol"),
        (packet(b"\x0a8.0\0short"), "does not speak MySQL's protocol"),
        (packet(b""), None),
        (packet(b"\x09old\0"), "does not speak MySQL's protocol"),
        (packet(b"\x0a8.0", 3), "does not speak MySQL's protocol"),
        (b"220 mail.example.com\r\n", "does not speak MySQL's protocol"),
        (TLS + b"\x01", "sent more in the clear behind its agreement to begin TLS"),
    ],
)
def test_a_server_that_does_not_is_said(said: bytes, why: str | None) -> None:
    mysql = MySQL()
    assert mysql.receive(said) == b""
    assert mysql.outcome == (why and (Declined(why) if why.startswith(("does not", "sent")) else declines(why)))
