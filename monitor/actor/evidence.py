"""The actor's own looks at a component: its configuration, journal, files, inbox and real handshakes."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from actions.component_files import chain_on_disk, set_on_disk
from actions.journal import Event
from actions.plan import Plan, plan_from_json
from config.immutable import immutable
from config.model import Component, Config, Thresholds
from config.text import printable
from config.vocabulary import Code
from monitor.actor.contested import changed_since, contested, newest_in
from monitor.actor.context import ActorContext
from monitor.actor.live_view import endpoints_of
from monitor.actor.revocation import evidence_about
from monitor.actor.sightings import Sightings
from monitor.decide.history import attempts_of
from monitor.decide.situation import Accepts, FindingState, KnownCandidate, Situation, Validity
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, assess_endpoint
from probes.assess_set import SetContext, assess_set
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.file import look_at_file
from probes.finding import Assessment
from probes.judge.client import leaf_first
from probes.judge.state import OnDisk
from probes.observation import EndpointObservation
from probes.opening import examine_for_others, open_for_others
from probes.set import read_set, with_absence
from probes.tls.drive import look_blocking

APART: Final = 60.0
"""Seconds between the first and the last of the looks that must all see that a replacement made something worse."""

NOT_ASKED: Final = "it was not asked about"
"""Why nothing is evidence against a replacement where nobody wants to undo it."""


@immutable
class Look:
    """One look at a component."""

    component: Component
    endpoints: Mapping[str, tuple[EndpointObservation, Assessment]]
    """By name."""
    files: Mapping[str, Assessment]
    """By target."""
    chain: tuple[Certificate, ...]
    """The chain that a server would present from the files."""
    disk: tuple[tuple[str, str], ...]
    """Path and SHA-256 of each file."""
    changed: float
    """Unix time at which a file last changed."""

    @property
    def unreached(self) -> bool:
        """Whether an endpoint, or an address of one, did not answer."""
        return any(seen.failures or not seen.presented for seen, _ in self.endpoints.values())

    @property
    def served(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Endpoint, address and chain of every answer."""
        return tuple(
            sorted(
                (name, each.address, tuple(one.sha256 for one in each.chain))
                for name, (seen, _) in self.endpoints.items()
                for each in seen.presented
            )
        )


def look_at(context: ActorContext, name: str) -> Look:
    """Look at the files and the endpoints of a component now; raises OSError where its files cannot be read."""
    config, now = context.config, context.world.now()
    component = config.components[name]
    disk, changed = set_on_disk(component, context.world)
    chain = chain_on_disk(component, context.world)
    elsewhere = tuple(context.trust_context.trusts.values())
    on_disk = None
    if chain:
        on_disk = OnDisk((leaf_first(chain)[0],), changed, component.not_served_after, f"{name} on disk")
    seen = {endpoint: look_blocking(endpoint, now) for endpoint in endpoints_of(config, component)}
    presented = [each for observation in seen.values() for each in observation.presented if each.chain]
    chains = (chain, *(each.chain for each in presented))
    clients = (*component.clients, *(client for endpoint in seen for client in endpoint.clients))
    views = context.trust_context.views(dict.fromkeys(clients))
    staples = [(find_leaf(each.chain), each.staple) for each in presented if each.staple]
    revocation = evidence_about(context.trust_context, context.world, chains, views, now, staples=staples)
    endpoints: dict[str, tuple[EndpointObservation, Assessment]] = {}
    for endpoint, observation in seen.items():
        judged_in = EndpointContext(
            endpoint, context.trust_context.views(endpoint.clients), elsewhere, on_disk, revocation=revocation
        )
        endpoints[endpoint.name] = (observation, assess_endpoint(observation, judged_in, now))
    targets = tuple(each for each in config.files if each.component == name)
    stores = {each.name: context.trust_context.store_view(each.trust_store) for each in targets}
    files = assess_set(
        with_absence(
            read_set(targets, now, partial(look_at_file, opened=open_for_others), examined=examine_for_others), targets
        ),
        SetContext(targets, stores, elsewhere=elsewhere, revocation=revocation),
        now,
    )
    return Look(component, endpoints, files, chain, tuple(sorted(disk.files.items())), changed)


def situation_of(
    context: ActorContext,
    look: Look,
    sightings: Sightings,
    *,
    candidate: str = "",
    unproven: str = NOT_ASKED,
    given_up: str = "",
    offered: float = 0.0,
) -> Situation:
    """Return the facts for a decision about a component: nothing that the actor did not see itself.

    `candidate` identifies the inbox's candidate; `unproven` is why there is no evidence against the last replacement,
    and `given_up` why the key of the action may not be used. `offered` is when the candidate was offered, a Unix
    time; 0 where it is in the inbox. Raises OSError.
    """
    config, component, now = context.config, look.component, context.world.now()
    journal_state = context.journal_state()
    waived = {(each.target, each.code) for each in config.waivers if now < each.until}
    raised = [each for each in _raised(look) if (each.target, each.code) not in waived]
    edges = tuple(_edges(look))
    keys: list[Hashable] = [_key(each) for each in raised]
    keys += [(each.client, each.target) for each in edges if not each.accepts]
    unchanged = (circumstances(context.trust_context), look.disk, look.served)
    since = sightings.note(component.name, unchanged, keys, now, context.world.monotonic())
    found = contested(context, component.name)
    drifts = any(each.code is Code.NOT_SERVED for each in raised)
    there = offered or newest_in(context, context.inbox(config.subject_of(component.name)))
    return Situation(
        component.name,
        component.mode,
        (*look.files, *look.endpoints, f"{config.subject_of(component.name)}/actions"),
        is_component=True,
        labels=component.labels,
        profile=config.profile,
        findings=tuple(
            FindingState(each.target, each.code, each.severity, since[_key(each)], each.subject, each.at_endpoint)
            for each in raised
        ),
        edges=tuple(
            Accepts(each.client, each.target, each.accepts, since.get((each.client, each.target), now))
            for each in edges
        ),
        certificate=_validity(look, config),
        on_disk=find_leaf(look.chain).sha256 if look.chain else "",
        drift_since=look.changed if drifts else None,
        candidate=KnownCandidate(candidate, min(there, now)) if candidate else None,
        attempts=attempts_of(journal_state, component.name),
        allowed_issuers=bool(component.allowed_issuers),
        held=f"it is frozen: {journal_state.frozen[component.name]}" if component.name in journal_state.frozen else "",
        contested=found.sentence if found is not None else "",
        renewed=found is not None and found.renewed,
        unreached=look.unreached,
        unproven=unproven,
        apart=APART,
        given_up=given_up,
    )


def _key(found: FindingState) -> tuple[str, str, str]:
    return (found.target, found.code, found.subject)


def _raised(look: Look) -> Iterator[FindingState]:
    at_endpoints = {name: assessment for name, (_, assessment) in look.endpoints.items()}
    for target, assessment in (*at_endpoints.items(), *look.files.items()):
        for each in assessment.findings:
            yield FindingState(target, each.code, each.severity, 0.0, each.subject, target in at_endpoints)


def _edges(look: Look) -> Iterator[Accepts]:
    for name, (_, assessment) in look.endpoints.items():
        for edge in assessment.edges:
            if not edge.unvalidated:
                yield Accepts(edge.client, name, edge.accepted, 0.0)


def _validity(look: Look, config: Config) -> Validity | None:
    """Return the certificate in use that ends first: of endpoints, else of files."""
    served = [
        _one_validity(each.chain, assessment, config.endpoints[name].thresholds)
        for name, (seen, assessment) in look.endpoints.items()
        for each in seen.presented
        if each.chain
    ]
    filed = [
        _one_validity(look.chain, assessment, None) for assessment in look.files.values() if look.chain and not served
    ]
    return min(filter(None, (*served, *filed)), key=lambda each: each.not_after, default=None)


def _one_validity(
    chain: Sequence[Certificate], assessment: Assessment, thresholds: Thresholds | None
) -> Validity | None:
    leaf = find_leaf(chain)
    if leaf.not_before is None or leaf.not_after is None:
        return None
    end = leaf.not_after if assessment.expiry is None else min(assessment.expiry, leaf.not_after)
    return Validity(leaf.sha256, leaf.not_before, end, thresholds)


def circumstances(trust_context: TrustContext) -> str:
    """Return a hash of the configuration and of the content of its trust stores and clients, hexadecimal."""
    held = (
        trust_context.config.digest,
        sorted((name, [each.sha256 for each in trust.anchors]) for name, trust in trust_context.trusts.items()),
        sorted((name, [each.sha256 for each in chain]) for name, chain in trust_context.held.items()),
        sorted((name, each.validates) for name, each in trust_context.switches.items()),
    )
    return hashlib.sha256(repr(held).encode()).hexdigest()


def unproven(context: ActorContext, looks: Collection[Look], transaction: str) -> str:
    """Say why the present state is no evidence against a committed transaction; empty where it may be.

    `looks` are at every component that it changed, and at the other members of their groups. It is evidence where each
    endpoint of what it changed, at each of its addresses, which are this host's own, presents what was committed, and
    nothing else has changed since. Raises OSError.
    """
    records = context.records()
    begun = next((each for each in records if each.event is Event.BEGIN and each.transaction == transaction), None)
    if begun is None:
        return "the journal does not have the committed plan"
    plan = plan_from_json(begun.data["plan"])
    if begun.data.get("circumstances") != circumstances(context.trust_context):
        return "the configuration, or a trust store, is another since"
    if (path := changed_since(context, records, transaction)) is not None:
        return f"{path} was changed by somebody else since"
    changed = [each for each in looks if each.component.name in plan.components]
    if len(changed) < len(plan.components):
        return "not all that was replaced as one was looked at"
    return next((why for look in changed for why in _otherwise(look, plan)), "")


def _otherwise(look: Look, plan: Plan) -> Iterator[str]:
    """Yield how a component's endpoints keep from being evidence."""
    chains = {each.endpoint: each.chains for each in plan.serves}
    if not look.endpoints:
        yield f"{look.component.name} has no endpoint to look at"
    for name, (seen, _) in look.endpoints.items():
        shown = printable(name)
        if seen.failures or not seen.presented:
            yield f"{shown} was not reached at every address"
        for each in seen.presented:
            if not is_own(each.address):
                yield f"{shown} is not at an address of this host"
            if tuple(one.sha256 for one in each.chain) not in chains.get(name, ()):
                yield f"{shown} does not present the committed chain"


def is_own(address: str) -> bool:
    """Whether an IP address is one of this host's own: a packet to such an address comes from this host."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback:
        return True
    try:
        with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            # Nothing is sent: the kernel only chooses a way.
            asking.connect((address, 9))
            return ipaddress.ip_address(asking.getsockname()[0]) == ip
    except OSError:
        return False
