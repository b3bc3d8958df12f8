"""Turns events into rows, without a database: an event that was applied before, or comes late, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final

from config.model import DAY
from monitor.state.events import (
    ActionEnded,
    Decided,
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    KeptVerdict,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.store.text import restored, stored, supported_text
from probes.certificate import Certificate
from probes.finding import Finding
from probes.observation import FileIdentity

Row = dict[str, Any]
"""Column to value."""
MOST_PRESENTATIONS: Final = 24
"""Presentations of a target that begin and end within a day, and are kept: a peer can present 100 KiB each time."""
MOST_CHANGES: Final = 240
"""The same for its findings and its failed looks together, and for the decisions about it."""


@dataclass(slots=True)
class Ledger:
    """The rows of one table that are true now, and their changes since they were read."""

    current: dict[Hashable, Row]
    """By subject."""
    next_id: int
    new: dict[int, Row] = field(default_factory=dict)
    changed: dict[int, Row] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def begin(self, about: Hashable, row: Row) -> None:
        """Add a row that is true from now on."""
        self.current[about] = self.new[self.next_id] = {"id": self.next_id, **row}
        self.next_id += 1

    def amend(self, about: Hashable, **columns: object) -> None:
        """Change the row that is true now."""
        row = self.current[about]
        row.update(columns)
        if row["id"] not in self.new:
            self.changed[row["id"]] = row

    def end(self, about: Hashable, **columns: object) -> None:
        """Change the row that is true now into one that no longer is."""
        self.amend(about, **columns)
        del self.current[about]

    def drop(self, about: Hashable) -> None:
        """Keep nothing of the row that is true now."""
        row = self.current.pop(about)
        self.changed.pop(row["id"], None)
        if self.new.pop(row["id"], None) is None:
            self.gone.add(row["id"])


@dataclass(slots=True)
class Rows:
    """The records of some targets that are true now, and their changes by events."""

    certificates: Ledger
    """By SHA-256."""
    targets: Ledger
    """By name."""
    presentations: Ledger
    """By the target's row."""
    findings: Ledger
    """By the target's row, code and subject."""
    failed_looks: Ledger
    """By the target's row."""
    actions: Ledger
    """Of this batch, by the target's row and the moment: they are only ever added."""
    decisions: Ledger
    """Of this batch, by identity: they are only ever added."""
    days: Ledger
    """By the name of a target, or of the subject of decisions, and the number of a day."""
    strangers: int = 0
    """Events about targets that are not watched: they came after the target had been removed."""
    left_out: int = 0
    """Changes that are not kept, because too many of that target were on that day: only what is true now is."""
    restless: list[str] = field(default_factory=list)
    """The targets of which the first change was left out."""
    replaced: set[int] = field(default_factory=set)
    """Certificates whose presentation is not kept: perhaps nothing refers to them any more."""

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """Those of all tables, as declared above."""
        return (
            *(self.certificates, self.targets, self.presentations, self.findings),
            *(self.failed_looks, self.actions, self.decisions, self.days),
        )

    def apply(self, event: StateEvent) -> None:
        """Apply `event` to the rows."""
        name = stored(event.target)
        if isinstance(event, TargetAdded):
            self._added(name, event)
        elif isinstance(event, Decided):
            if self._is_kept(name, "others", event.at, event.at):
                self.decisions.begin(event.identity, _decision(event))
        elif (watched := self.targets.current.get(name)) is None:
            self.strangers += 1
        else:
            self._happened(name, watched["id"], event)

    def _happened(self, name: str | bytes, target: int, event: StateEvent) -> None:
        match event:
            case TargetRemoved():
                self.targets.end(name, removed_at=event.at)
            case SupportedChanged():
                self.targets.amend(name, supported=supported_text(event.supported))
            case FileJudged():
                self.targets.amend(name, identity=_identity(event.identity), verdict=_verdict(event.verdict))
            case PresentedChanged():
                self._presented(name, target, event)
            case FindingRaised() | FindingChanged():
                self._found(name, target, event.finding, event.at)
            case FindingCleared():
                self._cleared(name, target, event)
            case LookFailed():
                self._failed(name, target, event)
            case ActionEnded():
                self.actions.begin((target, event.at), _action(target, event))
            case LookRecovered():
                self._recovered(name, target, event)

    def _is_kept(self, name: str | bytes, kind: str, began: float, at: float) -> bool:
        """Whether a row that began at Unix time `began` is kept once it is true no longer, at `at`; counts it.

        Rows of earlier days are: each day begins few of them. So whoever changes at each look fills nothing.
        """
        day = int(at // DAY)
        if began < day * DAY:
            return True
        about = (name, day)
        if about not in self.days.current:
            self.days.begin(about, {"name": name, "day": day, "presentations": 0, "others": 0, "left_out": 0, "at": at})
        counted = self.days.current[about]
        if counted[kind] < _MOST[kind]:
            self.days.amend(about, **{kind: counted[kind] + 1})
            return True
        if not counted["left_out"]:
            self.restless.append(restored(name))
        self.days.amend(about, left_out=counted["left_out"] + 1, at=at)
        self.left_out += 1
        return False

    def _added(self, name: str | bytes, event: TargetAdded) -> None:
        columns: Row = {
            "kind": str(event.kind),
            "location": stored(event.location),
            "component": None if event.component is None else stored(event.component),
        }
        if name in self.targets.current:
            self.targets.amend(name, **columns)
        else:
            times: Row = {"added_at": event.at, "removed_at": None}
            known: Row = {"identity": None, "verdict": None, "supported": None}
            self.targets.begin(name, {"name": name, **columns, **times, **known})

    def _presented(self, name: str | bytes, target: int, event: PresentedChanged) -> None:
        certificates = json.dumps([self._certificate(each) for each in event.after])
        before = self.presentations.current.get(target)
        if before is not None:
            if before["certificates"] == certificates:
                return
            if not self._is_kept(name, "presentations", before["since"], event.at):
                self.replaced.update(json.loads(before["certificates"]))
                self.presentations.amend(target, certificates=certificates, since=event.at)
                return
            self.presentations.end(target, until=event.at)
        self.presentations.begin(
            target, {"target": target, "certificates": certificates, "since": event.at, "until": None}
        )

    def _certificate(self, state: Certificate) -> int:
        if state.sha256 not in self.certificates.current:
            self.certificates.begin(state.sha256, _certificate_columns(state))
        row: int = self.certificates.current[state.sha256]["id"]
        return row

    def _found(self, name: str | bytes, target: int, finding: Finding, at: float) -> None:
        about = _about(target, finding)
        form = {"severity": str(finding.severity), "detail": stored(finding.detail)}
        before = self.findings.current.get(about)
        if before is not None:
            if form.items() <= before.items():
                return
            if not self._is_kept(name, "others", _began(before, "changed_at", "raised_at"), at):
                self.findings.amend(about, **form, changed_at=at)
                return
            self.findings.end(about, superseded_at=at)
        self.findings.begin(
            about,
            {
                "target": target,
                "code": str(finding.code),
                "subject": stored(finding.subject),
                **form,
                "raised_at": before["raised_at"] if before else at,
                "changed_at": at if before else None,
                "superseded_at": None,
                "cleared_at": None,
            },
        )

    def _cleared(self, name: str | bytes, target: int, event: FindingCleared) -> None:
        about = _about(target, event.finding)
        before = self.findings.current.get(about)
        if before is None:
            return
        if self._is_kept(name, "others", _began(before, "changed_at", "raised_at"), event.at):
            self.findings.end(about, cleared_at=event.at)
        else:
            self.findings.drop(about)

    def _failed(self, name: str | bytes, target: int, event: LookFailed) -> None:
        why = {"reason": stored(event.reason), "detail": stored(event.detail)}
        before = self.failed_looks.current.get(target)
        if before is not None:
            if why.items() <= before.items():
                return
            if not self._is_kept(name, "others", before["failed_at"], event.at):
                self.failed_looks.amend(target, **why, failed_at=event.at)
                return
            self.failed_looks.end(target, superseded_at=event.at)
        self.failed_looks.begin(
            target, {"target": target, **why, "failed_at": event.at, "superseded_at": None, "recovered_at": None}
        )

    def _recovered(self, name: str | bytes, target: int, event: LookRecovered) -> None:
        before = self.failed_looks.current.get(target)
        if before is None:
            return
        if self._is_kept(name, "others", before["failed_at"], event.at):
            self.failed_looks.end(target, recovered_at=event.at)
        else:
            self.failed_looks.drop(target)


_MOST: Final = {"presentations": MOST_PRESENTATIONS, "others": MOST_CHANGES}


def _began(row: Row, *columns: str) -> float:
    """Return the first of these times that a row has."""
    return next(float(row[each]) for each in columns if row[each] is not None)


def _certificate_columns(state: Certificate) -> Row:
    return {
        "sha256": state.sha256,
        "der": state.der,
        "subject": state.subject,
        "issuer": state.issuer,
        "serial": state.serial,
        "not_before": state.not_before,
        "not_after": state.not_after,
        "names": "\n".join(state.names),
        "key_kind": str(state.key.kind),
        "key_bits": state.key.bits,
        "signature_hash": state.signature_hash,
        "is_ca": state.is_ca,
        "self_issued": state.self_issued,
        "failures": "\n".join(state.failures),
        "is_whole": state.is_strict and not state.encoding_faults and state.reencoded is None,
    }


def _action(target: int, event: ActionEnded) -> Row:
    facts = {name: stored(str(fact)) for name, fact in event.ending.facts().items()}
    return {"target": target, "ended_at": event.at, **facts}


def _decision(event: Decided) -> Row:
    return {
        "subject": stored(event.target),
        "decided_at": event.at,
        "policy": event.policy,
        "action": event.action,
        "status": event.status,
        "identity": event.identity,
        "reasons": stored("\n".join(event.reasons)),
        "waits_for": stored(event.waits_for),
    }


def _about(target: int, finding: Finding) -> Hashable:
    return target, str(finding.code), stored(finding.subject)


def _identity(identity: FileIdentity | None) -> str | None:
    if identity is None:
        return None
    return json.dumps([identity.device, identity.inode, identity.mtime_ns, identity.ctime_ns, identity.size])


def _verdict(verdict: KeptVerdict | None) -> str | None:
    if verdict is None:
        return None
    return json.dumps([verdict.rules, verdict.since, verdict.until, verdict.expiry])
