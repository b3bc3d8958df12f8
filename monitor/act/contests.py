"""Who else changes the files of a component, as the actor tells with its answers."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from typing import Final

from config.immutable import immutable
from config.text import Log, Printable, harmless, printable
from monitor.actor.request import Document

_NOTHING: Final = Printable("")
log: Log = logging.getLogger("certvigil.act")


@immutable
class ContestStatus:
    """How another writer undoes the changes of a component."""

    sentence: Printable = _NOTHING
    """Empty where there is no such writer."""
    renewed: bool = False
    """A candidate came after that."""


_NONE: Final = ContestStatus()


class Contests:
    """The contest about each group or component that has one."""

    def __init__(self) -> None:
        self._contests: dict[str, ContestStatus] = {}

    def of(self, subject: str) -> ContestStatus:
        """Return the contest about a group or component."""
        return self._contests.get(subject, _NONE)

    def take(self, subject: str, members: Iterable[str], answer: Document) -> None:
        """Take the contest about the members of a group, or about one component, if the answer is about them."""
        if not answer.keys() & {"plan", "refused"}:
            return
        every = answer.get("contested", {})
        found = [every[each] for each in members if each in every]
        if not found:
            self._contests.pop(subject, None)
            return
        contest = ContestStatus(harmless(str(found[0]["sentence"])), all(each["renewed"] for each in found))
        if self.of(subject) != contest:
            log.warning("%s: %s", printable(subject), contest.sentence)
        self._contests[subject] = contest

    def forget_all_but(self, subjects: Container[str]) -> None:
        """Forget the contests about everything else."""
        for name in [each for each in self._contests if each not in subjects]:
            del self._contests[name]
