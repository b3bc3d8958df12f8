"""Recovering: an operator's word that a component is in order again, and the end of interrupted transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actions.journal import Event
from actions.late import look_again
from actions.lock import Busy
from actions.recover import KeptPaths, NotWhole, left_to_others, recover, thaw
from actions.transaction_state import TransactionContext
from config.service import Activation
from config.text import Printable, harmless, listed, printable, sentence
from monitor.actor.context import ActorContext
from monitor.actor.documents import busy_document, cannot, endings_document, late_document
from monitor.actor.request import Document, Request
from monitor.actor.way_out import way_out
from monitor.actor.work import Work


def recover_all(work: Work, request: Request) -> Document:
    """Take an operator's word, then finish or undo interrupted transactions.

    1. Thaw `request.components`.
    2. Release the candidates in quarantine that begin with `request.plan`.
    3. Reinstate the key that begins with `request.key`.
    4. Finish or undo interrupted transactions, and keep late writes.
    5. Tell the remaining faults: with those components where some are named, else with all.

    A step that fails ends it; the effects of the earlier steps stand. Raises JournalError, BackupError, OSError.
    """
    context = work.context
    transaction = replace(context.transaction, asked={"by": work.by}, told=work.told)
    frozen = context.journal_state().frozen
    thawed = [each for each in request.components if each in frozen]
    # 1
    kept = _thaw(context, transaction, request.components)
    if not isinstance(kept, list):
        return cannot(kept)
    # 2
    released = _release(work, request.plan)
    if not isinstance(released, list):
        return cannot(released)
    # 3
    reinstated = _reinstate(work, request.key)
    if not isinstance(reinstated, list):
        return cannot(reinstated)
    # 4
    recovered = recover(transaction, services_run=work.services_run)
    compared = look_again(transaction)
    # 5
    return {
        **endings_document(each for each in recovered if not left_to_others(each)),
        "thawed": thawed,
        "not_frozen": [each for each in request.components if each not in thawed],
        "unanswered": [
            _start(context, each) for each in request.components if work.services_run and _is_unanswered(context, each)
        ],
        "released": released,
        "reinstated": reinstated,
        "kept": kept,
        **busy_document(recovered),
        **late_document(compared),
        **_still_wrong(context, request),
    }


def _thaw(context: ActorContext, transaction: TransactionContext, components: Sequence[str]) -> list[str] | Printable:
    """Thaw the components; return the paths of files that stay beside theirs, printable, or why one stays frozen."""
    kept: list[str] = []
    for name in components:
        match thaw(transaction, name):
            case Busy() as busy:
                return harmless(busy.sentence)
            case NotWhole(component, why):
                way = way_out(context, component) if component in context.config.components else Printable("")
                because = listed(filter(None, (harmless(why), way)), ". ")
                return sentence("{} stays frozen, and nothing was removed: {}", printable(component), because)
            case KeptPaths(paths):
                kept += map(printable, paths)
    return kept


def _release(work: Work, beginning: str) -> list[str] | Printable:
    """Let the candidates in quarantine that begin so be tried again; return them, or why there are none."""
    if not beginning:
        return []
    found = [each for each in work.context.journal_state().quarantined if each.startswith(beginning)]
    for each in found:
        work.note(Event.RELEASED, candidate=each)
    return found or sentence("no candidate in quarantine begins with {}", printable(beginning))


def _reinstate(work: Work, beginning: str) -> list[str] | Printable:
    """Let the one key that was given up and begins so be used again; return it, or why there is none."""
    if not beginning:
        return []
    found = [each for each in work.context.journal_state().given_up if each.startswith(beginning)]
    if len(found) != 1:
        number = Printable("more than one key") if found else Printable("no key")
        return sentence("{} that was given up begins with {}", number, printable(beginning))
    work.note(Event.KEY_REINSTATED, keys=found, by=work.by)
    return found


def _is_unanswered(context: ActorContext, component: str) -> bool:
    """Whether a component has endpoints, and no endpoint answers."""
    live_view = context.transaction.live.look((component,), context.world.now())
    return bool(live_view.served) and not live_view.answering


def _start(context: ActorContext, component: str) -> Document:
    """Return the command that starts a component's service, and whether `certvigil activate` runs it."""
    service = context.transaction.services[component]
    if service.quiesce:
        return {"component": component, "start": list(service.start or ()), "activates": True}
    return {
        "component": component,
        "start": list(service.restart),
        "activates": service.activate is Activation.RESTART,
    }


def _still_wrong(context: ActorContext, request: Request) -> Document:
    """Return why components are frozen and candidates are in quarantine, as a part of an answer.

    With the commands that would make one whole set of a frozen component's files, where they are no whole set.
    """
    journal_state = context.journal_state()
    frozen, quarantined = journal_state.frozen, journal_state.quarantined
    if request.components or request.plan or request.key:
        frozen = {name: why for name, why in frozen.items() if name in request.components}
        quarantined = {}
    ways = {name: way_out(context, name) for name in frozen if name in context.config.components}
    return {
        "frozen": frozen,
        "way_out": {name: way for name, way in ways.items() if way},
        "quarantined": {each: f"{_tried_for(context, each)}{why}" for each, why in quarantined.items()},
    }


def _tried_for(context: ActorContext, candidate: str) -> str:
    """Say for which components a candidate in quarantine was tried, the beginning of a sentence."""
    records = context.records()
    put = next(
        (each for each in records if each.event is Event.QUARANTINED and each.data.get("candidate") == candidate), None
    )
    begun = [each for each in records if put and each.event is Event.BEGIN and each.transaction == put.transaction]
    names = [str(name) for each in begun for name in each.data.get("plan", {}).get("components", ())]
    return f"of {', '.join(names)}: " if names else ""
