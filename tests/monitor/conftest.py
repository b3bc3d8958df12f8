"""Fixtures for the actor, and for those who ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.load import load
from config.model import Config
from monitor.actor.context import ActorContext, actor_context
from monitor.state.trust import read_trust_context
from tests.kit.actor import ActorHouse, house
from tests.kit.appliance import Appliance, appliance


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    """Give a component that may be changed, with its server running."""
    with house() as made:
        yield made


@pytest.fixture
def context(web: ActorHouse) -> Iterator[ActorContext]:
    """Give what the actor's work on it needs, in this process."""
    config = load(web.config_file, {})
    assert isinstance(config, Config), config
    with actor_context(read_trust_context(config)[0]) as made:
        yield made


@pytest.fixture
def primary() -> Iterator[Appliance]:
    """Give the appliance with console and portal, its servers running."""
    with appliance("primary") as made:
        yield made
