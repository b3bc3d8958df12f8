"""The feed: the last events and messages in short, by number, for readers who go on where they left off. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from config.immutable import immutable
from monitor.dialect import iso
from monitor.state.events import (
    ActionEnded,
    Decided,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
    TargetAdded,
    TargetRemoved,
    What,
)
from monitor.state.messages import CandidateConsidered, ComponentsChanged, JournalNews

KEPT: Final = 1024
"""Entries; a reader who is further behind reads everything anew."""
AT_ONCE: Final = 256
"""The most entries that a reader is given at a time."""

_WORDS: Final[dict[type, What]] = {
    TargetAdded: What.ADDED,
    TargetRemoved: What.REMOVED,
    PresentedChanged: What.PRESENTED,
    FindingRaised: What.RAISED,
    FindingChanged: What.CHANGED,
    FindingCleared: What.CLEARED,
    LookFailed: What.FAILED,
    LookRecovered: What.RECOVERED,
    ActionEnded: What.ENDED,
    Decided: What.DECIDED,
}


@immutable
class FeedEntry:
    """An entry, as JSON has it."""

    number: int
    what: str
    """As in the history; `acting` where what is known of components may be another."""
    data: dict[str, Any]


class EventFeed:
    """The last events, and their readers' waiting for the next one; they are put into short when they are read."""

    def __init__(self, started: float) -> None:
        """Begin at Unix time `started`, which tells the numbers of this run from those of another."""
        self._run = f"{int(started * 1000):x}"
        self._kept: deque[tuple[int, StateEvent | tuple[str, ...]]] = deque(maxlen=KEPT)
        """By number: an event, or the components of which something may be another; none for all."""
        self._last = 0
        self._news = asyncio.Event()
        self._waiting = 0
        self.closed = False

    @property
    def position(self) -> str:
        """The id of the last entry, from which a new reader goes on."""
        return self.identifier(self._last)

    def identifier(self, number: int) -> str:
        """Return the id of an entry by its number."""
        return f"{self._run}-{number}"

    def number(self, identifier: str) -> int | None:
        """Return the number of the entry with an id; None where it is of another run, or no id."""
        run, _, number = identifier.partition("-")
        if run != self._run or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return None
        return int(number) if int(number) <= self._last else None

    def take(self, events: Sequence[StateEvent]) -> None:
        """Take events, as a subscriber of the bus."""
        for event in events:
            # The others, such as that of a file that was only touched, are no news.
            if type(event) in _WORDS:
                self._keep(event)
        self._wake()

    def acting(self, message: ComponentsChanged | JournalNews | CandidateConsidered) -> None:
        """Take note that what is known of components may be another."""
        match message:
            case CandidateConsidered(subject):
                names: tuple[str, ...] = (subject,)
            case JournalNews(components) if components is not None:
                names = tuple(sorted(components))
            case _:
                names = ()
        # The same again within a moment is one entry.
        if self._kept and self._kept[-1][1] == names:
            self._kept.pop()
        self._keep(names)
        self._wake()

    def after(self, number: int) -> Sequence[FeedEntry] | None:
        """Return the entries behind that number, at most `AT_ONCE`; None where some of them are not kept any more."""
        if number < self._last - KEPT:
            return None
        later = (each for each in self._kept if each[0] > number)
        return [_entry(*each) for each in islice(later, AT_ONCE)]

    async def wait(self, number: int, seconds: float) -> None:
        """Return when there is an entry behind that number, or after so many seconds."""
        if self._last > number or self.closed:
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Have all readers end."""
        self.closed = True
        self._wake()

    def _keep(self, what: StateEvent | tuple[str, ...]) -> None:
        self._last += 1
        self._kept.append((self._last, what))

    def _wake(self) -> None:
        if self._waiting:
            self._news.set()
            self._news = asyncio.Event()


def _entry(number: int, what: StateEvent | tuple[str, ...]) -> FeedEntry:
    if isinstance(what, tuple):
        return FeedEntry(number, "acting", {"components": list(what)})
    return FeedEntry(number, _WORDS[type(what)], {"at": iso(what.at), "target": what.target, **_more(what)})


def _more(event: StateEvent) -> dict[str, Any]:
    match event:
        case FindingRaised() | FindingChanged() | FindingCleared():
            found = event.finding
            return {"code": found.code, "severity": found.severity, "subject": found.subject}
        case LookFailed():
            return {"reason": event.reason}
        case PresentedChanged():
            return {"certificates": [each.sha256 for each in event.after]}
        case ActionEnded():
            return {"outcome": event.ending.outcome, "transaction": event.ending.transaction}
        case Decided():
            return {"policy": event.policy, "action": event.action, "status": event.status}
        case _:
            return {}
