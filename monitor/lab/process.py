"""Processes on loopback that end when the one who started them does."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from config.text import printable

T = TypeVar("T")

_LOG_TAIL: Final = 2_000
_SERVER_DIRECTORIES: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps servers; not on every user's PATH."""


_OFTEN: Final = 0.005
_SELDOM: Final = 0.1
"""Seconds between two questions."""
_PAUSES: Final = 4
"""Times as long as a question takes, nothing is asked after it."""
_LATER: Final = 0.05
"""Of the time that has passed already, what may pass between two questions."""


class LabError(Exception):
    """A server of the lab did not do what it was asked to; the message is printable."""


def wait_for(condition: Callable[[], T | None], deadline: float = 10.0, what: str = "the condition") -> T:
    """Return the first true value of `condition`, asked every few milliseconds, more seldom where it takes long.

    Raises TimeoutError where `deadline` seconds pass without one.
    """
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if value := condition():
            return value
        now = time.monotonic()
        if now > began + deadline:
            raise TimeoutError(f"{what} did not come about within {deadline:g} s")
        # Asking again and again must not keep those at work who are waited for.
        time.sleep(min(_SELDOM, max(_OFTEN, _PAUSES * (now - asked), _LATER * (now - began))))


def find_command(name: str) -> str | None:
    """Return the path of an installed command, None where there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SERVER_DIRECTORIES}")


def free_address() -> tuple[str, int]:
    """Return a loopback address of its own, out of sixteen million, and a port that is free there (Linux)."""
    pick = random.SystemRandom().randrange
    host = f"127.{pick(1, 255)}.{pick(256)}.{pick(1, 255)}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        return host, int(probe.getsockname()[1])


def accepts(host: str, port: int) -> bool:
    """Whether something listens there now."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


class ServerProcess:
    """A command in a process group of its own, sent SIGTERM when the thread that started it ends, however that ends."""

    def __init__(self, command: Sequence[str], log: str) -> None:
        """Start `command`, whose output is appended to the file `log`.

        Raises LabError where the command is not installed.
        """
        program, setpriv = find_command(command[0]), find_command("setpriv")
        if program is None or setpriv is None:
            raise LabError(f"{command[0] if program is None else 'setpriv'} is not installed")
        self.name = command[0]
        self._log = log
        with open(log, "ab") as output:
            self._popen = subprocess.Popen(
                [setpriv, "--pdeathsig", "TERM", program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also that of the group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def wait_until(self, condition: Callable[[], object], what: str, deadline: float = 10.0) -> None:
        """Wait for `condition`.

        Raises LabError, with the end of the log, where the process ends or `deadline` seconds pass before.
        """
        try:
            wait_for(lambda: not self.running or condition(), deadline)
        except TimeoutError:
            raise LabError(f"{self.name}: {what}: not within {deadline:g} s{self._log_tail()}") from None
        if not self.running:
            raise LabError(f"{self.name} ended with status {self._popen.returncode}{self._log_tail()}")

    def wait_for_start(self, condition: Callable[[], object], what: str, deadline: float = 10.0) -> None:
        """Wait for `condition` as `wait_until` does; a process that does not come to it is stopped."""
        try:
            self.wait_until(condition, what, deadline)
        except BaseException:
            self.stop()
            raise

    def _log_tail(self) -> str:
        try:
            with open(self._log, "rb") as file:
                text = file.read()[-_LOG_TAIL:].decode(errors="replace")
        except OSError:
            return ""
        return "".join(f"\n  {printable(line)}" for line in text.splitlines())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, not to its group."""
        self._popen.send_signal(number)

    def stop(self, patience: float = 5.0) -> None:
        """End the process and whatever it started; doing so twice is no error."""
        if self.running:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


def run_test(command: Sequence[str], deadline: float = 30.0) -> None:
    """Run a command that checks something.

    Raises LabError, with what it said, where it fails.
    """
    program = find_command(command[0])
    if program is None:
        raise LabError(f"{command[0]} is not installed")
    ran = subprocess.run(
        [program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline, check=False
    )
    if ran.returncode:
        said = (ran.stdout + ran.stderr).decode(errors="replace")
        raise LabError(f"{' '.join(command)}: {printable(said, _LOG_TAIL)}")
