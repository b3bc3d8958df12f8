"""The offers that lie there: telling them, taking one out, and taking out those that nobody took in time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from actions.inbox import Inbox
from actions.journal import Event, Record
from actions.offered import OfferedFile, Way, lying_in, take_out, why_not_used
from config.fields import duration_text
from config.text import Log, Printable, harmless, listed, printable, sentence
from monitor.actor.authority import Role
from monitor.actor.context import ActorContext
from monitor.actor.documents import cannot
from monitor.actor.offers import directory_of_site, directory_of_socket
from monitor.actor.request import Document, Request
from monitor.actor.work import Work
from monitor.dialect import iso

log: Log = logging.getLogger("certvigil.actor")

_MOST_TOLD: Final = 200
"""Offers that are told with their content; of more, the number."""
_MOST_EXPIRED: Final = 1000
"""Offers that are taken out at once because their time is over."""


def list_offers(work: Work, request: Request) -> Document:
    """Tell the offers for these components, or for all, the oldest first, and why one is not used. Raises OSError."""
    found = list(_lying(work.context, request.components))
    told = [_described(work.context, subject, each) for subject, each in found[:_MOST_TOLD]]
    return {"offers": told, "more": len(found) - len(told)}


def withdraw_offer(work: Work, request: Request) -> Document:
    """Take out the one offer whose name begins so: an operator any, others their own. Raises JournalError, OSError."""
    if not request.key:
        return cannot(sentence("an offer is named by at least 8 digits: `certvigil offer --list` has them"))
    there = list(_lying(work.context, request.components))
    found = [(subject, each) for subject, each in there if each.name.startswith(request.key)]
    if len(found) != 1:
        number = Printable("more than one offer") if found else Printable("no offer")
        names = listed((harmless(each.name[:16]) for _, each in there[:_MOST_TOLD]), ", ") or Printable("none")
        return cannot(sentence("{} begins with {}; there are: {}", number, printable(request.key), names))
    ((subject, file),) = found
    if work.role is not Role.OPERATOR and work.uid != file.provenance.uid:
        return cannot(sentence("it was offered {}: an operator may withdraw it, or who brought it", _by(file)))
    about = work.context.config.members_of(subject)
    if (too_often := work.asks_too_often(about)) is not None:
        return cannot(too_often)
    record = _record(work.context, subject, file)
    reason = sentence("it was withdrawn: {}", printable(request.why)) if request.why else "it was withdrawn"
    if (why := take_out(work.context.world, file)) is not None:
        return cannot(why)
    work.note(Event.OFFER_WITHDRAWN, about, **record, by=work.by, reason=reason)
    return {"withdrawn": file.name, "component": subject}


def expire_offers(context: ActorContext) -> None:
    """Take out the offers that nobody took within their time; raises JournalError, OSError.

    The answer to a request that waits stays for as long as that.
    """
    now, lifetime = context.world.now(), context.config.settings.actor.offer_lifetime
    old = [(subject, each) for subject, each in _lying(context, ()) if now - each.provenance.at >= lifetime]
    waiting = context.journal_state().requests if old else {}
    for subject, file in old[:_MOST_EXPIRED]:
        certificates = why_not_used(context.world, file)
        if not isinstance(certificates, str) and any(each.public_key_sha256() in waiting for each in certificates):
            continue
        data = _record(context, subject, file)
        if take_out(context.world, file) is None:
            reason = sentence("nobody took it within {}", harmless(duration_text(lifetime)))
            context.transaction.journal.append(
                Record(now, "", Event.OFFER_WITHDRAWN, {**data, "by": "certvigil", "reason": reason})
            )
            log.info("an offer for %s was taken out: %s", printable(subject), reason)


def offers_among(
    context: ActorContext, components: Sequence[str], inboxes: Sequence[Inbox]
) -> Mapping[str, Mapping[str, object]]:
    """Return what is recorded of the offers among these files once they are taken out, by path. Raises OSError."""
    paths = {file.path for inbox in inboxes for file in inbox.files}
    lying = ((subject, each) for subject, each in _lying(context, components) if each.path in paths)
    return {each.path: _record(context, subject, each) for subject, each in lying}


def note_installed(work: Work, offers: Mapping[str, Mapping[str, object]]) -> None:
    """Note those of `offers_among` that are gone: their certificates are installed already. Raises JournalError."""
    reason = "its certificate is installed already"
    for path, record in offers.items():
        if not os.path.lexists(path):
            components = tuple(map(str, record["components"]))  # type: ignore[call-overload]
            work.note(Event.OFFER_WITHDRAWN, components, **record, by=work.by, reason=reason)


def counted(context: ActorContext, components: Sequence[str]) -> Document:
    """Return how many offers lie there for these components, and since when the oldest. Raises OSError."""
    found = [each.provenance.at for _, each in _lying(context, components)]
    return {"offers_waiting": {"count": len(found), "oldest": iso(min(found))}} if found else {}


def _lying(context: ActorContext, components: Sequence[str]) -> Iterator[tuple[str, OfferedFile]]:
    """Yield the offers, with the component or group that each is for."""
    config = context.config
    for subject in config.subjects_of(components or config.components):
        found = lying_in(context.world, directory_of_socket(config, subject), Way.SOCKET)
        if (directory := directory_of_site(config, subject)) is not None:
            found += lying_in(context.world, directory, Way.DIRECTORY)
        yield from ((subject, each) for each in sorted(found, key=lambda each: each.provenance.at))


def _described(context: ActorContext, subject: str, file: OfferedFile) -> Document:
    content = why_not_used(context.world, file)
    unusable = {"unusable": content} if isinstance(content, str) else {}
    certificates = () if isinstance(content, str) else content
    return {
        "offer": file.name,
        "component": subject,
        "by": file.provenance.by,
        "at": iso(file.provenance.at),
        "way": file.provenance.way,
        "certificates": [{"subject": each.subject, "sha256": each.sha256} for each in certificates],
        **unusable,
    }


def _by(file: OfferedFile) -> Printable:
    return file.provenance.sentence


def _record(context: ActorContext, subject: str, file: OfferedFile) -> Mapping[str, object]:
    """Return what is recorded of an offer that is taken out."""
    content = why_not_used(context.world, file)
    shas = [] if isinstance(content, str) else [each.sha256 for each in content]
    group = {"group": subject} if subject in context.config.groups else {}
    return {
        "components": list(context.config.members_of(subject)),
        "offer": file.name,
        "offered": file.provenance.sentence,
        "certificates": shas,
        **group,
    }
