"""The facts of an endpoint, as `certvigil check` and as other programs tell them: in one shape, to be compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from config.address import join_address
from config.vocabulary import EndpointProtocol, UnreachableReason
from monitor.lab.process import find_command
from tests.kit.compared_servers import Address, Row
from tests.kit.daemon import certvigil
from tests.kit.starttls_servers import DOMAIN

P, R = EndpointProtocol, UnreachableReason
_OWN: Final = Path(__file__).parents[2] / ".compared"
"""Where `tests/kit/install compared` puts programs that are no part of the project."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a program tells; None where it does not tell it."""

    reached: bool | None = None
    failure: str | None = None
    """Why there are no other facts, as certvigil calls it; empty where there are."""
    version: str | None = None
    cipher: str | None = None
    group: str | None = None
    chain: tuple[str, ...] | None = None
    """SHA-256 of each certificate, in the order in which they came."""
    leaf: str | None = None
    """SHA-256 of the first one."""
    names: frozenset[str] | None = None
    """DNS names of the first one."""
    staple: str | None = None
    """What it says; empty where none came."""
    asks: bool | None = None
    """Whether a client certificate is asked for."""
    accepted: bool | None = None
    """Whether the server is who it says that it is, for who trusts the root of the rows."""
    cause: str | None = None
    """Why not: a code of certvigil; empty where it is accepted."""


def differences(ours: Facts, theirs: Facts) -> Mapping[str, tuple[object, object]]:
    """Return each fact that both tell, and tell otherwise."""
    pairs = {each.name: (getattr(ours, each.name), getattr(theirs, each.name)) for each in fields(Facts)}
    return {name: pair for name, pair in pairs.items() if None not in pair and pair[0] != pair[1]}


def scheme_of(protocol: EndpointProtocol) -> str:
    """Return how a URL for `check` begins."""
    return "" if protocol is P.TLS else f"{protocol}://"


def by_check(rows: Mapping[str, tuple[Row, Address]], ca_file: str, timeout: float) -> Mapping[str, Facts]:
    """Return what `certvigil check` tells of servers that are all looked at with the same words."""
    given = {f"{scheme_of(row.protocol)}{join_address(*at)}": name for name, (row, at) in rows.items()}
    words = next(iter(rows.values()))[0].words
    options = ("--name", DOMAIN, "--ca-file", ca_file, "--timeout", f"{timeout:g}", *words)
    ran = certvigil("check", "--json", *options, *given)
    found = {each["target"]: each for each in json.loads(ran.stdout)["targets"]}
    return {name: _told(found[target]) for target, name in given.items()}


_ORDER: Final = (
    *("bad_signature", "incomplete_chain", "self_signed", "untrusted_issuer", "not_yet_valid", "expired"),
    *("hostname_mismatch", "weak_key", "weak_signature", "invalid_ca", "path_rejected", "nonconforming"),
)


def _told(target: Mapping[str, Any]) -> Facts:
    findings = target["findings"]
    if not target["addresses"]:
        (why,) = (each["detail"].partition(":")[0] for each in findings if each["code"] == "unreachable")
        return Facts(False, why)
    (address,) = target["addresses"]
    chain, codes = target["chain"], {each["code"] for each in findings}
    accepted = "client_rejects" not in codes and not any(each["severity"] == "critical" for each in findings)
    return Facts(
        True,
        "",
        address["version"],
        address["cipher"],
        address["group"],
        tuple(each["sha256"] for each in chain),
        chain[0]["sha256"],
        frozenset(each.removeprefix("DNS:") for each in chain[0]["names"] if each.startswith("DNS:")),
        address["staple"]["status"] if address["staple"] else "",
        address["client_certificate"] != "not_requested",
        accepted,
        "" if accepted else next((each for each in _ORDER if each in codes), "none"),
    )


_STARTTLS: Final = {
    P.XMPP_SERVER: "xmpp-server",
}
_CANNOT: Final = frozenset({P.RDP})
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_FAILURES: Final = (
    ("Didn't find STARTTLS", R.TLS_DECLINED),
    ("Connection refused", R.CONNECTION_REFUSED),
    ("errno=104", R.CONNECTION_RESET),
    ("unexpected eof", R.CONNECTION_CLOSED),
    ("wrong version number", R.NOT_TLS),
    ("packet length too long", R.NOT_TLS),
    ("protocol version", R.PROTOCOL_VERSION),
    ("unsupported protocol", R.PROTOCOL_VERSION),
    ("excessive message size", R.HANDSHAKE_FAILED),
    ("alert", R.HANDSHAKE_FAILED),
    ("errno=", R.CONNECTION_CLOSED),
)
"""In words of OpenSSL's, and what certvigil calls it; the first that fits."""
_CAUSES: Final = {
    7: "bad_signature",
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "untrusted_issuer",
    20: "incomplete_chain",
    21: "incomplete_chain",
    24: "invalid_ca",
    25: "invalid_ca",
    26: "path_rejected",
    34: "path_rejected",
    47: "path_rejected",
    62: "hostname_mismatch",
    66: "weak_key",
    67: "weak_key",
    68: "weak_signature",
    79: "invalid_ca",
}
"""Of OpenSSL's codes (X509_V_ERR): what certvigil calls it."""


def by_s_client(row: Row, at: Address, ca_file: str, timeout: float) -> Facts:
    """Return what `openssl s_client` tells of a server."""
    if row.protocol in _CANNOT:
        return Facts()
    name = () if "-noservername" in row.s_client else ("-servername", DOMAIN)
    start: tuple[str, ...] = (
        () if row.protocol is P.TLS else ("-starttls", _STARTTLS.get(row.protocol, str(row.protocol)))
    )
    if row.protocol in {P.XMPP, P.XMPP_SERVER}:
        start += ("-name", DOMAIN)
    # At level 0 it takes what is old as well, and judges all the same as it does by itself.
    command = (
        *("openssl", "s_client", "-connect", join_address(*at), *name, "-verify_hostname", DOMAIN),
        *("-CAfile", ca_file, "-showcerts", "-status", "-legacy_server_connect", "-auth_level", "2", *start),
        *("-cipher", "DEFAULT:ALL:COMPLEMENTOFALL:!aNULL:@SECLEVEL=0", *row.s_client),
    )
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Facts(False, R.TIMED_OUT)
    return _of_s_client(ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace"))


def _of_s_client(said: str, errors: str) -> Facts:
    whole, _, _ = said.partition("\nServer certificate\n")
    pems = _CERTIFICATE.findall(whole)
    if not pems:
        return Facts(False, next((str(word) for text, word in _FAILURES if text in errors), errors[-300:]))
    session = re.search(r"^New, (\S+), Cipher is (\S+)$", said, re.MULTILINE)
    version = re.search(r"^ *Protocol *: *(\S+)$", said, re.MULTILINE)
    group = re.search(r"^Server Temp Key: ([^,\n]+)(?:, ([^,\n]+))?", said, re.MULTILINE)
    verdict = re.search(r"^ *Verify return code: (\d+) ", said, re.MULTILINE)
    staple = re.search(r"^ *Cert Status: (\w+)$", said, re.MULTILINE)
    assert session is not None
    assert verdict is not None
    number = int(verdict[1])
    chain = tuple(map(_sha256, pems))
    return Facts(
        True,
        "",
        version[1] if version else session[1],
        session[2],
        _group(group[1], group[2]) if group else "",
        chain,
        chain[0],
        _names(pems[0]),
        staple[1] if staple else "",
        "No client certificate CA names sent" not in said or "Requested Signature Algorithms" in said,
        number == 0,
        "" if number == 0 else _CAUSES.get(number, verdict[0]),
    )


def _sha256(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _group(first: str, second: str | None) -> str:
    named = second if first == "ECDH" and second else first
    return {"prime256v1": "secp256r1"}.get(named, named).lower()


def _names(pem: str) -> frozenset[str]:
    said = subprocess.run(
        ("openssl", "x509", "-noout", "-ext", "subjectAltName"), input=pem.encode(), capture_output=True, check=False
    ).stdout.decode(errors="replace")
    return frozenset(re.findall(r"DNS:([^,\n]*)", said))


SSLYZE: Final = next(
    (each for each in (str(_OWN / "bin/sslyze"), find_command("sslyze")) if each and os.path.exists(each)), None
)
"""The program; None where it is not installed."""
_SSLYZE_STARTTLS: Final = frozenset({P.SMTP, P.XMPP, P.XMPP_SERVER, P.POP3, P.IMAP, P.FTP, P.LDAP, P.RDP, P.POSTGRES})


def by_sslyze(rows: Mapping[str, tuple[Row, Address]], ca_file: str) -> Mapping[str, Facts]:
    """Return what sslyze tells of the servers that it can look at as `check` does, which speak one protocol."""
    row = next(iter(rows.values()))[0]
    if row.words or (row.protocol is not P.TLS and row.protocol not in _SSLYZE_STARTTLS):
        return {}
    assert SSLYZE is not None
    start: tuple[str, ...] = () if row.protocol is P.TLS else ("--starttls", row.protocol.replace("-", "_"))
    if row.protocol in {P.XMPP, P.XMPP_SERVER}:
        start += ("--xmpp_to", DOMAIN)
    at = {(host, port): name for name, (_, (host, port)) in rows.items()}
    with TemporaryDirectory() as directory:
        said = os.path.join(directory, "said.json")
        command = (
            *(SSLYZE, f"--json_out={said}", "--mozilla_config", "disable", "--certinfo", "--certinfo_ca_file", ca_file),
            *("--sni", DOMAIN, *start, *(f"{DOMAIN}:{port}{{{host}}}" for host, port in at)),
        )
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
        results = json.loads(Path(said).read_bytes())["server_scan_results"]
    places = ((each["server_location"], each) for each in results)
    return {at[place["ip_address"], place["port"]]: _of_sslyze(each, ca_file) for place, each in places}


def _of_sslyze(result: Mapping[str, Any], ca_file: str) -> Facts:
    found, scanned = result["connectivity_result"], result["scan_result"]
    if found is None:
        return Facts(reached=False)
    info = scanned["certificate_info"]["result"]
    version = found["highest_tls_version_supported"].replace("TLS_1_0", "TLSv1").replace("TLS_1_", "TLSv1.")
    asks = found["client_auth_requirement"] != "DISABLED"
    # Where the server asks for a client certificate, it tells what it offered.
    facts = Facts(True, version=version, cipher=None if asks else found["cipher_suite_supported"], asks=asks)
    if info is None:
        return facts
    first, *others = info["certificate_deployments"]
    if others:
        # Those of each kind of key, in no order.
        return facts
    chain = tuple(_sha256(each["as_pem"]) for each in first["received_certificate_chain"])
    staple = first["ocsp_response"]
    (verdict,) = (each for each in first["path_validation_results"] if each["trust_store"]["path"] == ca_file)
    return replace(
        facts,
        chain=chain,
        leaf=chain[0],
        staple=staple["certificate_status"].lower() if staple else "",
        accepted=verdict["was_validation_successful"],
    )


_TESTSSL_STARTTLS: Final = frozenset({P.FTP, P.SMTP, P.LMTP, P.POP3, P.IMAP, P.XMPP, P.LDAP, P.POSTGRES, P.MYSQL})
_TESTSSL_VERSIONS: Final = {"TLS1_3": "TLSv1.3", "TLS1_2": "TLSv1.2", "TLS1_1": "TLSv1.1", "TLS1": "TLSv1"}


def by_testssl(row: Row, at: Address, ca_file: str) -> Facts:
    """Return what testssl.sh tells of a server, where it can look at it as `check` does."""
    if row.words or (row.protocol is not P.TLS and row.protocol not in _TESTSSL_STARTTLS):
        return Facts()
    host, port = at
    start: tuple[str, ...] = () if row.protocol is P.TLS else ("--starttls", str(row.protocol))
    if row.protocol is P.XMPP:
        start += ("--xmpphost", DOMAIN)
    with TemporaryDirectory() as directory:
        said = os.path.join(directory, "said.json")
        command = (
            *("testssl", "-p", "-S", "--warnings", "off", "--nodns", "none", "--color", "0", "--quiet"),
            *("--connect-timeout", "5", "--openssl-timeout", "5", "--ip", host, "--add-ca", ca_file, *start),
            *("--jsonfile", said, f"{DOMAIN}:{port}"),
        )
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False, cwd=directory)
        lines = json.loads(Path(said).read_bytes())
    return _of_testssl({each["id"].partition(" ")[0]: each["finding"] for each in lines})


def _of_testssl(found: Mapping[str, str]) -> Facts:
    offered = [version for name, version in _TESTSSL_VERSIONS.items() if found.get(name, "").startswith("offered")]
    pem = found.get("cert", "")
    if not offered or not pem.startswith("-----BEGIN"):
        return Facts(reached=bool(offered))
    lines = pem.replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", "").split()
    der = b64decode("".join(lines))
    names = found.get("cert_subjectAltName", "")
    trusted, named = found["cert_chain_of_trust"], found["cert_trust"]
    staple = found.get("OCSP_stapling", "")
    return Facts(
        True,
        version=offered[0],
        leaf=hashlib.sha256(der).hexdigest(),
        names=None if names.startswith("No SAN") else frozenset(names.split()),
        staple=None if staple == "offered" else "",
        accepted=trusted.startswith("passed") and named.lower().startswith("ok"),
    )
