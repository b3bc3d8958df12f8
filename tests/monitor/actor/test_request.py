"""Whatever a peer writes on the socket is a request, or it is told that it is none."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.csr import CsrOrder
from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.text import Printable
from config.vocabulary import RequestKey
from monitor.actor import conversation
from monitor.actor.authority import Peer, Role
from monitor.actor.conversation import Conversation
from monitor.actor.door import MOST_LINES, BoundedLog
from monitor.actor.news import FollowerNews
from monitor.actor.request import _KEYS, LONGEST, HandedFile, Request, Verb, decode, encode

NO_REQUEST: Final = "this is no request that the actor knows"
DAEMON: Final = 65_530

_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*Verb, *Kind, *RequestKey, "web", "default", 10**400, "\ud800", "1.2.3.4"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["kind", "components", "losses", "backup_set", "days", "names"]), inner)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)
_DOCUMENTS: Final = (
    st.fixed_dictionaries({"verb": st.sampled_from([*Verb])}, optional=dict.fromkeys(sorted(_KEYS - {"verb"}), _VALUES))
    | st.fixed_dictionaries(
        {
            "verb": st.just(Verb.CSR),
            "components": st.just(["web"]),
            "csr": st.fixed_dictionaries(
                {"days": _VALUES | st.just(90)},
                optional={"names": st.lists(st.text()) | _VALUES, "subject": st.text() | _VALUES, "key": _VALUES},
            ),
        }
    )
    | _VALUES
)


@given(_DOCUMENTS)
def test_any_json_is_a_request_or_none(document: object) -> None:
    made = decode(json.dumps(document).encode())
    if isinstance(made, Request):
        assert decode(encode(made)) == made


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_request_or_none(line: bytes) -> None:
    assert isinstance(decode(line), (Request, str))


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "Infinity", "-Infinity", "NaN", "1.0", "true", '"1"', "null", "[1]", "9" * 5000]
)
@pytest.mark.parametrize(
    "template",
    [
        '{"verb":"offer","components":["web"],"files":[["a",%s]]}',
        '{"verb":"follow","after":%s}',
        '{"verb":"csr","components":["web"],"csr":{"days":%s}}',
        (
            '{"verb":"carry_out","action":{"kind":"replace","components":["web"],"backup_set":"","losses":[]},'
            '"files":[["a",1]],"password":[%s]}'
        ),
    ],
)
def test_a_number_is_a_whole_one(template: str, number: str) -> None:
    assert decode((template % number).encode()) == NO_REQUEST


@pytest.mark.parametrize(
    "line",
    [
        '{"verb":"csr","components":["web"],"csr":[]}',
        '{"verb":"csr","components":["web"],"csr":"days"}',
        '{"verb":[]}',
        '{"verb":{}}',
        '{"verb":"state","components":"web"}',
        '{"verb":"state","components":[["web"]]}',
        '{"verb":"plan","action":[]}',
        '{"verb":"plan","action":{"kind":[],"components":["web"],"backup_set":"","losses":[]}}',
        '{"verb":"plan","action":{"kind":"replace","components":{"web":1},"backup_set":"","losses":[]}}',
        '{"verb":"offer","components":["web"],"files":["ab"]}',
        '{"verb":"offer","components":["web"],"files":[["a",1,1]]}',
        '{"verb":"state","why":"\\ud800"}',
        '{"verb":"state","why":' + "[" * 8000,
        "[" * 8000,
    ],
)
def test_what_is_not_of_its_kind_is_no_request(line: str) -> None:
    assert decode(line.encode()) == NO_REQUEST


@pytest.mark.parametrize(
    "request_",
    [
        Request(Verb.FOLLOW, epoch="0123abcd-1", after=7),
        Request(Verb.OFFER, components=("web",), files=(HandedFile("ä.pem", 5),)),
        Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",)), files=(HandedFile("a", 1),), password=3),
        Request(Verb.CSR, components=("web",), csr=CsrOrder(("www.example.com",), None, RequestKey.P256)),
    ],
)
def test_a_request_that_is_encoded_is_the_same_again(request_: Request) -> None:
    assert decode(encode(request_)) == request_


class _Dispatcher:
    def __init__(self) -> None:
        self.lines = BoundedLog()

    def role(self, _peer: Peer) -> Role:
        return Role.DAEMON


def test_an_unforeseen_failure_is_answered_and_logged_a_bounded_number_of_times_for_each_user(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_line: bytes) -> Request:
        raise OverflowError("unforeseen")

    monkeypatch.setattr(conversation, "decode", fail)
    monkeypatch.setattr(conversation, "peer_of", lambda _connection: Peer(DAEMON, Printable("daemon")))
    caplog.set_level(logging.INFO, "certvigil.actor")
    dispatcher: Any = _Dispatcher()
    current: Any = type("Current", (), {"last": type("Config", (), {"host": "here"})})
    for _ in range(MOST_LINES + 30):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"{}\n")
            Conversation(theirs, current, dispatcher, FollowerNews(), threading.Event()).hold()
            assert "not foreseen" in ours.recv(LONGEST).decode()
    assert len(caplog.records) == MOST_LINES
    assert all(each.exc_info for each in caplog.records)
