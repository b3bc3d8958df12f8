"""The worth of the sets of a transaction: the old set, judged now, and the set that a component has on disk."""

from __future__ import annotations

from actions import backup
from actions.ending import Cause, Failure, detail_of
from actions.plan import Change
from actions.transaction_state import TransactionState
from actions.validate import Worth
from actions.verdict import Old
from config.text import printable


def old_set(state: TransactionState, *, served: bool = False) -> Worth:
    """Return the worth of the old set now, and why.

    With `served`, the new set is on disk: then the old set is also spent where only the new set has clients.
    """
    if not state.plan.changes:
        return Worth()
    if state.no_return:
        return Worth(Old.BARRED, "no service starts with it")
    live, components, now = state.context.live, state.plan.components, state.now()
    # Looking and judging come from outside. Whatever fails there, the old set is the safe set.
    try:
        old = _old_files(state)
        if live.worth is not None and (worth := live.worth(components, old, now)).old is not Old.USABLE:
            return worth
        if served and not live.judge(components, old, now):
            new = {each.path: state.world.read(each.path)[1] for each in state.plan.changes}
            if live.judge(components, new, now):
                return Worth(Old.SPENT, "no client accepts it any more")
    except Exception as error:  # noqa: BLE001
        state.remark(f"the old set could not be judged: {type(error).__name__}")
    return Worth()


def nobody_gains_by_the_old(state: TransactionState, failure: Failure) -> bool:
    """Whether the new chains are served, a client accepts them, and the old set, judged now, would win no client back.

    Where the new chains are not served by all endpoints, the old set must even be worse.
    """
    served = state.last.accepted | state.last.partly
    if failure.cause not in (Cause.CLIENT_LOST, Cause.NOT_SERVED) or not served:
        return False
    if state.baseline.answering - state.last.reliable or not state.serves_new(state.last):
        return False
    # A judgement that fails is no reason to keep the new set.
    try:
        old = _old_files(state)
        judge = state.context.live.judge
        would = frozenset() if state.no_return else judge(state.plan.components, old, state.now())
    except Exception as error:  # noqa: BLE001
        state.remark(f"the old set could not be judged: {type(error).__name__}")
        return False
    gains = any(each.client not in state.plan.expected_losses for each in would - state.last.accepted)
    return not gains and (failure.cause is Cause.CLIENT_LOST or would < served)


def _old_files(state: TransactionState) -> dict[str, bytes]:
    old: dict[str, bytes] = {}
    for component in state.changed_components:
        taken = backup.load(state.world, state.root, component, state.name)
        content = backup.content(state.world, state.root, taken)
        old.update((path, data) for path, data in content.items() if data is not None)
    return old


def why_unusable(state: TransactionState, component: str) -> str:
    """Return why a component's files on disk are no whole set, key included; empty where they are, or nobody can tell.

    The end of a sentence, printable.
    """
    world = state.world
    changes = [each for each in state.plan.changes if each.component == component]
    given = [_configured(each) for each in changes]
    given += [path for name, path, _ in state.plan.stands if name == component]
    held: dict[str, bytes] = {}
    try:
        for path in map(world.resolve, given):
            try:
                held[path] = world.read(path)[1]
            except FileNotFoundError:
                if path in {world.resolve(_configured(each)) for each in changes if each.before and each.after}:
                    return f"{printable(path)} is missing"
        if state.context.live.worth is None or not given:
            return ""
        worth = state.context.live.worth((component,), held, state.now())
    except OSError as error:
        return f"its files cannot be read: {detail_of(error)}"
    return worth.why if worth.old is Old.BARRED else ""


def _configured(change: Change) -> str:
    return change.given or change.path
