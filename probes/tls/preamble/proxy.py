"""Asking a proxy for a connection: CONNECT of HTTP (RFC 9110, 9.3.6) and SOCKS 5 (RFC 1928).

With a user and a password it is asked by Basic authentication (RFC 7617), or as RFC 1929 has it.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from enum import Enum, auto
from functools import partial
from typing import Final

from config.address import is_ip_address, join_address
from config.model import Proxy
from config.vocabulary import ProxyKind, UnreachableReason
from probes.tls.preamble.credentials import Credentials, NoCredentials, NotAsked
from probes.tls.preamble.talk import Agreed, Declined, OneAnswer, Preamble

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (?P<code>[1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END: Final = re.compile(rb"\r?\n\r?\n")
_WANTS_A_USER: Final = "wants a user and a password, and there is no file with them (proxy_credentials_file)"
PROXY_WANTS_A_USER: Final = 407
"""The code for that (RFC 9110, 15.5.8)."""
_REFUSES_THE_USER: Final = "refuses the user and the password that it is given"


def http_connect(host: str, port: int, credentials: Credentials | None = None) -> OneAnswer:
    """Return the client's side of CONNECT."""
    to = join_address(host, port).encode("ascii")
    request = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (to, to)
    if credentials is not None:
        request += b"Proxy-Authorization: %s\r\n" % basic(credentials).encode()
    wanting = why_unwanted(credentials)
    return OneAnswer(request + b"\r\n", partial(_answer_to_connect, wanting))


def basic(credentials: Credentials) -> str:
    """Return the value of the header by which a proxy is told a user and a password (RFC 7617)."""
    return f"Basic {b64encode(credentials.user + b':' + credentials.password).decode()}"


def why_unwanted(credentials: Credentials | None) -> str:
    """Return why a proxy of HTTP that wants other credentials gives nothing, a clause without its subject."""
    return _WANTS_A_USER if credentials is None else _REFUSES_THE_USER


def _answer_to_connect(wanting: str, received: bytes) -> Agreed | Declined | None:
    status = _STATUS.match(received)
    if status is None:
        odd = b"\n" in received or not b"HTTP/1.".startswith(received[:7])
        return _declined("does not speak HTTP") if odd else None
    end = _END.search(received, status.end() - 2)
    return None if end is None else _connected(status["code"], received[end.end() :], wanting)


def _connected(code: bytes, left: bytes, wanting: str) -> Agreed | Declined:
    if code.startswith(b"2"):
        return Agreed(left)
    # tinyproxy says 401 where the password is wrong.
    if int(code) in {PROXY_WANTS_A_USER, 401}:
        return _declined(wanting)
    # RFC 9110, 15.6.5. The other codes do not tell a fault of the proxy from one of the server.
    reason = UnreachableReason.TIMED_OUT if code == b"504" else None
    return _declined(f"answers CONNECT with the code {code.decode()}", reason)


class _Awaits(Enum):
    METHOD = auto()
    AUTHENTICATION = auto()
    REPLY = auto()


_NO_AUTHENTICATION: Final = 0
_USER_AND_PASSWORD: Final = 2
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
_OF_SERVER: Final = {5: UnreachableReason.CONNECTION_REFUSED, 6: UnreachableReason.TIMED_OUT}
"""The refusals that are about the server alone (RFC 1928, 6)."""
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Socks5:
    """The client's side of SOCKS 5."""

    def __init__(self, host: str, port: int, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self.outcome: Agreed | Declined | None = None
        self._request = b"\x05\x01\x00" + _place(host) + port.to_bytes(2, "big")
        self._received = bytearray()
        self._awaits = _Awaits.METHOD

    def start(self) -> bytes:
        """Return the offer of the methods: without authentication, and perhaps by user and password."""
        methods = [_NO_AUTHENTICATION] if self._credentials is None else [_NO_AUTHENTICATION, _USER_AND_PASSWORD]
        return bytes((5, len(methods), *methods))

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the proxy, return those for it."""
        self._received += data
        if self._awaits is _Awaits.AUTHENTICATION:
            return self._take_authentication()
        if not b"\x05".startswith(self._received[:1]):
            self.outcome = _declined("does not speak SOCKS 5")
        elif self._awaits is _Awaits.REPLY:
            self._take_reply(bytes(self._received))
        elif len(self._received) >= 2:
            return self._take_method()
        return b""

    def _take_method(self) -> bytes:
        method = self._received[1]
        del self._received[:2]
        if method == _NO_AUTHENTICATION:
            self._awaits = _Awaits.REPLY
            return self._request
        if method != _USER_AND_PASSWORD or self._credentials is None:
            self.outcome = _declined(_WANTS_A_USER if self._credentials is None else _REFUSES_THE_USER)
            return b""
        self._awaits = _Awaits.AUTHENTICATION
        user, password = self._credentials.user, self._credentials.password
        return bytes((1, len(user))) + user + bytes((len(password),)) + password

    def _take_authentication(self) -> bytes:
        """Take version and status."""
        if len(self._received) < 2:
            return b""
        if self._received[1] != 0:
            self.outcome = _declined(_REFUSES_THE_USER)
            return b""
        self._awaits = _Awaits.REPLY
        del self._received[:2]
        return self._request

    def _take_reply(self, reply: bytes) -> None:
        """Take version, code, a reserved byte, type and value of an address, and a port."""
        if len(reply) >= 2 and reply[1] != 0:
            self.outcome = _declined(_REFUSALS.get(reply[1], "failed"), _OF_SERVER.get(reply[1]))
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


def _declined(why: str, reason: UnreachableReason | None = None) -> Declined:
    return Declined(why, by_proxy=True, reason=reason)


def proxy_preamble(
    proxy: Proxy, host: str, port: int, credentials: Credentials | NoCredentials | None = None
) -> Preamble:
    """Return a new request to `proxy` for a connection to `host`."""
    if isinstance(credentials, NoCredentials):
        return NotAsked(credentials)
    ask = http_connect if proxy.kind is ProxyKind.HTTP else Socks5
    return ask(host, port, credentials)
