"""Which components a record of the journal concerns: the actor is asked about these again, and about no other."""

from __future__ import annotations

from typing import Any

import pytest

from actions.ending import Cause, Outcome
from actions.journal import Event, Record
from actions.journal_state import ActionRequest, JournalState, RecordedEnding
from actions.plan import Kind
from monitor.act.journal import concerned

PLAN = "aa" * 32


def record(event: Event, **data: Any) -> Record:
    return Record(1.0, "", event, data)


def after(*records: Record) -> JournalState:
    return JournalState.of(records)


PROPOSED = record(
    Event.PROPOSED, hash=PLAN, action=ActionRequest(Kind.ACTIVATE, ("web", "portal")).to_json(), case={}, by="daemon"
)


@pytest.mark.parametrize(
    ("news", "components"),
    [
        (record(Event.APPROVED, hash=PLAN, by="alice", until=9.0), {"web", "portal"}),
        (record(Event.APPROVED, hash="bb" * 32, by="alice", until=9.0), None),
        (record(Event.REJECTED, hash=PLAN, kind="activate", components=["web"], case={}, by="bob"), {"web"}),
        (record(Event.THAWED, components=["mail"]), {"mail"}),
        # What lies in another inbox may be the same candidate, or have the same key.
        (record(Event.RELEASED, candidate="c"), None),
        (record(Event.QUARANTINED, candidate="c", components=["web"]), None),
        (record(Event.KEY_GIVEN_UP, keys=["k"], components=["web"], by="alice"), None),
    ],
)
def test_a_record_concerns_the_components_that_it_names_and_all_where_it_may_be_about_any(
    news: Record, components: set[str] | None
) -> None:
    state = after(PROPOSED, news)
    assert concerned(news, None, state) == components


def test_an_ending_concerns_the_components_of_its_transaction() -> None:
    ended = RecordedEnding(
        transaction="tx",
        kind=Kind.REPLACE,
        components=("web", "mail"),
        outcome=Outcome.COMMITTED,
        cause=Cause.NONE,
        reason="the files are in use",
        by="daemon",
        at=2.0,
        plan=PLAN,
        began=1.0,
    )
    assert concerned(record(Event.COMMITTED), ended, JournalState()) == frozenset({"web", "mail"})
