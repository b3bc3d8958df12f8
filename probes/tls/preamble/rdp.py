"""RDP's request for TLS: an X.224 connection request that negotiates the security protocol (MS-RDPBCGR, 2.2.1)."""

from __future__ import annotations

from functools import partial
from typing import Final

from probes.tls.preamble.talk import Agreed, Declined, OneAnswer, agreed, declines

_TPKT: Final = 4
"""Bytes of the header: version 3, a reserved byte, the length of the whole in two."""
_BEGINNING: Final = b"\x03\0"
_NEGOTIATION: Final = 11
"""Where the negotiation begins: behind that header, and seven bytes of X.224."""
_TLS: Final = 1
_CREDSSP: Final = 2
"""Security protocols: TLS, and one that begins with TLS."""
_REQUEST: Final = bytes((3, 0, 0, 19, 14, 0xE0, 0, 0, 0, 0, 0, 1, 0, 8, 0, _TLS | _CREDSSP, 0, 0, 0))
_CONFIRM: Final = 0xD0
"""X.224's word for an answer, in the upper four bits."""
_RESPONSE: Final = 2


def _answer(received: bytes) -> Agreed | Declined | None:
    """Return what the answer says, None while it is not whole."""
    if not _BEGINNING.startswith(received[:2]):
        return Declined("does not speak RDP")
    if len(received) < _TPKT or len(received) < (end := int.from_bytes(received[2:4], "big")):
        return None
    return _confirmed(received[:end], received[end:])


def _confirmed(confirm: bytes, left: bytes) -> Agreed | Declined:
    """Return what the connection confirm says."""
    if len(confirm) < _NEGOTIATION or confirm[5] & 0xF0 != _CONFIRM:
        return Declined("does not speak RDP")
    negotiation = confirm[_NEGOTIATION:]
    if len(negotiation) == 8 and negotiation[0] == _RESPONSE and negotiation[4] in {_TLS, _CREDSSP}:
        return agreed(left)
    return declines("speaks RDP, and takes no TLS")


RDP: Final = partial(OneAnswer, _REQUEST, _answer)
"""The client's side."""
