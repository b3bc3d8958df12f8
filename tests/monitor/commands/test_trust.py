"""Changing the trust stores of clients from the command line: keystores that keytool wrote, and bundles of PEM."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from monitor.lab.ca import Authority, bundle
from monitor.lab.servers import replace_file
from probes.keystore import DEFAULT_PASSWORD
from probes.store_content import read_store
from tests.kit.authority import ISSUING, ROOT, fresh
from tests.kit.client_stores import ALIASES, KINDS, OTHER, SECOND, ClientStores, by_keytool, stores
from tests.kit.java_keystore import CHANGEIT, keytool

__all__ = ["stores"]

pytestmark = pytest.mark.server("keytool")


def sha256(of: Authority) -> str:
    return read_store(of.pem()).entries[0].certificates[0].hex() and _sha(of)


def _sha(of: Authority) -> str:
    import hashlib

    return hashlib.sha256(of.der()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_root_is_imported_and_the_client_accepts(stores: ClientStores, kind: str) -> None:
    stores.cacerts.write_bytes(by_keytool(kind))
    stores.cacerts.chmod(0o640)
    before = stores.held()
    code, said = stores.add("--alias", "root_engine", "--dry-run")
    assert code == 0, said
    assert "client     portal at nxengine: rejects -> accepts" in said
    assert (stores.held().digest, stores.said(), stores.left()) == (before.digest, [], set())

    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert stores.aliases() == {*ALIASES, "root_engine"}
    assert stores.held().format == before.format
    assert {*before.entries} < {*stores.held().entries}
    assert stores.said() == ["stop", "start"]
    assert stores.running.read_bytes() == stores.cacerts.read_bytes()
    assert stat.S_IMODE(stores.cacerts.stat().st_mode) == 0o640
    assert stores.left() == set()
    listing = keytool(stores.directory, "-list", "-keystore", str(stores.cacerts), "-storepass", CHANGEIT.decode())
    assert "root_engine" in listing
