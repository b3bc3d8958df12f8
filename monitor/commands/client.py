"""Asking the daemon, over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any, Final

from config.immutable import immutable
from config.text import Printable, printable, sentence

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of one answer; the inventory of 100,000 certificates is a fraction of that."""


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
    """Return the JSON answer of the daemon on the socket at `path`, whatever its status, within so many seconds."""
    connection, where = _Connection(path, timeout), printable(path)
    try:
        connection.request(method, resource)
        body = connection.getresponse().read(most + 1)
        if len(body) > most:
            return NoDaemonAnswer(sentence("the answer of the daemon on {} has more than {} bytes", where, most))
        return json.loads(body)
    except (FileNotFoundError, ConnectionRefusedError):
        return NoDaemonAnswer(
            sentence("no daemon listens on {}; is it running? (`certvigil run`, or --socket for another one)", where)
        )
    except PermissionError:
        return NoDaemonAnswer(
            sentence("{} may not be used by this user; the daemon's user, its group or root may", where)
        )
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        return NoDaemonAnswer(sentence("the daemon on {} gave no answer: {}", where, printable(str(error))))
    finally:
        connection.close()
