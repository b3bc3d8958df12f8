"""`certvigil why` shows each path that a client tries, and the rule that ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.ca import Authority, bundle
from monitor.lab.servers import LocalServer, Site
from tests.kit.daemon import certvigil
from tests.kit.start import StartServer

NAME = "www.example.com"
ROOT = Authority.root("Root")
ISSUING = ROOT.intermediate("Issuing")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    document = {
        "state_directory": str(tmp_path / "state"),
        "trust_stores": {"corporate": {"bundle": str(tmp_path / "root.pem")}},
        "clients": {
            each: {"trusts": "corporate", "verifier": each, "names": [NAME]} for each in ("go", "openssl", "java-17")
        },
    }
    path = tmp_path / "certvigil.yaml"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def why(client: str, target: str, configuration: Path) -> tuple[int, Any]:
    ran = certvigil("why", client, target, "--config", str(configuration), "--json")
    return ran.returncode, json.loads(ran.stdout)


def test_each_client_has_its_own_reason(configuration: Path, tmp_path: Path) -> None:
    """A common name alone is enough for OpenSSL and Java, and nothing to Go."""
    site = tmp_path / "site.pem"
    site.write_bytes(bundle((ISSUING.issue(subject=NAME), ISSUING)))
    assert why("openssl", str(site), configuration)[0] == 0
    code, document = why("go", str(site), configuration)
    assert (code, document["accepts"]) == (2, False)
    (path,) = document["paths"]
    assert [each["place"] for each in path["certificates"]] == ["presented", "presented", "in the store corporate"]
    (objection,) = path["objections"]
    assert (objection["rule"], objection["position"]) == ("name", 0)
    assert objection["sources"] == ["RFC 9525, 6", "`Certificate.VerifyHostname` in crypto/x509"]


def test_a_second_path_is_shown_where_the_first_one_ends(
    configuration: Path, tmp_path: Path, start_local: StartServer[LocalServer]
) -> None:
    ended = ROOT.cross_sign(ISSUING, not_before=1.0e9, not_after=1.1e9)
    leaf = ISSUING.issue(NAME)
    site = Site(str(tmp_path / "site.crt"), str(tmp_path / "site.key"))
    Path(site.certificate).write_bytes(bundle((leaf, ended, ISSUING)))
    Path(site.key).write_bytes(leaf.key_pem())
    code, document = why("go", start_local(site).address, configuration)
    assert code == 0
    assert [each["accepted"] for each in document["paths"]] == [False, True]
    assert [each["rule"] for each in document["paths"][0]["objections"]] == ["end"]


def test_people_are_shown_the_rule_below_the_certificate_that_breaks_it(configuration: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.pem"
    site.write_bytes(bundle((ISSUING.issue(NAME, not_before=1.0e9, not_after=1.1e9), ISSUING)))
    ran = certvigil("why", "java-17", str(site), "--config", str(configuration))
    assert ran.returncode == 2
    lines = ran.stdout.splitlines()
    assert lines[0] == f"java-17 refuses {site} as {NAME}"
    assert "held to the real one by tests" in lines[1]
    assert lines[2:4] == ["path 1: refused", f"   0 CN={NAME}, presented"]
    assert "ended at" in lines[4]
    assert "(RFC 5280, 6.1.3 (a)(2))" in lines[4]


def test_a_client_or_a_target_that_is_not_there_cannot_be_told(configuration: Path) -> None:
    for client, target in (("nobody", "localhost:1"), ("go", "/nowhere.pem"), ("go", "127.0.0.1:1")):
        ran = certvigil("why", client, target, "--config", str(configuration))
        assert (ran.returncode, ran.stdout) == (3, "")
        assert ran.stderr.startswith("certvigil why: ")
