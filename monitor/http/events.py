"""Server-sent events (WHATWG HTML, 9.2): what changes, as it does; a reader goes on behind the last id it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse

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
            503: {"description": "Too many readers."},
        },
    )
    async def events(last_event_id: _LastId = "", after: _After = "") -> StreamingResponse:
        """Tell what changes, as it does (server-sent events).

        The kinds are those of the history, and `acting`: what is known of components may be another. After `reset` a
        reader reads everything anew: events were missed, or the daemon has started since. There are at most four
        deliveries in a second, and the last 1024 events are kept.
        """
        if readers.are_many:
            raise HTTPException(503, "there are too many readers of events", {"retry-after": "30"})
        return StreamingResponse(
            readers.read(last_event_id or after),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )


class _Readers:
    """Those who read the feed."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._count = 0

    @property
    def are_many(self) -> bool:
        """Whether another one is refused."""
        return self._count >= MOST_READERS or self._feed.closed

    async def read(self, identifier: str) -> AsyncIterator[bytes]:
        """Yield what comes behind the event with that id; without one, what comes from now on."""
        self._count += 1
        try:
            async for each in self._read(identifier):
                yield each
        finally:
            self._count -= 1

    async def _read(self, identifier: str) -> AsyncIterator[bytes]:
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
