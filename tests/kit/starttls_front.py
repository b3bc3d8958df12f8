"""SMTP in the clear in front of a server that speaks TLS: the real server does all that follows STARTTLS."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from typing import Any, Self

from monitor.lab.process import free_address


class SMTPFront:
    """Leads the dialogue of RFC 3207 at an address of its own, and passes everything behind it on to `behind`."""

    def __init__(self, behind: tuple[str, int]) -> None:
        self.behind = behind
        self.host, self.port = free_address()

    def __enter__(self) -> Self:
        self._tcp = _FrontServer(self)
        threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.shutdown()
        self._tcp.server_close()


class _FrontServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, front: SMTPFront) -> None:
        self.front = front
        super().__init__((front.host, front.port), _FrontHandler)


class _FrontHandler(socketserver.BaseRequestHandler):
    request: Any
    server: _FrontServer

    def handle(self) -> None:
        client: socket.socket = self.request
        with suppress(OSError), socket.create_connection(self.server.front.behind) as server:
            client.sendall(b"220 front ESMTP\r\n")
            for expected, answer in ((b"EHLO", b"250-front\r\n250 STARTTLS\r\n"), (b"STARTTLS", b"220 go ahead\r\n")):
                line = b""
                while not line.endswith(b"\r\n"):
                    line += client.recv(1)
                assert line.startswith(expected)
                client.sendall(answer)
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            _pass_on(client, server)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
