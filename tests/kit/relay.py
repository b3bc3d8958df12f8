"""A relay between the daemon and the actor, which takes note of every request."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

from monitor.actor.request import Verb


class Relay:
    """Listens at one socket, passes everything on to another, and keeps what was asked."""

    def __init__(self, path: str, actor: str) -> None:
        self.path = path
        self._actor = actor
        self._asked: list[tuple[float, dict[str, Any]]] = []
        """Monotonic time and content of each request."""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(16)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        os.unlink(self.path)

    def acts(self, component: str) -> list[str]:
        """Return the verbs of the requests about actions on a component, oldest first."""
        return [each["verb"] for _, each in self._asked if component in each.get("action", {}).get("components", ())]

    def is_quiet(self, seconds: float) -> bool:
        """Whether no action was asked about for so many seconds."""
        return all(time.monotonic() - at > seconds for at, each in self._asked if "action" in each)

    def forget(self) -> None:
        """Forget what was asked so far."""
        self._asked.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, socket.socket(socket.AF_UNIX) as actor, connection.makefile("rb") as said:
            line = said.readline()
            request = json.loads(line)
            assert request["verb"] in set(Verb)
            self._asked.append((time.monotonic(), request))
            actor.connect(self._actor)
            actor.sendall(line)
            while data := actor.recv(65_536):
                connection.sendall(data)
