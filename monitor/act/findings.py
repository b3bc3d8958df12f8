"""Findings about the actions on components: each fault, and how it goes away."""

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
from config.catalogue import NO_ACTOR, OPEN_TRANSACTION
from config.command_reach import command_line
from config.text import Log, Printable, harmless, printable, sentence
from config.vocabulary import Code, ComponentState, Mode, Severity, TargetKind, UnreachableReason
from monitor.act.components import Components
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.status import SHOWN, ComponentStatus, action_target, subjects_of
from monitor.decide.decision import DecisionStatus, kind_of_decision
from monitor.decide.situation import Result, result_of
from monitor.look.job import UNFORESEEN
from monitor.state.cure import curable
from monitor.state.events import CountedAction, Queue
from monitor.state.messages import ComponentsChanged
from monitor.state.own import OwnFindings
from monitor.state.pending import awaits_files
from monitor.state.registry import TargetRegistry
from probes.finding import Finding, finding
from probes.judge.time import moment

log: Log = logging.getLogger("certvigil.act")

_NOTHING: Final = Printable("")
FAILED_OFTEN: Final = 2
"""Failures in a row of an order that was not begun, after which people are told: the first may be of a moment."""


class ComponentCounts(Protocol):
    """Counts components and the actions on them."""

    def components(self, states: Mapping[str, ComponentState], *, actor: bool) -> None:
        """Set the state of each component, and whether an actor answers."""

    def waiting(self, plans: Mapping[str, Mapping[Kind, int]], given_up: Mapping[str, int]) -> None:
        """Say how many plans of each kind wait for each component, and how many of its keys were given up."""

    def certificates(self, requests: Mapping[str, Queue], offers: Mapping[str, Queue]) -> None:
        """Say how many requests and offers wait for each component, and since when the oldest of each."""

    def actions(self, ended: Mapping[CountedAction, int], last: Mapping[CountedAction, float]) -> None:
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
        subjects = {*subjects_of(self._registry.config), *self._registry.config.changeable_stores}
        for state in tuple(self._registry.targets.values()):
            if state.kind is TargetKind.COMPONENT and state.component not in subjects:
                self._registry.remove(state.target, time.time())

    def components_changed(self, _: ComponentsChanged) -> None:
        """Count every component, and publish its findings."""
        now = time.time()
        statuses = self._components.statuses(now)
        self._count(statuses)
        self._publish(statuses, now)
        self._publish_stores(now)

    def _count(self, statuses: Sequence[ComponentStatus]) -> None:
        journal = self._journal
        clock = () if journal.clock is None else (finding(Code.CLOCK_SUSPECT, harmless(journal.clock)),)
        if clock != self._own.of("clock"):
            self._own.report("clock", clock)
        # The labels of a component's series do not change when it joins a group.
        by_component = {name: each for each in statuses for name in each.components}
        states = {name: each.state for name, each in by_component.items()}
        self._counts.components(states, actor=journal.no_actor is None)
        plans = {name: Counter(one.kind for one in each.waiting) for name, each in by_component.items()}
        given_up = Counter(name for each in journal.state.given_up.values() for name in each.components)
        self._counts.waiting(plans, {name: given_up[name] for name in by_component})
        requests = journal.state.requests.values()
        made = {name: [each.at for each in requests if name in each.components] for name in by_component}
        self._counts.certificates(
            {name: (len(at), min(at, default=None)) for name, at in made.items()},
            {name: (each.candidate.offers, each.candidate.oldest_offer) for name, each in by_component.items()},
        )
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
                log.exception("the findings on %s cannot be told", harmless(component.name))
                found, failure = [], (str(UnreachableReason.UNFORESEEN), UNFORESEEN)
            if journal.no_actor is not None:
                failure = (str(UnreachableReason.CONNECTION_REFUSED), journal.no_actor)
                is_open = any(map(journal.state.is_unfinished, component.components))
                found.append(no_actor(journal.no_actor, is_open=is_open))
            config = self._registry.config
            waits = partial(
                awaits_files,
                lacks_a_file=component.candidate.lacks_a_file,
                touched=self._inboxes.touched(component.name),
                now=now,
                patience=config.settings.pending,
            )
            self._registry.about(action_target(component.name, config), found, now, failure, waits=waits)

    def _publish_stores(self, now: float) -> None:
        """Publish that a trust store is frozen: a person asked for each change, and knows any other end."""
        config, state = self._registry.config, self._journal.state
        for name in config.changeable_stores:
            target = action_target(name, config)
            found = [_frozen(name, state.frozen[name])] if name in state.frozen else []
            if found or target.target in self._registry.targets:
                self._registry.about(target, found, now)


def no_actor(why: str, *, is_open: bool) -> Finding:
    """Return the finding that no actor is there; `is_open` says that a transaction of the component has no end."""
    said = sentence("{}: {}", harmless(NO_ACTOR), harmless(why))
    if is_open:
        # It comes first: a long reason must not cut it off.
        said = sentence("{}: {}; {}", harmless(NO_ACTOR), harmless(OPEN_TRANSACTION), harmless(why))
        said = curable(said, sentence("start the actor, or run `certvigil recover`: either finishes or undoes it"))
    return finding(Code.UNREACHABLE, said, Printable("actor"), Severity.WARNING)


def _take_out() -> Printable:
    """Return how an offer that cannot be used ceases to be told."""
    return sentence(
        "a usable offer, or a candidate in the inbox, goes before it; `certvigil offer --list` has its name, by which "
        "whoever offered it, or an operator, takes it out: `certvigil offer --withdraw NAME`"
    )


def _frozen(name: str, why: str) -> Finding:
    thaw = sentence("`certvigil recover --thaw {}`", printable(name))
    cure = sentence("once it is in order, {} releases it", thaw)
    return finding(Code.COMPONENT_FROZEN, sentence("{}; nothing more is done to it: {}", printable(why, 2000), cure))


def findings_of(component: ComponentStatus) -> Iterator[Finding]:
    """Yield the findings about the actions on a component."""
    yield from _of_its_files(component)
    last = component.last
    # That a component is frozen says how its last transaction ended.
    if last is not None and component.frozen is None and not component.settled and (wrong := _went_wrong(last)):
        yield finding(Code.ACTION_FAILED, curable(wrong, _how_to_settle(component, last)))
    if (failed := component.failed) is not None and failed.times >= FAILED_OFTEN:
        # No count and no time of the last failure: each would be another detail.
        way = sentence("try it now by `{}`", _command(failed.kind, component.name))
        detail = sentence(
            "the {} cannot be begun, first tried at {}, and is tried again: {}",
            failed.kind,
            moment(failed.since),
            failed.why,
        )
        yield finding(Code.ACTION_FAILED, curable(detail, way), Printable("not begun"))
    yield from _of_its_candidate(component)
    yield from _of_its_plan(component)


def _of_its_files(component: ComponentStatus) -> Iterator[Finding]:
    thaw = _thaw(component)
    if component.frozen is not None:
        yield _frozen(component.name, component.frozen)
    if component.contested:
        yield finding(Code.REVERTED_BY_ANOTHER, component.contested)
    if (late := component.late) is not None:
        name, kept = printable(component.name), printable(late.backup_set)
        back = sentence("`certvigil rollback {} --to {}` puts it in place, and ", name, kept) if kept else _NOTHING
        yield finding(Code.WRITTEN_LATE, sentence("{}; {}{} clears this", harmless(late.sentence), back, thaw))


def _of_its_candidate(component: ComponentStatus) -> Iterator[Finding]:
    for number, (ground, detail) in enumerate(component.candidate.objections):
        code = Code.INBOX_UNSAFE if ground == str(Ground.INBOX_UNSAFE) else Code.CANDIDATE_REFUSED
        # The code, or the detail itself, says the same as these grounds.
        is_offered = ground == str(Ground.NO_OFFER)
        is_said = is_offered or ground in {str(Ground.INBOX_UNSAFE), str(Ground.NO_CANDIDATE)}
        # Who rejected it knows; and who may offer must not be able to alarm anybody.
        severity = Severity.NOTICE if is_offered or ground == str(Ground.REJECTED) else None
        subject = sentence("{}", number) if number else _NOTHING
        said = detail if is_said else sentence("{}: {}", ground, detail)
        yield finding(code, curable(said, _take_out()) if is_offered else said, subject, severity)


def _of_its_plan(component: ComponentStatus) -> Iterator[Finding]:
    if component.decision is None or not component.plan:
        return
    plan, kind = printable(component.plan[:16]), kind_of_decision(component.decision)
    # The notifier tells the fault that an activation would mend.
    subject = sentence("{}", kind) if kind is Kind.ACTIVATE else _NOTHING
    shown = next((each.shown for each in component.waiting if each.plan == component.plan), _NOTHING)
    if not shown and component.plan == component.candidate.plan:
        shown = component.candidate.about
    about = sentence(": {}", printable(shown, SHOWN)) if shown else _NOTHING
    if component.decision.status is DecisionStatus.AWAIT_APPROVAL:
        waits = sentence("the {} by plan {} waits for approval{}", kind, plan, about)
        by = sentence("`certvigil approve {0}` or `certvigil reject {0}`", plan)
        yield finding(Code.APPROVAL_PENDING, curable(waits, by), subject)
    elif component.decision.status is DecisionStatus.PLAN:
        by = sentence("`{}`", _command(kind, component.name, "--plan", component.plan))
        yield finding(Code.APPROVAL_PENDING, curable(sentence("the plan {} is ready{}", plan, about), by), subject)


def _how_to_settle(component: ComponentStatus, last: RecordedEnding) -> Printable:
    """Say how this finding goes away."""
    settling = _settling(component, last)
    if last.cause is Cause.INTERRUPTED and not last.why:
        # Nobody tries it again by itself, and nothing was wrong with it.
        return sentence("ask for the {} again, since it was only interrupted; or {}", last.kind, settling)
    return settling


def _settling(component: ComponentStatus, last: RecordedEnding) -> Printable:
    thaw = _thaw(component)
    if result_of(last.outcome, last.cause) is Result.TRANSIENT and last.why:
        thaw = sentence("{}, which also ends the wait for the next attempt", thaw)
    if last.kind is Kind.REPLACE and not last.handed and last.outcome is not Outcome.FAILED_FORWARD:
        inbox = printable(component.inbox)
        return sentence("give another candidate, empty the inbox {}, or run {}", inbox, thaw)
    return sentence("have another change of it hold, or run {}", thaw)


def _command(*words: str) -> Printable:
    return harmless(command_line(*map(printable, words)))


def _thaw(component: ComponentStatus) -> Printable:
    return sentence("`certvigil recover --thaw {}`", printable(component.name))


def _went_wrong(last: RecordedEnding) -> Printable | None:
    """Return the failure of an ending, a sentence; None where all is well."""
    when = moment(last.at)
    if last.outcome is Outcome.SUPERSEDED:
        return None
    if last.outcome is Outcome.COMMITTED:
        undone = last.kind is Kind.ROLLBACK and last.why and not last.approved
        return sentence("it was rolled back by itself at {}, by {}", when, printable(last.why)) if undone else None
    if last.cause is Cause.BUSY:
        return None
    return sentence("the {} of {} was {}: {}", last.kind, when, last.outcome, printable(last.reason))
