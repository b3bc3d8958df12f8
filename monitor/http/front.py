"""What monitoring asks for all day, answered without a framework: metrics and health. The application answers the rest.

The framework takes as long to load as all else of a daemon, and 25 MB: so it is loaded when somebody first asks for a
page or for the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from monitor.http.coding import accepts_gzip
from monitor.http.guard import Application, ASGIMessage, ASGIScope, Receive, Send
from monitor.http.view import DaemonView
from monitor.metrics import gzipped, plain_text

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_TEXT: Final = b"text/plain; charset=utf-8"


class Front:
    """Answers about `view` (ASGI). `load` returns the application for the rest; it is called once, in a thread."""

    def __init__(self, view: DaemonView, load: Callable[[], Application]) -> None:
        self._view = view
        self._load = load
        self._application: Application | None = None
        self._loading = asyncio.Lock()
        self._own: dict[str, Application] = {
            "/metrics": Metrics(view),
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        own = self._own.get(scope["path"])
        if own is None:
            await (await self._loaded())(scope, receive, send)
        elif scope["method"] in {"GET", "HEAD"}:
            await own(scope, receive, send)
        else:
            await _say(scope, send, 405, "Method Not Allowed", (b"allow", b"GET, HEAD"))

    async def _loaded(self) -> Application:
        async with self._loading:
            if self._application is None:
                self._application = await asyncio.to_thread(self._load)
            return self._application

    async def _healthz(self, scope: ASGIScope, _receive: Receive, send: Send) -> None:
        await _say(scope, send, 200, "ok\n")

    async def _readyz(self, scope: ASGIScope, _receive: Receive, send: Send) -> None:
        reasons = "".join(f"{reason}\n" for reason in self._view.not_ready())
        await _say(scope, send, 503 if reasons else 200, reasons or "ready\n")


async def _say(scope: ASGIScope, send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    body = text.encode()
    fixed = [(b"content-type", _TEXT), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Metrics:
    """`/metrics`: sent in chunks, between which the daemon goes on with its work."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._turn = asyncio.Lock()

    async def __call__(self, scope: ASGIScope, _receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        compressed = accepts_gzip(scope["headers"])
        headers = [(b"content-type", CONTENT_TYPE), (b"vary", b"accept-encoding")]
        if compressed:
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            chunks = iter((gzipped if compressed else plain_text)(self._view.metrics()))
            while (chunk := await self._next(chunks)) is not None:
                if chunk:
                    part: ASGIMessage = {"type": "http.response.body", "body": chunk, "more_body": True}
                    await send(part)
        await send({"type": "http.response.body", "body": b""})

    async def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        """Make one chunk in each round of the event loop, however many clients ask at once."""
        async with self._turn:
            chunk = next(chunks, None)
            await asyncio.sleep(0)
        return chunk
