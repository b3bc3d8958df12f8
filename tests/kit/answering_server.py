"""A TLS server that sends whatever bytes a test wants for an answer."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Self

from config.address import join_address
from monitor.lab.process import free_address
from monitor.lab.servers import Site

Answer = Callable[[str], Iterable[bytes]]
"""What is sent to who asks for a path: pieces, perhaps without end."""


def page(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class AnsweringServer:
    """Serves one site; as a context manager it listens inside the block."""

    def __init__(self, site: Site, answer: Answer, address: tuple[str, int] | None = None) -> None:
        self.host, self.port = address or free_address()
        self.answer = answer
        self.requests: list[bytes] = []
        self.clients: set[str] = set()
        """The addresses from where somebody came."""
        self.ending: Final = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(site.certificate, site.key)

    @property
    def address(self) -> str:
        return join_address(self.host, self.port)

    @property
    def paths(self) -> list[str]:
        """What was asked for so far."""
        return [request.split(b" ")[1].decode() for request in self.requests]

    def __enter__(self) -> Self:
        self._tcp = _AnsweringTCPServer(self)
        threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._tcp.shutdown()
        self._tcp.server_close()


class _AnsweringTCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answering: AnsweringServer) -> None:
        self.answering = answering
        super().__init__((answering.host, answering.port), _AnsweringHandler)


class _AnsweringHandler(socketserver.BaseRequestHandler):
    request: socket.socket
    server: Any

    def handle(self) -> None:
        answering: AnsweringServer = self.server.answering
        answering.clients.add(self.client_address[0])
        self.request.settimeout(5.0)
        with suppress(OSError), answering.context.wrap_socket(self.request, server_side=True) as connection:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                more = connection.recv(65_536)
                if not more:
                    return
                request += more
            answering.requests.append(request)
            for piece in answering.answer(request.split(b" ")[1].decode()):
                if answering.ending.is_set():
                    break
                connection.sendall(piece)
