"""An action of a person is bound to the state that they saw: whoever waited changes no other state than that."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.context import ActorContext
from monitor.actor.handlers import handle
from monitor.actor.meanwhile import SeenState, seen_now
from monitor.actor.request import Document, Request, Verb
from monitor.actor.work import Work
from tests.kit.actor import ActorHouse
from tests.kit.authority import fresh
from tests.kit.daemon import with_usual_paths
from tests.kit.openssl_client import presented

pytestmark = pytest.mark.server("nginx")

REPLACE, ROLLBACK, ACTIVATE = (ActionRequest(each, ("web",)) for each in (Kind.REPLACE, Kind.ROLLBACK, Kind.ACTIVATE))
RESET = ActionRequest(Kind.ROLLBACK, ("web",), "default")


def carried_out(
    context: ActorContext, action: ActionRequest, seen: SeenState | None = None, *, by: str = "alice", plan: str = ""
) -> Document:
    return handle(Work(context, by, seen=seen), Request(Verb.CARRY_OUT, action, plan))


def outcome(answer: Document) -> str:
    return str(answer["endings"][-1]["outcome"]) if answer.get("endings") else grounds(answer)[0]


def grounds(answer: Document) -> list[str]:
    return [str(each["ground"]) for each in answer["refused"]["objections"]]


def test_of_two_rollbacks_at_once_the_second_does_not_undo_the_first(web: ActorHouse) -> None:
    answers: list[Document] = []
    with web.actor() as actor:
        for _ in range(2):
            web.put(fresh())
            assert outcome(actor.ask(Request(Verb.CARRY_OUT, REPLACE))) == "committed"
        both = [
            threading.Thread(target=lambda: answers.append(actor.ask(Request(Verb.CARRY_OUT, ROLLBACK))))
            for _ in range(2)
        ]
        for each in both:
            each.start()
        for each in both:
            each.join(60)
    assert sorted(map(outcome, answers)) == ["changed_meanwhile", "committed"], answers
    (refused,) = [each for each in answers if "refused" in each]
    (objection,) = refused["refused"]["objections"]
    for word in (
        "web changed after this rollback was asked for, by the rollback for ",
        "(uid ",
        "certvigil backups web",
    ):
        assert word in with_usual_paths(objection["detail"])
    declined = [each for each in web.records() if each["event"] == "declined"]
    assert [each["grounds"] for each in declined] == [["changed_meanwhile"]]


@pytest.mark.parametrize(
    ("meant", "meanwhile", "ends"),
    [
        (ROLLBACK, REPLACE, "changed_meanwhile"),
        (RESET, REPLACE, "changed_meanwhile"),
        (REPLACE, ROLLBACK, "changed_meanwhile"),
        (ACTIVATE, REPLACE, "nothing_to_do"),
        (REPLACE, REPLACE, "committed"),
        (RESET, RESET, "nothing_to_do"),
    ],
    ids=lambda each: f"{each.kind} {each.backup_set}" if isinstance(each, ActionRequest) else each,
)
def test_an_action_is_refused_where_another_gave_it_another_meaning_before_its_turn(
    web: ActorHouse, context: ActorContext, meant: ActionRequest, meanwhile: ActionRequest, ends: str
) -> None:
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE)) == "committed"
    seen = seen_now(context, meant)
    if meanwhile is REPLACE:
        web.put(fresh())
    assert outcome(carried_out(context, meanwhile, by="bob (uid 7)")) == "committed"
    if meant is REPLACE:
        web.put(fresh())
    before = web.on_disk()
    answer = carried_out(context, meant, seen)
    assert outcome(answer) == ends, answer
    if ends == "changed_meanwhile":
        assert f"by the {meanwhile.kind} for bob (uid 7), committed at " in answer["refused"]["objections"][0]["detail"]
        assert web.on_disk() == before
        assert outcome(carried_out(context, meant)) == "committed", "whoever asks again has seen it"


def test_a_transaction_that_was_undone_changed_nothing_for_whoever_waited(
    web: ActorHouse, context: ActorContext
) -> None:
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE)) == "committed"
    seen = seen_now(context, ROLLBACK)
    first = web.on_disk()
    web.configure({"service": {**web.component()["service"], "test": ["/bin/false"]}})  # type: ignore[dict-item]
    web.put(fresh())
    assert web.command("replace", "web")[0] == 1
    assert web.on_disk() == first
    assert outcome(carried_out(context, ROLLBACK, seen)) == "committed"


@pytest.mark.parametrize("action", [ROLLBACK, ACTIVATE], ids=lambda each: str(each.kind))
def test_what_another_writer_put_on_disk_while_a_person_waited_is_not_touched(
    web: ActorHouse, context: ActorContext, action: ActionRequest
) -> None:
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE)) == "committed"
    seen, theirs = seen_now(context, action), fresh()
    Path(web.site.certificate).write_bytes(theirs.chain_pem())
    Path(web.site.key).write_bytes(theirs.key_pem())
    served, before = presented(web.server), web.on_disk()
    answer = carried_out(context, action, seen)
    assert grounds(answer) == ["changed_meanwhile"], answer
    assert f"{web.site.certificate}, {web.site.key} by another writer" in answer["refused"]["objections"][0]["detail"]
    assert (presented(web.server), web.on_disk()) == (served, before)


def test_a_plan_that_is_another_by_now_is_refused_with_what_changed(web: ActorHouse, context: ActorContext) -> None:
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE)) == "committed"
    plan = handle(Work(context, "alice"), Request(Verb.PLAN, ROLLBACK))["plan"]["hash"]
    seen = seen_now(context, ROLLBACK)
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE, by="bob")) == "committed"
    answer = carried_out(context, ROLLBACK, seen, plan=plan)
    assert (
        "not the one that was asked for: look at it again. web changed after this rollback was asked for"
        in answer["cannot"]
    )
    assert "by the replace for bob, committed" in answer["cannot"]


def test_a_replacement_of_compromised_keys_goes_on_whatever_happened(web: ActorHouse, context: ActorContext) -> None:
    web.put(fresh())
    assert outcome(carried_out(context, REPLACE)) == "committed"
    urgent = ActionRequest(Kind.REPLACE, ("web",), key_compromised=True)
    seen = seen_now(context, urgent)
    assert outcome(carried_out(context, ROLLBACK)) == "committed"
    web.put(fresh())
    assert outcome(carried_out(context, urgent, seen)) == "committed"
