"""The daemon's part in acting: it brings candidates to the actor, has approved plans carried out, and follows it.

It has no rights of its own, and decides nothing that the actor does not check again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from actions.ending import Cause, Outcome
from actions.journal import Event as Step
from actions.journal import Record
from actions.plan import Kind
from actions.precheck import Ground
from actions.standing import Ended, Standing, Wish
from config.model import Component, Config
from config.text import printable
from config.vocabulary import Code, ComponentState, Mode, Severity, TargetKind, UnreachableReason
from monitor.actor.documents import Document
from monitor.actor.request import Request, Verb, encode
from monitor.agenda import Agenda
from monitor.beliefs import Beliefs
from monitor.events import Action, ActionEnded
from monitor.known import Known
from monitor.watch.watcher import Change, Watcher
from probes.finding import Finding, finding
from probes.judge.time import moment

log = logging.getLogger("certvigil.steward")

SETTLE: Final = 1.0
"""Seconds without a change after which an inbox is taken as it is: people copy one file after the other."""
REFRESH: Final = 15.0
"""Seconds between two times that everything is said anew."""
BACK_OFF: Final = (60.0, 600.0, 6_000.0, 86_400.0)
"""Seconds after the first, second, ... failure of a plan before it is tried again."""
RECONNECT: Final = (0.5, 1.0, 5.0, 30.0)
"""Seconds before the actor is looked for again."""
LONGEST_ANSWER: Final = 4 * 2**20
LONGEST_ACT: Final = 3600.0
_NONE_YET: Final = frozenset({Ground.EMPTY_INBOX, Ground.NOTHING_TO_DO})


_NEWS: Final = frozenset({Step.APPROVED, Step.REJECTED, Step.THAWED, Step.RELEASED})
"""Records after which an answer of the actor may be another."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the actor says of what is in an inbox."""

    plan: str = ""
    """The hash of what it would lead to; empty where there is nothing, or something is wrong with it."""
    objections: tuple[tuple[str, str], ...] = ()
    """Ground and detail of each thing that is wrong."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is known of one component that certvigil may change."""

    name: str
    mode: Mode
    state: ComponentState
    inbox: str
    candidate: Candidate
    approved_until: float | None
    frozen: str | None
    """Why."""
    last: Ended | None
    next_attempt: float | None
    """Unix time, where something failed and is to be tried again."""


def actions_of(component: str) -> str:
    """Return the target that stands for what is done to a component."""
    return f"{component}/actions"


@dataclass(slots=True)
class Steward:
    """Looks after the components that have a service."""

    beliefs: Beliefs
    recorded_until: float = 0.0
    """Unix time of the last ending that is recorded; older ones are no news."""
    on_change: Callable[[Steward], None] = lambda _steward: None
    """Called where something that is counted or shown may have changed."""
    standing: Standing = field(default_factory=Standing)
    ended: Counter[Action] = field(default_factory=Counter)
    """How often each component's transactions ended how, since the journal began."""
    actor: str | None = "nobody has answered yet"
    """Why no actor is there; None where one is."""
    _candidates: dict[str, Candidate] = field(default_factory=dict)
    _agenda: Agenda = field(default_factory=Agenda)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _connection: asyncio.StreamWriter | None = None
    _met: bool = False
    """An actor has answered in this run, or is remembered."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.beliefs.surroundings.config

    @property
    def components(self) -> Mapping[str, Component]:
        """The components that certvigil may change."""
        return {name: each for name, each in self.config.components.items() if each.service is not None}

    async def run(self) -> None:
        """Look after them until cancelled."""
        self._met = any(known.kind is TargetKind.COMPONENT for known in self.beliefs.known.values())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._attend())

    def reconfigure(self) -> None:
        """Go by another configuration from now on."""
        for known in tuple(self.beliefs.known.values()):
            if known.kind is TargetKind.COMPONENT and known.component not in self.components:
                self.beliefs.remove(known.target, time.time())
        for name in self._candidates.keys() - self.components.keys():
            del self._candidates[name]
            self._agenda.forget(name)
        if self._connection is not None:
            # The actor may be asked elsewhere now.
            self._connection.close()
        self._consider_all()

    def charges(self, now: float) -> tuple[Charge, ...]:
        """Return what is known of each component, by name, at Unix time `now`."""
        return tuple(self._charge(name, component, now) for name, component in sorted(self.components.items()))

    def newest(self) -> Mapping[Action, float]:
        """Return the Unix time at which each component's last transaction ended, with what it was and how it ended."""
        return {(name, last.kind, last.outcome): last.at for name, last in self.standing.last.items()}

    def _charge(self, name: str, component: Component, now: float) -> Charge:
        candidate = self._candidates.get(name, Candidate())
        approved = self.standing.approved.get(candidate.plan)
        again = self._try_again(candidate.plan)
        return Charge(
            name,
            component.mode,
            self._state(name, component, candidate),
            self._inbox(name),
            candidate,
            approved.until if approved is not None else None,
            self.standing.frozen.get(name),
            self.standing.last.get(name),
            again if candidate.plan and again > now else None,
        )

    def _state(self, name: str, component: Component, candidate: Candidate) -> ComponentState:
        if name in self.standing.frozen:
            return ComponentState.FROZEN
        if self.actor is not None or component.mode is Mode.OBSERVE:
            return ComponentState.OBSERVED
        if candidate.plan:
            return ComponentState.PENDING
        return ComponentState.WAITING if candidate.objections else ComponentState.IDLE

    def _inbox(self, name: str) -> str:
        return os.path.join(self.config.settings.actor.inbox_directory, name)

    def _try_again(self, plan: str) -> float:
        """Return the Unix time from which a plan may be tried."""
        failures, at = self.standing.failed.get(plan, (0, 0.0))
        return at + BACK_OFF[min(failures, len(BACK_OFF)) - 1] if failures else 0.0

    # Following

    async def _follow(self) -> None:
        """Take in the actor's journal, from its beginning each time an actor is met."""
        attempt = 0
        while True:
            try:
                why = await self._follow_one()
                attempt = 0
            except (OSError, ValueError) as error:
                why = printable(f"nobody answers on {self.config.settings.actor.socket}: {error}")
            if self.actor is None:
                log.warning("the actor is gone: %s", why)
            self.actor = why
            self._say(time.time())
            await asyncio.sleep(RECONNECT[min(attempt, len(RECONNECT) - 1)])
            attempt += 1

    async def _follow_one(self) -> str:
        """Follow one actor until it is gone, and return why it is; raises OSError, ValueError."""
        standing, ended, caught_up = Standing(), Counter[Action](), False
        async for document in self._talk(Request(Verb.FOLLOW)):
            if "cannot" in document:
                return str(document["cannot"])
            if "record" in document:
                record = _record(document["record"])
                end = standing.take(record)
                if end is not None:
                    ended.update((name, end.kind, end.outcome) for name in end.components)
                    self._tell(end)
                if caught_up and (end is not None or record.event in _NEWS):
                    self._consider_all()
            elif not caught_up:
                caught_up = True
                # What is believed meanwhile is what was believed before.
                self.standing, self.ended, self.actor, self._met = standing, ended, None, True
                log.info("an actor answers on %s", printable(self.config.settings.actor.socket))
                self._consider_all()
        return "it has ended"

    def _tell(self, ended: Ended) -> None:
        """Publish what ended since the last that was recorded."""
        if ended.at <= self.recorded_until:
            return
        self.recorded_until = ended.at
        names = [name for name in ended.components if name in self.components]
        for name in names:
            self.beliefs.watch(self._target(name), ended.at)
        self.beliefs.tell([_event(actions_of(name), ended) for name in names])

    # Attending

    async def _attend(self) -> None:
        """Look at each inbox when it may have changed, and now and then."""
        watcher = Watcher(asyncio.get_running_loop(), self._changed, lambda _why: self._consider_all())
        try:
            while True:
                self._wake.clear()
                await watcher.watch((), {self._inbox(name): None for name in self.components})
                now = time.monotonic()
                for name, _ in tuple(self._agenda.take(now)):
                    await self._consider(name)
                self._say(time.time())
                due = self._agenda.next()
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH if due is None else max(0.0, min(REFRESH, due - now))):
                        await self._wake.wait()
        finally:
            await watcher.stop()

    def _changed(self, change: Change) -> None:
        for name in self.components:
            if self._inbox(name) in change.places:
                self._agenda.schedule(name, time.monotonic() + SETTLE)
        self._wake.set()

    def _consider_all(self) -> None:
        for name in self.components:
            self._agenda.hasten(name, time.monotonic())
        self._wake.set()

    async def _consider(self, name: str) -> None:
        """Ask the actor what is in an inbox, and have done what may be."""
        component = self.components.get(name)
        if component is None:
            return
        self._agenda.schedule(name, time.monotonic() + self.config.settings.rescan)
        if self.actor is not None or component.mode is Mode.OBSERVE:
            self._candidates.pop(name, None)
            return
        verb = Verb.PROPOSE if component.mode is Mode.APPROVE else Verb.PLAN
        wish = Wish(Kind.REPLACE, (name,))
        answer = await self._ask(Request(verb, wish))
        if answer is None:
            return
        candidate = _candidate(answer)
        if candidate != self._candidates.get(name):
            for ground, detail in candidate.objections:
                log.warning("the candidate in %s cannot be used: %s: %s", printable(self._inbox(name)), ground, detail)
        self._candidates[name] = candidate
        now = time.time()
        if not candidate.plan or not self._may(component, candidate.plan, now):
            return
        again = self._try_again(candidate.plan)
        if now < again:
            self._agenda.hasten(name, time.monotonic() + again - now)
            return
        log.info("having %s carried out for %s", candidate.plan[:16], name)
        ended = await self._ask(Request(Verb.CARRY_OUT, wish, candidate.plan))
        if ended is not None and "cannot" in ended:
            log.warning("the actor does not carry out %s: %s", candidate.plan[:16], ended["cannot"])
            self._agenda.hasten(name, time.monotonic() + BACK_OFF[0])

    def _may(self, component: Component, plan: str, now: float) -> bool:
        approved = self.standing.approved.get(plan)
        return component.mode is Mode.AUTO or (approved is not None and now < approved.until)

    async def _ask(self, request: Request) -> Document | None:
        """Return the last thing that the actor says to a request; None where it says nothing."""
        answer = None
        try:
            async with asyncio.timeout(LONGEST_ACT):
                async for document in self._talk(request):
                    answer = document
        except (OSError, ValueError) as error:
            log.warning("the actor gave no answer: %s", printable(str(error)))
        return answer

    async def _talk(self, request: Request) -> Any:
        """Yield each document that the actor answers with; raises OSError, ValueError."""
        reader, writer = await asyncio.open_unix_connection(self.config.settings.actor.socket, limit=LONGEST_ANSWER)
        if request.verb is Verb.FOLLOW:
            self._connection = writer
        try:
            writer.write(encode(request))
            await writer.drain()
            while line := await reader.readline():
                yield json.loads(line)
        finally:
            writer.close()

    # Saying

    def _target(self, name: str) -> Known:
        return Known(actions_of(name), TargetKind.COMPONENT, printable(self._inbox(name)), name)

    def _say(self, now: float) -> None:
        """Say what is the matter with each component; where no actor was ever met, there is nothing to say."""
        self.on_change(self)
        if not self._met:
            return
        for charge in self.charges(now):
            if charge.mode is Mode.OBSERVE and charge.frozen is None and charge.last is None:
                continue
            found = list(_findings(charge))
            failure = None
            if self.actor is not None:
                failure = (str(UnreachableReason.CONNECTION_REFUSED), self.actor)
                found.append(finding(Code.UNREACHABLE, f"no actor: {self.actor}", "actor", Severity.WARNING))
            self.beliefs.about(self._target(charge.name), found, now, failure)


def _record(plain: Mapping[str, Any]) -> Record:
    return Record(float(plain["at"]), str(plain["transaction"]), Step(plain["event"]), plain["data"])


def _event(target: str, ended: Ended) -> ActionEnded:
    return ActionEnded(
        target, ended.at, ended.transaction, ended.kind, ended.outcome, ended.cause, ended.reason, ended.by
    )


def _candidate(answer: Document) -> Candidate:
    if "plan" in answer:
        return Candidate(str(answer["plan"]["hash"]))
    if "refused" in answer:
        objections: Sequence[Mapping[str, str]] = answer["refused"]["objections"]
        if {each["ground"] for each in objections} <= _NONE_YET:
            return Candidate()
        return Candidate("", tuple((str(each["ground"]), str(each["detail"])) for each in objections))
    return Candidate("", (("cannot", str(answer.get("cannot", "the actor gave no sense"))),))


def _findings(charge: Charge) -> Iterator[Finding]:
    name, candidate = charge.name, charge.candidate
    if charge.frozen is not None:
        cure = f"once it is right, `certvigil recover --thaw {name}` says so"
        yield finding(Code.COMPONENT_FROZEN, f"{printable(charge.frozen)}; nothing more is done to it: {cure}")
    last = charge.last
    if last is not None and last.outcome is not Outcome.COMMITTED and last.cause is not Cause.BUSY:
        when = moment(int(last.at))
        yield finding(Code.ACTION_FAILED, f"the {last.kind} of {when} was {last.outcome}: {printable(last.reason)}")
    for number, (ground, detail) in enumerate(candidate.objections):
        code = Code.INBOX_UNSAFE if ground == Ground.INBOX_UNSAFE else Code.CANDIDATE_REFUSED
        yield finding(code, f"{ground}: {detail}", str(number) if number else "")
    if candidate.plan and charge.mode is Mode.APPROVE and charge.approved_until is None:
        what = f"`certvigil approve {candidate.plan[:16]}` or `certvigil reject {candidate.plan[:16]}`"
        yield finding(Code.APPROVAL_PENDING, f"the plan {candidate.plan[:16]} waits for approval: {what}")
    if candidate.plan and charge.mode is Mode.PLAN:
        what = f"`certvigil replace {name} --plan {candidate.plan}` carries it out"
        yield finding(Code.APPROVAL_PENDING, f"the plan {candidate.plan[:16]} is ready: {what}")
