"""A daemon beside changes of a trust store: what clients accept is judged anew, and the journal is followed."""

from __future__ import annotations

import json

import pytest

from tests.kit.actor import StartedActor
from tests.kit.client_stores import ClientStores, by_keytool, stores
from tests.kit.daemon import RunningDaemon

__all__ = ["stores"]

pytestmark = pytest.mark.server("keytool")


def test_the_daemon_judges_by_a_changed_store_at_once(stores: ClientStores) -> None:
    with RunningDaemon(json.loads((stores.directory / "certvigil.yaml").read_text())) as daemon:
        daemon.wait_until("raised", target="nxengine", code="client_rejects")
        code, said = stores.add("--alias", "root_engine")
        assert code == 0, said
        code, said = stores.add(store="engine-bundle")
        assert code == 0, said
        daemon.wait_until("cleared", target="nxengine", code="client_rejects")
        assert "client_rejects" not in str(daemon.findings("nxengine"))
        assert daemon.stop() == 0


def test_a_store_that_is_frozen_is_said_until_a_person_releases_it(stores: ClientStores) -> None:
    theirs = stores.directory / "theirs"
    theirs.write_bytes(by_keytool("jceks"))
    stores.configure(start=["/bin/sh", "-c", f"cp {theirs} {stores.cacerts}; exit 1"])
    code, said = stores.add()
    assert code == 3, said
    assert "is neither the old nor the new file: it was left alone" in said
    assert "its service is down" in said
    stores.configure()
    code, said = stores.add()
    assert (code, "portal-cacerts is frozen until an operator clears it" in said) == (1, True), said

    config = stores.directory / "certvigil.yaml"
    actor = StartedActor(str(config), str(stores.directory / "actor.sock"), str(stores.directory / "actor.log"))
    with actor, RunningDaemon(json.loads(config.read_text())) as daemon:
        daemon.wait_until("raised", target="portal-cacerts/actions", code="component_frozen")
        code, said = stores.act("recover", "--thaw", "portal-cacerts")
        assert code == 0, said
        daemon.wait_until("cleared", target="portal-cacerts/actions", code="component_frozen")
        code, said = stores.add("--alias", "root_engine")
        assert code == 0, said
        daemon.wait_until("ended", target="portal-cacerts/actions", action="trust", outcome="committed")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.text
    assert "root_engine" in stores.aliases()
