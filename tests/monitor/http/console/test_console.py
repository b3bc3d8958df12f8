"""What the pages show of what a daemon knows, and when there are none."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import pytest
from fastapi import FastAPI

import monitor.http.console
from actions.csr import WaitingRequest
from actions.ending import Cause, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.model import DAY, Artefacts, Component, ComponentGroup, Config, Settings, Web
from config.text import printable
from config.vocabulary import ComponentState, Mode, TargetKind
from monitor.act.status import CandidateStatus, ComponentStatus, Waiting
from monitor.audit import AuditEntry
from monitor.dialect import certificate_object
from monitor.http import SubjectActs, UnderWay
from monitor.http.answers import ComponentAnswer, Happened, Listing, WaitingPlan
from monitor.http.console.certificate import chain_of
from monitor.http.console.now import NowPage, WaitingHere, now_page
from monitor.http.console.record import ENTRIES, RecordQuery, record_page
from monitor.http.console.render import render
from monitor.http.console.switch import why_off
from monitor.http.console.table import TableIndex
from monitor.http.console.timeline import CertificateEnd, as_calendar, ends_of
from monitor.http.events import MOST_READERS, add_events
from monitor.http.notifications import Notification, NotificationsAnswer
from monitor.http.webconfig import WebConfig
from monitor.lab.ca import HOSTILE_TEXT, Authority, KeyType
from monitor.notify.delivery import DeliveryFate
from monitor.state.events import FileJudged, LookFailed, SupportedChanged, TargetAdded, TargetRemoved
from monitor.state.feed import AT_ONCE, KEPT, EventFeed
from monitor.state.messages import CandidateConsidered, ComponentsChanged, JournalNews
from monitor.state.target import TargetState
from monitor.store import HistoryEntry, What, history
from probes.certificate import certificate
from probes.judge.time import calendar
from tests.kit.hostile import hostile
from tests.kit.html import ParsedPage, parsed
from tests.kit.metrics import some_certificate, some_file
from tests.kit.store import write
from tests.kit.web_server import FakeView, RunningServer, running

LONG: Final = printable(f"{HOSTILE_TEXT}{'x' * 200} =\u0627\u0644\u0639\u0631\u0628\u064a\u0629")
PLAN: Final = "ab" * 32
NOW: Final = 1_795_000_000.0


def plan() -> dict[str, Any]:
    """Return the actor's answer about an inbox, with hostile text wherever there may be text."""
    facts = {**certificate_object(some_certificate("new")), "subject": LONG, "issuer": LONG}
    state = {"sha256": "12" * 32, "mode": 420, "owner": 0, "group": 0}
    change = {"component": "web", "path": f"/{LONG}", "given": LONG, "in_place": False, "says": LONG, "changes": True}
    effect = {"client": LONG, "target": LONG, "accepts": False, "why": LONG, "accepted_before": True}
    return {
        "plan": {
            "hash": PLAN,
            "about": LONG,
            "candidate": "cd" * 32,
            "kind": "replace",
            "components": ["web"],
            "group": None,
            "changes": [{**change, "before": state, "after": None}, {**change, "before": None, "after": state}],
            "certificates": [{"component": "web", "before": None, "after": facts}],
            "commands": [{"component": "web", "command": ["/bin/true", LONG]}],
            "expected_losses": [],
        },
        "effects": [{**effect, "unvalidated": False, "unvalidated_before": False, "lost": True}],
        "remarks": [LONG],
    }


@pytest.fixture(scope="module")
def view() -> FakeView:
    view = FakeView()
    web = Component("web", Artefacts(certificate="/w.crt", key="/w.key"))
    view.configured = Config(components={"web": web}, groups={"site": ComponentGroup("site", ("web",))})
    presented = replace(certificate(hostile().der()), subject=LONG, issuer=LONG, names=(LONG, LONG, LONG))
    view.add(TargetState("web/certificate", TargetKind.FILE, LONG, "web", (presented,), last_look=NOW))
    waiting = Waiting(PLAN, Kind.REPLACE, ("web",), NOW, None, LONG, "site")
    candidate = CandidateStatus(plan=PLAN, objections=((LONG, LONG),))
    view.statuses = [
        ComponentStatus(
            "site",
            Mode.APPROVE,
            ComponentState.FROZEN,
            LONG,
            candidate,
            None,
            PLAN,
            None,
            LONG,
            None,
            contested=LONG,
            waiting=(waiting,),
            given_up={"12" * 32: LONG},
            members=("web",),
        )
    ]
    view.acting = [UnderWay("20261129t230102-0a1b2c3d", ("web",), "replace", NOW, LONG)]
    asked = WaitingRequest("77" * 32, ("web",), (LONG,), False, "", LONG, NOW, NOW + DAY, group="site")
    ended = RecordedEnding(
        transaction="20261120t230102-0a1b2c3d",
        components=("web",),
        outcome=Outcome.COMMITTED,
        cause=Cause.NONE,
        reason=LONG,
        at=NOW,
        began=NOW,
        kind=Kind.REPLACE,
        plan=PLAN,
        by=LONG,
    )
    view.told_by_actor = {"site": SubjectActs(plan(), (asked,), (ended,))}
    record = {"at": NOW, "transaction": "", "event": "approved", "data": {"hash": PLAN, "why": LONG}}
    view.audited = [AuditEntry(record, "replace", ("web",), "root (uid 0)", "")]
    view.happened = [HistoryEntry(NOW, "web/certificate", What.PRESENTED, LONG, (presented.sha256,))]
    return view


@pytest.fixture(scope="module")
def server(view: FakeView, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("s")
    with running(view, Settings(socket=str(directory / "s"), web=Web(listen=("127.0.0.1:0",)))) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.tcp() as tcp:
        yield tcp


def page(client: httpx.Client, path: str) -> ParsedPage:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return parsed(answer.text, str(answer.url))


PATHS: Final = (
    *("/", "/components/web", "/groups/site", "/history", "/history?what=presented&target=web/certificate"),
    *("/certificates", "/settings", "CERTIFICATE"),
)


@pytest.mark.parametrize("path", PATHS)
def test_what_the_actor_and_the_database_tell_is_never_markup(view: FakeView, client: httpx.Client, path: str) -> None:
    (presented,) = view.registry["web/certificate"].presented
    shown = page(client, path.replace("CERTIFICATE", f"/certificates/{presented.sha256}"))
    assert shown.harm() == []
    assert ("<script>alert(1)</script>" in shown.text) == (path != "/settings")


def test_a_plan_that_waits_stands_with_its_commands(client: httpx.Client) -> None:
    short = PLAN[:16]
    expected = ["certvigil plan site", f"certvigil approve {short}", f"certvigil reject {short}"]
    assert [each for each in page(client, "/").commands() if each in expected] == expected
    assert "certvigil rollback site --to 20261120t230102-0a1b2c3d" in page(client, "/groups/site").commands()


def test_a_component_shows_the_plan_of_its_group(client: httpx.Client) -> None:
    text = " ".join(page(client, "/components/web").text.split())
    assert "changed as one with its group site" in text
    assert "it would be lost" in text
    assert "not told" in text


def test_the_audit_says_who_and_why(client: httpx.Client) -> None:
    assert "root (uid 0)" in page(client, "/history?target=web").text
    assert "root (uid 0)" not in page(client, "/history?target=mail").text
    assert client.get("/history?what=everything").status_code == 400
    assert client.get("/history?until=soon").status_code == 400
    for place in ("1", "1_", "nan_1", "1_-1", f"{'1' * 50}_1"):
        assert client.get(f"/history?place={place}").status_code == 400


@pytest.mark.parametrize("what", [None, What.ADDED])
def test_each_entry_is_on_one_page_of_the_history_however_many_are_of_one_moment(
    tmp_path: Path, what: What | None
) -> None:
    path, many = str(tmp_path / "history.db"), 2 * ENTRIES + 5
    events = [TargetAdded(f"{number:04}", NOW + 0.1234567, TargetKind.FILE, "/a", None) for number in range(many)]
    write(path, [*events, *(LookFailed(each.target, NOW + 1, "timed_out", "") for each in events)])
    query, shown, pages = RecordQuery(what=what), list[Happened](), 0
    while True:
        found = history(path, None, 0.0, None, ENTRIES + 1, what=query.what, place=query.place)
        made = record_page(query, found, "no actor")
        shown, pages = [*shown, *made.entries], pages + 1
        if made.earlier is None:
            break
        query = RecordQuery.of(dict(parse_qsl(query.address(made.earlier)[1:])))
    kinds = [What.FAILED, What.ADDED] if what is None else [what]
    assert [(each.what, each.target) for each in shown] == [(kind, each.target) for kind in kinds for each in events]
    assert pages == -(-len(shown) // ENTRIES)


def test_a_calm_page_says_so(client: httpx.Client, server: RunningServer) -> None:
    calm = FakeView()
    with running(calm, replace(server.settings, socket=f"{server.settings.socket}2")) as other, other.tcp() as tcp:
        shown = page(tcp, "/")
    assert shown.title.startswith("Nothing is wrong")
    assert "Nothing waits for a person" in shown.text


def nothing_here() -> NowPage:
    nothing = NotificationsAnswer(alerts=(), undelivered=(), silences=())
    return now_page(
        Listing(total=0, offset=0, items=()), (), nothing, (), (some_file(),), not_ready=(), no_actor="none answers"
    )


FROZEN: Final = ComponentAnswer.of(
    ComponentStatus("web", Mode.APPROVE, ComponentState.FROZEN, "", CandidateStatus(), None, "", None, "why", None)
)
PLANNED: Final = WaitingPlan.of(Waiting(PLAN, Kind.REPLACE, ("web",), NOW, None, ""))
WAITS: Final = WaitingHere("web", is_group=False, plan=PLANNED, see="", approve="", reject="")


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ({}, ""),
        ({"problems": Listing(total=2, offset=0, items=()), "frozen": (FROZEN,)}, "2 problems"),
        ({"frozen": (FROZEN,), "undelivered": 1}, "1 component or group is frozen"),
        ({"undelivered": 1, "waiting": (WAITS,)}, "1 message not delivered"),
        ({"waiting": (WAITS,)}, "1 plan for approval"),
        ({"doing": (UnderWay("", ("web",), "replace", NOW, ""),)}, "1 change under way"),
        ({"not_ready": ("it reads",), "problems": Listing(total=2, offset=0, items=())}, "Not ready"),
    ],
)
def test_the_title_of_now_is_calm_only_where_the_page_is(changed: dict[str, Any], title: str) -> None:
    shown = replace(nothing_here(), **changed)
    assert (shown.title, shown.is_calm) == (title, not title)
    given = {
        "root": "",
        "path": "/",
        "assets": defaultdict(str),
        "host": "h",
        "version": "1",
        "stale": False,
        "now": NOW,
    }
    html = render("now.html", {**given, "page": shown}).decode()
    assert parsed(html, "http://h/").title.startswith(title or "Nothing is wrong")
    assert ("Nothing is wrong." in html) == (not title)


@pytest.mark.parametrize(("attempts", "undelivered"), [(0, 0), (1, 1)])
def test_a_message_that_is_on_its_way_is_not_undelivered(attempts: int, undelivered: int) -> None:
    message = Notification(
        id="1", channel="ops", title="t", at=calendar(NOW), fate=DeliveryFate.PENDING, attempts=attempts, why=""
    )
    told = NotificationsAnswer(alerts=(), undelivered=[message], silences=())
    shown = now_page(Listing(total=0, offset=0, items=()), (), told, (), (), not_ready=(), no_actor="")
    assert shown.undelivered == undelivered


# When there is a console


@pytest.mark.parametrize(
    ("web", "users", "off"),
    [
        (Web(), {}, False),
        (Web(("127.0.0.1:1", "[::1]:1", "localhost:1")), {}, False),
        (Web(("127.0.0.1:1", "0.0.0.0:1")), {}, True),
        (Web(("[::]:1",)), {"me": b"$2b$"}, False),
        (Web(("[::]:1",), console=True), {}, False),
        (Web(console=False), {"me": b"$2b$"}, True),
    ],
)
def test_the_console_is_on_where_only_those_who_may_come_in_reach_it(
    web: Web, users: dict[str, bytes], *, off: bool
) -> None:
    assert bool(why_off(web, WebConfig(users=users))) == off


def test_a_console_that_is_off_has_no_pages_and_says_why(tmp_path: Path) -> None:
    settings = Settings(socket=str(tmp_path / "s"), web=Web(listen=("127.0.0.1:0",), console=False))
    with running(FakeView(), settings) as started, started.tcp() as tcp:
        assert "The console is off: web.console is false." in tcp.get("/").text
        assert parsed(tcp.get("/").text).harm() == []
        assert {tcp.get(each).status_code for each in ("/certificates", "/settings", "/targets/a")} == {404}
        assert tcp.get("/api/v1/problems").status_code == 200


# Templates and drawings


def test_no_template_lets_text_through_as_markup() -> None:
    folder = Path(monitor.http.console.__path__[0])
    found = {each.name: each.read_text() for each in folder.rglob("*.html")}
    assert len(found) > 8
    unsafe = re.compile(r"\|\s*safe|autoescape|Markup|<style|\bstyle=|\bon[a-z]+=|javascript:|https?://")
    assert {name: unsafe.findall(text) for name, text in found.items() if unsafe.search(text)} == {}


def test_a_chain_is_drawn_as_far_as_signatures_hold() -> None:
    root = Authority.root("Root")
    issuing = root.intermediate("Issuing")
    leaf, ca, anchor = (certificate(each.der()) for each in (issuing.issue("a.example.com"), issuing, root))
    forged = certificate(Authority.root("Root", key=KeyType.P384).der())
    assert chain_of(leaf, (leaf, forged, anchor, ca)) == (leaf, ca, anchor)
    assert chain_of(leaf, (leaf, ca, forged)) == (leaf, ca)
    assert chain_of(anchor, ()) == (anchor,)


def test_a_calendar_escapes_and_folds_its_lines() -> None:
    ends = [CertificateEnd(1_800_000_000, f"CN=a;b,c\\d {'ü' * 80}", "ab" * 32, ("web", "mail"), 3)]
    text = as_calendar(ends, "web1.example.com", NOW)
    lines = text.encode().split(b"\r\n")
    assert max(map(len, lines)) <= 75
    for line in lines:
        line.decode()
    unfolded = text.replace("\r\n ", "")
    assert "SUMMARY:CN=a\\;b\\,c\\\\d" in unfolded
    assert "DTSTART:20270115T080000Z" in unfolded
    assert "web\\, mail and 1 more" in unfolded


# The feed of events


def added(target: str) -> TargetAdded:
    return TargetAdded(target, NOW, TargetKind.FILE, target, None)


def test_a_reader_goes_on_behind_what_it_has_read() -> None:
    feed = EventFeed(NOW)
    feed.take([added("a"), FileJudged("a", NOW, None, None), SupportedChanged("a", NOW, None), added("b")])
    entries = feed.after(0)
    assert entries is not None
    assert [(each.number, each.what, each.data["target"]) for each in entries] == [(1, "added", "a"), (2, "added", "b")]
    assert feed.number(feed.identifier(1)) == 1
    assert feed.after(2) == []
    assert [feed.number(each) for each in ("", "x", feed.identifier(3), "0-1", f"{feed.position}0")] == [None] * 5


def test_a_reader_who_is_far_behind_is_told_that_it_has_missed_something() -> None:
    feed = EventFeed(NOW)
    feed.take([added(str(number)) for number in range(KEPT + 5)])
    assert feed.after(3) is None
    assert len(feed.after(5) or ()) == AT_ONCE


def test_the_same_news_of_components_again_is_one_entry() -> None:
    feed = EventFeed(NOW)
    for message in (
        ComponentsChanged(),
        ComponentsChanged(),
        JournalNews(frozenset({"b", "a"})),
        CandidateConsidered("a"),
    ):
        feed.acting(message)
    assert [each.data["components"] for each in feed.after(0) or ()] == [[], ["a", "b"], ["a"]]


def test_who_waits_is_woken_by_the_next_event_and_at_the_end() -> None:
    async def story() -> None:
        feed = EventFeed(NOW)
        waiting = asyncio.ensure_future(feed.wait(0, 60))
        await asyncio.sleep(0)
        feed.take([TargetRemoved("a", NOW)])
        await asyncio.wait_for(waiting, 5)
        waiting = asyncio.ensure_future(feed.wait(1, 60))
        await asyncio.sleep(0)
        feed.close()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(story())


def test_readers_beyond_the_most_are_refused_however_many_come_at_once_and_each_place_is_free_again() -> None:
    app, feed = FastAPI(), EventFeed(NOW)
    add_events(app, feed)

    async def asked(number: int) -> tuple[list[asyncio.Task[None]], list[tuple[int, bytes]]]:
        answers: list[tuple[int, bytes]] = []
        begun = asyncio.Event()

        async def ask() -> None:
            requests, status = iter([{"type": "http.request", "body": b""}]), 0

            async def receive() -> Any:
                return next(requests, None) or await asyncio.Event().wait()

            async def send(message: Any) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                elif message["body"] and (status == 503 or b"retry" in message["body"]):
                    answers.append((status, message["body"]))
                    if len(answers) == number:
                        begun.set()

            path = "/api/v1/events"
            scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
            await app({**scope, "query_string": b"", "scheme": "http", "http_version": "1.1"}, receive, send)

        tasks = [asyncio.create_task(ask()) for _ in range(number)]
        await begun.wait()
        return tasks, answers

    async def story() -> None:
        for _ in range(2):
            tasks, answers = await asyncio.wait_for(asked(MOST_READERS + 3), 20)
            assert [status for status, _ in answers].count(200) == MOST_READERS
            assert {body for status, body in answers if status == 503} == {
                b'{"detail":"there are too many readers of events"}'
            }
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        feed.close()
        _, answers = await asyncio.wait_for(asked(1), 20)
        assert answers == [(503, b'{"detail":"the daemon ends"}')]

    asyncio.run(story())


# The year


def test_the_ends_of_the_year_are_one_for_each_certificate_the_first_ones_first() -> None:
    ends = {"soon": 5, "later": 40, "far": 400, "over": -5}
    states = [
        some_file(f"/{name}", some_certificate(name, not_after=int(NOW + days * DAY))) for name, days in ends.items()
    ]
    states.append(some_file("/again", some_certificate("later", not_after=int(NOW + 40 * DAY))))
    found, weeks = ends_of(TableIndex(Config(), {each.target: each for each in states}), NOW)
    assert [(each.title, each.names, each.places) for each in found] == [
        ("CN=soon", ("/soon",), 1),
        ("CN=later", ("/again", "/later"), 2),
    ]
    assert weeks == {0: 1, 5: 1}
