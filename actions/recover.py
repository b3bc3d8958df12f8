"""After a crash: every transaction that did not end is finished or undone, as the disk and the journal tell."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from actions.backup import BackupError
from actions.close import abandon, clear, clear_accounted, freeze
from actions.dead_service import start_dead_later
from actions.ending import Cause, Ending, Failure, Outcome, detail_of
from actions.examine import Conditions, examine, facts, foreign
from actions.give_way import give_way
from actions.journal import ENDED, Event, JournalError, Record
from actions.journal_state import frozen
from actions.lock import Busy, acquire
from actions.orphan import settle_commands
from actions.plan import Ill, plan_from_json
from actions.rollback import stay_unseen, undo
from actions.set_worth import why_unusable
from actions.target import ThirdPartyError
from actions.transaction import commit, conclude, forward
from actions.transaction_state import TransactionContext, TransactionState
from actions.validate import live_view_from_json
from actions.verdict import Disk, JournalStage, Old, RecoveryFacts, RecoveryVerdict, decide, stage_of
from actions.whole_set import complete, make_others_whole, settle
from config.immutable import immutable
from config.text import printable, sentence

MOST_ATTEMPTS: Final = 11
"""Attempts of recovery at one transaction: ten interruptions in a row, and one more attempt that may end it.

What interrupts them all may be a command of the service, so that there is an end.
"""
_FOR_NOW: Final = frozenset({errno.EAGAIN, errno.ETXTBSY})
"""How opening a file fails while another process has a lease on it, or runs it."""


def recover(context: TransactionContext, *, services_run: bool = True) -> tuple[Ending, ...]:
    """Finish or undo every transaction that neither ended nor is under way elsewhere; a repetition changes nothing.

    Without `services_run`, as at boot before services are started, files are put right and services left alone. A
    transaction whose files cannot be read or changed now is left for the next recovery; its ending says so, and the
    others go on. Raises JournalError where the journal cannot be trusted or written, OSError where the state cannot
    be used: then nothing may be started.
    """
    context.prepare()
    # Commands that a killed process left would act on files and services during the recovery.
    settle_commands(context)
    names = tuple(context.journal_state().unfinished)
    endings = [_unless_unusable(context, name, partial(_recover, services_run=services_run)) for name in names]
    if services_run:
        journal_state = context.journal_state()
        dead = dict.fromkeys(each for each in journal_state.froze.values() if each not in journal_state.unfinished)
        endings += [_unless_unusable(context, name, _start_later) for name in dead]
    return tuple(ending for ending in endings if ending is not None)


def _unless_unusable(
    context: TransactionContext, name: str, act: Callable[[TransactionContext, str], Ending | None]
) -> Ending | None:
    """Return the ending of one transaction; where a file of it cannot be used, that it is left for later."""
    try:
        return act(context, name)
    except (OSError, BackupError) as error:
        later = sentence("; once that is mended, `certvigil recover` finishes it, and so does the next action")
        if isinstance(error, OSError) and error.errno in _FOR_NOW:
            later = sentence("; another process holds that file (it has a lease, or runs the file){}", later)
        detail = detail_of(error) if isinstance(error, OSError) else str(error)
        why = printable(f"files of an interrupted transaction could not be put right yet: {detail}", 2000)
        plan = _resume(context, _records_of(context, name)).plan
        failure = Failure(Cause.STORAGE, why)
        return Ending.of(name, plan, Outcome.REFUSED, failure, consequence=later)


def _start_later(context: TransactionContext, name: str) -> Ending | None:
    """Start the services of frozen components that failed and answer nobody, once; None where nothing is started."""
    state = _resume(context, _records_of(context, name))
    locks = acquire(context.world, context.locks, state.plan.components)
    if isinstance(locks, Busy):
        return None
    try:
        return start_dead_later(state)
    finally:
        with suppress(OSError):
            locks.release()


@immutable
class NotWhole:
    """A component cannot be thawed, since its files on disk are no whole set."""

    component: str
    why: str
    """Printable, the end of a sentence."""


@immutable
class KeptPaths:
    """Files beside the targets that stay: their content may be nowhere else."""

    paths: tuple[str, ...]


def thaw(context: TransactionContext, component: str) -> Busy | NotWhole | KeptPaths | None:
    """Take an operator's word that a component is right, after a check that the set on disk is whole, key included.

    Files kept beside those of a frozen component are removed where their content is known to be elsewhere too. Where
    the set is not whole, nothing is removed or noted. Raises JournalError, OSError.
    """
    context.prepare()
    locks = acquire(context.world, context.locks, (component,))
    if isinstance(locks, Busy):
        return locks
    try:
        return _thaw(context, component)
    finally:
        locks.release()


def _thaw(context: TransactionContext, component: str) -> NotWhole | KeptPaths | None:
    records = tuple(context.journal.records())
    still = frozen(records)
    if component not in still:
        # Decisions about it start afresh too: earlier failures and contests no longer count.
        _note_thawed(context, component)
        return None
    froze = [each for each in records if each.event is Event.FROZEN and component in each.data["components"]]
    latest = {each.transaction: each for each in froze}
    states = {name: _resume(context, _records_of(context, name)) for name in latest}
    for state in states.values():
        if why := why_unusable(state, component):
            return NotWhole(component, why)
    kept: tuple[str, ...] = ()
    for name, record in latest.items():
        # Components that froze together: the last to be thawed removes the files kept for all. That comes first: a
        # process that is killed meanwhile leaves the component frozen, to be thawed again.
        stays: tuple[str, ...] = ()
        if not (still.keys() & set(record.data["components"])) - {component}:
            stays = clear_accounted(states[name])
        states[name].note(Event.THAWED, components=[component], **({"kept": stays} if stays else {}))
        kept += stays
    return KeptPaths(kept) if kept else None


def _note_thawed(context: TransactionContext, component: str) -> None:
    record = Record(context.world.now(), "", Event.THAWED, {"components": [component], **context.asked})
    context.journal.append(record)
    context.told(record)


def _recover(context: TransactionContext, name: str, *, services_run: bool) -> Ending | None:
    records = _records_of(context, name)
    plan = _resume(context, records).plan
    locks = acquire(context.world, context.locks, plan.components)
    if isinstance(locks, Busy):
        busy = Failure(Cause.BUSY, f"not recovered now: {locks.sentence}")
        return Ending.of(name, plan, Outcome.REFUSED, busy, consequence="")
    try:
        # The process that held the locks until now may have ended it.
        if name not in context.journal_state().unfinished:
            return None
        records = _records_of(context, name)
        return _end(_resume(context, records), records, services_run=services_run)
    finally:
        with suppress(OSError):
            locks.release()


def left_to_others(ending: Ending) -> bool:
    """Whether recovery left the transaction to another process, which is at work on the components."""
    return (ending.outcome, ending.cause) == (Outcome.REFUSED, Cause.BUSY)


def _records_of(context: TransactionContext, name: str) -> Sequence[Record]:
    # A command is no step: the configuration test of the old files is run before the beginning.
    steps = (each for each in context.journal.records() if each.event not in (Event.COMMAND, Event.COMMAND_OVER))
    return [each for each in steps if each.transaction == name]


def _resume(context: TransactionContext, records: Sequence[Record]) -> TransactionState:
    """Return the state that the transaction may have come to, by its records."""
    begin = records[0].data
    try:
        plan, baseline = plan_from_json(begin["plan"]), live_view_from_json(begin["baseline"])
        mends = {str(name): Ill(ill) for name, ill in begin.get("mends", {}).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"the plan of transaction {records[0].transaction} cannot be read") from error
    events = {each.event for each in records}
    state = TransactionState(
        context,
        records[0].transaction,
        plan,
        mends,
        failing=bool(begin.get("failing")),
        baseline=baseline,
        touched=_touched(records, len(plan.changes)),
        activated=Event.CONFIG_TESTED in events,
        distrusted=any(each.event is Event.FROZEN and each.data.get("again") for each in records),
    )
    # Services that do not start with the old files are stopped only once the new files are tested.
    since = Event.CONFIG_TESTED if state.no_return else Event.INTENT
    state.stopped = since in events and any(each.quiesce for each in state.services().values())
    return state


def _touched(records: Sequence[Record], changes: int) -> int:
    """Return the number of changes, from the first on, that may have been made."""
    touched = 0
    for each in records:
        if each.event is Event.INTENT:
            touched = 1
        elif each.event is Event.SWITCHED:
            # The next change may have been made without its record.
            touched = max(touched, int(each.data["number"]) + 2)
        elif each.event is Event.ROLLING_BACK:
            touched = int(each.data["touched"])
        touched = min(touched, changes)
    return touched


def _end(state: TransactionState, records: Sequence[Record], *, services_run: bool) -> Ending:
    """Bring a transaction to its end, by the table of `verdict.py`."""
    ended = next((each for each in records if each.event in ENDED), None)
    if ended is not None:
        return _tidy(state, ended)
    state.services_run = services_run
    stage, why = stage_of(records), _why(records)
    if stage is JournalStage.PREPARED:
        return abandon(state, Failure(Cause.INTERRUPTED, "it was interrupted before any file was switched"))
    examined: Conditions = ()
    unreadable = ""
    try:
        settle(state)
        examined = examine(state)
        known = facts(state, stage, examined)
    except OSError as error:
        known = RecoveryFacts(stage, Disk.UNREADABLE, services_run=services_run)
        unreadable = f"a file cannot be read: {detail_of(error)}"

    def attempt() -> Failure | None:
        # Attempts count only from here on: if anything interrupted the steps before, the files are a whole set now.
        if sum(each.event is Event.RECOVERING for each in records) >= MOST_ATTEMPTS:
            return Failure(Cause.INTERRUPTED, f"recovery itself was interrupted {MOST_ATTEMPTS} times")
        state.note(Event.RECOVERING)
        return None

    match decide(known):
        case RecoveryVerdict.COMMIT:
            return commit(state)
        case RecoveryVerdict.FORWARD:
            return _go_forward(state, known, why, attempt)
        case RecoveryVerdict.UNDO:
            return undo(state, why, ready=attempt if services_run else lambda: None)
        case RecoveryVerdict.FREEZE:
            return _freeze(state, examined, why, unreadable)


def _freeze(state: TransactionState, examined: Conditions, why: Failure, unreadable: str) -> Ending:
    """Freeze, with no component's set mixed except where a file is another writer's."""
    found, again = unreadable or "the old set cannot be had whole any more", bool(unreadable)
    try:
        if not unreadable and (problem := foreign(examined)) is not None:
            found = problem.sentence
            make_others_whole(state, examined)
            if (ending := give_way(state)) is not None:
                return ending
    except ThirdPartyError as error:
        found = f"{found}, and {error}"
    except OSError as error:
        again, found = True, f"{found}, and the others could not be made whole: {detail_of(error)}"
    return freeze(state, why.plus(f"; and then {found}"), again=again)


def _go_forward(
    state: TransactionState, known: RecoveryFacts, why: Failure, attempt: Callable[[], Failure | None]
) -> Ending:
    """Complete the new set, and have it tested, activated and validated where services run."""
    if known.disk is not Disk.NEW:
        try:
            complete(state)
        except ThirdPartyError as error:
            return freeze(state, why.plus(f"; and then {error}"))
        except OSError as error:
            said = f"; and then a new file could not be put in place: {detail_of(error)}"
            return freeze(state, why.plus(said), again=True)
    if not known.services_run:
        because = {
            Old.USABLE: "the old set cannot be had whole any more",
            Old.SPENT: "nobody would be better off with the old set",
            Old.BARRED: "the old set may not come back",
        }[known.old]
        return stay_unseen(state, why.plus(f"; {because}, so the new files stay"))
    if (stopped := attempt()) is not None:
        return freeze(state, why.plus(f"; {stopped.sentence}"))
    return conclude(state, forward(state))


def _tidy(state: TransactionState, ended: Record) -> Ending:
    """Remove the files that were left after the end; raises OSError."""
    outcome = Outcome(ended.data["outcome"])
    clear(state, keep_backup=True, keep_aside=outcome is not Outcome.REFUSED)
    failure = Failure(Cause(ended.data["cause"]), str(ended.data["reason"]))
    rest = "; interrupted while tidying up"
    return Ending.of(state.name, state.plan, outcome, failure, state.remarks, consequence=rest)


def _why(records: Sequence[Record]) -> Failure:
    for each in reversed(records):
        if each.event is Event.ROLLING_BACK:
            return Failure(Cause(each.data["cause"]), str(each.data["reason"]))
    return Failure(Cause.INTERRUPTED, "it was interrupted")
