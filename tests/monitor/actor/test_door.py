"""The actor's door: closed to strangers by its mode, and however many come through it, root is heard."""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.load import load
from config.model import ActorSettings, Config
from config.text import Printable
from monitor.actor import dispatch, server
from monitor.actor.authority import Peer
from monitor.actor.client import talking
from monitor.actor.conversation import _has_left
from monitor.actor.door import LINES_SPAN, MOST_AT_ONCE, MOST_LINES, BoundedLog, Door, Turn
from monitor.actor.request import Document, Request, Verb, encode
from monitor.lab.process import wait_for
from tests.kit.actor import ActorHouse
from tests.kit.authority import fresh
from tests.kit.unprivileged import answered_as

DAEMON, STRANGER = (pwd.getpwnam(each).pw_uid for each in ("daemon", "nobody"))
SETTINGS = ActorSettings(daemon_user="daemon")
GROUP = 64_020
"""Nobody's."""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become others")


@contextmanager
def as_user(uid: int, group: int, count: int, act: str, path: str) -> Iterator[None]:
    """Have `count` processes of a user do something at the socket, over and over, inside the block."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(group, group, group)
                os.setresuid(uid, uid, uid)
                flood(act, path)
            finally:
                os._exit(0)
        children.append(child)
    try:
        yield
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


def flood(act: str, path: str) -> None:
    """Connect as fast as that goes, ask what is looked into or nothing, and hang up."""
    end = time.monotonic() + 60
    kept = []
    while time.monotonic() < end:
        with suppress(OSError):
            asking = socket.socket(socket.AF_UNIX)
            asking.setblocking(False)
            asking.connect(path)
            if act == "ask":
                asking.send(encode(Request(Verb.BACKUPS)))
            kept.append(asking)
        if len(kept) > 30:
            kept.pop(0).close()


@as_root
@pytest.mark.server("nginx")
def test_root_is_heard_while_a_stranger_and_the_daemon_s_user_flood_the_socket(web: ActorHouse) -> None:
    web.configure(daemon_user="daemon", group=str(GROUP))
    with web.actor() as actor:
        with (
            as_user(STRANGER, GROUP, 2, "hang up", actor.socket),
            as_user(DAEMON, GROUP, 2, "hang up", actor.socket),
            as_user(DAEMON, GROUP, 1, "ask", actor.socket),
        ):
            answers = [actor.ask(Request(Verb.STATE)) for _ in range(20)]
        assert all("components" in each for each in answers)
        caused = [each for each in actor.text.splitlines() if "asks too much" in each or "refused" in each]
        assert 0 < len(caused) <= 2 * (MOST_LINES + 1) * 2


@as_root
@pytest.mark.server("nginx")
def test_the_socket_is_for_root_and_one_group_and_others_are_told_so(web: ActorHouse) -> None:
    web.configure(daemon_user="daemon", group=str(GROUP))
    with web.actor() as actor:
        status = os.stat(actor.socket)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, GROUP, 0o660)
        assert tried(STRANGER, STRANGER, actor.socket) == "PermissionError"
        assert tried(DAEMON, GROUP, actor.socket) == "connected"


@pytest.mark.server("nginx")
def test_without_its_group_the_socket_is_for_root_alone(web: ActorHouse) -> None:
    web.configure(group="no-such-group")
    with web.actor() as actor:
        assert stat.S_IMODE(os.stat(actor.socket).st_mode) == 0o600
        assert "there is no group no-such-group (actor.group)" in actor.text


def tried(uid: int, group: int, path: str) -> str:
    def answer() -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(path)
        except OSError as error:
            return type(error).__name__.encode()
        return b"connected"

    return answered_as(uid, answer, group)


@as_root
def test_each_user_has_places_of_its_own_and_all_strangers_share_a_few() -> None:
    door = Door()
    for uid, most in ((DAEMON, 16), (STRANGER, 2)):
        places = [door.enter(uid, SETTINGS) for _ in range(most)]
        assert None not in places
        assert door.enter(uid, SETTINGS) is None
    assert door.enter(12345, SETTINGS) is None, "a stranger, too"
    for _ in range(MOST_AT_ONCE["operator"]):  # type: ignore[index]
        assert door.enter(0, SETTINGS) is not None
    door.leave(DAEMON)
    assert door.enter(DAEMON, SETTINGS) == DAEMON


def test_an_operator_has_the_next_turn_however_many_others_wait_longer() -> None:
    turn, order, waiting = Turn(), list[str](), threading.Semaphore(0)

    def act(name: str, *, first: bool) -> None:
        waiting.release()
        with turn.taken(10.0, first=first) as free:
            assert free
            order.append(name)

    with turn.taken():
        others = [threading.Thread(target=act, args=("daemon",), kwargs={"first": False}) for _ in range(5)]
        operator = threading.Thread(target=act, args=("operator",), kwargs={"first": True})
        for each in (*others, operator):
            each.start()
        for _ in range(6):
            waiting.acquire()
        while not turn._first:
            time.sleep(0.001)
        with turn.taken(0.01, first=False) as free:
            assert not free
    for each in (*others, operator):
        each.join(10)
    assert order == ["operator", *["daemon"] * 5]


def test_who_waits_is_told_of_each_act_that_has_the_turn_meanwhile() -> None:
    turn, told, taken = Turn(), list[str](), threading.Event()

    def wait() -> None:
        with turn.taken(30.0, act=Printable("the last"), waits=told.append) as free:
            assert free
            taken.set()

    waiting = threading.Thread(target=wait)
    with turn.taken(act=Printable("one")):
        waiting.start()
        wait_for(lambda: told == ["one"], 10.0, "the first act")
        # Another has the turn before whoever waits wakes up.
        turn._act = Printable("another")
        with turn._changed:
            turn._changed.notify_all()
        wait_for(lambda: told == ["one", "another"], 10.0, "the second act")
        assert not taken.is_set()
    waiting.join(10.0)
    assert taken.is_set()


def test_what_was_asked_for_is_judged_by_the_configuration_of_its_turn(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SOON", 0.01)
    config = load(web.config_file, {})
    assert isinstance(config, Config)
    actor, told, answers = server.ActorProcess(web.config_file, config), threading.Event(), list[Document]()
    request = Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",)))

    def ask() -> None:
        caller = dispatch.Caller(lambda _: told.set())
        answers.append(actor.dispatcher.do(request, Peer(0, Printable("root")), caller))

    with closing(actor):
        asking = threading.Thread(target=ask)
        with actor.dispatcher.turn.taken(act=Printable("something")):
            asking.start()
            assert told.wait(30.0)
            document = web.document()
            del document["components"]["web"]["service"]
            Path(web.config_file).write_text(json.dumps(document), encoding="utf-8")
        asking.join(30.0)
    assert "certvigil only watches it" in answers[0]["cannot"]


def test_an_operator_is_told_what_is_waited_for_and_who_has_left_has_nothing_done(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SOON", 0.01)
    config = load(web.config_file, {})
    assert isinstance(config, Config)
    actor, root, answers = (
        server.ActorProcess(web.config_file, config),
        Peer(0, Printable("root")),
        dict[str, Document](),
    )
    told, left = threading.Semaphore(0), Request(Verb.REJECT, plan="0" * 8)
    heard: list[Document] = []

    def ask(name: str, *, has_left: bool) -> None:
        def tell(document: Document) -> None:
            heard.append(document)
            told.release()

        answers[name] = actor.dispatcher.do(left, root, dispatch.Caller(tell, lambda: has_left))

    with closing(actor):
        with actor.dispatcher.turn.taken(act=Printable("a plan for the replace of web, asked for by daemon")):
            asking = [
                threading.Thread(target=ask, args=(name,), kwargs={"has_left": name == "gone"})
                for name in ("there", "gone")
            ]
            for each in asking:
                each.start()
            for _ in asking:
                assert told.acquire(timeout=30.0)
        for each in asking:
            each.join(30.0)
    acts = [each["step"]["act"] for each in heard]
    assert acts[:2] == ["a plan for the replace of web, asked for by daemon"] * 2
    assert set(acts[2:]) <= {"the rejection of plan 00000000, asked for by root"}, "one may have to wait for the other"
    assert "no plan that waits" in answers["there"]["cannot"]
    assert "ask again" in answers["gone"]["cannot"]


def test_who_waits_is_there_until_the_connection_is_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10.0)
        before = time.monotonic()
        with theirs:
            assert not _has_left(ours)
        assert _has_left(ours)
        assert time.monotonic() - before < 5.0, "it does not wait for the time limit of the socket"


@pytest.mark.server("nginx")
def test_an_operator_who_waits_for_the_turn_has_it_and_is_answered(web: ActorHouse) -> None:
    with web.actor() as actor, ThreadPoolExecutor(2) as threads:
        # Each takes its time, so that one of them waits for the other.
        waiting: list[str] = []
        web.put(fresh())
        replace = ActionRequest(Kind.REPLACE, ("web",))
        first = threads.submit(actor.ask, Request(Verb.CARRY_OUT, replace))
        wait_for(lambda: actor.ask(Request(Verb.STATE))["under_way"], 30.0, "the transaction")
        second = actor.ask(Request(Verb.RECOVER), waiting)
        assert [each["outcome"] for each in first.result(60.0)["endings"]] == ["committed"]
        assert "cannot" not in second, second


def test_what_a_user_causes_in_the_log_is_bounded_and_what_root_causes_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "certvigil.actor")
    now = 0.0
    lines = BoundedLog(lambda: now)
    for _ in range(1000):
        lines.write(STRANGER, logging.INFO, "refused %s", Printable("nobody"))
    lines.write(DAEMON, logging.INFO, "refused %s", Printable("daemon"))
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == MOST_LINES + 1
    assert "are not logged" in said[MOST_LINES - 1]
    assert said[-1] == "refused daemon"
    now += LINES_SPAN
    lines.write(STRANGER, logging.INFO, "refused again")
    said = [each.getMessage() for each in caplog.records][-2:]
    assert said == [f"left out 980 lines about what uid {STRANGER} asked for", "refused again"]
    caplog.clear()
    for _ in range(100):
        lines.write(0, logging.INFO, "asked")
    assert len(caplog.records) == 100


@as_root
def test_who_may_not_connect_is_told_who_may(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        path = str(tmp_path / "s")
        listening.bind(path)
        os.chmod(path, 0)
        os.chmod(tmp_path, 0o755)
        os.seteuid(STRANGER)
        try:
            with pytest.raises(PermissionError) as caught, talking(path, Request(Verb.STATE), 5.0):
                pass
        finally:
            os.seteuid(0)
    assert "you may not ask the actor: only root and members of its group may" in str(caught.value)
