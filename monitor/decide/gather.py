"""What decisions rest on, made of what is believed of the targets and of what was done to the components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.model import Component, Config
from config.vocabulary import Code, TargetKind
from monitor.decide.situation import Accepts, Approval, Attempt, FindingState, KnownCandidate, Said, Situation, Validity
from monitor.state.registry import SELF
from monitor.state.target import TargetState
from probes.assess_set import WITH_LEAF
from probes.chain import find_leaf


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a component from its journal and its inbox."""

    attempts: tuple[Attempt, ...] = ()
    candidate: KnownCandidate | None = None
    approvals: tuple[Approval, ...] = ()
    said: tuple[Said, ...] = ()
    held: str = ""
    contested: str = ""
    renewed: bool = False


_NOTHING: Final = Done()


def situation_of(
    subject: str, config: Config, known: Mapping[str, TargetState], now: float, done: Done = _NOTHING
) -> Situation | None:
    """Return the situation of a component, or of a target that belongs to none, at Unix time `now`; None for neither.

    `done` is what is known of a component beside its targets.
    """
    component = config.components.get(subject)
    if component is not None:
        return _component(component, [each for each in known.values() if each.component == subject], config, now, done)
    target = known.get(subject)
    if target is None or target.component in config.components or subject == SELF:
        return None
    return _target(target, config, now)


def _target(known: TargetState, config: Config, now: float) -> Situation:
    return Situation(
        known.target,
        targets=(known.target,),
        profile=config.profile,
        findings=tuple(_findings([known], config, now)),
        edges=tuple(_edges([known], config)),
        certificate=_validity([known], config),
    )


def _component(component: Component, known: Sequence[TargetState], config: Config, now: float, done: Done) -> Situation:
    findings = tuple(_findings(known, config, now))
    not_served = [each.since for each in findings if each.code is Code.NOT_SERVED]
    return Situation(
        component.name,
        component.mode if component.service is not None else None,
        tuple(each.target for each in known),
        is_component=True,
        labels=component.labels,
        profile=config.profile,
        findings=findings,
        edges=tuple(_edges(known, config)),
        certificate=_validity(known, config),
        on_disk=_on_disk(component, known),
        # The finding comes after the grace, which began when what is on disk changed.
        drift_since=min(not_served) - component.not_served_after if not_served else None,
        candidate=done.candidate,
        attempts=done.attempts,
        approvals=done.approvals,
        said=done.said,
        allowed_issuers=bool(component.allowed_issuers),
        held=done.held,
        contested=done.contested,
        renewed=done.renewed,
    )


def _findings(known: Iterable[TargetState], config: Config, now: float) -> Iterator[FindingState]:
    waived = {(each.target, each.code) for each in config.waivers if now < each.until}
    for each in known:
        for raised in each.findings.values():
            finding = raised.finding
            if (each.target, finding.code) not in waived:
                live = each.kind is TargetKind.ENDPOINT
                yield FindingState(each.target, finding.code, finding.severity, raised.since, finding.subject, live)


def _edges(known: Iterable[TargetState], config: Config) -> Iterator[Accepts]:
    for each in known:
        rejected = {
            subject: raised.since for (code, subject), raised in each.findings.items() if code is Code.CLIENT_REJECTS
        }
        for edge in each.edges:
            client = config.clients.get(edge.client)
            if client is not None and client.validates:
                yield Accepts(edge.client, each.target, edge.accepted, rejected.get(edge.client, each.since))


def _validity(known: Iterable[TargetState], config: Config) -> Validity | None:
    """Return the certificate in use that ends first: what endpoints present, else what files hold."""
    presenting = [each for each in known if each.presented]
    live = [each for each in presenting if each.kind is TargetKind.ENDPOINT]
    ends = [(validity.not_after, validity) for each in live or presenting if (validity := _one_validity(each, config))]
    return min(ends, key=lambda end: end[0])[1] if ends else None


def _one_validity(known: TargetState, config: Config) -> Validity | None:
    leaf = find_leaf(known.presented)
    if leaf.not_before is None or leaf.not_after is None:
        return None
    endpoint = config.endpoints.get(known.target)
    end = leaf.not_after if known.expiry is None else min(known.expiry, leaf.not_after)
    return Validity(leaf.sha256, leaf.not_before, end, endpoint.thresholds if endpoint else None)


def _on_disk(component: Component, known: Iterable[TargetState]) -> str:
    names = {f"{component.name}/{role}" for role in WITH_LEAF}
    return next((find_leaf(each.presented).sha256 for each in known if each.target in names and each.presented), "")
