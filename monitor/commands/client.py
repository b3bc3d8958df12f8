"""Asking the daemon, over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any, Final

from config.immutable import immutable
from config.text import Printable, printable, sentence

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of one answer."""
MOST_BYTES_OF_MANY: Final = 128 * 1024 * 1024
"""Of an answer about each certificate, or of all pages of a listing: some 1,000 bytes for each of 100,000."""
_BYTES_OF_VALUE: Final = 16
"""On average, and more in what a daemon answers: an empty list takes 3 bytes to send, and 64 to hold."""
_PAGE: Final = 500
_MOST_LISTED: Final = 1_000_000
_PATIENCE: Final = 60.0
"""Seconds for all pages of a listing."""
Document = dict[str, Any]


@immutable
class NoDaemonAnswer:
    """The daemon could not be asked, or its answer makes no sense. A sentence with the reason and the way out."""

    why: Printable


class _Socket(socket.socket):
    """A Unix socket whose reading ends at a deadline of the monotonic clock, however little comes at a time."""

    deadline: float

    def recv_into(self, *args: Any, **more: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)
        return super().recv_into(*args, **more)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._deadline = time.monotonic() + timeout

    def connect(self) -> None:
        self.sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.deadline = self._deadline
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str, resource: str, *, method: str = "GET", timeout: float = 10.0, most: int = MOST_BYTES
) -> Any | NoDaemonAnswer:
    """Return the JSON object that the daemon on the socket at `path` answers, whatever its status.

    `timeout` is in seconds, for the whole answer; `most` in bytes.
    """
    body = _body(path, resource, method, timeout, most)
    return body if isinstance(body, NoDaemonAnswer) else _document(path, body, most)


def listing(path: str, what: str, *, patience: float = _PATIENCE) -> list[Document] | NoDaemonAnswer:
    """Return all items of a listing, within so many seconds. A part would be taken for all."""
    items: list[Document] = []
    left, deadline = MOST_BYTES_OF_MANY, time.monotonic() + patience
    while True:
        timeout = min(10.0, max(0.001, deadline - time.monotonic()))
        body = _body(path, f"/api/v1/{what}?limit={_PAGE}&offset={len(items)}", "GET", timeout, left)
        if isinstance(body, NoDaemonAnswer):
            return body
        left -= len(body)
        page = _document(path, body, MOST_BYTES_OF_MANY)
        if isinstance(page, NoDaemonAnswer):
            return page
        found, total = page.get("items"), page.get("total")
        if not (isinstance(found, list) and isinstance(total, int) and total <= _MOST_LISTED):
            return NoDaemonAnswer(sentence("the daemon on {} gave no list of its {}", printable(path), printable(what)))
        items += found
        if len(items) >= total or not found:
            return items


def _body(path: str, resource: str, method: str, timeout: float, most: int) -> bytes | NoDaemonAnswer:
    connection, where = _Connection(path, timeout), printable(path)
    try:
        connection.request(method, resource)
        body = connection.getresponse().read(most + 1)
        if len(body) <= most:
            return body
        return NoDaemonAnswer(sentence("the answer of the daemon on {} has more than {} bytes", where, most))
    except (FileNotFoundError, ConnectionRefusedError):
        return NoDaemonAnswer(
            sentence("no daemon listens on {}; is it running? (`certvigil run`, or --socket for another one)", where)
        )
    except PermissionError:
        return NoDaemonAnswer(
            sentence("{} may not be used by this user; the daemon's user, its group or root may", where)
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        return NoDaemonAnswer(sentence("the daemon on {} gave no answer: {}", where, printable(str(error))))
    finally:
        connection.close()


def _document(path: str, body: bytes, most: int) -> Any | NoDaemonAnswer:
    where = printable(path)
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most // _BYTES_OF_VALUE:
        values = most // _BYTES_OF_VALUE
        return NoDaemonAnswer(sentence("the answer of the daemon on {} has more than {} values", where, values))
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        return NoDaemonAnswer(sentence("the daemon on {} gave no answer: {}", where, printable(str(error))))
    if not isinstance(document, dict):
        return NoDaemonAnswer(sentence("the answer of the daemon on {} is no JSON object", where))
    return document
