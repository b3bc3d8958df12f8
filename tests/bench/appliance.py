"""What a whole appliance takes: a dry run for all its components, and a replacement beyond the services' own time."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from actions.candidate import Given, NoCandidate, read_candidates
from actions.ending import Outcome
from actions.plan_replacement import plan_replacement
from actions.prepare import Prepared
from actions.transaction import transact
from config.load import load
from config.model import Config
from config.vocabulary import ApplianceRole
from monitor.actor.context import actor_context
from monitor.lab.ca import KeyType
from monitor.lab.laid_out import LaidOutAppliance
from monitor.lab.servers import replace_file
from monitor.state.trust import read_trust_context
from tests.bench.acting import ROUNDS, Timed
from tests.bench.commands import median_seconds
from tests.bench.report import Measurement


def measure(directory: str) -> Iterator[Measurement]:
    """Measure on real servers, with the profile of the appliance."""
    yield Measurement("dry_run_single_s", _dry_run(f"{directory}/single"), "s", 2)
    yield Measurement("replace_primary_s", _replace(f"{directory}/primary"), "s", 2)


def _dry_run(directory: str) -> float:
    """Return the seconds of a dry run for three components with their lines; a keystore and a bundle are declared."""
    os.makedirs(directory)
    with LaidOutAppliance(directory, ApplianceRole.SINGLE) as appliance:
        candidate = f"{directory}/candidate.pem"
        replace_file(candidate, appliance.renewed(KeyType.RSA2048), 0o600)
        options = ("--from", candidate, "--dry-run", "--config", appliance.config_file)
        return median_seconds("replace", "single", *options)


def _replace(directory: str) -> float:
    os.makedirs(directory)
    with LaidOutAppliance(directory, ApplianceRole.PRIMARY) as appliance:
        seconds = [_replace_once(appliance) for _ in range(ROUNDS)]
    sys.stderr.write(f"replacing a primary appliance, seconds: {[round(each, 2) for each in seconds]}\n")
    return round(statistics.median(seconds), 3)


def _replace_once(appliance: LaidOutAppliance) -> float:
    """Return the seconds of a replacement, from the candidate on, without what the services and the terms take."""
    given = appliance.renewed(KeyType.RSA2048)
    config = load(appliance.config_file, {})
    if not isinstance(config, Config):
        raise TypeError(f"the configuration has mistakes: {config}")
    services = [each.service for each in config.components.values() if each.service is not None]
    world = Timed(*services)
    started = time.monotonic()
    with actor_context(read_trust_context(config)[0]) as context:
        candidates = read_candidates([Given("new", given)])
        if isinstance(candidates, NoCandidate):
            raise TypeError(candidates.detail)
        # The candidate of an earlier round ends as late as this one.
        sites = [context.site(name, allow_shorter=True) for name in appliance.members]
        made = plan_replacement(sites, candidates, context.world, context.world.now())
        if not isinstance(made, Prepared):
            raise TypeError(f"there is no plan: {made.objections}")
        ending = transact(replace(context.transaction, world=world), made.order)
    seconds = time.monotonic() - started
    if ending.outcome is not Outcome.COMMITTED:
        raise RuntimeError(ending.sentence)
    terms = config.settings.validation
    return seconds - _covered(world.activations) - (terms.successes - 1) * terms.interval


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return how many seconds lie in at least one span, of which each is a begin and seconds."""
    covered, end = 0.0, float("-inf")
    for begin, seconds in sorted(spans):
        covered += max(0.0, begin + seconds - max(begin, end))
        end = max(end, begin + seconds)
    return covered


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for measurement in measure(scratch):
            sys.stdout.write(f"{measurement.line()}\n")
