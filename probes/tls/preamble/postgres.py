"""PostgreSQL's request for TLS (its protocol 3, SSLRequest): eight bytes, and one for an answer."""

from __future__ import annotations

from functools import partial
from typing import Final

from probes.tls.preamble.talk import Agreed, Declined, OneAnswer, agreed, declines

_REQUEST: Final = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
"""Length and code."""


def _answer(received: bytes) -> Agreed | Declined:
    match received[:1]:
        case b"S" if received.startswith(b"SSH-"):
            return Declined("does not speak PostgreSQL's protocol")
        case b"S":
            return agreed(received[1:])
        case b"N":
            return declines("speaks PostgreSQL's protocol, and takes no TLS")
        case b"E":
            return declines("answers the request for TLS with an error")
    return Declined("does not speak PostgreSQL's protocol")


Postgres: Final = partial(OneAnswer, _REQUEST, _answer)
"""The client's side."""
