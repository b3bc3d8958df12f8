"""The word of an operator on trust stores of other machines, which nobody here can see: it is recorded, and counts."""

from __future__ import annotations

from actions.journal import Event
from config.text import Printable, listed, printable, sentence
from monitor.actor.documents import cannot
from monitor.actor.request import Document, Request, Verb
from monitor.actor.work import Work


def confirm(work: Work, request: Request) -> Document:
    """Record that a trust store has a root, or does not have it; raises JournalError.

    The same word once more is recorded, too: a person looked again.
    """
    (name,), root = request.components, request.key
    stores = work.context.config.trust_stores
    if name not in stores or stores[name].elsewhere is None:
        there = [printable(each.name) for each in stores.values() if each.elsewhere is not None]
        known = sentence("these are: {}", listed(there)) if there else Printable("there is none")
        why = "{} is no trust store with `elsewhere`, of which alone a person says what it holds; {}"
        return cannot(sentence(why, printable(name, 200), known))
    has = request.verb is Verb.CONFIRM
    event = Event.ROOT_CONFIRMED if has else Event.ROOT_GONE
    work.note(event, components=[name], root=root, by=work.by, why=printable(request.why))
    return {"confirmed": {"trust_store": name, "root": root, "has": has, "by": work.by}}
