"""The set that a rollback gives back was in use and differs from the disk; and what is told of each backup set."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actions.ending import Ground
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.prepare import RefusedPlan
from config.load import load
from config.model import Config
from monitor.actor.authority import Role
from monitor.actor.context import actor_context
from monitor.actor.planning import make
from monitor.actor.work import Work
from monitor.lab.ca import Issued, self_signed
from monitor.lab.process import wait_for
from monitor.lab.servers import Lighttpd
from monitor.state.trust import read_trust_context
from probes.certificate import certificate
from tests.kit.actor import ActorHouse, house
from tests.kit.authority import fresh
from tests.kit.component import ServerMachine
from tests.kit.daemon import certvigil
from tests.kit.openssl_client import presented

nginx = pytest.mark.server("nginx")


def replaced(web: ActorHouse, issued: Issued) -> int:
    web.put(issued)
    return web.command("replace", "web")[0]


def sets(web: ActorHouse) -> list[dict[str, Any]]:
    return list(json.loads(web.command("backups", "web", "--json")[1])["sets"])


def write(web: ActorHouse, issued: Issued) -> None:
    Path(web.site.certificate).write_bytes(issued.chain_pem())
    Path(web.site.key).write_bytes(issued.key_pem())


def serve(web: ActorHouse, issued: Issued) -> None:
    write(web, issued)
    web.server.reload()
    wait_for(lambda: presented(web.server)[0] == issued.der(), 10.0, "the new certificate")


@pytest.mark.server("lighttpd")
def test_after_an_attempt_that_froze_and_was_thawed_a_rollback_gives_the_set_before_the_last_good_one(
    tmp_path: Path,
) -> None:
    with ExitStack() as cleanup:
        machine = ServerMachine(tmp_path, cleanup)
        server = machine.start(Lighttpd, machine.site())
        web = machine.component(server)
        honest, first = web.service, web.on_disk()
        assert web.replace(fresh()).outcome == "committed"
        second = web.on_disk()
        web.intrude()
        assert web.replace(fresh()).outcome == "frozen"
        for name, data in second.items():
            Path(web.site.certificate).parent.joinpath(name).write_bytes(data)
        web.service = honest
        config = ("--config", web.config_file)
        web.declare()
        for command in (("recover", "--thaw", "web"), ("activate", "web", "--force"), ("rollback", "web")):
            ran = certvigil(*command, *config)
            assert ran.returncode == 0, (command, ran.stdout + ran.stderr)
        assert {name: web.on_disk()[name] for name in first} == first
        assert presented(server)[0] == machine.old.der()


@nginx
def test_after_an_attempt_that_was_undone_a_rollback_gives_the_set_before_the_last_good_one(web: ActorHouse) -> None:
    first = web.on_disk()
    assert replaced(web, fresh()) == 0
    service: Any = web.component()["service"]
    web.configure({"service": {**service, "reload": ["/bin/true"], "restart": service["reload"]}})
    assert replaced(web, fresh()) == 2
    web.configure()
    assert [(each["before"]["outcome"], each["on_disk"], each["next"]) for each in sets(web)] == [
        ("committed", False, True),
        ("rolled_back", True, False),
    ]
    code, said = web.command("rollback", "web")
    assert (code, "nothing to do" in said) == (0, False), said
    assert web.on_disk() == first
    assert presented(web.server)[0] == web.old.der()


@nginx
def test_files_that_were_never_in_use_are_passed_over_with_the_reason(web: ActorHouse) -> None:
    first = web.on_disk()
    assert replaced(web, fresh()) == 0
    write(web, unused := fresh())
    assert replaced(web, fresh()) == 0
    told = sets(web)
    assert [each["was_in_use"] for each in told] == [True, False]
    code, said = web.command("rollback", "web")
    assert code == 0, said
    assert (
        f"web: backup set {told[1]['set']} is passed over: its files lay on disk before that transaction, and " in said
    )
    assert web.on_disk() == first
    code, said = web.command("rollback", "web", "--to", told[1]["set"])
    assert code == 0, said
    assert presented(web.server)[0] == unused.der()


@nginx
def test_each_set_is_told_with_its_transaction_its_certificate_and_its_place(web: ActorHouse) -> None:
    second = fresh()
    assert replaced(web, second) == 0
    assert replaced(web, fresh()) == 0
    first_set, second_set = sets(web)
    for told, issued, is_default, is_next in ((first_set, web.old, True, False), (second_set, second, False, True)):
        leaf = certificate(issued.der())
        assert (told["certificate"]["sha256"], told["certificate"]["serial"]) == (leaf.sha256, leaf.serial)
        assert told["before"]["kind"] == "replace"
        assert "(uid " in told["before"]["by"]
        assert (told["default"], told["next"]) == (is_default, is_next)
        assert (told["on_disk"], told["served"], told["was_in_use"]) == (False, False, True)
    assert web.command("rollback", "web")[0] == 0
    assert [(each["on_disk"], each["served"], each["next"]) for each in sets(web)] == [
        (False, False, False),
        (True, True, False),
        (False, False, True),
    ]
    said = web.command("backups", "web")[1]
    line = next(each for each in said.splitlines() if second_set["set"] in each)
    for word in (
        second_set["certificate"]["serial"],
        "replace (committed, ",
        "on disk",
        "served",
        "DNS:www.example.com",
    ):
        assert word in line


@nginx
@pytest.mark.parametrize("words", [("reset-to-default", "web"), ("rollback", "web", "--to")])
def test_a_default_set_without_the_names_that_no_client_accepts_is_given_back_to_a_person_who_names_the_clients(
    words: tuple[str, ...],
) -> None:
    with house(self_signed("appliance")) as web:
        default = web.on_disk()
        assert replaced(web, fresh()) == 0
        asked = (*words, sets(web)[0]["set"]) if "--to" in words else words
        code, said = web.command(*asked)
        assert code == 1, said
        refused = [each.split()[1] for each in said.splitlines() if each.startswith("refused")]
        assert refused == ["client_lost:"], said
        assert "browser would no longer accept" in said
        assert "trust store" not in said
        assert "`--lose CLIENT` for each of these clients gives it back" in said
        code, said = web.command(*asked, "--lose", "browser")
        assert code == 0, said
        assert "names_missing, which the person who asks accepts: " in said
        assert web.on_disk() == default


@nginx
def test_a_rollback_to_a_certificate_that_vouches_for_itself_says_how_and_has_nobody_trust_it() -> None:
    with house(self_signed("appliance")) as web:
        default = web.on_disk()
        assert replaced(web, fresh()) == 0
        code, said = web.command("rollback", "web")
        assert code == 1, said
        assert "trust add" not in said
        assert "to the client's store" not in " ".join(said.split())
        name = sets(web)[0]["set"]
        text = " ".join(said.split())
        assert f"`--to {name}` gives it back all the same, with `--lose CLIENT` for each client that it loses" in text
        code, said = web.command("rollback", "web", "--to", name, "--lose", "browser")
        assert code == 0, said
        assert web.on_disk() == default


@nginx
def test_the_daemon_never_has_a_set_given_back_that_lacks_the_names(web: ActorHouse) -> None:
    write(web, self_signed("appliance"))
    assert replaced(web, fresh()) == 0
    action = ActionRequest(Kind.ROLLBACK, ("web",), "default")
    config = load(web.config_file, {})
    assert isinstance(config, Config)
    with actor_context(read_trust_context(config)[0]) as context:
        for work in (Work(context, "x", role=Role.DAEMON), Work(context, "x", waits_for_approval=True)):
            made = make(work, action, None).made
            assert isinstance(made, RefusedPlan)
            assert Ground.NAMES_MISSING in {each.ground for each in made.objections}


@nginx
def test_where_the_newest_set_is_refused_a_person_is_given_the_next_older_one(web: ActorHouse) -> None:
    first = web.on_disk()
    assert replaced(web, fresh()) == 0
    serve(web, self_signed("appliance"))
    assert replaced(web, fresh()) == 0
    good, outage = sets(web)
    assert (good["next"], outage["next"]) == (True, False)
    code, said = web.command("rollback", "web")
    assert code == 0, said
    assert f"backup set {outage['set']} is passed over: names_missing: " in said
    assert web.on_disk() == first


@nginx
def test_where_every_set_is_refused_the_refusal_says_so_of_each(web: ActorHouse) -> None:
    for names in (("appliance",), ("other",)):
        serve(web, self_signed(*names))
        assert replaced(web, fresh()) == 0
    older, newer = sets(web)
    code, said = web.command("rollback", "web")
    assert code == 1, said
    assert "refused    names_missing: " in said
    assert f"against backup set {newer['set']}" in said
    assert f"backup set {older['set']} is refused, too: " in said
