"""A client's own configuration turns its validation off and on, and the daemon notices."""

from __future__ import annotations

from pathlib import Path

from monitor.lab.ca import Authority
from monitor.lab.servers import LocalServer, replace_file, write_site
from tests.kit.authority import ISSUING, NAME
from tests.kit.daemon import RunningDaemon

KEY = "globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems"
TARGET = "engine"


def test_a_change_of_the_file_changes_the_verdict(tmp_path: Path) -> None:
    conf, other = tmp_path / "portal.conf", tmp_path / "other.pem"
    other.write_bytes(Authority.root("Another Root").pem())
    conf.write_bytes(b"globalconfig.other=1\n")
    site = write_site(str(tmp_path / "site"), ISSUING.issue(NAME))
    switch = {"file": str(conf), "key": KEY, "disables": "true", "default": "true"}
    with LocalServer([site]) as server:
        config = {
            "endpoints": [
                {"name": TARGET, "address": server.address, "server_name": NAME, "clients": ["portal"], "every": "0.5s"}
            ],
            "trust_stores": {"jdk": {"bundle": str(other)}},
            "clients": {"portal": {"trusts": "jdk", "validation_switch": switch}},
        }
        with RunningDaemon(config) as daemon:

            def told() -> tuple[set[tuple[str, str]], bool, str]:
                target = daemon.ask(f"/api/v1/targets/{TARGET}")
                codes = {(each["code"], each["severity"]) for each in target["findings"]}
                (client,) = target["clients"]
                return codes, client["accepts"], client["unvalidated"]

            codes, accepts, why = daemon.wait_for(lambda: told() if told()[0] else None, "the first look")
            assert {("validation_disabled", "warning"), ("client_rejects", "notice")} <= codes
            assert accepts
            assert why.startswith(f"{conf} has no line {KEY}, and then it is true")
            replace_file(str(conf), f"{KEY} = false\n".encode())
            daemon.wait_for(lambda: ("client_rejects", "critical") in told()[0], "that it validates")
            codes, accepts, why = told()
            assert "validation_disabled" not in {code for code, _ in codes}
            assert (accepts, why) == (False, "")
            # Unknown is not off: what the site says of the client counts, and that the file is gone is said.
            conf.unlink()
            what = "validation_switch of client portal"
            daemon.wait_for(
                lambda: any(what in each["subject"] for each in daemon.ask("/api/v1/status")["findings"]),
                "that the file is gone",
            )
            assert ("client_rejects", "critical") in told()[0]
