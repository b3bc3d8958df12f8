"""StartTLS in LDAP (RFC 4511, 4.14): an extended request in BER, and its response."""

from __future__ import annotations

from functools import partial
from typing import Final

from config.immutable import immutable
from probes.tls.preamble.talk import Agreed, Declined, OneAnswer, agreed, declines

_START_TLS: Final = b"1.3.6.1.4.1.1466.20037"
_SEQUENCE, _INTEGER, _ENUMERATED = 0x30, 0x02, 0x0A
_EXTENDED_REQUEST, _EXTENDED_RESPONSE, _REQUEST_NAME = 0x77, 0x78, 0x80
_MESSAGE_ID: Final = bytes((_INTEGER, 1, 1))
_LONGEST_LENGTH: Final = 4
"""Bytes of the length of an element: nothing that is longer than 2**32 bytes is an answer."""


def _element(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content


_REQUEST: Final = _element(_SEQUENCE, _MESSAGE_ID + _element(_EXTENDED_REQUEST, _element(_REQUEST_NAME, _START_TLS)))


class _NoBERError(Exception):
    """The bytes are no element of BER with a definite length, as LDAP wants it (RFC 4511, 5.1)."""


@immutable
class _Element:
    tag: int
    content: bytes
    rest: bytes
    """Behind it."""


def _first(data: bytes) -> _Element | None:
    """Return the first element; None while it is not whole. Raises _NoBERError."""
    if len(data) < 2:
        return None
    tag, length, begin = data[0], data[1], 2
    if length >= 0x80:
        size = length & 0x7F
        if not 1 <= size <= _LONGEST_LENGTH:
            raise _NoBERError
        begin += size
        if len(data) < begin:
            return None
        length = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + length:
        return None
    return _Element(tag, data[begin : begin + length], data[begin + length :])


def _whole(data: bytes, tag: int) -> _Element:
    """Return the first element, which has this tag; raises _NoBERError where it has not, or is not whole."""
    found = _first(data)
    if found is None or found.tag != tag:
        raise _NoBERError
    return found


def _answer(received: bytes) -> Agreed | Declined | None:
    """Return what the response says, None while it is not whole."""
    try:
        return _response(received)
    except _NoBERError:
        return Declined("does not speak LDAP")


def _response(received: bytes) -> Agreed | Declined | None:
    """Return the same; raises _NoBERError."""
    message = _first(received)
    if not received.startswith(bytes((_SEQUENCE,))[: len(received)]):
        raise _NoBERError
    if message is None:
        return None
    identity = _whole(message.content, _INTEGER)
    response = _whole(identity.rest, _EXTENDED_RESPONSE)
    code = _whole(response.content, _ENUMERATED).content
    if code == b"\0":
        return agreed(message.rest)
    return declines(f"speaks LDAP, and takes no TLS: result code {int.from_bytes(code[:2], 'big')}")


LDAP: Final = partial(OneAnswer, _REQUEST, _answer)
"""The client's side."""
