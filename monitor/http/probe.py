"""`/probe?target=&module=&hostname=&debug=`, as blackbox_exporter and ssl_exporter answer it."""

from __future__ import annotations

import math

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response

from config.probing import DEFAULT_MODULE
from monitor.http.view import DaemonView
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics.probed import Probed, ProbedFiles

SPARED_SECONDS = 0.5
"""Of the time that Prometheus gives, for the answer to arrive in it."""
LEAST_SECONDS = 0.1


def add_probe(app: FastAPI, view: DaemonView) -> None:
    """Answer for `view`."""

    @app.get("/probe", include_in_schema=False)
    async def probe(
        request: Request, target: str = "", module: str = DEFAULT_MODULE, hostname: str = "", debug: str = ""
    ) -> Response:
        found = await view.probe(ProbeRequest(target, module, hostname or None, _seconds(request)))
        if isinstance(found, RefusedProbe):
            raise HTTPException(400 if found.is_mistake else 403, found.why)
        if debug == "true":
            return PlainTextResponse(_in_full(found))
        return Response(found.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _in_full(found: Probed | ProbedFiles) -> str:
    """Return what happened, and the metrics, for a person."""
    log = "".join(f"{line}\n" for line in found.log)
    return f"Logs for the probe:\n{log}\nMetrics that would have been returned:\n{found.text().decode()}"


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
