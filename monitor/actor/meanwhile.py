"""The state of components that a person has seen when they ask, and its changes until their turn comes.

Whoever waits for a turn has asked about the state of before. An action that the present state gives another meaning is
refused: a second rollback would undo the first. A replacement means the same after other replacements, so that renewal
hooks that come at once each keep their certificate; it does not undo that somebody has gone back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from actions import target
from actions.ending import Ground, Outcome
from actions.journal_state import ActionRequest, RecordedEnding
from actions.plan import Kind, plan_from_json
from actions.precheck import Objection
from config.immutable import immutable
from config.text import listed, printable, sentence
from monitor.actor.context import ActorContext
from probes.judge.time import moment

_CHANGED: Final = frozenset({Outcome.COMMITTED, Outcome.FAILED_FORWARD, Outcome.SUPERSEDED})
"""Endings after which other files are in place, or in use."""
_BOUND_TO: Final[Mapping[Kind, frozenset[Kind]]] = {
    Kind.ROLLBACK: frozenset(Kind),
    Kind.ACTIVATE: frozenset({Kind.REPLACE, Kind.ROLLBACK}),
    Kind.REPLACE: frozenset({Kind.ROLLBACK}),
    Kind.TRUST: frozenset({Kind.TRUST}),
}
"""By the kind of an action: the kinds of transactions that give it another meaning."""


@immutable
class SeenState:
    """The state of the components of an action when it was asked for."""

    endings: frozenset[tuple[str, Outcome]]
    """The recent transactions, and how they ended."""
    files: Mapping[str, str]
    """SHA-256 of each file, by path; empty where a transaction was changing them, and for a replacement."""


def seen_now(context: ActorContext, action: ActionRequest) -> SeenState:
    """Return the present state of the components of an action; raises JournalError, OSError."""
    journal_state = context.journal_state()
    endings = frozenset(
        (each.transaction, each.outcome) for name in action.components for each in journal_state.recent.get(name, ())
    )
    changing = {
        name for begin in journal_state.under_way.values() for name in plan_from_json(begin.data["plan"]).components
    }
    is_compared = action.kind is not Kind.REPLACE and changing.isdisjoint(action.components)
    return SeenState(endings, _digests(context, action) if is_compared else {})


def changed_meanwhile(context: ActorContext, action: ActionRequest, before: SeenState) -> Iterator[Objection]:
    """Yield that the components are in another state than when the action was asked for; raises JournalError, OSError.

    A replacement of compromised keys goes on whatever happened.
    """
    if action.key_compromised:
        return
    ended = _ended_since(context, action, before)
    if ended:
        yield _objection(context, action, "; ".join(map(_said, ended)))
        return
    now = _digests(context, action) if before.files else {}
    if edited := sorted(path for path in before.files if now.get(path) != before.files[path]):
        yield _objection(context, action, f"{printable(', '.join(edited), 500)} by another writer than certvigil")


def _ended_since(context: ActorContext, action: ActionRequest, before: SeenState) -> list[RecordedEnding]:
    recent = context.journal_state().recent
    endings = {each.transaction: each for name in action.components for each in recent.get(name, ())}
    return [
        each
        for each in endings.values()
        if each.kind in _BOUND_TO[action.kind]
        and each.outcome in _CHANGED
        and (each.transaction, each.outcome) not in before.endings
    ]


def _said(ended: RecordedEnding) -> str:
    return printable(
        f"by the {ended.kind} for {ended.by or 'somebody'}, {ended.outcome} at {moment(ended.at)}, "
        f"transaction {ended.transaction}",
        500,
    )


def _objection(context: ActorContext, action: ActionRequest, how: str) -> Objection:
    subjects = listed(map(printable, context.config.subjects_of(action.components)))
    detail = sentence(
        "{} changed after this {} was asked for, {}: it was meant for the state before, and nothing was done. "
        "See `certvigil status` and `certvigil backups {}`, and ask again if it is still wanted",
        subjects,
        action.kind,
        printable(how, 1000),
        next(map(printable, context.config.subjects_of(action.components))),
    )
    return Objection(Ground.CHANGED_MEANWHILE, detail)


def _digests(context: ActorContext, action: ActionRequest) -> dict[str, str]:
    """Return the SHA-256 of each file of the components, by its configured path; empty for a missing file."""
    world, found = context.world, dict[str, str]()
    # Before the turn comes, the configuration may have lost a component that the request names.
    for name in filter(context.config.components.__contains__, action.components):
        for path in context.config.components[name].artefacts.files.values():
            # A file that cannot be read is among the objections to the plan.
            with suppress(OSError):
                state = target.state(world, world.resolve(path))
                found[path] = "" if state is None else state.sha256
    return found
