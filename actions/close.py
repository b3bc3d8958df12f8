"""The end of a transaction in the journal, and tidying up: files beside the targets and old backup sets are removed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from actions import aside, backup, target
from actions.aside import AsideFile, Late
from actions.backup import BackupError, BackupSet, Retention
from actions.dead_service import start_dead
from actions.ending import FROZEN_UNTIL_RECOVERY, Ending, Failure, Outcome, detail_of
from actions.journal import Event, JournalError
from actions.transaction_state import TransactionState
from actions.verdict import Old
from config.text import printable

_EVENTS: Final = {
    Outcome.COMMITTED: Event.COMMITTED,
    Outcome.REFUSED: Event.ROLLED_BACK,
    Outcome.ROLLED_BACK: Event.ROLLED_BACK,
    Outcome.FAILED_FORWARD: Event.FAILED_FORWARD,
    Outcome.SUPERSEDED: Event.SUPERSEDED,
}
"""The record that ends a transaction."""


def end(state: TransactionState, outcome: Outcome, failure: Failure) -> Ending:
    """End with one whole set of files in use, and tidy up."""
    ending = _ending(state, outcome, failure)
    if state.note_if_possible(_EVENTS[outcome], **ending.to_record()):
        # Without that record, recovery needs the files beside the targets.
        try:
            clear(state, keep_backup=True, keep_aside=True)
            _compare(state)
        except OSError as error:
            _remark_left(state, error)
        except (BackupError, JournalError) as error:
            state.remark(str(error))
    return _with_remarks(state, ending)


def abandon(state: TransactionState, failure: Failure) -> Ending:
    """End before the first file was switched."""
    ending = _ending(state, Outcome.REFUSED, failure)
    state.note_if_possible(_EVENTS[Outcome.REFUSED], **ending.to_record())
    try:
        clear(state, keep_backup=False)
    except OSError as error:
        _remark_left(state, error)
    return _with_remarks(state, ending)


def freeze(state: TransactionState, failure: Failure, *, again: bool = False) -> Ending:
    """End with neither set: nothing is removed, and these components are left alone until an operator thaws them.

    With `again`, the obstacle may pass, and each recovery tries again. A service that answers nobody is started once
    where that is right.
    """
    if started := start_dead(state):
        failure = failure.plus(f"; {started}")
    rest = FROZEN_UNTIL_RECOVERY if again else None
    ending = Ending.of(state.name, state.plan, Outcome.FROZEN, failure, consequence=rest)
    if not (again and _is_frozen_for(state, failure.sentence)):
        more = {"again": True} if again else {}
        state.note_if_possible(Event.FROZEN, components=state.plan.components, **ending.to_record(), **more)
    return _with_remarks(state, ending)


def _is_frozen_for(state: TransactionState, reason: str) -> bool:
    """Whether the journal has this reason already."""
    try:
        frozen = [each for each in state.records() if each.event is Event.FROZEN]
    except (OSError, JournalError):
        return False
    return bool(frozen) and bool(frozen[-1].data.get("again")) and frozen[-1].data.get("reason") == reason


def clear(state: TransactionState, *, keep_backup: bool, keep_aside: bool = False) -> None:
    """Remove the files beside the targets, and old backup sets; raises OSError.

    With `keep_aside`, a file that was in the place of a target stays linked for a while.
    """
    kept: list[AsideFile] = []
    for change in state.plan.changes:
        if keep_aside:
            kept += target.keep_aside(state.world, change, state.name)
        else:
            target.clear(state.world, change, state.name)
    _tidy(state, keep_backup=keep_backup, kept=kept)


def clear_accounted(state: TransactionState) -> tuple[str, ...]:
    """Remove files beside the targets whose content is elsewhere too; return the paths that stay. Raises OSError."""
    world = state.world
    known = {each.new_sha256 for each in state.plan.changes}
    for change in state.plan.changes:
        with suppress(OSError):
            found = target.state(world, change.path)
            known.update({found.sha256} if found is not None else ())
        with suppress(BackupError):
            target.intact_copy(world, state.root, change, state.name)
            known.update({change.before.sha256} if change.before is not None else ())
    stays = tuple(
        path
        for change in state.plan.changes
        for path in target.clear_accounted(world, change, state.name, frozenset(known))
    )
    _tidy(state, keep_backup=True)
    return stays


def _tidy(state: TransactionState, *, keep_backup: bool, kept: Sequence[AsideFile] = ()) -> None:
    """Note which files stay, remove old backup sets, and note the transaction as closed; raises OSError."""
    world = state.world
    state.sync_directories()
    strange = [path for each in state.plan.changes for path in target.strangers(world, each, state.name)]
    if strange:
        why = f"{', '.join(strange)}: left alone, being no regular file and not made by certvigil"
        state.remark(printable(why, 2000))
    if kept and not _has_aside(state):
        state.note_if_possible(Event.ASIDE, **aside.to_data(kept, world.now() + state.context.kept_for))
    for component in state.changed_components:
        if not keep_backup and not _is_pinned(state, component):
            backup.discard(world, state.root, component, state.name)
        backup.prune(world, state.root, component, _retention(state, component))
    state.note_if_possible(Event.CLOSED, **({"left": strange} if strange else {}))


def _retention(state: TransactionState, component: str) -> Retention:
    """Return which backup sets of a component are kept."""

    def is_usable(of: BackupSet) -> bool:
        worth = state.context.live.worth
        try:
            content = backup.content(state.world, state.root, of)
            held = {path: data for path, data in content.items() if data is not None}
            return worth is None or worth((component,), held, state.now()).old is not Old.BARRED
        except BackupError:
            return False
        except OSError:
            return True

    return replace(state.context.retention, is_usable=is_usable)


def _has_aside(state: TransactionState) -> bool:
    """Whether the files that stay are in the journal already: tidying is repeated after an interruption."""
    return any(each.event is Event.ASIDE for each in state.records())


def _is_pinned(state: TransactionState, component: str) -> bool:
    try:
        return backup.load(state.world, state.root, component, state.name).pinned
    except BackupError:
        return False


def _compare(state: TransactionState) -> None:
    """Remark on writes to files that stay linked; raises OSError, BackupError, JournalError."""
    kept = state.context.journal_state().aside.get(state.name)
    for data in aside.compare(state.world, state.root, kept) if kept is not None else ():
        state.remark(Late.of(state.note(Event.WRITTEN_LATE, **data)).sentence)


def _ending(state: TransactionState, outcome: Outcome, failure: Failure) -> Ending:
    return Ending.of(state.name, state.plan, outcome, failure)


def _with_remarks(state: TransactionState, ending: Ending) -> Ending:
    return replace(ending, remarks=tuple(state.remarks))


def _remark_left(state: TransactionState, error: OSError) -> None:
    state.remark(f"the files beside the targets could not be removed yet: {detail_of(error)}")
