"""The command line and the daemon as their user runs them: real processes, terminals, a service manager."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

from config.vocabulary import LogFormat
from monitor.commands.client import NoDaemonAnswer, ask
from monitor.lab.process import find_command, free_address, wait_for
from tests.kit.forks import Child, Forked, Piped, Start, parent
from tests.kit.metrics import Series, samples

CERTVIGIL: Final = (sys.executable, "-m", "monitor.main")
PATIENCE: Final = 60.0
"""Seconds for what takes well under one where the machine is not busy."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

LogLine = dict[str, Any]


def certvigil(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, its output and its errors going into a file each, or into pipes.

    One of an `environment` of its own is started as a shell starts it, since the interpreter may depend on it.
    """
    if not environment:
        return _forked(arguments, None)
    return subprocess.run(
        [*CERTVIGIL, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def with_usual_paths(said: str) -> str:
    """Return what a command has printed as it prints it on a host with the usual paths."""
    return re.sub(r"(certvigil(?: [a-z-]+){1,2}?)(?: --(?:config|socket) \S+?(?=[ `\n]|$))+", r"\1", said)


def begun(*arguments: str, module: str = "monitor.main", **how: Any) -> Piped:
    """Start a command, or another module, as `subprocess.Popen` does."""
    return Piped(parent(), module, arguments, **how)


def certvigil_as(user: tuple[int, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as a user and a group, in no other group."""
    return _forked(arguments, user)


def _forked(arguments: Sequence[str], user: tuple[int, int] | None) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = Forked(parent(), arguments, output.fileno(), errors.fileno(), start=Start(user=user))
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        said = []
        for each in (output, errors):
            each.seek(0)
            said.append(each.read().decode())
    return subprocess.CompletedProcess([*CERTVIGIL, *arguments], code, *said)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command wrote to two terminals, and its exit code."""

    code: int
    output: str
    errors: str


def on_a_terminal(*arguments: str, columns: int = 200) -> Shown:
    """Run a command to its end, its output and its errors going to a terminal each, so many columns wide."""
    (output, its_output), (errors, its_errors) = pty.openpty(), pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    process = Forked(parent(), arguments, its_output, its_errors, environment)
    os.close(its_output)
    os.close(its_errors)
    with ThreadPoolExecutor(2) as readers:
        read = [readers.submit(_read_terminal, each) for each in (output, errors)]
        code = process.wait(60)
        return Shown(code, *(each.result() for each in read))


def _read_terminal(terminal: int) -> str:
    data = b""
    # A terminal whose last writer is gone gives EIO instead of an end.
    with suppress(OSError):
        while more := os.read(terminal, 65_536):
            data += more
    os.close(terminal)
    return data.decode()


def start(
    arguments: Sequence[str], log_file: str, wrapper: Sequence[str] = (), environment: Mapping[str, str] = NOTHING
) -> Child:
    """Start a command that goes on, all that it writes going into a file; it ends with the process that runs the tests.

    `wrapper` is what takes rights away before, as setpriv does; to become another user needs no start of its own.
    """
    trust_context = os.environ | environment
    with open(log_file, "ab") as log:
        match tuple(wrapper):
            case ():
                return Forked(parent(), arguments, log.fileno(), environment=trust_context)
            case "--reuid", user, "--regid", group, "--clear-groups":
                other = Start(user=(int(user), int(group)))
                return Forked(parent(), arguments, log.fileno(), environment=trust_context, start=other)
        setpriv = find_command("setpriv")
        assert setpriv is not None
        command = [setpriv, "--pdeathsig", "KILL", *wrapper, *CERTVIGIL, *arguments]
        return subprocess.Popen(command, env=trust_context, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Manager:
    """What systemd is to a service of `Type=notify`: a socket that takes note of what is said."""

    def __init__(self, address: str) -> None:
        """Listen at a path, or where it begins with `@`, in the abstract namespace."""
        self.address = address
        self._said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Closing wakes nobody up who reads: an empty datagram does.
        while data := self._socket.recv(4096):
            self._said += data.decode().splitlines()

    @property
    def said(self) -> Sequence[str]:
        """Every line so far."""
        return tuple(self._said)

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address.replace("@", "\0", 1))
        self._socket.close()


class RunningDaemon:
    """A real daemon in a directory of its own; as a context manager it runs inside the block, and never after it."""

    def __init__(
        self,
        config: Mapping[str, object],
        *,
        wrapper: Sequence[str] = (),
        log_format: LogFormat = LogFormat.JSON,
    ) -> None:
        """Configure it: `config` is what is not as in every test; `wrapper` is what setpriv takes away before."""
        # Short, since the path of a socket may have 107 characters only.
        self._directory = tempfile.TemporaryDirectory(prefix="cv-")
        self.directory = self._directory.name
        self.config_file = os.path.join(self.directory, "certvigil.yaml")
        self.socket = os.path.join(self.directory, "run", "certvigil.sock")
        self.state = os.path.join(self.directory, "state")
        self.log_file = os.path.join(self.directory, "log")
        self.web = "{}:{}".format(*free_address())
        self.manager = Manager(os.path.join(self.directory, "notify"))
        self._wrapper = tuple(wrapper)
        self._log_format = log_format
        self._process: Child | None = None
        self._log: list[LogLine] = []
        self._read = 0
        """Bytes of the log that are in `_log`."""
        self.configure(config)

    def configure(self, config: Mapping[str, object]) -> None:
        """Write the configuration anew, as one whole file."""
        own = {"state_directory": self.state, "socket": self.socket, "web": {"listen": [self.web]}}
        # YAML, of which JSON is a part.
        self.configure_with(json.dumps({**own, **config}, indent=1))

    def configure_with(self, text: str) -> None:
        """Write this as the configuration."""
        new = f"{self.config_file}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(new, self.config_file)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it however it can be ended, and leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.manager.close()
        self._directory.cleanup()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it; return once it says that it is ready, where that is wanted."""
        said = len(self.manager.said)
        given = ("run", "--config", self.config_file, "--log-format", self._log_format, "--log-level", "debug")
        manager = {"NOTIFY_SOCKET": self.manager.address, "WATCHDOG_USEC": "500000"}
        self._process = start(given, self.log_file, self._wrapper, manager)
        if ready:
            self.wait_for(lambda: "READY=1" in self.manager.said[said:], "its readiness")

    def wait_for(self, condition: Any, what: str, patience: float = PATIENCE) -> Any:
        """Return the first true value of `condition`; fails, with its log, where it ends or takes too long."""

        def come_about() -> Any:
            value = condition()
            assert value or self.code is None, f"{what}: it ended with status {self.code}:\n{self.text[-4000:]}"
            return value

        try:
            return wait_for(come_about, patience, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}:\n{self.text[-4000:]}") from None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> int:
        """Send the signal that is to end it, and return its exit code; fails where it takes longer."""
        self.send(number)
        assert self._process is not None
        return self._process.wait(patience)

    @property
    def text(self) -> str:
        """Everything it wrote to standard output and error."""
        with open(self.log_file, encoding="utf-8") as file:
            return file.read()

    @property
    def log(self) -> Sequence[LogLine]:
        """Every whole line of its log; fails where one is not JSON."""
        with open(self.log_file, "rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._log += map(json.loads, whole.decode().split("\n"))
            self._read += len(whole) + 1
        return self._log

    def happened(self, what: str, **facts: str) -> list[LogLine]:
        """Return the events in its log that have these facts, oldest first."""
        wanted = {"event": what, **facts}
        return [line for line in self.log if all(line.get(key) == value for key, value in wanted.items())]

    def wait_until(self, what: str, after: int = 0, **facts: str) -> LogLine:
        """Return the first event with these facts that comes `after` so many others of the same."""
        found: list[LogLine] = self.wait_for(lambda: self.happened(what, **facts)[after:], f"{what} {facts}")
        return found[0]

    def ask(self, resource: str) -> Any:
        """Return what it answers over its Unix socket."""
        answer = ask(self.socket, resource)
        assert not isinstance(answer, NoDaemonAnswer), answer.why
        return answer

    def page(self) -> str:
        """Return its metrics over HTTP."""
        with urllib.request.urlopen(f"http://{self.web}/metrics", timeout=PATIENCE) as response:
            text: str = response.read().decode()
        return text

    def metrics(self) -> dict[Series, float]:
        """Return the value of each of its series."""
        return samples(self.page())

    def findings(self, target: str) -> set[str]:
        """Return the codes of what is wrong with a target, by the metrics."""
        return {
            dict(labels)["code"]
            for name, labels in self.metrics()
            if name == "certvigil_findings" and ("target", target) in labels
        }
