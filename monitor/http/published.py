"""The schema of all that commands print with `--json`, as `certvigil json-schema` publishes it.

It is made of the objects of `monitor.dialect` and of the answers of the API. A document that holds anything else does
not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field

from actions.ending import Cause, Ground, Outcome
from actions.journal import Event
from actions.offered import Way
from actions.plan import Kind
from config.guide import Language, StepKind
from config.vocabulary import (
    Code,
    EndpointProtocol,
    FileFormat,
    Integrity,
    RequestKey,
    ServerSoftware,
    Severity,
    Verdict,
    VerifierName,
)
from monitor.decide.decision import DecisionStatus
from monitor.decide.situation import Situation
from monitor.discover.lineages import LineageClient
from monitor.http.answers import (
    Answer,
    CertificateAnswer,
    ComponentAnswer,
    EntryAnswer,
    Happened,
    KeystoreAnswer,
    NegotiatedAnswer,
    ObjectionAnswer,
    StatusAnswer,
    SupportedAnswer,
    Target,
)
from monitor.http.inventory import InventoryAnswer
from monitor.http.notifications import AlertAnswer, Notification, NotificationsAnswer, SilenceAnswer
from monitor.http.planned import EffectObject, PlanObject, Published
from monitor.http.rotation import RotationAnswer
from monitor.notify.deliver import SendOutcome
from monitor.notify.explanation import Explanation
from probes.listening import ProcessPlace
from probes.verify.rules import Rule


class PublishedDocument(Published):
    """A document that a command prints."""

    version: Literal[1] = Field(alias="schema")
    """Of the shape: another number is another shape."""


class CheckedFinding(Published):
    """A fault of a target that was looked at once."""

    code: Code
    severity: Severity
    subject: str
    detail: str


class CheckedCertificate(CertificateAnswer):
    """A certificate, and the key of its issuer."""

    issuer_spki_sha256: str | None
    """Null where nobody at hand has issued it."""


class CheckedKey(Published):
    """The private key of a file's certificate."""

    where: str
    belongs: bool | None
    why: str
    """Why that is not known."""
    also: Sequence[str]
    """Other files that hold the same key."""


class CheckedRevocationList(Published):
    """A certificate revocation list."""

    issuer: str
    number: int | None
    base: int | None
    """Of a delta list: the number of the complete list that it adds to; null for a complete list."""
    this_update: datetime | None
    next_update: datetime | None
    sha256: str
    """Of the DER, hexadecimal."""
    faults: Sequence[str]
    """Why nothing may be told by it."""


class CheckedTarget(Published):
    """A target and its verdict."""

    target: str
    verdict: Verdict
    findings: Sequence[CheckedFinding]
    chain: Sequence[CheckedCertificate]
    addresses: Sequence[NegotiatedAnswer]
    format: FileFormat | None
    keystore: KeystoreAnswer | None
    revocation_lists: Sequence[CheckedRevocationList]
    key: CheckedKey | None
    supported: Sequence[SupportedAnswer] | None
    """Of each address; null where they were not asked (`--supported`)."""


class PassedOver(Published):
    """A file that was not judged."""

    path: str
    why: str


class CheckDocument(PublishedDocument):
    """`certvigil check`."""

    at: datetime
    targets: Sequence[CheckedTarget]
    passed_over: Sequence[PassedOver]


class PlanObjection(ObjectionAnswer):
    """A reason against a plan."""

    ground: Ground


class RefusedObject(Published):
    """Why there is no plan."""

    objections: Sequence[PlanObjection]
    effects: Sequence[EffectObject]


class EndingObject(Published):
    """How a transaction ended."""

    transaction: str
    outcome: Outcome
    cause: Cause
    sentence: str
    remarks: Sequence[str]


class LateObject(Published):
    """A late write to replaced files."""

    component: str
    transaction: str
    written: datetime
    files: Sequence[str]
    set: str
    sentence: str


class WaitingObject(Published):
    """A plan that waits for a person."""

    hash: str
    kind: Kind
    components: Sequence[str]
    group: str | None
    at: datetime
    approved: bool
    shown: str


class ContestedObject(Published):
    """Somebody else changes the files of a component, too."""

    sentence: str
    renewed: bool


class SetOriginObject(Published):
    """The transaction before which a backup set was copied."""

    kind: Kind
    by: str
    outcome: str
    """Empty where it has not ended."""


class BackupSetObject(Published):
    """A backup set."""

    component: str
    set: str
    taken: datetime
    default: bool
    late: bool
    files: Sequence[str]
    unusable: str
    folder: str = ""
    """The folder of another program that made it; empty for certvigil's own sets."""
    never: str = ""
    """Why it is never given back."""
    before: SetOriginObject | None = None
    """The transaction before which it was copied; null where the journal does not have it any more."""
    was_in_use: bool | None = None
    """Its files were served, or committed, before; null where that is not known."""
    on_disk: bool = False
    served: bool | None = None
    """Every endpoint presents its chain now; null where no endpoint answers."""
    next: bool = False
    """A rollback without `--to` gives it back."""
    certificate: CertificateAnswer | None = None


class StartObject(Published):
    """The command that starts a service that answers nobody."""

    component: str
    start: Sequence[str]
    activates: bool
    """`certvigil activate` runs it."""


class ProvenanceObject(Published):
    """Who offered certificates, when and how."""

    by: str
    at: datetime
    way: Way
    certificates: Sequence[str] = ()
    """SHA-256 of each."""


class OffersWaiting(Published):
    """The offers that wait for the components."""

    count: int
    oldest: datetime


class ActDocument(PublishedDocument):
    """`certvigil plan`, `replace`, `rollback`, `activate`, `approve`, `reject`, `recover`, `backups`.

    Its keys depend on the command, and on the result.
    """

    host: str = ""
    """Of the actor that answered; absent where the command did the work itself."""
    plan: PlanObject | None = None
    refused: RefusedObject | None = None
    effects: Sequence[EffectObject] = ()
    remarks: Sequence[str] = ()
    endings: Sequence[EndingObject] = ()
    waiting: Sequence[WaitingObject] = ()
    contested: Mapping[str, ContestedObject] = {}
    given_up: Mapping[str, Sequence[str]] = {}
    """SHA-256 of the public half of each key that was given up, by component."""
    not_recovered: Sequence[str] = ()
    late: Sequence[LateObject] = ()
    uncompared: Sequence[str] = ()
    approved: str = ""
    until: datetime | None = None
    expired: str = ""
    unknown: str = ""
    """Why the end of an approved plan is not known."""
    rejected: str = ""
    thawed: Sequence[str] = ()
    not_frozen: Sequence[str] = ()
    unanswered: Sequence[StartObject] = ()
    released: Sequence[str] = ()
    reinstated: Sequence[str] = ()
    kept: Sequence[str] = ()
    frozen: Mapping[str, str] = {}
    way_out: Mapping[str, str] = {}
    quarantined: Mapping[str, str] = {}
    sets: Sequence[BackupSetObject] = ()
    offered: ProvenanceObject | None = None
    offers_waiting: OffersWaiting | None = None
    """Absent where none waits."""


class RequestObject(Published):
    """A request for a certificate."""

    key: str
    """SHA-256 of its public key; empty where it is not made yet."""
    components: Sequence[str]
    group: str | None
    names: Sequence[str]
    installed: bool
    """Its key is the installed one."""
    by: str | None
    at: datetime
    until: datetime
    pem: str = ""
    """The request itself."""
    made: bool = True
    """False in a dry run."""
    expired: bool = False
    kind: RequestKey | None = None
    """The kind of the key that would be made."""


class CsrDocument(PublishedDocument):
    """`certvigil csr`."""

    host: str = ""
    csr: RequestObject | None = None
    requests: Sequence[RequestObject] = ()
    cancelled: str = ""
    """The key of the request that was withdrawn."""


class ConfirmedRoot(Published):
    """What an operator saw in a trust store of other machines."""

    trust_store: str
    root: str
    """SHA-256 of the root."""
    has: bool
    """Whether the store has it."""
    by: str


class ConfirmDocument(PublishedDocument):
    """`certvigil trust confirm`."""

    host: str = ""
    confirmed: ConfirmedRoot


class OfferedCertificate(Published):
    """A certificate of an offer."""

    subject: str
    sha256: str


class OfferObject(Published):
    """Certificates that somebody brought, which nobody has used yet."""

    offer: str
    """Its name; the first digits of it are enough to withdraw it."""
    component: str
    """The component or group that it is for."""
    by: str
    at: datetime
    way: Way
    certificates: Sequence[OfferedCertificate]
    unusable: str = ""
    """Why it is not used."""


class OfferDocument(PublishedDocument):
    """`certvigil offer`: an offer that was brought, those that wait (`--list`), or one taken out (`--withdraw`)."""

    host: str = ""
    offered: ProvenanceObject | None = None
    offers: Sequence[OfferObject] = ()
    more: int = 0
    """Offers beside these."""
    withdrawn: str = ""
    """The name of the offer that was taken out."""
    component: str = ""
    """The component or group that it was for."""


class AnchorObject(Published):
    """A certificate that a trust store is given, or loses."""

    alias: str
    """Its SHA-256 where the store has no aliases."""
    certificate: CertificateAnswer


class AnchorsObject(Published):
    """The certificates by which a change of a trust store differs."""

    added: Sequence[AnchorObject]
    removed: Sequence[AnchorObject]


class TrustChangeDocument(ActDocument):
    """`certvigil trust add`, `remove`, `restore`, `password`, `enforce`, `relax`."""

    trust: AnchorsObject | None = None


class TrustStoreObject(Published):
    """A trust store as it lies on disk."""

    name: str
    path: str
    changeable: bool
    """`certvigil trust` may change it."""
    clients: Sequence[str]
    """Those that trust it."""
    unreadable: str = ""
    """Why nothing is known of it."""
    format: FileFormat | None = None
    integrity: Integrity | None = None
    """Null where it is no keystore."""
    default_password: bool = False
    """Its password is `changeit`."""
    entries: Sequence[EntryAnswer] = ()
    faults: Sequence[str] = ()
    """Why not all of it could be read."""


class TrustListDocument(PublishedDocument):
    """`certvigil trust list`."""

    stores: Sequence[TrustStoreObject]


class StatusDocument(PublishedDocument):
    """`certvigil status`."""

    status: StatusAnswer
    targets: Sequence[Target]
    components: Sequence[ComponentAnswer]
    notifications: NotificationsAnswer
    rotation: RotationAnswer | None
    """The declared root rotation; null where none is."""


class HistoryDocument(PublishedDocument):
    """`certvigil history`."""

    entries: Sequence[Happened]


class AuditLine(Published):
    """A line of `certvigil audit`."""

    at: datetime
    transaction: str
    event: Event
    host: str = ""
    epoch: str
    sequence: int
    data: Mapping[str, Any]
    """Of the event; its times are ISO 8601, too."""


class ExplainDocument(PublishedDocument):
    """`certvigil explain`."""

    findings: Sequence[Explanation]


class TriedCertificate(Published):
    """A certificate of a path."""

    subject: str
    sha256: str
    place: str
    """Where it comes from: presented, in the trust store, or held by the client."""


class BrokenRule(Published):
    """A rule that a certificate of a path breaks."""

    rule: Rule
    position: int
    """Of the certificate in the path; 0 is the leaf."""
    detail: str
    sources: Sequence[str]
    """Where the rule is written down."""


class TriedPathObject(Published):
    """A path that a client tried."""

    accepted: bool
    certificates: Sequence[TriedCertificate]
    """The leaf first."""
    objections: Sequence[BrokenRule]


class TriedChain(Published):
    """A chain of a target, and what a client makes of it."""

    where: str
    """The addresses that present it; empty for a file."""
    accepts: bool
    why: str
    """The first objection to the best path; empty where it accepts."""
    unvalidated: str
    """Why the client connects without validation; empty where it validates."""
    paths: Sequence[TriedPathObject]


class WhyDocument(PublishedDocument):
    """`certvigil why`."""

    at: datetime
    client: str
    target: str
    names: Sequence[str]
    """For which it asks."""
    trust_store: str
    verifier: VerifierName
    is_run: bool
    """Tests hold the rules to the real program; else they are modelled alone."""
    accepts: bool
    """All chains."""
    why: str
    """The first objection to the first chain that is refused; empty where none is."""
    left_out: Sequence[str]
    """Sentences: what has no say in this verdict."""
    chains: Sequence[TriedChain]


class NotifyDocument(PublishedDocument):
    """`certvigil notify show`."""

    alerts: Sequence[AlertAnswer]
    undelivered: Sequence[Notification]
    silences: Sequence[SilenceAnswer]


class TriedUrl(Published):
    """The result of a test message."""

    url: str
    outcome: SendOutcome
    status: int | None


class NotifyTestDocument(PublishedDocument):
    """`certvigil notify test`."""

    tried: Sequence[TriedUrl]


class ReasonObject(Published):
    """A check of a policy, and why it holds or not."""

    check: str
    holds: bool
    because: str
    since: datetime | None


class DecisionObject(Published):
    """The decision of a policy about a subject."""

    subject: str
    policy: str
    action: str
    status: DecisionStatus
    waits_for: str
    case: str
    identity: str
    until: datetime | None


class TimedDecision(DecisionObject):
    """A decision, when it is taken, and why."""

    at: datetime
    reasons: Sequence[ReasonObject]


class ExplainedPolicy(Published):
    """A policy, and its decisions about a subject."""

    policy: str
    applies: bool
    why_not: str | None
    """Why it is not for the subject."""
    holds: bool
    reasons: Sequence[ReasonObject]
    reconsidered: datetime | None
    decisions: Sequence[DecisionObject]


class PolicyExplainDocument(PublishedDocument):
    """`certvigil policy explain`."""

    at: datetime
    subject: str
    policies: Sequence[ExplainedPolicy]
    situations: Sequence[Situation]
    """The input of decisions, as `--state` takes it."""


class ForeseenObject(Published):
    """A message that would be sent."""

    at: datetime
    channel: str
    title: str


class PolicyTestDocument(PublishedDocument):
    """`certvigil policy test`."""

    since: datetime = Field(alias="from")
    to: datetime
    timeline: Sequence[TimedDecision]
    messages: Sequence[ForeseenObject]


class TopicEntry(Published):
    """A topic of `certvigil guide`."""

    topic: str
    title: str
    applies: bool
    why_not: str
    """Empty where it applies."""


class GuideStep(Published):
    """A step of a runbook."""

    kind: StepKind
    text: str
    language: Language | None
    """Null where there are no lines."""
    lines: Sequence[str]
    """Commands, or lines of a file."""


class GuideProof(Published):
    """A command that proves the result."""

    command: Sequence[str]
    exit: int | None
    """Null where any will do."""
    prints: Sequence[str]
    """Texts in its output."""
    means: str


class GuideDocument(PublishedDocument):
    """`certvigil guide`: a topic, or the list of topics."""

    topics: Sequence[TopicEntry] = ()
    topic: str = ""
    title: str = ""
    about: Sequence[str] = ()
    steps: Sequence[GuideStep] = ()
    proof: Sequence[GuideProof] = ()
    left_out: Sequence[str] = ()
    """Facts that are not known here."""


class ExportDocument(PublishedDocument):
    """`certvigil export`."""

    directory: str
    files: Sequence[str]
    certificates: Sequence[CertificateAnswer]
    remarks: Sequence[str]


class DiscoveredPort(Published):
    """An open TCP port."""

    address: str
    """`0.0.0.0` or `::` for every one."""
    port: int
    protocol: EndpointProtocol | None
    """Null where it has shown no TLS."""
    proxy_protocol: bool
    server: ServerSoftware | None
    process: int | None
    program: str
    unit: str | None
    place: ProcessPlace
    sha256: str | None
    """Of the certificate that it presents."""
    files: Sequence[str]
    """Those that hold this certificate."""


class DiscoveredCertificate(Published):
    """A certificate that the configuration of a server names."""

    server: ServerSoftware
    certificate: str
    key: str | None
    chain: str | None
    named_by: str
    names: Sequence[str]
    sha256: str | None
    unit: str | None
    served_at: Sequence[str]
    differs_at: Sequence[str]
    """Addresses that present another certificate."""
    component: str | None
    """Its name in the configuration that `--out` writes."""
    only_watched: Sequence[str]
    """Why certvigil may not change it."""


class DiscoveredLineage(Published):
    """A certificate that a client of a CA renews."""

    client: LineageClient
    certificate: str


class NotUnderstoodObject(Published):
    """A statement in a configuration that is not understood."""

    server: ServerSoftware
    file: str
    why: str


class DiscoverDocument(PublishedDocument):
    """`certvigil discover`."""

    at: datetime
    ports: Sequence[DiscoveredPort]
    certificates: Sequence[DiscoveredCertificate]
    lineages: Sequence[DiscoveredLineage]
    stores: Sequence[str]
    not_understood: Sequence[NotUnderstoodObject]
    not_seen: Sequence[str]
    not_written: Sequence[str]


class CheckObject(Published):
    """A check of `certvigil doctor`."""

    area: str
    """Such as users, permissions or clock."""
    health: Literal["ok", "problem", "unknown"]
    what: str
    to_do: str | None


class DoctorDocument(PublishedDocument):
    """`certvigil doctor`."""

    problems: int
    checks: Sequence[CheckObject]


PUBLISHED: Final[Mapping[str, type[Answer]]] = MappingProxyType(
    {
        "check": CheckDocument,
        "status": StatusDocument,
        "inventory": InventoryAnswer,
        "discover": DiscoverDocument,
        "doctor": DoctorDocument,
        "history": HistoryDocument,
        "audit": AuditLine,
        **dict.fromkeys(
            ("plan", "replace", "rollback", "reset-to-default", "activate", "approve", "reject", "recover", "backups"),
            ActDocument,
        ),
        "csr": CsrDocument,
        "offer": OfferDocument,
        "rotate": RotationAnswer,
        "trust list": TrustListDocument,
        "trust confirm": ConfirmDocument,
        **{
            f"trust {each}": TrustChangeDocument
            for each in ("add", "remove", "restore", "password", "enforce", "relax")
        },
        "explain": ExplainDocument,
        "why": WhyDocument,
        "guide": GuideDocument,
        "export": ExportDocument,
        "notify show": NotifyDocument,
        "notify test": NotifyTestDocument,
        "policy explain": PolicyExplainDocument,
        "policy test": PolicyTestDocument,
    }
)


def json_schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema of a command's output with `--json`."""
    return PUBLISHED[command].model_json_schema(mode="serialization")
