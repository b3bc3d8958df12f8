"""Messages of the future: the outbox itself, on a simulated clock, if nothing changes but the time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from actions.ending import Cause, Outcome
from actions.journal_state import RecordedEnding
from config.immutable import immutable
from config.model import Config
from config.policy import Notify
from config.text import Printable, harmless, sentence
from config.vocabulary import FileRole, KeyKind, TargetKind
from monitor.decide.decision import Decision, DecisionStatus, kind_of
from monitor.decide.situation import BY_TIME, FindingState, Situation, Validity, of_group
from monitor.notify import news
from monitor.notify.advice import AdviceContext
from monitor.notify.deliver import Tone
from monitor.notify.delivery import DeliveryFate
from monitor.notify.outbox import Outbox
from monitor.notify.text import notice
from monitor.state.events import ActionEnded
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate, Key
from probes.finding import Finding

_WITH_LEAF: Final = (FileRole.CERTIFICATE, FileRole.COMBINED, FileRole.KEYSTORE)
_LEAST: Final = 1.0
"""The smallest step of the simulated clock, in seconds."""


@immutable
class ForeseenMessage:
    """A message on the timeline."""

    at: float
    """Unix time."""
    channel: str
    title: str


class Recipients:
    """The recipients by the channels and routes of a configuration; every message is delivered at once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._registry: dict[str, TargetState] = {}
        self._of: dict[str, frozenset[str]] = {}
        """The targets of each subject."""
        self._labels = config.labels
        self._outbox = Outbox(self._registry, lambda _: "")
        self._outbox.reconfigure(config.channels, config.notifications, self._labels, AdviceContext.of(config))
        self._committed: list[ActionEnded] = []
        self._now = 0.0

    def learn(self, situation: Situation, now: float) -> None:
        """Set the states of a subject's targets from `situation`, at Unix time `now`."""
        believed = {each.target: each for each in _believed(situation, self._config, now)}
        for target in self._of.get(situation.subject, frozenset()) - believed.keys():
            self._registry.pop(target, None)
            self._outbox.observe(target)
        self._of[situation.subject] = frozenset(believed)
        for target, known in believed.items():
            self._registry[target] = known
            self._outbox.observe(target)

    def decided(self, decision: Decision, now: float) -> None:
        """Take note of a decision; a decision to act is assumed to succeed."""
        if decision.status is DecisionStatus.ACT and not isinstance(decision.action, Notify):
            kind, by = kind_of(decision.action), f"policy {decision.policy}"
            ending = RecordedEnding(
                transaction=decision.identity,
                components=(decision.subject,),
                outcome=Outcome.COMMITTED,
                cause=Cause.NONE,
                reason="",
                at=now,
                began=now,
                kind=kind,
                plan="",
                by=by,
            )
            self._committed.append(ActionEnded(decision.subject, ending))

    def tell(self, now: float) -> Iterator[ForeseenMessage]:
        """Yield the messages that are sent at Unix time `now`."""
        self._now = now
        ended, self._committed = self._committed, []
        names = {each.target: each.target for each in ended}
        for each in news.committed(ended, names, self._config.notifications, self._labels, {}):
            if each.channel in self._config.channels:
                host = self._config.host
                _, message = notice(each.name, each.channel, each.title, each.sentences, host=host, tone=Tone.SUCCESS)
                yield ForeseenMessage(now, each.channel, message.title)
        for delivery in self._outbox.write_due(now):
            self._outbox.amend(replace(delivery, fate=DeliveryFate.DELIVERED, ended_at=now))
            yield ForeseenMessage(now, delivery.channel, delivery.message.title)

    def next(self) -> float | None:
        """Return the Unix time of the next message that time alone may cause; None for never."""
        at = self._outbox.next_due()
        return None if at is None else max(at, self._now + _LEAST)


def _believed(situation: Situation, config: Config, now: float) -> Iterator[TargetState]:
    """Yield the state of each target that has the certificate, or a finding."""
    bearing = _bearing(situation, config)
    found: dict[str, list[FindingState]] = {target: [] for target in bearing}
    for each in situation.findings:
        # Findings that time brings show wherever the certificate is.
        spread = each.target == situation.subject or each.target in bearing
        for target in bearing if spread and each.code in BY_TIME else (each.target,):
            found.setdefault(target, []).append(each)
    presented = () if situation.certificate is None else (_certificate(situation, situation.certificate),)
    for target, those in found.items():
        endpoint = config.endpoints.get(target)
        raised = [
            Raised(
                Finding(each.code, each.severity, harmless(each.subject or "position 0"), harmless(str(each.code))),
                each.since,
            )
            for each in those
        ]
        yield TargetState(
            target=target,
            kind=TargetKind.FILE if endpoint is None else TargetKind.ENDPOINT,
            location=target if endpoint is None else f"{endpoint.host}:{endpoint.port}",
            component=_component_of(target, situation, config),
            presented=presented if target in bearing else (),
            findings={(each.finding.code, each.finding.subject): each for each in raised},
            last_look=now,
        )


def _component_of(target: str, situation: Situation, config: Config) -> str | None:
    """Return the component of a target: of a group, the member that has it."""
    if not situation.members:
        return situation.subject if situation.is_component else None
    of_target = {each.name: each.component for each in config.files}
    of_target |= {each.name: each.component for each in config.endpoints.values()}
    return of_target.get(target) or situation.subject


def _bearing(situation: Situation, config: Config) -> Sequence[str]:
    """Return the targets that have the certificate of a situation."""
    if not situation.is_component:
        return (situation.subject,)
    names = config.members_of(situation.subject)
    files = [each.name for each in config.files if each.component in names and each.role in _WITH_LEAF]
    components = [config.components[each] for each in names if each in config.components]
    return [*files, *(name for each in components for name in each.endpoints)] or [situation.subject]


def _certificate(situation: Situation, validity: Validity) -> Certificate:
    """Return a certificate with that validity; its other facts are unknown."""
    return Certificate(
        der=validity.sha256.encode(),
        sha256=validity.sha256,
        subject=sentence("the certificate of {}", harmless(situation.subject))
        if situation.is_component
        else Printable("its certificate"),
        issuer=Printable(""),
        serial="",
        not_before=int(validity.not_before),
        not_after=int(validity.not_after),
        names=(),
        key=Key(KeyKind.UNKNOWN, 0),
        signature_hash=Printable(""),
        is_ca=False,
        self_issued=False,
    )


def fresh(config: Config, begin: float, lifetime: float) -> Iterator[Situation]:
    """Yield a situation for each group, each other component and each endpoint of none.

    Each has a certificate valid from `begin` on.
    """
    for subject in config.subjects:
        members = [_fresh(config, name, subject, begin, lifetime) for name in config.members_of(subject)]
        yield of_group(subject, members) if subject in config.groups else members[0]
    for name, endpoint in config.endpoints.items():
        if endpoint.component is None:
            validity = Validity(f"{name}, fresh", begin, begin + lifetime, endpoint.thresholds)
            yield Situation(name, targets=(name,), profile=config.profile, certificate=validity)


def _fresh(config: Config, name: str, subject: str, begin: float, lifetime: float) -> Situation:
    component = config.components[name]
    thresholds = next((config.endpoints[each].thresholds for each in component.endpoints), None)
    return Situation(
        subject=name,
        mode=component.mode if component.service is not None else None,
        targets=(*(each.name for each in config.files if each.component == name), *component.endpoints),
        is_component=True,
        labels=component.labels,
        profile=config.profile,
        certificate=Validity(f"{subject}, fresh", begin, begin + lifetime, thresholds),
        on_disk=f"{subject}, fresh",
        allowed_issuers=bool(component.allowed_issuers),
    )
