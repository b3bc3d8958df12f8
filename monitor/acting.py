"""Acting on components: plans are made of what is on disk and live, and carried out under locks that all share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import Final

from actions import backup
from actions.artefact import paths_of, presented_by
from actions.journal import Journal
from actions.prepare import Site
from actions.rehearse import Stage
from actions.transaction import Setting
from actions.validate import Acceptance, Live, Served, Sight, Terms
from actions.world import World
from config.model import Component, Config, Endpoint
from monitor.surroundings import Surroundings, read_surroundings
from probes.assess import EndpointContext, assess_endpoint
from probes.observation import EndpointObservation, Presented
from probes.tls.drive import look_blocking

_PATIENCE: Final = 1.0
"""Seconds after which an address that is slow to answer is not asked again in the same look."""


@dataclass(frozen=True, slots=True)
class Actor:
    """What is needed to act under one configuration."""

    surroundings: Surroundings
    world: World
    setting: Setting

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.surroundings.config

    def site(self, name: str) -> Site:
        """Return the component called `name`, with what its endpoints present now."""
        component = self.config.components[name]
        stages = tuple(
            Stage(endpoint, self.surroundings.views(endpoint.clients), look_blocking(endpoint, time.time()).presented)
            for endpoint in _endpoints(self.config, component)
        )
        return Site(component, stages, component.allowed_issuers)

    def backup_sets(self, name: str) -> Sequence[backup.BackupSet]:
        """Return the backup sets of a component, oldest first; raises OSError, BackupError."""
        return backup.sets(self.world, self.setting.backups, name)


@contextmanager
def actor(config: Config) -> Iterator[Actor]:
    """Give what is needed to act; raises OSError or JournalError where the actor's directory cannot be used."""
    surroundings, _ = read_surroundings(config)
    directory = config.settings.actor_directory
    os.makedirs(directory, mode=0o700, exist_ok=True)
    world = World()
    journal = Journal(world, os.path.join(directory, "journal.jsonl"))
    try:
        services = {name: each.service for name, each in config.components.items() if each.service is not None}
        terms = Terms(*astuple(config.settings.validation))
        live = Live(_looker(surroundings, terms.handshakes), _judge(surroundings, world))
        yield Actor(surroundings, world, Setting(world, journal, directory, services, live, terms))
    finally:
        journal.close()


def _endpoints(config: Config, component: Component) -> tuple[Endpoint, ...]:
    return tuple(config.endpoints[name] for name in component.endpoints)


def _looker(surroundings: Surroundings, handshakes: int) -> Callable[[tuple[str, ...]], Sight]:
    config = surroundings.config

    def look(components: tuple[str, ...]) -> Sight:
        served: list[Served] = []
        accepted: set[Acceptance] = set()
        partly: set[Acceptance] = set()
        for endpoint in (each for name in components for each in _endpoints(config, config.components[name])):
            observation = _look_often(endpoint, handshakes)
            served += (
                Served(endpoint.name, each.address, tuple(one.sha256 for one in each.chain))
                for each in observation.presented
            )
            served += (Served(endpoint.name, each.address, (), each.detail) for each in observation.failures)
            accepted |= _acceptances(surroundings, endpoint, observation)
            if len(observation.presented) > 1:
                for each in observation.presented:
                    partly |= _acceptances(surroundings, endpoint, replace(observation, presented=(each,)))
        return Sight(tuple(served), frozenset(accepted), frozenset(partly - accepted))

    return look


def _look_often(endpoint: Endpoint, handshakes: int) -> EndpointObservation:
    """Return what so many handshakes with each address presented, each different answer of an address once.

    An address gets no more of them once it has failed, or has taken `_PATIENCE`.
    """
    first = look_blocking(endpoint, time.time())
    presented = {(each.address, each.chain): each for each in first.presented}
    failures = list(first.failures)
    for address in [each.address for each in first.presented]:
        # The name is not looked up again: a name server may answer otherwise every time.
        there = replace(endpoint, host=address, server_name=endpoint.verified_name)
        end = time.monotonic() + _PATIENCE
        for _ in range(handshakes - 1):
            again = look_blocking(there, time.time())
            presented.update({(each.address, each.chain): each for each in again.presented})
            failures += again.failures
            if again.failures or time.monotonic() > end:
                break
    return EndpointObservation(endpoint.name, first.at, tuple(presented.values()), tuple(failures))


def _judge(
    surroundings: Surroundings, world: World
) -> Callable[[tuple[str, ...], Mapping[str, bytes]], frozenset[Acceptance]]:
    config = surroundings.config

    def judge(components: tuple[str, ...], files: Mapping[str, bytes]) -> frozenset[Acceptance]:
        accepted: set[Acceptance] = set()
        for component in map(config.components.__getitem__, components):
            paths = paths_of(component.artefacts)
            chain = presented_by({role: files.get(world.resolve(path), b"") for role, path in paths.items()})
            for endpoint in _endpoints(config, component):
                presented = (Presented("on disk", chain, "", "", ""),) if chain else ()
                observation = EndpointObservation(endpoint.name, time.time(), presented)
                accepted |= _acceptances(surroundings, endpoint, observation)
        return frozenset(accepted)

    return judge


def _acceptances(surroundings: Surroundings, endpoint: Endpoint, observation: EndpointObservation) -> set[Acceptance]:
    context = EndpointContext(endpoint, surroundings.views(endpoint.clients))
    assessment = assess_endpoint(observation, context, observation.at)
    return {Acceptance(edge.client, endpoint.name) for edge in assessment.edges if edge.accepted}
