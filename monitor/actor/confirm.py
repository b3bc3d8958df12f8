"""The word of an operator on trust stores of other machines, which nobody here can see: it is recorded, and counts."""

from __future__ import annotations

from actions.journal import Event
from config.likeness import perhaps
from config.model import Config
from config.text import Printable, printable, sentence
from monitor.actor.documents import cannot
from monitor.actor.request import Document, Request, Verb
from monitor.actor.work import Work


def confirm(work: Work, request: Request) -> Document:
    """Record that a trust store has a root, or does not have it; raises JournalError.

    The same word once more is recorded, too: a person looked again.
    """
    (name,), root = request.components, request.key
    if (wrong := why_not_confirmed(work.context.config, request)) is not None:
        return cannot(wrong)
    has = request.verb is Verb.CONFIRM
    event = Event.ROOT_CONFIRMED if has else Event.ROOT_GONE
    work.note(event, components=[name], root=root, by=work.by, why=printable(request.why))
    return {"confirmed": {"trust_store": name, "root": root, "has": has, "by": work.by}}


def why_not_confirmed(config: Config, request: Request) -> Printable | None:
    """Say why nobody is asked what a trust store holds, a sentence; None where a person is."""
    for name in request.components:
        store = config.trust_stores.get(name)
        if store is None:
            return sentence(
                "there is no trust store '{}'{}", printable(name, 200), perhaps(name, [*config.trust_stores])
            )
        if store.elsewhere is None:
            what = printable(name)
            return sentence("{} is seen by certvigil itself: a person says what stores with `elsewhere` hold", what)
    return None
