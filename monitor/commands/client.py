"""Asking the daemon, over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from config.text import Printable, printable, sentence


@dataclass(frozen=True, slots=True)
class NoDaemonAnswer:
    """The daemon could not be asked, or its answer makes no sense. A sentence with the reason and the way out."""

    why: Printable


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, resource: str, *, method: str = "GET", timeout: float = 10.0) -> Any | NoDaemonAnswer:
    """Return the JSON answer of the daemon on the socket at `path`, whatever its status."""
    connection, where = _Connection(path, timeout), printable(path)
    try:
        connection.request(method, resource)
        return json.loads(connection.getresponse().read())
    except (FileNotFoundError, ConnectionRefusedError):
        return NoDaemonAnswer(
            sentence("no daemon listens on {}; is it running? (certvigil run, or --socket for another one)", where)
        )
    except PermissionError:
        return NoDaemonAnswer(
            sentence("{} may not be used by this user; the daemon's user, its group or root may", where)
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        return NoDaemonAnswer(sentence("the daemon on {} gave no answer: {}", where, printable(str(error))))
    finally:
        connection.close()
