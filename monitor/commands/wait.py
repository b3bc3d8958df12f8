"""Waiting until an approved plan has been carried out, by following the actor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from actions.journal import Event
from actions.journal_state import Case, JournalState
from monitor.actor.client import NoActor, talking
from monitor.actor.documents import endings_document, step_document
from monitor.actor.follow import Follower
from monitor.actor.request import Document
from monitor.dialect import unix

_SILENCE: Final = 60.0
"""Seconds of silence after which the actor counts as gone: it sends a line in each second."""
_OVER: Final = frozenset({Event.CLOSED, Event.FROZEN, Event.REFUSED})
"""The last record of a transaction is one of these."""


def wait_for_end(socket: str, approved: Document, told: Callable[[Mapping[str, Any]], None]) -> Document:
    """Return how the plan of an answer to an approval ended, as a part of an answer; `told` hears of each step.

    Where it will not be carried out, the part says so. Raises OSError.
    """
    try:
        with talking(socket, Follower().begin(), _SILENCE) as documents:
            return _end(documents, str(approved["approved"]), unix(approved["until"]), told)
    except NoActor as error:
        return {"expired": f"{error}, so nobody carries it out"}


def _end(documents: Iterable[Document], plan: str, until: float, told: Callable[[Mapping[str, Any]], None]) -> Document:
    """Return the end of what begins with the last approval of `plan`."""
    follower, transaction, ending = Follower(), "", None
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
            if record.transaction == transaction != "":
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
    raise ConnectionError("the actor went away without an answer; `certvigil audit` tells how it ended")


def _hopeless(journal_state: JournalState, plan: str, cases: frozenset[Case], until: float) -> str | None:
    """Say why the plan will not be carried out any more; None while it may be."""
    if plan not in journal_state.proposals and (word := journal_state.no_to(cases)) is not None:
        return f"it was rejected by {word.by}"
    if plan not in journal_state.proposals:
        return "it waits no longer: its cause is gone, or the plan is another by now"
    return "its approval has expired" if time.time() >= until else None
