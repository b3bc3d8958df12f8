"""Keystores that keytool wrote: one set for all tests here, since keytool is slow."""

from __future__ import annotations

import pytest

from tests.kit.java_keystore import JavaStores, java_stores


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> JavaStores:
    return java_stores(tmp_path_factory.mktemp("java"))
