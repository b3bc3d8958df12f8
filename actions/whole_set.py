"""Making the files of a transaction one whole set: the old set put back, or the new set completed, by renames."""

from __future__ import annotations

from typing import Final

from actions import target
from actions.backup import BackupError
from actions.ending import Cause, Failure, detail_of
from actions.examine import Conditions, can_complete, condition, examine, foreign
from actions.journal import Event
from actions.set_worth import old_set
from actions.target import Condition, ThirdPartyError
from actions.transaction_state import TransactionState
from actions.verdict import Old
from config.text import printable

_TRIES: Final = 3
"""Attempts to put old files back, after which their medium counts as failing."""


def put_back(state: TransactionState) -> tuple[Failure | None, bool]:
    """Put the old files back, in several attempts; return the failure, and whether it may pass with time.

    A medium that fails once must not leave a mixed set until somebody calls for a recovery.
    """
    problem = None
    # A file that is written over has been tried again already, and its content can no longer be told by reading it.
    tries = 1 if any(each.written_over for each in state.plan.changes) else _TRIES
    for attempt in range(tries):
        if attempt:
            state.world.sleep(state.context.terms.interval)
        try:
            return _restore(state), False
        except ThirdPartyError as error:
            return Failure(Cause.CHANGED, str(error)), False
        except BackupError as error:
            return Failure(Cause.STORAGE, f"an old file could not be put back: {error}"), False
        except OSError as error:
            problem = Failure(Cause.STORAGE, f"an old file could not be put back: {detail_of(error)}")
    return problem, True


def _restore(state: TransactionState) -> Failure | None:
    """Put the old files back; where a file is another writer's, only those of other components.

    Everything that must be written is written first: then the whole set goes back by renames. Raises OSError,
    BackupError, ThirdPartyError.
    """
    examined = examine(state)
    if (problem := foreign(examined)) is not None:
        make_others_whole(state, examined)
        return problem
    back = [
        change
        for change, found in reversed(examined)
        if found is not Condition.OLD or (state.distrusted and change.written_over)
    ]
    try:
        for change in back:
            target.bring(state.world, state.root, change, state.name)
    except BackupError:
        # The set may not stay mixed.
        if can_complete(state):
            complete(state)
        raise
    for change in back:
        target.restore(state.world, state.root, change, state.name)
    settle(state)
    for change, found in examine(state):
        if found is not Condition.OLD:
            return Failure(Cause.STORAGE, f"{printable(change.path)} was put back, and is still not the old file")
    return None


def make_others_whole(state: TransactionState, examined: Conditions) -> None:
    """Make each component's set whole, except where a file is another writer's; raises OSError, ThirdPartyError.

    A component gets its old set, unless that set may not come back or is lost, or its new set is served already.
    """
    theirs = {change.component for change, found in examined if found is Condition.OTHER}
    barred = old_set(state).old is Old.BARRED
    for component in dict.fromkeys(each.component for each in state.plan.changes if each.component not in theirs):
        own = tuple((change, found) for change, found in examined if change.component == component)
        if not _is_whole(state, component, own, barred=barred):
            _make_whole(state, component, own, barred=barred)
    settle(state)


def _is_whole(state: TransactionState, component: str, own: Conditions, *, barred: bool) -> bool:
    """Whether the files of a component are its old set, or its new set, which is to stay."""
    kinds = {found for change, found in own if change.before != change.after}
    if kinds <= {Condition.OLD}:
        return True
    count = sum(each.component == component for each in state.plan.changes)
    is_new = kinds == {Condition.NEW} and len(own) == count
    return is_new and (barred or _has_taken_up_the_new(state, component))


def _has_taken_up_the_new(state: TransactionState, component: str) -> bool:
    """Whether the service of a component serves its new set; a service that is down yet will."""
    return not state.services_run or state.serves_new(state.look((component,)))


def _make_whole(state: TransactionState, component: str, own: Conditions, *, barred: bool) -> None:
    """Put the old files of a component back, or complete its new set where the old set is barred or lost."""
    back = [change for change, found in reversed(own) if found is not Condition.OLD]
    try:
        for change in () if barred else back:
            target.bring(state.world, state.root, change, state.name)
    except BackupError:
        back = []
    if barred or not back:
        if can_complete(state, component):
            complete(state, component)
        return
    for change in back:
        target.restore(state.world, state.root, change, state.name)


def complete(state: TransactionState, component: str = "") -> None:
    """Put the rest of the new files in place, of all components or of one; raises OSError, ThirdPartyError."""
    for number, change in enumerate(state.plan.changes):
        if component and change.component != component:
            continue
        is_new = condition(state, change) is Condition.NEW and not (state.distrusted and change.written_over)
        if change.before == change.after or is_new:
            continue
        state.touched = max(state.touched, number + 1)
        target.complete(state.world, change, state.name)
        state.note_if_possible(Event.SWITCHED, number=number)
    state.touched = state.touched if component else len(state.plan.changes)
    settle(state)


def settle(state: TransactionState) -> None:
    """Have the targets as they are reach the medium: the process that changed them may have been killed.

    Raises OSError.
    """
    for change in state.plan.changes:
        target.settle(state.world, change)
    state.sync_directories()
