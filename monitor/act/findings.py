"""Findings about the actions on components: what is wrong with each, and how that goes away."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from actions.ending import Cause, Ground, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.text import printable
from config.vocabulary import Code, ComponentState, Mode, Severity, TargetKind, UnreachableReason
from monitor.act.components import Components
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.status import ComponentStatus, action_target, subjects_of
from monitor.decide.decision import DecisionStatus, kind_of_decision
from monitor.look.job import UNFORESEEN
from monitor.state.cure import curable
from monitor.state.events import Action
from monitor.state.messages import ComponentsChanged
from monitor.state.own import OwnFindings
from monitor.state.pending import awaits_files
from monitor.state.registry import TargetRegistry
from probes.finding import Finding, finding
from probes.judge.time import moment

log = logging.getLogger("certvigil.act")

FAILED_OFTEN: Final = 2
"""Failures in a row of an order that was not begun, after which people are told: the first may be of a moment."""


class ComponentCounts(Protocol):
    """Counts components and the actions on them."""

    def components(self, states: Mapping[str, ComponentState], *, actor: bool) -> None:
        """Say in what state each component is, and whether an actor is there."""

    def waiting(self, plans: Mapping[str, Mapping[Kind, int]], given_up: Mapping[str, int]) -> None:
        """Say how many plans of each kind wait for each component, and how many of its keys were given up."""

    def actions(self, ended: Mapping[Action, int], last: Mapping[Action, float]) -> None:
        """Say how often each component's actions ended how, and when the last one of each did."""


class ActionFindings:
    """Publishes the findings about actions, and has components counted."""

    def __init__(  # noqa: PLR0917 (the parts that it builds on, in the order in which they are made)
        self,
        registry: TargetRegistry,
        journal: JournalFollower,
        inboxes: Inboxes,
        components: Components,
        own: OwnFindings,
        counts: ComponentCounts,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._inboxes = inboxes
        self._components = components
        self._own = own
        self._counts = counts

    def reconfigure(self) -> None:
        """Forget the findings about groups and components that the configuration no longer names."""
        subjects = subjects_of(self._registry.config)
        for state in tuple(self._registry.targets.values()):
            if state.kind is TargetKind.COMPONENT and state.component not in subjects:
                self._registry.remove(state.target, time.time())

    def components_changed(self, _: ComponentsChanged) -> None:
        """Count every component, and publish what is wrong with each now."""
        now = time.time()
        statuses = self._components.statuses(now)
        self._count(statuses)
        self._publish(statuses, now)

    def _count(self, statuses: Sequence[ComponentStatus]) -> None:
        journal = self._journal
        clock = () if journal.clock is None else (finding(Code.CLOCK_SUSPECT, journal.clock),)
        if clock != self._own.of("clock"):
            self._own.report("clock", clock)
        # The labels of a component's series do not change when it joins a group.
        by_component = {name: each for each in statuses for name in each.components}
        states = {name: each.state for name, each in by_component.items()}
        self._counts.components(states, actor=journal.no_actor is None)
        plans = {name: Counter(one.kind for one in each.waiting) for name, each in by_component.items()}
        given_up = Counter(name for each in journal.state.given_up.values() for name in each.components)
        self._counts.waiting(plans, {name: given_up[name] for name in by_component})
        last = journal.state.last.items()
        newest = {(name, ended.kind, ended.outcome): ended.at for name, ended in last}
        self._counts.actions(journal.state.counts, newest)

    def _publish(self, statuses: Sequence[ComponentStatus], now: float) -> None:
        """Publish findings; where no actor was ever met there are none, and until one is missed the old ones stay."""
        journal = self._journal
        if not journal.met or (journal.no_actor is not None and not journal.is_missed):
            return
        for component in statuses:
            if component.mode is Mode.OBSERVE and component.frozen is None and component.last is None:
                continue
            failure = None
            try:
                found = list(findings_of(component))
            # A component whose records make no sense costs the others nothing.
            except Exception:
                log.exception("what is wrong with %s cannot be told", component.name)
                found, failure = [], (str(UnreachableReason.UNFORESEEN), UNFORESEEN)
            if journal.no_actor is not None:
                failure = (str(UnreachableReason.CONNECTION_REFUSED), journal.no_actor)
                found.append(finding(Code.UNREACHABLE, f"no actor: {journal.no_actor}", "actor", Severity.WARNING))
            config = self._registry.config
            waits = partial(
                awaits_files,
                lacks_a_file=component.candidate.lacks_a_file,
                touched=self._inboxes.touched(component.name),
                now=now,
                patience=config.settings.pending,
            )
            self._registry.about(action_target(component.name, config), found, now, failure, waits=waits)


def findings_of(component: ComponentStatus) -> Iterator[Finding]:
    """Yield what is wrong with the actions on a component."""
    yield from _of_its_files(component)
    last = component.last
    # That a component is frozen says how its last transaction ended.
    if last is not None and component.frozen is None and not component.settled and (wrong := _went_wrong(last)):
        yield finding(Code.ACTION_FAILED, f"{wrong}; {_how_to_settle(component, last)}")
    if (failed := component.failed) is not None and failed.times >= FAILED_OFTEN:
        # No count and no time of the last failure: each would be another detail.
        since, way = moment(failed.since), f"`certvigil {failed.kind} {component.name}` tries it now"
        said = f"the {failed.kind} cannot be begun, first tried at {since}, and is tried again: {failed.why}; {way}"
        yield finding(Code.ACTION_FAILED, said, "not begun")
    yield from _of_its_candidate(component)
    yield from _of_its_plan(component)


def _of_its_files(component: ComponentStatus) -> Iterator[Finding]:
    name = component.name
    if component.frozen is not None:
        cure = f"once it is right, `certvigil recover --thaw {name}` says so"
        yield finding(Code.COMPONENT_FROZEN, f"{printable(component.frozen)}; nothing more is done to it: {cure}")
    if component.contested:
        yield finding(Code.REVERTED_BY_ANOTHER, printable(component.contested))
    if (late := component.late) is not None:
        way = f"`certvigil rollback {name} --to {late.backup_set}` puts it in place, and " if late.backup_set else ""
        state = f"`certvigil recover --thaw {name}` says that it is known"
        yield finding(Code.WRITTEN_LATE, f"{late.sentence}; {way}{state}")


def _of_its_candidate(component: ComponentStatus) -> Iterator[Finding]:
    for number, (ground, detail) in enumerate(component.candidate.objections):
        code = Code.INBOX_UNSAFE if ground == Ground.INBOX_UNSAFE else Code.CANDIDATE_REFUSED
        # These say what the code, or the detail itself, says already.
        said = detail if ground in {Ground.INBOX_UNSAFE, Ground.NO_CANDIDATE} else f"{ground}: {detail}"
        # Who rejected it knows.
        severity = Severity.NOTICE if ground == Ground.REJECTED else None
        yield finding(code, said, str(number) if number else "", severity)


def _of_its_plan(component: ComponentStatus) -> Iterator[Finding]:
    if component.decision is None or not component.plan:
        return
    plan, kind = component.plan[:16], kind_of_decision(component.decision)
    # So that the notifier knows what is wrong until then.
    subject = str(kind) if kind is Kind.ACTIVATE else ""
    if component.decision.status is DecisionStatus.AWAIT_APPROVAL:
        what = f"`certvigil approve {plan}` or `certvigil reject {plan}`"
        yield finding(Code.APPROVAL_PENDING, curable(f"the {kind} by plan {plan} waits for approval", what), subject)
    elif component.decision.status is DecisionStatus.PLAN:
        what = f"`certvigil {kind} {component.name} --plan {component.plan}`"
        yield finding(Code.APPROVAL_PENDING, curable(f"the plan {plan} is ready", what), subject)


def _how_to_settle(component: ComponentStatus, last: RecordedEnding) -> str:
    """Say how this finding goes away."""
    state = f"`certvigil recover --thaw {component.name}` says that it is known"
    if last.kind is Kind.REPLACE and not last.handed and last.outcome is not Outcome.FAILED_FORWARD:
        return f"another candidate clears this, and so does an empty inbox {printable(component.inbox)}; or {state}"
    return f"the next change that holds clears this; or {state}"


def _went_wrong(last: RecordedEnding) -> str | None:
    """Say what did not go as it should, a sentence; None where all is well."""
    when = moment(last.at)
    if last.outcome is Outcome.SUPERSEDED:
        return None
    if last.outcome is Outcome.COMMITTED:
        undone = last.kind is Kind.ROLLBACK and last.why
        return f"it was rolled back by itself at {when}, by {printable(last.why)}" if undone else None
    if last.cause is Cause.BUSY:
        return None
    return f"the {last.kind} of {when} was {last.outcome}: {printable(last.reason)}"
