"""Trials in a process of its own, before this one opens by a password what may ask for work without end.

The number of rounds by which a key is derived from a password may itself be encrypted, so that it is not known before
the first layer is open; and whoever derives it can neither be interrupted nor does any other thread run meanwhile.

Python and its library are loaded once, by a process that forks for each trial and is ended when it has nothing to do.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from probes.private_key import load_private_key

WORK: Final[float] = 3
"""Seconds of processor time for a trial of one password."""
_MEMORY: Final = 1 << 30
"""Bytes of address space."""
_PATIENCE: Final = 60.0
"""Seconds for a trial on a busy host, the start of the process that forks included."""
_IDLE: Final = 10.0
"""Seconds after its last trial when the process that forks is ended."""
_REMEMBERED: Final = 1024
"""Results that are kept, by the hash of content and password."""
_DONE: Final = 0
_COMMAND: Final = (sys.executable, "-P", "-m", "probes.trial")
_NONE: Final = "-"
_LONG: Final = 1 << 16


class Sealed(StrEnum):
    """What a password opens."""

    KEYSTORE = "keystore"
    KEY = "key"


class _Results:
    """The last results, of whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def get(self, what: bytes) -> str | None:
        with self._lock:
            return self._known.get(what)

    def put(self, what: bytes, result: str) -> None:
        with self._lock:
            self._known[what] = result
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


_results: Final = _Results()
_limited = False


def this_process_is_limited() -> None:
    """Have no trials made in this process, which is ended by others if it works for too long."""
    global _limited  # noqa: PLW0603 (a process is limited as a whole)
    _limited = True


def too_much_work(sealed: Sealed, data: bytes, *passwords: bytes | None) -> str:
    """Say why something is not to be opened in this process, as the rest of "it ..."; empty where it may be.

    One trial takes the `passwords` in turn until one fits, as this process will.
    """
    if _limited:
        return ""
    said = ",".join(map(_said, passwords))
    what = sha256(f"{sealed} {said}\n".encode() + data).digest()
    if (known := _results.get(what)) is not None:
        return known
    try:
        result = _tried(sealed, said, data)
    except OSError as error:
        # That may pass.
        return f"cannot be tried in a process of its own: {error.strerror}"
    _results.put(what, result)
    return result


def _said(password: bytes | None) -> str:
    return _NONE if password is None else f"={b64encode(password).decode()}"


def _password(said: str) -> bytes | None:
    return None if said == _NONE else b64decode(said[1:])


def _tried(sealed: Sealed, said: str, data: bytes) -> str:
    task = f"{sealed} {said} {len(data)}\n".encode() + data
    with _forkers.one() as forker:
        status = forker.ask(task)
    if status is None:
        return f"was not opened within {_PATIENCE:.0f} s by a process of its own"
    if status != _DONE:
        return f"takes more than {WORK:g} s of work or {_MEMORY >> 20} MiB of memory to open"
    return ""


class _Forker:
    """The process that forks for each trial, seen from here; for one thread at a time."""

    def __init__(self) -> None:
        """Start it; raises OSError."""
        self._process = subprocess.Popen(
            (*_COMMAND, str(WORK)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        for each in self._pipes:
            os.set_blocking(each, False)

    @property
    def _pipes(self) -> tuple[int, int]:
        into, out_of = self._process.stdin, self._process.stdout
        assert into is not None  # noqa: S101 (it was begun with both)
        assert out_of is not None  # noqa: S101
        return into.fileno(), out_of.fileno()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def ask(self, task: bytes) -> int | None:
        """Return how a trial ended, as an exit code; None where it takes too long, which ends the process.

        Raises OSError where there is no answer.
        """
        end = time.monotonic() + _PATIENCE
        into, out_of = self._pipes
        rest = memoryview(task)
        while rest and _await(into, select.POLLOUT, end):
            rest = rest[os.write(into, rest[:_LONG]) :]
        said = b""
        while not said.endswith(b"\n") and _await(out_of, select.POLLIN, end):
            more = os.read(out_of, _LONG)
            if not more:
                raise BrokenPipeError(errno.EPIPE, "it ended")
            said += more
        if said.endswith(b"\n"):
            return int(said)
        self.end()
        return None

    def end(self) -> None:
        """End it for good; what it has begun ends by its own limit."""
        self._process.kill()
        self._process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close what leads to it."""
        for each in (self._process.stdin, self._process.stdout):
            if each is not None:
                each.close()


class _Forkers:
    """The process that is kept for the next trial; where it is busy, another one is begun, and ended after it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Forker | None = None
        self._at_rest: threading.Timer | None = None
        self._of_parents: list[_Forker] = []
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def one(self) -> Iterator[_Forker]:
        """Give one, which is ended where its use fails; raises OSError where none can be started."""
        with self._lock:
            self._let_work()
            forker, self._kept = self._kept, None
        if forker is not None and not forker.runs:
            forker.end()
            forker = None
        forker = forker or _Forker()
        try:
            yield forker
        except BaseException:
            forker.end()
            raise
        with self._lock:
            if self._kept is None and forker.runs:
                self._kept = forker
                self._at_rest = threading.Timer(_IDLE, self._rest)
                self._at_rest.daemon = True
                self._at_rest.start()
                return
        forker.end()

    def _let_work(self) -> None:
        if self._at_rest is not None:
            self._at_rest.cancel()
            self._at_rest = None

    def _rest(self) -> None:
        with self._lock:
            # It may have been taken, and given back, in the meantime.
            if self._at_rest is threading.current_thread():
                forker, self._kept, self._at_rest = self._kept, None, None
                if forker is not None:
                    forker.end()

    def _forget(self) -> None:
        """In a forked process, leave its parent's to the parent."""
        self._lock = threading.Lock()
        if self._kept is not None:
            self._kept.let_go()
            self._of_parents.append(self._kept)
        self._kept = self._at_rest = None


_forkers: Final = _Forkers()


def _await(descriptor: int, what: int, end: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, what)
    return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))


def main(work: float) -> int:
    """Try what is given on the standard input, one after the other, and say how each trial ended, as an exit code.

    A trial of one password ends after `work` seconds of processor time.
    """
    while line := sys.stdin.buffer.readline():
        sealed, said, length = line.decode().split()
        data = sys.stdin.buffer.read(int(length))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _open(Sealed(sealed), data, [*map(_password, said.split(","))], work)
                code = _DONE
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))
    return 0


def _open(sealed: Sealed, data: bytes, passwords: Sequence[bytes | None], work: float) -> None:
    """Open something within limits; whether a password is right does not matter."""
    # The daemon's unit permits no other limits than its own; the timer ends this process whatever it is about to do.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for password in passwords:
        signal.setitimer(signal.ITIMER_PROF, work)
        # Other errors are no answer: too little memory, or a fault of the library, which must not come up elsewhere.
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            if sealed is Sealed.KEYSTORE:
                pkcs12.load_pkcs12(data, password)
            else:
                load_private_key(data, password)
            return


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
