"""What commands are forked from: `python -m tests.kit.fork_server SOCKET` has loaded all of them.

Whoever connects sends module, arguments, environment and directory as JSON with the descriptors of input, output and
errors, is told the process id, and once it has ended, how, each as a line. A process is of the user who asked, or of
another whom root asks for. Those that a command starts from certvigil's own modules (readers, deliveries, trials,
the daemon of a demonstration) are forked off as well.
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
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, NoReturn, cast

import apprise
import typer.main
from fastapi import FastAPI
from typer.main import get_command

import monitor.actor
import monitor.commands
import monitor.daemon
import monitor.demo
import monitor.http.app
import monitor.http.console.pages
import monitor.look.pool
import monitor.main
import monitor.store
from config.load import load
from config.model import Config
from config.schema.root import json_schema
from config.version import own_version
from monitor.http.app import create_app
from monitor.http.console.switch import ConsoleSwitch
from monitor.http.view import DaemonView
from tests.kit import huge_pages
from tests.kit.forks import Piped

_LONG: Final = 262_144
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_SO_PEERGROUPS: Final = 59
_OWN: Final = (
    *(
        (sys.executable, "-P", "-m", each)
        for each in ("monitor.actor.reading", "monitor.notify.worker", "probes.trial")
    ),
    (sys.executable, "-m", "monitor.main"),
)
"""How certvigil starts processes of its own modules, each of which is the last word."""
_LATE: Final = (
    *("apscheduler.executors.asyncio", "cryptography.hazmat.backends.openssl", "pydantic.v1"),
    *("encodings.ascii", "encodings.idna", "encodings.utf_8_sig"),
    *("multiprocessing.popen_fork", "multiprocessing.synchronize", "uvicorn.lifespan.off", "uvloop"),
    "monitor.http.console.pages",
)
"""What libraries load only when a daemon is under way. Another user might not even enter where they lie."""


class Popen(subprocess.Popen[Any]):
    """A process as any, but for those of certvigil's own modules, which are forked off from `address`."""

    address = ""

    def __new__(cls, command: Sequence[str], *_: Any, **how: Any) -> Any:
        own = next((each for each in _OWN if tuple(command[: len(each)]) == each), None)
        return object.__new__(cls) if own is None else Piped(cls.address, own[-1], command[len(own) :], **how)


def end_with(parent: int) -> None:
    """Have this process be killed once the one that started it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _load() -> None:
    for package in (monitor.commands, monitor.actor, monitor.demo, monitor.store):
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(each.name)
    for name in _LATE:
        importlib.import_module(name)
    # The first URL has it load all plug-ins.
    apprise.Apprise.instantiate("json://localhost")
    # Typer reads them from annotations whenever it builds a command, which each process does once.
    typer.main.get_params_from_function = cache(typer.main.get_params_from_function)  # type: ignore[attr-defined]
    # Building commands loads more of its own.
    get_command(monitor.commands.app)
    # What a mistake of a configuration is told by.
    json_schema()
    _prepare_application()
    _read_a_configuration()


def _read_a_configuration() -> None:
    """Have everything compiled that is compiled when the first configuration is read."""
    artefacts = {"certificate": "/certificate", "key": "/key"}
    component = {"artefacts": artefacts, "endpoints": [{"address": "localhost:1", "every": "1s"}], "clients": ["some"]}
    document = {
        "state_directory": "/state",
        "trust_stores": {"own": {"bundle": "/bundle"}},
        "clients": {"some": {"trusts": "own"}},
        "components": {"web": component | {"service": {"restart": ["/bin/true"]}}},
    }
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(document, file)
        file.flush()
        config = load(file.name, {})
    assert isinstance(config, Config), config


class _Later:
    """Stands for what there is in a process that is forked off later."""

    def __init__(self) -> None:
        self.there: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.there, name)


def _prepare_application() -> None:
    """Have the web application be made by now: a daemon, which has one, gives its view to it."""
    view, notifier, feed, switch = _Later(), _Later(), _Later(), _Later()
    vars(view).update(notifier=notifier, feed=feed)
    prepared = create_app(cast("DaemonView", view), own_version(), cast("ConsoleSwitch", switch))

    def give(real: DaemonView, _version: str, real_switch: ConsoleSwitch) -> FastAPI:
        view.there, notifier.there, feed.there, switch.there = real, real.notifier, real.feed, real_switch
        return prepared

    monitor.http.app.create_app = give  # type: ignore[assignment]


def serve(address: str) -> Any:
    """Listen at an address, and return what is asked for in each process that is forked; here, end with the input."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    # Other users are those whom the daemon is started as: what they ask for is done as them.
    os.chmod(f"{address}.new", 0o666)
    listener.listen(64)
    os.rename(f"{address}.new", address)
    # What the collector does not look at is not copied for a process that was forked.
    gc.freeze()
    huge_pages.gather()
    return _Server(listener).serve()


def main(address: str) -> None:
    """Fork until standard input ends."""
    _load()
    given = serve(address)
    Popen.address = address
    subprocess.Popen = Popen  # type: ignore[assignment, misc]
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
            user = _asks(connection)
            connection.close()
            self._close()
            given = json.loads(data)
            _become(given, descriptors, user)
            # Whoever becomes another is forgotten about that.
            end_with(self._ours)
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


def _asks(connection: socket.socket) -> tuple[int, int, Sequence[int]]:
    """Return user, group and groups of whoever is at the other end."""
    _, user, group = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = array.array("I", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024))
    return user, group, groups


def _become(given: Mapping[str, Any], descriptors: Sequence[int], asks: tuple[int, int, Sequence[int]]) -> None:
    """Take on the surroundings of whoever asked."""
    if given["session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    # Whether they are pipes, files or terminals is another matter by now.
    sys.stdout, sys.stderr = (
        open(number, "w", size, each.encoding, each.errors, closefd=False)  # noqa: SIM115 (they stay open)
        for number, size, each in ((1, -1, sys.stdout), (2, 1, sys.stderr))
    )
    os.environ.clear()
    os.environ.update(given["environment"])
    os.chdir(given["directory"])
    # It depends on the environment.
    tempfile.tempdir = None
    user, group, groups = (*given["user"], ()) if given["user"] and asks[0] == 0 else asks
    if os.geteuid() == 0 and user:
        os.setgroups(groups)
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        # As of a program that this user has started.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)


if __name__ == "__main__":
    main(sys.argv[1])
