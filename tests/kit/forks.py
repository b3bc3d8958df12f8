"""Commands of certvigil without their start: `python -m tests.kit.forks SOCKET` has loaded all of them.

Each is a process of its own that does what `certvigil` does with its arguments, forked off instead of started anew,
which takes a tenth of the time. The processes that a command starts from certvigil's own modules (readers, deliveries,
trials) are forked off as well. Whoever connects sends module, arguments, environment and directory as JSON with the
descriptors of input, output and errors, is told the process id, and once it has ended, how, each as a line.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib.util
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn, Protocol
from unittest.mock import Mock

import apprise

# What the commands load only when they are called.
import monitor.actor.server
import monitor.commands
import monitor.daemon
import monitor.main
import monitor.store
from monitor.http.app import create_app
from monitor.lab.process import wait_for

_LONG: Final = 262_144
_SHARED: Final = "CERTVIGIL_TESTS_FORKS"
"""The variable of the environment that holds the address of a parent that was started before."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


class Child(Protocol):
    """A process that was started: what `subprocess.Popen` is, too."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


class Start(NamedTuple):
    """What else may be said of a process that is forked off."""

    module: str = "monitor.main"
    directory: str = ""
    """By default that of whoever asks."""
    session: bool = False
    """Whether it leads a session of its own."""
    input: int = -1
    """A descriptor; by default nothing."""


class Forked:
    """A command that was forked off from the process that listens at an address."""

    def __init__(
        self,
        address: str,
        arguments: Sequence[str],
        output: int,
        errors: int | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        start: Start | None = None,
    ) -> None:
        self._code: int | None = None
        self._turn = threading.RLock()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        start = start or Start()
        given = {
            "module": start.module,
            "arguments": list(arguments),
            "environment": dict(os.environ if environment is None else environment),
            "directory": start.directory or os.getcwd(),
            "session": start.session,
        }
        with open(os.devnull, "rb") as nothing:
            descriptors = array.array(
                "i",
                [nothing.fileno() if start.input < 0 else start.input, output, output if errors is None else errors],
            )
            self._send(json.dumps(given).encode() + b"\n", descriptors)
        self._said = b""
        while b"\n" not in self._said:
            more = self._connection.recv(100)
            if not more:
                raise ConnectionError("what commands are forked from has ended")
            self._said += more
        self.pid = int(self._said.split(b"\n")[0])

    def _send(self, data: bytes, descriptors: array.array[int]) -> None:
        sent = self._connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._connection.sendall(data[sent:])

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._turn:
            while self._code is None:
                # No time at all would mean to a socket that it does not block, which is another error.
                self._connection.settimeout(None if end is None else max(0.000_001, end - time.monotonic()))
                try:
                    new = self._connection.recv(100)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("certvigil", timeout or 0.0) from None
                self._said += new
                if not new or self._said.count(b"\n") == 2:
                    self._code = int(self._said.split(b"\n")[1] or -signal.SIGKILL)
                    self._connection.close()
            return self._code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process from which commands are forked; it ends with whoever started it."""

    def __init__(self) -> None:
        """Start it; it listens at `address` a little later."""
        self._directory = tempfile.mkdtemp(prefix="cv-forks-")
        self.address = os.path.join(self._directory, "socket")
        command = [sys.executable, "-m", "tests.kit.forks", self.address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and all that were forked from it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        with suppress(OSError):
            os.unlink(self.address)
            os.rmdir(self._directory)


def share() -> None:
    """Start the parent of all that this process and those below it fork off."""
    os.environ[_SHARED] = Parent().address


@cache
def parent() -> str:
    """Return the address of the parent of all that this process forks off, where it listens."""
    address = os.environ.get(_SHARED) or Parent().address
    wait_for(lambda: os.path.exists(address), 180.0, "what commands are forked from")
    return address


def end_with(parent: int) -> None:
    """Have this process be killed once the one that started it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


_OWN: Final = ("monitor.actor.reading", "monitor.notify.worker", "probes.trial")
"""The modules that certvigil starts as processes."""
_LATE: Final = ("apscheduler.executors.asyncio", "pydantic.v1", "uvicorn.lifespan.off", "uvloop")
"""What libraries load only when a daemon is under way."""
_BEFORE: Final = [sys.executable, "-P", "-m"]


class Popen(subprocess.Popen[Any]):
    """A process as any, but for those of certvigil's own modules, which are forked off from `address`.

    It overrides private methods of the standard library: what it replaces has no other seam.
    """

    address = ""
    _forked: Forked | None = None

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, *rest: Any) -> None:
        if not (isinstance(args, list | tuple) and list(args[:3]) == _BEFORE and args[3] in _OWN):
            super()._execute_child(args, executable, preexec_fn, close_fds, *rest)  # type: ignore[misc]
            return
        (
            _,
            cwd,
            env,
            _,
            _,
            _,
            theirs_in,
            ours_in,
            ours_out,
            theirs_out,
            ours_errors,
            theirs_errors,
            _,
            _,
            _,
            _,
            _,
            session,
            *_,
        ) = rest
        start = Start(args[3], cwd or "", bool(session), theirs_in)
        self._forked = Forked(self.address, args[4:], _or(theirs_out, 1), _or(theirs_errors, 2), env, start=start)
        self.pid = self._forked.pid
        self._child_created = True
        self._close_pipe_fds(theirs_in, ours_in, ours_out, theirs_out, ours_errors, theirs_errors)  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if self._forked is None:
            return super()._internal_poll(*given, **more)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            self.returncode = self._forked.poll()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._forked is None:
            return super()._wait(timeout)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            self.returncode = self._forked.wait(timeout)
        return self.returncode


def _or(descriptor: int, inherited: int) -> int:
    return inherited if descriptor < 0 else descriptor


def _load() -> None:
    for package in (monitor.commands, monitor.actor, monitor.store):
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(each.name)
    for name in _LATE:
        importlib.import_module(name)
    # The first URL has it load all plug-ins.
    apprise.Apprise.instantiate("json://localhost")
    # The first application makes models that the next one takes.
    create_app(Mock(), "")


def main(address: str) -> None:
    """Fork until standard input ends."""
    _load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    os.rename(f"{address}.new", address)
    # What the collector does not look at is not copied for a process that was forked.
    gc.freeze()
    given = _Server(listener).serve()
    Popen.address = address
    subprocess.Popen = Popen  # type: ignore[misc]
    _end(_code_of(given))


class _Server:
    """Forks for whoever connects, and tells them how it ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._ours = os.getpid()
        self._poll = select.poll()
        for each in (0, listener.fileno()):
            self._poll.register(each, select.POLLIN)
        self._running: dict[int, tuple[int, socket.socket]] = {}
        """By the descriptor of a process: its id, and who waits for it."""

    def serve(self) -> Any:
        """Return what is asked for in each process that is forked; here, never return."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == 0:
                    os._exit(0)
                elif descriptor == self._listener.fileno():
                    given = self._fork()
                    if os.getpid() != self._ours:
                        return given
                else:
                    self._tell(descriptor)

    def _fork(self) -> Any:
        connection, _ = self._listener.accept()
        connection.settimeout(10.0)
        try:
            data, rights, _, _ = connection.recvmsg(_LONG, socket.CMSG_SPACE(12))
            while not data.endswith(b"\n"):
                more = connection.recv(_LONG)
                if not more:
                    raise ConnectionError
                data += more
        except OSError:
            connection.close()
            return None
        descriptors = array.array("i", rights[0][2])
        child = os.fork()
        if child == 0:
            end_with(self._ours)
            connection.close()
            self._close()
            given = json.loads(data)
            _become(given, descriptors)
            _call(next(iter(given["arguments"]), "") if given["module"] == "monitor.main" else given["module"])
            return given
        for each in descriptors:
            os.close(each)
        running = os.pidfd_open(child)
        self._running[running] = child, connection
        self._poll.register(running, select.POLLIN)
        with suppress(OSError):
            connection.sendall(f"{child}\n".encode())
        return None

    def _tell(self, descriptor: int) -> None:
        child, connection = self._running.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(child, 0)
        with connection, suppress(OSError):
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _close(self) -> None:
        self._listener.close()
        for descriptor, (_, connection) in self._running.items():
            os.close(descriptor)
            connection.close()


def _code_of(given: Mapping[str, Any]) -> int:
    """Run what is asked for; return its exit code."""
    sys.argv = [given["module"], *given["arguments"]]
    try:
        if given["module"] == "monitor.main":
            # As `python -m monitor.main` has it.
            sys.modules["__main__"].__spec__ = importlib.util.find_spec("monitor.main")
            monitor.main.main()
        else:
            sys.modules.pop(given["module"], None)
            runpy.run_module(given["module"], run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but for taking everything apart that the next process needs as it is."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for each in (sys.stdout, sys.stderr):
            each.flush()
    finally:
        os._exit(code)


def _call(name: str) -> None:
    """Have this process be shown by a name that tells it from the others."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def _become(given: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take on the surroundings of whoever asked."""
    if given["session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(given["environment"])
    os.chdir(given["directory"])


if __name__ == "__main__":
    main(sys.argv[1])
