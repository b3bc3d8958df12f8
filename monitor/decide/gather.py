"""The input of decisions, made of the states of the targets and of the records of the components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from config.immutable import immutable
from config.model import Component, ComponentGroup, Config
from config.vocabulary import Code, TargetKind
from monitor.decide.situation import (
    Accepts,
    Approval,
    Attempt,
    FindingState,
    KnownCandidate,
    LeftToPerson,
    Said,
    Situation,
    Validity,
    of_group,
)
from monitor.state.own import SELF
from monitor.state.target import TargetState
from probes.assess_set import WITH_LEAF
from probes.chain import find_leaf


@immutable
class ComponentRecord:
    """The facts from the journal and the inbox of a component."""

    attempts: tuple[Attempt, ...] = ()
    candidate: KnownCandidate | None = None
    approvals: tuple[Approval, ...] = ()
    said: tuple[Said, ...] = ()
    left_to_person: tuple[LeftToPerson, ...] = ()
    held: str = ""
    contested: str = ""
    renewed: bool = False


_NO_RECORD: Final = ComponentRecord()


def situation_of(
    subject: str, config: Config, state: Mapping[str, TargetState], now: float, record: ComponentRecord = _NO_RECORD
) -> Situation | None:
    """Return the situation of a group, a component or a target of neither, at Unix time `now`; None for anything else.

    A member of a group has none of its own. `record` has the facts about a group or component beside its targets.
    """
    if subject in config.groups:
        return _group(config.groups[subject], config, state, now, record)
    component = config.components.get(subject)
    if component is not None:
        if config.subject_of(subject) != subject:
            return None
        return _component(
            component, [each for each in state.values() if each.component == subject], config, now, record
        )
    target = state.get(subject)
    if target is None or is_declared(target.component, config) or subject == SELF:
        return None
    return _target(target, config, now)


def is_declared(component: str | None, config: Config) -> bool:
    """Whether that is the name of a component, or of a group."""
    return component in config.components or component in config.groups


def _group(
    group: ComponentGroup, config: Config, state: Mapping[str, TargetState], now: float, record: ComponentRecord
) -> Situation:
    of_member: dict[str | None, list[TargetState]] = {name: [] for name in (*group.members, group.name)}
    for each in state.values():
        if each.component in of_member:
            of_member[each.component].append(each)
    members = [_component(config.components[name], of_member[name], config, now, record) for name in group.members]
    # The target that stands for the actions on all of them.
    first, own = members[0], of_member[group.name]
    members[0] = replace(
        first,
        targets=(*first.targets, *(each.target for each in own)),
        findings=(*first.findings, *_findings(own, config, now)),
    )
    found = of_group(group.name, members)
    return replace(found, held=record.held)


def _target(state: TargetState, config: Config, now: float) -> Situation:
    return Situation(
        state.target,
        targets=(state.target,),
        profile=config.profile,
        findings=tuple(_findings([state], config, now)),
        edges=tuple(_edges([state], config)),
        certificate=_validity([state], config),
    )


def _component(
    component: Component, state: Sequence[TargetState], config: Config, now: float, record: ComponentRecord
) -> Situation:
    findings = tuple(_findings(state, config, now))
    not_served = [each.since for each in findings if each.code is Code.NOT_SERVED]
    return Situation(
        subject=component.name,
        mode=component.mode if component.service is not None else None,
        targets=tuple(each.target for each in state),
        is_component=True,
        labels=component.labels,
        profile=config.profile,
        findings=findings,
        edges=tuple(_edges(state, config)),
        certificate=_validity(state, config),
        on_disk=_on_disk(component, state),
        # The finding comes after the grace period, which began when the files on disk changed.
        drift_since=min(not_served) - component.not_served_after if not_served else None,
        candidate=record.candidate,
        attempts=record.attempts,
        approvals=record.approvals,
        said=record.said,
        left_to_person=record.left_to_person,
        allowed_issuers=bool(component.allowed_issuers),
        held=record.held,
        contested=record.contested,
        renewed=record.renewed,
    )


def _findings(state: Iterable[TargetState], config: Config, now: float) -> Iterator[FindingState]:
    waived = {(each.target, each.code) for each in config.waivers if now < each.until}
    for each in state:
        for raised in each.findings.values():
            finding = raised.finding
            if (each.target, finding.code) not in waived:
                at_endpoint = each.kind is TargetKind.ENDPOINT
                yield FindingState(
                    each.target,
                    finding.code,
                    finding.severity,
                    raised.since,
                    finding.subject,
                    at_endpoint,
                    each.last_look or 0.0,
                )


def _edges(state: Iterable[TargetState], config: Config) -> Iterator[Accepts]:
    for each in state:
        rejected = {
            subject: raised.since for (code, subject), raised in each.findings.items() if code is Code.CLIENT_REJECTS
        }
        for edge in each.edges:
            client = config.clients.get(edge.client)
            if client is not None and not edge.unvalidated and (client.validates or client.validation_switch):
                since = rejected.get(edge.client, each.since)
                yield Accepts(edge.client, each.target, edge.accepted, since, each.last_look or 0.0)


def _validity(state: Iterable[TargetState], config: Config) -> Validity | None:
    """Return the validity that ends first, of the certificates that endpoints present, or else of those in files."""
    presenting = [each for each in state if each.presented]
    served = [each for each in presenting if each.kind is TargetKind.ENDPOINT]
    ends = [
        (validity.not_after, validity) for each in served or presenting if (validity := _one_validity(each, config))
    ]
    return min(ends, key=lambda end: end[0])[1] if ends else None


def _one_validity(state: TargetState, config: Config) -> Validity | None:
    leaf = find_leaf(state.presented)
    if leaf.not_before is None or leaf.not_after is None:
        return None
    endpoint = config.endpoints.get(state.target)
    end = leaf.not_after if state.expiry is None else min(state.expiry, leaf.not_after)
    return Validity(leaf.sha256, leaf.not_before, end, endpoint.thresholds if endpoint else None)


def _on_disk(component: Component, state: Iterable[TargetState]) -> str:
    names = {f"{component.name}/{role}" for role in WITH_LEAF}
    return next((find_leaf(each.presented).sha256 for each in state if each.target in names and each.presented), "")
