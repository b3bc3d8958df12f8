"""`/probe?target=&module=`, as blackbox_exporter and ssl_exporter answer it."""

from __future__ import annotations

import math

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response

from config.text import printable
from monitor.http.view import DaemonView
from monitor.look.demand import DEFAULT_MODULE, MODULES, RefusedProbe

SPARED_SECONDS = 0.5
"""Of the time that Prometheus gives, for the answer to arrive in it."""
LEAST_SECONDS = 0.1


def add_probe(app: FastAPI, view: DaemonView) -> None:
    """Answer for `view`."""

    @app.get("/probe", include_in_schema=False)
    async def probe(request: Request, target: str = "", module: str = DEFAULT_MODULE) -> Response:
        if not target:
            raise HTTPException(400, "the parameter target is missing")
        if module not in MODULES:
            raise HTTPException(400, f"there is no module {printable(module, 60)}, expected {', '.join(MODULES)}")
        found = await view.probe(target, MODULES[module], _seconds(request))
        if isinstance(found, RefusedProbe):
            raise HTTPException(403, found.why)
        return Response(found.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _seconds(request: Request) -> float:
    """Return how long the look may take; infinite where nobody says."""
    given = request.headers.get("x-prometheus-scrape-timeout-seconds")
    try:
        seconds = float(given) if given else math.inf
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise HTTPException(400, "X-Prometheus-Scrape-Timeout-Seconds is no number of seconds")
    return max(LEAST_SECONDS, seconds - SPARED_SECONDS)
