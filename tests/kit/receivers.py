"""Those who are told: an HTTP receiver that misbehaves when asked to, and a mail server."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from monitor.lab.process import free_address

_MESSAGE: Final = re.compile(r"message ([0-9a-f]{16})\b")


class ReceiverManner(Enum):
    """How a receiver answers."""

    WELL = "well"
    WITH_AN_ERROR = "with an error"
    """Status 500, although it has read everything."""
    SLOWLY = "slowly"
    """A second later."""
    NOT_AT_ALL = "not at all"
    """It reads everything, and holds the connection open."""
    CLOSING = "closing"
    """It closes in the middle of the request."""
    TOO_LATE = "too late"
    """It reads everything, and closes without an answer."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as it arrived."""

    title: str
    text: str
    at: float = field(default_factory=time.time, compare=False)
    """Unix time at which it arrived."""

    @property
    def id(self) -> str:
        """Its stable id."""
        found = _MESSAGE.search(self.text)
        assert found is not None, self.text
        return found[1]


@dataclass
class MessageReceiver:
    """Receives messages over HTTP, as `json://` sends them, at an address that stays while it is down."""

    address: tuple[str, int] = field(default_factory=free_address)
    manner: ReceiverManner = ReceiverManner.WELL
    accepted: list[ReceivedMessage] = field(default_factory=list)
    """What was answered with 200."""
    seen: list[ReceivedMessage] = field(default_factory=list)
    """All that arrived whole, however it was answered."""
    beats: int = 0
    """GET requests."""
    _server: ThreadingHTTPServer | None = None

    def url(self, path: str = "") -> str:
        """Return the URL by which apprise reaches it."""
        return "json://{}:{}/{}".format(*self.address, path)

    @property
    def ids(self) -> list[str]:
        """The ids of what was accepted, in order."""
        return [got.id for got in self.accepted]

    def start(self) -> Self:
        """Listen."""
        receiver = self

        class ReceiverHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                receiver.beats += 1
                self._answer(200)

            def do_POST(self) -> None:
                receiver.handle(self)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class ReceiverServer(ThreadingHTTPServer):
            daemon_threads = True
            # Whoever sends may be killed while it does.
            handle_error = staticmethod(lambda *_: None)  # type: ignore[assignment]

        self._server = ReceiverServer(self.address, ReceiverHandler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections until it is started again."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def handle(self, request: Any) -> None:
        """Take one message."""
        length = int(request.headers["Content-Length"])
        if self.manner is ReceiverManner.CLOSING:
            request.rfile.read(length // 2)
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        said = json.loads(request.rfile.read(length))
        got = ReceivedMessage(said["title"], said["message"])
        self.seen.append(got)
        if self.manner is ReceiverManner.NOT_AT_ALL:
            threading.Event().wait(120)
        if self.manner is ReceiverManner.TOO_LATE:
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.manner is ReceiverManner.SLOWLY:
            threading.Event().wait(1.0)
        if self.manner is ReceiverManner.WITH_AN_ERROR:
            request._answer(500)
            return
        self.accepted.append(got)
        request._answer(200)


class MailServer:
    """Takes mail (RFC 5321), and keeps it."""

    def __init__(self) -> None:
        self.mails: list[ReceivedMessage] = []
        self.address = free_address()
        server = self

        class MailHandler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.converse(self)

        class MailTCPServer(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = MailTCPServer(self.address, MailHandler)

    @property
    def url(self) -> str:
        """The URL by which apprise reaches it."""
        return "mailto://{}:{}/?from=certvigil@example.com&to=ops@example.com&mode=insecure".format(*self.address)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def converse(self, client: socketserver.StreamRequestHandler) -> None:
        """Speak with one client until it quits."""

        def say(line: str) -> None:
            client.wfile.write(f"{line}\r\n".encode())

        say("220 lab ESMTP")
        while line := client.rfile.readline():
            match line[:4].upper():
                case b"EHLO" | b"HELO":
                    say("250 lab")
                case b"DATA":
                    say("354 go on")
                    data = b""
                    while (more := client.rfile.readline()) not in {b".\r\n", b""}:
                        data += more.removeprefix(b".") if more.startswith(b"..") else more
                    mail = message_from_bytes(data, policy=default)
                    parts = [each for each in mail.walk() if each.get_content_maintype() == "text"]
                    text = "\n".join(str(each.get_content()) for each in parts)
                    self.mails.append(ReceivedMessage(str(mail["Subject"]), text))
                    say("250 kept")
                case b"QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 ok")
