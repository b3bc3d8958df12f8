"""A client that begins or ceases to validate, by a line of its configuration, in a transaction with its service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from monitor.actor.context import actor_context
from monitor.actor.request import Document
from monitor.actor.trust import FromBackup, SetValidation, StoreRequest, change_store
from monitor.actor.work import Work
from monitor.lab.servers import replace_file
from monitor.state.trust import read_trust_context
from tests.kit.authority import ROOT
from tests.kit.client_stores import ClientStores, stores

__all__ = ["stores"]

pytestmark = pytest.mark.server("keytool")

KEY = "globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems"
BEFORE = f"# shipped\r\n{KEY} = true\r\nother=1".encode()
AFTER = f"# shipped\r\n{KEY} = false\r\nother=1".encode()


@contextmanager
def working(stores: ClientStores) -> Iterator[Work]:
    config = load(str(stores.directory / "certvigil.yaml"), {})
    assert isinstance(config, Config), config
    with actor_context(read_trust_context(config)[0]) as context:
        yield Work(context, "somebody")


def conf(stores: ClientStores) -> Path:
    return stores.directory / "portal.conf"


def switched(stores: ClientStores, value: str, **more: object) -> Document:
    validation = SetValidation("portal", str(conf(stores)), KEY, value, validates=value == "false")
    with working(stores) as work:
        return change_store(work, StoreRequest("portal-cacerts", validation, **more))  # type: ignore[arg-type]


def test_validation_is_not_enforced_while_it_would_lock_the_client_out(stores: ClientStores) -> None:
    conf(stores).write_bytes(BEFORE)
    (objection,) = switched(stores, "false")["refused"]["objections"]
    assert objection["ground"] == "client_lost"
    assert "portal would no longer accept nxengine" in objection["detail"]
    assert (conf(stores).read_bytes(), stores.said()) == (BEFORE, [])

    ended = switched(stores, "false", losses=("portal",))
    assert ended["endings"][0]["outcome"] == "committed"
    assert conf(stores).read_bytes() == AFTER
    assert stores.said() == ["stop", "start"]


def test_validation_is_enforced_once_the_store_has_the_root_and_relaxed_again(stores: ClientStores) -> None:
    conf(stores).write_bytes(BEFORE)
    replace_file(str(stores.bundle), stores.bundle.read_bytes() + b"\n" + ROOT.pem())
    document = json.loads((stores.directory / "certvigil.yaml").read_text())
    document["trust_stores"]["portal-cacerts"] |= {"bundle": str(stores.bundle)}
    del document["trust_stores"]["engine-bundle"]
    document["clients"]["engine"]["trusts"] = "portal-cacerts"
    replace_file(str(stores.directory / "certvigil.yaml"), json.dumps(document).encode())
    enforced = switched(stores, "false")
    assert [(each["accepted_before"], each["accepts"]) for each in enforced["effects"]] == [(True, True)]
    assert enforced["endings"][0]["outcome"] == "committed"
    assert conf(stores).read_bytes() == AFTER
    (again,) = switched(stores, "false")["refused"]["objections"]
    assert (again["ground"], "says" in again["detail"]) == ("nothing_to_do", True)
    assert switched(stores, "true")["endings"][0]["outcome"] == "committed"
    assert conf(stores).read_bytes() == BEFORE
    with working(stores) as work:
        given_back = change_store(work, StoreRequest("portal-cacerts", FromBackup()))
    assert given_back["endings"][0]["outcome"] == "committed"
    assert conf(stores).read_bytes() == AFTER


def test_a_line_that_cannot_be_edited_safely_is_left_to_a_person(stores: ClientStores) -> None:
    for data, ground in ((f"{KEY}=\\\ntrue\n".encode(), "cannot_be_written"), (None, "unreadable")):
        if data is None:
            conf(stores).unlink()
        else:
            conf(stores).write_bytes(data)
        (objection,) = switched(stores, "false")["refused"]["objections"]
        assert objection["ground"] == ground
    assert stores.said() == []


def test_a_client_is_told_to_validate_by_its_name(stores: ClientStores) -> None:
    conf(stores).write_bytes(BEFORE)
    switch = {"file": str(conf(stores)), "key": KEY, "disables": "true", "default": "true"}
    stores.clients = {"validation_switch": switch}
    stores.configure()
    code, said = stores.trust("enforce", "portal")
    assert (code, "client_lost: portal would no longer accept nxengine" in said) == (1, True), said
    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert "portal does not validate; if it did, at nxengine: rejects" in said
    code, said = stores.trust("enforce", "portal")
    assert code == 0, said
    assert conf(stores).read_bytes() == AFTER
    code, said = stores.trust("remove", "portal-cacerts", "root_engine")
    assert (code, "client_lost: portal" in said) == (1, True), said
    code, said = stores.trust("relax", "portal")
    assert code == 0, said
    assert conf(stores).read_bytes() == BEFORE
    assert stores.said() == ["stop", "start"] * 3

    code, said = stores.trust("remove", "portal-cacerts", "root_engine")
    assert code == 0, said
    enforced = json.loads(stores.act("backups", "portal-cacerts", "--json")[1])["sets"][-2]["set"]
    code, said = stores.trust("restore", "portal-cacerts", "--to", enforced)
    assert (code, "client_lost: portal would no longer accept nxengine" in said) == (1, True), said


@pytest.mark.parametrize("first", ["store", "validation"])
def test_the_default_is_the_store_and_the_configuration_of_its_client_whichever_was_changed_first(
    stores: ClientStores, first: str
) -> None:
    before = stores.cacerts.read_bytes()
    conf(stores).write_bytes(BEFORE)
    switch = {"file": str(conf(stores)), "key": KEY, "disables": "true"}
    stores.clients = {"validation_switch": switch}
    stores.configure()
    add = ("add", "portal-cacerts", "--from", str(stores.root))
    enforce = ("enforce", "portal", "--lose", "portal")
    for change in (add, enforce) if first == "store" else (enforce, add):
        code, said = stores.trust(*change)
        assert code == 0, said
    assert (stores.cacerts.read_bytes() != before, conf(stores).read_bytes()) == (True, AFTER)

    for options in (["--dry-run"], []):
        code, said = stores.trust("restore", "portal-cacerts", "--to", "default", *options)
        assert code == 0, said
        # With the store of then alone, it would reject.
        assert "portal at nxengine: accepts -> connects without validation" in said, said
    assert (stores.cacerts.read_bytes(), conf(stores).read_bytes()) == (before, BEFORE)
    assert stores.said() == ["stop", "start"] * 3
    assert stores.left() == set()

    code, said = stores.trust("restore", "portal-cacerts", "--to", "default")
    assert (code, "all files of portal-cacerts are as backup sets" in said) == (0, True), said
    replace_file(str(conf(stores)), AFTER)
    code, said = stores.trust("restore", "portal-cacerts", "--to", "default")
    assert (code, conf(stores).read_bytes()) == (0, BEFORE), said
    replace_file(str(conf(stores)), AFTER)
    stores.clients = {}
    stores.configure()
    code, said = stores.trust("restore", "portal-cacerts", "--to", "default")
    assert (code, conf(stores).read_bytes(), "is as backup set" in said) == (0, AFTER, True), said
    stores.clients = {"validation_switch": switch}
    stores.configure()
    conf(stores).unlink()
    code, said = stores.trust("restore", "portal-cacerts", "--to", "default")
    assert (code, f"unreadable: {conf(stores)}: there is no such file" in said) == (1, True), said


def test_a_client_that_cannot_be_told_says_why(stores: ClientStores) -> None:
    for client, why in (
        ("engine", "client engine has no `validation_switch` in the configuration"),
        ("portl", "did you mean 'portal'?"),
    ):
        code, said = stores.trust("enforce", client)
        assert (code, why in said) == (4, True), said
    switch = {"file": str(conf(stores)), "key": KEY, "disables": "never"}
    stores.clients = {"validation_switch": switch}
    stores.configure()
    code, said = stores.trust("enforce", "portal")
    assert (code, f"write {KEY} into {conf(stores)} by hand" in said) == (4, True), said
