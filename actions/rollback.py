"""Going back: the old files put in place and served again; and the ends of a transaction that cannot go back.

It cannot go back where no service starts with the old files, where the old set may not come back, or where no file was
changed. Then it ends with the new files, on the services that still run, or frozen.
"""

from __future__ import annotations

from collections.abc import Callable

from actions import service
from actions.close import abandon, end, freeze
from actions.ended_service import service_that_ended
from actions.ending import CANDIDATES_FAULT, Cause, Ending, Failure, Outcome, detail_of
from actions.examine import can_complete, why_not_whole
from actions.give_way import give_way, judge_restored
from actions.guard import onto_checked
from actions.journal import Event
from actions.plan import Kind, Plan, candidate_of
from actions.set_worth import old_set
from actions.target import ThirdPartyError
from actions.transaction_state import TransactionState
from actions.validate import LiveView, Seen, judge_new, watch
from actions.verdict import Old
from actions.whole_set import complete, put_back


def undo(state: TransactionState, failure: Failure, *, ready: Callable[[], Failure | None] = lambda: None) -> Ending:
    """Put every old file back and the services onto them, and see the old set served; else freeze.

    Services are left alone where they have not been started yet. `ready` is called once the files are a
    whole set, before any service is touched; a failure that it returns keeps the services as they are.
    """
    state.note_if_possible(Event.ROLLING_BACK, cause=failure.cause, reason=failure.sentence, touched=state.touched)
    problem, again = put_back(state)
    if problem is not None and problem.cause is Cause.CHANGED and (ending := give_way(state)) is not None:
        return ending
    if problem is None:
        problem = ready()
    if problem is None and state.services_run:
        problem = _serve_old(state)
    if problem is not None:
        return freeze(state, failure.plus(f"; and then {problem.sentence}"), again=again)
    if not state.services_run:
        state.remark("the old files are back; the services are down, so nobody has seen them served")
    # A trust store has no candidate that could come again by itself: a person asks each time.
    if failure.cause in CANDIDATES_FAULT and state.plan.kind is not Kind.TRUST:
        state.note_if_possible(Event.QUARANTINED, candidate=candidate_of(state.plan.changes), reason=failure.sentence)
    return end(state, Outcome.ROLLED_BACK, failure)


def _serve_old(state: TransactionState) -> Failure | None:
    """Have the old files served again, unless no service may be put onto them; running services are then left alone."""
    if state.no_return and not (state.activated or state.stopped):
        return None
    if (state.activated or state.stopped) and state.plan.changes and (worth := old_set(state)).old is Old.BARRED:
        return Failure(Cause.ACTIVATION, f"no service is put onto the old set: {worth.why}")
    return _serve_again(state, lambda live_view: judge_restored(state, live_view))


def _serve_again(state: TransactionState, judge: Callable[[LiveView], Seen]) -> Failure | None:
    """Have the services serve the files on disk: without a command where none was run before, by a restart at last.

    A command that is ended at its time limit may have begun what goes on without it, as a job of systemd does: whether
    the files are served is seen by handshakes.
    """
    ways: list[service.Act] = [service.revive]
    if state.activated or state.stopped:
        ways.insert(0, service.activate_again)
    elif judge(state.look()).steady:
        return None
    problem = None
    for way in ways:
        checked = onto_checked(state, way, lambda one: why_not_whole(state, one))
        trouble = state.each_service(checked, go_on=True)
        if trouble is not None and not trouble.timed_out:
            why = trouble.sentence
        elif unserved := watch(
            state.world, state.look, judge, state.context.terms, lambda live_view: service_that_ended(state, live_view)
        ).unserved:
            why = "; ".join(unserved) if trouble is None else trouble.sentence
        else:
            return None
        problem = Failure(Cause.ACTIVATION, f"the service does not serve the files on disk again: {why}")
    return problem


def undo_activation(state: TransactionState, failure: Failure) -> Ending:
    """End where no file was changed: the only way back is a service that answers."""
    if not state.activated:
        return abandon(state, failure)
    nothing = Plan(Kind.ACTIVATE, (), ())
    problem = _serve_again(state, lambda live_view: judge_new(nothing, state.baseline, live_view))
    if problem is None:
        return end(state, Outcome.FAILED_FORWARD, failure)
    return freeze(state, failure.plus(f"; {problem.sentence}"))


def remain_on_the_new(state: TransactionState, failure: Failure) -> Ending:
    """End with the new files where services do not start with the old files."""
    if failure.cause is Cause.CHANGED:
        return freeze(state, failure.plus("; no service starts with the old files"))
    kept = failure.plus("; no service starts with the old files, so the new ones stay")
    if (problem := _serve_new(state)) is not None:
        return freeze(state, kept.plus(f", and {problem}"))
    return end(state, Outcome.FAILED_FORWARD, kept)


def _serve_new(state: TransactionState) -> str | None:
    """Return why the new files are not served, where a service that ran is down; a running service is left alone."""
    live_view = state.look()
    is_served = not state.plan.serves or state.serves_new(live_view)
    if is_served and not judge_new(state.plan, state.baseline, live_view).unserved:
        return None
    if live_view.answering:
        return "the running service was left alone"
    if not (state.baseline.answering or state.context.attended):
        # Somebody may have stopped it.
        state.remark("no endpoint answered before or after: the service was not started")
        return None
    problem = _serve_again(state, lambda seen: judge_new(state.plan, state.baseline, seen, required=True))
    return None if problem is None else "no service could be started with these either"


def freeze_on_the_new(state: TransactionState, failure: Failure, why: str) -> Ending:
    """Freeze with the new files, whole where possible, since the old set may not come back."""
    kept = failure.plus(f"; the old set may not come back ({why})")
    try:
        if can_complete(state):
            complete(state)
            kept = kept.plus(", so the new files stay")
    except OSError as error:
        said = f", and the new files could not all be put in place: {detail_of(error)}"
        return freeze(state, kept.plus(said), again=True)
    except ThirdPartyError as error:
        kept = kept.plus(f", and {error}")
    return freeze(state, kept)


def stay_unseen(state: TransactionState, failure: Failure) -> Ending:
    """End with the new files where services do not run."""
    state.remark("the new files stay; the services are down, so nobody has seen them served")
    return end(state, Outcome.FAILED_FORWARD, failure)
