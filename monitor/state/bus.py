"""Carries events to those who record, export and tell them; one that fails never stops another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from monitor.state.events import Event

log = logging.getLogger("certvigil.bus")

Subscriber = Callable[[Sequence[Event]], None]


class Bus:
    """Delivers each batch of events to each subscriber, in the order in which they subscribed."""

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = subscribers

    def publish(self, events: Sequence[Event]) -> None:
        """Hand `events` to every subscriber; what one raises is logged."""
        for subscriber in self._subscribers:
            try:
                subscriber(events)
            except Exception:
                log.exception("a subscriber failed and missed %d events", len(events))
