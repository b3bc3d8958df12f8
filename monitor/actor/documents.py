"""What the actor answers, as plain values; so does a command that acts itself. No content of any file is among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Final

from actions.backup import BackupSet
from actions.ending import Ending
from actions.journal import Record
from actions.journal_state import JournalState, Proposal, RecordedEnding
from actions.late import Compared
from actions.plan import Change, Plan, candidate_of
from actions.prepare import Prepared, RefusedPlan
from actions.recover import left_to_others
from actions.rehearse import Effect
from actions.service import steps
from config.service import Service
from config.text import printable
from monitor.actor.request import Document
from probes.certificate import Certificate

WAITS: Final = "waits"
"""Told like a step of a transaction, before its first."""


def cannot(why: str) -> Document:
    """Return the answer to what makes no sense or is not allowed, a sentence."""
    return {"cannot": why}


def step_document(record: Record) -> Document:
    """Return a step of a transaction, for whoever watches; with whether something was tested, where nothing was."""
    untested = {"tested": False} if record.data.get("tested") is False else {}
    return {"event": record.event, "at": record.at, **untested}


def waits_document(act: str, at: float) -> Document:
    """Return, in place of a step, that a request waits for its turn."""
    return {"event": WAITS, "at": at, "act": act}


def made_document(made: Prepared | RefusedPlan, services: Mapping[str, Service]) -> Document:
    """Return what would be done, or why it would not."""
    if isinstance(made, RefusedPlan):
        objections = [{"ground": each.ground, "detail": each.detail} for each in made.objections]
        return {"refused": {"objections": objections, "effects": _effects(made.effects)}}
    plan = made.order.plan
    return {
        "plan": {
            "hash": plan.hash,
            "candidate": candidate_of(plan.changes),
            "kind": plan.kind,
            "components": list(plan.components),
            "changes": _changes(plan),
            "certificates": [
                {"component": name, "before": _leaf(before), "after": _leaf(after)}
                for name, (before, after) in made.leaves.items()
            ],
            "commands": [
                {"component": name, "command": list(command)}
                for name, service in _services(plan, services)
                for command in steps(service)
            ],
            "expected_losses": list(plan.expected_losses),
        },
        "effects": _effects(made.effects),
        "remarks": list(made.remarks),
    }


def without_keys(made: Document, paths: Collection[str]) -> Document:
    """Return the answer with no hash of what the files at these paths, as configured, hold now: they may be keys."""
    if "plan" not in made:
        return made
    changes = [
        _unhashed(each) if (each["given"] or each["path"]) in paths else each for each in made["plan"]["changes"]
    ]
    return {**made, "plan": {**made["plan"], "changes": changes}}


def _unhashed(change: Document) -> Document:
    hidden = [name for name in ("before", "after") if change[name] and (name == "before" or not change["changes"])]
    return {**change, **{name: {**change[name], "sha256": ""} for name in hidden}}


def _services(plan: Plan, services: Mapping[str, Service]) -> Iterator[tuple[str, Service]]:
    """Yield the services of a plan, each once, with the first of the components that have it."""
    seen: set[Service] = set()
    for name in plan.components:
        if name in services and services[name] not in seen:
            seen.add(services[name])
            yield name, services[name]


def _changes(plan: Plan) -> list[Document]:
    return [{**asdict(each), **_paths(each), "changes": each.before != each.after} for each in plan.changes]


def _paths(change: Change) -> Document:
    return {"path": printable(change.path), "given": printable(change.given)}


def _leaf(leaf: Certificate | None) -> Document | None:
    if leaf is None:
        return None
    return {
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "names": list(leaf.names),
        "not_after": leaf.not_after,
        "key": str(leaf.key),
        "sha256": leaf.sha256,
    }


def _effects(effects: Iterable[Effect]) -> list[Document]:
    return [
        {
            "client": each.after.client,
            "endpoint": each.endpoint,
            "accepted_before": None if each.before is None else each.before.accepted,
            "accepts_after": each.after.accepted,
            "lost": each.lost,
            "why": each.after.why,
        }
        for each in effects
    ]


def endings_document(endings: Iterable[Ending]) -> Document:
    """Return how transactions ended."""
    return {"endings": [ending_document(each) for each in endings]}


def ending_document(ending: Ending) -> Document:
    """Return how a transaction ended, with the whole sentence and its remarks."""
    return {
        "transaction": ending.transaction,
        "outcome": ending.outcome,
        "cause": ending.cause,
        "sentence": ending.sentence,
        "remarks": list(ending.remarks),
    }


def busy_document(recovered: Iterable[Ending]) -> Document:
    """Return what another process is at work on, as a part of an answer: sentences; none where nothing is."""
    found = [each.sentence for each in recovered if left_to_others(each)]
    return {"not_recovered": found} if found else {}


def late_document(compared: Compared) -> Document:
    """Return what somebody wrote to files that had been replaced, as a part of an answer; none where nobody did."""
    found = [
        {
            "component": each.component,
            "transaction": each.transaction,
            "written": each.written,
            "files": [*map(printable, each.paths)],
            "set": each.backup_set,
            "sentence": each.sentence,
        }
        for each in compared.late
    ]
    return ({"late": found} if found else {}) | ({"uncompared": [*compared.troubles]} if compared.troubles else {})


def set_document(of: BackupSet) -> Document:
    """Return a backup set."""
    return {
        "component": of.component,
        "set": of.transaction,
        "taken": of.at,
        "default": of.pinned,
        "late": of.late,
        "files": [printable(copy.path) for copy in of.copies],
    }


def waiting_document(of: Proposal, journal_state: JournalState) -> Document:
    """Return a plan that waits for a person, with what tells it from others."""
    return {
        "hash": of.plan,
        "kind": of.action.kind,
        "components": list(of.action.components),
        "at": of.at,
        "approved": of.plan in journal_state.approved,
        "shown": of.shown,
    }


def ended_document(ended: RecordedEnding) -> Document:
    """Return how something ended, as the journal has it."""
    return {
        "transaction": ended.transaction,
        "action": ended.kind,
        "outcome": ended.outcome,
        "cause": ended.cause,
        "reason": ended.reason,
        "by": ended.by,
        "at": ended.at,
        "plan": ended.plan,
    }
