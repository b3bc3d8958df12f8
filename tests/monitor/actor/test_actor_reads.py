"""The actor tells facts whenever it is asked, says where to look again, and on which host all that is."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.load import load
from config.model import Config
from config.text import Printable
from monitor.actor.authority import Peer
from monitor.actor.client import talking
from monitor.actor.dispatch import Caller
from monitor.actor.reader import NotNow, Reader
from monitor.actor.request import Document, Request, Verb, decode, encode
from monitor.actor.server import ActorProcess
from monitor.lab.process import wait_for
from tests.kit.actor import ActorHouse, StartedActor
from tests.kit.authority import fresh
from tests.kit.daemon import PATIENCE

pytestmark = pytest.mark.server("nginx")

READ = Request(Verb.READ, components=("web",))


def configure(web: ActorHouse, **service: object) -> None:
    """Configure the house, on a host with a name."""
    document = {**web.document({"service": {**web.component()["service"], **service}}), "host": "a.example.com"}  # type: ignore[dict-item]
    Path(web.config_file).write_text(json.dumps(document), encoding="utf-8")


def keys_of(answer: Document) -> list[str]:
    return [key for file in answer["facts"]["files"] for key in file["keys"]]


def followed(actor: StartedActor) -> Queue[Any]:
    """Return what the actor says to somebody who follows it, as it comes."""
    said: Queue[Any] = Queue()

    def follow() -> None:
        with talking(actor.socket, Request(Verb.FOLLOW), PATIENCE) as documents:
            try:
                for document in documents:
                    said.put(document)
            except OSError:
                return

    threading.Thread(target=follow, daemon=True).start()
    while "here" not in said.get(timeout=PATIENCE):
        pass
    return said


def test_it_tells_facts_while_a_transaction_is_under_way(web: ActorHouse, tmp_path: Path) -> None:
    """The service's own test waits until the facts are there."""
    told = tmp_path / "told"
    script = f"for i in $(seq 600); do [ -e {told} ] && exit 0; sleep 0.1; done; exit 1"
    configure(web, test=["/bin/sh", "-c", script])
    new = fresh()
    web.put(new)
    steps: list[str] = []
    answers: list[Document] = []
    with web.actor() as actor:
        before = keys_of(actor.ask(READ))
        action = Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",)))
        acting = threading.Thread(target=lambda: answers.append(actor.ask(action, steps)))
        # The untouched system passes its own test first: that time it does not wait.
        told.touch()
        acting.start()
        wait_for(lambda: "begin" in steps, PATIENCE, "the beginning")
        told.unlink()
        wait_for(lambda: "switched" in steps or not acting.is_alive(), PATIENCE, "the switch")
        during = keys_of(actor.ask(READ))
        under_way = acting.is_alive()
        told.touch()
        acting.join(PATIENCE)
    assert under_way
    assert during != before
    assert len(during) == 1


def test_it_says_where_to_look_again_to_whoever_follows(web: ActorHouse) -> None:
    configure(web)
    closed = f"{web.directory}/tls"
    os.chmod(closed, 0o700)
    with web.actor() as actor:
        said = followed(actor)
        # What its watcher does not watch yet goes unnoticed, and is looked at by whoever begins to follow.
        end = threading.Event()

        def rewrite() -> None:
            while not end.wait(0.2):
                Path(f"{closed}/new").write_bytes(web.old.key_pem())
                os.rename(f"{closed}/new", web.site.key)

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            while "look" not in (document := said.get(timeout=PATIENCE)):
                pass
        finally:
            end.set()
            writer.join()
    assert document == {"look": "web", "host": "a.example.com"}


def test_each_answer_and_each_record_says_on_which_host(web: ActorHouse) -> None:
    configure(web)
    web.put(fresh())
    with web.actor() as actor:
        for request in (
            Request(Verb.STATE),
            Request(Verb.BACKUPS),
            READ,
            Request(Verb.PROPOSE, ActionRequest(Kind.REPLACE, ("web",))),
            Request(Verb.PLAN, ActionRequest(Kind.REPLACE, ("none",))),
        ):
            assert actor.ask(request)["host"] == "a.example.com"
        said = followed(actor)
        assert said.get(timeout=PATIENCE)["host"] == "a.example.com"
    assert web.records()
    assert {each["host"] for each in web.records()} == {"a.example.com"}
    code, text = web.command("audit", "--json")
    assert code == 0
    assert all(json.loads(line)["host"] == "a.example.com" for line in text.splitlines())


@pytest.mark.parametrize("components", [(), ("a", "b"), ("../etc/shadow",), ("/etc/shadow",), ("",)])
def test_a_component_is_named_by_its_name_and_one_at_a_time(components: tuple[str, ...]) -> None:
    assert isinstance(decode(encode(Request(Verb.READ, components=components))), str)


def test_where_it_does_not_read_now_it_says_when_to_ask_again(web: ActorHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(web)
    config = load(web.config_file, {})
    assert isinstance(config, Config)
    monkeypatch.setattr(Reader, "read", lambda *_: NotNow("later", 12.5))
    actor = ActorProcess(web.config_file, config)
    try:
        assert actor.dispatcher.do(Request(Verb.READ, components=("web",)), Peer(0, Printable("root")), Caller()) == {
            "cannot": "later",
            "again": 12.5,
        }
    finally:
        actor.close()
