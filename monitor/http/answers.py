"""The answers of the API. Times are ISO 8601 in UTC; an unknown fact is null; text is printable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict

from actions.ending import Cause, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.address import join_address
from config.expected import AllowedTLS, NotTLS
from config.model import DAY
from config.text import printable
from config.vocabulary import (
    ClientCertificateUse,
    Code,
    ComponentState,
    EntryKind,
    Integrity,
    KeyKind,
    Mode,
    Severity,
    TargetKind,
    UnreadableReason,
    Verdict,
)
from monitor.act.status import ComponentStatus, Waiting
from monitor.decide import decision as decided
from monitor.decide.decision import DecisionStatus
from monitor.dialect import address_object, certificate_object, edge_object, keystore_object, supported_object
from monitor.http.view import DaemonStatus
from monitor.state.cure import cure
from monitor.state.target import Raised, TargetState
from monitor.store import HistoryEntry, What
from probes import certificate as fact
from probes.finding import Finding as Found
from probes.judge.time import calendar
from probes.ocsp import OCSPStatus

API: Final = "/api/v1"

_NOT_SHOWN: Final = "not all that is known of it can be shown, by a fault of certvigil; its log tells more"

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Offset = Annotated[int, Query(ge=0, description="Leave out so many before.")]


def not_found(why: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of the answer 404, for a resource of a thing that may not exist."""
    return {404: {"description": why}}


def _moment(at: float | None) -> datetime | None:
    return None if at is None else calendar(at)


class Answer(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Listing(Answer, Generic[Item]):
    """One page of a listing."""

    total: int
    """The number of items on all pages."""
    offset: int
    """The number of items before this page."""
    items: Sequence[Item]


class KeyAnswer(Answer):
    """A public key."""

    kind: KeyKind
    bits: int
    """0 where it is not known."""
    name: str
    """Name of the algorithm, such as ML-DSA-65, or the identifier of an unknown one; empty where the kind says all."""
    strength: int | None
    """In bits, rounded down to a usual level; null where it is not known."""


class CertificateAnswer(Answer):
    """A certificate."""

    subject: str
    """RFC 4514, as is the issuer."""
    issuer: str
    serial: str
    """Hexadecimal."""
    not_before: datetime | None
    not_after: datetime | None
    sha256: str
    """Of the DER, hexadecimal."""
    names: Sequence[str]
    """Subject alternative names."""
    key: KeyAnswer
    spki_sha256: str | None
    """Of the public key (SubjectPublicKeyInfo), hexadecimal: as `allowed_issuers` takes it."""
    signature_hash: str
    signature: str
    """Name of the signature algorithm; its object identifier where it is not known."""
    is_ca: bool
    failures: Sequence[str]
    """A sentence for each field that could not be decoded."""
    encoding_faults: Sequence[str]
    """The rules of encoding that the certificate breaks."""

    @classmethod
    def of(cls, certificate: fact.Certificate, **more: object) -> Self:
        """Return the facts of `certificate`."""
        return cls.model_validate({**certificate_object(certificate), **more})


class EntryAnswer(Answer):
    """An entry of a keystore."""

    kind: EntryKind
    alias: str
    """Empty where it has none."""
    created: datetime | None
    """Null where the format does not tell."""
    certificates: Sequence[CertificateAnswer]
    """The chain of a private key, its own certificate first; one of a trusted certificate; none of a secret key."""


class KeystoreAnswer(Answer):
    """A keystore."""

    integrity: Integrity
    default_password: bool
    """Its password is `changeit`."""
    entries: Sequence[EntryAnswer]


class PresentedCertificate(CertificateAnswer):
    """A certificate with its targets."""

    targets: Sequence[str]
    """The targets that present it."""


class FindingAnswer(Answer):
    """A finding."""

    target: str
    code: Code
    severity: Severity
    subject: str
    """Its subject within the target; empty for the whole target."""
    detail: str
    since: datetime
    cure: str
    """The cure, a phrase without a full stop."""

    @classmethod
    def of(cls, target: str, raised: Raised) -> FindingAnswer:
        """Return the findings on `target`."""
        found = raised.finding
        return cls._with(target, found, calendar(raised.since), cure(found.code, found.detail))

    @classmethod
    def bare(cls, target: str, raised: Raised) -> FindingAnswer:
        """Return the findings on `target`, where another fact about it cannot be shown."""
        return cls._with(target, raised.finding, calendar(0), _NOT_SHOWN)

    @classmethod
    def _with(cls, target: str, found: Found, since: datetime, helps: str) -> FindingAnswer:
        return cls(
            target=target,
            code=found.code,
            severity=found.severity,
            subject=found.subject,
            detail=found.detail,
            since=since,
            cure=helps,
        )


class ClientAnswer(Answer):
    """The verdict of a client on an endpoint."""

    client: str
    target: str
    accepts: bool
    why: str
    """Where it rejects: the cause and the cure."""
    unvalidated: str
    """Why it does not validate, so that it connects all the same; empty where it does."""


class FailureAnswer(Answer):
    """Why the last look gave no facts."""

    reason: str
    detail: str


class Target(Answer):
    """A target and its state."""

    target: str
    kind: TargetKind
    location: str
    component: str | None
    labels: Mapping[str, str]
    """By the configuration."""
    verdict: Verdict
    up: bool | None
    """Whether the last look gave facts; null before the first."""
    failure: FailureAnswer | None
    last_look: datetime | None
    expiry: datetime | None
    """Earliest end on the verified path; without verification, of the presented certificates."""
    days_left: float | None
    """Until then; negative once it has passed."""
    presented: Sequence[str]
    """SHA-256 of each certificate, as last presented."""
    findings: Sequence[FindingAnswer]
    pending: Sequence[FindingAnswer]
    """Findings that are not told yet: they do not count in the verdict."""
    clients: Sequence[ClientAnswer]

    @classmethod
    def of(cls, state: TargetState, now: float, **more: object) -> Self:
        """Return the state of a target at Unix time `now`."""
        failure = state.failure and FailureAnswer(reason=state.failure[0], detail=state.failure[1])
        return cls.model_validate(
            {
                "target": state.target,
                "kind": state.kind,
                "location": state.location,
                "component": state.component,
                "labels": dict(state.labels),
                "verdict": state.verdict,
                "up": state.up,
                "failure": failure,
                "last_look": _moment(state.last_look),
                "expiry": _moment(state.expiry),
                "days_left": None if state.expiry is None else round((state.expiry - now) / DAY, 2),
                "presented": [each.sha256 for each in state.presented],
                "findings": [FindingAnswer.of(state.target, each) for each in state.findings.values()],
                "pending": [FindingAnswer.of(state.target, each) for each in state.pending.values()],
                "clients": [edge_object(each, state.target) for each in state.edges],
                **more,
            }
        )

    @classmethod
    def bare(cls, state: TargetState) -> Target:
        """Return the known facts about a target where one fact cannot be shown, and say so."""
        return Target(
            target=state.target,
            kind=state.kind,
            location=state.location,
            component=state.component,
            labels=dict(state.labels),
            verdict=state.verdict,
            up=state.up,
            failure=FailureAnswer(reason=UnreadableReason.UNFORESEEN, detail=_NOT_SHOWN),
            last_look=None,
            expiry=None,
            days_left=None,
            presented=[],
            findings=[FindingAnswer.bare(state.target, each) for each in state.findings.values()],
            pending=[],
            clients=[],
        )


class StapleAnswer(Answer):
    """An OCSP response that came with a chain, and what it says of the first certificate."""

    status: OCSPStatus | None
    """Null where it says nothing of it."""
    produced_at: datetime | None
    this_update: datetime | None
    next_update: datetime | None
    """Null where newer information is available all the time, or the status is null."""
    revoked_at: datetime | None
    reason: str
    """Of the revocation; empty where none is given."""
    signer: str
    """The subject of the issuer, or of its delegate, whose signature is verified; empty where there is none."""
    why: str
    """Why there is no verified signature, or no status; empty where there is."""


class NegotiatedAnswer(Answer):
    """One address of an endpoint: what was negotiated, and what came of certificates beside the chain."""

    address: str
    version: str
    cipher: str
    group: str
    """Of the key exchange; empty where it is not known."""
    handshake_bytes: int
    """That the server sent until the handshake was over; 0 where it is not known."""
    client_certificate: ClientCertificateUse
    client_certificate_fault: str
    """Why that of the configuration was refused or could not be used; empty where it was neither."""
    staple: StapleAnswer | None
    """Null where none came."""


class Address(NegotiatedAnswer):
    """One address of an endpoint, with its chain."""

    presented: Sequence[str]
    """SHA-256 of each certificate."""


class SupportedCipherAnswer(Answer):
    """A cipher that a server takes."""

    name: str
    """In OpenSSL's spelling."""
    allowed: bool
    """By the site's list; without one, by RFC 9325."""


class SupportedVersionAnswer(Answer):
    """A version of TLS that a server takes, and with it what."""

    version: str
    allowed: bool
    ciphers: Sequence[SupportedCipherAnswer]
    groups: Sequence[str]
    prime_bits: int
    """Of the shortest Diffie-Hellman exchange that is in no named group; 0 where there is none."""
    signatures: Sequence[str]
    """Schemes by which it signed, of TLS 1.2 and 1.3."""


class SupportedAnswer(Answer):
    """Everything that one address of an endpoint takes."""

    address: str
    versions: Sequence[SupportedVersionAnswer]
    hybrid_groups: Sequence[str]
    """Those of post-quantum cryptography."""
    classical_fallback: bool
    """Whether a client without post-quantum cryptography gets a connection, too."""
    unclear: Sequence[str]
    """Why it may take more than that; empty where that is all."""
    connections: int
    """For which it was asked."""


class TargetInFull(Target):
    """A target with the certificates that it presents."""

    since: datetime | None
    """Since when it presents them."""
    chain: Sequence[CertificateAnswer]
    addresses: Sequence[Address]
    """Of an endpoint, when one last answered."""
    keystore: KeystoreAnswer | None
    """Of a file that is one, when it was last read."""
    supported: SupportedAnswer | None
    """Of an endpoint that was asked for everything that it takes, in this run of the daemon."""

    @classmethod
    def of_known(cls, state: TargetState, now: float, allowed: AllowedTLS) -> TargetInFull:
        """Return all facts about a target at Unix time `now`; `allowed` is what it may negotiate."""
        since = calendar(state.since) if state.presented else None
        addresses = [
            Address.model_validate(
                {**address_object(each, state.issuers), "presented": [certificate.sha256 for certificate in each.chain]}
            )
            for each in state.addresses
        ]
        return cls.of(
            state,
            now,
            since=since,
            chain=list(map(CertificateAnswer.of, state.presented)),
            addresses=addresses,
            keystore=state.keystore and keystore_object(state.keystore),
            supported=state.supported and supported_object(state.supported, allowed),
        )


class ObjectionAnswer(Answer):
    """A reason against a candidate."""

    ground: str
    detail: str


class LastAction(Answer):
    """The ending of the last action on a component."""

    transaction: str
    action: Kind
    outcome: Outcome
    cause: Cause
    reason: str
    by: str
    """On whose behalf."""
    at: datetime
    group: str | None
    """The group that was changed; none where components were that make no group."""

    @classmethod
    def of(cls, ended: RecordedEnding) -> LastAction:
        """Return the ending."""
        return cls(**ended.facts(), at=calendar(ended.at), group=ended.group or None)


class DecisionAnswer(Answer):
    """The decision of a policy about a component."""

    policy: str
    action: str
    status: DecisionStatus
    """Its present consequence."""
    reasons: Sequence[str]
    waits_for: str
    """Empty where it waits for nothing."""
    until: datetime | None
    """The time at which time alone may change it."""

    @classmethod
    def of(cls, decision: decided.Decision) -> DecisionAnswer:
        """Return the decision."""
        return cls(
            policy=decision.policy,
            action=decided.action_name(decision.action),
            status=decision.status,
            reasons=[each.because for each in decision.reasons],
            waits_for=decision.waits_for,
            until=_moment(decision.until),
        )


class WaitingPlan(Answer):
    """A plan that waits for a person, or for its window once it is approved."""

    plan: str
    """Its hash."""
    action: Kind
    components: Sequence[str]
    group: str | None
    since: datetime
    approved_until: datetime | None
    about: str
    """The difference from other plans for the same components."""

    @classmethod
    def of(cls, waiting: Waiting) -> WaitingPlan:
        """Return the plan."""
        return cls(
            plan=waiting.plan,
            action=waiting.kind,
            components=waiting.components,
            group=waiting.group or None,
            since=calendar(waiting.at),
            approved_until=_moment(waiting.approved_until),
            about=waiting.shown,
        )


class GivenUpKey(Answer):
    """A private key that was compromised and never returns."""

    spki_sha256: str
    """SHA-256 of its public half."""
    why: str


class ComponentAnswer(Answer):
    """A component, or a group of components, that certvigil may change, with its decision and its plans."""

    component: str
    """Its name; of the group, where it is one."""
    members: Sequence[str]
    """The components of the group; empty where it is none."""
    mode: Mode
    state: ComponentState
    inbox: str
    candidate_plan: str | None
    """The hash of the plan for the candidate in its inbox."""
    decision: DecisionAnswer | None
    """The present decision about it."""
    plan: str | None
    """The hash of the plan that waits for a person."""
    plans: Sequence[WaitingPlan]
    """All plans for it that wait, oldest first."""
    given_up: Sequence[GivenUpKey]
    """Private keys of it that never return."""
    objections: Sequence[ObjectionAnswer]
    """The reasons against its candidate."""
    approved_until: datetime | None
    frozen: str | None
    """Why nothing more is done to it."""
    last: LastAction | None
    notes: Sequence[str]
    """Remarks on its candidate, and on other writers to its files."""

    @classmethod
    def of(cls, component: ComponentStatus) -> ComponentAnswer:
        """Return the status of a component."""
        return cls(
            component=component.name,
            members=component.members,
            mode=component.mode,
            state=component.state,
            inbox=component.inbox,
            candidate_plan=component.candidate.plan or None,
            plan=component.plan or None,
            plans=list(map(WaitingPlan.of, component.waiting)),
            given_up=[GivenUpKey(spki_sha256=key, why=why) for key, why in component.given_up.items()],
            objections=[
                ObjectionAnswer(ground=ground, detail=detail) for ground, detail in component.candidate.objections
            ],
            decision=DecisionAnswer.of(component.decision) if component.decision is not None else None,
            approved_until=_moment(component.approved_until),
            frozen=component.frozen,
            last=LastAction.of(component.last) if component.last is not None else None,
            notes=[*([component.contested] if component.contested else []), *component.notes],
        )

    @classmethod
    def bare(cls, component: ComponentStatus) -> ComponentAnswer:
        """Return the status of a component where one fact cannot be shown, and say so."""
        return cls(
            component=component.name,
            members=component.members,
            mode=component.mode,
            state=component.state,
            inbox=component.inbox,
            candidate_plan=None,
            plan=None,
            plans=[],
            given_up=[],
            objections=[],
            decision=None,
            approved_until=None,
            frozen=component.frozen,
            last=None,
            notes=[_NOT_SHOWN],
        )


class Happened(Answer):
    """An entry of the history; its fields depend on its kind."""

    at: datetime
    target: str
    what: What
    sentence: str
    certificates: Sequence[str]
    """SHA-256 of each certificate presented."""
    code: str | None
    severity: str | None
    subject: str
    reason: str | None
    detail: str

    @classmethod
    def of(cls, entry: HistoryEntry) -> Happened:
        """Return the entry."""
        return cls.model_validate({**asdict(entry), "at": calendar(entry.at)})


class History(Answer):
    """Entries of the history, newest first."""

    items: Sequence[Happened]


class Configuration(Answer):
    """The configuration in force."""

    path: str
    """The file or directory by which it was named."""
    sources: Sequence[str]
    sha256: str
    loaded: datetime
    stale: bool
    """Whether the configuration on disk is another."""


class WaiverAnswer(Answer):
    """A finding that counts as a notice until a date."""

    target: str
    code: Code
    reason: str
    until: datetime


class WatchAnswer(Answer):
    """How changes of files are noticed."""

    files_looked_at: int
    """Of the first scan."""
    files_to_look_at: int
    directories_notified: int
    directories_polled: int
    polled_because: str


class NotLookedAt(Answer):
    """A UDP port that speaks no TLS."""

    address: str
    transport: Literal["udp"]
    reason: str

    @classmethod
    def of(cls, port: NotTLS) -> NotLookedAt:
        """Return the port."""
        return cls(address=join_address(port.host, port.port), transport="udp", reason=printable(port.reason))


class StatusAnswer(Answer):
    """The status of certvigil itself."""

    version: str
    host: str
    """The name of its host, as configured."""
    started: datetime
    ready: bool
    not_ready: Sequence[str]
    """The reasons why it is not ready."""
    targets: dict[Verdict, int]
    """Their number, by verdict."""
    configuration: Configuration
    watch: WatchAnswer
    waivers: Sequence[WaiverAnswer]
    """In force."""
    no_actor: str
    """Why no actor answers; empty where one does."""
    findings: Sequence[FindingAnswer]
    """About certvigil itself."""
    not_looked_at: Sequence[NotLookedAt]
    """Ports that speak no TLS."""

    @classmethod
    def of(
        cls,
        status: DaemonStatus,
        not_ready: Sequence[str],
        targets: dict[Verdict, int],
        itself: TargetState | None,
    ) -> StatusAnswer:
        """Return the status; `itself` is the state of the target `certvigil`."""
        return cls(
            version=status.version,
            host=status.host,
            started=calendar(status.started),
            ready=not not_ready,
            not_ready=not_ready,
            targets=targets,
            configuration=Configuration(
                path=printable(status.given),
                sources=status.sources,
                sha256=status.digest,
                loaded=calendar(status.loaded),
                stale=status.stale,
            ),
            watch=WatchAnswer(
                files_looked_at=status.files_looked_at,
                files_to_look_at=status.files_to_look_at,
                directories_notified=status.directories_notified,
                directories_polled=status.directories_polled,
                polled_because=status.polled_because,
            ),
            waivers=[
                WaiverAnswer(target=each.target, code=each.code, reason=each.reason, until=calendar(each.until))
                for each in status.waivers
            ],
            no_actor=status.no_actor,
            findings=[FindingAnswer.of(itself.target, each) for each in itself.findings.values()] if itself else [],
            not_looked_at=list(map(NotLookedAt.of, status.not_tls)),
        )


class Reloaded(Answer):
    """The configuration was read again, and is in force unless there are mistakes."""

    mistakes: Sequence[str]
    """Each with file, line, key and the expected value."""
