"""The part of the API that concerns notifications."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.channel import FindingMatch, Silence
from config.model import Settings, Web
from config.vocabulary import Code
from monitor.notify.outbox import RequestedSilence
from tests.kit.outbox import ALERT, DELIVERY, SILENCE
from tests.kit.web_server import FakeView, RunningServer, running

API = "/api/v1/notifications"


@pytest.fixture
def view() -> FakeView:
    view = FakeView()
    view.notifier.told.append(ALERT)
    view.notifier.deliveries.append(DELIVERY)
    view.notifier.held.append(SILENCE)
    return view


@pytest.fixture
def server(view: FakeView, tmp_path: Path) -> Iterator[RunningServer]:
    settings = replace(Settings(), socket=str(tmp_path / "run" / "s"), web=Web(("127.0.0.1:0",)))
    with running(view, settings) as server:
        yield server


@pytest.fixture
def unix(server: RunningServer) -> Iterator[httpx.Client]:
    with server.unix() as client:
        yield client


def test_what_was_told_is_shown(unix: httpx.Client) -> None:
    told = unix.get(API).json()
    (alert,), (delivery,), (silence,) = told["alerts"], told["undelivered"], told["silences"]
    assert (alert["problem"], alert["channel"], alert["severity"]) == (ALERT.problem, "ops", "warning")
    assert (alert["targets"], alert["codes"]) == (2, ["expired", "unreadable"])
    # Of the other, only a plan waits.
    assert alert["headline"] == r"unreadable: CN=\udcff on /a path that is no text: \udcff"
    assert alert["acknowledged"]["who"] == "root (uid 0, pid 1)"
    assert delivery == {
        "id": DELIVERY.id,
        "channel": "ops",
        "title": "title",
        "at": "1970-01-01T00:00:07Z",
        "fate": "pending",
        "attempts": 8,
        "why": "why",
    }
    assert (silence["id"], silence["targets"], silence["findings"]) == ("abcd", ["a*"], ["expired"])


def test_somebody_knows_of_a_problem(unix: httpx.Client, view: FakeView) -> None:
    assert unix.post(f"{API}/acknowledge/{ALERT.problem}").json() == {"count": 1}
    assert unix.post(f"{API}/acknowledge/{ALERT.problem}", params={"for": 60}).status_code == 200
    assert unix.post(f"{API}/acknowledge/00000000").status_code == 404
    assert unix.post(f"{API}/acknowledge/{ALERT.problem}", params={"for": -1}).status_code == 422
    (_, problem, who, until), (*_, later) = view.notifier.asked[:2]
    assert (problem, until) == (ALERT.problem, None)
    assert "uid" in str(who)
    assert isinstance(later, float)


def test_somebody_wants_silence(unix: httpx.Client, view: FakeView) -> None:
    wanted: dict[str, Any] = {"for": 60, "reason": "deploying", "target": ["a", "b*"], "finding": "expired"}
    made = unix.post(f"{API}/silences", params=wanted).json()
    assert (made["id"], made["targets"], made["reason"]) == ("abcd", ["a", "b*"], "deploying")
    held = view.notifier.held[-1]
    assert held.silence.match == FindingMatch(("a", "b*"), (), (), (Code.EXPIRED,))
    assert isinstance(held, RequestedSilence)
    assert isinstance(held.silence, Silence)
    assert unix.post(f"{API}/silences", params={"for": 60}).status_code == 422
    assert unix.post(f"{API}/silences", params={**wanted, "finding": "nothing"}).status_code == 422
    assert unix.delete(f"{API}/silences/abcd").json() == {"count": 1}
    assert unix.delete(f"{API}/silences/none").status_code == 404


def test_somebody_decides_on_what_was_given_up(unix: httpx.Client, view: FakeView) -> None:
    assert unix.post(f"{API}/retry", params={"channel": "ops"}).json() == {"count": 1}
    assert unix.post(f"{API}/drop").json() == {"count": 1}
    assert view.notifier.asked == [("retry", "ops"), ("drop", None)]


@pytest.mark.parametrize(
    ("method", "resource"),
    [
        ("POST", f"acknowledge/{ALERT.problem}"),
        ("POST", "silences?for=60&reason=x"),
        ("DELETE", "silences/abcd"),
        ("POST", "retry"),
        ("POST", "drop"),
    ],
)
def test_over_tcp_one_may_look_and_change_nothing(
    method: str, resource: str, server: RunningServer, view: FakeView
) -> None:
    with server.tcp() as client:
        assert client.get(API).status_code == 200
        assert client.request(method, f"{API}/{resource}").status_code == 403
    assert view.notifier.asked == []
    assert view.notifier.held == [SILENCE]
