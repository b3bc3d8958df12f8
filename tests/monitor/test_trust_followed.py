"""A daemon beside changes of a trust store: what clients accept is judged anew, and the journal is followed."""

from __future__ import annotations

import json

import pytest

from tests.kit.client_stores import ClientStores, stores
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
