"""What a person sees of a transaction while it goes on."""

from __future__ import annotations

import io

import pytest

from actions.journal import Event, Record
from actions.orphan import _SAID, OrphanFate
from actions.plan import Kind
from monitor.actor.documents import step_document, waits_document
from monitor.commands.outcome import StepDisplay

SERVES = "serves the new chain, and no client of theirs is lost"


def shown(*steps: dict[str, object]) -> list[str]:
    """Return the lines for these steps, without their times."""
    where = io.StringIO()
    progress = StepDisplay(where)
    for each in steps:
        progress.hear(each)
    return [line.partition(" s  ")[2] for line in where.getvalue().splitlines()]


@pytest.mark.parametrize("fate", OrphanFate)
def test_a_command_without_an_end_in_the_journal_is_told_of_only_where_it_took_time(fate: OrphanFate) -> None:
    reason = f"the journal has no end of `nginx -t`: {_SAID[fate]}"
    record = Record(1.0, "t", Event.COMMAND_OVER, {"components": ["web"], "fate": fate, "reason": reason})
    assert shown(step_document(record)) == ([] if fate is OrphanFate.GONE else [reason])
    assert "killed process" not in reason, "its process may still run: a full disk takes no record"


def test_who_waits_sees_what_is_waited_for() -> None:
    assert shown(waits_document("the replace of web, asked for by alice (uid 1000)", 1.0)) == [
        "waiting for the replace of web, asked for by alice (uid 1000)"
    ]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"kind": Kind.REPLACE}, "every endpoint serves the new chain, and no client is lost"),
        (
            {"kind": Kind.ROLLBACK, "lost": ["browser", "portal"]},
            "every endpoint serves the new chain, and no client is lost but, as planned, browser, portal",
        ),
        (
            {"kind": Kind.REPLACE, "seen": True, "unseen": ["mail", "mail:25"]},
            f"every endpoint that answers {SERVES}; not seen, since nobody answers there: mail, mail:25",
        ),
        (
            {"kind": Kind.REPLACE, "seen": False, "unseen": ["mail"]},
            "no endpoint answered: the served chain and the clients were not seen",
        ),
        ({"kind": Kind.TRUST}, "each client was asked again, and no client is lost"),
    ],
)
def test_a_validation_says_who_was_lost_and_of_a_trust_store_nothing_of_chains(
    facts: dict[str, object], said: str
) -> None:
    assert shown(step_document(Record(1.0, "t", Event.VALIDATED, {"accepted": [], **facts}))) == [said]
