"""Looking on behalf of a transaction: real handshakes with a component's own endpoints, judged as each client would."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from actions.artefact import ways_of_presenting
from actions.component_files import held_by, keystore_password
from actions.plan import Serving
from actions.soundness import usable_chain
from actions.validate import Acceptance, Live, LiveView, Served
from actions.world import World
from config.model import Component, Config, Endpoint
from config.text import Printable
from config.vocabulary import FileRole
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate
from probes.judge.client import sent_for_sure
from probes.observation import EndpointObservation, Presented
from probes.tls.drive import look_blocking

_PATIENCE: Final = 1.0
"""Seconds after which an address that is slow to answer is not asked again in the same look."""


def live(trust_context: TrustContext, world: World, handshakes: int) -> Live:
    """Return how to look, with so many handshakes with each address at a time, and how to judge."""
    return Live(_looker(trust_context, handshakes), _judge(trust_context, world), _wholeness(trust_context, world))


def endpoints_of(config: Config, component: Component) -> tuple[Endpoint, ...]:
    """Return a component's own endpoints."""
    return tuple(config.endpoints[name] for name in component.endpoints)


def _looker(trust_context: TrustContext, handshakes: int) -> Callable[[tuple[str, ...], float], LiveView]:
    config = trust_context.config

    def look(components: tuple[str, ...], now: float) -> LiveView:
        served: list[Served] = []
        accepted: set[Acceptance] = set()
        partly: set[Acceptance] = set()
        for endpoint in (each for name in components for each in endpoints_of(config, config.components[name])):
            observation = _look_often(endpoint, handshakes, now)
            served += (
                Served(endpoint.name, each.address, tuple(one.sha256 for one in each.chain))
                for each in observation.presented
            )
            served += (Served(endpoint.name, each.address, (), each.detail) for each in observation.failures)
            accepted |= _acceptances(trust_context, endpoint, observation)
            if len(observation.presented) > 1:
                for each in observation.presented:
                    partly |= _acceptances(trust_context, endpoint, replace(observation, presented=(each,)))
        return LiveView(tuple(served), frozenset(accepted), frozenset(partly - accepted))

    return look


def _look_often(endpoint: Endpoint, handshakes: int, now: float) -> EndpointObservation:
    """Return the chains of so many handshakes with each address, each different chain of an address once.

    An address gets no more of them once it has failed, or has taken `_PATIENCE`.
    """
    first = look_blocking(endpoint, now)
    presented = {(each.address, each.chain): each for each in first.presented}
    failures = list(first.failures)
    for address in [each.address for each in first.presented]:
        # The name is not looked up again: a name server may answer otherwise every time.
        there = replace(endpoint, host=address, server_name=endpoint.verified_name)
        end = time.monotonic() + _PATIENCE
        for _ in range(handshakes - 1):
            again = look_blocking(there, now)
            presented.update({(each.address, each.chain): each for each in again.presented})
            failures += again.failures
            if again.failures or time.monotonic() > end:
                break
    return EndpointObservation(endpoint.name, now, tuple(presented.values()), tuple(failures))


def _judge(
    trust_context: TrustContext, world: World
) -> Callable[[tuple[str, ...], Mapping[str, bytes], float], frozenset[Acceptance]]:
    config = trust_context.config

    def judge(components: tuple[str, ...], files: Mapping[str, bytes], now: float) -> frozenset[Acceptance]:
        accepted: set[Acceptance] = set()
        for component in map(config.components.__getitem__, components):
            artefacts = component.artefacts
            chain = usable_chain(artefacts, held_by(artefacts, files, world), keystore_password(artefacts, world), now)
            if not chain:
                continue
            for endpoint in endpoints_of(config, component):
                sent = sent_for_sure(chain, endpoint)
                observation = EndpointObservation(
                    endpoint.name, now, (Presented(Printable("on disk"), sent, "", "", ""),)
                )
                accepted |= _acceptances(trust_context, endpoint, observation)
        return frozenset(accepted)

    return judge


def _wholeness(trust_context: TrustContext, world: World) -> Callable[[tuple[str, ...]], tuple[Serving, ...] | None]:
    config = trust_context.config

    def whole(components: tuple[str, ...]) -> tuple[Serving, ...] | None:
        serves: list[Serving] = []
        for component in map(config.components.__getitem__, components):
            chain = _chain_on_disk(component, world)
            if not chain:
                return None
            serves += (
                Serving(each.name, ways_of_presenting(chain, leaf_alone=each.may_send_leaf_alone))
                for each in endpoints_of(config, component)
            )
        return tuple(serves)

    return whole


def _chain_on_disk(component: Component, world: World) -> tuple[Certificate, ...]:
    """Return the certificates that a server presents of a component's files; empty where they are no whole set."""
    artefacts = component.artefacts
    held: dict[FileRole, bytes | None] = {}
    try:
        for role, path in artefacts.files.items():
            try:
                held[role] = world.read(world.resolve(path))[1]
            except FileNotFoundError:
                held[role] = None
        return usable_chain(artefacts, held, keystore_password(artefacts, world), world.now())
    except OSError:
        return ()


def _acceptances(trust_context: TrustContext, endpoint: Endpoint, observation: EndpointObservation) -> set[Acceptance]:
    judged_in = EndpointContext(endpoint, trust_context.views(endpoint.clients))
    assessment = assess_endpoint(observation, judged_in, observation.at)
    return {Acceptance(edge.client, endpoint.name) for edge in assessment.edges if edge.accepted}
