"""An attempt to carry something out: what comes before its plan, how it answers, and when it is made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Self

from actions.ending import Ending
from actions.journal_state import ActionRequest
from actions.late import Compared, look_again
from actions.lock import Busy, await_others
from actions.plan import Order
from actions.recover import left_to_others, recover
from actions.transaction_state import TransactionContext
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from monitor.actor.documents import busy_document, cannot, endings_document, late_document
from monitor.actor.request import Document
from monitor.actor.work import Work

_LONGEST_WAIT: Final = 600.0
"""Seconds for which a person waits for another process: that has time limits of its own."""
_MOST: Final = 10
"""Attempts of a person's command that finds another process at work again when it begins."""

Answered = tuple[Document, Ending | None]
"""The answer, and the ending of the transaction if it came to one."""


@immutable
class Preparation:
    """What was found and done before the plan is made, and the answers that tell it."""

    busy: Document | None
    """The answer where another process is still at work."""
    earlier: Sequence[Ending]
    """The endings of interrupted transactions."""
    beside: Document
    """Parts of every answer."""

    @classmethod
    def begun(cls, work: Work, action: ActionRequest, transaction: TransactionContext) -> Self:
        """Wait for others where a person does, then finish or undo interrupted transactions, and look for late writes.

        Raises JournalError, OSError.
        """
        busy = _others_at_work(work, action) if work.attended else None
        leftovers, compared = _attend_to_leftovers(work, transaction)
        return cls(
            None if busy is None else cannot(sentence("{}: ask again", harmless(busy.sentence))),
            [each for each in leftovers if not left_to_others(each)],
            {**busy_document(leftovers), **late_document(compared)},
        )

    def declined(self, said: Document) -> Answered:
        """Return an answer to what was asked for at the wrong time, or of a plan that is another."""
        return {**said, **self.beside}, None

    def refused(self, document: Document) -> Answered:
        """Return the answer of a plan that cannot be had or carried out."""
        return {**(endings_document(self.earlier) if self.earlier else {}), **document, **self.beside}, None

    def ended(self, document: Document, ending: Ending) -> Answered:
        """Return the answer of a plan whose transaction ended."""
        return {**document, **endings_document([*self.earlier, ending]), **self.beside}, ending


def why_another_plan(wanted: str, order: Order) -> Printable | None:
    """Say that a plan is not the one with the hash `wanted`; None where it is, and where none is wanted."""
    if wanted in {"", order.plan.hash}:
        return None
    this = printable(order.plan.hash)
    return sentence("this plan is {}, not the one that was asked for: look at it again", this)


def attempted(work: Work, attempt: Callable[[], Answered]) -> Answered:
    """Return what an attempt answers; a person's is made again where another process began meanwhile."""
    for _ in range(_MOST if work.attended else 1):
        answer, ending = attempt()
        if ending is None or not left_to_others(ending):
            break
    return answer, ending


def _others_at_work(work: Work, action: ActionRequest) -> Busy | None:
    """Return None once no other process is at work on the components; else who still is. Raises OSError."""
    transaction = work.transaction
    transaction.prepare()
    return await_others(
        work.context.world,
        transaction.locks,
        action.components,
        most=_LONGEST_WAIT,
        told=lambda busy: work.waits(harmless(busy.phrase)),
        gives_up=lambda: work.has_left() or work.stopping(),
    )


def _attend_to_leftovers(work: Work, transaction: TransactionContext) -> tuple[tuple[Ending, ...], Compared]:
    """Finish or undo interrupted transactions, and look for late writes.

    For the daemon no more often than the actor does so by itself: each recovery counts as an attempt.
    """
    if work.attended or work.pace.may(work.context.world):
        return tuple(recover(transaction)), look_again(transaction)
    return (), Compared()
