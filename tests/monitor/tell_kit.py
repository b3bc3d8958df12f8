"""What the tests of telling share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from config.channel import Channel, Telling
from config.model import Artefacts, Component
from config.service import Service
from config.vocabulary import Code, Severity, TargetKind
from monitor.known import Known, Raised
from monitor.tell.desk import Desk
from monitor.tell.letter import Letter
from monitor.tell.mute import Transaction
from monitor.tell.problem import Member
from monitor.tell.telling import nothing_happens
from probes.certificate import Certificate
from probes.finding import Finding, finding
from tests.monitor.store_kit import LEAF

OPS = Channel("ops", ("json://ops.example.com",))
CHAT = Channel("chat", ("json://chat.example.com",))
EXPIRED = finding(Code.EXPIRED, "CN=a.example ended at 2026-11-01 00:00:00Z", "position 0")
EXPIRING = finding(Code.EXPIRING, "CN=a.example ends at 2027-01-01 00:00:00Z", "position 0")
REJECTED = finding(Code.CLIENT_REJECTS, "browser rejects it", "browser")
UNREACHABLE = finding(Code.UNREACHABLE, "timed_out: no answer within 10 s")
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
) -> Known:
    """Return what is believed of a target that is wrong in these ways."""
    return Known(
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


@dataclass
class Office:
    """A desk with someone who believes things, and keeps what was written."""

    channels: Mapping[str, Channel] = field(default_factory=lambda: {"ops": OPS})
    terms: Telling = field(default_factory=Telling)
    beliefs: dict[str, Known] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    transactions: dict[str, Transaction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desk = Desk(lambda: self.beliefs, nothing_happens, lambda: self.transactions)
        self.desk.reconfigure(self.channels, self.terms)

    def believe(self, *those: Known) -> None:
        """Believe this of these targets from now on."""
        for each in those:
            self.beliefs[each.target] = each
            self.desk.observe(each.target)

    def forget(self, targets: Iterable[str]) -> None:
        """Believe nothing of these targets any more."""
        for each in tuple(targets):
            self.beliefs.pop(each, None)
            self.desk.observe(each)

    def at(self, now: float) -> list[str]:
        """Review at that time, and return the titles of what was written."""
        written = self.desk.review(now)
        self.letters += written
        return [f"{each.channel}: {each.message.title}" for each in written]
