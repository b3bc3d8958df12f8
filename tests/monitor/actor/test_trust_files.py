"""The trust stores of a running actor: whoever may write one of them keeps nobody waiting who does not need it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from monitor.actor import trust_files
from monitor.actor.current import CurrentConfig
from monitor.actor.request import Request, Verb
from monitor.lab.ca import Authority
from monitor.state.trust import read_one_trust
from probes.finding import Finding
from probes.trust import Trust
from tests.kit.actor import ActorHouse, house
from tests.kit.authority import ROOT
from tests.kit.many_certificates import many, pem

pytestmark = pytest.mark.server("nginx")


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    with house() as made:
        yield made


def with_another_store(web: ActorHouse) -> tuple[CurrentConfig, Path]:
    """Return the configuration with a second store in use, and that store's file."""
    path = Path(web.directory, "app.pem")
    path.write_bytes(ROOT.pem())
    document = web.document({"clients": ["browser", "app"]})
    document["trust_stores"]["app"] = {"bundle": str(path)}
    document["clients"]["app"] = {"trusts": "app"}
    Path(web.config_file).write_text(json.dumps(document), encoding="utf-8")
    config = load(web.config_file, {})
    assert isinstance(config, Config), config
    return CurrentConfig(web.config_file, config), path


def test_a_store_that_takes_long_to_read_delays_nobody_who_does_not_need_it(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    current, _ = with_another_store(web)
    go_on, reading = threading.Event(), threading.Event()

    def slow(config: Config, name: str, tell: Callable[[Finding], None]) -> Trust | None:
        if name == "app":
            reading.set()
            assert go_on.wait(60.0)
        return read_one_trust(config, name, tell)

    monkeypatch.setattr(trust_files, "read_one_trust", slow)
    with current.context() as context:
        asking = threading.Thread(target=context.trust_context.trusts.get, args=("app",))
        asking.start()
        assert reading.wait(60.0)
        with current.context() as other:
            assert other.journal_state() is not None
            assert "corporate" in other.trust_context.trusts
        assert asking.is_alive()
        go_on.set()
        asking.join(60.0)
        assert "app" in context.trust_context.trusts


def test_only_the_store_that_changed_is_read_again_and_a_context_keeps_what_it_had(web: ActorHouse) -> None:
    current, path = with_another_store(web)
    with current.context() as before:
        old = dict(before.trust_context.trusts)
        path.write_bytes(ROOT.pem() + Authority.root("Another").pem())
        with current.context() as after:
            new = dict(after.trust_context.trusts)
        assert before.trust_context.trusts["app"] is old["app"]
    assert len(new["app"].anchors) == 2
    assert {name: new[name] is old[name] for name in old} == {name: name != "app" for name in old}
    path.unlink()
    with current.context() as without:
        assert "app" not in without.trust_context.trusts
        assert set(without.trust_context.trusts) == old.keys() - {"app"}


def test_a_bundle_of_a_service_user_that_is_full_of_certificates_keeps_no_operator_waiting(web: ActorHouse) -> None:
    _, path = with_another_store(web)
    with web.actor() as actor:
        actor.ask(Request(Verb.STATE))
        path.write_bytes(pem(many(9_000, one_name=True)))
        begun = time.monotonic()
        for each in range(3):
            os.utime(path, (each, each))
            assert "components" in actor.ask(Request(Verb.STATE))
            assert "sets" in actor.ask(Request(Verb.BACKUPS, components=("web",)))
        assert time.monotonic() - begun < 10.0
