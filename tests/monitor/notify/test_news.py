"""What is told only where a site asks for it: what was committed, and a digest of what nobody can change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from actions.ending import Cause, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.channel import Channel, Digest, FindingMatch, Notifications, Route, Silence, ToldEvent
from config.model import Config
from config.text import Printable
from config.vocabulary import Code, DeliveryOutcome, Severity, TargetKind, Verdict
from monitor.notify.news import News, committed, digest_of, in_use
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Changes, Outbox
from monitor.state.events import ActionEnded
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.finding import finding
from tests.kit.outbox import EXPIRED, Office, known, nothing_happens
from tests.kit.store import LEAF, OTHER

AT = 1_800_000_000.0
WANTED = Route(("chat",), events=(ToldEvent.COMMITTED,))
IN_USE = "CN=a.example, until 2027-01-15 08:00:00Z"
LABELS = {"web": {"env": "prod"}, "mail": {}}
COMPONENT_OF = {"web/actions": "web", "mail/actions": "mail"}
ENDING = RecordedEnding(
    transaction="0123456789abcdef",
    components=("web",),
    outcome=Outcome.COMMITTED,
    cause=Cause.NONE,
    reason="the files are in use",
    at=AT,
    began=AT,
    kind=Kind.REPLACE,
    plan="",
    by="alice",
)
ENDED = ActionEnded("web/actions", ENDING)
TOO_LONG = finding(
    Code.VALIDITY_TOO_LONG, Printable("CN=a.example is valid for 399 days, more than the 200 of its time")
)


def with_ending(event: ActionEnded = ENDED, /, **otherwise: object) -> ActionEnded:
    return replace(event, ending=replace(event.ending, **otherwise))  # type: ignore[arg-type]


def told(*routes: Route, ended: tuple[ActionEnded, ...] = (ENDED,), enabled: bool = True) -> list[News]:
    terms = Notifications(enabled, routes)
    return list(committed(ended, COMPONENT_OF, terms, LABELS, {"web": IN_USE}))


def test_a_committed_replacement_is_one_line_where_a_route_asks_for_it() -> None:
    (news,) = told(WANTED)
    assert (news.channel, news.title) == ("chat", "the certificate of web was replaced")
    assert news.sentences == (
        f"In use now: {IN_USE}. Done at 2027-01-15 08:00:00Z for alice, transaction 0123456789abcdef.",
    )


def test_what_gave_way_to_somebody_elses_set_is_one_line_as_well() -> None:
    (news,) = told(WANTED, ended=(with_ending(outcome=Outcome.SUPERSEDED, cause=Cause.CHANGED),))
    assert news.title == "web: another writer's whole set is in place, which is served and accepted"
    (sentence,) = news.sentences
    assert sentence == (
        f"In use now: {IN_USE}. Begun by certvigil and left alone at 2027-01-15 08:00:00Z for alice, transaction "
        "0123456789abcdef."
    )


def test_it_is_told_to_nobody_who_did_not_ask() -> None:
    assert told() == []
    assert told(Route(("chat",), Severity.NOTICE)) == []
    assert told(WANTED, enabled=False) == []


@pytest.mark.parametrize(
    ("match", "meant"),
    [
        (FindingMatch(components=("web",)), True),
        (FindingMatch(components=("mail",)), False),
        (FindingMatch(labels=(("env", ("prod",)),)), True),
        (FindingMatch(labels=(("env", ("test",)),)), False),
        (FindingMatch(kinds=(TargetKind.ENDPOINT,)), False),
        (FindingMatch(codes=(Code.EXPIRED,)), False),
    ],
)
def test_a_route_is_asked_for_what_it_is(match: FindingMatch, meant: bool) -> None:
    assert bool(told(replace(WANTED, match=match))) is meant


def test_components_that_were_changed_as_one_are_one_message_and_what_failed_is_none() -> None:
    both = (ENDED, replace(ENDED, target="mail/actions"), with_ending(transaction="ff", outcome=Outcome.ROLLED_BACK))
    (news,) = told(WANTED, WANTED, ended=both)
    assert news.title == "the certificates of web, mail were replaced"
    (news,) = told(WANTED, ended=tuple(with_ending(each, kind=Kind.ACTIVATE) for each in both))
    assert news.title == "web, mail were made to load their files from disk"


def file(last_look: float | None, name: str = "web/certificate", presented: Certificate = LEAF) -> TargetState:
    return known(name, component="web", kind=TargetKind.FILE, presented=(presented,), last_look=last_look)


def used(*those: TargetState, component: str = "web") -> str | None:
    return in_use(component, {each.target: each for each in those}, AT)


def test_what_is_in_use_is_what_the_file_with_the_leaf_of_the_component_holds() -> None:
    chain = file(AT, "web/chain", presented=OTHER)
    assert used(chain, known("web/a", component="web"), file(AT)) == IN_USE
    assert not used(file(AT), component="mail")


def test_what_was_read_before_the_commit_or_cannot_be_read_since_is_not_what_is_in_use() -> None:
    """A daemon that begins anew remembers what it read last, and what a dead actor read is old."""
    assert used(file(None)) is used(file(AT - 0.1)) is None
    assert used(replace(file(AT + 5.0), failure=("reader_busy", "believed as the actor read it"))) is None


def test_what_is_informational_is_shown_and_never_told_one_by_one() -> None:
    target = known("web", TOO_LONG)
    assert TOO_LONG.severity is Severity.INFORMATIONAL
    assert target.verdict is Verdict.OK
    for routes in ((), (Route(("ops",), Severity.NOTICE),)):
        office = Office(terms=Notifications(routes=routes))
        office.believe(target)
        assert office.at(1000.0) == []
        office.believe(known("web", TOO_LONG, EXPIRED))
        assert len(office.at(2000.0)) == 1


def test_a_digest_says_each_thing_once_with_where_it_is() -> None:
    targets = [known(f"web{number}", TOO_LONG, EXPIRED) for number in range(5)]
    assert digest_of(targets, (), {}) == (
        "one thing to know",
        (
            "Nobody on this host can change this, so nothing has to be done.",
            f"validity_too_long: {TOO_LONG.detail} (at web0, web1, web2 and 2 more)",
        ),
    )
    assert digest_of([known("web", EXPIRED)], (), {}) is None
    assert digest_of(targets, (Silence(FindingMatch(("web*",)), "known", 2e9),), {}) is None


class Nobody:
    """Keeps nothing, counts nothing."""

    usable = False

    def keep(self, changes: Changes, done: Callable[[], None] = lambda: None) -> None:
        """Keep nothing."""

    def notified(self, channel: str, outcome: DeliveryOutcome) -> None:
        """Count nothing."""

    def notifications_pending(self, pending: Mapping[str, int]) -> None:
        """Say nothing."""


def messages(work: Callable[[Notifier, dict[str, TargetState]], None]) -> list[str]:
    """Return the texts of the messages that are in the outbox once `work` was done."""
    registry = {"web/actions": known("web/actions", component="web", kind=TargetKind.COMPONENT)}
    config = Config(
        channels={"chat": Channel("chat", ("json://example.com",))}, notifications=Notifications(True, (WANTED,))
    )

    async def life() -> list[str]:
        teller = Notifier(config, registry, Outbox(registry, nothing_happens), Nobody(), Nobody(), lambda _: None)
        try:
            work(teller, registry)
            return [delivery.message.text for delivery in teller.undelivered()]
        finally:
            teller.end()

    return asyncio.run(life())


def test_what_was_committed_is_told_once_its_files_were_read_since_and_kept_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, ended = 5000.0, with_ending(at=time.time())

    def is_held(teller: Notifier) -> bool:
        teller._complete()
        (delivery,) = teller.undelivered()
        return "In use now" not in delivery.message.text and any(
            delivery.id in each.deliveries for each in teller._unread
        )

    def read_again(teller: Notifier, registry: dict[str, TargetState]) -> None:
        registry["web/certificate"] = file(ended.at - 1.0, presented=OTHER)
        teller.take([ended])
        assert is_held(teller)
        registry["web/certificate"] = file(ended.at + 1.0)
        assert not is_held(teller)

    def never_read(teller: Notifier, registry: dict[str, TargetState]) -> None:
        nonlocal now
        monkeypatch.setattr(time, "monotonic", lambda: now)
        registry["web/certificate"] = file(ended.at - 1.0, presented=OTHER)
        teller.take([ended])
        assert is_held(teller)
        now += 60.0
        assert not is_held(teller)

    (complete,) = messages(read_again)
    assert f"In use now: {IN_USE}. Done at " in complete
    (without,) = messages(never_read)
    assert "In use now" not in without
    assert "Done at " in without


def titles(terms: Notifications, work: Callable[[Notifier], None]) -> list[str]:
    """Return the titles of the messages that are in the outbox once `work` was done."""
    registry = {
        "web/actions": known("web/actions", component="web", kind=TargetKind.COMPONENT),
        "www": known("www", TOO_LONG),
    }
    channels = {name: Channel(name, ("json://example.com",)) for name in ("ops", "chat")}
    config = Config(channels=channels, notifications=terms, host="web1.example.com")

    async def life() -> list[str]:
        teller = Notifier(config, registry, Outbox(registry, nothing_happens), Nobody(), Nobody(), lambda _: None)
        try:
            work(teller)
            return [f"{delivery.channel}: {delivery.message.title}" for delivery in teller.undelivered()]
        finally:
            teller.end()

    return asyncio.run(life())


def test_the_daemon_tells_what_was_committed_just_now_once_and_what_is_old_never() -> None:
    just_now, long_ago = with_ending(at=time.time()), with_ending(at=time.time() - 7200, transaction="ff")

    def happen(teller: Notifier) -> None:
        for each in (just_now, long_ago, just_now):
            teller.take([each])

    assert titles(Notifications(routes=(WANTED,)), happen) == [
        "chat: [done] web1.example.com: the certificate of web was replaced"
    ]
    assert titles(Notifications(), happen) == []


def test_a_digest_is_told_at_its_time_once() -> None:
    monday = 1_800_255_600.0  # 2027-01-18 07:00:00Z
    terms = Notifications(digest=Digest(("ops",), "0 7 * * mon"))

    def pass_by(*times: float) -> Callable[[Notifier], None]:
        def go(teller: Notifier) -> None:
            for at in times:
                teller._tell_digest(at)

        return go

    assert titles(terms, pass_by(monday - 60)) == []
    assert titles(terms, pass_by(monday - 60, monday + 5, monday + 30, monday + 100)) == [
        "ops: [notice] web1.example.com: one thing to know"
    ]
    assert titles(terms, pass_by(monday + 400)) == []
    assert titles(replace(terms, enabled=False), pass_by(monday + 5)) == []
    assert len(titles(terms, pass_by(monday + 5, monday + 5 + 7 * 86_400))) == 2
