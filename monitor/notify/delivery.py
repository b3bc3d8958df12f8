"""The delivery of a message: from its writing until each URL of its channel has it, or it is given up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from config.channel import Channel
from config.immutable import immutable
from monitor.notify.deliver import Message, Receipt, SendOutcome

_BACK_OFF: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1800.0)
"""Seconds between attempts; the last one repeats."""


class DeliveryFate(StrEnum):
    """The state of a message."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up: there were too many attempts."""
    DROPPED = "dropped"
    """Given up, and dropped by a person or with its channel."""


@immutable
class Delivery:
    """A message to a channel."""

    id: str
    channel: str
    problems: tuple[str, ...]
    """The short names of its problems; messages about the same problem are delivered in order."""
    message: Message
    at: float
    """Unix time at which it was written."""
    fate: DeliveryFate = DeliveryFate.PENDING
    attempts: int = 0
    delivered_to: frozenset[int] = frozenset()
    """Positions of URLs that took it."""
    why: str = ""
    """Of the last attempt that failed; printable, and nothing in it comes from a URL."""
    ended_at: float | None = None


def waiting(delivery: Delivery, channel: Channel) -> tuple[int, ...]:
    """Return the positions of the URLs of its channel that have yet to take it."""
    return tuple(position for position in range(len(channel.urls)) if position not in delivery.delivered_to)


def attempted(delivery: Delivery, receipts: Mapping[int, Receipt], channel: Channel, most: int, now: float) -> Delivery:
    """Return the message after an attempt at some URLs of `channel`, by position, which ended at Unix time `now`.

    It is delivered once all URLs of the channel took it, and dead after `most` attempts that failed.
    """
    took = (position for position, receipt in receipts.items() if receipt.outcome is SendOutcome.DELIVERED)
    delivered_to = delivery.delivered_to.union(took)
    failed = [position for position, receipt in receipts.items() if receipt.outcome is not SendOutcome.DELIVERED]
    why = "; ".join(f"{channel.url_name(position)} {receipts[position].why}" for position in failed)
    delivery = replace(delivery, delivered_to=delivered_to, attempts=delivery.attempts + 1, why=why)
    if not waiting(delivery, channel):
        return replace(delivery, fate=DeliveryFate.DELIVERED, ended_at=now)
    return replace(delivery, fate=DeliveryFate.DEAD, ended_at=now) if delivery.attempts >= most else delivery


def pause(delivery: Delivery) -> float:
    """Return the seconds until the next attempt."""
    return _BACK_OFF[min(delivery.attempts, len(_BACK_OFF)) - 1] if delivery.attempts else 0.0


def deliverable(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Return the pending `deliveries` that need not wait for an earlier one about the same problem, oldest first."""
    taken: set[tuple[str, str]] = set()
    free = []
    for each in deliveries:
        about = {(each.channel, problem) for problem in each.problems}
        if not about & taken:
            free.append(each)
        taken |= about
    return free
