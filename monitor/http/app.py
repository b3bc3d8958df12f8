"""The web application: the API, and probes. `monitor.http.front` loads it when somebody asks for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, BaseModel

from config.text import Log
from config.vocabulary import Code, Severity, Verdict
from monitor.http import answers
from monitor.http.answers import API, Limit, Offset
from monitor.http.console.routes import add_console
from monitor.http.console.switch import ConsoleSwitch
from monitor.http.events import add_events
from monitor.http.inventory import add_inventory
from monitor.http.landing import landing
from monitor.http.notifications import add_notifications, who_asks
from monitor.http.plans import add_plans
from monitor.http.probe import add_probe
from monitor.http.rotation import add_rotation
from monitor.http.situations import add_situations
from monitor.http.view import DaemonView
from monitor.state.own import SELF
from monitor.state.target import TargetState
from monitor.store import Degraded
from probes.certificate import Certificate

log: Log = logging.getLogger("certvigil.http")

Item = TypeVar("Item")

BREATH: Final = 200
"""Items of one step; after it, other requests have their turn."""


async def _unhurried(items: Sequence[Item]) -> AsyncIterator[Item]:
    for number, item in enumerate(items, 1):
        yield item
        if number % BREATH == 0:
            await asyncio.sleep(0)


def _json(answer: BaseModel, status: int = 200) -> Response:
    # Given as text: FastAPI would validate the whole answer once more.
    return Response(answer.model_dump_json(), status, media_type="application/json")


async def _listing(
    items: Sequence[Item],
    offset: int,
    limit: int,
    show: Callable[[Item], answers.Answer],
    bare: Callable[[Item], answers.Answer] | None = None,
) -> Response:
    """Return some of `items`. An item that cannot be shown is shown `bare`, or left out; the others are shown."""
    page = [_or_bare(item, show, bare) async for item in _unhurried(items[offset : offset + limit])]
    return _json(answers.Listing(total=len(items), offset=offset, items=[each for each in page if each is not None]))


def _or_bare(
    item: Item, show: Callable[[Item], answers.Answer], bare: Callable[[Item], answers.Answer] | None = None
) -> answers.Answer | None:
    try:
        return show(item)
    except Exception:
        log.exception("something that is known cannot be shown, for no foreseen reason")
        return None if bare is None else bare(item)


def create_app(view: DaemonView, version: str, switch: ConsoleSwitch) -> FastAPI:
    """Return the application that shows `view`, with the console unless it is switched off."""
    app = FastAPI(
        title="certvigil",
        version=version,
        summary="The state of certificates. Times are ISO 8601 in UTC; null is unknown.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    add_console(app, view, switch, landing)
    add_probe(app, view)
    _add_targets(app, view)
    _add_certificates(app, view)
    _add_status(app, view)
    add_inventory(app, view)
    add_rotation(app, view)
    add_notifications(app, view.notifier)
    add_plans(app, view)
    add_events(app, view.feed)
    add_situations(app, view)
    _add_description(app)
    return app


def _add_description(app: FastAPI) -> None:
    @app.get(f"{API}/openapi.json", include_in_schema=False)
    def described() -> JSONResponse:
        # Made on a thread, since it takes longer than a request should hold up the rest.
        return JSONResponse(app.openapi())


def _add_targets(app: FastAPI, view: DaemonView) -> None:
    @app.get(f"{API}/targets", response_model=answers.Listing[answers.Target])
    async def targets(verdict: Verdict | None = None, limit: Limit = 100, offset: Offset = 0) -> Response:
        """List the targets by name."""
        chosen = [
            state async for state in _unhurried(tuple(view.targets().values())) if verdict in {None, state.verdict}
        ]
        chosen.sort(key=lambda state: state.target)
        now = time.time()
        return await _listing(chosen, offset, limit, lambda state: answers.Target.of(state, now), answers.Target.bare)

    @app.get(
        f"{API}/targets/{{name:path}}",
        response_model=answers.TargetInFull,
        responses=answers.not_found("No such target."),
    )
    async def target(name: str) -> Response:
        """Tell all facts about one target."""
        state = view.targets().get(name)
        if state is None:
            raise HTTPException(404, "there is no such target")
        allowed = view.allowed_tls(name)
        shown = _or_bare(state, lambda each: answers.TargetInFull.of_known(each, time.time(), allowed))
        return _json(shown or answers.Target.bare(state))

    @app.get(f"{API}/findings", response_model=answers.Listing[answers.FindingAnswer])
    async def findings(
        code: Code | None = None, severity: Severity | None = None, limit: Limit = 100, offset: Offset = 0
    ) -> Response:
        """List the findings, the worst first."""
        found = [
            (state.target, raised)
            async for state in _unhurried(tuple(view.targets().values()))
            for raised in state.findings.values()
            if code in {None, raised.finding.code} and severity in {None, raised.finding.severity}
        ]
        found.sort(key=lambda pair: (-pair[1].finding.severity.rank, pair[0], pair[1].finding.code))
        return await _listing(
            found,
            offset,
            limit,
            lambda pair: answers.FindingAnswer.of(*pair),
            lambda pair: answers.FindingAnswer.bare(*pair),
        )


def _add_certificates(app: FastAPI, view: DaemonView) -> None:
    async def presented() -> dict[Certificate, list[str]]:
        """Return every certificate with the targets that present it."""
        where: dict[Certificate, list[str]] = {}
        async for state in _unhurried(tuple(view.targets().values())):
            for each in dict.fromkeys(state.presented):
                where.setdefault(each, []).append(state.target)
        return where

    @app.get(f"{API}/certificates", response_model=answers.Listing[answers.PresentedCertificate])
    async def certificates(limit: Limit = 100, offset: Offset = 0) -> Response:
        """List the presented certificates in the order of their ends."""
        where = await presented()
        ordered = sorted(where, key=lambda each: each.not_after or 0)
        return await _listing(
            ordered, offset, limit, lambda each: answers.PresentedCertificate.of(each, targets=where[each])
        )

    @app.get(
        f"{API}/certificates/{{sha256}}",
        response_model=answers.PresentedCertificate,
        responses=answers.not_found("No target presents such a certificate."),
    )
    async def certificate(sha256: str) -> Response:
        """Tell about one certificate, by the SHA-256 of its DER."""
        for each, targets in (await presented()).items():
            if each.sha256 == sha256.lower():
                return _json(answers.PresentedCertificate.of(each, targets=targets))
        raise HTTPException(404, "no target presents such a certificate")


def _add_status(app: FastAPI, view: DaemonView) -> None:
    @app.get(f"{API}/status", response_model=answers.StatusAnswer)
    async def status() -> Response:
        """Tell the status of certvigil itself."""
        targets: Counter[Verdict] = Counter()
        async for state in _unhurried(tuple(view.targets().values())):
            targets[state.verdict] += 1
        by_verdict = {verdict: targets[verdict] for verdict in Verdict}
        itself: TargetState | None = view.targets().get(SELF)
        told = view.status(), view.not_ready(), by_verdict
        shown = _or_bare(itself, lambda each: answers.StatusAnswer.of(*told, each))
        return _json(shown or answers.StatusAnswer.of(*told, None))

    @app.get(f"{API}/components", response_model=answers.Listing[answers.ComponentAnswer])
    async def components(limit: Limit = 100, offset: Offset = 0) -> Response:
        """List the components that certvigil may change, with their decisions and plans."""
        return await _listing(
            view.components(), offset, limit, answers.ComponentAnswer.of, answers.ComponentAnswer.bare
        )

    @app.get(f"{API}/history", response_model=answers.History, responses={503: {"description": "No database."}})
    async def history(
        target: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Limit = 100,
    ) -> Response:
        """List the history, newest first."""
        if since is not None and until is not None and until < since:
            wrong = {
                "type": "value_error",
                "loc": ["query", "until"],
                "msg": "until is before since",
                "input": str(until),
            }
            raise HTTPException(422, [wrong])
        found = await view.history(target, _unix(since) or 0.0, _unix(until), limit)
        if isinstance(found, Degraded):
            raise HTTPException(503, f"the history cannot be read: {found.detail}")
        return _json(answers.History(items=[answers.Happened.of(entry) for entry in found]))

    @app.post(
        f"{API}/reload",
        response_model=answers.Reloaded,
        responses={403: {"description": "Asked over TCP."}, 422: {"model": answers.Reloaded}},
    )
    async def reload(request: Request) -> Response:
        """Read the configuration again; only over the Unix socket."""
        mistakes = await view.reload(who_asks(request))
        return _json(answers.Reloaded(mistakes=list(map(str, mistakes))), 422 if mistakes else 200)


def _unix(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
