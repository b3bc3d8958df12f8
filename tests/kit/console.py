"""What a console has to show: a group of two components, of which one is served, and files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monitor.lab.ca import Issued
from monitor.lab.servers import LocalServer, write_site


@contextmanager
def configured_host(directory: Path, issued: Issued, *clients: str) -> Iterator[dict[str, Any]]:
    """Yield the configuration of a host whose files and root (`root.pem`) lie in `directory`; its server runs."""
    site, other = (write_site(str(directory / name), issued) for name in ("server", "mail"))
    with LocalServer([site]) as server:
        endpoint = {"address": server.address, "clients": list(clients)}
        yield {
            "watch": [{"files": [f"{directory}/*.pem"], "trust_store": "corporate"}],
            "components": {
                "web": {"artefacts": {"certificate": site.certificate, "key": site.key}, "endpoints": [endpoint]},
                "mail": {"artefacts": {"certificate": other.certificate, "key": other.key}},
            },
            "groups": {"site": ["web", "mail"]},
            "trust_stores": {"corporate": {"bundle": str(directory / "root.pem")}},
            "clients": {each: {"trusts": "corporate"} for each in clients},
        }
