"""Starting a service that answers nobody: once for each transaction, onto a whole set, where it may run.

A component that freezes is left alone, except for a port that is dead. Its service is started where it answered at the
beginning, nobody but certvigil has stopped it, and the set on disk is recorded or passes every check of a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actions import service, target
from actions.ending import ANSWERS_AGAIN, ANSWERS_NOBODY, Cause, Ending, Failure, Outcome, detail_of
from actions.examine import difference
from actions.guard import Guarded
from actions.journal import Event, JournalError
from actions.plan import Change, FileState, Kind
from actions.set_worth import old_set
from actions.transaction_state import TransactionState
from actions.validate import LiveView, Seen, watch
from actions.verdict import Old
from config.immutable import immutable
from config.service import Service
from config.text import printable


@immutable
class WholeSet:
    """A set on disk that a service may be started onto."""

    name: str
    """For a sentence."""
    files: Mapping[str, FileState | None]
    """By path: the state of each file when the set was judged."""


def start_dead(state: TransactionState, *, patient: bool = True) -> str:
    """Start each dead service that may be started, once; return a sentence about it, printable.

    With `patient`, another writer has until the deadline to write the rest of a set.
    """
    if not state.services_run:
        return ""
    if state.plan.kind is Kind.TRUST:
        return _start_stopped(state) if state.stopped else ""
    return "; ".join(
        _start_once(state, one, names, patient=patient)
        for one in dict.fromkeys(state.services().values())
        if _is_dead(state, names := state.names_of(one))
    )


def _start_stopped(state: TransactionState) -> str:
    """Start what was stopped for the change of a trust store; return a sentence about it.

    It has no endpoint that would tell whether it runs, and runs with any store: better with another writer's than not.
    """
    trouble = state.each_service(service.begin, go_on=True)
    return "its service was started again" if trouble is None else f"its service is down: {trouble.sentence}"


def start_dead_later(state: TransactionState) -> Ending | None:
    """Start, once, the dead services of components that were frozen before; None where nothing is started."""
    if _was_started(state):
        return None
    # Who has stopped a service meanwhile is not known: only a service that failed, by its supervisor, is started.
    state.stopped = state.activated = False
    started = start_dead(state, patient=False)
    if not _was_started(state):
        return None
    frozen = next(each.data for each in reversed(state.records()) if each.event is Event.FROZEN)
    failure = Failure(Cause(frozen["cause"]), f"{frozen['reason']}; {started}")
    ending = Ending.of(state.name, state.plan, Outcome.FROZEN, failure, consequence="")
    state.note_if_possible(Event.FROZEN, components=state.plan.components, **ending.to_record())
    return ending


def _was_started(state: TransactionState) -> bool:
    return any(each.event is Event.STARTED for each in state.records())


def _is_dead(state: TransactionState, names: tuple[str, ...]) -> bool:
    """Whether the service answered at the beginning, and answers nobody now, several times in a row."""
    for number in range(state.context.terms.successes):
        if number:
            state.world.sleep(state.context.terms.interval)
        if not _unanswered(state, state.look(names)):
            return False
    return True


def _unanswered(state: TransactionState, live_view: LiveView) -> tuple[str, ...]:
    """Return, as sentences, where the service answered before and does not now; empty where it answers anywhere."""
    ways = {each.way for each in live_view.served}
    silent = ways & state.baseline.answering
    return () if live_view.answering else tuple(printable(f"{name} ({how})") for name, how in sorted(silent))


def _start_once(state: TransactionState, one: Service, names: tuple[str, ...], *, patient: bool) -> str:
    who = f"{printable(', '.join(names))} {ANSWERS_NOBODY}"
    try:
        if any(each.event is Event.STARTED and names == tuple(each.data["components"]) for each in state.records()):
            return f"{who}, and was started once before"
    except (OSError, JournalError):
        return f"{who}, and was not started: the journal does not tell whether it was started before"
    if why_not := service.may_start(state.world, one, stopped=state.stopped, activated=state.activated):
        return f"{who}, and was not started: {why_not}"
    whole = _awaited_set(state, names) if patient else _set_on_disk(state, names)
    if isinstance(whole, str):
        return f"{who}, and was not started: {whole}"
    return _start(state, one, names, whole)


def _start(state: TransactionState, one: Service, names: tuple[str, ...], whole: WholeSet) -> str:
    """Start a service onto a set that is looked at once more immediately before; return the result."""
    state.note_if_possible(Event.STARTED, components=names, onto=whole.name)
    guarded = Guarded(state.world, one, lambda: difference(state, whole.files, ()))
    # Whatever answers by now is told as of the past.
    who = printable(", ".join(names))
    done = f"{who} {ANSWERS_NOBODY}; it was started once, onto {whole.name}"
    if (trouble := service.begin(guarded, one, state.note_command_if_possible)) is not None:
        return f"{done}: {trouble.sentence}"
    seen = watch(
        state.world,
        lambda: state.look(names),
        lambda live_view: Seen(live_view, _unanswered(state, live_view)),
        state.context.terms,
    )
    if seen.unserved:
        return f"{done}, and still {ANSWERS_NOBODY}"
    return f"after that, {who} answered nobody, until it was started once, onto {whole.name}: it {ANSWERS_AGAIN}"


def _awaited_set(state: TransactionState, names: tuple[str, ...]) -> WholeSet | str:
    """Return `_set_on_disk`, waiting until the deadline for another writer to write the rest of a set."""
    world, terms = state.world, state.context.terms
    end = world.monotonic() + terms.deadline
    while isinstance(whole := _set_on_disk(state, names), str) and state.context.live.fit is not None:
        if world.monotonic() + terms.interval > end:
            break
        world.sleep(terms.interval)
    return whole


def _set_on_disk(state: TransactionState, names: tuple[str, ...]) -> WholeSet | str:
    """Return the set of these components on disk, or why no service may be started onto it."""
    changes = [each for each in state.plan.changes if each.component in names]
    paths = (*(each.path for each in changes), *(path for name, path, _ in state.plan.stands if name in names))
    try:
        files = {path: target.state(state.world, path) for path in paths}
    except OSError as error:
        return f"its files cannot be read: {detail_of(error)}"
    recorded = _recorded_set(state, changes, files) if changes else _standing_set(state, names)
    if recorded is None and (against := _objections(state, names)):
        return f"the files on disk are of no set that is recorded{against}"
    return WholeSet(
        recorded or "the set that somebody else put on disk, which passes every check of a candidate", files
    )


def _recorded_set(
    state: TransactionState, changes: Sequence[Change], files: Mapping[str, FileState | None]
) -> str | None:
    """Return which set of the changes the files are; None where they are neither, or the old set is barred."""
    is_barred = old_set(state).old is Old.BARRED
    if all(files[each.path] == each.after for each in changes):
        return "the new set"
    is_old = all(files[each.path] == each.before for each in changes)
    return "the old set" if is_old and not is_barred else None


def _standing_set(state: TransactionState, names: tuple[str, ...]) -> str | None:
    """Return the set of an activation; None where its files are others now."""
    return "the set of the plan" if state.plan.stands and not difference(state, {}, names) else None


def _objections(state: TransactionState, names: tuple[str, ...]) -> str:
    """Return why the files on disk would be refused as a candidate, as the rest of a sentence."""
    fit = state.context.live.fit
    if fit is None:
        return ", and nobody can judge them"
    try:
        against = [why for name in names if (why := fit(name, state.now()))]
    # Judging comes from outside.
    except Exception as error:  # noqa: BLE001
        against = [f"they could not be judged: {type(error).__name__}"]
    return f", and {'; '.join(against)}" if against else ""
