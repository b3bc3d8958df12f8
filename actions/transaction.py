"""The transaction: replaces files, puts services onto them, proves it live, and else undoes it; never half done.

Steps, by these numbers in the body:

 1. Lock all components, in the order of their names.
 2. Refuse where a key was given up, a component is frozen or unfinished, the candidate is in quarantine, a target
    cannot be changed or has changed since the plan, or a configuration test fails already. (`refusal.py`)
 3. Look at the endpoints: the baseline.
 4. Begin: the journal has plan and baseline.
 5. Back up every file of the plan.
 6. Stage each new file beside its target, and link the old file beside it.
 7. Intend: from here on neither a full disk nor an order to stop ends the transaction half-way. Files change by renames
    only, apart from those that must be written over in place.
 8. Stop the services that must not read between two renames.
 9. Switch the files one by one; an edit by another writer ends this.
10. Test the configuration with the new files. Services that do not start with the old files are stopped only now.
11. Activate: reload or restart, after one more look at the files, and prove a restart by a new process.
12. Validate live: look until the new chains are served and accepted several times in a row.
13. End: commit, or go back (`rollback.py`), or give way to another writer's whole set (`give_way.py`), or freeze. Each
    end tidies up. (`close.py`)

States, by the last record in the journal, and the future of a transaction that is killed in each of them. Where
`verdict.py` decides, it goes forward, back, or freezes, by its table; `recover.py` carries that out:

    none                                        steps 1 to 3    there is no transaction
    BEGIN, BACKED_UP, STAGED                    steps 4 to 6    abandoned: no file was changed
    INTENT, SWITCHED, CONFIG_TESTED, ACTIVATED  steps 7 to 11   `verdict.py` decides
    VALIDATED                                   step 12         committed
    ROLLING_BACK                                step 13         `verdict.py` decides, also by the cause
    RECOVERING                                                  the same as before this record
    COMMITTED, ROLLED_BACK, FAILED_FORWARD, SUPERSEDED          the tidying up is repeated
    CLOSED                                                      nothing is left to be done
    FROZEN       left alone until an operator thaws the components, or, with `again`, until the next recovery
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from actions import backup, service, target
from actions.close import abandon, end
from actions.ended_service import service_that_ended
from actions.ending import Cause, Ending, Failure, Outcome, detail_of
from actions.examine import changed, why_not_new
from actions.give_way import failure_of_theirs, judge
from actions.guard import onto_checked
from actions.journal import Event, JournalError
from actions.lock import Busy, acquire
from actions.plan import Kind, Order, candidate_of, plan_to_json
from actions.refusal import key_given_up, refuse, why_refused
from actions.rollback import freeze_on_the_new, remain_on_the_new, undo, undo_activation
from actions.set_worth import nobody_gains_by_the_old, old_set
from actions.target import ThirdPartyError
from actions.transaction_state import TransactionContext, TransactionState
from actions.validate import LiveView, live_view_to_json, watch
from actions.verdict import Old
from config.service import Activation
from config.text import printable

_DONE = Failure(Cause.NONE, "the files are in use")


def transact(context: TransactionContext, order: Order) -> Ending:
    """Carry out an order, wholly or not at all; every failure comes back as the ending.

    Blocks until the end: at most the service's time limits and twice the deadline of the terms.
    """
    name = time.strftime("%Y%m%dt%H%M%S", time.gmtime(context.world.now())) + f"-{secrets.token_hex(4)}"
    # 1. Lock.
    try:
        context.prepare()
        locks = acquire(context.world, context.locks, order.plan.components, _act(context, order))
    except OSError as error:
        failure = Failure(Cause.STORAGE, f"the state directory cannot be used: {detail_of(error)}")
        return refuse(context, name, order.plan, failure)
    if isinstance(locks, Busy):
        return refuse(context, name, order.plan, Failure(Cause.BUSY, locks.sentence))
    try:
        # 2. Refuse, first of all for a key: it may have been given up while the locks were not held yet.
        if (given_up := key_given_up(context, order)) is not None:
            return refuse(context, name, order.plan, given_up)
        return _run(TransactionState(context, name, order.plan, order.mends), order.content)
    finally:
        # The end of the process releases them as well.
        with suppress(OSError):
            locks.release()


def _act(context: TransactionContext, order: Order) -> str:
    """Return what is done and for whom, for others who want the same components."""
    by = context.asked.get("by", "")
    return f"{order.plan.kind} of {', '.join(order.plan.components)}" + (f" for {by}" if by else "")


def _run(state: TransactionState, content: Mapping[str, bytes]) -> Ending:
    # 2. Refuse.
    if (failure := why_refused(state)) is not None:
        return refuse(state.context, state.name, state.plan, failure)
    # 3. Look.
    state.baseline = state.look()
    try:
        failure = _prepare(state, content)
    except OSError as error:
        failure = Failure(Cause.STORAGE, f"the change could not be prepared: {detail_of(error)}")
    except JournalError as error:
        failure = Failure(Cause.JOURNAL, str(error))
    if failure is not None:
        return abandon(state, failure)
    return conclude(state, _attempt(state, _switch) or forward(state))


def _prepare(state: TransactionState, content: Mapping[str, bytes]) -> Failure | None:
    """Do everything that may fail for want of space or permission; raises OSError, JournalError."""
    world, plan = state.world, state.plan
    # 4. Begin.
    state.note(
        Event.BEGIN,
        plan=plan_to_json(plan),
        hash=plan.hash,
        candidate=candidate_of(plan.changes),
        leaf=next((chain[0] for each in plan.serves for chain in each.chains if chain), ""),
        **state.context.asked,
        **({"mends": dict(state.mends)} if state.mends else {}),
        **({"failing": True} if state.failing else {}),
        baseline=live_view_to_json(state.baseline),
    )
    # 5. Back up.
    for component in state.changed_components:
        before = {change.path: change.before for change in plan.changes if change.component == component}
        for copy in backup.take(world, state.root, component, state.name, tuple(before)).copies:
            # Else another writer's file would later be judged as part of the old set.
            if copy.state != before[copy.path]:
                return Failure(Cause.CHANGED, f"{printable(copy.path)} was changed by someone else meanwhile")
    state.note(Event.BACKED_UP)
    # 6. Stage.
    for change in plan.changes:
        target.stage(world, change, state.name, content.get(change.path, b""))
    state.sync_directories()
    state.note(Event.STAGED)
    # 7. Intend.
    if state.context.stopping():
        return Failure(Cause.INTERRUPTED, "certvigil was told to end")
    state.note(Event.INTENT)
    return None


def _switch(state: TransactionState) -> Failure | None:
    # 8. Stop. Where services do not start with the old files, the running process may be the only one there is.
    if not state.no_return and (failure := _stop(state)) is not None:
        return failure
    # 9. Switch.
    for number, change in enumerate(state.plan.changes):
        state.touched = number + 1
        try:
            target.switch(state.world, change, state.name)
        except ThirdPartyError as error:
            state.touched = number
            return Failure(Cause.CHANGED, str(error))
        state.note(Event.SWITCHED, number=number)
    state.sync_directories()
    return None


def _stop(state: TransactionState) -> Failure | None:
    state.stopped = any(each.quiesce for each in state.services().values())
    if trouble := state.each_service(service.stop):
        return Failure(Cause.STOP, f"it could not be stopped: {trouble.sentence}")
    return None


def forward(state: TransactionState) -> Failure | None:
    """Go on from where every file is the new file (steps 10 to 12); return the failure that ends this."""
    return _attempt(state, _test) or _attempt(state, _activate) or _attempt(state, _validate)


def _test(state: TransactionState) -> Failure | None:
    # 10. Test the configuration.
    if (failure := changed(state)) is not None:
        return failure
    if trouble := state.each_service(service.test):
        cause, too = (Cause.CONFIG_TEST_BEFORE, ", too") if state.failing else (Cause.CONFIG_TEST, "")
        return Failure(cause, f"its configuration test fails with the new files{too}: {trouble.sentence}")
    is_tested = any(
        (each := state.context.services.get(name)) is not None and each.test is not None
        for name in state.plan.components
    )
    state.note(Event.CONFIG_TESTED, **({} if is_tested else {"tested": False}))
    return _stop(state) if state.no_return else None


def _activate(state: TransactionState) -> Failure | None:
    # 11. Activate.
    before = _identities(state)
    # A service that the old files kept from starting cannot be reloaded; whoever asks for the mending wants it to run.
    is_down = state.no_return and state.context.attended and not state.baseline.answering
    way = service.activate_again if is_down else service.activate
    if trouble := state.each_service(onto_checked(state, way, lambda _one: why_not_new(state))):
        if state.displaced:
            return Failure(Cause.CHANGED, state.displaced)
        cause = Cause.ACTIVATION_TIMEOUT if trouble.timed_out else Cause.ACTIVATION
        return Failure(cause, f"it could not be activated: {trouble.sentence}")
    if not _certificate_proves(state) and not state.stopped and (same := _unchanged(state, before)):
        return Failure(Cause.NOT_PROVEN, f"{same[0]} says it restarted, but is the same process as before")
    state.note(Event.ACTIVATED)
    return None


def _certificate_proves(state: TransactionState) -> bool:
    """Whether serving the new chains shows that the files are in use."""
    return bool(state.new_chains) and not state.serves_new(state.baseline)


def _identities(state: TransactionState) -> dict[str, str | None]:
    """Return the identity of each process that is to be restarted, by component."""
    restarted = {name: each for name, each in state.services().items() if each.activate is Activation.RESTART}
    return {name: service.identity(state.world, each) for name, each in restarted.items()}


def _unchanged(state: TransactionState, before: Mapping[str, str | None]) -> list[str]:
    """Return the components whose process is the same until the deadline: a restart may return before the new one."""
    world, terms = state.world, state.context.terms
    end_of_patience = world.monotonic() + terms.deadline
    while True:
        same = [each for each, now in _identities(state).items() if now is not None and now == before[each]]
        if not same or world.monotonic() + terms.interval > end_of_patience:
            return same
        world.sleep(terms.interval)


def _validate(state: TransactionState) -> Failure | None:
    # 12. Validate live.
    seen = watch(
        state.world,
        state.look,
        lambda live_view: judge(state, live_view),
        state.context.terms,
        lambda live_view: service_that_ended(state, live_view),
    )
    state.last = seen.live_view
    if seen.theirs:
        return failure_of_theirs(state, seen)
    if seen.unserved:
        return Failure(Cause.NOT_SERVED, f"the new certificate is not served: {'; '.join(seen.unserved)}")
    if seen.lost:
        lost = ", ".join(f"{each.client} at {each.endpoint}" for each in seen.lost)
        refuse = "with the old trust store refuse with the new"
        refuse = refuse if state.plan.kind is Kind.TRUST else "the old certificate refuse the new"
        return Failure(Cause.CLIENT_LOST, f"clients that accepted {refuse}: {lost}")
    if (failure := changed(state)) is not None:
        return failure
    as_planned = sorted({each.client for each in state.baseline.accepted - seen.live_view.accepted})
    facts: dict[str, object] = {"lost": as_planned} if as_planned else {}
    if state.plan.kind is not Kind.TRUST:
        facts |= _unseen(state, seen.live_view)
    state.note(Event.VALIDATED, kind=state.plan.kind, accepted=sorted(seen.live_view.accepted), **facts)
    return None


def _unseen(state: TransactionState, live_view: LiveView) -> dict[str, object]:
    """Remark which endpoints the change was not seen at, and return that as facts of the validation."""
    silent = live_view.silent
    if not live_view.answering:
        state.remark("no endpoint answered before or after: the change was not seen live")
    elif silent:
        names = ", ".join(map(printable, silent))
        state.remark(f"not seen, since nobody answered there before or after: {names}")
    return {"seen": bool(live_view.answering), **({"unseen": list(silent)} if silent else {})}


def _attempt(state: TransactionState, step: Callable[[TransactionState], Failure | None]) -> Failure | None:
    """Return the failure of a step, whatever it raises."""
    try:
        return step(state)
    except OSError as error:
        return Failure(Cause.STORAGE, f"a file operation failed: {detail_of(error)}")
    except JournalError as error:
        return Failure(Cause.JOURNAL, str(error))
    # From here on a fault of certvigil must undo the change as well, rather than leave it half done.
    except Exception as error:  # noqa: BLE001
        return Failure(Cause.INTERNAL, f"certvigil itself failed: {type(error).__name__}")


def conclude(state: TransactionState, failure: Failure | None) -> Ending:
    """End after the last step, or after the failure of a step."""
    # 13. End.
    if failure is None:
        return commit(state)
    if state.superseded:
        return end(state, Outcome.SUPERSEDED, failure)
    if failure.cause is Cause.CHANGED and not (state.touched or state.stopped or state.activated):
        # Nothing was done, and another writer is responsible for the served chain.
        return abandon(state, failure)
    if not state.plan.changes:
        return undo_activation(state, failure)
    if nobody_gains_by_the_old(state, failure):
        kept = failure.plus("; nobody would be better off with the old files, so the new ones stay")
        return end(state, Outcome.FAILED_FORWARD, kept)
    if state.no_return and (state.activated or state.stopped):
        return remain_on_the_new(state, failure)
    if state.touched and not state.no_return and (worth := old_set(state)).old is Old.BARRED:
        return freeze_on_the_new(state, failure, worth.why)
    return undo(state, failure)


def commit(state: TransactionState) -> Ending:
    """End with the new files."""
    return end(state, Outcome.COMMITTED, _DONE)
