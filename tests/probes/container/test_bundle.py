"""A bundle counts for exactly what the real OpenSSL takes for anchors, however its blocks are written."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import certifi
import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config.model import PemBundle, TrustStore
from monitor.lab.ca import Authority
from probes.container.bundle import read_bundle
from probes.container.registry import trusted_in
from probes.store_content import read_store
from probes.trust import Trust, TrustUnreadable, read_trust

ROOT: Final = Authority.root("Root One")
OTHER: Final = Authority.root("Other")
LEAF: Final = ROOT.issue("www.example.com")
PEM: Final = ROOT.pem()
LINES: Final = PEM.split(b"\n")
BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
BASE64: Final = base64.b64encode(ROOT.der())


def with_settings(*settings_: str) -> bytes:
    """Return a block of OpenSSL's own kind, with settings behind the certificate."""
    return subprocess.run(
        ["openssl", "x509", "-trustout", *settings_], input=PEM, capture_output=True, check=True
    ).stdout


OF_NO_VERSION = (Path(cryptography_vectors.__file__).parent / "x509/custom/crl_bad_version.pem").read_bytes()

FORMS: Final[Mapping[str, bytes]] = {
    "plain": PEM,
    "behind a line that begins with NUL": b"\0\n" + PEM,
    "behind a line with a NUL in it": b"# a\0b\n" + PEM,
    "indented": b"\n".join(b"  " + each for each in LINES),
    "its first line indented": b"  " + PEM,
    "its last line indented": PEM.replace(b"-----END", b"  -----END"),
    "its content indented": b"\n".join([LINES[0], *(b" " + each for each in LINES[1:-2]), *LINES[-2:]]),
    "blanks behind its boundaries": PEM.replace(b"-----\n", b"----- \t\n"),
    "behind a line broken by CR alone": b"# comment\r" + PEM,
    "broken by CR alone": PEM.replace(b"\n", b"\r"),
    "broken by CR LF": PEM.replace(b"\n", b"\r\n"),
    "behind text on its line": b"x " + PEM,
    "behind a mark of UTF-8": b"\xef\xbb\xbf" + PEM,
    "nested behind a BEGIN without an end": BEGIN + PEM,
    "nested behind a BEGIN of a CRL": b"-----BEGIN X509 CRL-----\n" + PEM,
    "nested behind a BEGIN of a key": b"-----BEGIN RSA PRIVATE KEY-----\n" + PEM,
    "trusted": with_settings(),
    "trusted, with an alias": with_settings("-setalias", "x"),
    "trusted for servers": with_settings("-addtrust", "serverAuth"),
    "trusted for clients": with_settings("-addtrust", "clientAuth"),
    "trusted for all": with_settings("-addtrust", "anyExtendedKeyUsage"),
    "rejected for servers": with_settings("-addreject", "serverAuth"),
    "PKCS#7": pkcs7.serialize_certificates([ROOT.certificate], Encoding.PEM),
    "PKCS#7 that is called a certificate": BEGIN
    + base64.encodebytes(pkcs7.serialize_certificates([ROOT.certificate], Encoding.DER))
    + END,
    "the old label": PEM.replace(b" CERT", b" X509 CERT"),
    "another label at its end": PEM.replace(b"END CERT", b"END X509 CERT"),
    "behind a block that is no base64": BEGIN + b"!!!\n" + END + PEM,
    "behind a block that is no certificate": BEGIN + b"AAAA\n" + END + PEM,
    "before a block that is no certificate": PEM + BEGIN + b"AAAA\n" + END,
    "before an unended block": PEM + BEGIN,
    "behind an END alone": END + PEM,
    "behind a key that is none": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + PEM,
    "behind a key": LEAF.key_pem() + PEM,
    "behind a block of no known kind": b"-----BEGIN FOO-----\nAAAA\n-----END FOO-----\n" + PEM,
    "behind a block of no known kind that is no base64": b"-----BEGIN FOO-----\n!\n-----END FOO-----\n" + PEM,
    "a header": PEM.replace(b"-----\n", b"-----\nFoo: bar\n\n", 1),
    "a blank line in front": PEM.replace(b"-----\n", b"-----\n\n", 1),
    "a blank line within": b"\n".join([*LINES[:4], b"", *LINES[4:]]),
    "one long line": BEGIN + BASE64 + b"\n" + END,
    "a long line behind a blank one": BEGIN + b"\n" + BASE64 + b"\n" + END,
    "short lines": BEGIN + b"\n".join(BASE64[at : at + 20] for at in range(0, len(BASE64), 20)) + b"\n" + END,
    "short lines behind a blank one": BEGIN
    + b"\n"
    + b"\n".join(BASE64[at : at + 20] for at in range(0, len(BASE64), 20))
    + b"\n"
    + END,
    "no end of its last line": PEM.rstrip(b"\n"),
    "more behind its content": BEGIN + base64.encodebytes(ROOT.der() + b"\x05\0") + END,
    "behind a line of 253": b"x" * 253 + PEM,
    "behind a line of 254": b"x" * 254 + PEM,
    "behind a line of 5000": b"x" * 5000 + b"\n" + PEM,
    "padding within": LINES[0] + b"\nAA==\n" + b"\n".join(LINES[1:]),
    "beside a revocation list of a version that there is not": OF_NO_VERSION + PEM,
    "text behind its first boundary": PEM.replace(b"BEGIN CERTIFICATE-----\n", b"BEGIN CERTIFICATE-----x\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_certificate_counts_where_openssl_takes_it_for_an_anchor(form: str, tmp_path: Path) -> None:
    bundle, leaf = tmp_path / "bundle.pem", tmp_path / "leaf.pem"
    bundle.write_bytes(FORMS[form])
    leaf.write_bytes(LEAF.pem())
    verify = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", str(bundle)]
    # Where a purpose makes a difference, only what holds with and without it counts.
    takes = all(
        subprocess.run([*verify, *purpose, str(leaf)], capture_output=True, check=False).returncode == 0
        for purpose in ((), ("-purpose", "sslserver"))
    )
    assert (ROOT.der() in read_bundle(FORMS[form]).certificates) is takes
    read = read_trust(TrustStore("corp", PemBundle(str(bundle))))
    assert (isinstance(read, Trust) and [each.der for each in read.anchors] == [ROOT.der()]) is takes
    assert (read_store(FORMS[form]).anchors == (ROOT.der(),)) is takes


def test_why_a_bundle_counts_for_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_bytes(PEM + FORMS["behind a block that is no certificate"])
    read = read_trust(TrustStore("corp", PemBundle(str(tmp_path / "bundle.pem"))))
    assert isinstance(read, TrustUnreadable)
    line = PEM.count(b"\n") + 1
    assert read.detail.startswith(f"OpenSSL reads none of it: the block at line {line} cannot be decoded: ")
    faults = [each.detail for each in read_store(PEM + b"  " + OTHER.pem()).faults]
    assert faults[-1].startswith("OpenSSL takes 1 of its certificates for no anchors")


def test_the_usual_bundle_is_read_whole() -> None:
    data = Path(certifi.where()).read_bytes()
    assert read_bundle(data).certificates == trusted_in(data) == tuple(map(ssl.PEM_cert_to_DER_cert, _blocks(data)))


def _blocks(data: bytes) -> list[str]:
    end = "-----END CERTIFICATE-----"
    return [part[part.index("-----BEGIN") :] + end for part in data.decode().split(end)[:-1]]


_PIECES: Final = st.sampled_from(
    [
        *(LINES + OTHER.pem().split(b"\n")),
        *(BEGIN.strip(), END.strip(), PEM.strip(), OTHER.pem().strip(), PEM.strip()),
        *(b"", b" ", b"\t", b"\0", b"#", b"a: b", b"=", b"AAAA", b"-----", b"x" * 253, b"x" * 254),
        *(b"-----BEGIN X-----", b"-----END X-----", b"-----BEGIN -----", b"-----END -----", b"-----BEGIN -"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example([(PEM.strip(), b"\n"), (b"-----BEGIN -----", b"\n"), (b"-----END -----", b"\n")])
@example([(PEM.strip(), b"\n"), (b"-----BEGIN X-----\nAAAA\n-\n=\n-----END X-----", b"\n")])
@example([(PEM.strip(), b"\n"), (b"-----BEGIN X-----\n-\n-----END X-----", b"\n")])
@example([(PEM.strip(), b"\n"), (b"-----BEGIN X-----\nAAAA\nA-BCAAAA\n-----END X-----", b"\n")])
@example([(b"-----BEGIN X-----\na: b\n\n-----END X-----", b"\n"), (PEM.strip(), b"\n")])
@given(st.lists(st.tuples(_PIECES, st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"", b" \n"])), max_size=12))
def test_whatever_a_bundle_is_made_of_it_counts_as_in_openssl(tmp_path: Path, parts: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(text + end for text, end in parts)
    (tmp_path / "bundle.pem").write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(str(tmp_path / "bundle.pem"))
    except ssl.SSLError:
        taken = set()
    else:
        taken = set(context.get_ca_certs(binary_form=True))
    assert set(read_bundle(data).certificates) == taken
