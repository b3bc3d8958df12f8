"""Requests that were refused before there was a transaction: in the journal, and so in audit and history.

Whoever asks again and again for the same makes one record a day, and of one component at most `MOST` different refusals
are recorded within `SPAN`, unless a change comes in between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from actions.ending import Cause, Ground, Outcome
from actions.journal import Event, JournalError
from actions.journal_state import DECLINED_FOR, ActionRequest
from config.text import printable
from monitor.actor.request import Document
from monitor.actor.work import Work

AGAIN: Final = DECLINED_FOR
"""Seconds after which the same refusal is recorded again."""
MOST: Final = 16
SPAN: Final = 3600.0
_NO_REFUSAL: Final = frozenset({Ground.NOTHING_TO_DO})
_OF_CANDIDATES: Final = frozenset(
    {
        *(Ground.KEY_MISMATCH, Ground.INCOMPLETE_CHAIN, Ground.WRONG_ORDER, Ground.NAMES_MISSING),
        *(Ground.NOT_VALID_NOW, Ground.TOO_SHORT, Ground.WEAK_KEY, Ground.WEAK_SIGNATURE, Ground.ISSUER_NOT_ALLOWED),
        *(Ground.NO_CLIENT_ACCEPTS, Ground.CLIENT_LOST, Ground.CANNOT_BE_SERVED, Ground.NO_CHAIN_TO_WRITE),
        *(Ground.KEY_WOULD_BE_EXPOSED, Ground.KEYSTORE_WOULD_BE_LOST, Ground.NO_CANDIDATE, Ground.INBOX_UNSAFE),
        *(Ground.NO_OFFER, Ground.MEMBER_INBOX, Ground.UNUSABLE, Ground.KEY_GIVEN_UP, Ground.LINE_NOT_EDITED),
        Ground.REVOKED,
    }
)
"""Grounds against a candidate in an inbox; the others say that a policy has to wait, which `Decided` records."""


def note_declined(work: Work, action: ActionRequest, answer: Document, why: str = "") -> None:
    """Record an answer that refuses an action, unless the same was recorded lately.

    A journal that takes no record does not change the answer.
    """
    said = _refusals(answer, work)
    if not said:
        return
    digest = hashlib.sha256(json.dumps([action.kind, work.by, said]).encode()).hexdigest()
    with suppress(JournalError, OSError):
        known = work.context.journal_state().declined
        config = work.context.config
        names = [name for name in action.components if name in config.components or name in config.changeable_stores]
        if not names or all(_is_known(known, name, digest, work.context.world.now()) for name in names):
            return
        group = config.group_of_all(names)
        # These records have a bound of their own: what is refused keeps the daemon from nothing that is not.
        work.note(
            Event.DECLINED,
            kind=action.kind,
            components=names,
            **({"group": group} if group else {}),
            by=work.by,
            why=printable(why),
            action=action.to_json(),
            handed=work.files is not None,
            outcome=Outcome.REFUSED,
            cause=Cause.OBJECTION,
            reason=printable("; ".join(": ".join(filter(None, each)) for each in said), 2000),
            grounds=[ground for ground, _ in said],
            said=digest,
        )


def _refusals(answer: Mapping[str, Any], work: Work) -> list[tuple[str, str]]:
    """Return ground and sentence of each refusal in an answer; for the daemon only those against a candidate."""
    if "cannot" in answer:
        return [("", str(answer["cannot"]))] if work.attended else []
    objections = answer.get("refused", {}).get("objections", ())
    found = [(Ground(each["ground"]), str(each["detail"])) for each in objections]
    return [
        (str(ground), detail)
        for ground, detail in found
        if ground not in _NO_REFUSAL and (work.attended or ground in _OF_CANDIDATES)
    ]


def _is_known(known: Mapping[tuple[str, str], float], component: str, digest: str, now: float) -> bool:
    """Whether a refusal is not to be recorded: it was recorded lately, or too many others were."""
    lately = {said: at for (name, said), at in known.items() if name == component}
    if digest in lately and now - lately[digest] < AGAIN:
        return True
    return sum(now - at < SPAN for at in lately.values()) >= MOST
