"""What is refused before a transaction is in audit and history, once for each change, however often it is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actions.journal_state import ActionRequest, JournalState
from actions.plan import Kind
from monitor.actor import declined
from monitor.actor.context import ActorContext
from monitor.actor.declined import MOST, note_declined
from monitor.actor.work import Work
from monitor.lab.ca import Issued
from tests.kit.actor import ActorHouse
from tests.kit.authority import ISSUING, fresh
from tests.kit.daemon import RunningDaemon, certvigil

pytestmark = pytest.mark.server("nginx")

REPLACE = ActionRequest(Kind.REPLACE, ("web",))


def records(web: ActorHouse) -> list[dict[str, Any]]:
    return [dict(each) for each in web.records() if each["event"] == "declined"]


def replaced(web: ActorHouse, issued: Issued) -> int:
    web.put(issued)
    return web.command("replace", "web")[0]


def test_a_person_s_refused_request_is_in_the_audit_with_its_reason_once_for_many_retries(web: ActorHouse) -> None:
    wrong = ISSUING.issue("elsewhere.example.com")
    for _ in range(3):
        assert replaced(web, wrong) == 1
    (record,) = records(web)
    assert record["grounds"] == ["names_missing", "client_lost"]
    said = web.command("audit", "web")[1]
    assert (said.count("declined replace web"), "names_missing: " in said) == (1, True), said
    (told,) = [
        json.loads(line) for line in web.command("audit", "web", "--action", "replace", "--json")[1].splitlines()
    ]
    assert (told["event"], "(uid " in told["data"]["by"]) == ("declined", True)
    assert web.command("audit", "--verify")[0] == 0
    assert replaced(web, fresh()) == 0
    assert replaced(web, wrong) == 1
    assert len(records(web)) == 2, "after a change, the same refusal is news"


def test_another_reason_is_another_record_and_a_mere_look_or_nothing_to_do_is_none(web: ActorHouse) -> None:
    new = fresh()
    assert replaced(web, new) == 0
    assert replaced(web, new) == 0, "nothing to do"
    wrong = ISSUING.issue("elsewhere.example.com")
    web.put(wrong)
    assert web.command("replace", "web", "--dry-run")[0] == 1
    assert records(web) == []
    assert web.command("replace", "web")[0] == 1
    assert web.command("replace", "web", "--plan", "0" * 64)[0] == 1
    assert web.command("rollback", "web", "--plan", "0" * 64)[0] == 4
    reasons = [str(each["reason"]) for each in records(web)]
    assert [each.startswith(said) for each, said in zip(reasons, ("names_missing: ", "this plan is "), strict=True)]


def test_however_many_reasons_there_are_few_are_recorded_in_an_hour(web: ActorHouse, context: ActorContext) -> None:
    work = Work(context, "a script")
    for number in range(10 * MOST):
        note_declined(work, REPLACE, {"cannot": f"reason {number}"})
    assert len(records(web)) == MOST
    for number in range(10 * MOST):
        note_declined(work, REPLACE, {"cannot": f"reason {number % 2}"})
    assert len(records(web)) == MOST


def test_the_same_refusal_is_told_again_after_a_day(
    web: ActorHouse, context: ActorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, answer = Work(context, "a script"), {"refused": {"objections": [{"ground": "too_short", "detail": "why"}]}}
    for _ in range(2):
        note_declined(work, REPLACE, answer)
    assert len(records(web)) == 1
    monkeypatch.setattr(declined, "AGAIN", 0.0)
    note_declined(work, REPLACE, answer)
    assert len(records(web)) == 2


def test_a_refusal_is_no_ending_on_which_decisions_depend(web: ActorHouse, context: ActorContext) -> None:
    assert replaced(web, fresh()) == 0
    before = context.journal_state()
    note_declined(Work(context, "a script"), REPLACE, {"cannot": "why"})
    after = JournalState.of(context.records())
    assert (after.last, after.recent, after.counts) == (before.last, before.recent, before.counts)
    assert {component for component, _ in after.declined} == {"web"}


def test_a_candidate_that_is_refused_in_the_inbox_is_in_audit_and_history(web: ActorHouse) -> None:
    daemon = RunningDaemon({**web.document({"mode": "approve"}), "rescan": "1s"})
    with web.actor(), daemon:
        web.put(ISSUING.issue("elsewhere.example.com"))
        daemon.wait_for(lambda: daemon.findings("web/actions") == {"candidate_refused"}, "the finding")
        daemon.wait_for(lambda: len(records(web)) == 1, "its record")
        daemon.wait_until("ended", target="web/actions", outcome="refused")
        asked = ("history", "web/actions", "--config", daemon.config_file)
        daemon.wait_for(lambda: "names_missing" in certvigil(*asked).stdout, "the history")
        assert len(records(web)) == 1
