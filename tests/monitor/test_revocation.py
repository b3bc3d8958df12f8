"""A daemon that fetches a list, tells of the revoked certificate, and shows what it goes by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from monitor.lab.ca import DAY, Authority
from monitor.lab.servers import LocalServer, replace_file, write_site
from tests.kit.crl import Entry, crl, lists_at
from tests.kit.daemon import RunningDaemon
from tests.kit.list_server import ListServer, list_server, response
from tests.kit.metrics import series
from tests.kit.start import StartServer

NAME = "www.example.com"
ROOT = Authority.root()


@contextmanager
def serving_lists() -> Iterator[ListServer]:
    """Run a server of lists in a thread of its own."""
    ready, over, found = Event(), Event(), list[ListServer]()

    async def serve() -> None:
        async with list_server() as server:
            found.append(server)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        over.set()
        thread.join()


def test_a_revoked_certificate_is_told_by_a_list_that_was_fetched_and_one_in_a_file(
    tmp_path: Path, start_local: StartServer[LocalServer]
) -> None:
    now = time.time()
    with serving_lists() as lists:
        leaf = ROOT.issue(NAME, extensions=[lists_at(lists.url("/root.crl"))])
        lists.answers["/root.crl"] = response(crl(ROOT, now, Entry(leaf, now - DAY)))
        server = start_local(write_site(str(tmp_path / "site"), leaf))
        (tmp_path / "root.pem").write_bytes(ROOT.pem())
        file = tmp_path / "file.crl"
        file.write_bytes(crl(ROOT, now, this_update=now - 9 * DAY, next_update=now - DAY, number=3))
        allow = [{"networks": [f"{lists.host}/32"], "ports": [lists.port]}]
        config = {
            "trust_stores": {"lab": {"bundle": str(tmp_path / "root.pem")}},
            "clients": {
                "browser": {"trusts": "lab", "revocation": "soft_fail"},
                "script": {"trusts": "lab"},
            },
            "endpoints": [
                {"name": "web", "address": server.address, "server_name": NAME, "clients": ["browser", "script"]}
            ],
            "revocation": {"crls": [str(file)], "fetch": {"allow": allow}},
            "metrics": {"x509_cert": True},
        }
        with RunningDaemon(config) as daemon:
            told = daemon.wait_until("raised", target="web", code="revoked")
            assert "it is rejected for that by browser; not asked for by script" in told["detail"]
            daemon.wait_until("raised", target=str(file), code="crl_stale")
            metrics = daemon.metrics()
            assert metrics[series("client_accepts", client="browser", target="web")] == 0
            assert metrics[series("client_accepts", client="script", target="web")] == 1
            assert {name for name, _ in metrics if name.startswith("x509_crl_")} == {
                f"x509_crl_{each}" for each in ("this_update", "next_update", "number", "stale")
            }
            replace_file(str(file), crl(ROOT, now, Entry(leaf, now - DAY), number=9, this_update=now))
            daemon.wait_until("cleared", target=str(file), code="crl_stale")
            assert len(lists.requests) == 1
