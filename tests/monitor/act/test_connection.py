"""An actor that was away for long is noticed soon after it listens again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import monitor.act.journal
from monitor.act.connection import ActorConnection
from monitor.act.journal import JournalFollower
from tests.kit.monitors import Kept, config_with, registry_of

MOST = 5.0
"""Seconds."""


def test_however_long_an_actor_was_away_it_is_asked_for_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock runs a hundred times as fast."""
    quick = tuple(each / 100 for each in monitor.act.journal.RECONNECT)
    monkeypatch.setattr(monitor.act.journal, "RECONNECT", quick)
    config = config_with()
    path = str(tmp_path / "actor.sock")
    settings = replace(config.settings, actor=replace(config.settings.actor, socket=path))
    kept = Kept()
    registry = registry_of(replace(config, settings=settings), kept)
    journal = JournalFollower(registry, ActorConnection(registry), kept.bus)

    async def story() -> float:
        met = asyncio.Event()

        async def meet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.set()
            writer.close()

        following = asyncio.create_task(journal.run())
        # Until after the longest pause has begun, whatever it is.
        await asyncio.sleep(sum(quick[:-1]) + 0.05)
        loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(meet, path)
        began = loop.time()
        await asyncio.wait_for(met.wait(), 10)
        took = loop.time() - began
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        server.close()
        return took

    assert asyncio.run(story()) * 100 < MOST + 5.0
