"""What the tests of notifications share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from config.channel import Channel, FindingMatch, Notifications, Silence
from config.model import Artefacts, Component
from config.service import Service
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.deliver import Message, Tone
from monitor.notify.delivery import Delivery, DeliveryFate
from monitor.notify.lifecycle import Acknowledgement, Alert
from monitor.notify.mute import ComponentTransaction
from monitor.notify.outbox import Outbox, RequestedSilence
from monitor.notify.problem import Member
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate
from probes.finding import Finding, finding
from tests.kit.store import LEAF

OPS = Channel("ops", ("json://ops.example.com",))
CHAT = Channel("chat", ("json://chat.example.com",))
EXPIRED = finding(Code.EXPIRED, Printable("CN=a.example ended at 2026-11-01 00:00:00Z"), Printable("position 0"))
EXPIRING = finding(Code.EXPIRING, Printable("CN=a.example ends at 2027-01-01 00:00:00Z"), Printable("position 0"))
UNREACHABLE = finding(Code.UNREACHABLE, Printable("timed_out: no answer within 10 s"))
PAIR = Artefacts(certificate="/etc/nginx/tls/site.crt", key="/etc/nginx/tls/site.key")
WITH_SERVICE = Component("web", PAIR, service=Service(("/usr/bin/systemctl", "restart", "nginx")))
WITHOUT_SERVICE = Component("mail", Artefacts(combined="/etc/postfix/all.pem"))


def known(
    target: str,
    *findings: Finding,
    presented: tuple[Certificate, ...] = (LEAF,),
    component: str | None = None,
    kind: TargetKind = TargetKind.ENDPOINT,
    since: float = 100.0,
    last_look: float | None = 100.0,
) -> TargetState:
    """Return what is believed of a target that is wrong in these ways."""
    return TargetState(
        target,
        kind,
        target,
        component,
        presented,
        findings={(each.code, each.subject): Raised(each, since) for each in findings},
        last_look=last_look,
    )


def member(target: str, found: Finding = EXPIRED, *, since: float = 100.0, component: str | None = None) -> Member:
    """Return a finding as part of a problem."""
    return Member(target, TargetKind.ENDPOINT, component, found, since, "CN=a.example")


def at(severity: Severity, found: Finding = EXPIRING) -> Finding:
    """Return a finding of another severity."""
    return Finding(found.code, severity, found.subject, found.detail)


def rejected(client: str) -> Finding:
    """Return that a client rejects what is served."""
    return finding(Code.CLIENT_REJECTS, sentence("{} rejects it", harmless(client)), harmless(client))


REJECTED = rejected("browser")


def nothing_happens(_: Member) -> str:
    """Say that nothing will happen by itself."""
    return ""


@dataclass
class Office:
    """An outbox with someone who believes things, and keeps what was written."""

    channels: Mapping[str, Channel] = field(default_factory=lambda: {"ops": OPS})
    terms: Notifications = field(default_factory=Notifications)
    registry: dict[str, TargetState] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    transactions: dict[str, ComponentTransaction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.registry, nothing_happens, lambda: self.transactions)
        self.outbox.reconfigure(self.channels, self.terms)

    def believe(self, *those: TargetState) -> None:
        """Believe this of these targets from now on."""
        for each in those:
            self.registry[each.target] = each
            self.outbox.observe(each.target)

    def forget(self, targets: Iterable[str]) -> None:
        """Believe nothing of these targets any more."""
        for each in tuple(targets):
            self.registry.pop(each, None)
            self.outbox.observe(each)

    def at(self, now: float) -> list[str]:
        """Review at that time, and return the titles of what was written."""
        written = self.outbox.write_due(now)
        self.deliveries += written
        return [f"{each.channel}: {each.message.title}" for each in written]


ALERT = Alert(
    "ops",
    "unreadable /a path that is no text: \udcff",
    Severity.WARNING,
    frozenset({Code.UNREADABLE, Code.EXPIRED}),
    frozenset({"/a path that is no text: \udcff", "web"}),
    1.0,
    2.0,
    3.0,
    "unreadable",
    "CN=\udcff",
    4,
    5.0,
    Acknowledgement("root (uid 0, pid 1)", 6.0, None),
    {"web": 7.0},
    {"/a path that is no text: \udcff": (8, 9.0)},
    {"web": 0.5},
    frozenset({"a client \udcff"}),
    frozenset({"web"}),
)


MESSAGE = Message("title", "text\nmore 🔒", "**text**", "brief", Tone.FAILURE)


DELIVERY = Delivery(
    "0123456789abcdef", "ops", ("01234567",), MESSAGE, 7.0, DeliveryFate.PENDING, 8, frozenset({1, 2}), "why"
)


LABELS = (("env", ("prod", "test")),)


SILENCE = RequestedSilence(
    "abcd",
    Silence(FindingMatch(("a*",), ("web",), (TargetKind.FILE,), (Code.EXPIRED,), LABELS), "why", 9.0),
    "root",
    10.0,
)
