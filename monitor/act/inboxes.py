"""Attending to inboxes: the actor is asked about their content whenever its answer may have changed."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from actions.ending import Outcome
from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.model import Config
from config.text import Log, printable
from config.vocabulary import Mode, TargetKind
from monitor.act.answer import is_in_place
from monitor.act.connection import ActorConnection
from monitor.act.contests import Contests
from monitor.act.journal import JournalFollower
from monitor.act.status import CandidateStatus, Subject, candidate_status, inbox_of, subject_named, subjects_of
from monitor.actor.request import Document, Request, Verb
from monitor.host.schedule import Agenda
from monitor.state.bus import Bus
from monitor.state.events import PresentedChanged, StateEvent
from monitor.state.messages import CandidateConsidered, ComponentsChanged, JournalNews
from monitor.state.registry import TargetRegistry
from monitor.watch.watcher import FileChange, Watcher

log: Log = logging.getLogger("certvigil.act")

SETTLE: Final = 1.0
"""Seconds without a change after which an inbox is taken as it is: people copy one file after the other."""
REFRESH: Final = 15.0
"""Seconds between two times that everything is said anew."""


class Inboxes:
    """The content of the inbox of each group and component, as the actor told last."""

    def __init__(self, registry: TargetRegistry, actor: ActorConnection, journal: JournalFollower, bus: Bus) -> None:
        self._registry = registry
        self._actor = actor
        self._journal = journal
        self._bus = bus
        self.contests = Contests()
        self._candidates: dict[str, CandidateStatus] = {}
        self._answers: dict[str, Document] = {}
        """The actor's last answer about each inbox."""
        self._touched: dict[str, float] = {}
        """Unix time at which each inbox last changed, in this run."""
        self._put_off: frozenset[str] = frozenset()
        """Components to which something is being done."""
        self._agenda = Agenda()
        self._wake = asyncio.Event()

    # Questions of other parts

    def candidate(self, subject: str) -> CandidateStatus:
        """Return the status of the candidate in the inbox of a group or component."""
        return self._candidates.get(subject, CandidateStatus())

    def answer(self, subject: str) -> Document | None:
        """Return the actor's last answer about an inbox; None where it has given none."""
        return self._answers.get(subject)

    def was_considered(self, subject: str) -> bool:
        """Whether the actor has told the content of the inbox."""
        return subject in self._candidates

    def touched(self, subject: str) -> float:
        """Return the Unix time at which an inbox last changed in this run; 0 where it has not."""
        return self._touched.get(subject, 0.0)

    # News from other parts

    @contextmanager
    def put_off(self, components: Collection[str]) -> Iterator[None]:
        """Leave these components alone while a transaction changes them, and consider each of them after it."""
        self._put_off = frozenset(components)
        try:
            yield
        finally:
            self._put_off = frozenset()
            self._consider_soon(self._registry.config.subjects_of(components), SETTLE)

    def take(self, events: Sequence[StateEvent]) -> None:
        """Consider a component whose files present something else: somebody may have reverted a change."""
        if self._journal.no_actor is not None:
            # Everything is considered once an actor is met.
            return
        changed = [self._registry.targets.get(each.target) for each in events if isinstance(each, PresentedChanged)]
        names = {each.component for each in changed if each is not None and each.kind is TargetKind.FILE}
        by_others = [name for name in names if name is not None and not self._is_own_work(name)]
        # What `run` itself publishes must not wake it up.
        if by_others:
            self._consider_soon(self._registry.config.subjects_of(by_others))

    def _is_own_work(self, component: str) -> bool:
        """Whether the files of a component have the content of the last transaction."""
        last = self._journal.state.last.get(component)
        if last is None or last.outcome not in {Outcome.COMMITTED, Outcome.FAILED_FORWARD}:
            return False
        files = [each for each in self._registry.targets.values() if each.component == component]
        return any(last.leaf == one.sha256 for each in files if each.kind is TargetKind.FILE for one in each.presented)

    def journal_news(self, news: JournalNews) -> None:
        """Consider the components about which the actor may answer differently."""
        if news.components is None:
            self._consider_soon(subjects_of(self._registry.config))
        else:
            # By then the actor has removed the installed candidate from the inbox.
            self._consider_soon(self._registry.config.subjects_of(news.components), SETTLE)

    def reconfigure(self) -> None:
        """Attend to the inboxes of the groups and components that the configuration names."""
        subjects = subjects_of(self._registry.config)
        for name in self._candidates.keys() - subjects.keys():
            del self._candidates[name]
            self._answers.pop(name, None)
            self._touched.pop(name, None)
            self._agenda.forget(name)
        self.contests.forget_all_but(subjects)
        self._consider_soon(subjects)

    # Work

    async def run(self) -> None:
        """Look at each inbox when it may have changed, and now and then, until cancelled."""
        watcher = Watcher(asyncio.get_running_loop(), self._changed, self._lost)
        try:
            while True:
                self._wake.clear()
                config = self._registry.config
                await watcher.watch(
                    (), {each: None for subject in subjects_of(config).values() for each in _inboxes(subject, config)}
                )
                now = time.monotonic()
                for name, _ in tuple(self._agenda.take(now)):
                    await self._consider(name)
                self._bus.send(ComponentsChanged())
                due = self._agenda.next()
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH if due is None else max(0.0, min(REFRESH, due - now))):
                        await self._wake.wait()
        finally:
            await watcher.stop()

    def _changed(self, change: FileChange) -> None:
        """Have the inboxes considered in which a file changed."""
        # A file that appears is a place of its own.
        places = change.places.union(map(os.path.dirname, change.places))
        config = self._registry.config
        for name, subject in subjects_of(config).items():
            if not places.isdisjoint(_inboxes(subject, config)):
                self._touched[name] = time.time()
                self._agenda.schedule(name, time.monotonic() + SETTLE)
        self._wake.set()

    def _lost(self, _reason: str) -> None:
        self._consider_soon(subjects_of(self._registry.config))

    def _consider_soon(self, subjects: Iterable[str], pause: float = 0.0) -> None:
        """Have these groups and components considered after so many seconds at the latest: `run` does."""
        for name in subjects:
            self._agenda.hasten(name, time.monotonic() + pause)
        self._wake.set()

    async def _consider(self, name: str) -> None:
        """Note the content of the inbox of a group or component."""
        config = self._registry.config
        subject = subject_named(name, config)
        if subject is None:
            return
        self._agenda.schedule(name, time.monotonic() + config.settings.rescan)
        if not self._put_off.isdisjoint(subject.members):
            return
        if self._journal.no_actor is None and any(map(self._journal.state.is_unfinished, subject.members)):
            self._consider_soon((name,), SETTLE)
            return
        if self._journal.no_actor is not None or subject.mode is Mode.OBSERVE:
            self._candidates.pop(name, None)
            self._answers.pop(name, None)
        elif not await self._ask(subject):
            return
        self._bus.send(CandidateConsidered(name))

    async def _ask(self, subject: Subject) -> bool:
        """Ask the actor about the inbox of a group or component; return whether it answered."""
        name, action = subject.name, ActionRequest(Kind.REPLACE, subject.members)
        answer = await self._actor.ask(Request(Verb.PLAN, action))
        if answer is None or not self._put_off.isdisjoint(subject.members):
            # A transaction that was begun meanwhile makes the answer out of date.
            return False
        if answer.get("under_way"):
            self._consider_soon((name,), SETTLE)
            return False
        self.contests.take(name, subject.members, answer)
        before = self.candidate(name)
        self._answers[name] = answer
        candidate = self._candidates[name] = candidate_status(answer, before, time.time())
        if candidate.objections != before.objections:
            inbox = printable(inbox_of(name, self._registry.config))
            for ground, detail in candidate.objections:
                level = logging.INFO if candidate.lacks_a_file else logging.WARNING
                log.log(level, "the content of %s cannot be used: %s: %s", inbox, ground, detail)
        is_refused = candidate.objections and candidate.objections != before.objections and not candidate.lacks_a_file
        if is_in_place(answer) or is_refused:
            # Whoever may empties the inbox, which may still hold a key, and records what it refuses.
            await self._actor.ask(Request(Verb.PROPOSE, action))
        return True


def _inboxes(subject: Subject, config: Config) -> list[str]:
    """Return the directories to be watched: a file in the inbox of a member of a group is in the wrong place."""
    inboxes = [inbox_of(each, config) for each in dict.fromkeys((subject.name, *subject.members))]
    offered = config.settings.actor.offered_directory
    return inboxes if offered is None else [*inboxes, os.path.join(offered, subject.name)]
