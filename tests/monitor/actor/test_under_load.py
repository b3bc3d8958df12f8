"""Whoever connects while certificates are changed sees a whole set, the old one or the new one, or nothing.

Repeated proofs are slow:

| slow server | proved by | since |
|---|---|---|
| lighttpd that starts anew in its process | lighttpd that a supervisor restarts | each is away for a moment |
| stunnel that reloads | nginx that reloads | each goes on with its socket, and serves new connections the new files |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from actions.ending import Ending, Outcome
from monitor.lab.ca import Issued
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx, Server
from tests.kit.authority import NAME, fresh
from tests.kit.component import InstalledComponent, ServerMachine
from tests.kit.load import Load, chain_of
from tests.kit.stunnel import Stunnel
from tests.kit.workers import Workers

Start = Callable[[ServerMachine], tuple[InstalledComponent, Server]]


def honest(kind: type[BackgroundServer]) -> Start:
    def start(machine: ServerMachine) -> tuple[InstalledComponent, Server]:
        server = machine.start(kind, machine.site())
        return machine.component(server), server

    return start


def of_four_workers(machine: ServerMachine) -> tuple[InstalledComponent, Server]:
    component, server = honest(Workers)(machine)
    # As many handshakes as by default: each worker has its own moment, and must be seen to have had it.
    component.validation = {"successes": 2, "interval": "0.1s", "deadline": "3s"}
    return component, server


def restarted(machine: ServerMachine) -> tuple[InstalledComponent, Server]:
    return machine.supervised(":")


@pytest.mark.parametrize(
    ("start", "fails"),
    [
        pytest.param(honest(Nginx), False, id="nginx, reloaded", marks=pytest.mark.server("nginx")),
        pytest.param(
            honest(Lighttpd), True, id="lighttpd, gracefully", marks=[pytest.mark.server("lighttpd"), pytest.mark.slow]
        ),
        pytest.param(restarted, True, id="lighttpd, restarted", marks=pytest.mark.server("lighttpd")),
        pytest.param(
            honest(Stunnel), True, id="stunnel, reloaded", marks=[pytest.mark.server("stunnel4"), pytest.mark.slow]
        ),
        pytest.param(of_four_workers, False, id="four workers, reloaded"),
    ],
)
def test_nobody_ever_sees_anything_but_the_whole_old_or_the_whole_new_set(
    start: Start, fails: bool, tmp_path: Path, cleanup: ExitStack
) -> None:
    """It takes long, since clients shake hands all the time through four transactions."""
    machine = ServerMachine(tmp_path, cleanup)
    machine.old = first = fresh("legacy.example.com")
    component, server = start(machine)
    second, third, fourth = fresh("legacy.example.com"), fresh("legacy.example.com"), fresh()

    def under_load(what: str, act: Callable[[], Ending], outcome: Outcome, before: Issued, after: Issued) -> None:
        with Load(server, NAME) as load:
            ending = act()
        assert ending.outcome is outcome, ending
        assert load.strange(before, after) == {}
        assert load.seen[chain_of(before)]
        assert load.seen[chain_of(after)]
        # `pytest -rP` shows it.
        print(f"{what}: {load.seen.total()} handshakes, failed: {dict(Counter(load.failures))}")  # noqa: T201
        assert fails or load.failures == []

    under_load("replace", lambda: component.replace(second), Outcome.COMMITTED, first, second)
    under_load("rollback", component.rollback, Outcome.COMMITTED, second, first)
    component.site.install(third)
    under_load("activate", component.activate, Outcome.COMMITTED, first, third)
    # Planned before a client was known that connects by a name which the fourth lacks.
    order = component.order(fourth)
    component.clients = {"browser": {}, "java": {"names": ["legacy.example.com"]}}
    under_load("undone", lambda: component.carry_out(order), Outcome.ROLLED_BACK, third, fourth)
