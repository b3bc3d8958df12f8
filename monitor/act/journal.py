"""Following the actor's journal: each ending is published once, and the journal's state is kept for the others."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import Final

from actions.journal import Event, Record
from actions.journal_state import JournalState, RecordedEnding
from config.text import Log, harmless, printable
from config.vocabulary import TargetKind
from monitor.act.connection import ActorConnection, talk
from monitor.act.status import action_target, actions_of, subject_named
from monitor.actor.follow import Follower, Heard, JournalPosition
from monitor.actor.request import Document
from monitor.state.bus import Bus
from monitor.state.events import ActionEnded
from monitor.state.messages import ComponentsChanged, DecisionInputsChanged, JournalNews, ServiceTouched
from monitor.state.registry import TargetRegistry

log: Log = logging.getLogger("certvigil.act")

RECONNECT: Final = (0.5, 1.0, 3.0)
"""Seconds before the actor is looked for again."""
SILENCE: Final = 30.0
"""Seconds without a document after which an actor that is followed counts as gone: it sends one every second."""
MISSED_AT_START: Final = 60.0
"""Seconds after the daemon's start after which an actor that was not met is missed: it may start later, and slowly."""
MISSED: Final = 10.0
"""Seconds after which an actor that is gone is missed: one that is restarted is back before."""
_OF_EVERY_COMPONENT: Final = frozenset(
    {
        *(Event.RELEASED, Event.QUARANTINED, Event.KEY_GIVEN_UP, Event.KEY_REINSTATED),
        *(Event.ROOT_CONFIRMED, Event.ROOT_GONE),
    }
)
"""Records about a candidate or a key, which may lie in any inbox, or about the root of any candidate."""
_NEWS: Final = _OF_EVERY_COMPONENT | {
    *(Event.APPROVED, Event.REJECTED, Event.THAWED, Event.WRITTEN_LATE),
    *(Event.REQUESTED, Event.REQUEST_WITHDRAWN, Event.OFFERED, Event.OFFER_WITHDRAWN),
}
"""Records after which an answer of the actor may be another, beside those that end something."""


class JournalFollower:
    """Follows the actor's journal over one connection after the other."""

    def __init__(self, registry: TargetRegistry, actor: ActorConnection, bus: Bus) -> None:
        self._registry = registry
        self._actor = actor
        self._bus = bus
        self.state = JournalState()
        """The state of the journal, as far as the last actor has told it."""
        self.no_actor: str | None = "nobody has answered yet"
        """Why no actor is there, a sentence; None where one is."""
        self.clock: str | None = None
        """Why the actor does not believe the clock, a sentence; None where it does."""
        self.met = False
        """An actor has answered in this run, or is remembered."""
        self._missed_at = time.monotonic() + MISSED_AT_START
        """Monotonic time from which an actor that is not there is missed."""
        self._recorded_until = 0.0
        """Unix time of the last ending that is recorded: earlier endings in a journal told anew are no news."""
        self._told_until = 0.0
        """Unix time of the last ending that was published."""
        self._follower = Follower()
        self._socket = ""
        """Where the actor that is followed was met."""

    @property
    def position(self) -> JournalPosition:
        """How far the journal is known."""
        return self._follower.position

    @property
    def is_missed(self) -> bool:
        """Whether no actor has been there for so long that people are told."""
        return self.no_actor is not None and time.monotonic() >= self._missed_at

    def restore(self, recorded_until: float) -> None:
        """Go on from the database: the targets, and endings until that Unix time."""
        self._recorded_until = recorded_until
        self.met = any(each.kind is TargetKind.COMPONENT for each in self._registry.targets.values())

    async def run(self) -> None:
        """Follow until cancelled, from the beginning of the journal each time that an actor is met."""
        attempt = 0
        while True:
            try:
                why = await self._follow()
                attempt = 0
            except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
                if not isinstance(error, OSError):
                    # Parts of a senseless record may have been taken in.
                    self._follower.forget()
                why = printable(f"nobody answers on {self._actor.socket}: {_in_words(error)}")
            self._lose(why)
            await asyncio.sleep(RECONNECT[min(attempt, len(RECONNECT) - 1)])
            attempt += 1

    def _lose(self, why: str) -> None:
        """Note that no actor is there."""
        if self.no_actor is None:
            log.warning("the actor is gone: %s", harmless(why))
            self._missed_at = time.monotonic() + MISSED
        self.no_actor, self.clock = why, None
        self._bus.send(DecisionInputsChanged())
        self._bus.send(ComponentsChanged())

    async def _follow(self) -> str:
        """Follow one actor until it is gone, and return why it is; raises OSError, ValueError, KeyError, TypeError."""
        self._socket = self._actor.socket
        async with aclosing(talk(self._socket, self._follower.begin(), silence=SILENCE)) as documents:
            async for document in documents:
                if "cannot" in document:
                    return str(document["cannot"])
                self._take(document)
                # It says something every second, so a reload is noticed soon.
                if self._actor.socket != self._socket:
                    return "the configuration names another socket"
        return "it has ended"

    def _take(self, document: Document) -> None:
        """Take in one document."""
        follower = self._follower
        was_caught_up = follower.caught_up
        if (heard := follower.take(document)) is not None:
            self._hear(heard, just_now=was_caught_up)
        elif "look" in document:
            self._bus.send(ServiceTouched(str(document["look"])))
        elif "here" in document and (clock := document.get("clock")) != self.clock:
            self.clock = clock
            self._bus.send(DecisionInputsChanged())
        if follower.caught_up and not was_caught_up:
            self._catch_up()

    def _hear(self, heard: Heard, *, just_now: bool) -> None:
        """React to a record; `just_now` says that it was written just now."""
        ended = heard.ended
        if ended is not None:
            self._publish(ended, heard)
        if not just_now:
            return
        if ended is not None or heard.record.event in _NEWS:
            self._bus.send(JournalNews(concerned(heard.record, ended, self._follower.journal_state)))
        for name in ended.components if ended is not None else ():
            self._bus.send(ServiceTouched(name))

    def _catch_up(self) -> None:
        """Go by the records of the actor so far; while all was told anew, the earlier state was in force."""
        if self.no_actor is not None:
            log.info("an actor answers on %s", printable(self._socket))
        self.state, self.no_actor, self.met = self._follower.journal_state, None, True
        self._recorded_until = max(self._recorded_until, self._told_until)
        self._bus.send(JournalNews())
        for name in self._registry.config.components:
            self._bus.send(ServiceTouched(name))

    def _publish(self, ended: RecordedEnding, heard: Heard) -> None:
        """Publish an ending, unless it was published before."""
        if not heard.is_news or (heard.is_first and ended.at <= self._recorded_until):
            return
        self._told_until = max(self._told_until, ended.at)
        config = self._registry.config
        stores = config.changeable_stores
        subjects = config.subjects_of(ended.components)
        names = [name for name in subjects if subject_named(name, config) or name in stores]
        for name in names:
            self._registry.watch(action_target(name, config), ended.at)
        self._bus.publish([ActionEnded(actions_of(name), ended) for name in names])


def concerned(record: Record, ended: RecordedEnding | None, state: JournalState) -> frozenset[str] | None:
    """Return the components about which the actor may answer differently after a record; None for all."""
    if ended is not None:
        return frozenset(ended.components)
    if record.event in _OF_EVERY_COMPONENT:
        return None
    if "components" in record.data:
        return frozenset(map(str, record.data["components"]))
    proposal = state.proposals.get(str(record.data.get("hash", "")))
    return None if proposal is None else frozenset(proposal.action.components)


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "it does not run, or listens elsewhere"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
