"""Orders with the actor: as few requests as it takes, each about what is concerned, and nothing kept for ever."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import pytest

from actions.journal import Event, Record
from actions.plan import Kind
from config.model import Artefacts, Component
from config.service import systemd
from config.vocabulary import Code, Mode
from monitor.act.components import Components
from monitor.act.connection import ActorConnection
from monitor.act.findings import findings_of
from monitor.act.inboxes import Inboxes
from monitor.act.journal import JournalFollower
from monitor.act.orders import Orders
from monitor.actor.request import Document, Request, Verb
from monitor.decide.situation import KnownCandidate
from monitor.decide.table import DecisionTable
from monitor.lab.ca import bundle
from monitor.lab.servers import write_site
from monitor.state.messages import CandidateConsidered
from monitor.state.registry import TargetRegistry
from probes.certificate import certificate
from tests.kit.actor import ISSUER, ActorHouse
from tests.kit.authority import ISSUING, fresh
from tests.kit.daemon import RunningDaemon
from tests.kit.metrics import series
from tests.kit.monitors import Kept, config_with, registry_of
from tests.kit.openssl_client import presented
from tests.kit.relay import Relay
from tests.kit.situations import ACTIVATE, NOW, REPLACE, found, has, policy, situation

AUTO: Final = {"mode": "auto", "allowed_issuers": [ISSUER]}


@pytest.mark.server("nginx")
def test_an_automatic_replacement_has_its_plan_made_twice_and_no_other_component_considered(
    web: ActorHouse, cleanup: ExitStack
) -> None:
    """Once when the candidate comes, and once by the actor as it carries the plan out; then the inbox is empty."""
    mail = write_site(f"{web.directory}/mail", fresh())
    components: dict[str, Any] = {
        "web": web.component(**AUTO),
        "mail": {
            **web.component(**AUTO, artefacts={"certificate": mail.certificate, "key": mail.key}),
            "endpoints": [],
        },
    }
    relay = cleanup.enter_context(Relay(f"{web.directory}/relay.sock", web.actor().socket))
    document = {**web.document(), "components": components, "rescan": "1h"}
    with open(web.config_file, "w", encoding="utf-8") as file:
        json.dump(document, file)
    cleanup.enter_context(web.actor())
    asked_there = {**document, "actor": {**document["actor"], "socket": relay.path}}
    daemon = cleanup.enter_context(RunningDaemon(asked_there))
    daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
    daemon.wait_for(lambda: relay.acts("web") and relay.acts("mail"), "both being considered")
    daemon.wait_for(lambda: relay.is_quiet(3.0), "the start being over")
    # The first record begins the journal, which is then told anew.
    for number in (0, 1):
        relay.forget()
        new = fresh()
        web.put_file("new.pem", bundle([new, ISSUING]) + new.key_pem())
        daemon.wait_until("ended", number, target="web/actions", outcome="committed")
        daemon.wait_for(lambda: os.listdir(web.inbox) == [], "the inbox being emptied")
        sha256 = certificate(new.der()).sha256
        daemon.wait_until("presents", target="web/certificate", sha256=sha256)
        daemon.wait_for(lambda: relay.acts("web")[2:], "the look at the empty inbox")
        daemon.wait_for(lambda: relay.is_quiet(3.0), "all that comes of it")
        assert presented(web.server)[0] == new.der()
    assert relay.acts("web") == ["plan", "carry_out", "plan"]
    assert relay.acts("mail") == []


def test_a_plan_is_forgotten_once_nothing_is_decided_about_its_case_any_more() -> None:
    serve = replace(policy(has(Code.NOT_SERVED), ACTIVATE), mode=Mode.PLAN)
    wrong = situation(findings=(found(Code.NOT_SERVED),))

    async def story() -> None:
        kept = Kept()
        service = Component("web", Artefacts(combined="/a"), service=systemd("nginx.service"))
        registry = registry_of(config_with(components={"web": service}), kept)
        actor = ActorConnection(registry)
        journal = JournalFollower(registry, actor, kept.bus)
        table = DecisionTable([serve])
        orders = Orders(registry, actor, journal, Inboxes(registry, actor, journal, kept.bus), table, kept.bus)
        table.learn(wrong)
        (decision,) = table.decide(NOW)
        orders._plans[decision.case] = (decision.subject, "aa" * 32)
        await orders._carry_out(replace(decision, identity="another"))
        assert orders.plan_of(decision) == "aa" * 32
        table.learn(replace(wrong, findings=()))
        assert table.decide(NOW) == ()
        await orders._carry_out(decision)
        assert orders.plan_of(decision) == ""
        # Each of them was noted, so that it is decided anew should it come again.
        assert len(orders.attempts("web")) == 2

    asyncio.run(story())


class AnsweringActor(ActorConnection):
    """An actor that gives one answer to whoever wants a plan, and one to whoever has it carried out."""

    def __init__(self, registry: TargetRegistry, answer: Document, plan: Document) -> None:
        super().__init__(registry)
        self.answer, self.plan = answer, plan

    async def ask(self, request: Request) -> Document | None:
        return self.answer if request.verb is Verb.CARRY_OUT else self.plan


async def ordered(answer: Document, times: int) -> tuple[Orders, Components]:
    """Order an activation so many times from an actor with this answer."""
    kept = Kept()
    service = Component("web", Artefacts(combined="/a"), service=systemd("nginx.service"))
    registry = registry_of(config_with(components={"web": service}), kept)
    actor = AnsweringActor(registry, answer, {"plan": {"hash": "aa" * 32}})
    journal = JournalFollower(registry, actor, kept.bus)
    table, inboxes = (
        DecisionTable([policy(has(Code.NOT_SERVED), ACTIVATE)]),
        Inboxes(registry, actor, journal, kept.bus),
    )
    orders = Orders(registry, actor, journal, inboxes, table, kept.bus)
    table.learn(situation(findings=(found(Code.NOT_SERVED),)))
    (decision,) = table.decide(NOW)
    for _ in range(times):
        await orders._carry_out(decision)
    return orders, Components(registry, journal, inboxes, orders, table)


def test_what_an_inbox_holds_amid_a_transaction_is_not_judged() -> None:
    """A file that is being replaced has a second name, and half of the files are those of before."""

    async def story() -> None:
        kept = Kept()
        service = Component("web", Artefacts(combined="/a"), service=systemd("nginx.service"), mode=Mode.AUTO)
        registry = registry_of(config_with(components={"web": service}), kept)
        objections = [{"ground": "target", "detail": "/a has 2 names"}]
        actor = AnsweringActor(registry, {}, {"refused": {"objections": objections}, "under_way": ["web"]})
        journal = JournalFollower(registry, actor, kept.bus)
        journal.no_actor = None
        inboxes = Inboxes(registry, actor, journal, kept.bus)
        await inboxes._consider("web")
        assert not inboxes.was_considered("web")
        actor.plan = {"refused": {"objections": objections}}
        await inboxes._consider("web")
        assert inboxes.candidate("web").objections == (("target", "/a has 2 names"),)
        # Once the daemon has heard of the transaction, it does not ask.
        begin = Record(NOW, "t1", Event.BEGIN, {"plan": {"components": ["web"]}})
        journal.state.unfinished["t1"] = begin
        actor.plan = {"refused": {"objections": []}}
        await inboxes._consider("web")
        assert inboxes.candidate("web").objections == (("target", "/a has 2 names"),)

    asyncio.run(story())


FULL: Final = {"cannot": "the journal cannot be written: No space left on device"}


@pytest.mark.parametrize(("times", "codes"), [(1, []), (2, [Code.ACTION_FAILED]), (3, [Code.ACTION_FAILED])])
def test_what_could_not_be_begun_is_in_status_and_after_the_second_time_told(times: int, codes: list[Code]) -> None:
    _, components = asyncio.run(ordered(FULL, times))
    (status,) = components.statuses(NOW)
    (note,) = status.notes
    assert note.endswith("No space left on device")
    assert ("tried once" in note) is (times == 1)
    said = list(findings_of(status))
    assert [each.code for each in said] == codes
    assert all(each.detail.endswith("device; to cure it, try it now by `certvigil activate web`") for each in said)


def test_what_could_not_be_begun_is_no_concern_once_nobody_wants_it() -> None:
    async def story() -> None:
        orders, components = await ordered(FULL, 2)
        table = orders._table
        table.learn(situation())
        table.decide(NOW)
        (status,) = components.statuses(NOW)
        assert (status.notes, list(findings_of(status))) == ((), [])

    asyncio.run(story())


def test_what_needs_a_person_is_no_attempt_that_failed_and_is_asked_for() -> None:
    objections = [{"ground": "needs_a_person", "detail": "it is older"}]
    orders, components = asyncio.run(ordered({"refused": {"objections": objections, "effects": []}}, 1))
    (left,) = components.record("web").left_to_person
    assert (left.kind, left.what, left.why) == (Kind.ACTIVATE, "old", "needs_a_person: it is older")
    assert (orders.attempts("web"), orders.failed("web")) == ((), None)
    also = [*objections, {"ground": "too_short", "detail": "it ends soon"}]
    orders, components = asyncio.run(ordered({"refused": {"objections": also, "effects": []}}, 1))
    assert components.record("web").left_to_person == ()
    assert len(orders.attempts("web")) == 1


def test_a_candidate_that_is_gone_is_no_failure_and_the_next_one_does_not_wait_for_it() -> None:
    async def story() -> None:
        kept = Kept()
        service = Component("web", Artefacts(combined="/a"), service=systemd("nginx.service"))
        registry = registry_of(config_with(components={"web": service}), kept)
        gone = {"refused": {"objections": [{"ground": "empty_inbox", "detail": "there is no candidate in /inbox"}]}}
        actor = AnsweringActor(registry, gone, gone)
        journal = JournalFollower(registry, actor, kept.bus)
        table, inboxes = (
            DecisionTable([policy(has(Code.EXPIRING), REPLACE)]),
            Inboxes(registry, actor, journal, kept.bus),
        )
        orders = Orders(registry, actor, journal, inboxes, table, kept.bus)
        table.learn(situation(findings=(found(Code.EXPIRING),), candidate=KnownCandidate("new", NOW)))
        (decision,) = table.decide(NOW)
        assert decision.what == "new"
        await orders._carry_out(decision)
        await orders._carry_out(decision)
        assert orders.failed("web") is None
        assert orders.attempts("web") != (), "nothing is asked again and again meanwhile"
        orders.candidate_considered(CandidateConsidered("web"))
        assert orders.attempts("web") == ()

    asyncio.run(story())


def test_a_transaction_under_way_is_in_status_and_its_undoing_is_told_to_messages() -> None:
    orders, components = asyncio.run(ordered({"refused": {"objections": []}}, 0))
    journal = orders._journal
    journal.no_actor = None
    plan = {"kind": "replace", "components": ["web"]}
    journal.state.take(Record(NOW, "t1", Event.BEGIN, {"plan": plan}))
    assert not orders.transactions()["web"].undone
    orders.acting = ("web",)
    journal.state.take(Record(NOW + 60, "t1", Event.ROLLING_BACK, {}))
    assert orders.transactions()["web"].undone
    (status,) = components.statuses(NOW + 61)
    (note,) = status.notes
    assert note.startswith("the replace of ")
    assert " is under way; the former files are put back since " in note
    journal.state.take(Record(NOW + 70, "t1", Event.CLOSED, {}))
    orders.acting = ()
    assert (orders.transactions(), components.statuses(NOW)[0].notes) == ({}, ())
