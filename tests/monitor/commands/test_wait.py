"""`certvigil approve --wait` returns once the plan has ended, or once it will not be carried out any more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from actions.ending import Cause, Outcome
from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.client import NoActor
from monitor.actor.request import Document, Request
from monitor.commands import wait
from monitor.commands.outcome import UNUSABLE, exit_code
from monitor.commands.wait import _end
from monitor.dialect import dated, iso_exactly

NOW = time.time()
LATER = NOW + 86_400
"""Long after the last test, however slow the machine is."""
HERE: Document = {"here": 1, "epoch": "aaaaaaaa-1", "clock": None}
NUMBERS = count(1)
ACTION_REQUEST = ActionRequest(Kind.REPLACE, ("web",)).to_json()


def record(event: str, transaction: str = "", **data: Any) -> Document:
    place = {"epoch": "aaaaaaaa-1", "sequence": next(NUMBERS)}
    plain = {"at": NOW, "transaction": transaction, "event": event, "data": data, **place}
    return {"record": dated(plain, iso_exactly)}


def begin(plan: str, transaction: str = "t1", component: str = "web") -> Document:
    return record("begin", transaction, hash=plan, plan={"kind": "replace", "components": [component]}, by="daemon")


def end(event: str, outcome: Outcome, transaction: str = "t1") -> Document:
    return record(event, transaction, outcome=outcome, cause=Cause.NONE, reason="that is how it ended")


CASE = {"web": "ab" * 32}
APPROVED = (
    record("proposed", hash="p1", action=ACTION_REQUEST, case=CASE),
    record("approved", hash="p1", by="alice", until=LATER),
)


def ended(*documents: Document, until: float = LATER) -> tuple[Document, list[str]]:
    """Return what is answered, which must come before everything was told."""
    steps: list[str] = []

    def told() -> Iterator[Document]:
        yield from (*APPROVED, HERE, *documents)
        pytest.fail("it waits on")

    return _end(told(), "p1", until, lambda step: steps.append(step["event"])), steps


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ("committed", Outcome.COMMITTED),
        ("rolled_back", Outcome.ROLLED_BACK),
        ("failed_forward", Outcome.FAILED_FORWARD),
        ("superseded", Outcome.SUPERSEDED),
    ],
)
def test_the_end_is_waited_for_and_each_step_is_told(event: str, outcome: Outcome) -> None:
    document, steps = ended(begin("p1"), record("switched", "t1"), HERE, end(event, outcome), record("closed", "t1"))
    assert [each["outcome"] for each in document["endings"]] == [outcome]
    assert "web: that is how it ended" in document["endings"][0]["sentence"]
    told = {Outcome.ROLLED_BACK: "; undone, the old files are in place", Outcome.COMMITTED: "that is how it ended"}
    assert document["endings"][0]["sentence"].endswith(f"{told.get(outcome, '')}."), "with its consequence"
    assert steps == ["begin", "switched", event, "closed"]


def test_a_plan_that_froze_has_ended() -> None:
    document, _ = ended(
        begin("p1"),
        record(
            "frozen",
            "t1",
            components=["web"],
            outcome=Outcome.FROZEN,
            cause=Cause.STORAGE,
            reason="the disk is full",
        ),
    )
    assert document["endings"][0]["outcome"] == Outcome.FROZEN


def test_a_plan_that_was_refused_when_its_turn_came_has_ended() -> None:
    refused = record(
        "refused", "t1", kind="replace", components=["web"], hash="p1", outcome="refused", cause="busy", reason="x"
    )
    document, _ = ended(refused)
    assert document["endings"][0]["outcome"] == Outcome.REFUSED


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        pytest.param(
            [record("rejected", hash="p1", kind="replace", case=CASE, by="bob"), HERE], "rejected by bob", id="rejected"
        ),
        pytest.param(
            [record("rejected", hash="p2", kind="replace", case=CASE, by="bob"), HERE],
            "rejected by bob",
            id="the same by another plan was rejected",
        ),
        pytest.param(
            [begin("p2"), end("committed", Outcome.COMMITTED), record("closed", "t1"), HERE],
            "the plan is another by now",
            id="something else was done",
        ),
        pytest.param([record("withdrawn", hash="p1"), HERE], "its cause is gone", id="withdrawn"),
    ],
)
def test_what_will_not_be_carried_out_is_not_waited_for(documents: list[Document], why: str) -> None:
    document, _ = ended(*documents)
    assert why in document["expired"]


def test_an_approval_that_has_expired_is_not_waited_for() -> None:
    document, _ = ended(until=NOW - 1)
    assert "expired" in document["expired"]


def test_another_transaction_is_none_of_its_ends() -> None:
    document, steps = ended(
        record("proposed", hash="p2", action=ACTION_REQUEST, case=CASE),
        begin("p9", "t0", "mail"),
        end("committed", Outcome.COMMITTED, "t0"),
        record("closed", "t0"),
        HERE,
        begin("p1"),
        end("committed", Outcome.COMMITTED),
        record("closed", "t1"),
    )
    assert document["endings"][0]["transaction"] == "t1"
    assert steps == ["begin", "committed", "closed"]


class Actors:
    """Answers of an actor, one connection after the other; None is an actor that is not there."""

    def __init__(self, *connections: Sequence[Document] | None) -> None:
        self._coming, self.asked = iter(connections), 0

    @contextmanager
    def talking(self, socket: str, _request: Request, _timeout: float) -> Iterator[Iterator[Document]]:
        self.asked += 1
        documents = next(self._coming, None)
        if documents is None:
            raise NoActor(f"no actor listens on {socket}")
        yield iter(documents)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_BETWEEN", 0.0)


APPROVAL: Document = {"approved": "p1", "until": iso_exactly(LATER)}


@pytest.mark.usefixtures("no_pause")
def test_an_actor_that_goes_away_is_waited_for_and_its_journal_tells_the_end_with_no_step_told_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = (*APPROVED, HERE, begin("p1"), record("switched", "t1"))
    rest = (record("rolling_back", "t1"), end("rolled_back", Outcome.ROLLED_BACK), record("closed", "t1"))
    actors = Actors(first, None, None, (*first, *rest))
    monkeypatch.setattr(wait, "talking", actors.talking)
    steps: list[str] = []
    document = wait.wait_for_end("/sock", APPROVAL, lambda step: steps.append(step["event"]))
    assert document["endings"][0]["outcome"] == Outcome.ROLLED_BACK
    assert exit_code(APPROVAL | document) == 2
    assert steps == ["begin", "switched", "rolling_back", "rolled_back", "closed"]
    assert actors.asked == 4


@pytest.mark.usefixtures("no_pause")
def test_where_nobody_can_tell_the_end_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "BACK_WITHIN", 0.05)
    monkeypatch.setattr(wait, "talking", Actors((*APPROVED, HERE, begin("p1"))).talking)
    document = wait.wait_for_end("/sock", APPROVAL, lambda _step: None)
    assert "how the plan ended is not known here" in document["unknown"]
    assert "`certvigil audit` tells" in document["unknown"]
    assert exit_code(APPROVAL | document) == UNUSABLE


def test_a_plan_that_was_begun_before_is_found_by_the_beginning_of_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    told = (begin("ab1", "t1"), end("committed", Outcome.COMMITTED), record("closed", "t1"), begin("cd2", "t2"), HERE)
    monkeypatch.setattr(wait, "talking", Actors(told, told, None).talking)
    assert [wait.begun_already("/sock", each) for each in ("ab", "ef", "ab")] == ["ab1", "", ""]
