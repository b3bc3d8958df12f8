"""`certvigil check` of endpoints: what it asks for, and what it says of addresses, client certificates and staples."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.address import join_address
from config.vocabulary import TLSVersion
from monitor.commands.check import CheckOptions
from monitor.commands.check import check as run
from monitor.lab.ca import Authority
from monitor.lab.servers import Site, write_site
from tests.kit.asking_servers import AskingHAProxy, Asks, ocsp_response
from tests.kit.daemon import certvigil

NAME = "www.example.com"
ROOT = Authority.root()
LEAF = ROOT.issue(NAME)
PROBER = ROOT.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])

pytestmark = pytest.mark.server("haproxy")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("endpoints")
    (place / "root.pem").write_bytes(ROOT.pem())
    write_site(str(place), PROBER, stem="prober")
    return place


@pytest.fixture(scope="module")
def haproxy(place: Path) -> Iterator[AskingHAProxy]:
    combined = place / "site.pem"
    combined.write_bytes(LEAF.key_pem() + LEAF.pem())
    (place / "site.pem.ocsp").write_bytes(ocsp_response(LEAF, ROOT))
    # Which it needs in order to staple; it presents the leaf alone.
    (place / "site.pem.issuer").write_bytes(ROOT.pem())
    site = Site(str(combined), str(combined))
    with AskingHAProxy(str(place / "haproxy"), [site], str(place / "root.pem")) as server:
        yield server


def check(haproxy: AskingHAProxy, asks: Asks, *options: str | Path) -> tuple[int, Any, str]:
    """Look at a port of HAProxy by the name of its certificate; return the code, the document and the text."""
    host, port = haproxy.at[asks, TLSVersion.TLS1_3]
    arguments = (f"{NAME}:{port}", "--address", host, "--ca-file", haproxy.clients_ca, *map(str, options))
    as_json, as_text = certvigil("check", "--json", *arguments), certvigil("check", *arguments)
    assert as_json.stderr + as_text.stderr == ""
    (target,) = json.loads(as_json.stdout)["targets"]
    return as_json.returncode, target, " ".join(as_text.stdout.split())


def test_a_client_certificate_is_asked_for_and_shown_and_a_staple_is_read(haproxy: AskingHAProxy, place: Path) -> None:
    code, target, text = check(haproxy, Asks.STRICTLY)
    (address,) = target["addresses"]
    assert (code, address["client_certificate"], address["client_certificate_fault"]) == (0, "required", "")
    assert f"{address['address']}: requires a client certificate" in text
    assert (address["staple"]["status"], address["staple"]["signer"]) == ("good", "CN=Lab Root CA")
    assert "the OCSP response in the handshake says good, as of " in text
    shown = ("--client-certificate", place / "prober.crt", "--client-key", place / "prober.key")
    code, target, text = check(haproxy, Asks.STRICTLY, *shown)
    assert (code, target["addresses"][0]["client_certificate"]) == (0, "accepted")
    assert "accepts the client certificate" in text


def test_a_client_certificate_that_is_refused_is_a_finding(haproxy: AskingHAProxy, tmp_path: Path) -> None:
    stranger = write_site(str(tmp_path), Authority.root("Stranger").issue(subject="prober"))
    shown = ("--client-certificate", stranger.certificate, "--client-key", stranger.key)
    code, target, text = check(haproxy, Asks.STRICTLY, *shown)
    (found,) = target["findings"]
    assert (code, found["code"], found["detail"]) == (
        1,
        "client_certificate_failed",
        "refused: the server refused it with the alert unknown_ca",
    )
    assert "refuses the client certificate" in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["dtls://vpn.example.com"],
            "dtls cannot be checked: it runs over UDP, and certvigil speaks TLS over TCP",
        ),
        (["a.example:443", "--client-key", "/x"], "--client-key needs --client-certificate beside it"),
        (
            ["a.example:443", "--client-certificate", "/nowhere.pem"],
            "the client certificate cannot be used: /nowhere.pem: No such file or directory",
        ),
        (["a.example:443", "--proxy-credentials-file", "/x"], "--proxy-credentials-file needs --proxy beside it"),
        (["a.example:443", "--address", "b.example"], "--address b.example: this is no IP address"),
        (["a.example:443", "-6", "--proxy", "http://p:1"], "-4 and -6 say nothing of a proxy"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(arguments: list[str], why: str) -> None:
    ran = certvigil("check", *arguments)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert why in " ".join(ran.stderr.split())


def test_all_addresses_of_a_name_are_looked_at_unless_one_kind_is_wanted(haproxy: AskingHAProxy) -> None:
    _, port = haproxy.at[Asks.NOT, TLSVersion.TLS1_3]
    # Nobody listens there; which addresses localhost has is the matter of this host.
    ran = certvigil("check", "--json", f"localhost:{port}", "-4")
    (target,) = json.loads(ran.stdout)["targets"]
    assert [each["subject"] for each in target["findings"]] == ["127.0.0.1"]


def test_it_says_how_many_addresses_of_a_name_answer(
    haproxy: AskingHAProxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = haproxy.at[Asks.NOT, TLSVersion.TLS1_3]
    real = socket.getaddrinfo

    def both(name: str, *more: Any, **options: Any) -> list[Any]:
        names = (host, "127.0.0.1") if name == NAME else (name,)
        return [each for address in names for each in real(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    code = run([f"{NAME}:{port}"], CheckOptions(ca_file=haproxy.clients_ca))
    said = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert "1 of 2 addresses answer" in said
    assert "unreachable: connection_refused: Connection refused (at 127.0.0.1)" in said


def test_by_its_address_a_server_is_asked_for_the_name(haproxy: AskingHAProxy) -> None:
    host, port = haproxy.at[Asks.NOT, TLSVersion.TLS1_3]
    ran = certvigil("check", join_address(host, port), "--name", NAME, "--ca-file", haproxy.clients_ca, "--no-sni")
    assert ran.returncode == 0
