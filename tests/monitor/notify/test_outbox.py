"""The outbox: what is believed becomes messages, each once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.channel import FindingMatch, Notifications, Route, Silence
from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify import outbox
from monitor.notify.advice import AdviceContext
from monitor.notify.deliver import Receipt, SendOutcome
from monitor.notify.delivery import Delivery, DeliveryFate, attempted, deliverable, pause, waiting
from monitor.notify.lifecycle import AlertKey, AlertUpdate, next_note
from monitor.notify.outbox import Outbox, RequestedSilence
from monitor.state.target import TargetState
from probes.finding import finding
from tests.kit.outbox import CHAT, EXPIRED, EXPIRING, OPS, UNREACHABLE, WITH_SERVICE, Office, at, known, rejected
from tests.kit.store import OTHER, make_certificate

HOUR, DAY = 3600.0, 86_400.0
DELIVERED, REFUSED = Receipt(SendOutcome.DELIVERED), Receipt(SendOutcome.REFUSED, 500)


def test_one_certificate_on_forty_endpoints_is_one_message_that_lists_them() -> None:
    office = Office()
    office.believe(*(known(f"web{number}", EXPIRED) for number in range(40)))
    assert office.at(1000.0) == ["ops: [critical] expired: CN=a.example on 40 targets"]
    assert office.at(1001.0) == []
    text = office.deliveries[0].message.text
    assert all(f"  web{number}: expired" in text for number in range(40))


def test_a_network_that_goes_dark_is_one_message_and_so_is_its_return() -> None:
    office = Office()
    office.believe(*(known(f"web{number}", UNREACHABLE) for number in range(1000)))
    assert office.at(1000.0) == ["ops: [warning] unreachable: 1000 targets"]
    office.believe(*(known(f"web{number}") for number in range(1000)))
    assert office.at(2000.0) == []
    assert office.outbox.next_due() == 2030.0
    assert office.at(2030.0) == ["ops: [resolved] unreachable: 1000 targets"]
    assert office.outbox.alerts() == []
    assert office.outbox.next_due() is None


def test_a_few_problems_are_a_message_each_and_many_are_one() -> None:
    office = Office()
    certificates = [make_certificate(f"{number}.example") for number in range(12)]
    office.believe(*(known(str(number), EXPIRED, presented=(certificates[number],)) for number in range(5)))
    assert len(office.at(1000.0)) == 5
    office.believe(*(known(str(number), EXPIRED, presented=(certificates[number],)) for number in range(5, 12)))
    assert office.at(2000.0) == ["ops: [critical] certvigil: 7 problems"]
    assert len(office.outbox.alerts()) == 12
    office.forget(str(number) for number in range(12))
    office.at(3000.0)
    assert office.at(3030.0) == ["ops: [resolved] certvigil: 12 problems"]


def test_another_certificate_that_is_wrong_in_another_way_is_another_problem() -> None:
    office = Office()
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    office.believe(
        known(
            "web", finding(Code.SELF_SIGNED, Printable("signed by itself"), Printable("position 0")), presented=(OTHER,)
        )
    )
    assert office.at(1001.0) == ["ops: [critical] self_signed: CN=b.example on web"]
    assert office.at(1031.0) == ["ops: [resolved] expired: CN=a.example on web"]


def test_another_certificate_with_the_same_fault_is_told_once_it_was_seen_at_several_looks() -> None:
    office = Office()
    signed = finding(Code.SELF_SIGNED, Printable("signed by itself"), Printable("position 0"))
    office.believe(replace(known("web", signed), since=900.0, last_look=1000.0))
    assert office.at(1000.0) == ["ops: [critical] self_signed: CN=a.example on web"]
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    other = replace(known("web", signed, presented=(OTHER,)), since=1100.0, last_look=1100.0)
    office.believe(other)
    assert office.at(1100.0) == []
    again = office.outbox.next_due()
    assert again is not None
    assert again < 1200.0, "it is asked again although nothing happens"
    assert office.at(again) == []
    # The same is seen once more, which is no event.
    office.registry["web"] = replace(other, last_look=1170.0)
    assert office.at(1170.0) == ["ops: [critical, changed] self_signed: CN=b.example on web"]
    said = (
        f"web presents another certificate than the messages before have named: CN=b.example (sha256 {OTHER.sha256})."
    )
    assert said in office.deliveries[-1].message.text
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    office.registry["web"] = replace(other, last_look=9000.0)
    assert office.at(9000.0) == []


def test_what_lay_on_disk_is_told_again_within_ten_seconds_of_being_served_and_rejected() -> None:
    office = Office()
    file = known("lb/combined", EXPIRED, component="lb", kind=TargetKind.FILE)
    office.believe(file, known("lb/a:443", component="lb", presented=(OTHER,)))
    assert office.at(1000.0) == ["ops: [critical] expired: CN=a.example on lb/combined"]
    office.believe(known("lb/a:443", EXPIRED, rejected("curl"), rejected("browser"), component="lb"))
    assert office.at(1005.0) == [], "the message before is under way"
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    assert office.at(1005.5) == []
    assert office.outbox.next_due() == 1007.0
    assert office.at(1007.0) == ["ops: [critical, worse than before] expired: CN=a.example on 2 targets"]
    assert "Whom it hurts: browser (at 1), curl (at 1), which reject it" in office.deliveries[-1].message.text
    office.believe(known("lb/combined", component="lb", kind=TargetKind.FILE), known("lb/a:443", component="lb"))
    assert office.at(1020.0) == office.at(1049.0) == []
    assert office.at(1050.0) == ["ops: [resolved] expired: CN=a.example on 2 targets"]
    assert "  lb/a:443" in office.deliveries[-1].message.text


def test_notices_are_told_only_where_a_route_wants_them() -> None:
    notice = known("web", at(Severity.NOTICE))
    office = Office()
    office.believe(notice)
    assert office.at(1000.0) == []
    office = Office(terms=Notifications(routes=(Route(("ops",), Severity.NOTICE),)))
    office.believe(notice)
    assert office.at(1000.0) == ["ops: [notice] expiring: CN=a.example on web"]


def test_each_channel_is_told_what_its_routes_say_and_no_more() -> None:
    routes = (
        Route(("chat",), Severity.WARNING),
        Route(("ops",), Severity.CRITICAL, FindingMatch(components=("web",))),
        Route(("ops",), Severity.CRITICAL, FindingMatch(targets=("mail*",), codes=(Code.EXPIRED,))),
    )
    office = Office({"ops": OPS, "chat": CHAT}, Notifications(routes=routes))
    office.believe(
        known("web/a", EXPIRED, component="web"),
        known("mail.example.com", EXPIRED),
        known("db", EXPIRED),
        known("web/b", EXPIRING, component="web"),
    )
    assert office.at(1000.0) == [
        "chat: [critical] expired: CN=a.example on 4 targets",
        "ops: [critical] expired: CN=a.example on 2 targets",
    ]


def test_a_route_goes_by_the_labels_of_a_component() -> None:
    terms = Notifications(routes=(Route(("ops",), match=FindingMatch(labels=(("env", ("prod",)),))),))
    office = Office(terms=terms)
    office.outbox.reconfigure({"ops": OPS}, terms, {"web": {"env": "prod"}, "lab": {"env": "test"}})
    office.believe(
        known("web/a", EXPIRED, component="web"), known("lab/a", EXPIRED, component="lab"), known("db", EXPIRED)
    )
    assert office.at(1000.0) == ["ops: [critical] expired: CN=a.example on web/a"]


def test_one_line_turns_all_of_it_off() -> None:
    office = Office(terms=Notifications(enabled=False))
    office.believe(known("web", EXPIRED))
    assert office.at(1000.0) == []
    office.outbox.reconfigure({"ops": OPS}, Notifications())
    assert len(office.at(1001.0)) == 1
    office.outbox.reconfigure({"ops": OPS}, Notifications(enabled=False))
    office.forget(["web"])
    assert office.at(2000.0) == office.at(3000.0) == []
    assert office.outbox.alerts() == []


def test_that_a_channel_fails_is_told_to_the_others() -> None:
    failing = finding(Code.DELIVERY_FAILED, Printable("the channel ops fails"), Printable("ops"))
    office = Office({"ops": OPS, "chat": CHAT})
    office.believe(known("certvigil", failing, presented=(), kind=TargetKind.SELF))
    assert office.at(1000.0) == ["chat: [warning] delivery_failed: certvigil"]


def test_a_silence_ends_and_then_what_is_still_wrong_is_told() -> None:
    silence = Silence(FindingMatch(targets=("web",)), "maintenance", 2000.0)
    office = Office(terms=Notifications(silences=(silence,)))
    office.believe(known("web", EXPIRED), known("mail", UNREACHABLE))
    assert office.at(1000.0) == ["ops: [warning] unreachable: mail"]
    assert office.outbox.next_due() == 2000.0
    assert office.at(1999.0) == []
    assert office.at(2000.0) == ["ops: [critical] expired: CN=a.example on web"]


def test_a_silence_that_was_asked_for_can_be_ended() -> None:
    office = Office()
    office.outbox.silence(RequestedSilence("abcd", Silence(FindingMatch(), "deploying", 2000.0), "root", 900.0))
    office.believe(known("web", EXPIRED))
    assert office.at(1000.0) == []
    assert office.outbox.unsilence("abcd")
    assert not office.outbox.unsilence("abcd")
    assert len(office.at(1001.0)) == 1
    office.outbox.silence(RequestedSilence("efgh", Silence(FindingMatch(), "deploying", 2000.0), "root", 900.0))
    office.at(3000.0)
    assert office.outbox.silences() == []


def test_an_acknowledged_problem_is_not_told_again() -> None:
    office = Office({"ops": OPS, "chat": CHAT})
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    for delivery in office.outbox.pending():
        office.outbox.amend(replace(delivery, fate=DeliveryFate.DELIVERED))
    problem = office.deliveries[0].problems[0]
    assert office.outbox.acknowledge("00000000", "root", None, 1001.0) == 0
    assert office.outbox.acknowledge(problem, "root", None, 1001.0) == 2
    assert office.at(1000.0 + 30 * DAY) == []


def test_reminders_do_not_pile_up_while_nothing_is_delivered() -> None:
    office = Office()
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    assert office.at(1000.0 + DAY) == []
    office.outbox.amend(replace(office.deliveries[0], fate=DeliveryFate.DELIVERED))
    assert office.at(1000.0 + DAY + 60) == ["ops: [critical, still] expired: CN=a.example on web"]


def test_after_a_restart_nothing_is_told_again_and_nothing_is_resolved_unseen() -> None:
    before = Office()
    before.believe(known("web", EXPIRED), known("mail", UNREACHABLE))
    assert len(before.at(1000.0)) == 2
    after = Office()
    after.outbox.restore(before.outbox.everything())
    after.registry["web"] = known("web", EXPIRED, last_look=None)
    # What was found was not recorded, and it was not looked at again so far.
    after.registry["mail"] = known("mail", last_look=None)
    after.outbox.reconfigure({"ops": OPS}, Notifications())
    assert after.at(2000.0) == after.at(2100.0) == []
    assert after.outbox.pending() == before.outbox.pending()
    after.believe(known("mail"), known("web", EXPIRED))
    assert after.at(2105.0) == []
    assert after.at(2135.0) == ["ops: [resolved] unreachable: mail"]


def test_a_channel_that_is_gone_is_forgotten() -> None:
    office = Office({"ops": OPS, "chat": CHAT})
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    office.outbox.reconfigure({"ops": OPS}, Notifications())
    assert [delivery.channel for delivery in office.outbox.undelivered()] == ["ops"]
    assert [alert.channel for alert in office.outbox.alerts()] == ["ops"]
    office.outbox.reconfigure({"ops": OPS, "chat": CHAT}, Notifications())
    assert office.at(1001.0) == ["chat: [critical] expired: CN=a.example on web"]


def test_what_cannot_be_foretold_is_told_without_that() -> None:
    office = Office()

    def outlook(member: object) -> str:
        raise RuntimeError("a policy with a fault")

    office.outbox._outlook = outlook
    office.believe(known("web", EXPIRED))
    (title,) = office.at(1000.0)
    assert title == "ops: [critical] expired: CN=a.example on web"


def test_one_problem_that_cannot_be_told_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(about: AlertKey, *others: Any, **more: Any) -> AlertUpdate:
        if about[1].startswith("outage unreachable"):
            raise RuntimeError("a fault")
        return next_note(about, *others, **more)

    monkeypatch.setattr(outbox, "next_note", faulty)
    office = Office()
    office.believe(
        known("mail", UNREACHABLE), known("web", EXPIRED), known("zoo", finding(Code.UNREADABLE, Printable("x")))
    )
    assert office.at(1000.0) == [
        "ops: [critical] expired: CN=a.example on web",
        "ops: [critical] unreadable: zoo",
    ]


# Letters


def delivery(number: int, *problems: str, channel: str = "ops") -> Delivery:
    office = Office()
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    return replace(office.deliveries[0], id=str(number), problems=problems, channel=channel)


def test_a_message_is_delivered_once_every_url_took_it() -> None:
    channel = replace(OPS, urls=("json://a", "slack://b"))
    first = attempted(delivery(1, "p"), {0: DELIVERED, 1: REFUSED}, channel, 3, 1001.0)
    assert (first.fate, first.attempts, waiting(first, channel)) == (DeliveryFate.PENDING, 1, (1,))
    assert first.why == "ops, URL 2 (slack) answered with status 500"
    second = attempted(first, {1: DELIVERED}, channel, 3, 1002.0)
    assert (second.fate, second.ended_at, second.why) == (DeliveryFate.DELIVERED, 1002.0, "")


def test_a_message_is_given_up_after_so_many_attempts() -> None:
    each, pauses = delivery(1, "p"), []
    while each.fate is DeliveryFate.PENDING:
        each = attempted(each, {0: REFUSED}, OPS, 50, 1001.0)
        pauses.append(pause(each))
    assert each.fate is DeliveryFate.DEAD
    assert len(pauses) == 50
    assert pauses[:8] == [1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1800.0, 1800.0]
    assert 0.8 * DAY < sum(pauses) < 1.2 * DAY


def test_what_is_announced_is_written_once() -> None:
    office = Office()
    assert office.outbox.announce(delivery(1))
    assert not office.outbox.announce(delivery(1))
    assert [each.id for each in office.outbox.pending()] == ["1"]


def test_of_the_same_problem_what_was_said_first_is_delivered_first() -> None:
    deliveries = [
        *(delivery(1, "a"), delivery(2, "b"), delivery(3, "a"), delivery(4, "b", "c")),
        *(delivery(5, "c"), delivery(6, "a", channel="chat")),
    ]
    assert [each.id for each in deliverable(deliveries)] == ["1", "2", "6"]
    assert [each.id for each in deliverable(deliveries[2:])] == ["3", "4", "6"]


def test_what_was_given_up_is_tried_again_or_forgotten_when_somebody_says_so() -> None:
    office = Office({"ops": OPS, "chat": CHAT})
    office.believe(known("web", EXPIRED))
    office.at(1000.0)
    for each in office.outbox.pending():
        office.outbox.amend(replace(each, fate=DeliveryFate.DEAD, attempts=50))
    assert office.outbox.pending() == []
    assert office.outbox.retry("ops") == 1
    assert [(each.channel, each.attempts) for each in office.outbox.pending()] == [("ops", 0)]
    assert office.outbox.drop(None) == 1
    assert [each.channel for each in office.outbox.undelivered()] == ["ops"]


NOT_SERVED = finding(Code.NOT_SERVED, Printable("/etc/shop.crt holds another"))
APPROVAL = finding(
    Code.APPROVAL_PENDING,
    Printable(
        "the activate by plan 52dd waits for approval; to cure it, `certvigil approve 52dd` or `certvigil reject 52dd`"
    ),
    Printable("activate"),
)


def shop(*, served: bool = True, asked: bool = True) -> tuple[TargetState, TargetState]:
    return (
        known("shop/a:443", *(() if served else (NOT_SERVED,)), component="shop", since=1000.0),
        known("shop/actions", *((APPROVAL,) if asked else ()), component="shop", kind=TargetKind.COMPONENT),
    )


def test_what_is_not_served_and_the_approval_of_its_cure_are_one_problem() -> None:
    office = Office()
    office.believe(*shop(served=False))
    assert office.at(1000.0) == []
    assert office.at(1010.0) == ["ops: [warning] not_served: shop/a:443"]
    text = office.deliveries[0].message.text
    assert "It concerns one target:\n  shop/a:443: not_served, component shop\n" in text
    assert [line for line in text.splitlines() if line.startswith("To act")] == [
        "To act: to see the plan first: certvigil activate shop --dry-run",
        "To act: to decide on it: certvigil approve 52dd or certvigil reject 52dd",
    ]
    office.believe(*shop(asked=False))
    office.at(1100.0)
    assert office.at(1200.0) == ["ops: [resolved] not_served: shop/a:443"]
    assert "  shop/actions" not in office.deliveries[-1].message.text


def test_a_plan_that_comes_to_wait_or_goes_makes_what_is_not_served_neither_worse_nor_better() -> None:
    office = Office()
    office.believe(*shop(served=False, asked=False))
    assert office.at(1000.0) == []
    assert office.at(1010.0) == ["ops: [warning] not_served: shop/a:443"]
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    office.believe(*shop(served=False))
    assert office.at(1020.0) == ["ops: [warning, changed] not_served: shop/a:443"]
    assert "certvigil approve 52dd" in office.deliveries[-1].message.text
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    office.believe(*shop(served=False, asked=False))
    assert office.at(1100.0) == office.at(1200.0) == []


def test_that_it_is_not_served_is_no_news_where_the_approval_of_its_cure_was_told() -> None:
    office = Office()
    office.believe(*shop())
    assert office.at(1000.0) == ["ops: [warning] approval_pending: shop/actions"]
    office.believe(*shop(served=False))
    assert office.at(1020.0) == office.at(1040.0) == []


@pytest.mark.parametrize("approved", [True, False], ids=["with a plan", "without a plan"])
def test_what_is_not_served_is_told_once_with_its_other_port_and_its_plan(approved: bool) -> None:
    office = Office()
    port = known("shop/b:8443", NOT_SERVED, component="shop", since=1002.0)
    office.believe(*shop(served=False, asked=False))
    assert office.at(1000.0) == []
    office.believe(*shop(served=False, asked=False), port)
    assert office.at(1002.0) == []
    if approved:
        office.believe(*shop(served=False), port)
    assert office.at(1007.0) == []
    assert office.at(1010.0) == ["ops: [warning] not_served: 2 targets"]
    text = office.deliveries[-1].message.text
    assert "shop/b:8443: not_served" in text
    assert ("certvigil approve 52dd" in text) == approved
    assert office.at(1020.0) == office.at(1100.0) == []


def test_what_is_served_again_before_its_event_is_whole_is_no_news() -> None:
    office = Office()
    office.believe(*shop(served=False, asked=False))
    assert office.at(1000.0) == []
    office.believe(*shop(asked=False))
    assert office.at(1010.0) == office.at(1200.0) == []


def test_the_approval_of_a_replacement_is_a_problem_of_its_own() -> None:
    office = Office()
    replaced = finding(Code.APPROVAL_PENDING, Printable("the replace by plan 52dd waits for approval"))
    office.believe(shop(served=False)[0], known("shop/actions", replaced, component="shop", kind=TargetKind.COMPONENT))
    assert office.at(1000.0) == ["ops: [warning] approval_pending: shop/actions"]
    assert office.at(1010.0) == ["ops: [warning] not_served: shop/a:443"]


@pytest.mark.parametrize("mended", [True, False])
def test_what_is_about_to_be_mended_waits_for_that(mended: bool) -> None:
    office = Office()
    office.outbox = Outbox(
        office.registry,
        lambda _: "certvigil is about to have shop serve what is on disk, by policy x",
        lambda: office.transactions,
    )
    office.outbox.reconfigure({"ops": OPS}, Notifications())
    office.believe(*shop(served=False, asked=False))
    assert office.at(1000.0) == office.at(1059.0) == []
    assert office.outbox.next_due() == 1060.0
    if mended:
        office.believe(*shop(asked=False))
    assert office.at(1060.0) == ([] if mended else ["ops: [warning] not_served: shop/a:443"])


def test_a_message_regards_the_clock_and_the_key_that_other_findings_are_about() -> None:
    office = Office()
    mismatch = finding(Code.KEY_MISMATCH, Printable("another key"))
    suspect = finding(Code.CLOCK_SUSPECT, Printable("it jumped"))
    office.outbox.reconfigure({"ops": OPS}, Notifications(), site=AdviceContext("x", {"web": WITH_SERVICE}))
    office.believe(
        replace(known("web/certificate", mismatch), kind=TargetKind.FILE, component="web"),
        replace(known("certvigil", suspect), kind=TargetKind.SELF, presented=()),
        replace(known("web/443", finding(Code.NOT_SERVED, Printable("not served"))), component="web"),
        known("mail", EXPIRED),
    )
    office.at(1000.0)
    office.at(1010.0)
    texts = {code: each.message.text for each in office.deliveries for code in Code if f" {code}" in each.message.title}
    assert "cure that first" in texts[Code.NOT_SERVED]
    assert "certvigil activate" not in texts[Code.NOT_SERVED]
    assert "this may be wrong: it jumped" in texts[Code.EXPIRED]
