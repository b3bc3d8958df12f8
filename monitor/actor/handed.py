"""The files of a person's candidate on the actor's socket: bytes behind the line of the request.

The process of the person reads them, so that its user's rights decide which files these can be: the actor opens no path
for anybody. It takes the bytes of operators alone, and keeps them in memory.
"""

from __future__ import annotations

import socket
import time
from dataclasses import field, replace
from typing import Final

from actions.candidate import Given
from config.immutable import immutable
from config.text import printable
from monitor.actor.request import HandedFile, Request

PATIENCE: Final = 10.0
"""Seconds for all bytes to come."""


@immutable
class CandidateFiles:
    """Files that a person hands over, in place of those in the inboxes."""

    files: tuple[Given, ...] = field(repr=False)
    password: bytes | None = field(default=None, repr=False)


def announce(request: Request, files: CandidateFiles) -> tuple[Request, bytes]:
    """Return the request that names these files, and the bytes that follow its line."""
    named = tuple(HandedFile(each.name, len(each.data)) for each in files.files)
    password = files.password
    announced = replace(request, files=named, password=None if password is None else len(password))
    return announced, b"".join(each.data for each in files.files) + (password or b"")


def receive(connection: socket.socket, request: Request, begun: bytes) -> CandidateFiles | None:
    """Return the files that a request names, of which the bytes `begun` have come; None where not all come in time.

    Raises OSError.
    """
    sizes = [each.size for each in request.files]
    data, whole = bytearray(begun), sum(sizes) + (request.password or 0)
    end = time.monotonic() + PATIENCE
    while len(data) < whole:
        more = connection.recv(min(whole - len(data), 65536)) if time.monotonic() < end else b""
        if not more:
            return None
        data += more
    files, at = list[Given](), 0
    for each in request.files:
        files.append(Given(printable(each.name, 300), bytes(data[at : at + each.size])))
        at += each.size
    password = None if request.password is None else bytes(data[at : at + request.password])
    return CandidateFiles(tuple(files), password)
