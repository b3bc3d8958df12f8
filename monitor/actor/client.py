"""Asking the actor, over its Unix socket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import IO, Any, Final

from config.model import Config
from config.text import printable, sentence
from monitor.actor.handed import CandidateFiles, announce
from monitor.actor.request import Document, Request, encode

LONGEST_ACT: Final = 3600.0
"""Seconds at least for which the next step of a transaction is waited for."""
_LONGEST_QUEUE: Final = 10
"""Whole seconds to wait for until the actor takes the connection."""


def longest_act(config: Config) -> float:
    """Return for how many seconds the next step of a transaction is waited for.

    Each step has its own time limit: the `timeout` of a service for its command, and then the `deadline` of the
    validation for the handshakes. Nobody gives up before the actor does.
    """
    services = [each.service for each in config.components.values()]
    services += [each.service for each in config.trust_stores.values()]
    command = max((each.timeout for each in services if each is not None), default=0.0)
    return LONGEST_ACT + command + config.settings.validation.deadline


class NoActor(Exception):  # noqa: N818 (that there is none is no error)
    """Nobody listens; the message says where, a sentence."""


def ask(
    path: str,
    request: Request,
    told: Callable[[Document], None],
    timeout: float = LONGEST_ACT,
    *,
    handed: CandidateFiles | None = None,
) -> Document:
    """Return the answer of the actor on the socket at `path`; `told` hears of each step before.

    The files that are `handed` over follow the request.

    Raises NoActor where there is none, and OSError where the connection was lost.
    """
    request, data = (request, b"") if handed is None else announce(request, handed)
    with talking(path, request, timeout, data) as answers:
        for document in answers:
            if "step" not in document:
                return document
            told(document["step"])
    raise ConnectionError(
        sentence(
            "the actor went away without an answer; certvigil recover finishes or undoes an interrupted transaction"
        )
    )


@contextmanager
def talking(path: str, request: Request, timeout: float, data: bytes = b"") -> Iterator[Iterator[Document]]:
    """Give each document that the actor answers with, as it comes; raises NoActor, OSError.

    `data` follows the line of the request.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        # In a crowd a socket that blocks waits for a place in the queue; another would be sent away at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _LONGEST_QUEUE, 0))
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoActor(f"no actor listens on {printable(path)}") from None
        except PermissionError as error:
            raise PermissionError(
                error.errno, "you may not ask the actor: only root and members of its group may", path
            ) from None
        except BlockingIOError as error:
            raise OSError(error.errno, "too many ask the actor at once: try again", path) from None
        connection.settimeout(timeout)
        # Whoever may not hand anything over is answered before all of it was read.
        with suppress(BrokenPipeError, ConnectionResetError) if data else nullcontext():
            connection.sendall(encode(request) + data)
        with connection.makefile("rb") as answers:
            yield _documents(answers)


def _documents(answers: IO[bytes]) -> Iterator[Any]:
    for line in answers:
        yield json.loads(line)
