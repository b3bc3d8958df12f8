"""Carries events and messages to those who take them; one that fails never stops another.

Which goes to whom is on one page: `monitor.wiring.subscribers_of` and `monitor.wiring.routes_of`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from config.immutable import immutable
from config.text import Log, harmless
from monitor.state.events import StateEvent

log: Log = logging.getLogger("certvigil.bus")

Subscriber = Callable[[Sequence[StateEvent]], None]
M = TypeVar("M")


@immutable
class MessageRoute(Generic[M]):
    """Who takes a kind of message, in this order."""

    message: type[M]
    handlers: tuple[Callable[[M], None], ...]


def route(message: type[M], *handlers: Callable[[M], None]) -> MessageRoute[M]:
    """Return the route of a kind of message."""
    return MessageRoute(message, handlers)


class Bus:
    """Delivers each batch of events to every subscriber, and each message to the handlers of its kind, in order.

    It is made before the parts that publish, and connected once all of them are made; until then it delivers nothing.
    """

    def __init__(self, *subscribers: Subscriber, routes: Sequence[MessageRoute[Any]] = ()) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self._handlers: dict[type, tuple[Callable[[Any], None], ...]] = {}
        self._connected = False
        self._unrouted: set[type] = set()
        """Kinds of messages that were sent in vain: each is logged once."""
        if subscribers or routes:
            self.connect(subscribers, routes)

    def connect(self, subscribers: Sequence[Subscriber], routes: Sequence[MessageRoute[Any]]) -> None:
        """Deliver events to `subscribers` and messages by `routes` from now on."""
        self._subscribers = tuple(subscribers)
        self._handlers = {each.message: each.handlers for each in routes}
        self._connected = True

    def publish(self, events: Sequence[StateEvent]) -> None:
        """Hand a batch of events to every subscriber; an exception of a subscriber is logged."""
        for subscriber in self._subscribers:
            try:
                subscriber(events)
            except Exception:
                log.exception("a subscriber failed and missed %d events", len(events))

    def send(self, message: object) -> None:
        """Hand a message to the handlers of its kind; an exception of a handler is logged.

        A kind of message without a handler is logged once.
        """
        kind = type(message)
        if self._connected and kind not in self._handlers and kind not in self._unrouted:
            self._unrouted.add(kind)
            log.error("nobody takes messages of the kind %s: it has no route", harmless(kind.__name__))
        for handler in self._handlers.get(kind, ()):
            try:
                handler(message)
            except Exception:
                log.exception("a handler failed and missed a %s", harmless(type(message).__name__))
