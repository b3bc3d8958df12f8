"""Why a transaction does not begin: checks that change no file, before its first step."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from actions import service, target
from actions.ending import Cause, Ending, Failure, Outcome, detail_of
from actions.journal import Event, JournalError, Record
from actions.journal_state import JournalState
from actions.plan import Change, Ill, Order, Plan, candidate_of, plan_from_json
from actions.service import Trouble
from actions.transaction_state import TransactionContext, TransactionState
from actions.world import World
from config.service import Service
from config.text import printable, sentence


def refusal(context: TransactionContext, order: Order) -> Failure | None:
    """Return why an order would be refused now; None where the transaction would begin.

    Only configuration tests are run, and no record is written.
    """
    return key_given_up(context, order) or why_refused(TransactionState(context, "", order.plan, order.mends))


def key_given_up(context: TransactionContext, order: Order) -> Failure | None:
    """Return that a private key of an order was given up; None where no key was."""
    try:
        why = context.journal_state().why_not(order.keys)
    except OSError as error:
        return Failure(Cause.STORAGE, f"the journal cannot be read: {detail_of(error)}")
    except JournalError as error:
        return Failure(Cause.JOURNAL, str(error))
    return Failure(Cause.KEY_GIVEN_UP, why) if why else None


def refuse(context: TransactionContext, name: str, plan: Plan, failure: Failure) -> Ending:
    """End a transaction that did not begin."""
    ending = Ending.of(name, plan, Outcome.REFUSED, failure)
    what = {"kind": plan.kind, "components": plan.components, **({"group": plan.group} if plan.group else {})}
    asked = {**what, "hash": plan.hash, **context.asked}
    # A journal that takes no record is among the reasons to refuse.
    with suppress(JournalError):
        context.journal.append(Record(context.world.now(), name, Event.REFUSED, {**asked, **ending.to_record()}))
    return ending


def why_refused(state: TransactionState) -> Failure | None:
    """Return why the transaction does not begin; None where it does. Sets `failing`; no file is touched."""
    try:
        found = _check_journal(state) or _check_targets(state)
    except OSError as error:
        found = Failure(Cause.STORAGE, f"a target cannot be examined: {detail_of(error)}")
    except JournalError as error:
        found = Failure(Cause.JOURNAL, str(error))
    return found or _test_before(state)


def _check_journal(state: TransactionState) -> Failure | None:
    plan, journal_state = state.plan, state.context.journal_state()
    for component, reason in journal_state.frozen.items():
        if component in plan.components:
            return Failure(Cause.COMPONENT_FROZEN, f"{component} is frozen until an operator clears it ({reason})")
    if (unfinished := _check_unfinished(state, journal_state)) is not None:
        return unfinished
    failed = journal_state.quarantined.get(candidate_of(plan.changes)) if plan.changes else None
    if failed is not None:
        return Failure(Cause.QUARANTINED, f"this candidate is in quarantine ({failed})")
    return None


def _check_unfinished(state: TransactionState, journal_state: JournalState) -> Failure | None:
    """Return that another transaction may have left a mixed set of these components."""
    for name, begin in journal_state.under_way.items():
        before = plan_from_json(begin.data["plan"])
        if name == state.name or not set(before.components) & set(state.plan.components):
            continue
        where = ", ".join(sorted({os.path.dirname(each.path) for each in before.changes}))
        why = (
            f"transaction {name} of {', '.join(before.components)} is not finished: check whether the files in {where} "
            "can be read and changed"
        )
        told = sentence("{}, and run `certvigil recover`, which names the obstacle", printable(why, 2000))
        return Failure(Cause.TARGET, told)
    return None


def _check_targets(state: TransactionState) -> Failure | None:
    world = state.world
    for change in state.plan.changes:
        if (why := target.obstacle(world, change, state.context.terms.trusted_owners)) is not None:
            return Failure(Cause.TARGET, why)
        if target.state(world, change.path) != change.before:
            return Failure(Cause.CHANGED, f"{printable(change.path)} was changed after the plan was made")
    return None


def _test_before(state: TransactionState) -> Failure | None:
    """Return that a configuration test fails with the old files, unless a fault that the change mends explains it."""

    def unexplained(world: World, tested: Service, begun: service.OnBegin | None) -> Trouble | None:
        trouble = service.test(world, tested, begun)
        state.failing = state.failing or trouble is not None
        return None if trouble is None or _is_explained(state, tested, trouble) else trouble

    trouble = state.each_service(unexplained)
    if trouble is None:
        return None
    why = "its configuration test fails already before the change"
    if state.mends and state.plan.changes and not state.context.attended:
        why += ", and does not name a file that the change mends, so a person must ask for it"
    return Failure(Cause.CONFIG_TEST_BEFORE, f"{why}: {trouble.sentence}")


def _is_explained(state: TransactionState, tested: Service, trouble: Trouble) -> bool:
    """Whether the files to mend may explain a failed test; unattended, the output of the test must name one of them."""
    broken = [name for name in state.names_of(tested) if name in state.mends]
    if not state.plan.changes or not broken:
        return False
    if state.context.attended:
        return True
    return any(
        state.mends[each.component] is not Ill.EXPIRED and _names(trouble.ran.output, each)
        for each in state.plan.changes
        if each.component in broken
    )


def _names(output: str, change: Change) -> bool:
    """Whether the output of a command names a file."""
    return any(
        re.search(rf"(?<![\w./-]){re.escape(printable(path))}(?![\w/-]|\.\w)", output)
        for path in {change.path, change.given or change.path}
    )
