"""One connection: uvicorn's protocol, with an end to every patience and with who is at the other end."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import pwd
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from config.immutable import immutable

MOST_CONNECTIONS: Final = 200
"""Of TCP, and of the Unix socket; of more, those are cut off that do least."""
LARGEST_REQUEST: Final = 64 * 1024
"""Bytes, headers included; nothing here takes a body."""
REQUEST_SECONDS: Final = 10.0
"""In which a request must have arrived."""
STALLED_SECONDS: Final = 30.0
"""For which a client may take nothing of an answer."""
KEEP_ALIVE_SECONDS: Final = 75
_AT_WORK: Final = 2
_TURNS: Final = itertools.count(1)
"""A clock would give all that happens in one round of the loop the same time."""


@immutable
class ConnectionPeer:
    """The process at the other end of a Unix socket, as the kernel knows it (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int

    def __str__(self) -> str:
        try:
            return f"{pwd.getpwuid(self.uid).pw_name} (uid {self.uid}, pid {self.pid})"
        except KeyError:
            return f"uid {self.uid}, pid {self.pid}"


class Connection(HttpToolsProtocol):
    """Speaks HTTP/1.1; `scope["state"]["peer"]` is a Peer on a Unix socket, and None on TCP."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_bytes = 0
        self._request_deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.origin = ""
        """Whose connection it is, as far as the network knows that."""
        self._since = 0
        """When it began its present work: after all that have a lower number."""

    @property
    def doing(self) -> tuple[int, int]:
        """How busy it is, the least first: it waits for a request, its client takes nothing, or it is at work."""
        if self.cycle is None or self.cycle.response_complete:
            return 0, self._since
        return (_AT_WORK if self._stalled is None else _AT_WORK - 1), self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless too many have begun already."""
        super().connection_made(transport)
        self.app_state = {"peer": _peer(transport.get_extra_info("socket"))}
        self.origin = _origin(transport.get_extra_info("peername"))
        self._since = next(_TURNS)
        every = (each for each in self.connections if isinstance(each, Connection))
        crowd = [each for each in every if not each.transport.is_closing()]
        if len(crowd) > MOST_CONNECTIONS:
            _least_busy(crowd, self).transport.abort()
        if not transport.is_closing():
            self._request_deadline = self.loop.call_later(REQUEST_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_request()
        self._forget_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes of a request."""
        self._request_bytes += len(data)
        super().data_received(data)
        if self._request_bytes > LARGEST_REQUEST:
            self.transport.abort()
        elif self._request_bytes and self._request_deadline is None:
            self._request_deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def on_headers_complete(self) -> None:
        """Take a request, unless the one before is still being answered: no client in use asks on without waiting."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request has arrived as a whole."""
        self._forget_request()
        self._since = next(_TURNS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that it waits for the next request."""
        self._since = next(_TURNS)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client takes nothing."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client takes something."""
        self._forget_stall()
        super().resume_writing()

    def _forget_request(self) -> None:
        self._request_bytes = 0
        if self._request_deadline is not None:
            self._request_deadline.cancel()
            self._request_deadline = None

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _least_busy(crowd: Sequence[Connection], newcomer: Connection) -> Connection:
    """Return who is to go: of the origin with most connections the one that does least, for the longest time.

    So whoever opens many makes room at his own cost, and who opens one and asks at once is served. The newcomer goes
    itself only where all others of its origin, which has most, are at work.
    """
    many = Counter(each.origin for each in crowd)
    origin = max(many, key=lambda each: (many[each], each != newcomer.origin))
    others = [each for each in crowd if each.origin == origin and each is not newcomer]
    if origin == newcomer.origin:
        others = [each for each in others if each.doing[0] < _AT_WORK]
    return min(others, key=lambda each: each.doing, default=newcomer)


def _origin(name: object) -> str:
    """Return an address of IPv4, the network of one of IPv6, in which a host has as many as it likes; "" for others."""
    try:
        address = ipaddress.ip_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
    return str(address or "")


def _peer(connected: Any) -> ConnectionPeer | None:
    if connected.family != socket.AF_UNIX:
        return None
    layout = struct.Struct("3i")
    pid, uid, _gid = layout.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return ConnectionPeer(pid, uid)
