"""The actor's answers, as the daemon understands them: the end of an order is one of a closed list."""

from __future__ import annotations

from enum import Enum, auto

from actions.ending import Ground, Outcome
from config.immutable import immutable
from config.text import Printable, harmless, listed, sentence
from monitor.actor.request import Document


class OrderEnd(Enum):
    """How an order ended."""

    CARRIED_OUT = auto()
    """A transaction was begun; its own ending is in the journal."""
    CANNOT = auto()
    """The actor does not do it by this plan, or not now: the plan may be another by now."""
    NEEDS_A_PERSON = auto()
    """Only a person may have it done: the same order would be refused again, however often it is given."""
    NOTHING_TO_DO = auto()
    """All is as the order wants it, or its candidate is gone: somebody has seen to that meanwhile."""
    NOT_BEGUN = auto()
    """It was refused, or the actor gave no answer."""


@immutable
class OrderAnswer:
    """The actor's answer to an order."""

    end: OrderEnd
    why: Printable
    """A sentence; of no meaning where it was carried out."""


def order_answer(answer: Document | None) -> OrderAnswer:
    """Return the answer to an order; endings of earlier transactions that it tells of as well do not count."""
    return OrderAnswer(_end(answer), why_not(answer))


def _end(answer: Document | None) -> OrderEnd:
    if answer is None:
        return OrderEnd.NOT_BEGUN
    if "cannot" in answer:
        return OrderEnd.CANNOT
    if needs_a_person(answer):
        return OrderEnd.NEEDS_A_PERSON
    if is_in_place(answer) or is_gone(answer):
        return OrderEnd.NOTHING_TO_DO
    begun = "refused" not in answer and answer.get("endings")
    return OrderEnd.CARRIED_OUT if begun and begun[-1]["outcome"] != Outcome.REFUSED else OrderEnd.NOT_BEGUN


def is_in_place(answer: Document) -> bool:
    """Whether there is nothing to do: the content of an inbox is in place, or the set on disk is served."""
    objections = answer.get("refused", {}).get("objections", ())
    return Ground.NOTHING_TO_DO in {each["ground"] for each in objections}


def is_gone(answer: Document) -> bool:
    """Whether nothing speaks against an action but that its candidate is gone."""
    objections = answer.get("refused", {}).get("objections", ())
    return bool(objections) and all(each["ground"] == Ground.EMPTY_INBOX for each in objections)


def needs_a_person(answer: Document) -> bool:
    """Whether the actor has refused an action that a person may have done, and nobody else."""
    objections = answer.get("refused", {}).get("objections", ())
    return bool(objections) and all(each["ground"] == Ground.NEEDS_A_PERSON for each in objections)


def why_not(answer: Document | None) -> Printable:
    """Say why the actor did not do what it was asked for, a sentence."""
    if answer is None:
        return Printable("the actor gave no answer")
    if "cannot" in answer:
        return harmless(str(answer["cannot"]))
    if "refused" in answer:
        objections = answer["refused"]["objections"]
        each_why = (
            sentence("{}: {}", harmless(str(each["ground"])), harmless(str(each["detail"]))) for each in objections
        )
        return listed(each_why, "; ")
    if answer.get("endings"):
        return harmless(str(answer["endings"][-1]["sentence"]))
    return Printable("the answer of the actor is not understood")
