"""The condition of the files of a transaction, compared with its plan; no file is changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from actions import backup, set_worth, target
from actions.backup import BackupError
from actions.ending import Cause, Failure, detail_of
from actions.plan import Change, FileState
from actions.target import Condition
from actions.transaction_state import TransactionState
from actions.verdict import Disk, JournalStage, RecoveryFacts
from config.service import Service
from config.text import printable

Conditions = tuple[tuple[Change, Condition], ...]
"""The changes that may have been made, each with the condition of its file."""


def examine(state: TransactionState) -> Conditions:
    """Return the condition of each file that may have been changed; raises OSError."""
    return tuple((change, condition(state, change)) for change in state.plan.changes[: state.touched])


def condition(state: TransactionState, change: Change) -> Condition:
    """Return the condition of one file; raises OSError."""
    old = None
    if change.written_over:
        with suppress(BackupError):
            taken = backup.load(state.world, state.root, change.component, state.name)
            old = backup.content(state.world, state.root, taken).get(change.path)
    return target.condition(state.world, change, state.name, old)


def foreign(examined: Conditions) -> Failure | None:
    """Return that a file is another writer's; None where no file is."""
    for change, found in examined:
        if found is Condition.OTHER:
            why = f"{printable(change.path)} is neither the old nor the new file: it was left alone"
            return Failure(Cause.CHANGED, why)
    return None


def facts(state: TransactionState, stage: JournalStage, examined: Conditions) -> RecoveryFacts:
    """Return the facts by which recovery decides about a transaction that came as far as `stage`; raises OSError."""
    real = [found for change, found in examined if change.before != change.after]
    if foreign(examined) is not None:
        disk = Disk.FOREIGN
    elif state.touched == len(state.plan.changes) and all(each is Condition.NEW for each in real):
        disk = Disk.NEW
    else:
        disk = Disk.OLD if all(each is Condition.OLD for each in real) else Disk.MIXED
    return RecoveryFacts(
        stage,
        disk,
        old_at_hand=_old_at_hand(state, examined),
        old=set_worth.old_set(state, served=disk is Disk.NEW).old,
        new_at_hand=can_complete(state),
        services_run=state.services_run,
    )


def _old_at_hand(state: TransactionState, examined: Conditions) -> bool:
    try:
        for change, found in examined:
            if found is not Condition.OLD:
                target.old_at_hand(state.world, state.root, change, state.name)
    except BackupError:
        return False
    return True


def can_complete(state: TransactionState, component: str = "") -> bool:
    """Whether the new set of all components, or of one, can be completed; raises OSError.

    Each file that is not new yet then has its new file beside it, and each file that was not touched is still old.
    """
    for number, change in enumerate(state.plan.changes):
        if component and change.component != component:
            continue
        found = condition(state, change)
        if change.before == change.after or (found is Condition.NEW and number < state.touched):
            continue
        is_free = found is not Condition.OTHER if number < state.touched else found is Condition.OLD
        if not is_free or not target.new_at_hand(state.world, change, state.name):
            return False
    return True


def changed(state: TransactionState) -> Failure | None:
    """Return that a file is not the new file any more, after the switch; raises OSError."""
    for change in state.plan.changes:
        if target.state(state.world, change.path) != change.after or target.moved(state.world, change):
            return Failure(Cause.CHANGED, f"{printable(change.path)} was changed by someone else after the switch")
    return None


def why_not_new(state: TransactionState) -> str:
    """Return which file is not the new file, as a sentence; empty where all are."""
    return difference(state, {each.path: each.after for each in state.plan.changes}, state.plan.components)


def why_not_whole(state: TransactionState, one: Service) -> str:
    """Return which file of a service's components is of neither whole set, as a sentence; empty where no file is."""
    names = state.names_of(one)
    changes = [each for each in state.plan.changes if each.component in names]
    not_old = difference(state, {each.path: each.before for each in changes}, names)
    if not not_old or not changes:
        return not_old
    return not_old if difference(state, {each.path: each.after for each in changes}, names) else ""


def difference(state: TransactionState, wanted: Mapping[str, FileState | None], names: Collection[str]) -> str:
    """Return which file differs, as a sentence; empty where none does.

    Compared are the files in `wanted`, by path, the links that lead to them, and the files of the components `names`
    that the plan puts to use without a change.
    """
    world = state.world
    try:
        for path, expected in wanted.items():
            if target.state(world, path) != expected:
                return _changed_by_another(path)
        for each in state.plan.changes:
            if each.path in wanted and target.moved(world, each):
                return f"symbolic links to {printable(each.path)} were changed by someone else"
        for component, path, digest in state.plan.stands:
            found = target.state(world, path) if component in names else None
            if component in names and (found is None or found.sha256 != digest):
                return _changed_by_another(path)
    except OSError as error:
        return f"a file could not be read again: {detail_of(error)}"
    return ""


def _changed_by_another(path: str) -> str:
    return f"{printable(path)} was changed by someone else"
