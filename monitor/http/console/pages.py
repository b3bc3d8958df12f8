"""The pages: what each one reads of the daemon, on the event loop; they are made on a thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Generic, TypeVar

from starlette.requests import Request

from config.immutable import immutable
from config.model import Config
from monitor.http.answers import ComponentAnswer, StatusAnswer
from monitor.http.console import certificate, now, record, table, timeline
from monitor.http.console.matrix import matrix_page
from monitor.http.console.render import render, segment
from monitor.http.console.routes import ShownPage
from monitor.http.console.settings import settings_page
from monitor.http.console.subject import subject_page
from monitor.http.console.timeline import ForeseenYear
from monitor.http.notifications import notifications_answer, problems_answer
from monitor.http.view import DaemonView
from monitor.state.own import SELF
from monitor.store import Degraded

T = TypeVar("T")

INDEX_FOR: Final = 10.0
"""Seconds for which an index is used again: what no event tells, such as labels, is as old at most."""
FORGOTTEN_AFTER: Final = 15.0
FORESEEN_FOR: Final = 300.0
"""The same for the simulated future, which takes a quarter of a second; it has few entries."""
_CSV: Final = "text/csv; charset=utf-8; header=present"
_JSON: Final = "application/json"


@immutable
class _Kept(Generic[T]):
    """What was made for a page, and how long it is that of now."""

    config: Config
    position: str
    """In the feed of events."""
    until: float
    """Monotonic time."""
    made: T

    def holds(self, config: Config, position: str, now: float) -> bool:
        """Whether nothing has changed since."""
        return self.config is config and self.position == position and now < self.until


class Pages:
    """The pages of one daemon; each method answers one address."""

    def __init__(self, view: DaemonView, assets: Mapping[str, str]) -> None:
        """`assets` gives the file name of each asset with its version."""
        self._view = view
        self._assets = assets
        # One after the other, so that many readers take no more than one processor from the looks.
        self._indexed: _Kept[table.TableIndex] | None = None
        self._future: _Kept[ForeseenYear] | None = None
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

    async def certificate(self, request: Request) -> ShownPage:
        """Answer with one certificate."""
        view, facts = self._view, self._facts()
        found = await self._apart(partial(certificate.holders, request.path_params["sha256"].lower(), facts.targets))
        if found is None:
            return await self._refused(request, "No target presents such a certificate now.", 404)
        known, those = found
        traced = [await view.history(each.target, 0.0, None, 50) for each in those[: certificate.TRACED]]
        entries = [entry for each in traced if not isinstance(each, Degraded) for entry in each]
        entries.sort(key=lambda each: -each.at)
        made = partial(certificate.certificate_page, known, those, entries, facts)
        return await self._page(request, "certificate.html", made)

    async def component(self, request: Request) -> ShownPage:
        """Answer with a component."""
        name = request.path_params["name"]
        if name not in self._view.config().components:
            return await self._refused(request, "There is no such component.", 404)
        return await self._subject(request, name)

    async def group(self, request: Request) -> ShownPage:
        """Answer with a group."""
        name = request.path_params["name"]
        if name not in self._view.config().groups:
            return await self._refused(request, "There is no such group.", 404)
        return await self._subject(request, name)

    async def _subject(self, request: Request, name: str) -> ShownPage:
        view, config = self._view, self._view.config()
        subject = name if name in config.groups else config.subject_of(name)
        statuses = [ComponentAnswer.of(each) for each in view.components() if each.name == subject]
        made = partial(subject_page, name, self._facts(), statuses, view.acts(subject))
        return await self._page(request, "subject.html", made)

    async def target(self, request: Request) -> ShownPage:
        """Lead to the page about a target: that of its component, or of its certificate, or the table."""
        name = request.path_params["name"]
        state, root = self._view.targets().get(name), "../" * (request.url.path.count("/") - 1)
        config = self._view.config()
        if state is None:
            return await self._refused(request, "There is no such target.", 404)
        component = state.component or ""
        if component in config.components:
            where = f"components/{segment(component)}"
        elif component in config.groups:
            where = f"groups/{segment(component)}"
        elif state.presented:
            where = f"certificates/{table.chief(state.presented).sha256}"
        else:
            where = f"history?target={segment(name)}"
        return ShownPage(b"", location=f"{root}{where}")

    async def clients(self, request: Request) -> ShownPage:
        """Answer with the clients and servers."""
        q, only = (request.query_params.get(name, "").strip()[:300] for name in ("q", "only"))
        made = partial(matrix_page, self._view.config(), dict(self._view.targets()), q, only)
        return await self._page(request, "matrix.html", made)

    async def timeline(self, request: Request) -> ShownPage:
        """Answer with the timeline."""
        view = self._view
        config, index, foreseen, at = view.config(), self._index(), self._foreseen(), time.time()
        return await self._page(
            request, "timeline.html", lambda: timeline.timeline_page(config, index(), foreseen(), at)
        )

    def _foreseen(self) -> Callable[[], ForeseenYear]:
        """Return what gives the simulated future, as long as nothing has changed the one before."""
        config, position, now = self._view.config(), self._view.feed.position, time.monotonic()
        if self._future is not None and self._future.holds(config, position, now):
            kept = self._future.made
            return lambda: kept
        situations, at = tuple(self._view.situations()), time.time()

        def made() -> ForeseenYear:
            future = timeline.foresee(config, situations, at)
            self._future = _Kept(config, position, now + FORESEEN_FOR, future)
            return future

        return made

    async def timeline_ics(self, _request: Request) -> ShownPage:
        """Answer with the ends as a calendar."""
        index, host, at = self._index(), self._view.status().host, time.time()
        body = await self._apart(lambda: timeline.as_calendar(timeline.ends_of(index(), at)[0], host, at))
        return ShownPage(body.encode(errors="replace"), media_type="text/calendar; charset=utf-8")

    async def history(self, request: Request) -> ShownPage:
        """Answer with history and audit."""
        try:
            query = record.RecordQuery.of(request.query_params)
        except table.QueryError as error:
            return await self._refused(request, str(error))
        found = await self._view.history(
            query.target or None, 0.0, query.before, record.ENTRIES + 1, what=query.what, place=query.place
        )
        made = partial(record.record_page, query, found, await self._view.audit())
        return await self._page(request, "history.html", made)

    async def settings(self, request: Request) -> ShownPage:
        """Answer with the settings."""
        view = self._view
        own = view.targets().get(SELF)
        status = StatusAnswer.of(view.status(), view.not_ready(), {}, own)
        on_disk = await view.configured_anew()
        made = partial(settings_page, view.config(), on_disk, status, notifications_answer(view.notifier))
        return await self._page(request, "settings.html", made)

    def _table(self, request: Request) -> Callable[[], table.TablePage]:
        query, facts, index = table.TableQuery.of(request.query_params), self._facts(), self._index()
        return lambda: table.table(facts, index(), query)

    def _index(self) -> Callable[[], table.TableIndex]:
        """Return what gives the index of now, as long as nothing has changed the one before."""
        config, position, now = self._view.config(), self._view.feed.position, time.monotonic()
        if self._indexed is not None and self._indexed.holds(config, position, now):
            kept = self._indexed.made
            return lambda: kept
        targets = dict(self._view.targets())

        def made() -> table.TableIndex:
            index = table.TableIndex(config, targets)
            self._indexed = _Kept(config, position, now + INDEX_FOR, index)
            return index

        asyncio.get_running_loop().call_later(FORGOTTEN_AFTER, self._forget)
        return made

    def _forget(self) -> None:
        """Keep no index that nobody asks for."""
        if self._indexed is not None and time.monotonic() >= self._indexed.until:
            self._indexed = None

    def _facts(self) -> table.PageFacts:
        view = self._view
        return table.PageFacts(view.config(), dict(view.targets()), view.thresholds, time.time())

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
