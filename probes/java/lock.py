"""Private keys in JKS and JCEKS, each under a password: Sun's own two ways of protecting them (JavaSoft's OIDs).

Neither is published but in the sources of OpenJDK (`sun.security.provider.KeyProtector`, and `PBES1Core` of
`com.sun.crypto.provider`). Both use hashes that are broken by now, here as there to read and never to write.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from config.vocabulary import UnreadableReason
from probes.container.blocks import EncodingFault
from probes.encoding import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, DERError, element_end

MOST_ROUNDS: Final = 1_000_000
"""Of MD5 over a short password, for all keys of a keystore: a second or two. Java does 200,000 for a key, 20 before
2017; it stands outside what is encrypted."""
LONGEST_PASSWORD: Final = 1024
"""Bytes."""
LARGEST_KEY: Final = 64 * 1024
"""Bytes, encrypted: several times those of an RSA key of 16384 bits."""

_BY_JDK: Final = bytes.fromhex("2b060104012a02110101")  # 1.3.6.1.4.1.42.2.17.1.1
_BY_JCE: Final = bytes.fromhex("2b060104012a021301")  # 1.3.6.1.4.1.42.2.19.1
_DIGEST: Final = 20
"""Bytes of SHA-1, and of the salt before the key."""
_SALT: Final = 8
_BLOCK: Final = 8
_MD5_BLOCK: Final = 64
_DAMAGED: Final = EncodingFault(UnreadableReason.BAD_DER, "is damaged")
_UNREAD: Final = EncodingFault(UnreadableReason.UNSUPPORTED, "is locked in a way that certvigil does not read")


@dataclass(slots=True)
class KeyOpener:
    """Opens the private keys of one keystore by its password, as long as that takes no more than `MOST_ROUNDS`."""

    password: bytes = field(repr=False)
    """In UTF-8."""
    rounds: int = 0
    """Done until now."""

    def open(self, protected: bytes) -> bytes | EncodingFault | None:
        """Return a private key in PKCS#8, None where the password does not open it, or why it is not tried."""
        try:
            scheme, parameters, encrypted = _parts(protected)
        except (DERError, IndexError, ValueError):
            return _DAMAGED
        if len(encrypted) > LARGEST_KEY:
            return EncodingFault(
                UnreadableReason.TOO_LARGE, f"has {len(encrypted)} bytes, at most {LARGEST_KEY} are read"
            )
        if len(self.password) > LONGEST_PASSWORD:
            return None
        if scheme == _BY_JDK:
            return _open_by_jdk(encrypted, self.password)
        if scheme == _BY_JCE:
            return self._open_by_jce(parameters, encrypted)
        return _UNREAD

    def _open_by_jce(self, parameters: bytes, encrypted: bytes) -> bytes | EncodingFault | None:
        try:
            salt, rounds = _salt_and_rounds(parameters)
        except (DERError, IndexError, ValueError):
            return _DAMAGED
        self.rounds += rounds * (1 + len(self.password) // _MD5_BLOCK)
        if self.rounds > MOST_ROUNDS:
            detail = f"asks for {rounds} rounds of MD5, at most {MOST_ROUNDS} are done for one keystore"
            return EncodingFault(UnreadableReason.TOO_LARGE, detail)
        try:
            return _open_by_jce(encrypted, self.password, salt, rounds)
        except UnsupportedAlgorithm:
            return _UNREAD


def java_password(password: bytes) -> bytes | None:
    """Return a password as Java digests it, two octets for each `char`; None for one that no Java program would read.

    `password` is in UTF-8.
    """
    if len(password) > LONGEST_PASSWORD:
        return None
    try:
        return password.decode().encode("utf-16-be")
    except UnicodeError:
        return None


def _open_by_jdk(encrypted: bytes, password: bytes) -> bytes | None:
    """Return a key that is combined with a stream of SHA-1 over password and salt, and followed by its own hash."""
    known = java_password(password)
    if known is None or len(encrypted) < 2 * _DIGEST:
        return None
    salt, hidden, check = encrypted[:_DIGEST], encrypted[_DIGEST:-_DIGEST], encrypted[-_DIGEST:]
    stream = b"".join(_stream(known, salt, len(hidden)))[: len(hidden)]
    key = (int.from_bytes(hidden, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(hidden), "big")
    return key if hmac.compare_digest(_sha1(known + key), check) else None


def _stream(password: bytes, salt: bytes, size: int) -> Iterator[bytes]:
    digest = salt
    for _ in range(0, size, _DIGEST):
        digest = _sha1(password + digest)
        yield digest


def _open_by_jce(encrypted: bytes, password: bytes, salt: bytes, rounds: int) -> bytes | None:
    """Return a key that is encrypted with 3DES, by a key derived with MD5, as PBES1 would for DES."""
    # Java takes no password with other characters here.
    if not password.isascii() or not encrypted or len(encrypted) % _BLOCK:
        return None
    first, second = salt[: _SALT // 2], salt[_SALT // 2 :]
    if first == second:
        # Meant to be the reverse; this is what Java has always done instead.
        first = bytes((first[3], first[0], first[1], first[3]))
    derived = b"".join(_derived(half, password, rounds) for half in (first, second))
    decryptor = Cipher(TripleDES(derived[:24]), CBC(derived[24:])).decryptor()
    unpadder = PKCS7(8 * _BLOCK).unpadder()
    try:
        return unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        return None


def _derived(half: bytes, password: bytes, rounds: int) -> bytes:
    for _ in range(rounds):
        half = hashlib.md5(half + password, usedforsecurity=False).digest()
    return half


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _parts(protected: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the identifier and the parameters of the encryption, and what is encrypted (PKCS#8, RFC 5958, 3)."""
    _, inner = _element(protected, SEQUENCE)
    rest, algorithm = _element(inner, SEQUENCE)
    _, encrypted = _element(rest, OCTET_STRING)
    parameters, scheme = _element(algorithm, OBJECT_IDENTIFIER)
    return scheme, parameters, encrypted


def _salt_and_rounds(parameters: bytes) -> tuple[bytes, int]:
    _, inner = _element(parameters, SEQUENCE)
    rest, salt = _element(inner, OCTET_STRING)
    _, number = _element(rest, INTEGER)
    rounds = int.from_bytes(number, "big", signed=True)
    if len(salt) != _SALT or rounds <= 0:
        raise ValueError("no salt, or no number of rounds")
    return salt, rounds


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return what follows the first element, and its content; raises ValueError where it has another tag."""
    end = element_end(der, 0)
    if der[0] != tag:
        raise ValueError("another element was expected")
    length = der[1]
    return der[end:], der[2 + (length & 0x7F if length & 0x80 else 0) : end]
