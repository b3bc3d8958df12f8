"""Reading the files of components: by the actor's reader where an actor answers, else as far as the daemon may."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import UnreadableReason
from monitor.actor.facts import LONGEST_LINE, NotFactsError, from_document, reading_of
from monitor.actor.request import Request, Verb, encode
from monitor.state.cure import BUSY, curable
from monitor.state.messages import ReadingDue
from probes.file import NOT_FOR_US, identify
from probes.judge.time import moment
from probes.observation import FileIdentity, FileObservation, Unreadable
from probes.set import SetReading, read_set

ANSWER_WITHIN: Final = 60.0
"""Seconds for an actor to answer: others may be read before."""
MISSED_AFTER: Final = 60.0
"""Seconds from the daemon's start in which an actor that has not answered yet is not missed."""
STALE_AFTER: Final = 600.0
"""Seconds after which it is no longer a restart of the actor that keeps a component's files from being read."""
AGAIN_AFTER: Final = 1.0
AGAIN_WITHIN: Final = 300.0
"""Seconds after which an actor that said when to ask again is asked again, whatever it said: at least, at most."""

_FOREVER: Final = 1e9
_Identity = FileIdentity | Unreadable


@immutable
class LastReading:
    """The actor's last answer about a component's files."""

    targets: tuple[FileTarget, ...]
    reading: SetReading
    at: float
    """Unix time."""


@immutable
class Here:
    """The daemon's own facts about them."""

    reading: SetReading
    identities: tuple[_Identity, ...]
    """Of each file, as far as it can be examined without being read."""


class NoFactsError(Exception):
    """The actor told no facts; `why` is a part of a sentence."""

    def __init__(self, why: Printable, again: float | None = None) -> None:
        """`again`: the actor runs, and after so many seconds it is worth to ask it again."""
        super().__init__(why)
        self.why = why
        self.again = again


class ArtefactReader:
    """Reads the sets of components; it lives on the event loop's thread."""

    def __init__(
        self,
        socket: Callable[[], str],
        worker: Executor,
        look_again: Callable[[ReadingDue], object] = lambda _due: None,
        *,
        missed_after: float = MISSED_AFTER,
    ) -> None:
        """`socket` is where the actor is asked; `look_again` is called with a component to ask about again."""
        self._socket = socket
        self._worker = worker
        self._look_again = look_again
        self._missed_at = time.monotonic() + missed_after
        self._kept: dict[str, LastReading] = {}
        self._again: dict[str, asyncio.TimerHandle] = {}
        """By component: a request that the actor be asked again."""

    async def read(self, component: str, targets: Sequence[FileTarget], now: float) -> SetReading:
        """Return the content of a component's files at Unix time `now`, or why it cannot be told."""
        try:
            reading = await self._ask(component, targets, now)
        except NoFactsError as error:
            loop = asyncio.get_running_loop()
            here = await loop.run_in_executor(self._worker, partial(_read_here, targets, now))
            early = self._missed_at - time.monotonic()
            if any(map(_is_denied, here.reading.observations)):
                if error.again is not None:
                    self._ask_again(component, min(max(error.again, AGAIN_AFTER), AGAIN_WITHIN))
                elif early > 0:
                    self._ask_again(component, early + 0.1)
            kept, busy = self._kept.get(component), error.again is not None
            return believed(here, targets, kept, error.why, now, early=early > 0, busy=busy)
        self._kept[component] = LastReading(tuple(targets), reading, now)
        return reading

    def _ask_again(self, component: str, after: float) -> None:
        if component in self._again:
            self._again[component].cancel()
        self._again[component] = asyncio.get_running_loop().call_later(after, self._look_again, ReadingDue(component))

    async def _ask(self, component: str, targets: Sequence[FileTarget], now: float) -> SetReading:
        """Return the actor's answer; raises NoFactsError."""
        path = self._socket()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
                try:
                    writer.write(encode(Request(Verb.READ, components=(component,))))
                    line = await reader.readline()
                finally:
                    writer.close()
            answer = json.loads(line)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoFactsError(sentence("no actor answers on {}: start it", printable(path))) from None
        except (OSError, ValueError, RecursionError) as error:
            why = printable(str(error), 200) or Printable("it took too long")
            raise NoFactsError(sentence("the actor on {} gave no answer: {}", printable(path), why)) from None
        if not isinstance(answer, dict) or "facts" not in answer:
            reason = (
                answer.get("cannot", "its answer is not understood")
                if isinstance(answer, dict)
                else "its answer is not understood"
            )
            again: Any = answer.get("again") if isinstance(answer, dict) else None
            number = isinstance(again, int | float) and not isinstance(again, bool)
            later = float(again) if number and 0 <= again < _FOREVER else None
            raise NoFactsError(sentence("the actor does not tell: {}", printable(str(reason), 500)), later)
        try:
            return _explained(reading_of(from_document(answer["facts"]), targets, now))
        except NotFactsError as error:
            raise NoFactsError(sentence("the actor's answer is of no use: {}", harmless(str(error)))) from None


def _read_here(targets: Sequence[FileTarget], now: float) -> Here:
    reading = read_set(targets, now)
    return Here(reading, tuple(identify(each.path) for each in targets))


def _explained(reading: SetReading) -> SetReading:
    """Return the actor's answer, with the cure where its reader may not read a file either."""

    def explained(seen: FileObservation) -> FileObservation:
        if seen.failure is None or not _is_denied(seen):
            return seen
        cure = (
            Printable("give that link to root")
            if seen.failure.reason is UnreadableReason.UNSAFE_LINK
            else Printable("run it as root")
        )
        detail = sentence("the actor's reader may not read it: {}: {}", seen.failure.detail, cure)
        return replace(seen, failure=replace(seen.failure, detail=detail))

    return replace(reading, observations=tuple(map(explained, reading.observations)))


def believed(
    here: Here,
    targets: Sequence[FileTarget],
    kept: LastReading | None,
    why: Printable,
    now: float,
    *,
    early: bool,
    busy: bool = False,
) -> SetReading:
    """Return the best facts about a component's files at Unix time `now`, while no actor answers because of `why`.

    The daemon reads the files that it may read. For the other files, the actor's last facts stand, unless a file of the
    set has visibly changed since: else a new certificate would be compared with an old key. Where it cannot be seen of
    a file, they are shown, but the reading is `unsure` of all that it did not read now. `early`: the actor is not
    missed yet. `busy`: it runs, and reads later.
    """
    stands = kept is not None and kept.targets == tuple(targets) and not here.reading.moved and _is_same(here, kept)
    unseen = any(map(_is_unseen, here.identities))
    why = curable(why, harmless(BUSY)) if busy else why
    observations: list[FileObservation] = []
    unsure: set[str] = set()
    lately = kept is not None and now - kept.at < STALE_AFTER
    away = UnreadableReason.READER_BUSY if busy else UnreadableReason.NO_READER
    for index, seen in enumerate(here.reading.observations):
        last = kept.reading.observations[index] if stands and kept is not None else seen
        if seen.failure is None or not _is_denied(seen):
            observations.append(seen)
            continue
        if stands and unseen:
            unsure.add(seen.target)
        if kept is not None and last.failure is None:
            reason = away if lately else seen.failure.reason
            detail = sentence("believed as the actor read it at {}, and not read since: {}", moment(kept.at), why)
            observations.append(replace(last, failure=Unreadable(reason, detail)))
        elif not _is_denied(last):
            # Its fault is known, and stands.
            observations.append(last)
        else:
            reason = away if early or lately else seen.failure.reason
            detail = sentence("the daemon may not read it, and {}", why)
            observations.append(replace(seen, failure=Unreadable(reason, detail)))
    return SetReading(tuple(observations), here.reading.moved, frozenset(unsure))


def _is_denied(seen: FileObservation) -> bool:
    """Whether a file gave no facts because who looked may not read it."""
    return seen.failure is not None and seen.failure.reason in NOT_FOR_US


def _is_same(here: Here, kept: LastReading) -> bool:
    """Whether no file is seen to be another than the one that the actor read."""
    return all(
        before.identity == now or _is_unseen(now)
        for before, now in zip(kept.reading.observations, here.identities, strict=True)
    )


def _is_unseen(identity: _Identity) -> bool:
    """Whether it cannot be told if a file is another by now."""
    return isinstance(identity, Unreadable) and identity.reason in NOT_FOR_US
