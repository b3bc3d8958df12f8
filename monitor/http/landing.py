"""The page at the root where the console is off: where the rest is, and why it is off."""

from __future__ import annotations

from html import escape
from typing import Final

from fastapi.responses import HTMLResponse, Response

_LANDING: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>certvigil</title></head><body>
<h1>certvigil</h1>
<p>Keeps vigil over certificates.</p>
<ul>
<li><a href="metrics">Metrics</a> for Prometheus, and
<code>/probe?target=</code> for those who have dashboards of blackbox_exporter or ssl_exporter</li>
<li>API: <a href="api/v1/status">status</a>, <a href="api/v1/problems">problems</a>,
<a href="api/v1/targets">targets</a>, <a href="api/v1/inventory">inventory</a>,
<a href="api/v1/certificates">certificates</a>, <a href="api/v1/findings">findings</a>,
<a href="api/v1/history">history</a>, described by <a href="api/v1/openapi.json">OpenAPI</a></li>
<li><a href="healthz">Alive?</a> <a href="readyz">Ready?</a></li>
</ul>
<p>The console is off: {}.</p>
</body></html>
"""


def landing(why: str) -> Response:
    """Return the page; `why` is a sentence."""
    return HTMLResponse(_LANDING.format(escape(why)))
