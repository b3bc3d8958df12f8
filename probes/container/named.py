"""Formats that lie beside certificates and hold none: recognised, so that a file is called by its name."""

from __future__ import annotations

import re
from typing import Final

from config.vocabulary import FileFormat
from probes.container.blocks import Format
from probes.encoding import BIT_STRING, CONTEXT_0, ENUMERATED, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, shape

_OPENSSH_PUBLIC_KEY: Final = re.compile(rb"\s*+(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d+) AAAA")
_OPENSSH_CERTIFICATE: Final = re.compile(
    rb"\s*+(?:(?:sk-)?ssh-(?:rsa|dss|ed25519)|(?:sk-)?ecdsa-sha2-nistp\d+)-cert-v01@openssh\.com AAAA"
)


def is_request(data: bytes) -> bool:
    """Whether `data` is PKCS#10 in DER (RFC 2986, 4): version, subject, public key, attributes."""
    return shape(data, 2) in {(INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0), (INTEGER, SEQUENCE, SEQUENCE)}


def is_ocsp_response(data: bytes) -> bool:
    """Whether `data` is an OCSP response (RFC 6960, 4.2.1)."""
    return shape(data, 1) in {(ENUMERATED,), (ENUMERATED, CONTEXT_0)}


def is_parameters(data: bytes) -> bool:
    """Whether `data` is Diffie-Hellman parameters in DER (PKCS#3): a prime, a generator, perhaps a length."""
    return shape(data, 1) in {(INTEGER, INTEGER), (INTEGER, INTEGER, INTEGER)}


def is_public_key(data: bytes) -> bool:
    """Whether `data` is a SubjectPublicKeyInfo in DER (RFC 5280, 4.1), or a public key as OpenSSH writes it."""
    if _OPENSSH_PUBLIC_KEY.match(data):
        return True
    return shape(data, 1) == (SEQUENCE, BIT_STRING) and shape(data, 2)[:1] == (OBJECT_IDENTIFIER,)


def _is_openssh_certificate(data: bytes) -> bool:
    return _OPENSSH_CERTIFICATE.match(data) is not None


def _is_putty_key(data: bytes) -> bool:
    return data.startswith(b"PuTTY-User-Key-File-")


REQUEST: Final = Format(
    FileFormat.REQUEST,
    "a certificate signing request",
    is_request,
    SEQUENCE,
    frozenset({b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"}),
)
OCSP_RESPONSE: Final = Format(FileFormat.OCSP_RESPONSE, "an OCSP response", is_ocsp_response, SEQUENCE)
PARAMETERS: Final = Format(
    FileFormat.PARAMETERS,
    "parameters of a key exchange",
    is_parameters,
    SEQUENCE,
    frozenset({b"DH PARAMETERS", b"X9.42 DH PARAMETERS", b"EC PARAMETERS"}),
)
PUBLIC_KEY: Final = Format(
    FileFormat.PUBLIC_KEY, "a public key", is_public_key, labels=frozenset({b"PUBLIC KEY", b"RSA PUBLIC KEY"})
)
OPENSSH_KEY: Final = Format(
    FileFormat.OPENSSH_KEY, "an OpenSSH private key", labels=frozenset({b"OPENSSH PRIVATE KEY"})
)
OPENSSH_CERTIFICATE: Final = Format(
    FileFormat.OPENSSH_CERTIFICATE, "an OpenSSH certificate, which no TLS server has", _is_openssh_certificate
)
PUTTY_KEY: Final = Format(FileFormat.PUTTY_KEY, "a PuTTY private key", _is_putty_key)
