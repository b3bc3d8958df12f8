"""A scenario: a story that is played on the machine, and that returns what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.machine.emulator import Machine
from tests.machine.host import Host
from tests.machine.house import MachineState, overlay_directory

NUMBERS: Final = (
    *("exposure_daemon", "exposure_actor", "boot_to_ready_vs_floor"),
    *("power_cuts", "power_cuts_unsafe"),
)
"""Names of what scenarios measure."""


@dataclass
class Stage:
    """Where scenarios are played."""

    state: MachineState
    directory: str
    """Of this run: disks, consoles, sockets."""
    seed: int
    rounds: int
    """How often a scenario that can be repeated is to be."""
    emulate: bool = False
    """Whether everything is played on an emulated machine, however long that takes."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What was measured, by its name."""
    played: int = 1
    """How many rounds the scenario had that is played now."""

    def draw(self, *names: object) -> Random:
        """Return chance that depends on the seed and these names alone."""
        return Random(f"{self.seed} {names}")

    def place(self, name: str) -> str:
        """Return an empty directory."""
        return overlay_directory(self.directory, name)

    @property
    def contains(self) -> bool:
        """Whether a container stands for the machine, since that could only be emulated."""
        return self.state.by == "tcg" and not self.emulate

    def host(self, name: str) -> Host:
        """Return what a scenario of services needs."""
        if self.contains:
            return self.state.container(self.place(name))
        return self.machine(name)

    def machine(self, name: str, *, cold: bool = False) -> Machine:
        """Return the machine with a disk of its own: with everything running, or off."""
        return self.state.machine(self.place(name), cold=cold)


Play = Callable[[Stage], list[str]]
"""Plays a scenario; returns what was wrong, as sentences."""


@dataclass(frozen=True)
class ScenarioResult:
    """What came of a scenario."""

    name: str
    rounds: int
    violations: tuple[str, ...]
    seconds: float
    seed: int
    numbers: Mapping[str, float] = field(default_factory=dict)
