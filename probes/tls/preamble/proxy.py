"""Asking a proxy for a connection: CONNECT of HTTP (RFC 9110, 9.3.6) and SOCKS 5 (RFC 1928), without credentials."""

from __future__ import annotations

import ipaddress
import re
from enum import Enum, auto
from typing import Final

from config.address import is_ip_address, join_address
from config.model import Proxy
from config.vocabulary import ProxyKind
from probes.tls.preamble.talk import Agreed, Declined, OneAnswer, Preamble

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (?P<code>[1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END: Final = re.compile(rb"\r?\n\r?\n")
_WANTS_A_USER: Final = "wants a user and a password, which certvigil does not give"


def http_connect(host: str, port: int) -> OneAnswer:
    """Return the client's side of CONNECT."""
    to = join_address(host, port).encode("ascii")
    return OneAnswer(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (to, to), _answer_to_connect)


def _answer_to_connect(received: bytes) -> Agreed | Declined | None:
    status = _STATUS.match(received)
    if status is None:
        odd = b"\n" in received or not b"HTTP/1.".startswith(received[:7])
        return _declined("does not speak HTTP") if odd else None
    end = _END.search(received, status.end() - 2)
    return None if end is None else _connected(status["code"], received[end.end() :])


def _connected(code: bytes, left: bytes) -> Agreed | Declined:
    if code.startswith(b"2"):
        return Agreed(left)
    return _declined(_WANTS_A_USER if code == b"407" else f"answers CONNECT with the code {code.decode()}")


class _Awaits(Enum):
    METHOD = auto()
    REPLY = auto()


_NO_AUTHENTICATION: Final = b"\x05\x00"
_REFUSALS: Final = {
    1: "failed",
    2: "does not permit this connection",
    3: "cannot reach the network",
    4: "cannot reach the host, or does not know its name",
    5: "was refused the connection",
    6: "waited in vain for the connection",
    7: "does not connect for others",
    8: "does not know this type of address",
}
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Socks5:
    """The client's side of SOCKS 5."""

    def __init__(self, host: str, port: int) -> None:
        self.outcome: Agreed | Declined | None = None
        self._request = b"\x05\x01\x00" + _place(host) + port.to_bytes(2, "big")
        self._received = bytearray()
        self._awaits = _Awaits.METHOD

    def start(self) -> bytes:
        """Return the offer of one method, that without authentication."""
        return b"\x05\x01\x00"

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the proxy, return those for it."""
        self._received += data
        if not b"\x05".startswith(self._received[:1]):
            self.outcome = _declined("does not speak SOCKS 5")
        elif self._awaits is _Awaits.REPLY:
            self._take_reply(bytes(self._received))
        elif len(self._received) >= 2:
            return self._take_method()
        return b""

    def _take_method(self) -> bytes:
        if self._received[:2] != _NO_AUTHENTICATION:
            self.outcome = _declined(_WANTS_A_USER)
            return b""
        self._awaits = _Awaits.REPLY
        del self._received[:2]
        return self._request

    def _take_reply(self, reply: bytes) -> None:
        """Take version, code, a reserved byte, type and value of an address, and a port."""
        if len(reply) >= 2 and reply[1] != 0:
            self.outcome = _declined(_REFUSALS.get(reply[1], "failed"))
        elif len(reply) >= 5:
            length = {_IPV4: 4, _IPV6: 16, _NAME: 1 + reply[4]}.get(reply[3])
            if length is None:
                self.outcome = _declined("does not speak SOCKS 5")
            elif len(reply) >= (end := 4 + length + 2):
                self.outcome = Agreed(reply[end:])


def _place(host: str) -> bytes:
    """Return type and value of an address."""
    if not is_ip_address(host):
        return bytes((_NAME, len(host))) + host.encode("ascii")
    address = ipaddress.ip_address(host.partition("%")[0])
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _declined(why: str) -> Declined:
    return Declined(why, by_proxy=True)


def proxy_preamble(proxy: Proxy, host: str, port: int) -> Preamble:
    """Return a new request to `proxy` for a connection to `host`."""
    return http_connect(host, port) if proxy.kind is ProxyKind.HTTP else Socks5(host, port)
