"""`certvigil check --supported`: every version, cipher and group that a server takes, and what is not allowed of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.vocabulary import TLSVersion
from monitor.commands.check import CheckOptions
from monitor.commands.check import check as run
from monitor.lab.ca import Authority, bundle
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, Nginx, TLSSettings, write_site
from tests.kit.daemon import certvigil, on_a_terminal
from tests.kit.dialect import validate

NAME = "www.example.com"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, issuing_ca: Authority, root_ca: Authority) -> Iterator[list[str]]:
    """Give the command for a server that takes too much."""
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "root.pem").write_bytes(bundle([root_ca]))
    site = write_site(str(directory), issuing_ca.issue(NAME))
    ciphers = "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"
    settings = TLSSettings(minimum=TLSVersion.TLS1_1, ciphers=ciphers)
    with Nginx(str(directory), [site], settings) as server:
        yield ["check", "--supported", "--name", NAME, "--ca-file", str(directory / "root.pem"), server.address]


def words(text: str) -> list[str]:
    """Return the words of a text, whatever its lines are."""
    return text.split()


@pytest.mark.server("nginx")
def test_each_version_has_what_is_taken_with_it_and_what_is_not_allowed_is_a_finding(asking: list[str]) -> None:
    ran = certvigil(*asking, "--json")
    assert ran.returncode == 1, ran.stderr
    document = json.loads(ran.stdout)
    validate(document, "check")
    (target,) = document["targets"]
    assert {(each["code"], each["severity"], each["subject"]) for each in target["findings"]} == {
        ("obsolete_protocol", "warning", "supported"),
        ("weak_cipher", "warning", "supported"),
    }
    supported: dict[str, Any]
    (supported,) = target["supported"]
    assert [(each["version"], each["allowed"]) for each in supported["versions"]] == [
        *(("TLSv1.3", True), ("TLSv1.2", True), ("TLSv1.1", False)),
    ]
    older = supported["versions"][1]
    assert {each["name"]: each["allowed"] for each in older["ciphers"]} == {
        "ECDHE-ECDSA-AES128-SHA": True,
        "ECDHE-ECDSA-NULL-SHA": False,
    }
    assert {"x25519", "secp256r1"} <= set(older["groups"])
    assert [each["signatures"] for each in supported["versions"]] == [*[["ecdsa_secp256r1_sha256"]] * 2, []]
    assert (supported["hybrid_groups"], supported["classical_fallback"], supported["unclear"]) == ([], True, [])


@pytest.mark.server("nginx")
def test_a_pipe_has_a_line_for_each_row_and_a_terminal_of_any_width_the_same_words(asking: list[str]) -> None:
    plain = certvigil(*asking).stdout
    assert "TLSv1.2\tNO\tECDHE-ECDSA-NULL-SHA\n" in plain
    assert "TLSv1.2\tyes\tECDHE-ECDSA-AES128-SHA\n" in plain
    assert "no post-quantum group" in plain
    for columns in (60, 140):
        shown = on_a_terminal(*asking, columns=columns).output
        assert {"ECDHE-ECDSA-NULL-SHA", "x25519", "TLSv1.1"} <= set(words(shown))


def test_what_a_file_supports_is_no_question(tmp_path: Path) -> None:
    (tmp_path / "site.crt").write_bytes(b"")
    ran = certvigil("check", "--supported", str(tmp_path / "site.crt"))
    assert ran.returncode == 3
    assert ran.stderr == "certvigil check: --supported is about endpoints: give one, such as HOST:PORT\n"


def test_each_address_of_a_name_is_asked(
    tmp_path: Path,
    issuing_ca: Authority,
    root_ca: Authority,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "root.pem").write_bytes(bundle([root_ca]))
    site = write_site(str(tmp_path), issuing_ca.issue(NAME))
    host, port = free_address()
    others = free_address()[0]
    cipher = "ECDHE-ECDSA-AES128-GCM-SHA256"
    newest = TLSSettings(TLSVersion.TLS1_3, ciphers=cipher)
    older = TLSSettings(TLSVersion.TLS1_1, TLSVersion.TLS1_2, f"{cipher}:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    real = socket.getaddrinfo

    def both(name: str, *more: Any, **options: Any) -> list[Any]:
        names = (host, others) if name == NAME else (name,)
        return [each for address in names for each in real(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    options = CheckOptions(ca_file=str(tmp_path / "root.pem"), supported=True, as_json=True)
    with LocalServer([site], newest, (host, port)), LocalServer([site], older, (others, port)):
        code = run([f"{NAME}:{port}"], options)
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert {each["address"]: [one["version"] for one in each["versions"]] for each in target["supported"]} == {
        host: ["TLSv1.3"],
        others: ["TLSv1.2", "TLSv1.1"],
    }
    (old,) = (each for each in target["findings"] if each["code"] == "obsolete_protocol")
    assert old["detail"].startswith(f"{others} supports TLSv1.1, allowed are ")
    assert code == 1
