"""Who else changes the files of a component, as the actor tells with its answers."""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from config.text import Log, Printable, harmless, printable
from monitor.actor.request import Document

_NOTHING: Final = Printable("")
log: Log = logging.getLogger("certvigil.act")


@dataclass(frozen=True, slots=True)
class ContestStatus:
    """How another writer undoes the changes of a component."""

    sentence: Printable = _NOTHING
    """Empty where there is no such writer."""
    renewed: bool = False
    """A candidate came after that."""


_NONE: Final = ContestStatus()


class Contests:
    """The contest about each component that has one."""

    def __init__(self) -> None:
        self._contests: dict[str, ContestStatus] = {}

    def of(self, component: str) -> ContestStatus:
        """Return the contest about a component."""
        return self._contests.get(component, _NONE)

    def take(self, component: str, answer: Document) -> None:
        """Take the contest about a component from an answer, if the answer is about that component."""
        if not answer.keys() & {"plan", "refused"}:
            return
        found = answer.get("contested", {}).get(component)
        if found is None:
            self._contests.pop(component, None)
            return
        contest = ContestStatus(harmless(str(found["sentence"])), bool(found["renewed"]))
        if self.of(component) != contest:
            log.warning("%s: %s", printable(component), contest.sentence)
        self._contests[component] = contest

    def forget_all_but(self, components: Container[str]) -> None:
        """Forget the contests about all other components."""
        for name in [each for each in self._contests if each not in components]:
            del self._contests[name]
