"""Stories as their user lives them, on real servers, seen in the metrics, the API, the history and the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from monitor.lab.ca import DAY, Authority, Issued
from monitor.lab.servers import LocalServer, Nginx, Site, write_site
from tests.kit.daemon import LogLine, RunningDaemon, certvigil
from tests.kit.metrics import Series, series
from tests.kit.start import StartServer

NAME = "portal.example.com"
GRACE = 1.0

pytestmark = pytest.mark.server("nginx")


@pytest.fixture
def keep_vigil(tmp_path: Path, cleanup: ExitStack, root_ca: Authority) -> Callable[..., RunningDaemon]:
    """Start a daemon whose client `browser` trusts the lab's CA."""
    (tmp_path / "root.pem").write_bytes(root_ca.pem())

    def start(**config: object) -> RunningDaemon:
        everywhere = {
            "trust_stores": {"corporate": {"bundle": str(tmp_path / "root.pem")}},
            "clients": {"browser": {"trusts": "corporate", "verifier": "webpki"}},
        }
        return cleanup.enter_context(RunningDaemon({**everywhere, **config}))

    return start


def history(daemon: RunningDaemon, target: str) -> list[tuple[str, str | None]]:
    """Return what happened to a target and the code that it was about, oldest first, by the command line."""
    told = json.loads(certvigil("history", "--json", "--config", daemon.config_file, target).stdout)
    return [(entry["what"], entry["code"]) for entry in reversed(told["entries"])]


def seconds(line: LogLine) -> float:
    """Return the Unix time of a log line."""
    return datetime.fromisoformat(line["at"]).timestamp()


def end_of(issued: Issued) -> float:
    return issued.certificate.not_valid_after_utc.timestamp()


def ends(daemon: RunningDaemon, target: str) -> float | None:
    """Return when what a target presents ends, by the metrics."""
    return daemon.metrics().get(series("not_after_timestamp_seconds", target=target, position="0"))


def codes(daemon: RunningDaemon, target: str) -> set[str]:
    """Return what is wrong with a target, by the API."""
    return {found["code"] for found in daemon.ask(f"/api/v1/targets/{target}")["findings"]}


def test_a_renewal_is_not_served_until_the_server_is_reloaded(
    keep_vigil: Callable[..., RunningDaemon],
    start_nginx: StartServer[Nginx],
    issuing_ca: Authority,
    tmp_path: Path,
) -> None:
    old, new = issuing_ca.issue(NAME), issuing_ca.issue(NAME, not_after=time.time() + 80 * DAY)
    site = write_site(str(tmp_path / "portal"), old)
    nginx = start_nginx(site)
    file, live = "portal/certificate", f"portal/{nginx.address}"
    daemon = keep_vigil(
        components={
            "portal": {
                "artefacts": {"certificate": site.certificate, "key": site.key},
                "endpoints": [{"address": nginx.address, "name": NAME, "every": "0.5s"}],
                "clients": ["browser"],
                "not_served_after": f"{GRACE}s",
            }
        }
    )
    for target in (file, live):
        daemon.wait_until("presents", target=target)
    for target in (file, "portal/key", live):
        assert codes(daemon, target) == daemon.findings(target) == set()
    assert ends(daemon, file) == ends(daemon, live) == end_of(old)

    # The file is renewed; the server knows nothing of it.
    renewed = time.time()
    site.install(new)
    daemon.wait_for(lambda: ends(daemon, file) == end_of(new), "the new certificate's end in the metrics")
    assert ends(daemon, live) == end_of(old)
    raised = daemon.wait_until("raised", target=live, code="not_served")
    assert seconds(raised) - renewed >= GRACE - 0.05
    assert raised["level"] == "warning"
    assert daemon.findings(live) == codes(daemon, live) == {"not_served"}
    assert daemon.metrics()[series("findings", target=live, code="not_served", severity="warning")] == 1
    assert daemon.findings(file) == set()
    status = certvigil("status", "--socket", daemon.socket)
    assert status.returncode == 1
    assert "not_served" in status.stdout

    # The server is reloaded.
    nginx.reload()
    daemon.wait_until("cleared", target=live, code="not_served")
    assert daemon.findings(live) == codes(daemon, live) == set()
    assert ends(daemon, live) == end_of(new)
    assert certvigil("status", "--socket", daemon.socket).returncode == 0

    # The pair is in the history once nobody has written to it for a while.
    daemon.wait_until("presents", after=1, target=file)
    assert daemon.stop() == 0
    assert history(daemon, live) == [
        *(("added", None), ("presented", None)),
        *(("raised", "not_served"), ("presented", None), ("cleared", "not_served")),
    ]
    assert history(daemon, file) == [("added", None), ("presented", None), ("presented", None)]


FACTS = {
    f"certvigil_{name}"
    for name in (
        "not_after_timestamp_seconds",
        "not_before_timestamp_seconds",
        "target_expiry_timestamp_seconds",
        "presented_info",
    )
}


def facts(daemon: RunningDaemon, target: str) -> dict[Series, float]:
    """Return the metrics that tell what a target presents; fails where one is missing."""
    shown = daemon.metrics()
    told = {each: value for each, value in shown.items() if each[0] in FACTS and ("target", target) in each[1]}
    assert {name for name, _ in told} == FACTS
    presented = {dict(labels)["sha256"] for name, labels in told if name == "certvigil_presented_info"}
    assert presented <= {dict(labels)["sha256"] for name, labels in shown if name == "certvigil_certificate_info"}
    return told


def accepts(daemon: RunningDaemon, target: str) -> float | None:
    return daemon.metrics().get(series("client_accepts", client="browser", target=target))


def up(daemon: RunningDaemon, target: str) -> float | None:
    return daemon.metrics().get(series("target_up", target=target))


def test_an_endpoint_keeps_its_facts_whatever_is_wrong_with_it(
    keep_vigil: Callable[..., RunningDaemon],
    start_nginx: StartServer[Nginx],
    start_local: StartServer[LocalServer],
    issuing_ca: Authority,
    tmp_path: Path,
) -> None:
    def serve(name: str, issued: Issued) -> Site:
        return write_site(str(tmp_path / name), issued)

    now = time.time()
    expired = issuing_ca.issue(NAME, not_before=now - 40 * DAY, not_after=now - DAY)
    foreign = Authority.root("A Root Nobody Knows").intermediate("An Unknown CA").issue(NAME)
    good = issuing_ca.issue(NAME)
    servers = {
        "expired": start_local(serve("expired", expired)),
        "untrusted": start_local(serve("untrusted", foreign)),
        "dying": start_nginx(serve("dying", good)),
    }
    daemon = keep_vigil(
        endpoints=[
            {
                "name": name,
                "address": server.address,
                "server_name": NAME,
                "clients": ["browser"],
                "every": "0.3s",
            }
            for name, server in servers.items()
        ]
    )
    for name, issued in (("expired", expired), ("untrusted", foreign), ("dying", good)):
        daemon.wait_until("presents", target=name)
        told = facts(daemon, name)
        for position, each in enumerate(issued.chain):
            end = series("not_after_timestamp_seconds", target=name, position=str(position))
            assert told[end] == end_of(each)
        assert up(daemon, name) == 1
    assert {name: accepts(daemon, name) for name in servers} == {"expired": 0, "untrusted": 0, "dying": 1}
    assert {"expired", "client_rejects"} <= daemon.findings("expired")
    assert {"untrusted_issuer", "client_rejects"} <= daemon.findings("untrusted")
    assert daemon.findings("dying") == set()

    # A server dies: pending as a restart would be, then critical, and all that is known of it stays.
    before, nginx = facts(daemon, "dying"), servers["dying"]
    nginx.stop()
    raised = daemon.wait_until("raised", target="dying", code="unreachable")
    if raised["level"] == "warning":
        raised = daemon.wait_until("changed", target="dying", code="unreachable")
    assert raised["level"] == "error"
    assert facts(daemon, "dying") == before
    assert (up(daemon, "dying"), accepts(daemon, "dying")) == (0, 1)
    assert daemon.findings("dying") == codes(daemon, "dying") == {"unreachable"}
    looks = series("looks_total", kind="endpoint", outcome="failed")
    assert daemon.metrics()[looks] >= 3

    nginx.start()
    daemon.wait_until("cleared", target="dying", code="unreachable")
    assert (up(daemon, "dying"), facts(daemon, "dying")) == (1, before)
    assert daemon.stop() == 0
    # Whether it was told a look before it became critical depends on how soon the looks came.
    assert [each for each in history(daemon, "dying") if each != ("changed", "unreachable")] == [
        *(("added", None), ("presented", None)),
        *(("failed", None), ("raised", "unreachable")),
        *(("recovered", None), ("cleared", "unreachable")),
    ]


def test_an_expired_file_and_a_corrupted_one_keep_their_facts(
    keep_vigil: Callable[..., RunningDaemon], issuing_ca: Authority, tmp_path: Path
) -> None:
    now = time.time()
    issued = issuing_ca.issue(NAME, not_before=now - 40 * DAY, not_after=now - DAY)
    path = tmp_path / "expired.pem"
    path.write_bytes(issued.chain_pem())
    daemon = keep_vigil(watch=[{"files": [str(path)], "trust_store": "corporate"}])
    # As at an endpoint: whoever trusts that store rejects it.
    assert daemon.findings(str(path)) == {"expired", "client_rejects"}
    before = facts(daemon, str(path))
    path.write_bytes(issued.chain_pem()[:300])
    daemon.wait_until("raised", target=str(path), code="unreadable")
    assert facts(daemon, str(path)) == before
    assert daemon.findings(str(path)) == {"expired", "client_rejects", "unreadable"}
    assert up(daemon, str(path)) == 0
