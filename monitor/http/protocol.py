"""One connection: uvicorn's protocol, with an end to every patience and with who is at the other end."""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS: Final = 200
"""At one listener; more are cut off."""
MOST_REQUESTS: Final = 100
"""Connections from which on requests are refused with 503."""
LARGEST_REQUEST: Final = 64 * 1024
"""Bytes, headers included; nothing here takes a body."""
REQUEST_SECONDS: Final = 10.0
"""In which a request must have arrived."""
STALLED_SECONDS: Final = 30.0
"""For which a client may take nothing of an answer."""
KEEP_ALIVE_SECONDS: Final = 75


@dataclass(frozen=True, slots=True)
class Peer:
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless too many have begun already."""
        super().connection_made(transport)
        self.app_state = {"peer": _peer(transport.get_extra_info("socket"))}
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
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
        super().on_message_complete()

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


def _peer(connected: Any) -> Peer | None:
    if connected.family != socket.AF_UNIX:
        return None
    layout = struct.Struct("3i")
    pid, uid, _gid = layout.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return Peer(pid, uid)
