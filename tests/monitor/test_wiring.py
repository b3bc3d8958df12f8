"""The wiring of the daemon: the table has a row for each message, and every message is sent by somebody."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest

import monitor
from monitor import wiring
from monitor.decide.decision import DecisionMade
from monitor.state import messages
from monitor.state.bus import Bus, route
from monitor.state.messages import ComponentsChanged, ReadingDue
from monitor.state.trust import read_trust_context
from tests.kit.monitors import config_with

MESSAGES: set[type] = {
    DecisionMade,
    *(each for _, each in inspect.getmembers(messages, inspect.isclass) if each.__module__ == messages.__name__),
}


def parts_at(directory: Path) -> wiring.Parts:
    trust_context, _ = read_trust_context(config_with())
    return wiring.build(trust_context, str(directory / "certvigil.db"), wiring.Pools.start(), None, time.time())


def sent_in(source: str) -> set[str]:
    """Return the names of what is handed to `send`, where it is made there."""
    return {
        call.args[0].func.id
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "send"
        if call.args and isinstance(call.args[0], ast.Call) and isinstance(call.args[0].func, ast.Name)
    }


def test_each_kind_of_message_has_one_route_and_somebody_takes_it(tmp_path: Path) -> None:
    async def story() -> None:
        parts = parts_at(tmp_path)
        routes = wiring.routes_of(parts, lambda _: None, lambda _: None)
        assert [each.message for each in routes] == list(dict.fromkeys(each.message for each in routes))
        assert {each.message for each in routes} == MESSAGES
        assert all(each.handlers for each in routes)

    asyncio.run(story())


def test_every_message_that_has_a_route_is_sent() -> None:
    root = Path(monitor.__path__[0])
    sent = set().union(*(sent_in(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")))
    # Handed over uncalled, to a timer and from the thread of the database.
    names = {str(each.__qualname__) for each in MESSAGES}
    assert names - sent <= {"ReadingDue", "DatabaseHealthChanged"}


def test_a_message_goes_to_its_handlers_in_order_and_one_that_fails_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[object] = []

    def fail(_: ReadingDue) -> None:
        raise RuntimeError

    bus = Bus(routes=(route(ReadingDue, taken.append, fail, lambda due: taken.append(due.component)),))
    with caplog.at_level(logging.ERROR):
        bus.send(ReadingDue("web"))
    assert taken == [ReadingDue("web"), "web"]
    assert "missed a ReadingDue" in caplog.text


def test_a_message_that_nobody_takes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    bus.send(ComponentsChanged())
    assert not caplog.text, "nobody takes anything before all parts are made"
    bus.connect((), (route(ReadingDue, lambda _: None),))
    for _ in range(3):
        bus.send(ComponentsChanged())
        bus.send(ReadingDue("web"))
    assert [each.getMessage() for each in caplog.records] == [
        "nobody takes messages of the kind ComponentsChanged: it has no route"
    ]


def test_a_reload_changes_how_many_places_are_probed_at_once(tmp_path: Path) -> None:
    async def most_at_once(parts: wiring.Parts) -> int:
        """Return how many of a hundred looks are under way at once, in the first tenth of a second."""
        under_way, go = 0, asyncio.Event()

        async def look() -> None:
            nonlocal under_way
            under_way += 1
            await go.wait()

        places = parts.look.prober._places
        looks = [asyncio.create_task(places.take(str(each), look, lambda _: False)) for each in range(100)]
        for _ in range(10):
            await asyncio.sleep(0)
        go.set()
        found = under_way
        await asyncio.gather(*looks)
        return found

    async def story() -> None:
        parts = parts_at(tmp_path)
        before = parts.state.registry.config.settings.concurrency
        assert await most_at_once(parts) == before
        config = parts.state.registry.config
        fewer = replace(config, settings=replace(config.settings, concurrency=3))
        wiring.reconfigure(parts, read_trust_context(fewer)[0])
        assert await most_at_once(parts) == 3

    asyncio.run(story())
