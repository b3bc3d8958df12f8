"""PostgreSQL's request for TLS, without I/O."""

from __future__ import annotations

import pytest

from probes.tls.preamble.postgres import Postgres
from probes.tls.preamble.talk import Agreed, Declined, declines


def test_a_server_that_takes_tls_answers_with_one_letter() -> None:
    postgres = Postgres()
    assert postgres.start() == bytes.fromhex("0000000804d2162f")
    assert postgres.receive(b"S") == b""
    assert postgres.outcome == Agreed()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"N", "speaks PostgreSQL's protocol, and takes no TLS"),
        (b"E\x00\x00", "answers the request for TLS with an error"),
        (b"220 mail.example.com\r\n", "does not speak PostgreSQL's protocol"),
        (b"S\x52", "sent more in the clear behind its agreement to begin TLS"),
    ],
)
def test_a_server_that_does_not_is_said(said: bytes, why: str) -> None:
    postgres = Postgres()
    postgres.receive(said)
    assert postgres.outcome == (Declined(why) if why.startswith(("does not", "sent")) else declines(why))
