"""What brings roots to other machines: the certificates themselves, and nothing that their names could do."""

from __future__ import annotations

import hashlib
import plistlib
import re
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from markdown_it import MarkdownIt

from monitor.guide.kit import Files, Signer, macos, signed_profile, sort_out, windows
from monitor.lab.ca import HOSTILE_TEXT, Authority, KeyType, new_key
from probes.certificate import Certificate, decodable

NASTY = "R'x' \"y\" `whoami` $(whoami) %PATH% &|>^ \N{RIGHT SINGLE QUOTATION MARK} #> ``` <b>"
KEYS = {"PayloadContent", "PayloadDescription", "PayloadDisplayName", "PayloadIdentifier", "PayloadType", "PayloadUUID"}
KEYS |= {"PayloadVersion"}


def values(*issued: Authority) -> tuple[Certificate, ...]:
    return tuple(decodable([each.der() for each in issued]))


ROOT = Authority.root("Corporate Root CA")
OTHER = Authority.root(NASTY)
HOSTILE = Authority.root(HOSTILE_TEXT)
ISSUING = ROOT.intermediate("Corporate Issuing CA 3")
BROUGHT, _ = sort_out(values(ROOT, OTHER, HOSTILE), values(ISSUING))


def payloads(files: Files) -> list[dict[str, object]]:
    found: list[dict[str, object]] = plistlib.loads(files["root.mobileconfig"])["PayloadContent"]
    return found


@pytest.mark.parametrize("make", [windows, macos])
def test_each_certificate_is_there_as_der_and_as_pem(make: object) -> None:
    files = windows(BROUGHT) if make is windows else macos(BROUGHT)
    for name, each in {"root-1": ROOT, "root-2": OTHER, "root-3": HOSTILE, "intermediate": ISSUING}.items():
        assert files[f"{name}.cer"] == each.der()
        assert x509.load_pem_x509_certificate(files[f"{name}.pem"]) == each.certificate
    assert not any(b"PRIVATE" in data for data in files.values())


def test_a_root_comes_from_the_trust_store_alone_and_a_leaf_from_nowhere() -> None:
    leaf = ISSUING.issue("www.example.com")
    brought, remarks = sort_out(values(ROOT), tuple(decodable([ISSUING.der(), OTHER.der(), leaf.der()])))
    assert [each.title for each in brought.all.values()] == ["CN=Corporate Root CA", "CN=Corporate Issuing CA 3"]
    assert [each.partition(":")[0] for each in remarks] == [
        *("left out, since it is in no trust store", "left out, since it is no CA's")
    ]


def test_an_intermediate_of_a_bundle_is_no_root() -> None:
    brought, remarks = sort_out(values(ROOT, ISSUING), ())
    assert (list(brought.roots), list(brought.intermediates), remarks) == (["root"], ["intermediate"], ())


def test_the_scripts_compare_the_hash_of_each_file_before_it_is_trusted() -> None:
    files = windows(BROUGHT)
    powershell, batch = files["install.ps1"].decode("ascii"), files["install.cmd"].decode("ascii")
    for name, store in (("root-1", "Root"), ("root-2", "Root"), ("root-3", "Root"), ("intermediate", "CA")):
        hashed = hashlib.sha256(files[f"{name}.cer"]).hexdigest()
        assert f"Add-Expected '{name}.cer' '{hashed.upper()}' '{store}'" in powershell
        found = batch.index(f"certutil -hashfile {name}.cer SHA256 | findstr /i /x /c:{hashed} ")
        assert batch.index(f"certutil -f -addstore {store} {name}.cer") > found


def test_a_name_stands_in_no_script_but_behind_a_comment() -> None:
    files = windows(BROUGHT)
    assert re.search("whoami|PATH|alert", files["install.cmd"].decode("ascii")) is None
    lines = files["install.ps1"].decode("ascii").split("\r\n")
    named = [line for line in lines if re.search("whoami|alert|Corporate", line)]
    assert len(named) == 4
    # A comment ends where its line does: so no line end may come from a name.
    assert all(line.startswith("# ") and line.isprintable() for line in named)
    assert not any("\r" in line or "\n" in line for line in lines)


def test_thumbprints_are_those_of_windows() -> None:
    readme = windows(BROUGHT)["README.md"].decode()
    for each in (ROOT, OTHER, HOSTILE):
        thumbprint = hashlib.sha1(each.der(), usedforsecurity=False).hexdigest().upper()
        assert f"thumbprint `{thumbprint}`" in readme
        assert f"Get-ChildItem Cert:\\LocalMachine\\Root\\{thumbprint}" in readme
    (store,) = re.findall(r"Get-ChildItem Cert:\\LocalMachine\\(\w+)\\" + _thumbprint(ISSUING), readme)
    assert store == "CA"


def _thumbprint(issued: Authority) -> str:
    return hashlib.sha1(issued.der(), usedforsecurity=False).hexdigest().upper()


@pytest.mark.parametrize("kind", ["windows", "macos"])
def test_a_name_is_literal_text_of_the_markdown(kind: str) -> None:
    readme = (windows(BROUGHT) if kind == "windows" else macos(BROUGHT))["README.md"].decode()
    tokens = MarkdownIt().parse(readme)
    children = [each for token in tokens for each in (token.children or ())]
    spans = [each.content for each in children if each.type == "code_inline"]
    assert [each for each in spans if "whoami" in each] == [str(values(OTHER)[0].title)]
    assert not any(
        "whoami" in each.content or "alert" in each.content for each in children if each.type != "code_inline"
    )
    assert not any(each.type.startswith("html") for each in (*tokens, *children))


def test_a_profile_has_the_documented_keys_and_each_certificate_in_der() -> None:
    whole = plistlib.loads(macos(BROUGHT)["root.mobileconfig"])
    assert whole.keys() == KEYS | {"PayloadScope", "PayloadRemovalDisallowed"}
    assert (whole["PayloadType"], whole["PayloadVersion"], whole["PayloadScope"]) == ("Configuration", 1, "System")
    found = [(each["PayloadType"], each["PayloadContent"]) for each in whole["PayloadContent"]]
    assert found == [
        *(("com.apple.security.root", each.der()) for each in (ROOT, OTHER, HOSTILE)),
        ("com.apple.security.pkcs1", ISSUING.der()),
    ]
    for each in whole["PayloadContent"]:
        assert each.keys() == KEYS | {"PayloadCertificateFileName"}
        assert each["PayloadDisplayName"].isprintable()
    every = [whole, *whole["PayloadContent"]]
    assert len({each["PayloadUUID"] for each in every}) == len({each["PayloadIdentifier"] for each in every}) == 5
    assert all(UUID(each["PayloadUUID"]).version == 5 for each in every)


def test_the_same_certificates_give_the_same_bytes_and_others_another_profile() -> None:
    again, _ = sort_out(values(ROOT, OTHER, HOSTILE), values(ISSUING))
    assert macos(again) == macos(BROUGHT)
    assert windows(again) == windows(BROUGHT)
    one, _ = sort_out(values(ROOT), ())
    first, second = (plistlib.loads(macos(each)["root.mobileconfig"]) for each in (one, BROUGHT))
    assert first["PayloadUUID"] != second["PayloadUUID"]
    # A device that has this certificate by another profile knows it again.
    assert first["PayloadContent"][0] == {**second["PayloadContent"][0], "PayloadCertificateFileName": "root.cer"}


@pytest.mark.parametrize("kind", [KeyType.RSA2048, KeyType.P256])
def test_openssl_verifies_a_signed_profile_and_finds_it_unchanged(kind: KeyType, tmp_path: Path) -> None:
    leaf = ISSUING.issue("signer.example.com", key=new_key(kind), purposes=())
    profile = macos(BROUGHT)["root.mobileconfig"]
    certificates = tuple(decodable([each.der() for each in leaf.chain]))
    key = leaf.key
    signer = Signer(key, certificates)  # type: ignore[arg-type]  # RSA or EC, by the kinds above
    der = macos(BROUGHT, signer)["root.mobileconfig"]
    assert der != signed_profile(profile + b" ", signer)
    (tmp_path / "profile").write_bytes(der)
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    (tmp_path / "other.pem").write_bytes(OTHER.pem())
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "profile", "-purpose", "any", "-CAfile"]
    ran = subprocess.run([*command, "root.pem"], cwd=tmp_path, capture_output=True, check=True)
    assert ran.stdout == profile
    assert b"PRIVATE" not in der
    assert subprocess.run([*command, "other.pem"], cwd=tmp_path, capture_output=True, check=False).returncode != 0
