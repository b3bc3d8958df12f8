"""`certvigil why` shows each path that a client tries, and the rule that ends it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from config.vocabulary import VerifierName
from monitor.commands.check import CheckOptions, check
from monitor.commands.why import SENTENCES, WhyQuery
from monitor.commands.why import why as told
from monitor.lab.ca import Authority, Issued, bundle
from monitor.lab.servers import LocalServer, Site
from probes.verify.rules import Rule
from tests.kit.daemon import certvigil
from tests.kit.odd_certificates import ODDITIES, odd_certificate, slow_key
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
        "clients": {each: {"trusts": "corporate", "verifier": str(each), "names": [NAME]} for each in VerifierName}
        | {"both": {"trusts": "corporate", "verifier": "go", "names": [NAME, "other.example.com"]}},
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
    (chain,) = document["chains"]
    (path,) = chain["paths"]
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
    (chain,) = document["chains"]
    assert [each["accepted"] for each in chain["paths"]] == [False, True]
    assert [each["rule"] for each in chain["paths"][0]["objections"]] == ["end"]


def test_a_promised_staple_is_asked_for_where_there_was_a_handshake(
    configuration: Path, tmp_path: Path, start_local: StartServer[LocalServer]
) -> None:
    feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
    leaf = ISSUING.issue(NAME, extensions=[x509.Extension(feature.oid, False, feature)])
    site = Site(str(tmp_path / "site.crt"), str(tmp_path / "site.key"))
    Path(site.certificate).write_bytes(bundle((leaf, ISSUING)))
    Path(site.key).write_bytes(leaf.key_pem())
    assert why("gnutls", site.certificate, configuration)[0] == 0
    code, document = why("gnutls", start_local(site).address, configuration)
    (path,) = document["chains"][0]["paths"]
    assert (code, [each["rule"] for each in path["objections"]]) == (2, ["staple"])


def test_people_are_shown_the_rule_below_the_certificate_that_breaks_it(configuration: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.pem"
    site.write_bytes(bundle((ISSUING.issue(NAME, not_before=1.0e9, not_after=1.1e9), ISSUING)))
    ran = certvigil("why", "java-17", str(site), "--config", str(configuration))
    assert ran.returncode == 2
    lines = ran.stdout.splitlines()
    assert lines[0] == f"java-17 refuses {site} as {NAME}"
    assert "held to the real one by tests" in lines[1]
    said = " ".join(ran.stdout.split())
    assert f"path 1: refused 0 CN={NAME}, presented refused: CN={NAME} ended at" in said
    assert "(RFC 5280, 6.1.3 (a)(2))" in said


CHAINS: Final[Mapping[str, tuple[Issued, ...]]] = {
    "in order": (ISSUING.issue(NAME), ISSUING),
    "of another name": (ISSUING.issue("other.example.com"), ISSUING),
    "ended": (ISSUING.issue(NAME, not_before=1.0e9, not_after=1.1e9), ISSUING),
    "without its issuer": (ISSUING.issue(NAME),),
    "without a key identifier of its issuer": (ISSUING.issue(NAME, authority_key_identifier=False), ISSUING),
    "with the common name alone": (ISSUING.issue(subject=NAME), ISSUING),
    "of version 2, with extensions": (odd_certificate(ISSUING, ODDITIES["version 2"], NAME), ISSUING),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_why_and_check_have_one_verdict(
    configuration: Path, tmp_path: Path, chain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.pem"
    site.write_bytes(bundle(CHAINS[chain]))
    for each in VerifierName:
        told(WhyQuery(each, str(site), str(configuration), as_json=True))
        accepts = json.loads(capsys.readouterr().out)["accepts"]
        check([str(site)], CheckOptions(str(tmp_path / "root.pem"), each, NAME, as_json=True))
        (target,) = json.loads(capsys.readouterr().out)["targets"]
        assert accepts == all(found["code"] != "client_rejects" for found in target["findings"]), each


def test_where_a_library_refuses_what_its_model_accepts_both_are_told(configuration: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.pem"
    site.write_bytes(bundle(CHAINS["without a key identifier of its issuer"]))
    ran = certvigil("why", "webpki", str(site), "--config", str(configuration))
    assert ran.returncode == 2
    said = " ".join(ran.stdout.split())
    assert said.startswith("webpki refuses")
    assert "a library decides, and refuses path 1: the model knows no objection" in said


def test_a_key_that_is_too_large_to_verify_with_is_said_and_not_used(configuration: Path, tmp_path: Path) -> None:
    slow = ROOT.intermediate("Slow", key=slow_key())
    site = tmp_path / "site.pem"
    site.write_bytes(bundle((slow.issue(NAME), slow)))
    code, document = why("go", str(site), configuration)
    (chain,) = document["chains"]
    assert code == 2
    assert "too large to verify with" in chain["why"]
    assert [len(each["certificates"]) for each in chain["paths"]] == [1]


def test_each_chain_of_a_file_with_several_has_its_verdict(configuration: Path, tmp_path: Path) -> None:
    users = [
        {
            "name": name,
            "user": {"client-certificate-data": encoded(chain), "client-key-data": encoded(chain[:1], key=True)},
        }
        for name, chain in (("good", CHAINS["in order"]), ("bad", CHAINS["ended"]))
    ]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": users}))
    code, document = why("go", str(path), configuration)
    assert (code, document["accepts"]) == (2, False)
    assert {each["where"]: each["accepts"] for each in document["chains"]} == {
        "/users/0/user/client-certificate-data": True,
        "/users/1/user/client-certificate-data": False,
    }


def encoded(chain: tuple[Issued, ...], *, key: bool = False) -> str:
    return base64.b64encode(chain[0].key_pem() if key else bundle(chain)).decode()


def test_every_name_that_the_client_asks_for_is_compared(configuration: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.pem"
    site.write_bytes(bundle((ISSUING.issue(NAME), ISSUING)))
    code, document = why("both", str(site), configuration)
    assert (code, document["names"]) == (2, [NAME, "other.example.com"])
    assert document["chains"][0]["why"].startswith("other.example.com is not among its names")


def test_each_rule_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Rule)


def test_a_client_or_a_target_that_is_not_there_cannot_be_told(configuration: Path) -> None:
    for client, target in (("nobody", "localhost:1"), ("go", "/nowhere.pem"), ("go", "127.0.0.1:1")):
        ran = certvigil("why", client, target, "--config", str(configuration))
        assert (ran.returncode, ran.stdout) == (3, "")
        assert ran.stderr.startswith("certvigil why: ")
