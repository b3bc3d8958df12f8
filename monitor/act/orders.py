"""Placing orders with the actor: decisions of policies become requests, one after the other.

The daemon has no rights of its own, and the actor checks each of its decisions again.

1. A decision to act, to ask a person or to show a plan is queued (`place`). One that is withdrawn while it waits is
   dropped.
2. It gets a plan: the approved plan for it, the plan that the actor made for the candidate, or a new plan.
3. A decision to act is carried out by that plan. Where the actor cannot go by it, and nobody approved it, a new plan is
   made once.
4. The end of the order (`monitor.act.answer.OrderEnd`) is noted. An order that was not begun counts as an attempt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from actions.ending import Outcome
from actions.journal_state import RECENT, ActionRequest
from actions.plan import Kind
from config.policy import Notify
from config.text import Log, Printable, printable
from monitor.act.answer import OrderAnswer, OrderEnd, order_answer, why_not
from monitor.act.connection import ActorConnection
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.status import FailedOrder, subject_named
from monitor.actor.request import LONGEST_REASON, Document, Request, Verb
from monitor.decide.decision import ORDERED, PENDING, Decision, DecisionMade, DecisionStatus, kind_of_decision
from monitor.decide.situation import Approval, Attempt, LeftToPerson, Result
from monitor.decide.table import DecisionTable
from monitor.notify.mute import ComponentTransaction
from monitor.state.bus import Bus
from monitor.state.messages import CandidateConsidered, ComponentsChanged, DecisionInputsChanged
from monitor.state.registry import TargetRegistry

log: Log = logging.getLogger("certvigil.act")

MOST_ORDERS: Final = 1000
REVIEW: Final = 15.0
"""Seconds between two reviews of the plans that wait, if nothing happens before."""
_CALL_FOR_A_PLAN: Final = PENDING | {DecisionStatus.HELD, DecisionStatus.OBSERVE}
"""While such a decision holds, the plan for it is not withdrawn."""


class Orders:
    """The orders that wait, the one under way, and the attempts that were not begun."""

    def __init__(  # noqa: PLR0917 (the parts that it builds on, in the order in which they are made)
        self,
        registry: TargetRegistry,
        actor: ActorConnection,
        journal: JournalFollower,
        inboxes: Inboxes,
        table: DecisionTable,
        bus: Bus,
    ) -> None:
        self._registry = registry
        self._actor = actor
        self._journal = journal
        self._inboxes = inboxes
        self._table = table
        self._bus = bus
        self._queue: asyncio.Queue[Decision] = asyncio.Queue(MOST_ORDERS)
        self._plans: dict[str, tuple[str, str]] = {}
        """The component, and the hash of the plan that the actor made, by the case of the decision that it is for."""
        self._attempts: dict[str, deque[Attempt]] = {}
        """Attempts that were not begun, by component."""
        self._failed: dict[str, FailedOrder] = {}
        """The order that failed last, by component, until it is carried out or nobody wants it any more."""
        self._left: dict[str, tuple[LeftToPerson, ...]] = {}
        """Actions that the actor leaves to a person, by component, for as long as they are wanted."""
        self._doubted: set[str] = set()
        """Plans that wait without a decision that calls for them; the actor was told of them."""
        self._review_is_due = asyncio.Event()
        self.acting: tuple[str, ...] = ()
        """The components of the order under way."""
        self._acting_since = 0.0
        """Unix time."""

    # Questions of other parts

    def plan_of(self, decision: Decision) -> str:
        """Return the hash of the plan that the actor made for a decision; empty where it has made none."""
        return self._plans.get(decision.case, ("", ""))[1]

    def approvals(self, component: str) -> Iterator[Approval]:
        """Yield the approvals of plans for a component, each for the case that its plan was made for."""
        for case, (name, plan) in self._plans.items():
            if name == component and (ruling := self._journal.state.approved.get(plan)) is not None:
                yield Approval(case, True, ruling.until, ruling.by)

    def attempts(self, component: str) -> Sequence[Attempt]:
        """Return the attempts that were not begun, oldest first."""
        return tuple(self._attempts.get(component, ()))

    def failed(self, component: str) -> FailedOrder | None:
        """Return the order for a component that failed last and is still wanted."""
        failed = self._failed.get(component)
        return failed if failed is not None and self._is_wanted(component, failed.kind, failed.what) else None

    def left_to_person(self, component: str) -> tuple[LeftToPerson, ...]:
        """Return the actions that the actor leaves to a person."""
        return self._left.get(component, ())

    def _is_wanted(self, component: str, kind: Kind, what: str) -> bool:
        """Whether a decision calls for that action."""
        decisions = self._table.about(component)
        return any(_calls_for(each, kind) and each.what == what for each in decisions)

    def transactions(self) -> Mapping[str, ComponentTransaction]:
        """Return the newest transaction of each component, under way or ended."""
        state = self._journal.state
        newest = {
            name: ComponentTransaction(each.began, each.at)
            for name, recent in state.recent.items()
            for each in recent
            if each.outcome is not Outcome.REFUSED
        }
        if self._journal.no_actor is None:
            for record in state.unfinished.values():
                plan = record.data.get("plan", record.data)
                transaction = ComponentTransaction(record.at, undone=record.transaction in state.undone)
                newest.update(dict.fromkeys(map(str, plan.get("components", ())), transaction))
        # Until the journal has its beginning.
        asked = [each for each in self.acting if each not in newest or newest[each].ended is not None]
        newest.update(dict.fromkeys(asked, ComponentTransaction(self._acting_since)))
        for name, group in self._registry.config.groups.items():
            of_members = [newest[each] for each in group.members if each in newest]
            if of_members:
                newest[name] = max(of_members, key=lambda each: each.began)
        return newest

    async def rule(self, verb: Verb, plan: str, by: str, why: str) -> Document | str:
        """Have the actor record that `by` approves or rejects a plan; return its answer, or why it does not."""
        said = f"said by {by}" + (f": {why}" if why else "")
        answer = await self._actor.ask(Request(verb, plan=plan, why=printable(said)[:LONGEST_REASON]))
        if answer is None or not answer.keys() & {"approved", "rejected"}:
            return why_not(answer)
        return answer

    # News from other parts

    def decision_made(self, made: DecisionMade) -> None:
        """Place an order where a policy decided that something is to be done."""
        self.place(made.decision)

    def candidate_considered(self, considered: CandidateConsidered) -> None:
        """Propose again each plan that waits for approval: it may be another by now. Then review all waiting plans.

        Once there is no candidate, the attempts to install one count no more: the next one comes anew.
        """
        candidate = self._inboxes.candidate(considered.subject)
        if not candidate.candidate and not candidate.objections:
            self._forget_attempts(considered.subject)
        for decision in self._table.about(considered.subject):
            if decision.status is DecisionStatus.AWAIT_APPROVAL:
                self.place(decision)
        self._review_is_due.set()

    # Work

    def place(self, decision: Decision) -> None:
        """Queue a decision that the actor is to carry out, propose or plan: `_carry_out_all` takes it."""
        if decision.status in ORDERED and subject_named(decision.subject, self._registry.config):
            try:
                self._queue.put_nowait(decision)
            except asyncio.QueueFull:
                self._note_failure(decision, Printable("too much is to be done at once"))

    async def run(self) -> None:
        """Carry orders out, and withdraw plans, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carry_out_all())
            tasks.create_task(self._withdraw_plans())

    async def _carry_out_all(self) -> None:
        while True:
            decision = await self._queue.get()
            try:
                await self._carry_out(decision)
            except Exception:
                log.exception("an order failed for no foreseen reason")
                self._note_failure(decision, Printable("certvigil itself failed"))
            finally:
                self.acting = ()
            self._bus.send(DecisionInputsChanged(frozenset({decision.subject})))
            self._bus.send(ComponentsChanged())

    async def _carry_out(self, decision: Decision) -> None:
        """Carry out one order."""
        self._forget_old_plans()
        # 1
        if decision.identity not in {each.identity for each in self._table.about(decision.subject)}:
            log.info("not done: the decision was withdrawn while the order waited")
            # Should the same decision come again, this attempt has it decided anew.
            self._note_attempt(decision)
            return
        if decision.status is not DecisionStatus.ACT:
            await self._make_plan(decision)
            return
        # 2
        at_hand = self._plan_at_hand(decision)
        plan = at_hand or await self._make_plan(decision)
        if not plan:
            return
        # 3
        answer = await self._have_done(decision, plan)
        if answer.end is OrderEnd.CANNOT and at_hand and at_hand not in self._journal.state.approved:
            # The files may be others than those of that plan.
            plan = await self._make_plan(decision)
            if not plan:
                return
            if plan != at_hand:
                answer = await self._have_done(decision, plan)
        # 4
        self._note_end(decision, answer)

    def _note_end(self, decision: Decision, answer: OrderAnswer) -> None:
        """Note how an order ended."""
        match answer.end:
            case OrderEnd.CARRIED_OUT:
                self._failed.pop(decision.subject, None)
            case OrderEnd.CANNOT:
                self._plans.pop(decision.case, None)
                self._note_failure(decision, answer.why)
            case OrderEnd.NEEDS_A_PERSON:
                self._leave_to_person(decision, answer.why)
            case OrderEnd.NOTHING_TO_DO:
                self._failed.pop(decision.subject, None)
                self._note_attempt(decision)
            case OrderEnd.NOT_BEGUN:
                self._note_failure(decision, answer.why)

    def _plan_at_hand(self, decision: Decision) -> str:
        """Return the existing plan to act by, if any: an approved plan, or the actor's for the inbox's candidate."""
        plan = self.plan_of(decision)
        if plan in self._journal.state.approved:
            return plan
        candidate = self._inboxes.candidate(decision.subject)
        is_the_one = kind_of_decision(decision) is Kind.REPLACE and decision.what == candidate.candidate
        if not is_the_one or not candidate.plan or self._objection(decision):
            return ""
        self._plans[decision.case] = (decision.subject, candidate.plan)
        return candidate.plan

    async def _make_plan(self, decision: Decision) -> str:
        """Have the actor make the plan for a decision, or propose it where a person is to approve it; return its hash.

        Empty where it fails, which is noted.
        """
        propose = decision.status is DecisionStatus.AWAIT_APPROVAL
        answer = await self._actor.ask(Request(Verb.PROPOSE if propose else Verb.PLAN, self._action_of(decision)))
        if answer is not None:
            self._inboxes.contests.take(decision.subject, self._registry.config.members_of(decision.subject), answer)
        if answer is None or "plan" not in answer:
            ended = order_answer(answer)
            if ended.end is not OrderEnd.NOTHING_TO_DO:
                ended = replace(ended, end=OrderEnd.NOT_BEGUN)
            self._note_end(decision, ended)
            return ""
        if why := self._objection(decision):
            self._note_failure(decision, why)
            return ""
        plan = str(answer["plan"]["hash"])
        self._plans[decision.case] = (decision.subject, plan)
        return plan

    def _objection(self, decision: Decision) -> Printable:
        """Say who undoes the changes of the component, unless this is about a candidate that came after that."""
        contest = self._inboxes.contests.of(decision.subject)
        return Printable("") if contest.renewed and kind_of_decision(decision) is Kind.REPLACE else contest.sentence

    async def _have_done(self, decision: Decision, plan: str) -> OrderAnswer:
        """Have the actor carry out a plan, and return its answer."""
        action = self._action_of(decision)
        self.acting, self._acting_since = action.components, time.time()
        why = "; ".join(each.because for each in decision.reasons)
        log.info("having %s carried out: %s of %s", printable(plan[:16]), action.kind, printable(decision.subject))
        request = Request(Verb.CARRY_OUT, action, plan, why=f"policy {decision.policy}: {why}"[:LONGEST_REASON])
        with self._inboxes.put_off(action.components):
            return order_answer(await self._actor.ask(request))

    def _action_of(self, decision: Decision) -> ActionRequest:
        """Return the action of a decision in the words of a request."""
        kind, config = kind_of_decision(decision), self._registry.config
        members = config.members_of(decision.subject)
        if kind is not Kind.ROLLBACK:
            return ActionRequest(kind, members)
        # A backup set has the name of the transaction that put it aside. Components that were replaced together are
        # rolled back together.
        recent = (each for name in members for each in self._journal.state.recent.get(name, ()))
        undone = next((each for each in recent if each.transaction == decision.what), None)
        subjects = config.subjects_of(undone.components if undone is not None else members)
        return ActionRequest(
            kind, tuple(sorted(one for each in subjects for one in config.members_of(each))), decision.what
        )

    def _note_failure(self, decision: Decision, why: Printable) -> None:
        """Note an order that failed before anything was begun."""
        name, kind, now = decision.subject, kind_of_decision(decision), time.time()
        log.warning("not done: %s of %s: %s", kind, printable(name), why)
        before = self._failed.get(name)
        again = before is not None and (before.kind, before.what) == (kind, decision.what)
        first = FailedOrder(kind, decision.what, since=now, times=0)
        failed = before if before is not None and again else first
        self._failed[name] = replace(failed, at=now, times=failed.times + 1, why=printable(why, LONGEST_REASON))
        self._note_attempt(decision)

    def _note_attempt(self, decision: Decision) -> None:
        """Note an attempt that was not begun."""
        now = time.time()
        attempt = Attempt(kind_of_decision(decision), decision.what, now, now, Result.TRANSIENT)
        self._attempts.setdefault(decision.subject, deque(maxlen=RECENT)).append(attempt)

    def _forget_attempts(self, subject: str) -> None:
        """Forget the replacements that were not begun."""
        kept = [each for each in self._attempts.pop(subject, ()) if each.kind is not Kind.REPLACE]
        if kept:
            self._attempts[subject] = deque(kept, maxlen=RECENT)
        if (failed := self._failed.get(subject)) is not None and failed.kind is Kind.REPLACE:
            del self._failed[subject]

    def _leave_to_person(self, decision: Decision, why: Printable) -> None:
        """Note that a person is to be asked."""
        name, kind = decision.subject, kind_of_decision(decision)
        log.info("left to a person: %s of %s: %s", kind, printable(name), why)
        left = LeftToPerson(kind, decision.what, printable(why, LONGEST_REASON))
        others = (each for each in self.left_to_person(name) if (each.kind, each.what) != (left.kind, left.what))
        self._left[name] = (*others, left)
        self._failed.pop(name, None)

    def _forget_old_plans(self) -> None:
        """Forget the plans for cases about which no decision is left, unless a plan waits for a person.

        An action that was left to a person, or that failed, is forgotten once no decision calls for it.
        """
        for name, left in tuple(self._left.items()):
            self._left[name] = tuple(each for each in left if self._is_wanted(name, each.kind, each.what))
        for name in tuple(self._failed):
            if self.failed(name) is None:
                del self._failed[name]
        waiting = self._journal.state.proposals.keys() | self._journal.state.approved.keys()
        for case, (component, plan) in tuple(self._plans.items()):
            decisions = self._table.about(component)
            if plan not in waiting and all(each.case != case for each in decisions):
                del self._plans[case]

    async def _withdraw_plans(self) -> None:
        while True:
            self._review_is_due.clear()
            await self._withdraw()
            with suppress(TimeoutError):
                async with asyncio.timeout(REVIEW):
                    await self._review_is_due.wait()

    async def _withdraw(self) -> None:
        """Have the actor look again at plans that no decision calls for: it withdraws a plan whose cause is gone."""
        if self._journal.no_actor is not None:
            return
        state, config = self._journal.state, self._registry.config
        for plan, proposal in tuple(state.proposals.items()):
            action = proposal.action
            subjects = config.subjects_of(action.components)
            decisions = [each for name in subjects for each in self._table.about(name)]
            if any(_calls_for(each, action.kind) for each in decisions):
                self._doubted.discard(plan)
            elif plan not in self._doubted and all(subject_named(name, config) for name in subjects):
                self._doubted.add(plan)
                await self._actor.ask(Request(Verb.PROPOSE, action))
        self._doubted &= state.proposals.keys()


def _calls_for(decision: Decision, kind: Kind) -> bool:
    """Whether a plan of that kind may still be wanted."""
    if isinstance(decision.action, Notify):
        return False
    return kind_of_decision(decision) is kind and decision.status in _CALL_FOR_A_PLAN
