"""The real daemon as a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from types import MappingProxyType, TracebackType
from typing import Final, Self

from monitor.lab.process import free_address
from monitor.store import RowCounts, counts, database_path
from tests.bench.estate import configuration

PATIENCE: Final = 300.0
"""Seconds after which whatever is waited for has failed."""


@dataclass(frozen=True, slots=True)
class Process:
    """What Linux tells of a running process."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that it took so far, and that of its children that have ended."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return its proportional share of memory (PSS) in MB of 2**20 bytes: those of all processes make a sum."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024

    def descriptors(self) -> int:
        """Return the number of its open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> int:
        """Return the number of its threads."""
        return len(os.listdir(f"/proc/{self.pid}/task"))


def _with_children(pid: int) -> Iterator[Process]:
    yield Process(pid)
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread, or a child, may end at any moment.
        with suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for each in children.read().split():
                yield from _with_children(int(each))


class MeasuredDaemon:
    """Runs `certvigil run` inside the block, which begins once it is ready; its log goes to `LOG` in `directory`."""

    def __init__(
        self,
        directory: str,
        *patterns: str,
        rescan: str = "10m",
        endpoints: Mapping[str, str] = MappingProxyType({}),
        every: str = "0.5s",
        more: Mapping[str, object] = MappingProxyType({}),
        command: Sequence[str] = ("-m", "monitor.main", "run", "--config"),
    ) -> None:
        """Take what it is to watch, the directory for everything else, and how Python is to start it.

        `more` are sections of the configuration, as `configuration` takes them.
        """
        self.listen = "{}:{}".format(*free_address())
        self.state = os.path.join(directory, "state")
        self.log_file = os.path.join(directory, "log")
        self.since_start = 0.0
        """Seconds from the start of the process until it was ready."""
        self.since_loaded = 0.0
        """Seconds from when its code was loaded, what it remembers was not, until it was ready."""
        self._directory = directory
        self.config_file = os.path.join(directory, "config.yaml")
        self._command = command
        with open(self.config_file, "w", encoding="utf-8") as file:
            settings = {"rescan": rescan, "listen": self.listen, "every": every}
            file.write(configuration(directory, *patterns, endpoints=endpoints, more=more, **settings))

    def __enter__(self) -> Self:
        address = os.path.join(self._directory, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, open(self.log_file, "ab") as log:
            notices.bind(address)
            notices.settimeout(0.5)
            started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, *self._command, self.config_file],
                env={**os.environ, "NOTIFY_SOCKET": address},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                # The daemon's first word, once its code is loaded, is that it reads what it remembers.
                self._await_notice(notices, b"STATUS=")
                working = time.monotonic()
                self._await_notice(notices, b"READY=1")
            except BaseException:
                self._process.kill()
                self._process.wait()
                raise
            finally:
                os.unlink(address)
        ready = time.monotonic()
        self.since_start, self.since_loaded = ready - started, ready - working
        return self

    def _await_notice(self, notices: socket.socket, what: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if what in notices.recv(4096):
                    return
            except TimeoutError:
                if self._process.poll() is not None:
                    raise RuntimeError(f"the daemon ended before it was ready, see {self.log_file}") from None
        raise TimeoutError(f"the daemon did not say {what.decode()}, see {self.log_file}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        if status and error is None:
            raise RuntimeError(f"the daemon ended with status {status}, see {self.log_file}")

    @property
    def pid(self) -> int:
        """Its process id, which is that of its session, too."""
        return self._process.pid

    def scrape(self) -> tuple[float, int]:
        """Ask for the metrics as Prometheus does; return the seconds that took, and the bytes that came."""
        connection = HTTPConnection(self.listen, timeout=PATIENCE)
        started = time.monotonic()
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        size = len(answer.read())
        seconds = time.monotonic() - started
        connection.close()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"/metrics answered {answer.status}")
        return seconds, size

    def sample(self, name: str) -> float:
        """Return the sum of the samples whose name and labels begin so."""
        connection = HTTPConnection(self.listen, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def processes(self) -> tuple[Process, ...]:
        """Return the daemon and all that it has started and not yet ended."""
        return tuple(_with_children(self._process.pid))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def resident_mb(self) -> float:
        """Return the resident memory in MB of 2**20 bytes, shared pages included."""
        with open(f"/proc/{self._process.pid}/status", encoding="ascii") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmRSS"].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time that it took so far, with that of all that it has started, also of what has ended."""
        return sum(each.cpu_seconds() for each in self.processes())

    def recorded(self) -> RowCounts:
        """Return how many rows the database has; none before it is there."""
        found = counts(database_path(self.state))
        return found if isinstance(found, RowCounts) else RowCounts(0, 0, 0, 0, 0)

    def await_recorded(self, presentations: int) -> None:
        """Return once what so many targets present was recorded, and nothing more comes."""
        end = time.monotonic() + PATIENCE
        before = self.recorded()
        while time.monotonic() < end:
            time.sleep(0.3)
            now = self.recorded()
            if now == before and now.presentations >= presentations:
                return
            before = now
        raise TimeoutError(f"only {before.presentations} of {presentations} presentations were recorded")
