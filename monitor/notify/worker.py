"""A process that delivers messages one by one: it can be killed, and its output goes nowhere.

It is told what to do, URLs included, over a pipe: they are in no argument list. It ends with whoever started it.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from config.text import printable
from monitor.notify.deliver import Message, Receipt, SendOutcome, beat, deliver

_COMMAND: Final = (sys.executable, "-P", "-m", "monitor.notify.worker")
_NOT_FOR_IT: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_REAPED_WITHIN: Final = 1.0
_MOST: Final = 65_536


class DeliveryWorker:
    """One such process. It is started when it is needed, and again after it had to be killed.

    Its methods wait, and are for one thread at a time; `end` may be called from any.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._busy = self._ended = False
        self._has_answered = False
        """Whether this process has delivered something, so that its modules are loaded."""

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        process = self._process
        return process.pid if process is not None else None

    def deliver(self, message: Message, url: str, timeout: float) -> Receipt:
        """Deliver `message` to `url` within `timeout` seconds, and return the result."""
        return self._do({"deliver": asdict(message), "url": url}, timeout)

    def beat(self, url: str, timeout: float) -> Receipt:
        """Request `url` within `timeout` seconds, and return whether the answer was good."""
        return self._do({"beat": timeout, "url": url}, timeout)

    def prepare(self, timeout: float) -> bool:
        """Load the modules for a delivery; return whether it was done within `timeout` seconds."""
        return self._do({"prepare": True}, timeout).outcome is SendOutcome.DELIVERED

    def rest(self) -> None:
        """End the process until it is needed again."""
        with self._lock:
            self._kill()

    def end(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._ended = True
            if not self._busy:
                self._kill()
            elif self._process is not None:
                # Who waits for its answer sees that it has gone, and reaps it.
                self._process.kill()

    def _do(self, task: Mapping[str, Any], timeout: float) -> Receipt:
        end = time.monotonic() + timeout
        try:
            process = self._begun()
        except OSError as error:
            return Receipt(SendOutcome.NOT_STARTED, cause=error.strerror or type(error).__name__)
        if process is None:
            return Receipt(SendOutcome.NOT_STARTED, cause="certvigil is stopping")
        receipt: Receipt | None = None
        lost = Receipt(SendOutcome.LOST)
        answer: bytes | None = b""
        try:
            answer = _exchange(process, json.dumps(task).encode() + b"\n", end)
            said = json.loads(answer or b"null")
            receipt = Receipt(SendOutcome(said["outcome"]), said["status"])
            self._has_answered = True
        except (OSError, ValueError, TypeError, KeyError):
            # It is not what it should be, or is no more.
            lost = Receipt(SendOutcome.TIMED_OUT) if answer is None else self._why_lost(process)
        with self._lock:
            self._busy = False
            if receipt is None or self._ended:
                self._kill()
        return receipt or lost

    def _why_lost(self, process: subprocess.Popen[bytes]) -> Receipt:
        """Return the result of a delivery whose process ended: one that ended by itself without any answer never began.

        Once it works its errors go nowhere, so nothing in what it shows can come from a URL.
        """
        assert process.stderr is not None  # noqa: S101 (it was begun with one)
        try:
            status = process.wait(_REAPED_WITHIN)
            shows = _await(process.stderr.fileno(), select.POLLIN, 0.0)
            words = os.read(process.stderr.fileno(), _MOST) if shows else b""
        except (OSError, subprocess.TimeoutExpired):
            return Receipt(SendOutcome.LOST)
        # Python ends with a status of its own where it finds no module; a plug-in that crashes ends by a signal.
        if self._has_answered or status <= 0:
            return Receipt(SendOutcome.LOST)
        cause = words.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with status {status}"
        return Receipt(SendOutcome.NOT_STARTED, cause=printable(cause, 200))

    def _begun(self) -> subprocess.Popen[bytes] | None:
        """Return the process; None after the end."""
        with self._lock:
            if self._ended:
                return None
            if self._process is None or self._process.poll() is not None:
                self._kill()
                self._has_answered = False
                self._process = subprocess.Popen(
                    _COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    cwd="/",
                    env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_IT},
                    start_new_session=True,
                )
                os.set_blocking(self._process.stdin.fileno(), False)  # type: ignore[union-attr]
            self._busy = True
            return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        # What waits for a dead disk cannot be killed: it is left behind.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_REAPED_WITHIN)


def _exchange(process: subprocess.Popen[bytes], said: bytes, end: float) -> bytes | None:
    """Write a line and return the answered line: None where it is too late, empty where the process ended."""
    into, out_of = (pipe.fileno() for pipe in (process.stdin, process.stdout) if pipe is not None)
    while said:
        if not _await(into, select.POLLOUT, end):
            return None
        said = said[os.write(into, said[: select.PIPE_BUF]) :]
    answer = b""
    while not answer.endswith(b"\n"):
        if not _await(out_of, select.POLLIN, end):
            return None
        more = os.read(out_of, _MOST)
        if not more:
            return b""
        answer += more
    return answer


def _await(descriptor: int, what: int, end: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, what)
    return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))


def _work() -> None:
    """Carry out the requests on standard input, until it is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # It ends when its pipe is closed: a service manager that ends all processes at once must not end it first.
        signal.signal(number, signal.SIG_IGN)
    asked, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        with open(asked, "rb") as lines:
            for line in lines:
                tasks.put(line)
        # Whatever hangs ends with it.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        receipt = _done(json.loads(tasks.get()))
        os.write(answers, json.dumps(asdict(receipt)).encode() + b"\n")


def _done(task: Mapping[str, Any]) -> Receipt:
    if "prepare" in task:
        import apprise  # noqa: PLC0415 (see monitor.notify.deliver)

        # The first URL has it load all plug-ins.
        apprise.Apprise.instantiate("json://localhost")
        return Receipt(SendOutcome.DELIVERED)
    if "beat" in task:
        return beat(task["url"], task["beat"])
    return deliver(Message(**task["deliver"]), task["url"])


if __name__ == "__main__":
    _work()
