"""A plan is approved over the API by the bearer of a token for it, and by nobody else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config.model import Settings, Token, Web
from config.vocabulary import Scope
from monitor.actor.request import Verb
from tests.kit.web_server import FakeView, running

PLAN = "ab" * 32
SECRET = "a token of many random bytes"
TOKEN = Token("deploy-bot", hashlib.sha256(SECRET.encode()).hexdigest(), frozenset({Scope.APPROVE}))


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
def client(view: FakeView, tmp_path: Path) -> Iterator[httpx.Client]:
    settings = Settings(socket=str(tmp_path / "s"), web=Web(listen=("127.0.0.1:0",)))
    with running(view, settings) as server, server.tcp() as tcp:
        server.server.allow((TOKEN, Token("reader", hashlib.sha256(b"other").hexdigest())))
        yield tcp


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_the_bearer_of_a_token_approves_and_rejects_in_its_name(view: FakeView, client: httpx.Client) -> None:
    answer = client.post(f"/api/v1/plans/{PLAN}/approve", headers=bearer(SECRET))
    assert (answer.status_code, answer.json()) == (200, {"plan": PLAN, "by": "token deploy-bot"})
    client.post(f"/api/v1/plans/{PLAN[:12]}/reject", params={"why": "wrong week"}, headers=bearer(SECRET))
    assert view.ruled == [
        (Verb.APPROVE, PLAN, "token deploy-bot", ""),
        (Verb.REJECT, PLAN[:12], "token deploy-bot", "wrong week"),
    ]


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer("other"), {"Authorization": f"Basic {SECRET}"}])
def test_nobody_else_does(view: FakeView, client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.post(f"/api/v1/plans/{PLAN}/approve", headers=headers).status_code == 403
    assert view.ruled == []


def test_what_is_no_hash_of_a_plan_is_refused(view: FakeView, client: httpx.Client) -> None:
    assert client.post("/api/v1/plans/ABC/approve", headers=bearer(SECRET)).status_code == 422
    assert view.ruled == []


def test_what_the_actor_does_not_take_is_a_conflict_that_says_why(view: FakeView, client: httpx.Client) -> None:
    view.takes = "no plan that waits begins with that"
    answer = client.post(f"/api/v1/plans/{PLAN}/approve", headers=bearer(SECRET))
    assert (answer.status_code, answer.json()) == (409, {"detail": view.takes})
