"""The daemon's part in acting: it brings candidates to the actor, has approved plans carried out, and follows it.

It has no rights of its own, and decides nothing that the actor does not check again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from actions.ending import Outcome
from actions.journal import Event as Step
from actions.journal_state import RECENT, ActionRequest, JournalState, RecordedEnding
from actions.plan import Kind
from config.model import Component, Config
from config.policy import Notify
from config.text import printable
from config.vocabulary import Code, ComponentState, Mode, Severity, TargetKind, UnreachableReason
from monitor.act.status import CandidateStatus, ComponentStatus, Waiting, findings_of, is_done, offer_of, why_not
from monitor.actor.client import LONGEST_ACT
from monitor.actor.follow import Follower, Heard
from monitor.actor.request import LONGEST_REASON, Document, Request, Verb, encode
from monitor.decide.decision import ORDERED, Decision, DecisionStatus, kind_of_decision
from monitor.decide.gather import Done
from monitor.decide.history import attempts_of
from monitor.decide.situation import Approval, Attempt, KnownCandidate, Result, Said
from monitor.host.schedule import Agenda
from monitor.look.job import UNFORESEEN
from monitor.notify.mute import ComponentTransaction
from monitor.state.events import Action, ActionEnded
from monitor.state.pending import awaits_files
from monitor.state.registry import TargetRegistry
from monitor.state.target import TargetState
from monitor.watch.watcher import FileChange, Watcher
from probes.finding import finding
from probes.judge.time import moment

log = logging.getLogger("certvigil.steward")

MOST_ORDERS: Final = 1000
SETTLE: Final = 1.0
"""Seconds without a change after which an inbox is taken as it is: people copy one file after the other."""
REFRESH: Final = 15.0
"""Seconds between two times that everything is said anew."""
RECONNECT: Final = (0.5, 1.0, 3.0)
"""Seconds before the actor is looked for again."""
LONGEST_ANSWER: Final = 4 * 2**20
LONGEST_ANSWER_AFTER: Final = 120.0
"""Seconds that looking, which other acts may hold up, takes at most."""
SILENCE: Final = 30.0
"""Seconds without a word after which an actor that is followed counts as gone."""
MISSED_AT_START: Final = 60.0
"""Seconds after the daemon's start after which an actor that was not met is missed: it may start later, and slowly."""
MISSED: Final = 10.0
"""Seconds after which an actor that is gone is missed: one that is restarted is back before."""
_PENDING: Final = frozenset(
    {
        DecisionStatus.ACT,
        DecisionStatus.AWAIT_APPROVAL,
        DecisionStatus.AWAIT_WINDOW,
        DecisionStatus.AWAIT_RETRY,
        DecisionStatus.PLAN,
    }
)
_WANTED: Final = _PENDING | {DecisionStatus.HELD, DecisionStatus.OBSERVE}
"""While such a decision stands, a plan that waits for it is offered on."""
_NEWS: Final = frozenset({Step.APPROVED, Step.REJECTED, Step.THAWED, Step.RELEASED, Step.WRITTEN_LATE})
"""Records after which an answer of the actor may be another."""


def actions_of(component: str) -> str:
    """Return the target that stands for what is done to a component."""
    return f"{component}/actions"


@dataclass(slots=True)
class Steward:
    """Looks after the components that have a service."""

    registry: TargetRegistry
    decisions_of: Callable[[str], Sequence[Decision]]
    """What stands about a component."""
    touch: Callable[[str], None]
    """Has it decided again what is to be done to a component."""
    look_again: Callable[[str], None] = lambda _component: None
    """Has a component looked at: its transaction has ended, its files may be others, or the actor answers again."""
    on_change: Callable[[], None] = lambda: None
    """Called where something that is counted or shown may have changed."""
    recorded_until: float = 0.0
    """Unix time of the last ending that is recorded: what a journal told for the first time has before is no news."""
    journal_state: JournalState = field(default_factory=JournalState)
    actor: str | None = "nobody has answered yet"
    """Why no actor is there; None where one is."""
    clock: str | None = None
    """Why the actor does not believe the clock; None where it does."""
    _offers: dict[str, CandidateStatus] = field(default_factory=dict)
    _touched: dict[str, float] = field(default_factory=dict)
    """Unix time at which each component's inbox last changed, in this run."""
    _contests: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """How somebody else undoes what is done to a component, and whether a candidate came since, by component."""
    _on_disk: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What each component's files presented when the actor was last asked about it."""
    _doubted: set[str] = field(default_factory=set)
    """Plans that wait though no decision calls for them, of which the actor was told."""
    _plans: dict[str, str] = field(default_factory=dict)
    """The hash of the plan that was proposed, by the case of the decision that it is for."""
    _attempts: dict[str, deque[Attempt]] = field(default_factory=dict)
    """What was tried and not even begun, by component."""
    _orders: asyncio.Queue[Decision] = field(default_factory=lambda: asyncio.Queue(MOST_ORDERS))
    _acting: tuple[str, ...] = ()
    """The components to which something is being done."""
    _acting_since: float = 0.0
    """Unix time."""
    _missed_at: float = field(default_factory=lambda: time.monotonic() + MISSED_AT_START)
    """Monotonic time from which an actor that is not there is missed."""
    _agenda: Agenda = field(default_factory=Agenda)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _follower: Follower = field(default_factory=Follower)
    _told_until: float = 0.0
    """Unix time of the last ending that was published."""
    _connection: asyncio.StreamWriter | None = None
    _followed: str = ""
    """The socket at which the actor that is followed was met."""
    _met: bool = False
    """An actor has answered in this run, or is remembered."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.registry.trust_context.config

    @property
    def components(self) -> Mapping[str, Component]:
        """The components that certvigil may change."""
        return {name: each for name, each in self.config.components.items() if each.service is not None}

    async def run(self) -> None:
        """Look after them until cancelled."""
        self._met = any(known.kind is TargetKind.COMPONENT for known in self.registry.known.values())
        async with asyncio.TaskGroup() as tasks:
            for part in (self._follow, self._attend, self._obey):
                tasks.create_task(part())

    def reconfigure(self) -> None:
        """Go by another configuration from now on."""
        for known in tuple(self.registry.known.values()):
            if known.kind is TargetKind.COMPONENT and known.component not in self.components:
                self.registry.remove(known.target, time.time())
        for name in (self._offers.keys() | self._contests.keys()) - self.components.keys():
            self._offers.pop(name, None)
            self._touched.pop(name, None)
            self._contests.pop(name, None)
            self._agenda.forget(name)
        if self._connection is not None and self.config.settings.actor.socket != self._followed:
            self._connection.close()
        self._consider_all()

    def done(self, name: str) -> Done:
        """Return what decisions about a component rest on beside its targets."""
        if name not in self.components:
            return Done()
        self._notice_files(name)
        offer = self._offers.get(name, CandidateStatus())
        recent = attempts_of(self.journal_state, name)
        attempts = sorted((*recent, *self._attempts.get(name, ())), key=lambda each: each.ended)
        candidate = KnownCandidate(offer.candidate, offer.since, "", offer.not_after) if offer.candidate else None
        contested, renewed = self._contests.get(name, ("", False))
        approvals, said = tuple(self._approvals()), tuple(self._rejections(name))
        return Done(tuple(attempts), candidate, approvals, said, self._held(name), contested, renewed)

    def transactions(self) -> Mapping[str, ComponentTransaction]:
        """Return the newest transaction of each component, under way or ended."""
        newest = {
            name: ComponentTransaction(each.began, each.at)
            for name, recent in self.journal_state.recent.items()
            for each in recent
            if each.outcome is not Outcome.REFUSED
        }
        if self.actor is None:
            for record in self.journal_state.unfinished.values():
                plan = record.data.get("plan", record.data)
                newest.update(dict.fromkeys(map(str, plan.get("components", ())), ComponentTransaction(record.at)))
        newest.update(dict.fromkeys(self._acting, ComponentTransaction(self._acting_since)))
        return newest

    def _held(self, name: str) -> str:
        if self.actor is not None:
            return f"no actor: {self.actor}"
        if self.clock is not None:
            return f"the clock is not to be believed: {self.clock}"
        if name in self.journal_state.frozen:
            return f"it is frozen: {printable(self.journal_state.frozen[name])}"
        if name in self._acting:
            return "a transaction of it is under way"
        unseen = [each.target for each in self.registry.known.values() if each.component == name and not each.last_look]
        return f"{printable(unseen[0])} was not looked at yet" if unseen else ""

    def _approvals(self) -> Iterator[Approval]:
        for case, plan in self._plans.items():
            if (word := self.journal_state.approved.get(plan)) is not None:
                yield Approval(case, True, word.until, word.by)

    def _rejections(self, name: str) -> Iterator[Said]:
        """Yield what a person does not want done to a component.

        Of a candidate the actor says so: it is no longer offered.
        """
        for (kind, component, what), word in self.journal_state.rejected.items():
            if component == name and kind is not Kind.REPLACE:
                yield Said(kind, what, False, word.until, word.by)

    def charges(self, now: float) -> tuple[ComponentStatus, ...]:
        """Return what is known of each component, by name, at Unix time `now`."""
        return tuple(self._charge(name, component, now) for name, component in sorted(self.components.items()))

    @property
    def ended(self) -> Mapping[Action, int]:
        """How often each component's transactions ended how, since the journal began."""
        return self.journal_state.counts

    def newest(self) -> Mapping[Action, float]:
        """Return the Unix time at which each component's last transaction ended, with what it was and how it ended."""
        return {(name, last.kind, last.outcome): last.at for name, last in self.journal_state.last.items()}

    def _charge(self, name: str, component: Component, now: float) -> ComponentStatus:
        decision = next((each for each in self.decisions_of(name) if not isinstance(each.action, Notify)), None)
        plan = self._plans.get(decision.case, "") if decision is not None else ""
        approved = self.journal_state.approved.get(plan)
        offer, last = self._offers.get(name, CandidateStatus()), self.journal_state.last.get(name)
        return ComponentStatus(
            name,
            component.mode,
            self._state(name, component, decision),
            self._inbox(name),
            offer,
            decision,
            plan,
            approved.until if approved is not None and now < approved.until else None,
            self.journal_state.frozen.get(name),
            last,
            self._contests.get(name, ("", False))[0],
            last is not None and self._is_settled(name, last),
            self.journal_state.late.get(name),
            (*offer.remarks, *self._unneeded(name, offer, last)),
            tuple(self._waiting(name, now)),
            {
                key: printable(each.sentence)
                for key, each in self.journal_state.given_up.items()
                if name in each.components
            },
        )

    def _waiting(self, name: str, now: float) -> Iterator[Waiting]:
        """Yield the plans for a component that wait for a person, oldest first."""
        for plan, each in self.journal_state.proposals.items():
            if name in each.action.components:
                word = self.journal_state.approved.get(plan)
                until = word.until if word is not None and now < word.until else None
                yield Waiting(
                    plan, each.action.kind, each.action.components, each.at, until, printable(each.shown, 500)
                )

    def _is_settled(self, name: str, last: RecordedEnding) -> bool:
        """Whether what went wrong last is no concern any more: its candidate is gone, or an operator said so."""
        if self.journal_state.thawed.get(name, 0.0) >= last.at:
            return True
        offer = self._offers.get(name)
        untouched = last.outcome in {Outcome.REFUSED, Outcome.ROLLED_BACK}
        if last.kind is not Kind.REPLACE or last.handed or not untouched or offer is None:
            return False
        if offer.objections and not offer.candidate:
            # It may be the same.
            return False
        return offer.candidate != last.candidate if last.candidate else offer.plan != last.plan

    def _unneeded(self, name: str, offer: CandidateStatus, last: RecordedEnding | None) -> Iterator[str]:
        """Yield that a candidate was what is installed, until something else is done or brought."""
        at, why = self.journal_state.unneeded.get(name, (0.0, ""))
        if why and not offer.candidate and not offer.objections and (last is None or last.at < at):
            yield f"{moment(at)}: {printable(why)}"

    def _state(self, name: str, component: Component, decision: Decision | None) -> ComponentState:
        if name in self.journal_state.frozen:
            return ComponentState.FROZEN
        if self.actor is not None or component.mode is Mode.OBSERVE:
            return ComponentState.OBSERVED
        if decision is not None and decision.standing in _PENDING:
            return ComponentState.PENDING
        objections = self._offers.get(name, CandidateStatus()).objections
        return ComponentState.WAITING if objections else ComponentState.IDLE

    def _inbox(self, name: str) -> str:
        return os.path.join(self.config.settings.actor.inbox_directory, name)

    # Following

    async def _follow(self) -> None:
        """Take in the actor's journal, from its beginning each time an actor is met."""
        attempt = 0
        while True:
            try:
                why = await self._follow_one()
                attempt = 0
            except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
                if not isinstance(error, OSError):
                    # What was taken in of a record that makes no sense, nobody knows.
                    self._follower.forget()
                why = printable(f"nobody answers on {self.config.settings.actor.socket}: {_in_words(error)}")
            if self.actor is None:
                log.warning("the actor is gone: %s", why)
                self._missed_at = time.monotonic() + MISSED
            self.actor, self.clock = why, None
            self._touch_all()
            self._say(time.time())
            await asyncio.sleep(RECONNECT[min(attempt, len(RECONNECT) - 1)])
            attempt += 1

    async def _follow_one(self) -> str:
        """Follow one actor until it is gone, and return why it is; raises OSError, ValueError."""
        follower = self._follower
        async for document in self._talk(follower.begin()):
            if "cannot" in document:
                return str(document["cannot"])
            caught_up = follower.caught_up
            if (heard := follower.take(document)) is not None:
                self._hear(heard, caught_up=caught_up)
            elif "look" in document:
                self._look_again(document["look"])
            elif "here" in document and (clock := document.get("clock")) != self.clock:
                self.clock = clock
                self._touch_all()
            if follower.caught_up and not caught_up:
                self._catch_up()
        return "it has ended"

    def _hear(self, heard: Heard, *, caught_up: bool) -> None:
        """Do what is to be done about a record; `caught_up` says that it comes just now."""
        if (end := heard.ended) is not None:
            self._tell(end, heard)
        if caught_up and (end is not None or heard.record.event in _NEWS):
            self._consider_all()
            self._touch_all()
        if caught_up and end is not None:
            for name in end.components:
                self.look_again(name)

    def _catch_up(self) -> None:
        """Believe what the actor has told by now: where all was told anew, what was believed before stood meanwhile."""
        if self.actor is not None:
            log.info("an actor answers on %s", printable(self.config.settings.actor.socket))
        self.journal_state, self.actor, self._met = self._follower.journal_state, None, True
        self.recorded_until = max(self.recorded_until, self._told_until)
        self._consider_all()
        self._touch_all()
        for name in self.config.components:
            self.look_again(name)

    def _look_again(self, name: object) -> None:
        if isinstance(name, str) and name in self.config.components:
            self.look_again(name)

    def _tell(self, ended: RecordedEnding, heard: Heard) -> None:
        """Publish what ended and was not published before."""
        if not heard.is_news or (heard.is_first and ended.at <= self.recorded_until):
            return
        self._told_until = max(self._told_until, ended.at)
        names = [name for name in ended.components if name in self.components]
        for name in names:
            self.registry.watch(self._target(name), ended.at)
        self.registry.tell([_event(actions_of(name), ended) for name in names])

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
                await self._withdraw()
                self._say(time.time())
                due = self._agenda.next()
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH if due is None else max(0.0, min(REFRESH, due - now))):
                        await self._wake.wait()
        finally:
            await watcher.stop()

    def _changed(self, change: FileChange) -> None:
        # A file that appears is a place of its own.
        places = change.places.union(map(os.path.dirname, change.places))
        for name in self.components:
            if self._inbox(name) in places:
                self._touched[name] = time.time()
                self._agenda.schedule(name, time.monotonic() + SETTLE)
        self._wake.set()

    def _notice_files(self, name: str) -> None:
        """Have the actor asked about a component whose files present something else: somebody may have reverted it."""
        presented = self._presented(name)
        if self._on_disk.setdefault(name, presented) != presented:
            self._on_disk[name] = presented
            self._agenda.hasten(name, time.monotonic())
            self._wake.set()

    def _presented(self, name: str) -> tuple[str, ...]:
        files = (
            each for each in self.registry.known.values() if each.component == name and each.kind is TargetKind.FILE
        )
        return tuple(one.sha256 for each in files for one in each.presented)

    async def _withdraw(self) -> None:
        """Have the actor look again at plans that no decision calls for: it withdraws those whose cause is gone."""
        if self.actor is not None:
            return
        for plan, proposal in tuple(self.journal_state.proposals.items()):
            action = proposal.action
            standing = [each for name in action.components for each in self.decisions_of(name)]
            if any(_calls_for(each, action.kind) for each in standing):
                self._doubted.discard(plan)
            elif plan not in self._doubted and self.components.keys() >= set(action.components):
                self._doubted.add(plan)
                await self._ask(Request(Verb.PROPOSE, action))
        self._doubted &= self.journal_state.proposals.keys()

    def _consider_all(self) -> None:
        for name in self.components:
            self._agenda.hasten(name, time.monotonic())
        self._wake.set()

    def _touch_all(self) -> None:
        for name in self.components:
            self.touch(name)

    async def _consider(self, name: str) -> None:
        """Ask the actor what is in an inbox."""
        component = self.components.get(name)
        if component is None:
            return
        self._agenda.schedule(name, time.monotonic() + self.config.settings.rescan)
        before = self._offers.get(name, CandidateStatus())
        if self.actor is not None or component.mode is Mode.OBSERVE:
            self._offers.pop(name, None)
        else:
            answer = await self._ask(Request(Verb.PLAN, ActionRequest(Kind.REPLACE, (name,))))
            if answer is None:
                return
            self._heed(name, answer)
            offer = self._offers[name] = offer_of(answer, before, time.time())
            if offer.objections != before.objections:
                for ground, detail in offer.objections:
                    level = logging.INFO if offer.lacks_a_file else logging.WARNING
                    log.log(level, "what is in %s cannot be used: %s: %s", printable(self._inbox(name)), ground, detail)
            if is_done(answer):
                # The inbox is emptied by whoever may: it may still hold a key.
                await self._ask(Request(Verb.PROPOSE, ActionRequest(Kind.REPLACE, (name,))))
        for each in self.decisions_of(name):
            if each.standing is DecisionStatus.AWAIT_APPROVAL:
                # Once more, since what would be done may be another plan by now.
                self.order(each)
        self.touch(name)

    def _heed(self, name: str, answer: Document) -> None:
        """Note what the actor says of who else changes a component, where it says anything."""
        if not answer.keys() & {"plan", "refused"}:
            return
        found = answer.get("contested", {}).get(name)
        if found is None:
            self._contests.pop(name, None)
            return
        told = (str(found["sentence"]), bool(found["renewed"]))
        if self._contests.get(name) != told:
            log.warning("%s: %s", name, printable(told[0]))
        self._contests[name] = told

    async def word(self, verb: Verb, plan: str, by: str, why: str) -> Document | str:
        """Have the actor note what `by` says of a plan; return its answer, or why it takes none."""
        sentence = f"said by {by}" + (f": {why}" if why else "")
        answer = await self._ask(Request(verb, plan=plan, why=printable(sentence)[:LONGEST_REASON]))
        if answer is None or not answer.keys() & {"approved", "rejected"}:
            return why_not(answer)
        return answer

    # Obeying

    def order(self, decision: Decision) -> None:
        """Have done soon what was decided."""
        if decision.standing in ORDERED and decision.subject in self.components:
            try:
                self._orders.put_nowait(decision)
            except asyncio.QueueFull:
                self._fail(decision, "too much is to be done at once")

    async def _obey(self) -> None:
        while True:
            decision = await self._orders.get()
            try:
                await self._carry_out(decision)
            except Exception:
                log.exception("what was decided could not be done, for no reason that was foreseen")
                self._fail(decision, "certvigil itself failed")
            finally:
                self._acting = ()
            self.touch(decision.subject)
            self._say(time.time())

    async def _carry_out(self, decision: Decision) -> None:
        name = decision.subject
        if decision.identity not in {each.identity for each in self.decisions_of(name)}:
            # Noted, so that it is decided anew should it come to stand again.
            self._fail(decision, "it waited for its turn, and was no longer to be done")
            return
        action = self._action(decision)
        propose = decision.standing is DecisionStatus.AWAIT_APPROVAL
        plan = self._plans.get(decision.case, "")
        if decision.standing is not DecisionStatus.ACT or plan not in self.journal_state.approved:
            answer = await self._ask(Request(Verb.PROPOSE if propose else Verb.PLAN, action))
            if answer is not None:
                self._heed(name, answer)
            if answer is None or "plan" not in answer:
                self._fail(decision, why_not(answer))
                return
            if (why := self._contests.get(name, ("", False))[0]) and not _may_go_on(decision, answer, name):
                self._fail(decision, why)
                return
            plan = self._plans[decision.case] = str(answer["plan"]["hash"])
        if decision.standing is not DecisionStatus.ACT:
            return
        self._acting, self._acting_since = action.components, time.time()
        why = "; ".join(each.because for each in decision.reasons)
        log.info("having %s carried out: %s of %s", plan[:16], action.kind, name)
        answer = await self._ask(
            Request(Verb.CARRY_OUT, action, plan, why=f"policy {decision.policy}: {why}"[:LONGEST_REASON])
        )
        if answer is not None and "cannot" in answer:
            # What would be done is by now another plan, perhaps: it is proposed anew.
            self._plans.pop(decision.case, None)
        if answer is None or not answer.get("endings") or answer["endings"][-1]["outcome"] == Outcome.REFUSED:
            self._fail(decision, why_not(answer))

    def _action(self, decision: Decision) -> ActionRequest:
        """Return what to ask the actor for."""
        kind = kind_of_decision(decision)
        if kind is not Kind.ROLLBACK:
            return ActionRequest(kind, (decision.subject,))
        # The set that a transaction put aside bears its name; what was replaced as one is undone as one.
        recent = self.journal_state.recent.get(decision.subject, ())
        undone = next((each for each in recent if each.transaction == decision.what), None)
        return ActionRequest(kind, undone.components if undone is not None else (decision.subject,), decision.what)

    def _fail(self, decision: Decision, why: str) -> None:
        """Note an attempt that was not even begun."""
        name, now = decision.subject, time.time()
        log.warning("not done: %s of %s: %s", kind_of_decision(decision), name, why)
        attempt = Attempt(kind_of_decision(decision), decision.what, now, now, Result.TRANSIENT)
        self._attempts.setdefault(name, deque(maxlen=RECENT)).append(attempt)

    async def _ask(self, request: Request) -> Document | None:
        """Return the last thing that the actor says to a request; None where it says nothing."""
        answer = None
        try:
            async with asyncio.timeout(LONGEST_ACT if request.verb is Verb.CARRY_OUT else LONGEST_ANSWER_AFTER):
                async for document in self._talk(request):
                    answer = document
        except (OSError, ValueError) as error:
            log.warning("the actor gave no answer: %s", printable(str(error)))
        return answer

    async def _talk(self, request: Request) -> Any:
        """Yield each document that the actor answers with; raises OSError, ValueError."""
        reader, writer = await asyncio.open_unix_connection(self.config.settings.actor.socket, limit=LONGEST_ANSWER)
        if request.verb is Verb.FOLLOW:
            self._connection, self._followed = writer, self.config.settings.actor.socket
        try:
            writer.write(encode(request))
            await writer.drain()
            while True:
                # Whoever is followed says every second that he is there.
                async with asyncio.timeout(SILENCE if request.verb is Verb.FOLLOW else None):
                    line = await reader.readline()
                if not line:
                    return
                yield json.loads(line)
        finally:
            writer.close()

    # Saying

    def say(self) -> None:
        """Say what is the matter with each component now."""
        self._say(time.time())

    def _target(self, name: str) -> TargetState:
        return TargetState(actions_of(name), TargetKind.COMPONENT, printable(self._inbox(name)), name)

    def _say(self, now: float) -> None:
        """Say what is the matter with each component; where no actor was ever met, there is nothing to say.

        Until an actor that is gone is missed, what was said before stands.
        """
        self.on_change()
        if not self._met or (self.actor is not None and time.monotonic() < self._missed_at):
            return
        for charge in self.charges(now):
            if charge.mode is Mode.OBSERVE and charge.frozen is None and charge.last is None:
                continue
            failure = None
            try:
                found = list(findings_of(charge))
            # What one component's records say in a way that nobody foresaw costs the others nothing.
            except Exception:
                log.exception("what is the matter with %s cannot be told", charge.name)
                found, failure = [], (str(UnreachableReason.UNFORESEEN), UNFORESEEN)
            if self.actor is not None:
                failure = (str(UnreachableReason.CONNECTION_REFUSED), self.actor)
                found.append(finding(Code.UNREACHABLE, f"no actor: {self.actor}", "actor", Severity.WARNING))
            waits = partial(
                awaits_files,
                lacks_a_file=charge.offer.lacks_a_file,
                touched=self._touched.get(charge.name, 0.0),
                now=now,
                patience=self.config.settings.pending,
            )
            self.registry.about(self._target(charge.name), found, now, failure, waits=waits)


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "it does not run, or listens elsewhere"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _event(target: str, ended: RecordedEnding) -> ActionEnded:
    return ActionEnded(
        target, ended.at, ended.transaction, ended.kind, ended.outcome, ended.cause, ended.reason, ended.by
    )


def _calls_for(decision: Decision, kind: Kind) -> bool:
    """Whether a plan of that kind may still be wanted."""
    return (
        not isinstance(decision.action, Notify) and kind_of_decision(decision) is kind and decision.standing in _WANTED
    )


def _may_go_on(decision: Decision, answer: Document, name: str) -> bool:
    """Whether a decision is about a candidate that came after somebody else had undone what was done before."""
    renewed = bool(answer.get("contested", {}).get(name, {}).get("renewed"))
    return renewed and kind_of_decision(decision) is Kind.REPLACE
