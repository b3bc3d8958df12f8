"""An installation by the units: the daemon never needs to open a key, and nobody needs to loosen a mode."""

from __future__ import annotations

import os

import pytest

from tests.monitor.installed import Host, host, installed, status, wrong

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can install for several users")


@pytest.fixture
def made() -> Host:
    with host() as found:
        yield found


def test_status_is_clean_where_every_key_is_root_s_or_its_service_s_alone(made: Host) -> None:
    with installed(made, made.document()) as (daemon, _):
        assert wrong(daemon) == []
        code, text = status(daemon)
        assert code == 0, text
        print(text)
