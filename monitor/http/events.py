"""Server-sent events (WHATWG HTML, 9.2): what changes, as it does; a reader goes on behind the last id it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from monitor.http.answers import API
from monitor.state.feed import EventFeed, FeedEntry

MOST_READERS: Final = 64
"""At the same time; further ones are told to come again."""
PACE: Final = 0.25
"""Seconds between two deliveries to a reader."""
HEARTBEAT: Final = 15.0
"""Seconds after which a reader is told that nothing happened, so that a proxy keeps the connection."""
_AGAIN: Final = 3000
"""Milliseconds after which a browser connects again."""
_LATER: Final = {"retry-after": "30"}

_LastId = Annotated[str, Header(alias="last-event-id", max_length=64, description="The id of the last event received.")]
_After = Annotated[str, Query(max_length=64, description="The same, for a client that cannot set a header.")]


def add_events(app: FastAPI, feed: EventFeed) -> None:
    """Add the resource of events."""
    readers = _Readers(feed)

    @app.get(
        f"{API}/events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Events without end, as they come."},
            503: {"description": "Too many readers, or the daemon ends."},
        },
    )
    async def events(last_event_id: _LastId = "", after: _After = "") -> StreamingResponse:
        """Tell what changes, as it does (server-sent events).

        The kinds are those of the history, and `acting`: what is known of components may be another. After `reset` a
        reader reads everything anew: events were missed, or the daemon has started since. There are at most four
        deliveries in a second, and the last 1024 events are kept.
        """
        return _EventStream(readers, last_event_id or after)


class _EventStream(StreamingResponse):
    """What one reader is given: it counts from before its first byte until the end, however that comes."""

    def __init__(self, readers: _Readers, identifier: str) -> None:
        self._readers = readers
        headers = {"x-accel-buffering": "no"}
        super().__init__(readers.read(identifier), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._readers.one_more():
            await super().__call__(scope, receive, send)


class _Readers:
    """Those who read the feed."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._count = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one reader within; raises HTTPException where there are too many, or the daemon ends."""
        if self._feed.closed:
            raise HTTPException(503, "the daemon ends", _LATER)
        if self._count >= MOST_READERS:
            raise HTTPException(503, "there are too many readers of events", _LATER)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def read(self, identifier: str) -> AsyncIterator[bytes]:
        """Yield what comes behind the event with that id; without one, what comes from now on."""
        feed = self._feed
        position = feed.number(identifier or feed.position)
        # Without a kind it is no event: the reader takes note of the id, from which it goes on.
        yield f"retry: {_AGAIN}\n".encode() + _event(feed.position if position is None else identifier or feed.position)
        while not feed.closed:
            entries = None if position is None else feed.after(position)
            if position is None or entries is None:
                position = feed.number(feed.position)
                yield _event(feed.position, "reset", {})
            elif entries:
                position = entries[-1].number
                yield b"".join(map(self._shown, entries))
            else:
                await feed.wait(position, HEARTBEAT)
                if not feed.closed and not feed.after(position):
                    yield b": nothing happened\n\n"
                continue
            await asyncio.sleep(PACE)

    def _shown(self, entry: FeedEntry) -> bytes:
        return _event(self._feed.identifier(entry.number), entry.what, entry.data)


def _event(identifier: str, what: str = "", data: dict[str, Any] | None = None) -> bytes:
    """Return an event; without a kind, only its id is taken note of."""
    lines = [f"id: {identifier}"]
    if what:
        # JSON has no line break in it.
        lines += [f"event: {what}", f"data: {json.dumps(data)}"]
    return ("\n".join(lines) + "\n\n").encode()
