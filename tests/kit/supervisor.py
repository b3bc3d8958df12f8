"""A service manager for one service, faithful to systemd in what a transaction meets; its program is `supervising`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from monitor.lab.process import ServerProcess, accepts
from tests.kit import supervising


class Supervisor:
    """Runs a command as a service inside the `with` block, which begins once it accepts connections."""

    def __init__(
        self, directory: str, command: Sequence[str], address: tuple[str, int], *, restarts: bool = True
    ) -> None:
        """`restarts`: the service is started again whenever it ends."""
        self.directory = directory
        self._how = "run" if restarts else "once"
        self.systemctl = os.path.join(directory, "systemctl")
        self._command = tuple(command)
        self._address = address

    def __enter__(self) -> Supervisor:
        os.makedirs(self.directory)
        # It is asked often, and needs nothing but what comes with Python.
        ask = f'exec "{sys.executable}" -I -S "{supervising.__file__}" ask "{self.directory}" "$@"\n'
        with open(self.systemctl, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{ask}")
        os.chmod(self.systemctl, 0o755)
        program = (sys.executable, "-I", "-S", supervising.__file__, self._how, self.directory, *self._command)
        self._process = ServerProcess(program, os.path.join(self.directory, "log"))
        self._process.wait_for_start(lambda: accepts(*self._address), "accepting connections")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
