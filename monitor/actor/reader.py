"""Having files read by processes with no right but that, within limits, and begun anew where they break them."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import Log, Printable, harmless, printable
from config.vocabulary import FileContent, UnreadableReason
from monitor.actor.facts import LONGEST_LINE, ComponentFacts, FileFacts, NotFactsError, from_document
from monitor.actor.reading import plain_target
from probes.observation import Unreadable

log: Log = logging.getLogger("certvigil.actor")

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
_SHARE: Final = 0.1
"""Of one processor, that the files of one component may take in the long run: asking again and again costs no more."""
_SAVED: Final = 10.0
"""Seconds of work that reading one component may take at once, as after a start."""
_SOON: Final = 10.0
"""Seconds after which it is worth to ask again where a reading failed by no fault of the files."""
AT_ONCE: Final = 4
"""Components that are read at once; each has its own turn, so that one that takes long keeps no other waiting."""
_WORTH: Final = 2.0
"""Seconds of work to be saved before a component that has none left is worth asking for again."""
_BROKEN: Final = 1.0
"""Seconds of work that count for a reading by which the process came to an end."""
_MOST_WORK: Final = 1e6
_PIECE: Final = 1 << 16
_FOR_IT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Variables of the environment, beside those of Python itself: there may be secrets in the rest."""


@immutable
class _Overrun:
    """A reading took too much."""

    why: str
    slow: bool
    """It took too long, but perhaps for no work of its own."""


@immutable
class NotNow:
    """The files of a component are not read now."""

    why: str
    """A sentence that stays the same for as long as this does."""
    after: float
    """Seconds after which it is worth to ask again."""


class ConfinementError(Exception):
    """The reader cannot give up its rights, and so it reads nothing."""

    def __init__(self, why: Printable) -> None:
        super().__init__(why)
        self.why = why


class _Budget:
    """The work that reading one component may take; the holder of `turn` reads it, and may change the rest."""

    def __init__(self, now: float) -> None:
        self.turn = threading.Lock()
        self.saved = _SAVED
        """Seconds of work that reading it may take now."""
        self._at = now
        self.until = 0.0
        """Until when the answer for these files, which took too much work, is `told`."""
        self.spent_on: tuple[FileTarget, ...] = ()
        self.told: ComponentFacts | str = ""

    def save(self, now: float) -> None:
        """Add the work that was saved since the last time."""
        self.saved = min(_SAVED, self.saved + (now - self._at) * _SHARE)
        self._at = now


def _too_much(targets: Sequence[FileTarget], why: str) -> ComponentFacts:
    failure = Unreadable(UnreadableReason.TOO_LARGE, harmless(why))
    files = (FileFacts(each.name, each.path, None, FileContent.NOTHING, failure=failure) for each in targets)
    return ComponentFacts(tuple(files), moved=False)


class Reader:
    """The reader of an actor: processes that each read one component at a time; its methods are for any thread."""

    def __init__(self, seconds: float = SECONDS, work: int = WORK, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._helpers = [Helper(seconds, work) for _ in range(AT_ONCE)]
        self._free = list(reversed(self._helpers))
        """Processes that read nothing now. The last to be free is asked first, so that no more start than needed."""
        self._freed = threading.Condition()
        self._budgets: dict[str, _Budget] = {}

    @property
    def pid(self) -> int | None:
        """The process id of the first process, None while there is no process."""
        return self._helpers[0].pid

    @property
    def busy(self) -> int:
        """How many components are being read."""
        return len(self._helpers) - len(self._free)

    def read(self, component: str, targets: Sequence[FileTarget]) -> ComponentFacts | NotNow:
        """Return the facts about the files of a component, or why they cannot be told now."""
        with self._freed:
            budget = self._budgets.setdefault(component, _Budget(self._clock()))
        # The number of connections bounds how many wait.
        with budget.turn:
            return self._read_in_turn(component, budget, targets)

    def _read_in_turn(self, component: str, budget: _Budget, targets: Sequence[FileTarget]) -> ComponentFacts | NotNow:
        now = self._clock()
        if now < budget.until and budget.spent_on == tuple(targets):
            return budget.told if isinstance(budget.told, ComponentFacts) else NotNow(budget.told, budget.until - now)
        budget.save(now)
        if budget.saved <= 0:
            why = "reading these files has taken too much work lately: they are read again later"
            return NotNow(why, (_WORTH - budget.saved) / _SHARE)
        with self._helper() as helper:
            try:
                answer, work = helper.ask(targets)
            except ConfinementError as error:
                helper.kill()
                log.error("no file is read: the reader cannot be confined: %s", error.why)  # noqa: TRY400 (as below)
                budget.saved -= _BROKEN
                return NotNow(f"the reader cannot be confined: {error.why}", _SPENT)
            except (OSError, ValueError) as error:
                helper.kill()
                log.error("the reader failed: %s", printable(str(error)))  # noqa: TRY400 (an operator is told)
                budget.saved -= _BROKEN
                return NotNow("the reader failed; the actor's log says more", _SOON)
        budget.saved -= work
        if isinstance(answer, ComponentFacts):
            return answer
        log.warning("not read for its cost: %s: %s", printable(component), harmless(answer.why))
        budget.told = answer.why if answer.slow else _too_much(targets, answer.why)
        budget.until, budget.spent_on = self._clock() + _SPENT, tuple(targets)
        return budget.told if isinstance(budget.told, ComponentFacts) else NotNow(budget.told, _SPENT)

    @contextmanager
    def _helper(self) -> Iterator[Helper]:
        with self._freed:
            self._freed.wait_for(lambda: bool(self._free))
            helper = self._free.pop()
        try:
            yield helper
        finally:
            with self._freed:
                self._free.append(helper)
                self._freed.notify()

    def end(self) -> None:
        """End the processes, for good; called by any thread, and while others wait for them, too."""
        for each in self._helpers:
            each.end()


class Helper:
    """One process that reads; only `end` is for other threads than the one that has it."""

    def __init__(self, seconds: float, work: int) -> None:
        self._seconds, self._work = seconds, work
        self._process: subprocess.Popen[bytes] | None = None
        self._using = threading.Lock()
        self._ended = False
        self._said = bytearray()
        """The rest of the process's output, after its last line."""

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        process = self._process
        return process.pid if process is not None else None

    def ask(self, targets: Sequence[FileTarget]) -> tuple[ComponentFacts | _Overrun, float]:
        """Return facts, or why there are none, and the seconds of work that it took.

        Raises OSError, ValueError where the process gives no sense.
        """
        with self._using:
            return self._ask(targets)

    def kill(self) -> None:
        """End the process; the next question begins another."""
        with self._using:
            self._kill()

    def end(self) -> None:
        """End the process, for good."""
        self._ended = True
        process = self._process
        if process is not None:
            # Who waits for its answer sees that it has gone.
            with suppress(PermissionError):
                process.kill()
        self.kill()

    def _ask(self, targets: Sequence[FileTarget]) -> tuple[ComponentFacts | _Overrun, float]:
        process = self._begun()
        assert process.stdin is not None  # noqa: S101 (as it was begun)
        task = {"targets": list(map(plain_target, targets)), "now": time.time()}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        first = self._line(process, self._seconds + _MARGIN)
        work = first.get("work") if isinstance(first, Mapping) else None
        if not isinstance(work, float) or not 0 <= work < _MOST_WORK:
            raise ValueError("it does not say which request it took")
        answer = self._line(process, _MARGIN)
        for how in ("slow", "overrun"):
            if isinstance(answer, Mapping) and answer.keys() == {how}:
                return _Overrun(printable(str(answer[how]), 200), how == "slow"), work
        try:
            return from_document(answer), work
        except NotFactsError as error:
            raise ValueError(f"its answer is of no use: {error}") from None

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
        if isinstance(ready, Mapping) and ready.keys() == {"refused"}:
            raise ConfinementError(printable(str(ready["refused"]), 300))
        if not isinstance(ready, Mapping) or ready.keys() != {"ready"}:
            raise ValueError("it did not begin")
        for each in ready["ready"]:
            log.warning("the reader is not confined as it should be: %s", printable(str(each), 200))
        log.debug("the reader is process %d", process.pid)
        return process

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> object:
        """Return the next line that the reader says within `seconds`, decoded; raises OSError, ValueError."""
        assert process.stdout is not None  # noqa: S101 (as it was begun)
        end = time.monotonic() + seconds
        descriptor = process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._said[-_PIECE:]:
            if len(self._said) > LONGEST_LINE or not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise TimeoutError("it said nothing in its time")
            more = os.read(descriptor, _PIECE)
            if not more:
                raise ConnectionError("it ended by itself")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)

    def _kill(self) -> None:
        process, self._process, self._said = self._process, None, bytearray()
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
