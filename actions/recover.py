"""After a crash: every transaction that did not end is finished or undone, by what the disk and the journal say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from actions.account import frozen, unfinished
from actions.ending import Cause, Ending, Failure, Outcome
from actions.journal import ENDED, Event, JournalError, Record
from actions.lock import Busy, acquire
from actions.plan import plan_from_json
from actions.target import Condition
from actions.transaction import Setting, Transaction
from actions.validate import sight_from_json

_ATTEMPTS: Final = 3


def recover(setting: Setting, *, live: bool = True) -> tuple[Ending, ...]:
    """Finish or undo every transaction that neither ended nor is under way elsewhere; again changes nothing.

    Without `live`, as at boot before services are started, files are put right and services left alone.
    Raises JournalError where the journal cannot be trusted or written, OSError where the state cannot be used: then
    nothing may be started.
    """
    setting.prepare()
    endings = (_recover(setting, name, live=live) for name in unfinished(setting.journal.records()))
    return tuple(ending for ending in endings if ending is not None)


def thaw(setting: Setting, component: str) -> Busy | None:
    """Take an operator's word that a component is right; removes what was kept beside the files of a frozen one.

    Raises JournalError, OSError.
    """
    locks = acquire(setting.world, setting.locks, (component,))
    if isinstance(locks, Busy):
        return locks
    try:
        records = tuple(setting.journal.records())
        still = frozen(records)
        if component not in still:
            # What is decided of it starts afresh, too: who reverts whom, and what failed.
            _note_thawed(setting, component)
        for record in records if component in still else ():
            if record.event is not Event.FROZEN or component not in record.data["components"]:
                continue
            under_way = _resume(setting, _records_of(setting, record.transaction))
            # Of a set that froze as one, the last that is right takes away what was kept for all. That comes first:
            # whoever is killed amid it leaves the component frozen, to be thawed again.
            if not (still.keys() & set(record.data["components"])) - {component}:
                under_way.clear(keep_backup=True)
            under_way.note(Event.THAWED, components=[component])
    finally:
        locks.release()
    return None


def _note_thawed(setting: Setting, component: str) -> None:
    record = Record(setting.world.now(), "", Event.THAWED, {"components": [component], **setting.asked})
    setting.journal.append(record)
    setting.told(record)


def _recover(setting: Setting, name: str, *, live: bool) -> Ending | None:
    records = _records_of(setting, name)
    plan = _resume(setting, records).plan
    locks = acquire(setting.world, setting.locks, plan.components)
    if isinstance(locks, Busy):
        return Ending(name, Outcome.REFUSED, Cause.BUSY, f"Process {locks.holder} is at work on {locks.component}.")
    try:
        # Whoever held the locks until now may have ended it.
        if name not in unfinished(setting.journal.records()):
            return None
        records = _records_of(setting, name)
        return _end(_resume(setting, records), records, live=live)
    finally:
        with suppress(OSError):
            locks.release()


def _records_of(setting: Setting, name: str) -> Sequence[Record]:
    return [each for each in setting.journal.records() if each.transaction == name]


def _resume(setting: Setting, records: Sequence[Record]) -> Transaction:
    """Return the transaction as far as its records say that it may have come."""
    begin = records[0].data
    try:
        plan, baseline = plan_from_json(begin["plan"]), sight_from_json(begin["baseline"])
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"the plan of transaction {records[0].transaction} cannot be read") from error
    events = {each.event for each in records}
    switched = sum(each.event is Event.SWITCHED for each in records)
    touched = min(len(plan.changes), switched + 1) if Event.INTENT in events else 0
    for each in records:
        if each.event is Event.ROLLING_BACK:
            touched = min(touched, int(each.data["touched"]))
    return Transaction(
        setting,
        records[0].transaction,
        plan,
        baseline,
        touched=touched,
        stopped=Event.INTENT in events
        and any(setting.services[each].quiesce for each in plan.components if each in setting.services),
        activated=Event.CONFIG_TESTED in events,
    )


def _end(under_way: Transaction, records: Sequence[Record], *, live: bool) -> Ending:
    events = [each.event for each in records]
    ended = next((each for each in records if each.event in ENDED), None)
    if ended is not None:
        return _tidy(under_way, ended)
    if events.count(Event.RECOVERING) >= _ATTEMPTS:
        return under_way.freeze(Failure(Cause.INTERRUPTED, f"recovery itself was interrupted {_ATTEMPTS} times"))
    under_way.note(Event.RECOVERING)
    if Event.INTENT not in events:
        return under_way.abandon(Failure(Cause.INTERRUPTED, "it was interrupted before any file was switched"))
    whole = under_way.touched == len(under_way.plan.changes)
    if Event.ROLLING_BACK not in events and whole and _all_new(under_way):
        if Event.VALIDATED in events:
            return under_way.commit()
        if live:
            return under_way.conclude(under_way.forward())
    return under_way.undo(_why(records), live=live)


def _tidy(under_way: Transaction, ended: Record) -> Ending:
    """Remove what was left after the end; raises OSError."""
    outcome, cause = Outcome(ended.data["outcome"]), Cause(ended.data["cause"])
    under_way.clear(keep_backup=True, keep_aside=outcome is not Outcome.REFUSED)
    return Ending(under_way.name, outcome, cause, str(ended.data["reason"]) + "; interrupted while tidying up.")


def _all_new(under_way: Transaction) -> bool:
    try:
        under_way.settle()
        return all(
            change.before == change.after or under_way.condition(change) is Condition.NEW
            for change in under_way.plan.changes
        )
    except OSError:
        # Undoing meets the same error and freezes.
        return False


def _why(records: Sequence[Record]) -> Failure:
    for each in records:
        if each.event is Event.ROLLING_BACK:
            return Failure(Cause(each.data["cause"]), str(each.data["reason"]))
    return Failure(Cause.INTERRUPTED, "it was interrupted")
