"""One key at two servers, as the daemon sees it at both."""

from __future__ import annotations

from pathlib import Path

from monitor.lab.servers import LocalServer, write_site
from tests.kit.authority import ISSUING, ROOT
from tests.kit.daemon import RunningDaemon

NAMES = ("engine1.example.com", "engine2.example.com")


def test_a_key_at_two_servers_is_told_of_both_and_no_more_once_one_has_another(tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(ROOT.pem())
    one = ISSUING.issue(NAMES[0])
    sites = [
        write_site(str(tmp_path / name), one if name == NAMES[0] else ISSUING.issue(name, key=one.key))
        for name in NAMES
    ]
    with LocalServer([sites[0]]) as first, LocalServer([sites[1]]) as second:
        endpoints = [
            {"name": name, "address": server.address, "server_name": name, "clients": ["browser"], "every": "0.5s"}
            for name, server in zip(NAMES, (first, second), strict=True)
        ]
        config = {
            "endpoints": endpoints,
            "trust_stores": {"corporate": {"bundle": str(root)}},
            "clients": {"browser": {"trusts": "corporate"}},
        }
        with RunningDaemon(config) as daemon:

            def telling() -> set[str]:
                found = daemon.ask("/api/v1/findings?code=key_shared")["items"]
                return {each["target"] for each in found}

            daemon.wait_for(lambda: telling() == set(NAMES), "that both have one key")
            sites[1].install(ISSUING.issue(NAMES[1]))
            second.reload()
            daemon.wait_for(lambda: not telling(), "that each has its own")
