"""Components under a transaction: nobody is told of them until after it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from config.immutable import immutable
from config.vocabulary import TargetKind
from monitor.state.target import TargetState

ABOUT_TO: Final = "certvigil is about to"
"""The start of an outlook where a fault is being mended at this moment: people are told if it does not help."""
LONGEST: Final = 900.0
"""Seconds for which a transaction that does not end mutes its components."""
SETTLE: Final = 3.0
"""Seconds after its end until its files are looked at again, at most."""
GRACE: Final = 30.0
"""Seconds after its end until its endpoints are looked at again, at most: then their last state is told anyhow."""


@immutable
class ComponentTransaction:
    """The newest transaction of a component."""

    began: float
    """Unix time."""
    ended: float | None = None
    """Unix time; None while it is under way."""
    undone: bool = False
    """It is under way, and the former files are being put back."""

    @property
    def span(self) -> tuple[float, float]:
        """The Unix times between which its effects show on the component."""
        return self.began, self.began + LONGEST if self.ended is None else self.ended + GRACE


def undone(transactions: Mapping[str, ComponentTransaction]) -> frozenset[str]:
    """Return the components whose transaction is being undone: servers that do not answer are no passing state."""
    return frozenset(name for name, each in transactions.items() if each.undone and each.ended is None)


def muted(transactions: Mapping[str, ComponentTransaction], known: Iterable[TargetState], now: float) -> frozenset[str]:
    """Return the components about which nobody is told at Unix time `now`.

    They are those under a transaction, and those whose endpoints were not looked at since it ended.
    """
    under_way = {name for name, each in transactions.items() if each.ended is None and now - each.began < LONGEST}
    ending = {
        name: each.ended
        for name, each in transactions.items()
        if name not in under_way and each.ended is not None and 0 <= now - each.ended < GRACE
    }
    if not ending:
        return frozenset(under_way)
    unseen = {name for name, ended in ending.items() if now - ended < SETTLE}
    unseen.update(
        each.component
        for each in known
        if each.kind is TargetKind.ENDPOINT
        and each.component in ending
        and (each.last_look or 0.0) < ending[each.component]
    )
    return frozenset(under_way | unseen)
