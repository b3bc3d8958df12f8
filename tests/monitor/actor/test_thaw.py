"""A frozen component is thawed once its set is whole, key included; and what a set is worth is told with its key."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from actions.validate import Worth
from actions.verdict import Old
from config.service import Activation
from monitor.actor.context import actor_context
from monitor.actor.worth import worth_of
from monitor.lab.servers import Lighttpd
from monitor.state.trust import read_trust_context
from probes.certificate import certificate
from tests.kit.authority import fresh
from tests.kit.component import NOT_FROZEN, InstalledComponent, ServerMachine
from tests.kit.daemon import certvigil, with_usual_paths


@pytest.fixture
def web(tmp_path: Path) -> Iterator[InstalledComponent]:
    with ExitStack() as cleanup:
        machine = ServerMachine(tmp_path, cleanup)
        yield machine.component(machine.start(Lighttpd, machine.site()))


def act(web: InstalledComponent, *arguments: str) -> tuple[int, str]:
    ran = certvigil(*arguments, "--config", web.config_file)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.server("lighttpd")
def test_half_a_pair_is_never_put_to_use_nor_thawed_and_a_whole_one_is(web: InstalledComponent) -> None:
    web.intrude()
    ending = web.replace(fresh())
    assert ending.outcome == "frozen", ending
    assert "was changed by someone else" in ending.sentence
    before = web.on_disk()
    code, said = act(web, "recover", "--thaw", "web")
    assert code == 4, said
    assert "web stays frozen, and nothing was removed: " in said
    assert f"{web.site.key} does not belong to CN=www.example.com" in said
    assert web.on_disk() == before
    assert "then `certvigil recover --thaw web`" in with_usual_paths(said)
    assert act(web, "recover")[1].splitlines()[-1].startswith("web: "), "the way out is told with what is frozen"
    good = fresh()
    Path(web.site.certificate).write_bytes(good.chain_pem())
    Path(web.site.key).write_bytes(good.key_pem())
    code, said = act(web, "recover", "--thaw", "web")
    assert (code, "thawed     web" in said) == (0, True), said
    assert set(web.on_disk()) == {Path(each).name for each in (web.site.certificate, web.site.key)}
    assert act(web, "recover") == (0, "recovered  no transaction was interrupted, and nothing was changed\n")


def copied_as_told(said: str) -> list[str]:
    """Copy each file that is named over the one that is named with it; return these."""
    assert "kept files make them whole: copy " in said, said
    copies = re.findall(r"(/\S+) over (/[^\s,]+)", said)
    for kept, path in copies:
        shutil.copyfile(kept, path)
    return [path for _, path in copies]


@pytest.mark.server("lighttpd")
def test_half_a_pair_becomes_whole_by_the_kept_files_that_are_named(web: InstalledComponent) -> None:
    old = Path(web.site.certificate).read_bytes()
    web.intrude()
    assert web.replace(fresh()).outcome == "frozen"
    said = act(web, "recover", "--thaw", "web")[1]
    assert sorted(copied_as_told(said)) == sorted([web.site.certificate, web.site.key]), "the new key is nowhere"
    Path(web.site.key).write_bytes(fresh().key_pem())
    assert Path(web.site.certificate).read_bytes() == old
    said = act(web, "recover", "--thaw", "web")[1]
    assert copied_as_told(said) == [web.site.key], "one file is enough"
    code, said = act(web, "recover", "--thaw", "web")
    assert (code, "thawed     web" in said, "make them whole" in said) == (0, True, False), said


@pytest.mark.server("lighttpd")
def test_half_a_pair_of_which_nothing_is_kept_is_told_what_it_takes(web: InstalledComponent) -> None:
    web.intrude()
    assert web.replace(fresh()).outcome == "frozen"
    for each in Path(web.directory).rglob("*"):
        if each.is_file() and (each.name.startswith(".site") or "backups" in each.parts):
            each.unlink()
    code, said = act(web, "recover", "--thaw", "web")
    assert code == 4, said
    assert f"put a certificate and its own key into {web.site.certificate}, {web.site.key}, then" in said


@pytest.mark.server("lighttpd")
def test_after_a_thaw_it_is_not_said_that_a_reload_starts_a_service_that_is_dead(tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        machine = ServerMachine(tmp_path, cleanup)
        server = machine.start(Lighttpd, machine.site())
        web = machine.component(server)
        web.service = replace(web.service, activate=Activation.RELOAD, reload=("/bin/kill", "-HUP", "1"))
        web.declare()
        server.stop()
        said = act(web, "recover", "--thaw", "web")[1]
        assert f"`{shlex.join(web.service.restart)}` starts it, and a reload may not" in said


@pytest.mark.server("lighttpd")
def test_after_a_thaw_with_a_dead_service_it_is_said_how_that_is_started(tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        machine = ServerMachine(tmp_path, cleanup)
        server = machine.start(Lighttpd, machine.site())
        web = machine.component(server)
        web.declare()
        code, said = act(web, "recover", "--thaw", "web")
        assert (code, said) == (0, f"{NOT_FROZEN}\n")
        server.stop()
        note = "note       web: its service answers nobody; `certvigil activate web` starts it"
        code, said = act(web, "recover", "--thaw", "web")
        assert (code, with_usual_paths(said)) == (0, f"{NOT_FROZEN}\n{note}\n")


@pytest.mark.server("lighttpd")
def test_a_set_on_disk_fits_where_it_passes_the_whole_precheck(web: InstalledComponent) -> None:
    with actor_context(read_trust_context(web.declare())[0]) as context:
        fit = context.transaction.live.fit
        assert fit is not None
        assert not fit("web", time.time())
        Path(web.site.key).write_bytes(fresh().key_pem())
        assert "private key" in fit("web", time.time())


@pytest.mark.server("lighttpd")
def test_what_a_set_is_worth_is_told_with_its_key(web: InstalledComponent) -> None:
    trust_context = read_trust_context(web.declare())[0]
    with actor_context(trust_context) as context:
        now, certificate_file, key_file = time.time(), web.site.certificate, web.site.key
        good, other = fresh(), fresh()
        own = certificate(good.der()).public_key_sha256()

        def worth(chain: bytes, key: bytes, at: float = now, given_up: frozenset[str] = frozenset()) -> Worth:
            judge = worth_of(trust_context, context.world, lambda: given_up)
            return judge(("web",), {certificate_file: chain, key_file: key}, at)

        assert worth(good.chain_pem(), good.key_pem()) == Worth()
        assert worth(good.chain_pem(), other.key_pem()).old is Old.BARRED
        assert worth(b"", good.key_pem()).old is Old.BARRED
        assert worth(good.chain_pem(), b"").old is Old.BARRED
        assert worth(good.chain_pem(), good.key_pem(), now + 20 * 365 * 86_400).old is Old.SPENT
        assert worth(good.chain_pem(), good.key_pem(), given_up=frozenset({own})).old is Old.BARRED
        assert worth(good.chain_pem(), good.key_pem(), given_up=frozenset({"another"})) == Worth()
