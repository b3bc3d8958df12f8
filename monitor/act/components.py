"""The status of each component that certvigil may change, put together from the other parts."""

from __future__ import annotations

from collections.abc import Iterator

from actions.ending import Outcome
from actions.journal_state import JournalState, RecordedEnding
from actions.plan import Kind
from config.model import Component
from config.policy import Notify
from config.text import printable
from config.vocabulary import ComponentState, Mode
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.orders import Orders
from monitor.act.status import CandidateStatus, ComponentStatus, Waiting, components_of, inbox_of
from monitor.decide.decision import PENDING, Decision
from monitor.decide.gather import ComponentRecord
from monitor.decide.history import attempts_of
from monitor.decide.situation import KnownCandidate, Said
from monitor.decide.table import DecisionTable
from monitor.state.registry import TargetRegistry
from probes.judge.time import moment


class Components:
    """The components that have a service; it keeps nothing itself."""

    def __init__(
        self, registry: TargetRegistry, journal: JournalFollower, inboxes: Inboxes, orders: Orders, table: DecisionTable
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._inboxes = inboxes
        self._orders = orders
        self._table = table

    # For decisions

    def record(self, name: str) -> ComponentRecord:
        """Return the facts for decisions about a component, its targets aside."""
        if name not in components_of(self._registry.config):
            return ComponentRecord()
        recent = attempts_of(self._journal.state, name)
        attempts = sorted((*recent, *self._orders.attempts(name)), key=lambda each: each.ended)
        candidate, contest = self._inboxes.candidate(name), self._inboxes.contests.of(name)
        known = KnownCandidate(candidate.candidate, candidate.since, "", candidate.not_after)
        return ComponentRecord(
            attempts=tuple(attempts),
            candidate=known if candidate.candidate else None,
            approvals=tuple(self._orders.approvals(name)),
            said=tuple(rejections(self._journal.state, name)),
            left_to_person=self._orders.left_to_person(name),
            held=self._held(name),
            contested=contest.sentence,
            renewed=contest.renewed,
        )

    def _held(self, name: str) -> str:
        """Say why nothing may be started on a component; empty where it may."""
        journal = self._journal
        if journal.no_actor is not None:
            return f"no actor: {journal.no_actor}"
        if journal.clock is not None:
            return f"the clock is not to be believed: {journal.clock}"
        if name in journal.state.frozen:
            return f"it is frozen: {printable(journal.state.frozen[name])}"
        if name in self._orders.acting:
            return "a transaction of it is under way"
        targets = self._registry.targets.values()
        unseen = [each.target for each in targets if each.component == name and not each.last_look]
        return f"{printable(unseen[0])} was not looked at yet" if unseen else ""

    # For people

    def statuses(self, now: float) -> tuple[ComponentStatus, ...]:
        """Return the status of each component at Unix time `now`, by name."""
        components = components_of(self._registry.config)
        return tuple(self._status(name, component, now) for name, component in sorted(components.items()))

    def _status(self, name: str, component: Component, now: float) -> ComponentStatus:
        state = self._journal.state
        decisions = self._table.about(name)
        decision = next((each for each in decisions if not isinstance(each.action, Notify)), None)
        plan = self._orders.plan_of(decision) if decision is not None else ""
        candidate, last = self._inboxes.candidate(name), state.last.get(name)
        failed = self._orders.failed(name)
        failure = (failed.sentence,) if failed is not None else ()
        return ComponentStatus(
            name=name,
            mode=component.mode,
            state=self._state(name, component, decision),
            inbox=inbox_of(name, self._registry.config),
            candidate=candidate,
            decision=decision,
            plan=plan,
            approved_until=self._approved_until(plan, now),
            frozen=state.frozen.get(name),
            last=last,
            failed=failed,
            contested=self._inboxes.contests.of(name).sentence,
            settled=last is not None and self._is_settled(name, last),
            late=state.late.get(name),
            notes=(*failure, *candidate.remarks, *self._unneeded(name, candidate, last)),
            waiting=tuple(self._waiting(name, now)),
            given_up={key: printable(each.sentence) for key, each in state.given_up.items() if name in each.components},
        )

    def _state(self, name: str, component: Component, decision: Decision | None) -> ComponentState:
        if name in self._journal.state.frozen:
            return ComponentState.FROZEN
        if self._journal.no_actor is not None or component.mode is Mode.OBSERVE:
            return ComponentState.OBSERVED
        if decision is not None and decision.status in PENDING:
            return ComponentState.PENDING
        return ComponentState.WAITING if self._inboxes.candidate(name).objections else ComponentState.IDLE

    def _approved_until(self, plan: str, now: float) -> float | None:
        approved = self._journal.state.approved.get(plan)
        return approved.until if approved is not None and now < approved.until else None

    def _waiting(self, name: str, now: float) -> Iterator[Waiting]:
        """Yield the plans for a component that wait for a person, oldest first."""
        for plan, each in self._journal.state.proposals.items():
            if name in each.action.components:
                until, shown = self._approved_until(plan, now), printable(each.shown, 500)
                yield Waiting(plan, each.action.kind, each.action.components, each.at, until, shown)

    def _is_settled(self, name: str, last: RecordedEnding) -> bool:
        """Whether the last failure does not matter any more: its candidate is gone, or an operator said so."""
        if self._journal.state.thawed.get(name, 0.0) >= last.at:
            return True
        untouched = last.outcome in {Outcome.REFUSED, Outcome.ROLLED_BACK}
        if last.kind is not Kind.REPLACE or last.handed or not untouched or not self._inboxes.was_considered(name):
            return False
        candidate = self._inboxes.candidate(name)
        if candidate.objections and not candidate.candidate:
            # It may be the same.
            return False
        return candidate.candidate != last.candidate if last.candidate else candidate.plan != last.plan

    def _unneeded(self, name: str, candidate: CandidateStatus, last: RecordedEnding | None) -> Iterator[str]:
        """Yield a sentence where the candidate was installed already, until another action or candidate."""
        at, why = self._journal.state.unneeded.get(name, (0.0, ""))
        if why and not candidate.candidate and not candidate.objections and (last is None or last.at < at):
            yield f"{moment(at)}: {printable(why)}"


def rejections(state: JournalState, component: str) -> Iterator[Said]:
    """Yield the actions on a component that a person rejected.

    For a candidate, the actor itself says so: it is no longer offered.
    """
    for (kind, name, what), ruling in state.rejected.items():
        if name == component and kind is not Kind.REPLACE:
            yield Said(kind, what, False, ruling.until, ruling.by)
