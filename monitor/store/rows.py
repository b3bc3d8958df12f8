"""Turns events into rows, without a database: an event that was applied before, or comes late, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from monitor.state.events import (
    ActionEnded,
    Decided,
    Event,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    IdentityChanged,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.store.text import stored
from probes.certificate import Certificate
from probes.finding import Finding
from probes.observation import FileIdentity

Row = dict[str, Any]
"""Column to value."""


@dataclass(slots=True)
class Ledger:
    """The rows of one table that are true now, and their changes since they were read."""

    current: dict[Hashable, Row]
    """By subject."""
    next_id: int
    new: dict[int, Row] = field(default_factory=dict)
    changed: dict[int, Row] = field(default_factory=dict)

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
    strangers: int = 0
    """Events about targets that are not watched: they came after the target had been removed."""

    def apply(self, event: Event) -> None:
        """Apply `event` to the rows."""
        name = stored(event.target)
        if isinstance(event, TargetAdded):
            self._added(name, event)
        elif isinstance(event, Decided):
            self.decisions.begin(event.identity, _decision(event))
        elif (watched := self.targets.current.get(name)) is None:
            self.strangers += 1
        else:
            self._happened(name, watched["id"], event)

    def _happened(self, name: str | bytes, target: int, event: Event) -> None:
        match event:
            case TargetRemoved():
                self.targets.end(name, removed_at=event.at)
            case IdentityChanged():
                self.targets.amend(name, identity=_identity(event.identity))
            case PresentedChanged():
                self._presented(target, event)
            case FindingRaised() | FindingChanged():
                self._found(target, event.finding, event.at)
            case FindingCleared():
                self._cleared(target, event)
            case LookFailed():
                self._failed(target, event)
            case ActionEnded():
                self.actions.begin((target, event.at), _action(target, event))
            case LookRecovered():
                if target in self.failed_looks.current:
                    self.failed_looks.end(target, recovered_at=event.at)

    def _added(self, name: str | bytes, event: TargetAdded) -> None:
        columns: Row = {
            "kind": str(event.kind),
            "location": stored(event.location),
            "component": None if event.component is None else stored(event.component),
        }
        if name in self.targets.current:
            self.targets.amend(name, **columns)
        else:
            self.targets.begin(
                name, {"name": name, **columns, "identity": None, "added_at": event.at, "removed_at": None}
            )

    def _presented(self, target: int, event: PresentedChanged) -> None:
        certificates = json.dumps([self._certificate(each) for each in event.after])
        if target in self.presentations.current:
            if self.presentations.current[target]["certificates"] == certificates:
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

    def _found(self, target: int, finding: Finding, at: float) -> None:
        about = _about(target, finding)
        form = {"severity": str(finding.severity), "detail": stored(finding.detail)}
        before = self.findings.current.get(about)
        if before is not None:
            if form.items() <= before.items():
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

    def _cleared(self, target: int, event: FindingCleared) -> None:
        about = _about(target, event.finding)
        if about in self.findings.current:
            self.findings.end(about, cleared_at=event.at)

    def _failed(self, target: int, event: LookFailed) -> None:
        why = {"reason": stored(event.reason), "detail": stored(event.detail)}
        before = self.failed_looks.current.get(target)
        if before is not None:
            if why.items() <= before.items():
                return
            self.failed_looks.end(target, superseded_at=event.at)
        self.failed_looks.begin(
            target, {"target": target, **why, "failed_at": event.at, "superseded_at": None, "recovered_at": None}
        )


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
