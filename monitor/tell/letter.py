"""A message to a channel, from when it is written until each of its URLs has it or it is given up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from actions.deliver import Message, Outcome, Receipt
from config.channel import Channel

_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1800.0)
"""Seconds between attempts; the last one repeats."""


class Fate(StrEnum):
    """What has become of a letter."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up: there were too many attempts."""
    DROPPED = "dropped"
    """Given up, and somebody wants to hear no more of it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to a channel."""

    id: str
    channel: str
    problems: tuple[str, ...]
    """The short names of what it is about: of the same, what was said first is delivered first."""
    message: Message
    at: float
    """Unix time at which it was written."""
    fate: Fate = Fate.PENDING
    attempts: int = 0
    delivered_to: frozenset[int] = frozenset()
    """Positions of URLs that took it."""
    why: str = ""
    """Of the last attempt that failed; printable, and nothing in it comes from a URL."""
    ended_at: float | None = None


def waiting(letter: Letter, channel: Channel) -> tuple[int, ...]:
    """Return the positions of the URLs of its channel that have yet to take it."""
    return tuple(position for position in range(len(channel.urls)) if position not in letter.delivered_to)


def attempted(letter: Letter, receipts: Mapping[int, Receipt], channel: Channel, most: int, now: float) -> Letter:
    """Return the letter after an attempt at the URLs of `channel` at those positions, which ended at Unix time `now`.

    It is delivered once all URLs of the channel took it, and dead after `most` attempts that failed.
    """
    took = (position for position, receipt in receipts.items() if receipt.outcome is Outcome.DELIVERED)
    delivered_to = letter.delivered_to.union(took)
    failed = [position for position, receipt in receipts.items() if receipt.outcome is not Outcome.DELIVERED]
    why = "; ".join(f"{channel.url_name(position)} {receipts[position].why}" for position in failed)
    letter = replace(letter, delivered_to=delivered_to, attempts=letter.attempts + 1, why=why)
    if not waiting(letter, channel):
        return replace(letter, fate=Fate.DELIVERED, ended_at=now)
    return replace(letter, fate=Fate.DEAD, ended_at=now) if letter.attempts >= most else letter


def pause(letter: Letter) -> float:
    """Return the seconds until the next attempt."""
    return _BACK_OFF[min(letter.attempts, len(_BACK_OFF)) - 1] if letter.attempts else 0.0


def deliverable(letters: Iterable[Letter]) -> list[Letter]:
    """Return which of the pending `letters`, oldest first, do not wait for an earlier one about the same."""
    taken: set[tuple[str, str]] = set()
    free = []
    for each in letters:
        about = {(each.channel, problem) for problem in each.problems}
        if not about & taken:
            free.append(each)
        taken |= about
    return free
