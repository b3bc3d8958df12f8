"""The actor's answers as plain values, in the dialect of `monitor.dialect`; no content of any file is among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from actions.audit import summary
from actions.backup import BackupSet
from actions.component_files import WITH_KEY
from actions.ending import Ending
from actions.journal import Event, Record
from actions.journal_state import JournalState, Proposal, RecordedEnding
from actions.late import Compared
from actions.offered import Provenance
from actions.orphan import OrphanFate
from actions.plan import Change, Plan, candidate_of
from actions.precheck import why_rejected
from actions.prepare import Prepared, RefusedPlan
from actions.recover import left_to_others
from actions.rehearse import Effect
from actions.service import commands_of
from config.model import Config
from config.service import Service
from config.text import Printable, listed, printable, sentence
from config.vocabulary import Code
from monitor.actor.context import ActorContext
from monitor.actor.follow import for_daemon
from monitor.actor.request import Document
from monitor.actor.set_facts import SetFacts
from monitor.actor.work import Work
from monitor.dialect import CertificateObject, certificate_object, dated, iso, iso_exactly, verdict_object
from probes.certificate import Certificate
from probes.finding import Edge
from probes.judge.time import moment

WAITS: Final = "waits"
"""Told like a step of a transaction, before its first."""


def cannot(why: Printable) -> Document:
    """Return the answer to a request that makes no sense or is not allowed, with a sentence."""
    return {"cannot": why}


def record_document(record: Record, *, to_operator: bool) -> Document:
    """Return a record of the journal for a reader who computes with its times: `follow.record_of` reads it.

    The daemon gets it without the hashes of whole files, which may be files of private keys.
    """
    plain = summary(record)
    return {"record": dated(plain if to_operator else for_daemon(plain), iso_exactly)}


def step_document(record: Record) -> Document:
    """Return a step of a transaction for a reader who watches it.

    It says where no configuration was tested, and as "waited" that a command of an earlier transaction was waited for
    or ended, a sentence. Of a validation, it has the kind of transaction, the clients that were lost as planned,
    whether any endpoint answered ("seen"), and the names of the endpoints that did not ("unseen").
    """
    untested = {"tested": False} if record.data.get("tested") is False else {}
    waited = record.event is Event.COMMAND_OVER and record.data["fate"] != OrphanFate.GONE
    said = {"waited": printable(str(record.data["reason"]), 500)} if waited else {}
    proved = {
        key: record.data[key]
        for key in ("kind", "lost", "seen", "unseen")
        if record.event is Event.VALIDATED and key in record.data
    }
    return {"event": record.event, "at": iso(record.at), **untested, **said, **proved}


def waits_document(act: str, at: float) -> Document:
    """Return, in place of a step, that a request waits for its turn."""
    return {"event": WAITS, "at": iso(at), "act": act}


def made_document(made: Prepared | RefusedPlan, services: Mapping[str, Service]) -> Document:
    """Return the plan, or why there is none."""
    if isinstance(made, RefusedPlan):
        objections = [{"ground": each.ground, "detail": each.detail} for each in made.objections]
        refused = {"objections": objections, "effects": _effects(made.effects)}
        return {"refused": refused, **({"remarks": list(made.remarks)} if made.remarks else {})}
    plan = made.order.plan
    return {
        "plan": {
            "hash": plan.hash,
            "about": about(made),
            "candidate": candidate_of(plan.changes),
            "kind": plan.kind,
            "components": list(plan.components),
            "group": plan.group or None,
            "changes": _changes(plan),
            "certificates": [
                {"component": name, "before": _leaf(before), "after": _leaf(after)}
                for name, (before, after) in made.leaves.items()
            ],
            "commands": [
                {"component": name, "command": list(command)}
                for name, service in _services(plan, services)
                for command in commands_of(service)
            ],
            "expected_losses": list(plan.expected_losses),
        },
        "effects": _effects(made.effects),
        "remarks": list(made.remarks),
        **({} if made.offer is None else {"offered": provenance_document(made.offer.provenance)}),
        **({"folders": list(made.folders)} if made.folders else {}),
    }


_TITLE: Final = 120
"""Characters of a subject."""


def about(made: Prepared) -> Printable:
    """Return what a plan gives to which components, from whom, and what is lost: a sentence without an end."""
    plan = made.order.plan
    given: dict[Certificate, list[str]] = {}
    for name, (_, new) in made.leaves.items():
        given.setdefault(new, []).append(name)
    said = [_gives(names, new) for new, names in given.items()]
    said += [made.origin] if made.origin else []
    sets = dict.fromkeys(made.backup_sets.values())
    said += [sentence("of the set {}", listed(map(printable, sets)))] if sets else []
    lost = listed(map(printable, plan.expected_losses))
    said += [sentence("loses {}", lost)] if lost else []
    return listed(said, "; ")


def _gives(names: Sequence[str], new: Certificate) -> Printable:
    ends = Printable("an unknown time") if new.not_after is None else moment(new.not_after)
    named = listed(printable(each, 80) for each in new.names[:3])
    return sentence(
        "{}: {}{}, until {}, issued by {}, sha256 {}",
        listed(map(printable, names)),
        printable(new.title, _TITLE),
        sentence(" for {}", named) if named else Printable(""),
        ends,
        printable(new.issuer, _TITLE),
        new.short_sha256,
    )


def provenance_document(of: Provenance) -> Document:
    """Return who offered a certificate, when and how."""
    return {"by": of.by, "at": iso(of.at), "way": of.way}


def plan_document(work: Work, made: Prepared | RefusedPlan | Printable) -> Document:
    """Return the answer with a plan, or with why there is none."""
    if isinstance(made, str):
        return cannot(made)
    document = made_document(made, work.context.transaction.services)
    return document if work.attended else without_keys(document, _files_with_keys(work.context.config))


def _files_with_keys(config: Config) -> frozenset[str]:
    files = (each.artefacts.files for each in config.components.values())
    return frozenset(printable(each[role]) for each in files for role in WITH_KEY if role in each)


def without_keys(made: Document, paths: Collection[str]) -> Document:
    """Return the answer with no hash of the files at these paths, as configured, before or after: they hold keys."""
    if "plan" not in made:
        return made
    changes = [
        _unhashed(each) if (each["given"] or each["path"]) in paths else each for each in made["plan"]["changes"]
    ]
    return {**made, "plan": {**made["plan"], "changes": changes}}


def _unhashed(change: Document) -> Document:
    return {**change, **{name: {**change[name], "sha256": ""} for name in ("before", "after") if change[name]}}


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


def _leaf(leaf: Certificate | None) -> CertificateObject | None:
    return None if leaf is None else certificate_object(leaf)


def _effects(effects: Iterable[Effect]) -> list[Document]:
    return [
        {
            **verdict_object(each.after.client, each.endpoint, each.after.accepted, _why(each.after)),
            "accepted_before": None if each.before is None else each.before.accepted,
            "unvalidated": _is_unvalidated(each.after),
            "unvalidated_before": each.before is not None and _is_unvalidated(each.before),
            "lost": each.lost,
        }
        for each in effects
    ]


def _why(after: Edge) -> str:
    """Return why a client rejects what is planned; nobody is told to trust it because it vouches for itself."""
    vouches_for_itself = after.cause is not None and after.cause.code is Code.SELF_SIGNED
    return why_rejected(after) if vouches_for_itself else after.why


def _is_unvalidated(edge: Edge) -> bool:
    """Whether a client connects only since it does not validate, or by a configuration that turns validation off."""
    return edge.accepted and bool(edge.why or edge.unvalidated)


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
    """Return the transactions of other processes, as a part of an answer: sentences; none where nothing is."""
    found = [each.sentence for each in recovered if left_to_others(each)]
    return {"not_recovered": found} if found else {}


def late_document(compared: Compared) -> Document:
    """Return late writes to replaced files, as a part of an answer; none where nobody did."""
    found = [
        {
            "component": each.component,
            "transaction": each.transaction,
            "written": iso(each.written),
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
        "taken": iso(of.at),
        "default": of.pinned,
        "late": of.late,
        "files": [printable(copy.path) for copy in of.copies if copy.name is not None],
        "folder": printable(of.folder),
    }


def facts_document(facts: SetFacts) -> Document:
    """Return the facts about a backup set."""
    origin = facts.origin
    return {
        "before": None if origin is None else asdict(origin),
        "was_in_use": facts.was_in_use,
        "on_disk": facts.is_on_disk,
    }


def waiting_document(of: Proposal, journal_state: JournalState) -> Document:
    """Return a plan that waits for a person, with its difference from others."""
    return {
        "hash": of.plan,
        "kind": of.action.kind,
        "components": list(of.action.components),
        "group": of.group or None,
        "at": iso(of.at),
        "approved": of.plan in journal_state.approved,
        "shown": of.shown,
    }


def ended_document(ended: RecordedEnding) -> Document:
    """Return how something ended, as the journal has it."""
    return {**ended.facts(), "at": iso(ended.at), "plan": ended.plan, "group": ended.group or None}


def state_document(context: ActorContext, suspicion: str | None) -> Document:
    """Return the state of every component, and all that waits for a person; `suspicion` is of the clock."""
    journal_state = context.journal_state()
    components = {
        name: {
            "mode": component.mode,
            "frozen": journal_state.frozen.get(name),
            "last": ended_document(journal_state.last[name]) if name in journal_state.last else None,
        }
        for name, component in context.config.components.items()
        if component.service is not None
    }
    return {
        "components": components,
        "groups": {name: list(each.members) for name, each in context.config.groups.items()},
        "proposals": {
            plan: {"action": each.action.to_json(), **waiting_document(each, journal_state)}
            for plan, each in journal_state.proposals.items()
        },
        "given_up": {key: {**asdict(each), "at": iso(each.at)} for key, each in journal_state.given_up.items()},
        "quarantined": journal_state.quarantined,
        "aside": [
            {"component": file.component, "path": printable(file.path), "until": iso(each.until)}
            for each in journal_state.aside.values()
            for file in each.files
        ],
        "under_way": list(journal_state.unfinished),
        "clock": suspicion,
    }
