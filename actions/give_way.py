"""Giving way: another writer has put a set of their own on disk, and it is whole, served and accepted.

Every look at new or restored files is judged here, since another writer may come at any time: by the new set while its
files are on disk, else by the other writer's set. A set of theirs that holds ends the transaction as SUPERSEDED, and
nothing is undone. A key that was given up is an exception: nobody brings it back.
"""

from __future__ import annotations

from dataclasses import replace

from actions.close import end
from actions.ending import Cause, Ending, Failure, Outcome
from actions.examine import changed
from actions.plan import Serving
from actions.set_worth import why_unusable
from actions.transaction_state import TransactionState
from actions.validate import LiveView, Seen, judge_new, judge_old, watch

SUPERSEDED = Failure(
    Cause.CHANGED,
    "another writer put another whole set in place meanwhile, which is served, and accepted by all clients that "
    "accepted before",
)


def give_way(state: TransactionState) -> Ending | None:
    """End the transaction where another writer's set is whole, served and accepted, or becomes so in time; else None.

    The transaction waits for that once.
    """
    if not state.services_run or not state.patient or not state.look().answering:
        return None
    seen = watch(state.world, state.look, lambda view: judge(state, view), state.context.terms)
    if seen.theirs:
        failure_of_theirs(state, seen)
    return end(state, Outcome.SUPERSEDED, SUPERSEDED) if state.superseded else None


def judge(state: TransactionState, live_view: LiveView) -> Seen:
    """Judge a look by the new files while they are on disk, else by the other writer's."""
    required = state.context.terms.required or state.no_return
    seen = judge_new(state.plan, state.baseline, live_view, required=required)
    is_ours = changed(state) is None
    if is_ours and (state.plan.changes or seen.steady):
        return seen
    serves = whole_on_disk(state)
    if is_ours and (serves is None or _is_ours(state, serves)):
        return seen
    return replace(_judge_theirs(state, serves, live_view), theirs=True)


def judge_restored(state: TransactionState, live_view: LiveView) -> Seen:
    """Judge a look after a rollback: files that were not touched may be another writer's by now."""
    seen = judge_old(state.plan, state.baseline, live_view)
    if seen.unserved and (serves := whole_on_disk(state)) is not None:
        theirs = _judge_theirs(state, serves, live_view)
        return theirs if not theirs.unserved else seen
    return seen


def failure_of_theirs(state: TransactionState, seen: Seen) -> Failure:
    """Return why the transaction does not go on with the new files, after another writer's were seen on disk.

    Sets `superseded` where their set holds.
    """
    state.patient = False
    # A given-up key may not come back, however well it is served.
    barred = [why for each in state.plan.components if (why := why_unusable(state, each))] if seen.steady else []
    state.superseded = seen.steady and not barred
    if state.superseded:
        return SUPERSEDED
    found = changed(state) or Failure(Cause.CHANGED, "the files were changed by someone else meanwhile")
    lost = [f"{each.client} does not accept it at {each.endpoint}" for each in seen.lost]
    return found.plus(f": {'; '.join((*seen.unserved, *lost, *barred))}")


def whole_on_disk(state: TransactionState) -> tuple[Serving, ...] | None:
    """Return the chains that the files on disk would be served as; None where the files are no whole set."""
    try:
        return state.context.live.whole(state.plan.components)
    # The examination comes from outside. A set that cannot be examined does not count as whole.
    except Exception as error:  # noqa: BLE001
        state.remark(f"the files on disk could not be examined: {type(error).__name__}")
        return None


def _judge_theirs(state: TransactionState, serves: tuple[Serving, ...] | None, live_view: LiveView) -> Seen:
    if serves is None:
        return Seen(live_view, ("the files that somebody else put on disk are no whole set",))
    if not any(each.chain for each in live_view.served):
        return Seen(live_view, ("nothing is served",))
    theirs = replace(state.plan, serves=serves)
    return judge_new(theirs, state.baseline, live_view, required=state.context.terms.required)


def _is_ours(state: TransactionState, serves: tuple[Serving, ...]) -> bool:
    ours = {each.endpoint: set(each.chains) for each in state.plan.serves}
    return all(ours.get(each.endpoint, set()) & set(each.chains) for each in serves)
