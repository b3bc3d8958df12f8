"""The addresses of the console. What makes its pages is loaded when the first one is asked for."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from config.immutable import immutable
from config.text import Log, harmless
from monitor.http.coding import accepts_gzip
from monitor.http.console.switch import ConsoleSwitch
from monitor.http.view import DaemonView

if TYPE_CHECKING:
    from monitor.http.console.pages import Pages

log: Log = logging.getLogger("certvigil.http")

PAGES: Final[Mapping[str, str]] = {
    "/": "now",
    "/certificates": "certificates",
    "/certificates.csv": "certificates_csv",
    "/certificates.json": "certificates_json",
    "/certificates/{sha256}": "certificate",
    "/components/{name}": "component",
    "/groups/{name}": "group",
    "/targets/{name:path}": "target",
    "/clients": "clients",
    "/timeline": "timeline",
    "/timeline.ics": "timeline_ics",
    "/history": "history",
    "/settings": "settings",
}
"""By address: the method of `Pages` that answers it."""
_ASSETS: Final[Mapping[str, str]] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_MOST_WAITING: Final = 32
"""Pages that are made or wait for it; further ones are refused."""
_LEAST_COMPRESSED: Final = 1024
"""Bytes."""


@immutable
class ShownPage:
    """What is answered."""

    body: bytes
    status: int = 200
    media_type: str = "text/html; charset=utf-8"
    location: str = ""
    """Of another page, where that is to be shown; a path of this server."""


def add_console(app: FastAPI, view: DaemonView, switch: ConsoleSwitch, landing: Callable[[str], Response]) -> None:
    """Add the console; while it is off, `landing` makes the page at the root of why it is."""
    console = _Console(view, switch, landing)
    for path, name in PAGES.items():
        app.router.routes.append(Route(path, console.endpoint(name), include_in_schema=False))
    app.router.routes.append(Route("/assets/{name}", _asset, include_in_schema=False))


class _Console:
    """The pages of one daemon."""

    def __init__(self, view: DaemonView, switch: ConsoleSwitch, landing: Callable[[str], Response]) -> None:
        self._view = view
        self._switch = switch
        self._landing = landing
        self._loading = asyncio.Lock()
        self._pages: Pages | None = None
        self._waiting = 0

    def endpoint(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint that answers with the page of that name."""

        async def answer(request: Request) -> Response:
            if self._switch.off:
                is_root = request.url.path == "/"
                return self._landing(self._switch.off) if is_root else PlainTextResponse(f"{self._switch.off}\n", 404)
            if self._waiting >= _MOST_WAITING:
                return PlainTextResponse("too many pages are asked for at once\n", 503, {"retry-after": "1"})
            self._waiting += 1
            try:
                page: ShownPage = await getattr(await self._loaded(), name)(request)
            except Exception:
                log.exception("the page %s cannot be shown, for no foreseen reason", harmless(name))
                return PlainTextResponse("not shown, by a fault of certvigil; its log tells more\n", 500)
            finally:
                self._waiting -= 1
            return _answer(page, request)

        return answer

    async def _loaded(self) -> Pages:
        """Return what makes the pages; loading it takes a tenth of a second, which it does beside the loop."""
        async with self._loading:
            if self._pages is None:
                loop = asyncio.get_running_loop()
                module = await loop.run_in_executor(None, import_module, "monitor.http.console.pages")
                made: Pages = module.Pages(self._view, assets())
                self._pages = made
        return self._pages


def _answer(page: ShownPage, request: Request) -> Response:
    if page.location:
        return RedirectResponse(page.location, 303)
    body, headers = page.body, {"vary": "accept-encoding"}
    if len(body) >= _LEAST_COMPRESSED and accepts_gzip(request.scope["headers"]):
        body = zlib.compress(body, 6, 31)
        headers["content-encoding"] = "gzip"
    return Response(body, page.status, headers, page.media_type)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        return PlainTextResponse("there is no such file\n", 404)
    known = request.query_params.get("v") == _digest(name)
    page = ShownPage(_read(name), media_type=_ASSETS[name])
    answer = _answer(page, request)
    if known:
        # The address names the content.
        answer.headers["cache-control"] = "max-age=31536000, immutable"
    return answer


@cache
def _read(name: str) -> bytes:
    with open(os.path.join(os.path.dirname(__file__), "assets", name), "rb") as file:
        return file.read()


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_read(name)).hexdigest()[:16]


def assets() -> Mapping[str, str]:
    """Return the file name of each asset with its version, by its name."""
    return {name: f"{name}?v={_digest(name)}" for name in _ASSETS}
