"""The page of a component or a group: the set on disk beside the set served, and what may be done about it. Pure."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from actions.csr import WaitingRequest
from actions.ending import Outcome
from actions.journal_state import IN_USE, RecordedEnding
from actions.plan import Kind
from config.address import join_address
from config.command_reach import command_line
from config.immutable import immutable
from config.model import Component, Config
from config.text import Log, harmless
from config.vocabulary import FileRole, Verdict, worst
from monitor.http.answers import CertificateAnswer, ComponentAnswer, FindingAnswer
from monitor.http.console.certificate import ClientVerdict
from monitor.http.console.drawing import LifeBar, life_bar
from monitor.http.console.now import WaitingHere, waiting_here
from monitor.http.console.table import PageFacts, next_reload, verdict_of
from monitor.http.planned import EffectObject, PlanObject
from monitor.http.view import SubjectActs
from monitor.inventory import installed_chain
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.judge.client import leaf_first

log: Log = logging.getLogger("certvigil.http")

FINDINGS: Final = 50
_TITLES: Final[Mapping[str, str]] = {
    "certificate": "Certificate",
    "key": "Key",
    "chain": "Chain",
    "combined": "Certificate, chain and key",
    "keystore": "Keystore",
}


@immutable
class ArtefactOnDisk:
    """A file of a component."""

    title: str
    path: str
    target: str
    verdict: Verdict
    certificates: tuple[CertificateAnswer, ...]
    failure: str
    since: float | None
    """Unix time since when it holds these."""


@immutable
class ServedThere:
    """What an endpoint presents."""

    target: str
    address: str
    server_name: str
    verdict: Verdict
    certificates: tuple[CertificateAnswer, ...]
    as_installed: bool | None
    """Whether its leaf is that on disk; null where that is not known."""
    failure: str
    since: float | None
    last_look: float | None


@immutable
class MemberHere:
    """A component with its sets."""

    name: str
    verdict: Verdict
    title: str
    """Of its certificate; empty where none is known."""
    sha256: str
    bar: LifeBar | None
    files: tuple[ArtefactOnDisk, ...]
    served: tuple[ServedThere, ...]
    next_reload: str
    verdicts: tuple[ClientVerdict, ...]
    findings: tuple[FindingAnswer, ...]
    labels: tuple[str, ...]
    service: str
    """Its unit, or the command that reloads it; empty where certvigil may not change it."""


@immutable
class ReturnPoint:
    """A replacement that can be undone: the set that was in use before it."""

    at: float
    """Unix time of its end."""
    action: Kind
    outcome: Outcome
    by: str
    command: str


@immutable
class HostCommand:
    """A command for the host, and what it does."""

    does: str
    command: str


@immutable
class SubjectPage:
    """All that the page shows."""

    name: str
    is_group: bool
    group: str
    """The group of a component; empty where it is in none, or is a group itself."""
    members: tuple[MemberHere, ...]
    status: ComponentAnswer | None
    """Null where certvigil may not change it."""
    waiting: tuple[WaitingHere, ...]
    plan: PlanObject | None
    """The actor's last plan for the candidate in the inbox, as `certvigil plan --json` prints it."""
    effects: tuple[EffectObject, ...]
    remarks: tuple[str, ...]
    requests: tuple[WaitingRequest, ...]
    endings: tuple[RecordedEnding, ...]
    """The newest first."""
    returns: tuple[ReturnPoint, ...]
    commands: tuple[HostCommand, ...]


def subject_page(name: str, known: PageFacts, statuses: Sequence[ComponentAnswer], acts: SubjectActs) -> SubjectPage:
    """Return the page of a group, or of a component; `acts` are those of its subject."""
    config = known.config
    is_group = name in config.groups
    subject = name if is_group else config.subject_of(name)
    status = next((each for each in statuses if each.component == subject), None)
    answer = acts.answer or {}
    endings = tuple(reversed(acts.recent))
    return SubjectPage(
        name=name,
        is_group=is_group,
        group="" if is_group else config.group_of.get(name, ""),
        members=tuple(_member(config.components[each], known) for each in config.members_of(name)),
        status=status,
        waiting=tuple(waiting_here([status])) if status is not None else (),
        plan=_plan(answer),
        effects=_effects(answer),
        remarks=tuple(harmless(str(each)) for each in answer.get("remarks", ())),
        requests=acts.requests,
        endings=endings,
        returns=tuple(_returns(subject, endings)),
        commands=tuple(_commands(subject, status)) if status is not None else (),
    )


def _plan(answer: Mapping[str, Any]) -> PlanObject | None:
    try:
        return PlanObject.model_validate(answer["plan"]) if "plan" in answer else None
    except ValidationError:
        log.exception("the actor's plan cannot be shown")
        return None


def _effects(answer: Mapping[str, Any]) -> tuple[EffectObject, ...]:
    effects = answer.get("effects") or (answer.get("refused") or {}).get("effects") or ()
    try:
        return tuple(map(EffectObject.model_validate, effects))
    except ValidationError:
        log.exception("the clients' verdicts on a plan cannot be shown")
        return ()


def _member(component: Component, known: PageFacts) -> MemberHere:
    targets = known.targets
    files = [(role, targets[f"{component.name}/{role}"]) for role in FileRole if f"{component.name}/{role}" in targets]
    endpoints = [targets[each] for each in component.endpoints if each in targets]
    states = [*(state for _, state in files), *endpoints]
    chain = installed_chain(component, targets)
    served = [leaf_first(each.presented)[0] for each in endpoints if each.presented]
    leaf = chain[0] if chain else next(iter(served), None)
    on_disk = chain[0].sha256 if chain else None
    by = next((each.target for each in states if leaf in each.presented), component.name)
    found = [(state.target, raised) for state in states for raised in state.findings.values()]
    found.sort(key=lambda each: (-each[1].finding.severity.rank, each[0], each[1].finding.code))
    return MemberHere(
        name=component.name,
        verdict=worst(map(verdict_of, states)),
        title="" if leaf is None else leaf.title,
        sha256="" if leaf is None else leaf.sha256,
        bar=None if leaf is None else life_bar(leaf, known.thresholds(by), known.now),
        files=tuple(_file(str(role), state) for role, state in files if not _is_no_file(role, state)),
        served=tuple(_served(each, known.config, on_disk) for each in endpoints),
        next_reload=next_reload(states, on_disk, [each.sha256 for each in served]),
        verdicts=tuple(
            ClientVerdict(edge.client, state.target, edge.accepted, edge.why, edge.unvalidated)
            for state in endpoints
            for edge in state.edges
        ),
        findings=tuple(FindingAnswer.of(*each) for each in found[:FINDINGS]),
        labels=tuple(f"{key}={value}" for key, value in component.labels.items()),
        service="" if component.service is None else _service(component),
    )


def _service(component: Component) -> str:
    service = component.service
    return "" if service is None else harmless(shlex.join(service.restart or service.reload or ()))


def _is_no_file(role: FileRole, state: TargetState) -> bool:
    """Whether it is a chain that rightly is not there."""
    return role is FileRole.CHAIN and state.up is True and not state.presented and not state.findings


def _answers(chain: Sequence[Certificate]) -> tuple[CertificateAnswer, ...]:
    return tuple(map(CertificateAnswer.of, chain[:10]))


def _failure(state: TargetState) -> str:
    return "" if state.failure is None else ": ".join(filter(None, state.failure))


def _file(role: str, state: TargetState) -> ArtefactOnDisk:
    return ArtefactOnDisk(
        title=_TITLES.get(role, role),
        path=state.location,
        target=state.target,
        verdict=verdict_of(state),
        certificates=_answers(leaf_first(state.presented)),
        failure=_failure(state),
        since=state.since if state.presented else None,
    )


def _served(state: TargetState, config: Config, on_disk: str | None) -> ServedThere:
    endpoint = config.endpoints[state.target]
    chain = leaf_first(state.presented)
    return ServedThere(
        target=state.target,
        address=join_address(endpoint.host, endpoint.port),
        server_name=endpoint.verified_name,
        verdict=verdict_of(state),
        certificates=_answers(chain),
        as_installed=chain[0].sha256 == on_disk if chain and on_disk is not None else None,
        failure=_failure(state),
        since=state.since if state.presented else None,
        last_look=state.last_look,
    )


def _returns(subject: str, endings: Sequence[RecordedEnding]) -> Iterator[ReturnPoint]:
    """Yield the sets from before each change that is or was in use, the newest first."""
    for each in endings:
        if each.outcome in IN_USE and each.kind in {Kind.REPLACE, Kind.ROLLBACK}:
            command = command_line("rollback", subject, "--to", each.transaction)
            yield ReturnPoint(each.at, each.kind, each.outcome, each.by, command)


def _commands(subject: str, status: ComponentAnswer) -> Iterator[HostCommand]:
    if status.frozen is not None:
        yield HostCommand("say that it is right now, and no longer frozen", command_line("recover", "--thaw", subject))
    yield HostCommand("see the plan for the candidate in the inbox", command_line("plan", subject))
    yield HostCommand("replace its certificate", command_line("replace", subject, "--from", "NEW.pem"))
    yield HostCommand("have its service load its files from disk", command_line("activate", subject))
    yield HostCommand("make a request for a certificate", command_line("csr", subject))
    yield HostCommand("see the sets to which it can go back", command_line("backups", subject))
    yield HostCommand("go back to the set before the last change", command_line("rollback", subject))
    yield HostCommand("go back to the first set of all", command_line("reset-to-default", subject))
