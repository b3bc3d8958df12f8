"""Waiting until an approved plan has been carried out, by following the actor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from actions.journal import Event
from actions.journal_state import Case, JournalState
from config.text import Printable, printable, sentence
from monitor.actor.client import NoActor, talking
from monitor.actor.documents import endings_document, step_document
from monitor.actor.follow import Follower
from monitor.actor.request import Document
from monitor.dialect import unix

_SILENCE: Final = 60.0
"""Seconds of silence after which the actor counts as gone: it sends a line in each second."""
BACK_WITHIN: Final = 60.0
"""Seconds for an actor that is gone to come back: one that is restarted finishes or undoes the transaction first."""
_BETWEEN: Final = 0.5
"""Seconds between two attempts to reach it."""
_OVER: Final = frozenset({Event.CLOSED, Event.FROZEN, Event.REFUSED})
"""The last record of a transaction is one of these."""


def wait_for_end(socket: str, approved: Document, told: Callable[[Mapping[str, Any]], None]) -> Document:
    """Return how the plan of an answer to an approval ended, as a part of an answer; `told` hears of each step.

    An actor that goes away meanwhile is waited for, since its journal tells how the transaction ended. Where the plan
    will not be carried out, or nobody can tell, the part says so.
    """
    plan, until = str(approved["approved"]), unix(approved["until"])
    last, known = time.monotonic(), set[int]()

    def heard(documents: Iterable[Document]) -> Iterator[Document]:
        nonlocal last
        for document in documents:
            last = time.monotonic()
            yield document

    while True:
        try:
            with talking(socket, Follower().begin(), _SILENCE) as documents:
                return _end(heard(documents), plan, until, told, known)
        except (NoActor, OSError) as error:
            if time.monotonic() - last >= BACK_WITHIN:
                return {"unknown": _unknown(str(error))}
        time.sleep(_BETWEEN)


def begun_already(socket: str, beginning: str) -> str:
    """Return the hash of the last plan that was begun and whose hash begins so; empty where none was, or none answers.

    A plan that was begun waits no longer, so that it cannot be approved again.
    """
    found = ""
    with suppress(NoActor, OSError), talking(socket, Follower().begin(), _SILENCE) as documents:
        follower = Follower()
        for document in documents:
            if (heard := follower.take(document)) is not None and heard.record.event is Event.BEGIN:
                plan = str(heard.record.data.get("hash", ""))
                found = plan if plan.startswith(beginning) else found
            if follower.caught_up or "cannot" in document:
                break
    return found


def _unknown(why: str) -> Printable:
    return sentence(
        "the actor went away, and was not back within {} s ({}): how the plan ended is not known here. "
        "Once an actor runs, it finishes or undoes the transaction, and `certvigil audit` tells how it ended",
        BACK_WITHIN,
        printable(why),
    )


def _end(
    documents: Iterable[Document],
    plan: str,
    until: float,
    told: Callable[[Mapping[str, Any]], None],
    known: set[int] | None = None,
) -> Document:
    """Return the end of what begins with the last approval of `plan`; `known` are numbers of steps told before."""
    follower, transaction, ending = Follower(), "", None
    known = set() if known is None else known
    cases: frozenset[Case] = frozenset()
    for document in documents:
        if "cannot" in document:
            return document
        heard = follower.take(document)
        proposals = follower.journal_state.proposals
        cases = proposals[plan].cases if plan in proposals else cases
        if heard is not None and heard.is_news:
            record, ended = heard.record, heard.ended
            about = str(record.data.get("hash", "")) == plan
            if record.event is Event.APPROVED and about:
                # An earlier end of this plan does not count.
                transaction, ending = "", None
            elif record.event is Event.BEGIN and about:
                transaction = record.transaction
            if record.transaction == transaction != "" and record.sequence not in known:
                known.add(record.sequence)
                told(step_document(record))
            if ended is not None and ended.plan == plan:
                ending = ended
            if ending is not None and record.transaction == ending.transaction and record.event in _OVER:
                return endings_document([ending])
        elif "here" not in document:
            continue
        elif ending is not None:
            return endings_document([ending])
        elif transaction == "" and (why := _hopeless(follower.journal_state, plan, cases, until)) is not None:
            return {"expired": why}
    raise ConnectionError("the actor went away without an answer")


def _hopeless(journal_state: JournalState, plan: str, cases: frozenset[Case], until: float) -> str | None:
    """Say why the plan will not be carried out any more; None while it may be."""
    if plan not in journal_state.proposals and (word := journal_state.no_to(cases)) is not None:
        return f"it was rejected by {word.by}"
    if plan not in journal_state.proposals:
        return "it waits no longer: its cause is gone, or the plan is another by now"
    return "its approval has expired" if time.time() >= until else None
