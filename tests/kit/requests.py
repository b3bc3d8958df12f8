"""Certificates for requests (PKCS#10), issued by the laboratory's CA or by a CA of OpenSSL's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from cryptography import x509

from monitor.lab.ca import Authority, Issued
from monitor.lab.servers import replace_file
from tests.kit.authority import ISSUING


def names_of(request: x509.CertificateSigningRequest) -> list[str]:
    """Return the names that a request asks for."""
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each.value) for each in names]


def signed(pem: str, *names: str, issuing: Authority = ISSUING, **knobs: Any) -> Issued:
    """Return the certificate for a request, with its names or with other names; its key is not known here."""
    request = x509.load_pem_x509_csr(pem.encode())
    assert request.is_signature_valid
    wanted = names or tuple(names_of(request))

    class OnlyPublic:
        """The public half, in the place of a key that is not here."""

        @staticmethod
        def public_key() -> Any:
            return request.public_key()

    return issuing.issue(*wanted, key=OnlyPublic(), subject=wanted[0], **knobs)  # type: ignore[arg-type]


def answer_of(issued: Issued, issuing: Authority = ISSUING) -> bytes:
    """Return what a CA sends: the certificate and its chain, and no key."""
    return issued.pem() + issuing.pem()


class OpensslCA:
    """A CA of one's own, by the command `openssl ca`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        Path(directory).mkdir()
        for name, data in (("index.txt", b""), ("serial", b"1000\n"), ("ca.cnf", self._settings().encode())):
            replace_file(f"{directory}/{name}", data)
        self._run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
            *("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=A CA of our own", "-config", "ca.cnf"),
        )

    @property
    def root(self) -> bytes:
        """The root, in PEM."""
        return Path(self.directory, "ca.crt").read_bytes()

    def sign(self, request: str) -> bytes:
        """Return the certificate for a request in PEM, with text around it, as the command writes it."""
        replace_file(f"{self.directory}/request.csr", request.encode())
        self._run("ca", "-batch", "-config", "ca.cnf", "-in", "request.csr", "-out", "answer.txt")
        return Path(self.directory, "answer.txt").read_bytes()

    def _run(self, *arguments: str) -> None:
        ran = subprocess.run(
            ("openssl", *arguments), cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr

    def _settings(self) -> str:
        return f"""
[ca]
default_ca = own
[own]
dir = {self.directory}
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir
certificate = $dir/ca.crt
private_key = $dir/ca.key
default_md = sha256
default_days = 20
policy = any
copy_extensions = copy
x509_extensions = server
unique_subject = no
[any]
commonName = optional
organizationName = optional
countryName = optional
[server]
basicConstraints = critical, CA:false
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
