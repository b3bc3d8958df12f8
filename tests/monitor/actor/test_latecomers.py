"""An actor compares what was replaced in time, and gives way to somebody else's set: with a real nginx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions.journal import Event, Record
from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.load import load
from config.model import Config
from monitor.actor.authority import Role
from monitor.actor.handlers import handle
from monitor.actor.pace import Pace
from monitor.actor.request import Document, Request, Verb
from monitor.actor.server import ActorProcess
from monitor.actor.work import Work
from monitor.lab.ca import Issued
from monitor.lab.process import wait_for
from probes.certificate import certificate
from tests.kit.actor import ActorHouse
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon, with_usual_paths
from tests.kit.late_writer import Writer
from tests.kit.lease import leased
from tests.kit.openssl_client import presented

pytestmark = pytest.mark.server("nginx")

REPLACE = ActionRequest(Kind.REPLACE, ("web",))


@contextmanager
def actor_of(web: ActorHouse) -> Iterator[ActorProcess]:
    """Give an actor in this process, which does not serve."""
    config = load(web.config_file, {})
    assert isinstance(config, Config), config
    actor = ActorProcess(web.config_file, config)
    try:
        yield actor
    finally:
        actor.stop()
        actor.close()


def replaced(
    web: ActorHouse, actor: ActorProcess, told: Callable[[Record], None] = lambda _: None, kept_for: float = 600.0
) -> Document:
    web.put(fresh())
    with actor.current.context() as context:
        briefly = replace(context, transaction=replace(context.transaction, kept_for=kept_for))
        return handle(
            Work(
                briefly,
                "somebody",
                told,
            ),
            Request(Verb.CARRY_OUT, REPLACE),
        )


def outcomes(answer: Document) -> list[str]:
    return [each["outcome"] for each in answer["endings"]]


def events(web: ActorHouse) -> list[str]:
    return [str(each["event"]) for each in web.records()]


def hidden(web: ActorHouse) -> list[str]:
    return [each for each in os.listdir(os.path.dirname(web.site.key)) if each.startswith(".")]


def test_the_actor_compares_at_the_end_of_the_time_though_nobody_asks(web: ActorHouse) -> None:
    with actor_of(web) as actor, closing(Writer(web.site.certificate)) as writer:
        assert outcomes(replaced(web, actor, kept_for=1.0)) == ["committed"]
        assert len(hidden(web)) == 2
        writer.write()
        actor.leftovers.start()
        wait_for(lambda: "let_go" in events(web), 20.0, "the last comparison")
        assert hidden(web) == []
        (late,) = [each for each in web.records() if each["event"] == "written_late"]
        assert late["files"][0][0] == web.site.certificate


def test_a_running_actor_finishes_what_a_killed_command_left_half_done(web: ActorHouse) -> None:
    with actor_of(web) as actor:
        child = os.fork()
        if child == 0:
            replaced(web, actor, lambda record: os._exit(9) if record.event is Event.SWITCHED else None)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        before = {web.old.chain_pem(), web.old.key_pem()}
        assert set(web.on_disk().values()) != before, "one file of two"
        assert actor.leftovers.attend() > 0
        assert {"rolled_back", "closed"} <= set(events(web)), events(web)
        assert presented(web.server)[0] == web.old.der()
        assert {web.on_disk()[each] for each in (web.site.certificate, web.site.key)} == before


def test_a_person_hears_of_it_with_the_component_the_file_the_time_and_where_it_is_kept(web: ActorHouse) -> None:
    daemon = RunningDaemon(web.document({"mode": "approve"}))
    with actor_of(web) as actor, closing(Writer(web.site.certificate)) as writer:
        assert outcomes(replaced(web, actor)) == ["committed"]
        writer.write()
    with web.actor(), daemon:
        daemon.wait_for(lambda: "written_late" in daemon.findings("web/actions"), "the finding")
        (detail,) = [
            each["detail"] for each in daemon.ask("/api/v1/findings")["items"] if each["code"] == "written_late"
        ]
        (late,) = [each for each in web.records() if each["event"] == "written_late"]
        for word in (web.site.certificate, late["set"], late["kept"], "recover --thaw web"):
            assert word in with_usual_paths(detail)
        code, said = web.command("backups", "web")
        assert (code, "written late" in said, late["set"] in said) == (0, True, True), said
        assert web.command("recover", "--thaw", "web")[0] == 0
        daemon.wait_for(lambda: "written_late" not in daemon.findings("web/actions"), "that it is known")


def copy(web: ActorHouse, issued: Issued) -> None:
    """Do what a deploy hook does: copy the pair, and have the server reload."""
    Path(web.site.key).write_bytes(issued.key_pem())
    Path(web.site.certificate).write_bytes(issued.chain_pem())
    reload: Any = web.component()["service"]
    subprocess.run(reload["reload"], check=True, capture_output=True)


def test_a_hook_that_copies_a_newer_pair_while_it_is_validated_supersedes_it(web: ActorHouse) -> None:
    theirs = fresh()

    def hook(record: Record) -> None:
        if record.event is Event.ACTIVATED:
            copy(web, theirs)

    with actor_of(web) as actor:
        answer = replaced(web, actor, hook)
    assert outcomes(answer) == ["superseded"], answer
    assert presented(web.server)[0] == theirs.der()
    assert Path(web.site.key).read_bytes() == theirs.key_pem()
    assert not {"rolling_back", "frozen", "quarantined"} & set(events(web))
    assert os.listdir(web.inbox), "the candidate was not used"


@pytest.mark.parametrize("spoil", ["half", "missing", "garbage"])
def test_what_is_on_disk_is_whole_only_with_its_key(spoil: str, web: ActorHouse) -> None:
    with actor_of(web) as actor, actor.current.context() as context:
        whole = context.transaction.live.whole(("web",))
        assert whole is not None
        assert [each.chains[0][0] for each in whole] == [certificate(web.old.der()).sha256]
        match spoil:
            case "half":
                Path(web.site.key).write_bytes(fresh().key_pem())
            case "missing":
                os.unlink(web.site.key)
            case _:
                Path(web.site.certificate).write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        assert context.transaction.live.whole(("web",)) is None


class Cut(BaseException):
    """The end of a process, amid its work."""


def test_a_lease_on_what_a_crash_left_keeps_the_actor_from_nothing_else(web: ActorHouse) -> None:
    def cut(record: Record) -> None:
        if record.event is Event.COMMITTED:
            raise Cut

    with actor_of(web) as actor, pytest.raises(Cut):
        replaced(web, actor, cut)
    (old,) = [each for each in hidden(web) if each.startswith(".site.crt.") and each.endswith(".old")]
    with leased(os.path.join(os.path.dirname(web.site.certificate), old)), web.actor() as served:
        state = served.ask(Request(Verb.STATE))
        assert len(state["under_way"]) == 1
        assert state["components"]["web"]["frozen"] is None
    with web.actor() as served:
        assert served.ask(Request(Verb.STATE))["under_way"] == []


def test_the_daemon_has_what_was_replaced_compared_once_a_minute_and_a_person_at_once(web: ActorHouse) -> None:
    pace = Pace()

    def ask(actor: ActorProcess, attended: bool) -> Document:
        with actor.current.context() as context:
            work = Work(context, "somebody", role=Role.OPERATOR if attended else Role.DAEMON, pace=pace)
            return handle(work, Request(Verb.CARRY_OUT, REPLACE, plan="0" * 64))

    with actor_of(web) as actor, closing(Writer(web.site.certificate)) as writer:
        assert outcomes(replaced(web, actor)) == ["committed"]
        ask(actor, attended=False)
        writer.write()
        ask(actor, attended=False)
        assert "written_late" not in events(web)
        ask(actor, attended=True)
        assert "written_late" in events(web)
