"""After a crash: every transaction that did not end is finished or undone, by what the disk and the journal say."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from actions.backup import BackupError
from actions.ending import Cause, Ending, Failure, Outcome
from actions.journal import ENDED, Event, JournalError, Record
from actions.journal_state import JournalState, frozen, unfinished
from actions.lock import Busy, acquire
from actions.orphan import settle
from actions.plan import Ill, plan_from_json
from actions.target import ThirdPartyError
from actions.transaction import Transaction, TransactionContext
from actions.validate import live_view_from_json
from actions.verdict import Disk, JournalStage, Old, RecoveryFacts, RecoveryVerdict, decide, stage_of
from config.text import printable

_ATTEMPTS: Final = 3
_FOR_NOW: Final = frozenset({errno.EAGAIN, errno.ETXTBSY})
"""How opening a file fails that another process has a lease on, or runs."""


def recover(context: TransactionContext, *, live: bool = True) -> tuple[Ending, ...]:
    """Finish or undo every transaction that neither ended nor is under way elsewhere; again changes nothing.

    Without `live`, as at boot before services are started, files are put right and services left alone. A transaction
    whose files cannot be read or changed now is left for the next recovery, says so, and is in the way of no other.
    Raises JournalError where the journal cannot be trusted or written, OSError where the state cannot be used: then
    nothing may be started.
    """
    context.prepare()
    # What a killed process left running would act on files and services while they are put right.
    settle(context)
    endings = [
        _unless_unusable(context, name, partial(_recover, live=live)) for name in unfinished(context.journal.records())
    ]
    if live:
        journal_state = JournalState.of(context.journal.records())
        dead = dict.fromkeys(each for each in journal_state.froze.values() if each not in journal_state.unfinished)
        endings += [_unless_unusable(context, name, _start_later) for name in dead]
    return tuple(ending for ending in endings if ending is not None)


def _unless_unusable(
    context: TransactionContext, name: str, deed: Callable[[TransactionContext, str], Ending | None]
) -> Ending | None:
    """Return what comes of one transaction; where a file of it cannot be used, that it stays as it is until later."""
    try:
        return deed(context, name)
    except (OSError, BackupError) as error:
        names = ", ".join(_resume(context, _records_of(context, name)).plan.components)
        what = f"{error.filename}: {_said(error)}" if isinstance(error, OSError) and error.filename else str(error)
        later = "once that is mended, `certvigil recover` finishes it, and so does whatever is done next"
        if isinstance(error, OSError) and error.errno in _FOR_NOW:
            later = f"another process holds that file (a lease, or it is being run), and else {later}"
        return Ending(
            name,
            Outcome.REFUSED,
            Cause.STORAGE,
            printable(
                f"{names}: what a crash, or an earlier end, left could not be finished yet: {what}; {later}.", 2000
            ),
        )


def _start_later(context: TransactionContext, name: str) -> Ending | None:
    """Start what was frozen, failed and answers nobody, once; None where nothing is to be started."""
    under_way = _resume(context, _records_of(context, name))
    locks = acquire(context.world, context.locks, under_way.plan.components)
    if isinstance(locks, Busy):
        return None
    try:
        return under_way.start_the_dead_later()
    finally:
        with suppress(OSError):
            locks.release()


@dataclass(frozen=True, slots=True)
class NotWhole:
    """A component cannot be thawed, since what it has on disk is no whole set."""

    component: str
    why: str
    """Printable, the end of a sentence."""


@dataclass(frozen=True, slots=True)
class KeptPaths:
    """Files beside the targets that stay: what they hold may be nowhere else."""

    paths: tuple[str, ...]


def thaw(context: TransactionContext, component: str) -> Busy | NotWhole | KeptPaths | None:
    """Take an operator's word that a component is right, once the set on disk was seen to be whole, key included.

    Removes what was kept beside the files of a frozen one, as far as it is known to be elsewhere, too. Where the set is
    not whole, nothing is removed or noted. Raises JournalError, OSError.
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
        # What is decided of it starts afresh, too: who reverts whom, and what failed.
        _note_thawed(context, component)
        return None
    froze = [each for each in records if each.event is Event.FROZEN and component in each.data["components"]]
    latest = {each.transaction: each for each in froze}
    under_way = {name: _resume(context, _records_of(context, name)) for name in latest}
    for each in under_way.values():
        if why := each.fault(component):
            return NotWhole(component, why)
    kept: tuple[str, ...] = ()
    for name, record in latest.items():
        # Of a set that froze as one, the last that is right takes away what was kept for all. That comes first:
        # whoever is killed amid it leaves the component frozen, to be thawed again.
        stays: tuple[str, ...] = ()
        if not (still.keys() & set(record.data["components"])) - {component}:
            stays = under_way[name].clear_accounted()
        under_way[name].note(Event.THAWED, components=[component], **({"kept": stays} if stays else {}))
        kept += stays
    return KeptPaths(kept) if kept else None


def _note_thawed(context: TransactionContext, component: str) -> None:
    record = Record(context.world.now(), "", Event.THAWED, {"components": [component], **context.asked})
    context.journal.append(record)
    context.told(record)


def _recover(context: TransactionContext, name: str, *, live: bool) -> Ending | None:
    records = _records_of(context, name)
    plan = _resume(context, records).plan
    locks = acquire(context.world, context.locks, plan.components)
    if isinstance(locks, Busy):
        busy = f"not recovered now: process {locks.holder} is at work on {locks.component}"
        return Ending(name, Outcome.REFUSED, Cause.BUSY, busy)
    try:
        # Whoever held the locks until now may have ended it.
        if name not in unfinished(context.journal.records()):
            return None
        records = _records_of(context, name)
        return _end(_resume(context, records), records, live=live)
    finally:
        with suppress(OSError):
            locks.release()


def left_to_others(ending: Ending) -> bool:
    """Whether that is no end that recovery came to: another process is at work on the components."""
    return (ending.outcome, ending.cause) == (Outcome.REFUSED, Cause.BUSY)


def _records_of(context: TransactionContext, name: str) -> Sequence[Record]:
    # That a command was run is no step: the test of what is there comes before the beginning.
    steps = (each for each in context.journal.records() if each.event not in (Event.COMMAND, Event.COMMAND_OVER))
    return [each for each in steps if each.transaction == name]


def _resume(context: TransactionContext, records: Sequence[Record]) -> Transaction:
    """Return the transaction as far as its records say that it may have come."""
    begin = records[0].data
    try:
        plan, baseline = plan_from_json(begin["plan"]), live_view_from_json(begin["baseline"])
        mends = {str(name): Ill(ill) for name, ill in begin.get("mends", {}).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"the plan of transaction {records[0].transaction} cannot be read") from error
    events = {each.event for each in records}
    under_way = Transaction(
        context,
        records[0].transaction,
        plan,
        baseline,
        touched=_touched(records, len(plan.changes)),
        activated=Event.CONFIG_TESTED in events,
        distrusted=any(each.event is Event.FROZEN and each.data.get("again") for each in records),
        mends=mends,
        failing=bool(begin.get("failing")),
    )
    # Where services do not start with the old files, they are stopped only once the new ones are tested.
    under_way.stopped = (Event.CONFIG_TESTED if under_way.no_return else Event.INTENT) in events and any(
        context.services[each].quiesce for each in plan.components if each in context.services
    )
    return under_way


def _touched(records: Sequence[Record], changes: int) -> int:
    """Return how many of the changes, from the first on, may have been made."""
    touched = 0
    for each in records:
        if each.event is Event.INTENT:
            touched = 1
        elif each.event is Event.SWITCHED:
            # The next one may have been made, and its record not.
            touched = max(touched, int(each.data["number"]) + 2)
        elif each.event is Event.ROLLING_BACK:
            touched = int(each.data["touched"])
        touched = min(touched, changes)
    return touched


def _end(under_way: Transaction, records: Sequence[Record], *, live: bool) -> Ending:
    ended = next((each for each in records if each.event in ENDED), None)
    if ended is not None:
        return _tidy(under_way, ended)
    under_way.live = live
    stage, why = stage_of(records), _why(records)
    if stage is JournalStage.PREPARED:
        return under_way.abandon(Failure(Cause.INTERRUPTED, "it was interrupted before any file was switched"))
    unreadable = ""
    try:
        facts = under_way.facts(stage)
    except OSError as error:
        facts = RecoveryFacts(stage, Disk.UNREADABLE, live=live)
        unreadable = f"a file cannot be read: {_said(error)}"

    def attempt() -> Failure | None:
        # Only from here on: whatever interrupts what came before, the files are a whole set now.
        if sum(each.event is Event.RECOVERING for each in records) >= _ATTEMPTS:
            return Failure(Cause.INTERRUPTED, f"recovery itself was interrupted {_ATTEMPTS} times")
        under_way.note(Event.RECOVERING)
        return None

    match decide(facts):
        case RecoveryVerdict.COMMIT:
            return under_way.commit()
        case RecoveryVerdict.FORWARD:
            return _go_forward(under_way, facts, why, attempt)
        case RecoveryVerdict.UNDO:
            return under_way.undo(why, live=live, ready=attempt if live else lambda: None)
        case RecoveryVerdict.FREEZE:
            return _freeze(under_way, facts, why, unreadable)


def _freeze(under_way: Transaction, facts: RecoveryFacts, why: Failure, unreadable: str) -> Ending:
    """Freeze, with no component half and half but one that has a file of someone else's."""
    found, again = unreadable or "the old set cannot be had whole any more", bool(unreadable)
    try:
        if facts.disk is Disk.FOREIGN:
            found = under_way.obstacle()
            under_way.make_others_whole()
            if (ending := under_way.give_way()) is not None:
                return ending
    except ThirdPartyError as error:
        found = f"{found}, and {error}"
    except OSError as error:
        again, found = True, f"{found}, and the others could not be made whole: {_said(error)}"
    return under_way.freeze(Failure(why.cause, f"{why.sentence}; and then {found}"), again=again)


def _go_forward(
    under_way: Transaction, facts: RecoveryFacts, why: Failure, attempt: Callable[[], Failure | None]
) -> Ending:
    if facts.disk is not Disk.NEW:
        try:
            under_way.complete()
        except ThirdPartyError as error:
            return under_way.freeze(Failure(why.cause, f"{why.sentence}; and then {error}"))
        except OSError as error:
            said = f"{why.sentence}; and then a new file could not be put in place: {_said(error)}"
            failure = Failure(why.cause, said)
            return under_way.freeze(failure, again=True)
    if not facts.live:
        because = {
            Old.USABLE: "the old set cannot be had whole any more",
            Old.SPENT: "nobody would be better off with the old set",
            Old.BARRED: "the old set may not come back",
        }[facts.old]
        return under_way.stay_unseen(Failure(why.cause, f"{why.sentence}; {because}, so the new files stay"))
    if (stopped := attempt()) is not None:
        return under_way.freeze(Failure(why.cause, f"{why.sentence}; {stopped.sentence}"))
    return under_way.conclude(under_way.forward())


def _said(error: OSError) -> str:
    return printable(error.strerror or type(error).__name__)


def _tidy(under_way: Transaction, ended: Record) -> Ending:
    """Remove what was left after the end; raises OSError."""
    outcome, cause = Outcome(ended.data["outcome"]), Cause(ended.data["cause"])
    under_way.clear(keep_backup=True, keep_aside=outcome is not Outcome.REFUSED)
    sentence = str(ended.data["reason"]) + "; interrupted while tidying up."
    return Ending(under_way.name, outcome, cause, sentence, tuple(under_way.remarks))


def _why(records: Sequence[Record]) -> Failure:
    for each in reversed(records):
        if each.event is Event.ROLLING_BACK:
            return Failure(Cause(each.data["cause"]), str(each.data["reason"]))
    return Failure(Cause.INTERRUPTED, "it was interrupted")
