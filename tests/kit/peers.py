"""Peers that are no TLS servers, or bad ones: what a prober meets when it connects to the wrong thing."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, Self

from monitor.lab.process import free_address

_HTTP_ANSWER: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SSH_BANNER: Final = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
_ALERT_HANDSHAKE_FAILURE: Final = bytes.fromhex("15030300020228")
_RECORD_SIZE: Final = 16_384
_HANDSHAKE_RECORD: Final = b"\x16\x03\x03" + _RECORD_SIZE.to_bytes(2, "big")
_SERVER_HELLO_OF_16_MB: Final = b"\x02\xff\xff\xff"


class Behaviour(Enum):
    """What a peer does to everyone who connects."""

    REFUSES = auto()
    """Nobody listens."""
    SILENT = auto()
    """Accepts and says nothing, for ever."""
    FADES = auto()
    """Closes the first connection after a second, the second at once, and says nothing on all others."""
    CLOSES = auto()
    """Reads the ClientHello and closes."""
    RESETS = auto()
    """Reads the ClientHello and resets the connection."""
    ALERTS = auto()
    """Answers the ClientHello with the fatal alert handshake_failure."""
    PLAIN_HTTP = auto()
    """Answers as a web server that speaks no TLS."""
    BANNER = auto()
    """Speaks first, and not TLS."""
    FLOODS = auto()
    """Sends handshake records without end."""
    DRIPS = auto()
    """Sends one byte at a time of a record that never ends, so that no single read is slow."""


class HostilePeer:
    """A TCP listener with one behaviour; as a context manager it listens inside the block."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.host, self.port = free_address()
        self.connections = 0
        """How many have been accepted so far."""
        self.ending = threading.Event()
        self._tcp: _PeerServer | None = None

    def start(self) -> None:
        if self.behaviour is not Behaviour.REFUSES:
            self._tcp = _PeerServer(self)
            threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.ending.set()
        if self._tcp is not None:
            self._tcp.shutdown()
            self._tcp.server_close()
            self._tcp = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _PeerServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, peer: HostilePeer) -> None:
        self.peer = peer
        super().__init__((peer.host, peer.port), _PeerHandler)


class _PeerHandler(socketserver.BaseRequestHandler):
    request: Any
    server: _PeerServer

    def handle(self) -> None:
        self.server.peer.connections += 1
        self.request.settimeout(5.0)
        with suppress(OSError):
            self._behave(self.request, self.server.peer)

    def _behave(self, connection: socket.socket, peer: HostilePeer) -> None:
        match peer.behaviour:
            case Behaviour.SILENT:
                peer.ending.wait()
            case Behaviour.FADES:
                peer.ending.wait({1: 1.0, 2: 0.0}.get(peer.connections))
            case Behaviour.CLOSES:
                connection.recv(65_536)
            case Behaviour.RESETS:
                connection.recv(65_536)
                # Lingering for no time at all makes the kernel send RST instead of FIN.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            case Behaviour.ALERTS:
                connection.recv(65_536)
                connection.sendall(_ALERT_HANDSHAKE_FAILURE)
            case Behaviour.PLAIN_HTTP:
                connection.recv(65_536)
                connection.sendall(_HTTP_ANSWER)
            case Behaviour.BANNER:
                connection.sendall(_SSH_BANNER)
                peer.ending.wait()
            case Behaviour.FLOODS:
                connection.sendall(_HANDSHAKE_RECORD + _SERVER_HELLO_OF_16_MB.ljust(_RECORD_SIZE, b"\0"))
                while not peer.ending.is_set():
                    connection.sendall(_HANDSHAKE_RECORD + bytes(_RECORD_SIZE))
            case Behaviour.DRIPS:
                connection.sendall(_HANDSHAKE_RECORD)
                while not peer.ending.wait(0.01):
                    connection.sendall(b"\2")


HELLO: bytes = b"hello"
"""Stands for what the client says next."""
RESET: bytes = b"reset"
HOLD: bytes = b"hold"
"""Stands for nothing at all until the client leaves."""


@contextmanager
def playing(steps: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """Serve one who plays these steps with everybody, and then leaves."""
    with socket.create_server(free_address()) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), connection:
                        connection.settimeout(5)
                        for step in steps:
                            _play(step, connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def answering(path: Path, first: bytes, then: bytes = b"") -> Iterator[str]:
    """Answer each request at a Unix socket: `first`, then `then` each 10 ms for as long as somebody listens."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(first)
            while then:
                connection.sendall(then)
                time.sleep(0.01)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _play(step: bytes, connection: socket.socket) -> None:
    if step is HELLO or step is HOLD:
        while connection.recv(65_536) and step is HOLD:
            pass
    elif step is RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.sendall(step)
