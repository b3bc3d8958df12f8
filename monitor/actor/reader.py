"""Having files read by a process with no right but that, within limits, and begun anew where it breaks them."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from config.model import FileTarget
from config.text import printable
from config.vocabulary import FileContent, UnreadableReason
from monitor.actor.facts import LONGEST_LINE, Facts, FileFacts, NotFactsError, from_document
from monitor.actor.reading import plain_target
from probes.observation import Unreadable

log = logging.getLogger("certvigil.actor")

WORK: Final = 10
"""Seconds of work that reading a component may take: a keystore asks for as much as whoever wrote it wants."""
SECONDS: Final = 30.0
"""Seconds for that on a busy host; a file system that hangs costs no more."""
_MARGIN: Final = 3.0
"""Seconds for the reader to say that somebody took too long; it is ended after that."""
_BEGINNING: Final = 30.0
"""Seconds for it to begin, on a busy host."""
_SPENT: Final = 60.0
"""Seconds for which a component that took too much is not read again."""
_SHARE: Final = 0.5
"""Of the time that reading may take in the long run, so that asking for it again and again costs the host no more."""
_SAVED: Final = 60.0
"""Seconds of reading that may come at once, as after a start."""
_FOR_IT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Of the environment, beside what Python itself goes by: there may be secrets in the rest."""


@dataclass(frozen=True, slots=True)
class _Overrun:
    """A reading took too much."""

    why: str
    slow: bool
    """It took too long, but perhaps for no work of its own."""


def _too_much(targets: Sequence[FileTarget], why: str) -> Facts:
    failure = Unreadable(UnreadableReason.TOO_LARGE, why)
    files = (FileFacts(each.name, each.path, None, FileContent.NOTHING, failure=failure) for each in targets)
    return Facts(tuple(files), moved=False)


class Reader:
    """The one reader of an actor; its methods are for any thread."""

    def __init__(self, seconds: float = SECONDS, work: int = WORK, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._work = seconds, work
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._ended = False
        self._spent: dict[str, tuple[float, tuple[FileTarget, ...], Facts | str]] = {}
        """Until when a component with these files is not read again, and what is told meanwhile."""
        self._saved, self._saved_at = _SAVED, clock()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        process = self._process
        return process.pid if process is not None else None

    def read(self, component: str, targets: Sequence[FileTarget]) -> Facts | str:
        """Return what the files of a component are and hold, or why that cannot be told now, a sentence."""
        # How many may wait is how many may be connected.
        with self._turn:
            return self._read_in_turn(component, targets)

    def _read_in_turn(self, component: str, targets: Sequence[FileTarget]) -> Facts | str:
        now = self._clock()
        until, spent_on, told = self._spent.get(component, (0.0, (), ""))
        if now < until and spent_on == tuple(targets):
            return told
        self._saved = min(_SAVED, self._saved + (now - self._saved_at) * _SHARE)
        self._saved_at = now
        if self._saved <= 0:
            return "the reader has read too much lately: ask again later"
        try:
            answer = self._ask(targets)
        except (OSError, ValueError) as error:
            self._kill()
            log.error("the reader failed: %s", printable(str(error)))  # noqa: TRY400 (an operator is told)
            return "the reader failed; the actor's log says more"
        finally:
            self._saved -= self._clock() - now
        if isinstance(answer, Facts):
            return answer
        log.warning("not read for its cost: %s: %s", component, answer.why)
        told = answer.why if answer.slow else _too_much(targets, answer.why)
        self._spent[component] = self._clock() + _SPENT, tuple(targets), told
        return told

    def end(self) -> None:
        """End the process, for good; called by any thread, and while another one waits for it, too."""
        self._ended = True
        process = self._process
        if process is not None:
            # Who waits for its answer sees that it has gone.
            with suppress(PermissionError):
                process.kill()
        with self._turn:
            self._kill()

    def _ask(self, targets: Sequence[FileTarget]) -> Facts | _Overrun:
        """Return facts, or why there are none; raises OSError, ValueError where the reader gives no sense."""
        process = self._begun()
        assert process.stdin is not None  # noqa: S101 (as it was begun)
        task = {"targets": list(map(plain_target, targets)), "now": time.time()}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        answer = self._line(process, self._seconds + _MARGIN)
        for how in ("slow", "overrun"):
            if isinstance(answer, Mapping) and answer.keys() == {how}:
                return _Overrun(printable(str(answer[how]), 200), how == "slow")
        try:
            return from_document(answer)
        except NotFactsError as error:
            raise ValueError(f"what it said is of no use: {error}") from None

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._ended:
            raise OSError("the actor ends")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        environment = {
            name: value for name, value in os.environ.items() if name in _FOR_IT or name.startswith("PYTHON")
        }
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.actor.reading", str(self._seconds), str(self._work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd="/",
        )
        ready = self._line(process, _BEGINNING)
        if not isinstance(ready, Mapping) or ready.keys() != {"ready"}:
            raise ValueError("it did not begin")
        for each in ready["ready"]:
            log.warning("the reader is not confined as it should be: %s", printable(str(each), 200))
        log.debug("the reader is process %d", process.pid)
        return process

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> object:
        """Return the next line that the reader says within `seconds`, decoded; raises OSError, ValueError."""
        assert process.stdout is not None  # noqa: S101 (as it was begun)
        said, end = bytearray(), time.monotonic() + seconds
        descriptor = process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not said.endswith(b"\n"):
            if len(said) > LONGEST_LINE or not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise TimeoutError("it said nothing in its time")
            more = os.read(descriptor, 1 << 16)
            if not more:
                raise ConnectionError("it ended by itself")
            said += more
        return json.loads(said)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for each in (process.stdin, process.stdout):
            if each is not None:
                with suppress(OSError):
                    each.close()
        # Without CAP_KILL another user's process cannot be killed: it ends once nobody asks it any more.
        with suppress(PermissionError):
            process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
