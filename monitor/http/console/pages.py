"""The pages: what each one reads of the daemon, on the event loop; they are made on a thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from starlette.requests import Request

from monitor.http.answers import ComponentAnswer
from monitor.http.console import now, table
from monitor.http.console.render import render
from monitor.http.console.routes import ShownPage
from monitor.http.notifications import notifications_answer, problems_answer
from monitor.http.view import DaemonView

T = TypeVar("T")

_CSV: Final = "text/csv; charset=utf-8; header=present"
_JSON: Final = "application/json"


class Pages:
    """The pages of one daemon; each method answers one address."""

    def __init__(self, view: DaemonView, assets: Mapping[str, str]) -> None:
        """`assets` gives the file name of each asset with its version."""
        self._view = view
        self._assets = assets
        # One after the other, so that many readers take no more than one processor from the looks.
        self._makers = ThreadPoolExecutor(1, "console")

    async def now(self, request: Request) -> ShownPage:
        """Answer with *Now*."""
        view = self._view
        made = partial(
            now.now_page,
            problems_answer(view.notifier, 0, now.PROBLEMS),
            list(map(ComponentAnswer.of, view.components())),
            notifications_answer(view.notifier),
            view.under_way(),
            tuple(view.targets().values()),
            not_ready=view.not_ready(),
            no_actor=view.status().no_actor,
        )
        return await self._page(request, "now.html", made)

    async def certificates(self, request: Request) -> ShownPage:
        """Answer with the table of certificates."""
        try:
            made = self._table(request)
        except table.QueryError as error:
            return await self._refused(request, str(error))
        return await self._page(request, "certificates.html", made)

    async def certificates_csv(self, request: Request) -> ShownPage:
        """Answer with the same rows as CSV."""
        return await self._export(request, table.as_csv, _CSV)

    async def certificates_json(self, request: Request) -> ShownPage:
        """Answer with the same rows as JSON."""
        return await self._export(request, lambda page: table.listed(page).model_dump_json(), _JSON)

    def _table(self, request: Request) -> Callable[[], table.TablePage]:
        view, query = self._view, table.TableQuery.of(request.query_params)
        return partial(table.table, view.config(), dict(view.targets()), view.thresholds, query, time.time())

    async def _export(self, request: Request, write: Callable[[table.TablePage], str], media_type: str) -> ShownPage:
        try:
            made = self._table(request)
        except table.QueryError as error:
            return ShownPage(f"{error}\n".encode(), 400, "text/plain; charset=utf-8")
        body = await self._apart(lambda: write(made()).encode(errors="replace"))
        return ShownPage(body, media_type=media_type)

    async def _refused(self, request: Request, why: str, status: int = 400) -> ShownPage:
        return await self._page(request, "refused.html", lambda: why, status)

    async def _page(self, request: Request, template: str, made: Callable[[], Any], status: int = 200) -> ShownPage:
        """Return the page that `template` makes of what `made` returns."""
        status_of_daemon, path = self._view.status(), request.url.path
        given = {
            # Relative, so that a proxy may put the console below any path.
            "root": "../" * (path.count("/") - 1),
            "path": path,
            "query": request.url.query,
            "assets": self._assets,
            "host": status_of_daemon.host,
            "version": status_of_daemon.version,
            "stale": status_of_daemon.stale,
            "now": time.time(),
        }
        return ShownPage(await self._apart(lambda: render(template, {**given, "page": made()})), status)

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._makers, work)
