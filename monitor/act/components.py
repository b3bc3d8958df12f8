"""The status of each group and component that certvigil may change, put together from the other parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from actions.ending import Outcome
from actions.journal_state import JournalState, RecordedEnding
from actions.plan import Kind
from config.policy import Notify
from config.text import Printable, printable, sentence
from config.vocabulary import ComponentState, Mode
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.orders import Orders
from monitor.act.status import (
    SHOWN,
    CandidateStatus,
    ComponentStatus,
    Subject,
    Waiting,
    inbox_of,
    subject_named,
    subjects_of,
)
from monitor.decide.decision import PENDING, Decision
from monitor.decide.gather import ComponentRecord
from monitor.decide.history import attempts_of_all
from monitor.decide.situation import KnownCandidate, Said
from monitor.decide.table import DecisionTable
from monitor.state.registry import TargetRegistry
from probes.judge.time import moment


class Components:
    """The groups and components that have services; it keeps nothing itself."""

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
        """Return the facts for decisions about a group or component, its targets aside."""
        subject = subject_named(name, self._registry.config)
        if subject is None:
            return ComponentRecord()
        recent = attempts_of_all(self._journal.state, subject.members)
        attempts = sorted((*recent, *self._orders.attempts(name)), key=lambda each: each.ended)
        candidate, contest = self._inboxes.candidate(name), self._inboxes.contests.of(name)
        known = KnownCandidate(candidate.candidate, candidate.since, "", candidate.not_after)
        return ComponentRecord(
            attempts=tuple(attempts),
            candidate=known if candidate.candidate else None,
            approvals=tuple(self._orders.approvals(name)),
            said=tuple(rejected_actions(self._journal.state, subject.members)),
            left_to_person=self._orders.left_to_person(name),
            held=self._held(subject),
            contested=contest.sentence,
            renewed=contest.renewed,
        )

    def _held(self, subject: Subject) -> str:
        """Say why nothing may be started on a group or component; empty where it may."""
        journal = self._journal
        if journal.no_actor is not None:
            return f"no actor: {journal.no_actor}"
        if journal.clock is not None:
            return f"the clock is not to be believed: {journal.clock}"
        if (frozen := _frozen(journal.state, subject)) is not None:
            return f"it is frozen: {printable(frozen)}"
        if not set(subject.members).isdisjoint(self._orders.acting):
            return "a transaction of it is under way"
        names = {subject.name, *subject.members}
        targets = self._registry.targets.values()
        unseen = [each.target for each in targets if each.component in names and not each.last_look]
        return f"{printable(unseen[0])} was not looked at yet" if unseen else ""

    # For people

    def statuses(self, now: float) -> tuple[ComponentStatus, ...]:
        """Return the status of each group, and of each component of none, at Unix time `now`, by name."""
        return tuple(self._status(each, now) for _, each in sorted(subjects_of(self._registry.config).items()))

    def _status(self, subject: Subject, now: float) -> ComponentStatus:
        name, state = subject.name, self._journal.state
        decisions = self._table.about(name)
        decision = next((each for each in decisions if not isinstance(each.action, Notify)), None)
        plan = self._orders.plan_of(decision) if decision is not None else ""
        candidate = self._inboxes.candidate(name)
        lasts = [state.last[each] for each in subject.members if each in state.last]
        last = max(lasts, key=lambda each: each.at, default=None)
        late = [state.late[each] for each in subject.members if each in state.late]
        failed = self._orders.failed(name)
        failure = (failed.sentence,) if failed is not None else ()
        return ComponentStatus(
            name=name,
            mode=subject.mode,
            state=self._state(subject, decision),
            inbox=inbox_of(name, self._registry.config),
            candidate=candidate,
            decision=decision,
            plan=plan,
            approved_until=self._approved_until(plan, now),
            frozen=_frozen(state, subject),
            last=last,
            failed=failed,
            contested=self._inboxes.contests.of(name).sentence,
            settled=last is not None and self._is_settled(name, last),
            late=max(late, key=lambda each: each.written, default=None),
            notes=(
                *_under_way(state, subject),
                *failure,
                *candidate.remarks,
                *self._unneeded(subject, candidate, last),
                *_requests(state, name, now),
            ),
            waiting=tuple(self._waiting(subject, now)),
            given_up={
                key: printable(each.sentence)
                for key, each in state.given_up.items()
                if not set(subject.members).isdisjoint(each.components)
            },
            members=subject.members if subject.is_group else (),
        )

    def _state(self, subject: Subject, decision: Decision | None) -> ComponentState:
        name = subject.name
        if _frozen(self._journal.state, subject) is not None:
            return ComponentState.FROZEN
        if self._journal.no_actor is not None or subject.mode is Mode.OBSERVE:
            return ComponentState.OBSERVED
        if decision is not None and decision.status in PENDING:
            return ComponentState.PENDING
        return ComponentState.WAITING if self._inboxes.candidate(name).objections else ComponentState.IDLE

    def _approved_until(self, plan: str, now: float) -> float | None:
        approved = self._journal.state.approved.get(plan)
        return approved.until if approved is not None and now < approved.until else None

    def _waiting(self, subject: Subject, now: float) -> Iterator[Waiting]:
        """Yield the plans for a group or component that wait for a person, oldest first."""
        for plan, each in self._journal.state.proposals.items():
            if not set(subject.members).isdisjoint(each.action.components):
                until, shown = self._approved_until(plan, now), printable(each.shown, SHOWN)
                yield Waiting(plan, each.action.kind, each.action.components, each.at, until, shown, each.group)

    def _is_settled(self, name: str, last: RecordedEnding) -> bool:
        """Whether the last failure does not matter any more: its candidate is gone, or an operator said so."""
        if all(self._journal.state.thawed.get(each, 0.0) >= last.at for each in last.components):
            return True
        untouched = last.outcome in {Outcome.REFUSED, Outcome.ROLLED_BACK}
        if last.kind is not Kind.REPLACE or last.handed or not untouched or not self._inboxes.was_considered(name):
            return False
        candidate = self._inboxes.candidate(name)
        if candidate.objections and not candidate.candidate:
            # It may be the same.
            return False
        return candidate.candidate != last.candidate if last.candidate else candidate.plan != last.plan

    def _unneeded(self, subject: Subject, candidate: CandidateStatus, last: RecordedEnding | None) -> Iterator[str]:
        """Yield a sentence where the candidate was installed already, until another action or candidate."""
        at, why = max(self._journal.state.unneeded.get(name, (0.0, "")) for name in subject.members)
        if why and not candidate.candidate and not candidate.objections and (last is None or last.at < at):
            yield f"{moment(at)}: {printable(why)}"


def _under_way(state: JournalState, subject: Subject) -> Iterator[Printable]:
    """Yield a sentence about each transaction of a group or component that has no end yet."""
    for name, begin in state.under_way.items():
        plan = begin.data.get("plan", begin.data)
        if not set(subject.members).isdisjoint(map(str, plan.get("components", ()))):
            kind, since = printable(str(plan.get("kind", "transaction"))), moment(begin.at)
            at = state.undone.get(name)
            undoing = Printable("") if at is None else sentence("; the former files are put back since {}", moment(at))
            yield sentence("the {} of {} is under way{}", kind, since, undoing)


def _frozen(state: JournalState, subject: Subject) -> str | None:
    """Return why a group or component is frozen: one frozen member keeps the others from being changed."""
    found = [(name, state.frozen[name]) for name in subject.members if name in state.frozen]
    if not found:
        return None
    name, why = found[0]
    of_it = [each for each, _ in found if state.froze.get(each) == state.froze.get(name)]
    # Where one transaction froze all, its reason says who is at fault.
    return why if len(of_it) == len(subject.members) else f"{', '.join(of_it)}: {why}"


def rejected_actions(state: JournalState, components: Collection[str]) -> Iterator[Said]:
    """Yield the actions on one of these components that a person rejected.

    For a candidate, the actor itself says so: it is no longer offered.
    """
    for (kind, name, what), ruling in state.rejected.items():
        if name in components and kind is not Kind.REPLACE:
            yield Said(kind, what, False, ruling.until, ruling.by)


def _requests(state: JournalState, subject: str, now: float) -> Iterator[str]:
    """Yield the requests for a certificate that wait for a group or component, sentences."""
    for each in state.requests.values():
        if each.subject == subject:
            over = Printable("; its time is over") if now >= each.until else Printable("")
            yield sentence("a request waits for its certificate: {}{}", each.sentence, over)
