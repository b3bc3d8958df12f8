"""Commands in JSON answers get the options by which they reach this daemon."""

from __future__ import annotations

import json

from monitor.command_reach import CommandReach
from monitor.http.guard import Application, ASGIMessage, ASGIScope, Receive, Send


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


class Completing:
    """An application whose JSON answers name complete commands; other answers pass as they are."""

    def __init__(self, application: Application, reach: CommandReach) -> None:
        self._application = application
        self._reach = reach

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        start: ASGIMessage | None = None
        parts: list[bytes] = []

        async def complete(message: ASGIMessage) -> None:
            nonlocal start
            if (
                message["type"] == "http.response.start"
                and (b"content-type", b"application/json") in message["headers"]
            ):
                # Its length is known at the end only.
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    body = self._reach.completed(b"".join(parts).decode(), _in_json).encode()
                    headers = [each for each in start["headers"] if each[0] != b"content-length"]
                    await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
                    await send({"type": "http.response.body", "body": body})

        await self._application(scope, receive, complete)
