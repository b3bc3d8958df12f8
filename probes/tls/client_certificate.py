"""The certificate that certvigil itself shows to a server, and what the server makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from config.immutable import immutable
from config.model import ClientCertificate
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import KeyKind
from probes.opening import read_as_ourselves

MOST_BYTES: Final = 1024 * 1024
"""Of each of the files."""


PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A certificate with its chain, and its private key, as the library has them."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    key_file: str


@immutable
class Unusable:
    """A client's certificate cannot be shown."""

    why: Printable
    """A clause that begins with the path."""


_CHANGE_CIPHER_SPEC, _HANDSHAKE, _APPLICATION_DATA = 20, 22, 23
_CERTIFICATE: Final = 11


def sends_certificate(flight: bytes) -> bool:
    """Whether records that a client of OpenSSL sends in a handshake have its Certificate message, perhaps an empty one.

    It sends that where the server asks for it, and only there. Before TLS 1.3 the message is in the clear (RFC 5246,
    7.4.6). In TLS 1.3 it is the encrypted record before that of Finished (RFC 8446, 4.4): so there are two. OpenSSL has
    a callback for it, which takes memory that is writable and executable; hardened hosts give none.
    """
    at, in_clear, encrypted = 0, True, 0
    while at + 5 < len(flight):
        kind = flight[at]
        if kind == _HANDSHAKE and in_clear and flight[at + 5] == _CERTIFICATE:
            return True
        in_clear = in_clear and kind != _CHANGE_CIPHER_SPEC
        encrypted += kind == _APPLICATION_DATA
        at += 5 + int.from_bytes(flight[at + 3 : at + 5], "big")
    return encrypted > 1


def shown_beside(identity: Identity | Unusable | None, wanted: KeyKind | None) -> Identity | Unusable | None:
    """Return what is shown of `identity` while certificates with keys of the `wanted` kind alone are asked for."""
    if isinstance(identity, Identity) and wanted is not None and not isinstance(identity.key, _KEYS[wanted]):
        # OpenSSL has one list for the algorithms that it takes and those by which it signs itself.
        return Unusable(
            sentence("{}: it cannot be shown while {} keys alone are asked for", _shown(identity.key_file), wanted)
        )
    return identity


_KEYS: Final[Mapping[KeyKind, type[object]]] = {KeyKind.RSA: rsa.RSAPrivateKey, KeyKind.EC: ec.EllipticCurvePrivateKey}


def identity_of(files: ClientCertificate) -> Identity | Unusable:
    """Return the certificate and the key in the files, read anew only where the files have changed."""
    try:
        return _identity(files, _version(files.certificate), _version(files.key))
    except _UnusableError as error:
        return Unusable(error.why)


class _UnusableError(Exception):
    def __init__(self, path: str, why: Printable) -> None:
        super().__init__()
        self.why = sentence("{}: {}", _shown(path), why)


def _shown(path: str) -> Printable:
    return printable(path, 4096)


def _version(path: str) -> tuple[int, ...]:
    """Return what changes with the content of a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _UnusableError(path, _why(error)) from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=64)
def _identity(files: ClientCertificate, *_versions: tuple[int, ...]) -> Identity:
    data = _read(files.certificate)
    try:
        chain = tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise _UnusableError(files.certificate, Printable("it holds no certificate in PEM")) from None
    of_key = data if files.key == files.certificate else _read(files.key)
    try:
        key = load_pem_private_key(of_key, password=None)
    except TypeError:
        why = Printable("the private key needs a password; certvigil takes one without")
        raise _UnusableError(files.key, why) from None
    except Exception:  # noqa: BLE001 (the library raises exceptions without a common base; none may quote the key)
        raise _UnusableError(files.key, Printable("it holds no private key in PEM")) from None
    if not isinstance(key, PrivateKey):
        raise _UnusableError(files.key, Printable("TLS has no signatures by this kind of private key"))
    if _public(chain[0].public_key()) != _public(key.public_key()):
        why = sentence("the private key does not belong to the certificate in {}", _shown(files.certificate))
        raise _UnusableError(files.key, why)
    return Identity(chain, key, files.key)


def _public(key: object) -> bytes:
    written: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return written


def _read(path: str) -> bytes:
    try:
        return read_as_ourselves(path, MOST_BYTES)
    except OSError as error:
        raise _UnusableError(path, _why(error)) from None


def _why(error: OSError | ValueError) -> Printable:
    text = error.strerror if isinstance(error, OSError) else None
    return harmless(text or "this is not a path")
