"""The actor's records for people who look: they are read when somebody asks, and the last ones are kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from actions.audit import STEPS
from config.immutable import immutable
from config.text import printable
from monitor.act.connection import talk
from monitor.actor.follow import JournalPosition
from monitor.actor.request import Request, Verb
from monitor.audit import AuditEntry, entries
from monitor.dialect import undated

MOST: Final = 500
"""Records that are given; older ones are told by `certvigil audit`."""
_MOST_READ: Final = 50_000
"""Records of a journal that are read for them; it is compacted before it has so many."""
_AT_ONCE: Final = 500
"""Records after which others have their turn on the event loop."""
_WITHIN: Final = 5.0
"""Seconds."""


@immutable
class _KeptRecord:
    """The records of a journal until a position in it."""

    socket: str
    position: JournalPosition
    told: tuple[AuditEntry, ...]

    def has(self, socket: str, position: JournalPosition) -> bool:
        """Whether nothing at `position` is missing."""
        mine = self.position
        return (self.socket, mine.epoch) == (socket, position.epoch) and mine.sequence >= position.sequence


class RecordReader:
    """Reads the actor's journal for those who look: once for all who ask meanwhile, and not while it stays as it is."""

    def __init__(self, within: float = _WITHIN) -> None:
        """Give the actor `within` seconds for an answer."""
        self._within = within
        self._kept: _KeptRecord | None = None
        self._reading: asyncio.Task[_KeptRecord | str] | None = None

    async def read(self, socket: str, position: JournalPosition) -> Sequence[AuditEntry] | str:
        """Return the newest records, the newest first, without single steps; or why not, printable.

        `position` is how far the journal of the actor at `socket` is known to go.
        """
        found: _KeptRecord | str | None = self._kept
        # What is being read already may end before `position`; what is read after it does not.
        for _ in range(2):
            if isinstance(found, _KeptRecord) and found.has(socket, position):
                break
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(socket))
            # Whoever leaves meanwhile takes the answer from nobody.
            found = await asyncio.shield(self._reading)
            if isinstance(found, str):
                return found
        return found.told if isinstance(found, _KeptRecord) else ()

    async def _read(self, socket: str) -> _KeptRecord | str:
        try:
            found = await self._ask(socket)
        except TimeoutError:
            return f"the actor gave no answer within {self._within:g} seconds"
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            return printable(f"the actor gave no answer: {error}")
        finally:
            self._reading = None
        if isinstance(found, _KeptRecord):
            self._kept = found
        return found

    async def _ask(self, socket: str) -> _KeptRecord | str:
        records = deque[Mapping[str, Any]](maxlen=_MOST_READ)
        position, count = JournalPosition(), 0
        async with asyncio.timeout(self._within), aclosing(talk(socket, Request(Verb.FOLLOW))) as documents:
            async for document in documents:
                if "cannot" in document:
                    return printable(str(document["cannot"]))
                if "here" in document:
                    position = JournalPosition(str(document["epoch"]), int(document["here"]))
                    break
                if "record" in document:
                    records.append(document["record"])
                    count += 1
                    if count % _AT_ONCE == 0:
                        await asyncio.sleep(0)
        told = await asyncio.get_running_loop().run_in_executor(None, _told, records)
        return _KeptRecord(socket, position, told)


def _told(records: deque[Mapping[str, Any]]) -> tuple[AuditEntry, ...]:
    """Return what is told of records, the newest first."""
    known = entries(map(undated, records))
    return tuple(reversed(deque((each for each in known if each.record["event"] not in STEPS), maxlen=MOST)))
