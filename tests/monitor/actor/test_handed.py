"""An operator who is not root hands a candidate over: the actor takes its bytes, and opens no path for anybody."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from actions.candidate import MOST_BYTES, Given
from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.text import Printable
from monitor.actor import handed
from monitor.actor.client import ask
from monitor.actor.handed import CandidateFiles, announce, receive
from monitor.actor.request import HandedFile, Request, Verb, decode, encode
from monitor.lab.ca import Issued
from tests.kit.actor import ActorHouse, house
from tests.kit.authority import fresh
from tests.kit.daemon import certvigil_as
from tests.kit.openssl_client import presented

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become others")
needs_nginx = pytest.mark.server("nginx")

USER: Final = "nobody"
NOBODY: Final = pwd.getpwnam(USER)
REPLACE: Final = ActionRequest(Kind.REPLACE, ("web",))


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    with house() as made:
        made.configure(operators=[USER], daemon_user="daemon", group=str(NOBODY.pw_gid))
        yield made


def file_of(web: ActorHouse, issued: Issued, owner: int) -> str:
    """Return a file with a candidate that its owner alone, and root, may read."""
    path = Path(web.directory, f"of-{owner}.pem")
    path.write_bytes(issued.chain_pem() + issued.key_pem())
    path.chmod(0o600)
    os.chown(path, owner, owner)
    return str(path)


def as_operator(web: ActorHouse, *arguments: str) -> tuple[int, str]:
    ran = certvigil_as((NOBODY.pw_uid, NOBODY.pw_gid), *arguments, "--config", web.config_file)
    assert "PRIVATE KEY" not in ran.stdout + ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


@as_root
@needs_nginx
def test_an_operator_who_is_not_root_plans_and_replaces_by_a_file_that_only_they_can_read(web: ActorHouse) -> None:
    new = fresh()
    path = file_of(web, new, NOBODY.pw_uid)
    with web.actor() as actor:
        code, said = as_operator(web, "replace", "web", "--from", path, "--dry-run")
        assert (code, "plan       replace of web" in said) == (0, True), said
        code, said = as_operator(web, "replace", "web", "--from", path)
        assert (code, "committed" in said) == (0, True), said
        assert "PRIVATE KEY" not in actor.text
    assert presented(web.server)[0] == new.der()
    (begin,) = [each for each in web.records() if each["event"] == "begin"]
    assert (begin["by"], begin["handed"]) == (f"{USER} (uid {NOBODY.pw_uid})", True)
    assert Path(path).exists(), "it is theirs, and no inbox's"


@as_root
@needs_nginx
def test_the_actor_reads_no_file_for_an_operator_that_they_may_not_read(web: ActorHouse) -> None:
    before, path = web.on_disk(), file_of(web, fresh(), 0)
    with web.actor():
        code, said = as_operator(web, "replace", "web", "--from", path)
        assert (code, said) == (4, f"certvigil: {path} cannot be read: Permission denied\n")
    assert web.on_disk() == before


@as_root
@needs_nginx
def test_where_no_actor_runs_an_operator_is_told_the_right_that_is_missing(web: ActorHouse) -> None:
    before, path = web.on_disk(), file_of(web, fresh(), NOBODY.pw_uid)
    with web.actor():
        pass
    code, said = as_operator(web, "replace", "web", "--from", path)
    assert code == 4, said
    assert f"no actor listens on {web.directory}/actor.sock" in said
    assert "start the actor, or ask root" in said
    assert web.on_disk() == before


@as_root
@needs_nginx
def test_the_daemon_hands_nothing_over(web: ActorHouse) -> None:
    """A daemon that was taken over would bring a certificate of an attacker."""
    web.configure(operators=[], daemon_user=USER, group=str(NOBODY.pw_gid))
    before, path = web.on_disk(), file_of(web, fresh(), NOBODY.pw_uid)
    with web.actor() as actor:
        code, said = as_operator(web, "replace", "web", "--from", path)
        assert (code, said) == (4, "certvigil: the files of a candidate are for an operator to hand over\n")
        assert "refused files of" in actor.text
    assert web.on_disk() == before


@needs_nginx
def test_files_that_are_announced_and_do_not_come_are_not_waited_for(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed, "PATIENCE", 0.2)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0.1)
        ours.sendall(b"abc")
        request = Request(Verb.PLAN, REPLACE, files=(HandedFile("new.pem", 10),))
        with pytest.raises(TimeoutError):
            receive(theirs, request, b"")
        ours.shutdown(socket.SHUT_WR)
        assert receive(theirs, request, b"ab") is None


def test_files_and_password_come_as_they_were_given() -> None:
    given = CandidateFiles((Given("one.pem", b"1\n2"), Given("two\x1b.pem", b"")), b"secret")
    request, data = announce(Request(Verb.PLAN, REPLACE), given)
    line = encode(request)
    assert b"secret" not in line
    decoded = decode(line.rstrip(b"\n"))
    assert isinstance(decoded, Request), decoded
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data[2:])
        received = receive(theirs, decoded, data[:2])
    assert received is not None
    assert [(each.name, each.data) for each in received.files] == [("one.pem", b"1\n2"), ("two\\x1b.pem", b"")]
    assert received.password == b"secret"
    assert "secret" not in repr(received)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Request(Verb.PLAN, REPLACE, files=(HandedFile("a", MOST_BYTES + 1),)), "the files hold more than"),
        (Request(Verb.PLAN, REPLACE, files=(HandedFile("a", -1),)), "the files hold more than"),
        (Request(Verb.PLAN, REPLACE, files=(HandedFile("a", 1),) * 33), "at most 32 files"),
        (Request(Verb.PLAN, REPLACE, files=(HandedFile("a" * 201, 1),)), "at most 32 files"),
        (Request(Verb.PLAN, REPLACE, files=(HandedFile("a", 1),), password=5000), "a password has at most"),
        (Request(Verb.PLAN, REPLACE, password=5), "files are handed over for a replacement"),
        (Request(Verb.PROPOSE, REPLACE, files=(HandedFile("a", 1),)), "files are handed over for a replacement"),
        (Request(Verb.STATE, files=(HandedFile("a", 1),)), "files are handed over for a replacement"),
    ],
)
def test_what_no_candidate_can_be_is_not_read(wrong: Request, why: str) -> None:
    said = decode(encode(wrong).rstrip(b"\n"))
    assert isinstance(said, str), said
    assert said.startswith(why)


@needs_nginx
def test_more_than_a_socket_holds_is_refused_in_words_before_it_was_read(web: ActorHouse) -> None:
    with web.actor() as actor:
        files = CandidateFiles((Given("large.pem", bytes(2 * MOST_BYTES)),))
        answer = ask(actor.socket, Request(Verb.CARRY_OUT, REPLACE), lambda _step: None, 30.0, handed=files)
    assert answer["cannot"] == Printable(f"the files hold more than {MOST_BYTES} bytes together")
