"""Keys that were made for requests outlive a loss of power as their requests do; what is an answer to a request."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from actions.csr import BACKDATED, CsrOrder, WaitingRequest, kind_like, new_key, why_no_answer, wrong_order
from actions.ending import Ending, Outcome
from actions.journal import Event, Journal, JournalError, Record
from actions.journal_state import JournalState
from actions.pending_keys import PendingKeys
from actions.transaction import transact
from actions.world import World
from config.vocabulary import KeyKind, RequestKey
from probes.certificate import Key, certificate
from tests.kit.authority import NAME, fresh
from tests.kit.matrix import played
from tests.kit.power_loss import CutMoment, FilmedWorld, Kept, ModelWorld, VolatileDisk
from tests.kit.scene import PATIENT, Scene
from tests.kit.worlds import Cell, Step, WatchedWorld, cells, killed

AT: Final = 1_800_000_000.0
KEYS: Final = [new_key(RequestKey.P256) for _ in range(2)]


def disk_of_an_actor() -> VolatileDisk:
    disk = VolatileDisk()
    ModelWorld(disk).make_directory("/actor")
    disk.sync()
    return disk


def keep(disk: VolatileDisk, number: int) -> tuple[CutMoment, ...]:
    """Make a request with its key, and return each moment of it."""
    world, key = FilmedWorld(disk), KEYS[number]
    journal = Journal(world, "/actor/journal.jsonl")
    data: dict[str, Any] = {"key": key.public_sha256, "components": ["web"], "names": [NAME], "pem": "", "by": "a"}
    record = Record(AT, "", Event.REQUESTED, {**data, "until": AT + 9e6})
    PendingKeys(world, "/actor/requests").store(key, lambda: journal.append(record))
    return world.end()


def subsets(parts: int, seed: str) -> Iterator[Kept]:
    chance = random.Random(seed)
    yield lambda: False
    yield lambda: True
    for one in range(min(parts, 16)):
        yield partial(next, iter([each == one for each in range(parts)]), True)
        yield partial(next, iter([each != one for each in range(parts)]), True)
    for _ in range(8):
        yield lambda: chance.random() < 0.5


def waiting(disk: VolatileDisk) -> dict[str, WaitingRequest]:
    return JournalState.of(Journal(ModelWorld(disk), "/actor/journal.jsonl").records()).requests


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first", "another"])
def test_power_lost_at_any_step_leaves_each_request_with_its_key(earlier: int) -> None:
    disk = disk_of_an_actor()
    for number in range(earlier):
        keep(disk, number)
    moments = keep(disk, earlier)
    cuts = 0
    for moment in moments:
        for kept in subsets(moment.disk.uncertain, moment.about):
            after = moment.disk.copy()
            after.lose(kept)
            cuts += 1
            requests = waiting(after)
            area = PendingKeys(ModelWorld(after), "/actor/requests")
            for again in range(2):
                found = {key for key in requests if area.key(key) is not None}
                assert found == requests.keys(), (moment.about, again)
                area.clear(requests.keys())
            # Whoever was told of a request has it.
            told = earlier + (moment is moments[-1])
            assert {each.public_sha256 for each in KEYS[:told]} <= requests.keys(), moment.about
            names = ModelWorld(after).names("/actor/requests")
            assert names == tuple(sorted(f"{each}.pem" for each in requests)), moment.about
    assert cuts > 100


def test_a_request_that_is_not_recorded_leaves_its_key_to_the_journal() -> None:
    """It is not known whether such a record was kept: the key is removed once the journal is read without it."""
    world = ModelWorld(disk_of_an_actor())
    area = PendingKeys(world, "/actor/requests")

    def noted() -> None:
        raise JournalError("the journal cannot be written")

    with pytest.raises(JournalError):
        area.store(KEYS[0], noted)
    assert area.key(KEYS[0].public_sha256) == KEYS[0]
    area.clear(())
    assert area.key(KEYS[0].public_sha256) is None
    assert world.names("/actor/requests") == ()


def request(*names: str, at: float, seen: frozenset[str] = frozenset()) -> WaitingRequest:
    return WaitingRequest("ab" * 32, ("web",), names, installed=True, pem="", by="a", at=at, until=at + 9e6, seen=seen)


def test_an_answer_has_the_names_is_newer_and_was_not_seen() -> None:
    leaf = certificate(fresh("*.example.net", "10.0.0.1").der())
    begin = float(leaf.not_before or 0)
    for names in ((NAME,), (NAME.upper(),), ("a.example.net", "*.example.net"), ("10.0.0.1",)):
        assert list(why_no_answer(leaf, request(*names, at=begin + BACKDATED))) == []
    assert list(why_no_answer(leaf, request(NAME, "a.b.example.net", "10.0.0.2", at=begin))) == [
        "it lacks a.b.example.net, 10.0.0.2, which the request asks for"
    ]
    (why,) = why_no_answer(leaf, request(NAME, at=begin + BACKDATED + 1))
    assert why.startswith("it begins ")
    assert ", before the request of " in why
    (why,) = why_no_answer(leaf, request(NAME, at=begin, seen=frozenset({leaf.sha256})))
    assert why.startswith("it was there before the request of ")


@pytest.mark.parametrize(
    ("installed", "kind"),
    [
        (None, RequestKey.P256),
        (Key(KeyKind.EC, 256), RequestKey.P256),
        (Key(KeyKind.EC, 521), RequestKey.P384),
        (Key(KeyKind.RSA, 1024), RequestKey.RSA2048),
        (Key(KeyKind.RSA, 3072), RequestKey.RSA3072),
        (Key(KeyKind.RSA, 8192), RequestKey.RSA4096),
        (Key(KeyKind.ED25519, 256), RequestKey.P256),
    ],
)
def test_a_new_key_is_of_the_kind_of_the_installed_one_and_not_weak(installed: Key | None, kind: RequestKey) -> None:
    assert kind_like(installed) is kind


def test_an_order_is_bounded_and_comes_over_the_socket_as_it_is() -> None:
    order = CsrOrder((NAME,), "CN=x", RequestKey.RSA4096, days=9, dry_run=True)
    assert CsrOrder.from_json(order.to_json()) == order
    assert wrong_order(CsrOrder(tuple(f"{number}.example" for number in range(101)))) == (
        "a request has at most 100 names"
    )
    long = tuple(f"{'x' * 60}.{'y' * 60}.{number}.example" for number in range(60))
    assert wrong_order(CsrOrder(long)) == "the names have at most 6000 characters together"
    assert wrong_order(CsrOrder(subject="CN=" + "x" * 600)) == "a subject has at most 500 characters"
    for plain in ({"days": "9"}, {"days": 9, "names": "x"}, {"days": 9, "key": "dsa"}, {"days": 9, "path": "/x"}):
        with pytest.raises((ValueError, TypeError)):
            CsrOrder.from_json(plain)


def answered(scene: Scene, world: World) -> Ending:
    """Carry out the replacement that answers the request of the first key."""
    order, context = scene.order(), scene.context(world)
    with closing(context.journal):
        return transact(replace(context, asked={"answers": [KEYS[0].public_sha256]}), order)


@pytest.mark.parametrize(
    ("new", "committed", "since"),
    [
        pytest.param({}, True, "", id="good"),
        # Before it is known to be bad, its steps are those of the good one.
        pytest.param({"web": b"GOOD no java"}, False, " rolling_back", id="bad since the rollback"),
        pytest.param({"web": b"GOOD no java"}, False, "", id="bad", marks=pytest.mark.slow),
    ],
)
def test_a_transaction_killed_at_any_step_closes_the_request_that_it_answers_if_it_commits(
    new: dict[str, bytes], committed: bool, since: str, room: Path
) -> None:
    """No step lies between the commit and the closing: a key goes only once its certificate is in use."""
    number = iter(range(10_000))
    key = KEYS[0].public_sha256

    def scene() -> Scene:
        made = Scene(f"{room}/{next(number)}", new=new, terms=PATIENT)
        data: dict[str, Any] = {"key": key, "components": ["web"], "names": [NAME], "by": "a", "until": AT + 9e6}
        with closing(Journal(made.disk, f"{made.root}/state/journal.jsonl")) as journal:
            journal.append(Record(AT, "", Event.REQUESTED, data))
        return made

    def faults(of: Scene) -> list[str]:
        of.recover()
        state = JournalState.of(of.records())
        in_use = any(each in {Outcome.COMMITTED, Outcome.FAILED_FORWARD} for each in of.ends())
        closed = key not in state.requests
        wrong = [] if closed is in_use else [f"closed: {closed}, and the new files are in use: {in_use}"]
        return wrong if closed is (key in state.spent_keys) else [*wrong, "a key that is done with stays, or the other"]

    def trace() -> list[Step]:
        one = scene()
        world = WatchedWorld(one.root)
        assert (answered(one, world).outcome is Outcome.COMMITTED) is committed
        assert faults(one) == []
        first = next(each.number for each in world.trace if each.what.endswith(since))
        return [each for each in world.trace if each.number >= first]

    def play(cell: Cell) -> list[str]:
        one = scene()
        killed(partial(answered, one), cell)
        return faults(one)

    assert played(lambda: cells(trace()), play) == []
