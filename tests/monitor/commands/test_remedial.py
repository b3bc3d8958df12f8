"""What is broken on disk is mended from the command line, on real servers whose configuration test fails for it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from actions.ending import Outcome
from config.load import load
from config.model import Config
from monitor.actor.context import actor_context
from monitor.lab.ca import DAY, Issued
from monitor.lab.process import find_command, wait_for
from monitor.state.trust import read_trust_context
from tests.kit.actor import APPROVED, ISSUER, ActorHouse, house
from tests.kit.authority import ISSUING, NAME, fresh
from tests.kit.authority import fresh as fresh_for_machine
from tests.kit.component import InstalledComponent, ServerMachine, on_disk
from tests.kit.java import Java, java
from tests.kit.keystore import keystore
from tests.kit.liar import REPLACE, Liar, lying
from tests.kit.openssl_client import presented

nginx = pytest.mark.server("nginx")
__all__ = ["java"]
_AUTO: Final = {"mode": "auto", "allowed_issuers": [ISSUER]}
_USE: Final = {"name": "use", "when": {"candidate_present": True}, "mode": "auto", "do": ["replace"]}


def candidate(web: ActorHouse, issued: Issued) -> tuple[str, ...]:
    """Return the options that hand a candidate over."""
    chain, key = Path(web.directory, "given.pem"), Path(web.directory, "given.key")
    chain.write_bytes(issued.pem() + ISSUING.pem())
    key.write_bytes(issued.key_pem())
    return "--from", str(chain), "--from", str(key)


def looks(web: ActorHouse) -> list[tuple[int, int, bytes]]:
    """Return inode, mode and content of each file."""
    paths = (web.site.certificate, web.site.key)
    return [(os.stat(each).st_ino, os.stat(each).st_mode, Path(each).read_bytes()) for each in paths]


def break_configuration(web: ActorHouse, *, first: bool = False) -> None:
    """Leave a mistake in the server's configuration, as whoever is at work on it does, after or before all else."""
    path, mistake = Path(web.server.config_file), "half a line\n"
    rest = path.read_text(encoding="ascii")
    path.write_text(f"{mistake}{rest}" if first else f"{rest}{mistake}", encoding="ascii")


BREAK: Final[Mapping[str, Callable[[ActorHouse], object]]] = {
    "mismatched pair": lambda web: Path(web.site.key).write_bytes(fresh().key_pem()),
    "missing key": lambda web: Path(web.site.key).unlink(),
    "truncated certificate": lambda web: Path(web.site.certificate).write_bytes(web.old.chain_pem()[:200]),
    "chain before the certificate": lambda web: Path(web.site.certificate).write_bytes(ISSUING.pem() + web.old.pem()),
}


@nginx
@pytest.mark.parametrize(
    ("how", "mode"),
    [
        *((each, "rename") for each in BREAK),
        ("missing key", "in_place"),
        # To write over two files that are there is what `test_kill_matrix` does.
        pytest.param("mismatched pair", "in_place", marks=pytest.mark.slow),
    ],
)
def test_a_set_with_which_nginx_does_not_start_is_replaced(how: str, mode: str) -> None:
    with house() as web:
        web.configure({"write_mode": mode})
        BREAK[how](web)
        new = fresh()
        code, said = web.command("replace", "web", *candidate(web, new), "--dry-run")
        assert code == 0, said
        code, said = web.command("replace", "web", *candidate(web, new))
        assert code == 0, said
        assert presented(web.server)[0] == new.der()
        assert Path(web.site.key).read_bytes() == new.key_pem()


@nginx
@pytest.mark.parametrize("how", [("rollback",), ("reset-to-default",)])
def test_a_broken_pair_is_rolled_back(how: tuple[str, ...]) -> None:
    with house() as web:
        first, mode = web.on_disk(), os.stat(web.site.key).st_mode
        assert web.command("replace", "web", *candidate(web, fresh()))[0] == 0
        Path(web.site.key).unlink()
        code, said = web.command(*how, "web", "--dry-run")
        assert code == 0, said
        assert f"this mends {web.site.key}: there is no such file" in said
        code, said = web.command(*how, "web")
        assert code == 0, said
        assert (web.on_disk(), os.stat(web.site.key).st_mode) == (first, mode)
        assert presented(web.server)[0] == web.old.der()


@nginx
@pytest.mark.parametrize("how", ["mismatched pair", "missing key", "truncated certificate"])
def test_a_backup_set_with_which_no_server_starts_is_marked_and_passed_over(how: str) -> None:
    with house() as web:
        first = web.on_disk()
        assert web.command("replace", "web", *candidate(web, fresh()))[0] == 0
        BREAK[how](web)
        broken = {path: Path(path).read_bytes() for path in first if os.path.exists(path)}
        assert web.command("replace", "web", *candidate(web, fresh()))[0] == 0
        code, said = web.command("backups", "web")
        assert code == 0, said
        good, bad = [line for line in said.splitlines() if line.startswith("web")]
        assert ("unusable" in good, "unusable" in bad) == (False, True), said
        assert "no server starts with it: " in bad
        # As whoever copies the files back by hand leaves it.
        for path in first:
            Path(path).unlink()
        for path, data in broken.items():
            Path(path).write_bytes(data)
        for arguments in (("--dry-run",), ()):
            code, said = web.command("rollback", "web", *arguments)
            assert (code, "nothing to do" in said) == (0, False), said
        assert web.on_disk() == first
        assert presented(web.server)[0] == web.old.der()


@nginx
def test_a_backup_set_that_lacks_a_file_of_the_component_is_marked_and_passed_over() -> None:
    with house() as web:
        assert web.command("replace", "web", *candidate(web, fresh()))[0] == 0
        chain = Path(web.directory, "chain.pem")
        chain.write_bytes(ISSUING.pem())
        web.configure({"artefacts": {"certificate": web.site.certificate, "key": web.site.key, "chain": str(chain)}})
        code, said = web.command("backups", "web")
        assert (code, "default, unusable" in said, f"it does not hold {chain}" in said) == (0, True, True), said
        code, said = web.command("rollback", "web")
        assert (code, f"it does not hold {chain}" in said) == (1, True), said


@nginx
def test_where_no_backup_set_can_be_used_a_rollback_is_refused_with_the_reason() -> None:
    with house() as web:
        Path(web.site.key).write_bytes(fresh().key_pem())
        broken = web.on_disk()
        assert web.command("replace", "web", *candidate(web, fresh()))[0] == 0
        for path, data in broken.items():
            Path(path).write_bytes(data)
        sets = json.loads(web.command("backups", "web", "--json")[1])["sets"]
        for how in (("rollback",), ("reset-to-default",), ("rollback", "--to", sets[0]["set"])):
            for arguments in (("--dry-run",), ()):
                code, said = web.command(*how, "web", *arguments)
                assert (code, "nothing to do" in said) == (1, False), said
                assert "no server starts with" in said
                assert "does not belong to" in said


@nginx
def test_where_more_is_broken_than_the_set_it_is_left_exactly_as_it_was_and_nothing_is_restarted() -> None:
    with house() as web:
        Path(web.site.key).write_bytes(fresh().key_pem())
        os.chmod(web.site.key, 0o604)
        break_configuration(web)
        before, process = looks(web), web.server.pid
        code, said = web.command("replace", "web", *candidate(web, fresh()))
        assert code == 2, said
        assert "fails with the new files, too" in said
        assert looks(web) == before
        beside = on_disk(os.path.dirname(web.site.key), f"{web.directory}/actor")
        assert {each for each in beside if each.startswith(".")} == set()
        assert presented(web.server)[0] == web.old.der()
        assert web.server.pid == process
        assert "activated" not in {each["event"] for each in web.records()}
        code, said = web.command("recover")
        assert "quarantine" not in said


@nginx
def test_a_dry_run_refuses_what_the_run_would_where_the_set_is_good_and_the_configuration_is_not() -> None:
    with house() as web:
        break_configuration(web)
        before = looks(web)
        grounds = []
        for more in (("--dry-run",), ()):
            code, said = web.command("replace", "web", *candidate(web, fresh()), *more)
            assert code == 1, said
            assert "its configuration test fails already before the change" in said
            grounds.append("config_test_before" in said)
        assert grounds[0]
        assert looks(web) == before


@nginx
def test_what_is_broken_is_compared_with_what_was_in_use() -> None:
    """Files that say nothing are no leave to lose a name, or a client."""
    old = ISSUING.issue(NAME, "shop.example.com")
    with house(old) as web:
        document = web.document({"endpoints": [{"address": web.server.address}], "clients": []})
        Path(web.config_file).write_text(json.dumps(document))
        Path(web.site.certificate).write_bytes(b"")
        code, said = web.command("replace", "web", *candidate(web, fresh()), "--dry-run")
        assert code == 1, said
        assert "DNS:shop.example.com, a name of the certificate in use, is not among its names" in said
        # Of a server that is down, the newest backup set that was whole tells.
        Path(web.site.certificate).write_bytes(old.chain_pem())
        assert web.command("replace", "web", *candidate(web, ISSUING.issue(NAME, "shop.example.com")))[0] == 0
        web.server.stop()
        Path(web.site.certificate).write_bytes(b"")
        code, said = web.command("replace", "web", *candidate(web, fresh()), "--dry-run")
        assert code == 1, said
        assert "DNS:shop.example.com, a name of the certificate in use, is not among its names" in said


@nginx
@pytest.mark.parametrize("belongs", [True, False])
def test_nobody_accepts_a_set_whose_key_is_not_its_own(belongs: bool) -> None:
    """Its chain is in order, and no server would come to present it."""
    with house() as web:
        config = load(web.config_file, {})
        assert isinstance(config, Config), config
        key = web.old.key_pem() if belongs else fresh().key_pem()
        with actor_context(read_trust_context(config)[0]) as context:
            files = {web.site.certificate: web.old.chain_pem(), web.site.key: key}
            assert bool(context.transaction.live.judge(("web",), files, time.time())) is belongs


@pytest.mark.server("lighttpd")
def test_a_server_that_its_broken_set_has_killed_for_good_is_started_with_the_new_one(tmp_path: Path) -> None:
    """Its supervisor has given it up, as systemd does."""
    with ExitStack() as stack:
        component, server = ServerMachine(tmp_path, stack).supervised(":")
        test = (find_command("lighttpd") or "", *server.test_command[1:])
        component.service = replace(component.service, test=test)
        assert component.replace(fresh_for_machine()).outcome is Outcome.COMMITTED
        good = Path(component.site.key).read_bytes()
        Path(component.site.key).write_bytes(fresh().key_pem())
        subprocess.run(component.service.restart, check=False, stdout=subprocess.DEVNULL)
        wait_for(lambda: gave_up(component), 30.0, "the supervisor's giving up")
        assert presented(server) == []

        new = fresh_for_machine()
        ending = component.replace(new)
        assert ending.outcome is Outcome.COMMITTED, ending
        assert presented(server)[0] == new.der()
        assert Path(component.site.key).read_bytes() != good


def gave_up(component: InstalledComponent) -> bool:
    """Whether a restart is refused, as one that was repeated too quickly."""
    return subprocess.run(component.service.restart, check=False, stdout=subprocess.DEVNULL).returncode != 0


# With nobody attending


def put_broken(liar: Liar) -> None:
    Path(liar.web.site.key).write_bytes(fresh().key_pem())
    liar.web.put(fresh())


def refused(liar: Liar, why: str) -> None:
    before = looks(liar.web)
    answer = liar.ask(REPLACE)
    assert why in json.dumps(answer), answer
    assert looks(liar.web) == before


@nginx
def test_without_a_person_a_broken_set_is_mended_once_nobody_seems_to_be_at_work_on_it() -> None:
    with lying(_AUTO, _USE) as liar:
        put_broken(liar)
        refused(liar, "somebody may be at work on them")
        liar.world.shift = 301
        answer = liar.ask(REPLACE)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer


@nginx
def test_without_a_person_a_test_that_fails_for_another_reason_refuses() -> None:
    with lying(_AUTO, _USE) as liar:
        put_broken(liar)
        break_configuration(liar.web, first=True)
        liar.world.shift = 301
        refused(liar, "so a person must ask for it")
        answer = liar.ask(REPLACE, APPROVED)
        assert "so a person must ask for it" in json.dumps(answer), "that a person approved it is none who attends"


# Keystores


def test_a_keystore_with_a_wrong_password_is_replaced_and_rolled_back_by_what_is_known_of_the_last(java: Java) -> None:
    assert java.replace(fresh())[0] == 0
    for number in range(2):
        java.path.write_bytes(keystore(fresh(), b"another", rounds=1000))
        if number:
            new = java.old
            code, said = java.act("rollback", "java", "--to", java.sets()[0])
        else:
            new = fresh()
            code, said = java.replace(new)
        assert code == 0, said
        assert java.entry() == (b"site", new.der())
        assert java.serves() == new.der()


def test_a_keystore_with_a_wrong_password_is_replaced_where_the_service_does_not_start_with_it(java: Java) -> None:
    test = [find_command("openssl") or "", "pkcs12", "-in", str(java.path), "-passin", f"file:{java.secret}", "-noout"]
    java.declare(test=test)
    broken = keystore(fresh(), b"another", rounds=1000)
    java.path.write_bytes(broken)
    new = fresh()
    code, said = java.replace(new, "--dry-run")
    assert code == 0, said
    assert "the content of the keystore is not known; the backup set keeps the keystore" in said
    code, said = java.replace(new)
    assert code == 0, said
    assert java.serves() == new.der()
    assert broken in [each.read_bytes() for each in (java.directory / "actor" / "backups").rglob("0000")]


def test_a_keystore_that_the_service_does_start_with_is_left_alone_where_our_password_is_wrong(java: Java) -> None:
    java.declare(test=["/bin/true"])
    java.path.write_bytes(keystore(fresh(), b"another", rounds=1000))
    code, said = java.replace(fresh())
    assert code == 1, said
    assert "keystore_would_be_lost" in said


# Shorter than before


@nginx
def test_an_operator_may_allow_a_certificate_that_ends_as_soon_as_it_does() -> None:
    with house() as web:
        short = fresh(not_before=time.time() - 80 * DAY, not_after=time.time() + 5 * DAY)
        code, said = web.command("replace", "web", *candidate(web, short), "--dry-run")
        assert (code, "too_short" in said) == (1, True), said
        code, said = web.command("replace", "web", *candidate(web, short), "--allow-shorter")
        assert code == 0, said
        assert presented(web.server)[0] == short.der()


@nginx
@pytest.mark.parametrize(("own", "by_policy", "outcome"), [("20d", "5d", True), ("5d", "20d", False)])
def test_the_policy_that_installs_a_candidate_says_how_long_it_must_last(
    own: str, by_policy: str, outcome: bool
) -> None:
    use = {**_USE, "do": [{"replace": {"from": "inbox", "min_lifetime": by_policy}}]}
    with lying({**_AUTO, "min_lifetime": own}, use) as liar:
        liar.web.put(fresh(not_after=time.time() + 10 * DAY))
        answer = liar.ask(REPLACE)
        assert ("endings" in answer) is outcome, answer
        assert ("too_short" in json.dumps(answer)) is not outcome
