"""What a certificate says arrives as plain text, whatever kind of channel apprise delivers it to."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import apprise
import pytest
import requests.adapters
from apprise import NotifyBase
from markdown_it import MarkdownIt

from monitor.notify.deliver import Message, SendOutcome, Tone, deliver, form_for
from monitor.notify.text import notice, shown

# Apprise itself uses what Python is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HOSTILE = (
    "CN=[go](http://evil.example) <http://evil.example|x> <b>b</b> <!all> <@U1> @here *b* _l_ ~~s~~ ||h|| `c` ```d``` "
    "https://evil.example [a][b] DNS:*.a.b, DNS:*.c.d"
)
HARMLESS = shown(HOSTILE)
HOOK = "a" * 32
KINDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "slack": (f"slack://T1JJ3T3L2/A1BRTD4JD/{HOOK[:24]}/#general", lambda got: got.json["attachments"][0]["text"]),
    "slack as text": (
        f"slack://T1JJ3T3L2/A1BRTD4JD/{HOOK[:24]}/#general?format=text",
        lambda got: got.json["attachments"][0]["text"],
    ),
    "discord": (f"discord://4174216298/{HOOK}", lambda got: got.json["content"]),
    "discord as markdown": (
        f"discord://4174216298/{HOOK}?format=markdown",
        lambda got: got.json["embeds"][0]["description"],
    ),
    "mattermost": (f"mmost://chat.example.com/{HOOK}", lambda got: got.json["text"]),
    "rocket.chat": ("rocket://one/two@chat.example.com/#general", lambda got: got.json["text"]),
    "google chat": ("gchat://workspace/key/token", lambda got: got.json["text"]),
    "webex": (f"wxteams://{HOOK}{HOOK}aaaaaaaaaaaaaaaa", lambda got: got.json["markdown"]),
    "zulip": (f"zulip://bot@example/{HOOK}/", lambda got: got.form["content"]),
    "nextcloud talk": ("nctalk://user:pass@cloud.example.com/room", lambda got: got.json["message"]),
    "ryver": ("ryver://example/abcdefghijklmno", lambda got: got.json["body"]),
    "revolt": (f"revolt://{HOOK}{HOOK}/123", lambda got: got.json["embeds"][0]["description"]),
    "telegram": (f"tgram://123456789:{HOOK}/12315544/", lambda got: got.json["text"]),
    "telegram as markdown": (f"tgram://123456789:{HOOK}/12315544/?format=markdown", lambda got: got.json["text"]),
    "mailgun, as html": (
        f"mailgun://user@example.com/{HOOK}-{HOOK[:8]}-{HOOK[:8]}",
        lambda got: f"{html.escape(got.form['subject'], quote=False)}<br/>{got.form['html']}",
    ),
    "teams": (
        "workflows://host.example.com:443/one/two/",
        lambda got: got.json["attachments"][0]["content"]["body"][-1]["text"],
    ),
    "matrix": ("matrix://user:pass@matrix.example.com/#room", lambda got: got.json["body"]),
    "pushover": (f"pover://{HOOK[:30]}@{HOOK[:30]}", lambda got: got.form["title"] + "\n" + got.form["message"]),
    "ntfy": ("ntfy://ntfy.example.com/topic", lambda got: got.json["title"] + "\n" + got.json["message"]),
    "gotify": ("gotify://gotify.example.com/abcde12345fghij", lambda got: got.json["title"] + got.json["message"]),
    "pagerduty": (f"pagerduty://{HOOK}@{HOOK[:20]}", lambda got: got.json["payload"]["summary"]),
    "signal": ("signal://localhost:8080/+15551234567/+15557654321", lambda got: got.json["message"]),
}
READ_AS = {"telegram": "html", "mailgun, as html": "html", "teams": "markdown"} | dict.fromkeys(
    ("matrix", "pushover", "ntfy", "gotify", "pagerduty", "signal"), "plain"
)
"""How a service reads what it is given; the others show a block of code as it is."""
ENTITIES = {"slack", "slack as text", "google chat"}
"""Services that read entities of HTML, in a block of code as well."""
ANSWER = {
    "ok": True,
    "status": 1,
    "access_token": "x",
    "user_id": "@a:b",
    "home_server": "b",
    "room_id": "!a:b",
    "event_id": "$1",
    "joined_rooms": ["!a:b"],
    "StatusCode": 0,
    "id": 1,
    "code": 0,
}


class ServiceRequest:
    """A request as it arrived."""

    def __init__(self, body: bytes) -> None:
        self.body = body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body).items()}


@pytest.fixture
def requests_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ServiceRequest]]:
    """Have every request of apprise arrive at a server of this test, wherever it was to go."""
    made: list[ServiceRequest] = []

    class ServiceHandler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if b"evil" in body:
                made.append(ServiceRequest(body))
            answer = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _take  # noqa: N815 (as http.server calls them)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), ServiceHandler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    send = requests.adapters.HTTPAdapter.send

    def send_here(self: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        request.url = re.sub(r"^https?://[^/]+", f"http://127.0.0.1:{server.server_port}", request.url)
        return send(self, request, *arguments, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send_here)
    yield made
    server.shutdown()
    server.server_close()


def message(sentences: int = 1) -> Message:
    return notice("x", "ops", HOSTILE, [f"expired: {HOSTILE}"] * sentences, host="web1", tone=Tone.FAILURE)[1]


class ServicePage(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, _: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_certificate_says_means_nothing_to_a_channel(kind: str, requests_made: list[ServiceRequest]) -> None:
    url, take = KINDS[kind]
    receipt = deliver(message(), url)
    # Slack's webhooks answer in a word.
    assert receipt.outcome is SendOutcome.DELIVERED or kind.startswith("slack")
    arrived = take(requests_made[-1])
    read_as = READ_AS.get(kind, "code")
    if read_as == "code":
        before, _, more = arrived.partition("```")
        block, _, after = more.rpartition("```")
        assert "evil" not in before + after
        assert "`" not in block
        read = html.unescape(block) if kind in ENTITIES else block
        if kind in ENTITIES:
            assert "<" not in block
        said = HARMLESS.replace("`", "'")
    elif read_as == "html":
        page = ServicePage(arrived)
        assert page.tags <= {"b", "br", "html", "body", "p"}
        read, said = page.text, HARMLESS
    elif read_as == "markdown":
        page = ServicePage(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(arrived))
        assert page.tags <= {"p", "strong", "ul", "li"}
        read, said = page.text, HARMLESS
    else:
        read, said = arrived, HARMLESS
    # Nothing is lost: it is there twice, in the title and in the text.
    assert read.count(said) == 2
    assert not re.search(r"https?://(?!wiki)|<\w|<[!/@]|\]\(|(?<!\w)@\w", read)


def test_what_leads_to_a_runbook_still_does(requests_made: list[ServiceRequest]) -> None:
    said = message()
    lines = Message(said.title, f"{said.text}\nRunbook: https://wiki.example.com/expired", "", said.brief)
    deliver(lines, KINDS["discord"][0])
    assert requests_made[-1].json["content"].endswith("\n```\nRunbook: https://wiki.example.com/expired")


@pytest.mark.parametrize("kind", ["discord", "slack", "telegram", "ntfy"])
def test_a_list_is_cut_where_a_service_has_no_room_and_what_matters_stays(kind: str) -> None:
    items = "".join(f"\n  web{number}.example.com:443: expired, component web" for number in range(2000))
    said = Message(
        "[critical] web1: expired", f"It concerns 2000 targets:{items}\nTo act: x\nproblem p, message m", "", "b"
    )
    plugin = apprise.Apprise.instantiate(KINDS[kind][0])
    assert isinstance(plugin, NotifyBase)
    form = form_for(said, plugin)
    room: int = plugin.body_maxlen
    assert len(form.title) + len(form.body) <= room
    assert "\n  and more, for which there is no room here\nTo act: x\nproblem p, message m" in form.body
    assert form.body.count("\n  web") > 20
