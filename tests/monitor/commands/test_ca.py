"""A CA of one's own, by its commands: what it signs, what it refuses, and that its certificates are served."""

from __future__ import annotations

import ipaddress
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from monitor.lab.ca import DAY
from monitor.lab.servers import replace_file
from tests.kit.appliance import appliance
from tests.kit.authority import NAME, ROOT
from tests.kit.daemon import certvigil

Extended = Callable[[x509.CertificateSigningRequestBuilder], x509.CertificateSigningRequestBuilder]


def run(*arguments: str) -> tuple[int, str, str]:
    ran = certvigil("ca", *arguments)
    assert "PRIVATE KEY" not in ran.stdout + ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def own(tmp_path: Path) -> str:
    directory = f"{tmp_path}/ca"
    code, _, said = run("init", directory, "--name", "Our CA", "--permit", "example.com", "--permit", "10.0.0.0/8")
    assert (code, said) == (
        0,
        f"the root is {directory}/ca.crt: give it to the clients; the key beside it is for root alone\n",
    )
    return directory


def request(
    *names: str | x509.GeneralName,
    subject: str = "",
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey | None = None,
    more: Extended = lambda builder: builder,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    if names:
        every = [x509.DNSName(each) if isinstance(each, str) else each for each in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(every), critical=False)
    signer = key or ec.generate_private_key(ec.SECP256R1())
    return more(builder).sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_its_certificate_for_a_request_is_served(own: str) -> None:
    with appliance("primary") as machine:
        root = Path(own, "ca.crt").read_bytes()
        replace_file(f"{machine.directory}/root.pem", ROOT.pem() + root)
        code, said = machine.command("csr", "primary", "--key", "rsa2048", "--out", f"{own}/web.csr")
        assert code == 0, said
        code, _, said = run("sign", f"{own}/web.csr", "--ca", own, "--out", f"{own}/web.crt", "--yes")
        assert code == 0, said
        assert said.startswith(f"names    {NAME}\nkey      rsa 2048\nuntil    ")
        code, said = machine.command("replace", "primary", "--from", f"{own}/web.crt")
        assert code == 0, said
        issued = x509.load_pem_x509_certificate(Path(own, "web.crt").read_bytes())
        assert set(machine.served().values()) == {issued.public_bytes(Encoding.DER)}


def test_the_root_signs_servers_certificates_alone_and_its_key_is_for_nobody_else(own: str) -> None:
    key = Path(own, "ca.key")
    assert (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(Path(own).stat().st_mode)) == (0o600, 0o700)
    root = x509.load_pem_x509_certificate(Path(own, "ca.crt").read_bytes())
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert root.extensions.get_extension_for_class(x509.NameConstraints).critical
    before = key.read_bytes()
    code, _, said = run("init", own, "--name", "Another")
    assert (code, said) == (4, f"certvigil: {own} is not empty: a CA is made in a new directory\n")
    assert key.read_bytes() == before
    key.chmod(0o640)
    Path(own, "it.csr").write_bytes(request(NAME))
    code, _, said = run("sign", f"{own}/it.csr", "--ca", own, "--yes")
    assert (code, said) == (4, f"certvigil: {own}/ca.key can be read by others: it is not used\n")


def test_a_request_makes_itself_no_ca_and_gets_nothing_but_its_names(own: str) -> None:
    def more(builder: x509.CertificateSigningRequestBuilder) -> x509.CertificateSigningRequestBuilder:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.NameConstraints([x509.DNSName("evil.example")], None), critical=True)
        return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)

    names = (NAME, "*.example.com", x509.IPAddress(ipaddress.ip_address("10.1.2.3")))
    Path(own, "it.csr").write_bytes(request(*names, subject="CN=www.example.com,O=Evil", more=more))
    code, out, said = run("sign", f"{own}/it.csr", "--ca", own, "--yes")
    assert code == 0, said
    assert f"names    {NAME}, *.example.com, 10.1.2.3\n" in said
    assert "left out O=Evil of its subject\n" in said
    assert "left out that it would be a CA's\n" in said
    assert "left out the extension 2.5.29.30\n" in said
    issued = x509.load_pem_x509_certificate(out.encode())
    assert issued.subject.rfc4514_string() == f"CN={NAME}"
    kinds = {type(each.value) for each in issued.extensions}
    assert x509.NameConstraints not in kinds
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    purposes = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert 179 * DAY < issued.not_valid_after_utc.timestamp() - time.time() <= 180 * DAY
    code, again, _ = run("sign", f"{own}/it.csr", "--ca", own, "--yes")
    assert code == 0
    serials = {issued.serial_number, x509.load_pem_x509_certificate(again.encode()).serial_number}
    assert {f"{each:x}.crt" for each in serials} == set(os.listdir(f"{own}/issued"))
    assert min(serials) > 2**64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"nonsense", "it is no request that can be read (PKCS#10, PEM or DER)"),
        (b"x" * 70_000, "it is larger than 65536 bytes"),
        (request(subject="CN=www.example.com"), "it has no subject alternative names, and clients read no other names"),
        (request("www.example.org"), "clients would reject it for www.example.org: "),
        (request("www.*.example.com"), "it asks for a name that no server has: 'www.*.example.com' is neither"),
        (
            request(NAME, x509.RFC822Name("a@example.com")),
            "it asks for a name that is neither a DNS name nor an address: ",
        ),
        (request(NAME, key=rsa.generate_private_key(65_537, 1024)), "its RSA key of 1024 bits is not signed"),
        (request(NAME, key=ec.generate_private_key(ec.SECP256K1())), "its curve secp256k1 is not signed"),
    ],
    ids=["nonsense", "huge", "common name alone", "not permitted", "no name", "a person", "weak", "curve"],
)
def test_what_is_not_signed_is_said_and_nothing_is_issued(data: bytes, message: str, own: str) -> None:
    path = f"{own}/it.csr"
    Path(path).write_bytes(data)
    code, out, said = run("sign", path, "--ca", own, "--yes")
    assert (code, out) == (4, "")
    assert said.startswith(f"certvigil: {path} is not signed: {message}")
    assert not os.path.exists(f"{own}/issued")


def test_a_request_that_was_changed_is_not_signed(own: str) -> None:
    der = bytearray(x509.load_pem_x509_csr(request(NAME)).public_bytes(Encoding.DER))
    at = der.index(NAME.encode())
    der[at : at + 3] = b"xyz"
    Path(own, "it.csr").write_bytes(bytes(der))
    code, _, said = run("sign", f"{own}/it.csr", "--ca", own, "--yes")
    assert (code, said) == (4, f"certvigil: {own}/it.csr is not signed: its signature is not of its key\n")


def test_the_days_are_few_and_a_person_agrees(own: str) -> None:
    path = f"{own}/it.csr"
    Path(path).write_bytes(request(NAME))
    code, _, said = run("sign", path, "--ca", own, "--days", "201", "--yes")
    assert (code, said) == (
        4,
        f"certvigil: {path} is not signed: a certificate lasts for 1 to 200 days, not for 201; --longer allows more\n",
    )
    code, _, said = run("sign", path, "--ca", own, "--days", "3651", "--longer", "--yes")
    assert (code, "a certificate lasts for 1 to 3650 days, not for 3651\n" in said) == (4, True)
    code, _, said = run("sign", path, "--ca", own, "--days", "3650", "--longer", "--yes")
    assert (code, "is not signed: the CA itself ends at " in said) == (4, True)
    code, out, said = run("sign", path, "--ca", own)
    assert (code, out) == (1, "")
    assert said.endswith(
        "certvigil: nobody is asked without a terminal; --yes signs what was shown\ncertvigil: not signed\n"
    )
    assert not os.path.exists(f"{own}/issued")
    code, _, said = run("sign", path, "--ca", own, "--out", path, "--yes")
    assert (code, said) == (4, f"certvigil: {path} exists: a certificate is written to a new file\n")
    code, _, said = run("sign", path, "--ca", f"{own}/none", "--yes")
    assert (code, said) == (4, f"certvigil: {own}/none/ca.key cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name", ""), "the name of a CA has 1 to 64 printable characters"),
        (("--name", "x\x1b[31m"), "the name of a CA has 1 to 64 printable characters"),
        (("--name", "x", "--days", "0"), "a root lasts for 1 to 3650 days, not for 0"),
        (("--name", "x", "--permit", "*.example.com"), "'*.example.com' is neither a domain nor a network"),
    ],
    ids=["no name", "a hostile name", "no days", "a wildcard"],
)
def test_a_ca_that_makes_no_sense_is_not_made(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, _, said = run("init", f"{tmp_path}/new", *arguments)
    assert (code, said) == (4, f"certvigil: {message}\n")
    assert not os.path.exists(f"{tmp_path}/new")
