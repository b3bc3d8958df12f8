"""What a replacement and a rollback cost beyond the service's own time, and how long a dry run lets a person wait."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from actions.ending import Ending, Outcome
from actions.journal import Event
from actions.process import ProcessId
from actions.transaction import transact
from actions.world import ORDINARY, Place, Ran, World
from config.service import Command, Service
from monitor.actor.context import actor_context
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx
from monitor.state.trust import read_trust_context
from tests.bench.commands import median_seconds
from tests.bench.report import Measurement
from tests.kit.authority import NAME, fresh
from tests.kit.component import InstalledComponent, ServerMachine, order_of
from tests.kit.load import Load

ROUNDS: Final = 5
RELOADS: Final = 20
_OTHER_NAME: Final = "legacy.example.com"
_CLIENTS: Final[Mapping[str, Mapping[str, object]]] = {
    "browser": {"verifier": "webpki"},
    "finder": {},
    "java": {"names": [NAME]},
}
_SERVERS: Final = (Nginx, Lighttpd)


class Timed(World):
    """The real world, with a clock on the commands that put services onto their files."""

    def __init__(self, *services: Service) -> None:
        self._activating = {each for service in services for each in (service.restart, service.reload, service.start)}
        self.activations: list[tuple[float, float]] = []
        """When each began, Unix time, and how many seconds it took."""

    def run(
        self,
        command: Command,
        timeout: float,
        begun: Callable[[ProcessId], None] | None = None,
        *,
        spare_server: bool = False,
        place: Place = ORDINARY,
    ) -> Ran:
        began, started = time.time(), time.monotonic()
        ran = super().run(command, timeout, begun, spare_server=spare_server, place=place)
        if command in self._activating:
            self.activations.append((began, time.monotonic() - started))
        return ran


def measure(directory: str) -> Iterator[Measurement]:
    """Measure on real servers, under the terms of validation that are the default."""
    replacing, rolling_back = {}, {}
    for kind in _SERVERS:
        with ExitStack() as running:
            component = _component(Path(directory, "acting", kind.__name__), kind, running)[0]
            replacing[kind.__name__] = [_replace(component) for _ in range(ROUNDS)]
            rolling_back[kind.__name__] = [_roll_back(component) for _ in range(ROUNDS)]
    for what, seconds in (("replacing", replacing), ("rolling back", rolling_back)):
        shown = {name: [round(each, 2) for each in some] for name, some in seconds.items()}
        sys.stderr.write(f"{what}, seconds: {shown}\n")
    yield Measurement("rollback_s", _worst(rolling_back), "s", 3)
    yield Measurement("dry_run_s", _dry_run(Path(directory, "acting", "dry-run")), "s", 1.5)
    yield Measurement("replace_overhead_s", _worst(replacing), "s", 1)
    failed = _failed_under_load(Path(directory, "acting", "load"))
    yield Measurement("failed_handshakes_reload", failed, "handshakes", 0)


def _dry_run(directory: Path) -> float:
    with ExitStack() as running:
        component, _ = _component(directory, Nginx, running)
        component.declare()
        issued, candidate = fresh(_OTHER_NAME), directory / "candidate.pem"
        candidate.write_bytes(issued.chain_pem() + issued.key_pem())
        return median_seconds(
            "replace", "web", "--from", str(candidate), "--dry-run", "--config", component.config_file
        )


def _worst(seconds: dict[str, list[float]]) -> float:
    return round(max(map(statistics.median, seconds.values())), 3)


def _component(
    directory: Path, kind: type[BackgroundServer], running: ExitStack
) -> tuple[InstalledComponent, BackgroundServer]:
    directory.mkdir(parents=True)
    machine = ServerMachine(directory, running)
    machine.old = fresh(_OTHER_NAME)
    server = machine.start(kind, machine.site())
    component = machine.component(server)
    component.clients, component.validation = _CLIENTS, {}
    return component, server


def _replace(component: InstalledComponent) -> float:
    """Return the seconds of a whole replacement, from the candidate on, without what the service and the terms take."""
    issued, config, world = fresh(_OTHER_NAME), component.declare(), Timed(component.service)
    started = time.monotonic()
    with actor_context(read_trust_context(config)[0]) as context:
        ending = transact(replace(context.transaction, world=world), order_of(context, issued))
    seconds = time.monotonic() - started
    _expect(ending, Outcome.COMMITTED)
    terms = config.settings.validation
    return seconds - sum(took for _, took in world.activations) - (terms.successes - 1) * terms.interval


def _roll_back(component: InstalledComponent) -> float:
    """Return the seconds from the record that validation failed to the one that the old set is served again."""
    # Planned before a client was known that connects by a name which the candidate lacks.
    order = component.order(fresh())
    component.clients = {**_CLIENTS, "legacy": {"names": [_OTHER_NAME]}}
    world = Timed(component.service)
    with component.acting() as (_, context):
        ending = transact(replace(context, world=world), order)
        records = [each for each in context.journal.records() if each.transaction == ending.transaction]
    component.clients = _CLIENTS
    _expect(ending, Outcome.ROLLED_BACK)
    at = {each.event: each.at for each in records}
    began = at[Event.ROLLING_BACK]
    return at[Event.ROLLED_BACK] - began - sum(took for when, took in world.activations if when >= began)


def _failed_under_load(directory: Path) -> int:
    with ExitStack() as running:
        component, server = _component(directory, Nginx, running)
        component.validation = {"successes": 2, "interval": "0.1s"}
        with Load(server, NAME, pause=0.005) as load:
            for _ in range(RELOADS):
                _expect(component.replace(fresh(_OTHER_NAME)), Outcome.COMMITTED)
    sys.stderr.write(f"{load.seen.total()} handshakes during {RELOADS} replacements\n")
    return len(load.failures)


def _expect(ending: Ending, outcome: Outcome) -> None:
    if ending.outcome is not outcome:
        raise RuntimeError(f"expected {outcome}: {ending.sentence}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for measurement in measure(scratch):
            sys.stdout.write(f"{measurement.line()}\n")
