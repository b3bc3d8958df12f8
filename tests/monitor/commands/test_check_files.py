"""`certvigil check` on files: keys, names, keystores, standard input, and what lies in a directory beside them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from monitor.lab.ca import DAY, Authority, Issued, KeyType, bundle
from tests.kit import java_keystore
from tests.kit.crl import Entry, crl, crl_pem
from tests.kit.daemon import begun, certvigil, on_a_terminal
from tests.kit.keystore import PASSWORD, keystore

NAME = "www.example.com"
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
SITE = ISSUING.issue(NAME)
OTHER = ISSUING.issue("other.example.com", key=KeyType.RSA2048)
ODD = ISSUING.issue(NAME, authority_key_identifier=False)
"""What OpenSSL accepts and the web PKI's profile does not."""


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)


def check(*arguments: str | Path) -> tuple[int, Any]:
    ran = certvigil("check", "--json", *map(str, arguments))
    assert ran.stderr == ""
    return ran.returncode, json.loads(ran.stdout)


def codes(document: Any, target: str = "") -> set[str]:
    found = [each for each in document["targets"] if each["target"].endswith(target)]
    return {finding["code"] for each in found for finding in each["findings"]}


def sealed(issued: Issued) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD))


def test_a_directory_with_one_key_under_two_names_is_told(tmp_path: Path) -> None:
    again = ISSUING.issue("other.example.com", key=SITE.key)
    put(tmp_path, {"site.pem": SITE.chain_pem(), "other.pem": again.chain_pem(), "third.pem": OTHER.chain_pem()})
    code, document = check(tmp_path)
    assert code == 0
    assert [codes(document, each) for each in ("/site.pem", "/other.pem", "/third.pem")] == [
        *[{"key_shared"}] * 2,
        set(),
    ]


def test_a_keystore_of_java_is_shown_entry_by_entry(tmp_path: Path) -> None:
    own = SITE.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    entries = (
        java_keystore.private(
            "web site", java_keystore.locked(own, java_keystore.CHANGEIT), [SITE.der(), ISSUING.der()]
        ),
        java_keystore.trusted("the root\x1b[1m", ROOT.der()),
    )
    data = java_keystore.store(*entries, password=java_keystore.CHANGEIT)
    put(tmp_path, {"app.jks": data, "own.jks": java_keystore.store(entries[1])})
    code, document = check(tmp_path / "app.jks")
    (target,) = document["targets"]
    assert (code, codes(document), target["format"]) == (1, {"default_store_password"}, "jks")
    assert target["key"] == {"where": str(tmp_path / "app.jks"), "belongs": True, "why": "", "also": []}
    store = target["keystore"]
    assert (store["integrity"], store["default_password"]) == ("verified", True)
    assert [(each["kind"], each["alias"]) for each in store["entries"]] == [
        ("private_key", "web site"),
        ("trusted", r"the root\x1b[1m"),
    ]
    assert [each["subject"] for each in store["entries"][1]["certificates"]] == [
        ROOT.certificate.subject.rfc4514_string()
    ]
    text = certvigil("check", str(tmp_path / "app.jks"), str(tmp_path / "own.jks")).stdout
    assert "a keystore, verified by its password; trusted certificates: 1, private keys: 1" in text
    assert "a keystore, not verified; trusted certificates: 1" in text
    assert re.search(r"alias +web site\n", text)
    assert re.search(r"alias +the root\\x1b\[1m\n", text)


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        ("site.crt", "site.key"),
        ("site.pem", "site.key.pem"),
        ("site-cert.pem", "site-key.pem"),
        ("tls.crt", "tls.key"),
        ("fullchain.pem", "privkey.pem"),
        ("cert12.pem", "privkey12.pem"),
        ("www.example.com.crt", "www.example.com.key"),
    ],
)
def test_a_key_beside_a_certificate_must_be_its_own(tmp_path: Path, certificate: str, key: str) -> None:
    put(tmp_path, {certificate: SITE.chain_pem(), key: SITE.key_pem()})
    code, document = check(tmp_path / certificate)
    assert (code, codes(document)) == (0, set())
    assert document["targets"][0]["key"] == {"where": str(tmp_path / key), "belongs": True, "why": "", "also": []}
    put(tmp_path, {key: OTHER.key_pem()})
    code, document = check(tmp_path / certificate)
    assert (code, codes(document)) == (2, {"key_mismatch"})
    assert document["targets"][0]["key"]["belongs"] is False
    # In a directory it is found as well.
    code, document = check(tmp_path)
    assert (code, codes(document, certificate)) == (2, {"key_mismatch"})


def test_a_key_beside_the_file_that_a_link_leads_to_counts(tmp_path: Path) -> None:
    put(tmp_path, {"store/site.crt": SITE.pem(), "store/site.key": OTHER.key_pem()})
    (tmp_path / "link.pem").symlink_to(tmp_path / "store/site.crt")
    assert codes(check(tmp_path / "link.pem")[1]) == {"key_mismatch"}


def test_a_key_in_the_same_file_must_be_its_own_whatever_lies_beside(tmp_path: Path) -> None:
    put(tmp_path, {"site.pem": SITE.key_pem() + SITE.chain_pem(), "site.key": OTHER.key_pem()})
    assert check(tmp_path / "site.pem")[0] == 0
    put(tmp_path, {"site.pem": OTHER.key_pem() + SITE.chain_pem(), "site.key": SITE.key_pem()})
    code, document = check(tmp_path / "site.pem")
    assert (code, codes(document)) == (2, {"key_mismatch"})


def test_of_several_keys_beside_it_one_must_be_its_own(tmp_path: Path) -> None:
    put(tmp_path, {"site.crt": SITE.pem(), "site.key": OTHER.key_pem(), "site-key.pem": SITE.key_pem()})
    assert check(tmp_path / "site.crt")[0] == 0


def test_a_key_is_found_wherever_it_lies_and_under_each_of_its_names(tmp_path: Path) -> None:
    put(tmp_path, {"certs/site.crt": SITE.pem(), "private/one": SITE.key_pem(), "old/two": SITE.key_pem()})
    put(tmp_path, {"private/other": OTHER.key_pem()})
    code, document = check(tmp_path)
    (only,) = document["targets"]
    assert (code, only["key"]["belongs"]) == (0, True)
    found = {only["key"]["where"], *only["key"]["also"]}
    assert found == {str(tmp_path / "private/one"), str(tmp_path / "old/two")}
    assert [each["path"] for each in document["passed_over"]] == [str(tmp_path / "private/other")]


def test_a_key_may_be_named(tmp_path: Path) -> None:
    put(tmp_path, {"site.crt": SITE.pem(), "site.key": SITE.key_pem(), "elsewhere/a": OTHER.key_pem()})
    code, document = check("--key", tmp_path / "elsewhere/a", tmp_path / "site.crt")
    assert (code, codes(document)) == (2, {"key_mismatch"})
    assert check("--key", tmp_path / "site.key", tmp_path / "site.crt")[0] == 0


def test_a_certificate_and_a_key_that_are_named_together_are_compared(tmp_path: Path) -> None:
    put(tmp_path, {"a/x": SITE.pem(), "b/y": OTHER.key_pem()})
    code, document = check(tmp_path / "a/x", tmp_path / "b/y")
    assert (code, codes(document)) == (2, {"key_mismatch"})
    put(tmp_path, {"b/y": SITE.key_pem()})
    assert check(tmp_path / "a/x", tmp_path / "b/y")[0] == 0


def test_a_certificate_of_a_ca_beside_its_key_is_compared_as_well(tmp_path: Path) -> None:
    put(tmp_path, {"ca.crt": ROOT.pem(), "ca.key": OTHER.key_pem()})
    assert codes(check(tmp_path / "ca.crt")[1]) == {"key_mismatch"}


@pytest.mark.parametrize("chain", ["chain.pem", "chain7.pem", "site-chain.pem", "site.bundle.crt"])
@pytest.mark.parametrize("of", [[ISSUING], [ISSUING, ROOT], [ROOT]], ids=["issuing", "both", "root"])
def test_beside_the_certificates_of_cas_lies_the_key_of_another(
    tmp_path: Path, chain: str, of: list[Authority]
) -> None:
    """As certbot has it: privkey.pem is of cert.pem and fullchain.pem."""
    keys = ["privkey.pem", "privkey7.pem", "site.key"]
    put(tmp_path, {chain: b"".join(each.pem() for each in of), **dict.fromkeys(keys, SITE.key_pem())})
    put(tmp_path, {"cert.pem": SITE.pem(), "fullchain.pem": SITE.chain_pem()})
    assert "key_mismatch" not in codes(check(tmp_path / chain)[1])
    assert "key_mismatch" not in codes(check(tmp_path)[1])


def test_a_certificate_that_signed_itself_has_the_key_beside_it_though_it_says_that_it_is_of_a_ca(
    tmp_path: Path,
) -> None:
    """As `openssl req -x509` makes it for a server."""
    put(tmp_path, {"cert.pem": ROOT.pem(), "privkey.pem": OTHER.key_pem()})
    assert "key_mismatch" in codes(check(tmp_path / "cert.pem")[1])


def test_a_key_that_others_may_read_is_said(tmp_path: Path) -> None:
    put(tmp_path, {"site.crt": SITE.pem(), "site.key": SITE.key_pem()})
    (tmp_path / "site.key").chmod(0o644)
    code, document = check(tmp_path / "site.crt")
    assert (code, codes(document)) == (1, {"key_exposed"})


def test_an_encrypted_key_is_compared_with_its_password_and_said_to_be_encrypted_without(tmp_path: Path) -> None:
    put(tmp_path, {"site.crt": SITE.pem(), "site.key": sealed(OTHER), "password": PASSWORD + b"\n"})
    code, document = check(tmp_path / "site.crt")
    assert (code, document["targets"][0]["key"]["belongs"]) == (0, None)
    assert "encrypted" in document["targets"][0]["key"]["why"]
    code, document = check("--password-file", tmp_path / "password", tmp_path / "site.crt")
    assert (code, codes(document)) == (2, {"key_mismatch"})


def test_a_name_counts_for_files(tmp_path: Path) -> None:
    put(tmp_path, {"site.pem": SITE.chain_pem(), "root.pem": ROOT.pem()})
    for more in ((), ("--ca-file", tmp_path / "root.pem")):
        assert check(*more, "--name", NAME, tmp_path / "site.pem")[0] == 0
        code, document = check(*more, "--name", "portal.example.com", tmp_path / "site.pem")
        assert code == 2
        assert "hostname_mismatch" in codes(document)


@pytest.mark.parametrize(("verifier", "code"), [("openssl", 0), ("webpki", 2)])
def test_what_the_chosen_verifier_refuses_is_critical_in_a_file(tmp_path: Path, verifier: str, code: int) -> None:
    put(tmp_path, {"odd.pem": ODD.chain_pem(), "root.pem": ROOT.pem()})
    got, document = check("--verifier", verifier, "--ca-file", tmp_path / "root.pem", tmp_path / "odd.pem")
    assert got == code
    assert ("client_rejects" in codes(document)) == bool(code)


def test_a_verifier_alone_has_files_judged_by_the_systems_anchors(tmp_path: Path) -> None:
    put(tmp_path, {"site.pem": SITE.chain_pem()})
    assert check(tmp_path / "site.pem")[0] == 0
    code, document = check("--verifier", "webpki", tmp_path / "site.pem")
    assert code == 2
    assert "client_rejects" in codes(document)


def test_a_keystore_is_opened_with_its_password(tmp_path: Path) -> None:
    put(tmp_path, {"site.p12": keystore(SITE), "open.p12": keystore(SITE, None), "password": PASSWORD, "no": b"wrong"})
    code, document = check("--password-file", tmp_path / "password", tmp_path / "site.p12")
    assert (code, codes(document)) == (0, set())
    assert [each["subject"] for each in document["targets"][0]["chain"]] == [f"CN={NAME}", "CN=Lab Issuing CA"]
    assert document["targets"][0]["key"]["belongs"] is True
    assert check(tmp_path / "open.p12")[0] == 0
    for more, why in (((), "locked: a PKCS#12"), (("--password-file", tmp_path / "no"), "wrong_password: a PKCS#12")):
        code, document = check(*more, tmp_path / "site.p12")
        (found,) = document["targets"][0]["findings"]
        assert found["detail"].startswith(why)
        assert code == (2 if more else 3)
        assert "damaged" not in str(document)


def test_of_several_passwords_the_one_that_fits_counts(tmp_path: Path) -> None:
    put(tmp_path, {"site.p12": keystore(SITE), "password": PASSWORD, "no": b"wrong"})
    passwords = ("--password-file", tmp_path / "no", "--password-file", tmp_path / "password")
    assert check(*passwords, tmp_path / "site.p12")[0] == 0


def test_certificates_in_a_document_are_looked_at_where_the_pointer_leads(tmp_path: Path) -> None:
    put(tmp_path, {"app.json": json.dumps({"tls": {"crt": SITE.chain_pem().decode()}}).encode()})
    code, document = check("--pointer", "/tls/*", tmp_path / "app.json")
    assert (code, codes(document)) == (0, set())
    (only,) = document["targets"]
    assert (only["format"], [each["alias"] for each in only["keystore"]["entries"]]) == ("document", ["/tls/crt"])
    assert [each["subject"] for each in only["chain"]] == [f"CN={NAME}", "CN=Lab Issuing CA"]


def test_a_file_that_holds_no_certificate_by_its_nature_is_unknown_and_called_by_its_name(tmp_path: Path) -> None:
    jks = bytes.fromhex("feedfeed0000000300000000") + bytes(20)
    put(tmp_path, {"a.jks": jks, "k.pub": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me\n"})
    for name, called in (
        ("a.jks", "a JKS keystore that has version 3, which certvigil does not read"),
        ("k.pub", "a public key"),
    ):
        code, document = check(tmp_path / name)
        assert (code, document["targets"][0]["verdict"]) == (3, "unknown")
        assert called in document["targets"][0]["findings"][0]["detail"]


def test_a_directory_names_everything_that_it_passed_over_and_why(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "site.crt": SITE.pem(),
            "site.key": SITE.key_pem(),
            "old.key": OTHER.key_pem(),
            "below/notes.txt": b"hello\n",
            ".hidden/site.crt": SITE.pem(),
            "site.pub": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me\n",
            "cut.der": SITE.der()[:-9],
        },
    )
    (tmp_path / "below/back").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    code, document = check(tmp_path)
    assert code == 0
    assert {os.path.relpath(each["path"], tmp_path): each["why"] for each in document["passed_over"]} == {
        "old.key": "a private key of no certificate here",
        "below/notes.txt": "no certificate in it",
        "below/back": "a directory that leads back to one above it",
        ".hidden": "hidden, its name begins with a dot",
        "site.pub": "a public key",
        "cut.der": "the DER data is cut short or damaged",
        "socket": "not a regular file",
    }
    said = certvigil("check", str(tmp_path)).stdout
    assert f"7 passed over in {tmp_path}:\n" in said
    assert "\n     1  no certificate in it: below/notes.txt\n" in said


def test_a_keystore_in_a_directory_is_named_and_its_content_unknown(tmp_path: Path) -> None:
    put(tmp_path, {"site.crt": SITE.pem(), "store.p12": keystore(OTHER)})
    code, document = check(tmp_path)
    assert code == 3
    assert [each["verdict"] for each in document["targets"]] == ["ok", "unknown"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_searched_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    put(tmp_path, {"site.crt": SITE.pem()})
    assert check(tmp_path)[0] == 3


def test_standard_input_is_a_file(tmp_path: Path) -> None:
    def piped(data: bytes, *arguments: str) -> tuple[int, str]:
        with begun("check", *arguments, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
            said = running.communicate(data, timeout=60)[0]
            return running.wait(), said.decode()

    code, said = piped(SITE.chain_pem())
    assert code == 0
    assert said.startswith("ok       standard input\n")
    assert piped(OTHER.key_pem() + SITE.pem())[0] == 2
    assert piped(b"")[0] == 2
    (tmp_path / "password").write_bytes(PASSWORD)
    assert piped(keystore(SITE), "--password-file", str(tmp_path / "password"))[0] == 0


def test_text_shows_by_what_a_certificate_is_known(tmp_path: Path) -> None:
    put(tmp_path, {"site.pem": SITE.pem()})
    said = certvigil("check", str(tmp_path / "site.pem")).stdout
    (shown,) = check(tmp_path / "site.pem")[1]["targets"][0]["chain"]
    for fact in (f"DNS:{NAME}", "CN=Lab Issuing CA", shown["serial"], shown["sha256"]):
        assert fact in said


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_word_is_broken_at_any_width(tmp_path: Path, columns: int) -> None:
    put(tmp_path, {"a.crt": bundle([SITE]), "b.crt": SITE.chain_pem(), "b.key": OTHER.key_pem(), "x.txt": b"x"})
    (tmp_path / "root.pem").write_bytes(OTHER.pem())
    arguments = ("check", "--ca-file", str(tmp_path / "root.pem"), str(tmp_path))
    words = certvigil(*arguments).stdout.split()
    shown = on_a_terminal(*arguments, columns=columns)
    assert plain(shown.output).split() == words
    for line in plain(shown.output).splitlines():
        assert len(line) <= columns or len(line.split()) <= 2, "only a word that is too long for a line is"


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("target", ["https://{}/status?x=1#y", "https://{}"])
def test_a_url_is_an_endpoint_whatever_its_path(target: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        code, document = check(target.format(address))
    assert (code, codes(document)) == (2, {"unreachable"})
    assert document["targets"][0]["target"] == target.format(address)


def test_a_directory_deleted_under_the_shell_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    put(tmp_path, {"site.pem": SITE.pem()})
    script = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec {os.path.dirname(sys.executable)}/certvigil check "
    for target, code in ((".", 3), ("site.pem", 3), (str(tmp_path / "site.pem"), 0)):
        ran = subprocess.run(["sh", "-c", script + target], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == code
        assert "Traceback" not in ran.stderr
        assert ("current directory was deleted" in ran.stderr) == (code == 3)


def test_a_revocation_list_is_shown_and_tells_of_the_certificates_beside_it(tmp_path: Path) -> None:
    now = time.time()
    current = crl(ISSUING, now, Entry(SITE, now - 60))
    put(tmp_path, {"site.pem": bundle(SITE.chain), "issuing.crl": crl_pem(current)})
    put(tmp_path, {"root.crl": crl(ROOT, now, this_update=now - 9 * DAY, next_update=now - DAY, number=3)})
    code, found = check(tmp_path / "site.pem", tmp_path / "issuing.crl", tmp_path / "root.crl")
    assert code == 2
    assert "revoked" in codes(found, "site.pem")
    assert codes(found, "issuing.crl") == set()
    assert codes(found, "root.crl") == {"crl_stale"}
    (shown,) = next(each for each in found["targets"] if each["target"].endswith("root.crl"))["revocation_lists"]
    assert (shown["issuer"], shown["number"], shown["base"]) == ("CN=Lab Root CA", 3, None)
    said = certvigil("check", str(tmp_path / "issuing.crl")).stdout
    assert "the revocation list of CN=Lab Issuing CA, whose next one is due at" in said
    assert "private key" not in said
