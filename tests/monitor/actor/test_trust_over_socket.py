"""An operator who is not root has a trust store changed by the actor, with the rights of a replacement."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from actions.trust_order import TrustDeed, TrustOrder
from monitor.actor.request import HandedFile, Request, Verb, decode, encode
from monitor.lab.ca import Authority
from monitor.lab.servers import replace_file
from probes.trust import read_certificates
from tests.kit.actor import ActorHouse, house
from tests.kit.authority import ROOT
from tests.kit.daemon import certvigil_as

pytestmark = [
    pytest.mark.server("nginx"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become others"),
]

USER: Final = "nobody"
NOBODY: Final = pwd.getpwnam(USER)
OTHER: Final = Authority.root("Another Root")


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    with house() as made:
        configure(made, operators=[USER], daemon_user="daemon")
        yield made


def configure(web: ActorHouse, **actor: object) -> None:
    """Let a person have the bundle of the clients changed."""
    switch = {"file": f"{web.directory}/browser.conf", "key": "ignore", "disables": "true", "default": "false"}
    document = web.document(None, group=str(NOBODY.pw_gid), **actor)
    document["trust_stores"]["corporate"] |= {"mode": "approve"}
    document["clients"]["browser"] |= {"validation_switch": switch}
    Path(web.directory, "browser.conf").write_text("ignore=true\n")
    Path(web.directory, "other.pem").write_bytes(OTHER.pem())
    replace_file(web.config_file, json.dumps(document).encode())


def as_operator(web: ActorHouse, *arguments: str) -> tuple[int, str]:
    ran = certvigil_as((NOBODY.pw_uid, NOBODY.pw_gid), "trust", *arguments, "--config", web.config_file)
    return ran.returncode, ran.stdout + ran.stderr


def held(web: ActorHouse) -> list[bytes]:
    return [each.der for each in read_certificates(f"{web.directory}/root.pem")]


def test_an_operator_adds_a_root_gives_the_store_back_and_is_named_in_the_audit(web: ActorHouse) -> None:
    add = ("add", "corporate", "--from", f"{web.directory}/other.pem")
    with web.actor():
        code, said = as_operator(web, *add, "--dry-run")
        assert (code, "trust      " in said, held(web)) == (0, True, [ROOT.der()]), said
        code, said = as_operator(web, *add)
        assert (code, "committed" in said, held(web)) == (0, True, [ROOT.der(), OTHER.der()]), said
        begin = next(each for each in reversed(web.records()) if each["event"] == "begin")
        assert (begin["by"], begin["trust"]["deed"]) == (f"{USER} (uid {NOBODY.pw_uid})", "add")
        code, said = as_operator(web, "restore", "corporate")
        assert (code, held(web)) == (0, [ROOT.der()]), said
        code, said = web.command("audit", "--who", f"{USER}*", "--action", "trust")
        assert said.count("committed") == 2, said


def test_an_operator_has_a_client_validate_and_loses_none_without_naming_it(web: ActorHouse) -> None:
    with web.actor():
        code, said = as_operator(web, "enforce", "browser")
        assert code == 0, said
        assert Path(web.directory, "browser.conf").read_text() == "ignore=false\n"
        before = Path(web.directory, "root.pem").read_bytes()
        replace_file(f"{web.directory}/root.pem", before + OTHER.pem())
        code, said = as_operator(web, "remove", "corporate", ROOT.certificate.subject.rfc4514_string())
        assert code != 0
        code, said = as_operator(web, "password", "corporate", "--new-password-file", f"{web.directory}/other.pem")
        assert (code, "refused" in said) == (1, True), said
        assert "no keystore" in said, said
    assert held(web) == [ROOT.der(), OTHER.der()]


def test_the_daemon_changes_no_store_and_hands_no_certificate_over(web: ActorHouse) -> None:
    """A daemon that was taken over would have every client trust the root of an attacker."""
    configure(web, operators=[], daemon_user=USER)
    with web.actor() as actor:
        code, said = as_operator(web, "add", "corporate", "--from", f"{web.directory}/other.pem")
        assert (code, said) == (4, "certvigil: the files of a candidate are for an operator to hand over\n")
        code, said = as_operator(web, "relax", "browser")
        assert (code, said) == (4, "certvigil: the daemon may not ask for 'trust': that is for an operator\n")
        assert "refused files of" in actor.text
    assert held(web) == [ROOT.der()]
    assert Path(web.directory, "browser.conf").read_text() == "ignore=true\n"


def test_without_an_actor_an_operator_is_told_the_right_that_is_missing(web: ActorHouse) -> None:
    with web.actor():
        pass
    code, said = as_operator(web, "relax", "browser")
    assert code == 4
    assert said == (
        f"certvigil: no actor listens on {web.directory}/actor.sock, and only its owner may do this without it: "
        "start the actor, or ask root\n"
    )


ADD: Final = Request(Verb.TRUST, components=("corporate",), trust=TrustOrder(TrustDeed.ADD, "root", ("portal",)))


def test_an_order_is_the_same_again_where_what_it_needs_follows() -> None:
    file = HandedFile("certificates.pem", 5)
    order = ADD.trust
    assert order is not None
    for request in (
        replace(ADD, files=(file,)),
        replace(ADD, trust=TrustOrder(TrustDeed.PASSWORD, dry_run=True), password=6),
        replace(ADD, trust=TrustOrder(TrustDeed.RESTORE), plan="ab" * 32),
    ):
        assert decode(encode(request)) == request
    for wrong in (
        ADD,
        replace(ADD, files=(file,), password=6),
        replace(ADD, files=(file,), components=("a", "b")),
        replace(ADD, trust=TrustOrder(TrustDeed.PASSWORD)),
        replace(ADD, trust=TrustOrder(TrustDeed.PASSWORD), password=5000),
        replace(ADD, trust=TrustOrder(TrustDeed.REMOVE, "x" * 201)),
        replace(ADD, files=(file,), trust=replace(order, losses=("no name",))),
        replace(ADD, trust=None),
        Request(Verb.STATE, trust=TrustOrder(TrustDeed.RESTORE)),
    ):
        assert isinstance(decode(encode(wrong)), str)
