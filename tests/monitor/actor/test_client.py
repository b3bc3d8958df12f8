"""Whoever asks the actor for a change does not give up before the actor does."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load
from config.model import Config
from monitor.actor.client import LONGEST_ACT, longest_act


@pytest.mark.parametrize("timeout", ["30s", "5m", "3h"])
def test_each_step_is_waited_for_longer_than_its_own_limits(timeout: str, tmp_path: Path) -> None:
    path = tmp_path / "certvigil.yaml"
    path.write_text(
        "components: {engine: {artefacts: {certificate: /c, key: /k}, service: {restart: [/bin/true], timeout: "
        f"{timeout}}}, endpoints: [{{address: '127.0.0.1:443'}}]}}}}\nvalidation: {{deadline: 10m}}\n"
    )
    config = load(str(path), {})
    assert isinstance(config, Config), config
    service = config.components["engine"].service
    assert service is not None
    assert longest_act(config) >= LONGEST_ACT + service.timeout + 600
