"""The machine: `python -m tests.machine [--smoke] [SCENARIO...]` plays scenarios on it, and prints a table.

Results are kept beside the machine: a run that is broken off goes on where it was, and cuts of the power add up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from random import SystemRandom
from typing import Final

from tests.machine import discovery, life, power, smoke, stores
from tests.machine.emulator import find_qemu
from tests.machine.host import MachineError
from tests.machine.house import MachineState, state
from tests.machine.recipe import CannotBuildError
from tests.machine.say import say
from tests.machine.scenario import Play, ScenarioResult, Stage

SCENARIOS: Final[Mapping[str, Play]] = {
    "boot": life.boot,
    "cold_boot": life.cold_boot,
    "ready": life.ready,
    "by_command": life.by_command,
    "by_inbox": life.by_inbox,
    "failing_reload": life.failing_reload,
    "start_limit": life.start_limit,
    "slow_unit": life.slow_unit,
    "killed_actor": life.killed_actor,
    "starting_unit": stores.starting_unit,
    "keytool_in_sandbox": stores.keytool_in_sandbox,
    "discover": discovery.discover,
    "undeclared": discovery.undeclared,
    "replayed_cuts": power.replayed_cuts,
    "cuts_with_boot": power.cuts_with_boot,
}
ROUNDS: Final = {"replayed_cuts": 300, "cuts_with_boot": 10}
"""How many rounds a full run has of the scenarios that are repeated."""


def main() -> int:
    """Play; return 0 where nothing was wrong, 1 where something was, 3 where it cannot be tried."""
    options = _options()
    if (why := _why_not()) is not None:
        sys.stderr.write(f"skipped: {why}\n")
        return 3
    try:
        begun = time.monotonic()
        made = state()
    except (CannotBuildError, MachineError) as error:
        sys.stderr.write(f"the machine could not be made: {error}\n")
        return 3 if isinstance(error, CannotBuildError) else 1
    say(f"the machine is ready after {time.monotonic() - begun:.0f} s ({made.by})")
    chosen = {"smoke": smoke.smoke} if options.smoke else {name: SCENARIOS[name] for name in options.scenarios}
    results = [] if options.again or options.smoke else _kept(made)
    with tempfile.TemporaryDirectory(prefix="machine-") as directory:
        for name, play in chosen.items():
            left = (options.rounds or ROUNDS.get(name, 1)) - sum(each.rounds for each in results if each.name == name)
            if left <= 0 or (name not in ROUNDS and any(each.name == name for each in results)):
                continue
            results.append(_played(Stage(made, directory, options.seed, left, options.emulate), name, play))
            if not options.smoke:
                _keep(made, results)
    sys.stdout.write(f"{table(results)}\n")
    return 1 if any(each.violations for each in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS), choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--smoke", action="store_true", help="boot, one replacement and one cut of the power")
    parser.add_argument("--rounds", type=int, default=0, help="of the scenarios that are repeated")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--emulate", action="store_true", help="play everything on a machine, however slow it is")
    parser.add_argument("--again", action="store_true", help="pass over the results so far")
    return parser.parse_args()


def _why_not() -> str | None:
    if os.getuid() != 0:
        return "only root can build the machine and mount its disks"
    if find_qemu() is None:
        return "qemu-system-x86_64 is not installed; tests/kit/install machine installs it on Debian"
    return None


def _played(stage: Stage, name: str, play: Play) -> ScenarioResult:
    say(f"{name}, seed {stage.seed}")
    begun = time.monotonic()
    try:
        found = play(stage)
    except MachineError as error:
        found = [f"the scenario came to no end: {error}"]
    seconds = time.monotonic() - begun
    for each in found:
        say(f"VIOLATION in {name}: {each}")
    say(f"{name}: {stage.played} rounds, {len(found)} violations, {seconds:.0f} s")
    return ScenarioResult(name, stage.played, tuple(found), round(seconds, 1), stage.seed, stage.numbers)


def table(results: Sequence[ScenarioResult]) -> str:
    """Return the results as text: scenario, rounds, violations; then the numbers, each as a line of JSON."""
    lines = [f"{'scenario':<24}{'rounds':>8}{'violations':>12}{'seconds':>10}"]
    for name in dict.fromkeys(each.name for each in results):
        those = [each for each in results if each.name == name]
        rounds, seconds = sum(each.rounds for each in those), sum(each.seconds for each in those)
        lines.append(f"{name:<24}{rounds:>8}{sum(len(each.violations) for each in those):>12}{seconds:>10.0f}")
    cuts = [each for each in results if "cut" in each.name]
    numbers = {name: value for each in results for name, value in each.numbers.items()}
    if cuts:
        numbers["power_cuts"] = sum(each.rounds for each in cuts)
        numbers["power_cuts_unsafe"] = sum(len(each.violations) for each in cuts)
    lines += [json.dumps({"name": name, "value": value}) for name, value in numbers.items()]
    return "\n".join(lines)


def _kept(made: MachineState) -> list[ScenarioResult]:
    try:
        with open(made.notes, encoding="utf-8") as file:
            plain = json.load(file)
    except FileNotFoundError:
        return []
    return [ScenarioResult(**{**each, "violations": tuple(each["violations"])}) for each in plain]


def _keep(made: MachineState, results: Sequence[ScenarioResult]) -> None:
    with open(f"{made.notes}.new", "w", encoding="utf-8") as file:
        json.dump([asdict(each) for each in results], file, indent=1)
    os.replace(f"{made.notes}.new", made.notes)


if __name__ == "__main__":
    sys.exit(main())
