"""Keystores that keytool wrote: one set for all tests here, since keytool is slow."""

from __future__ import annotations

import fcntl
import pickle

import pytest

from tests.kit.java_keystore import JavaStores, java_stores


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> JavaStores:
    """Return what keytool wrote, once for all workers of a run: it takes seven seconds of processor time."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    stores = shared / "java-stores"
    with open(shared / "java-stores.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stores.exists():
            found = java_stores(tmp_path_factory.mktemp("java"))
            stores.write_bytes(pickle.dumps(found))
        read = pickle.loads(stores.read_bytes())
    assert isinstance(read, JavaStores)
    return read
