"""One look at all that components and endpoints of a configuration have, without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from config.model import Endpoint
from config.text import printable
from config.vocabulary import TargetKind
from monitor.state.sharing import KeyIndex
from monitor.state.target import TargetState, failure_of, learn, representative, waive
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file, file_facts, is_worth_watching
from probes.assess_set import SetContext, assess_set, leaf_target
from probes.chain import find_leaf
from probes.file import look_at_file
from probes.find import find
from probes.judge.source import UNREACHABLE_AFTER
from probes.judge.state import OnDisk
from probes.observation import EndpointObservation
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.set import read_set, with_absence
from probes.tls.drive import look

_AT_ONCE: Final = 20


async def look_once(trust_context: TrustContext, now: float, seconds: float) -> Mapping[str, TargetState]:
    """Return the state of each file and each endpoint, by name, as one look at Unix time `now` finds it.

    An endpoint gets at most so many seconds.
    """
    watched = _look_at_watches(trust_context, now)
    known = NO_EVIDENCE.with_lists(state.lists for state in watched.values())
    files = _look_at_components(trust_context, known, now) | watched
    return files | await _look_at_endpoints(trust_context, files, known, now, seconds)


def _look_at_components(trust_context: TrustContext, known: Evidence, now: float) -> dict[str, TargetState]:
    config, states = trust_context.config, dict[str, TargetState]()
    for name in config.components:
        targets = tuple(each for each in config.files if each.component == name)
        reading = with_absence(read_set(targets, now), targets)
        views = {each.name: trust_context.store_view(each.trust_store) for each in targets}
        held = {certificate: None for each in reading.observations for certificate in each.certificates}
        elsewhere = tuple(trust_context.trusts.values())
        context = SetContext(targets, views, elsewhere=elsewhere, revocation=known.about(held))
        assessments = assess_set(reading, context, now)
        for target, seen in zip(targets, reading.observations, strict=True):
            before = TargetState(target.name, TargetKind.FILE, printable(target.path), name)
            assessment = waive(assessments[target.name], target.name, config.waivers, now)
            states[target.name], _ = learn(
                before,
                file_facts(seen, ()),
                assessment,
                failure_of(seen),
                now=now,
                identity=seen.identity,
                keystore=seen.keystore,
            )
    return states


def _look_at_watches(trust_context: TrustContext, now: float) -> dict[str, TargetState]:
    config, states = trust_context.config, dict[str, TargetState]()
    of_components = {each.path for each in config.files}
    for target in find(config.watches).targets if config.watches else ():
        if target.path in of_components:
            continue
        seen, context = look_at_file(target, now), FileContext(target, trust_context.store_view(target.trust_store))
        if not is_worth_watching(seen, context):
            continue
        assessment = waive(assess_file(seen, context, now), target.name, config.waivers, now)
        before = TargetState(target.name, TargetKind.FILE, printable(target.path))
        states[target.name], _ = learn(
            before, seen.certificates, assessment, failure_of(seen), now=now, keystore=seen.keystore, lists=seen.lists
        )
    return states


async def _look_at_endpoints(
    trust_context: TrustContext, files: Mapping[str, TargetState], known: Evidence, now: float, seconds: float
) -> dict[str, TargetState]:
    config = trust_context.config
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(endpoint: Endpoint) -> EndpointObservation:
        async with room:
            return await look(replace(endpoint, timeout=min(seconds, endpoint.timeout)), now)

    seen = await asyncio.gather(*map(one, config.endpoints.values()))
    index = KeyIndex()
    states: dict[str, TargetState] = {}
    leaves = {each.target: tuple(one.chain[0] for one in each.presented if one.chain) for each in seen}
    for name, presented in leaves.items():
        index.note(name, presented, config)
    for endpoint, observation in zip(config.endpoints.values(), seen, strict=True):
        context = EndpointContext(
            endpoint,
            trust_context.views(endpoint.clients),
            tuple(trust_context.trusts.values()),
            _on_disk(trust_context, endpoint, files),
            # There is no second look that could be awaited.
            failures_in_a_row=UNREACHABLE_AFTER,
            sharing=index.sharing(endpoint, config),
            revocation=known.about({each: None for one in observation.presented for each in one.chain}),
        )
        assessment = waive(assess_endpoint(observation, context, now), endpoint.name, config.waivers, now)
        before = TargetState(
            endpoint.name, TargetKind.ENDPOINT, printable(f"{endpoint.host}:{endpoint.port}"), endpoint.component
        )
        states[endpoint.name], _ = learn(
            before,
            representative(observation.presented),
            assessment,
            failure_of(observation),
            now=now,
            addresses=observation.presented,
        )
    return states


def _on_disk(trust_context: TrustContext, endpoint: Endpoint, files: Mapping[str, TargetState]) -> OnDisk | None:
    """Return the certificate on disk of the component of an endpoint, since its file last changed."""
    component = trust_context.config.components.get(endpoint.component or "")
    if component is None:
        return None
    target = leaf_target([each for each in trust_context.config.files if each.component == component.name])
    state = files.get(target.name) if target is not None else None
    if state is None or not state.presented or state.identity is None:
        return None
    since = state.identity.ctime_ns / 1e9
    return OnDisk((find_leaf(state.presented),), since, component.not_served_after, state.location)
