"""A trust store in PKCS#12 (RFC 7292), written without Java: only where nothing in it would be lost.

The library writes trusted certificates with their aliases, and shows neither attributes nor other bags. So all bags are
walked first: where one is no certificate that Java trusts for every purpose, or cannot be seen, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    pkcs12,
)

from config.immutable import immutable
from probes.encoding import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, DERError, element_end
from probes.store_content import StoreContent

MOST_ROUNDS: Final = 5_000_000
"""Of key derivation: a few seconds. Java and OpenSSL write some thousands."""

_SET: Final = 0x31
_CONTENT: Final = 0xA0
_ENCRYPTED_CONTENT: Final = 0x80
_DATA: Final = bytes.fromhex("2a864886f70d010701")
_ENCRYPTED_DATA: Final = bytes.fromhex("2a864886f70d010706")
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_AES: Final = {
    bytes.fromhex("608648016503040102"): 16,
    bytes.fromhex("608648016503040116"): 24,
    bytes.fromhex("60864801650304012a"): 32,
}
"""The length of the key of each."""
_PRFS: Final[Mapping[bytes, HashAlgorithm]] = {
    bytes.fromhex("2a864886f70d0207"): SHA1(),  # noqa: S303 (the default of PBKDF2)
    bytes.fromhex("2a864886f70d0208"): SHA224(),
    bytes.fromhex("2a864886f70d0209"): SHA256(),
    bytes.fromhex("2a864886f70d020a"): SHA384(),
    bytes.fromhex("2a864886f70d020b"): SHA512(),
}
_CERTIFICATE_BAG: Final = bytes.fromhex("2a864886f70d010c0a0103")
_FRIENDLY_NAME: Final = bytes.fromhex("2a864886f70d010914")
_TRUSTED: Final = bytes.fromhex("6086480186f966adca7b0101")
"""`trustedKeyUsage` of Java (2.16.840.1.113894.746875.1.1)."""
_ANY_PURPOSE: Final = bytes.fromhex("0604551d2500")


@immutable
class NotWritten:
    """Why a keystore is not written; the end of a sentence about it, printable."""

    detail: str


class _UnseenError(Exception):
    """Something cannot be seen, or would be lost; the message ends a sentence about the keystore."""


def write_pkcs12(
    data: bytes,
    content: StoreContent,
    added: Mapping[str, bytes],
    removed: Sequence[str],
    password: bytes | None = None,
) -> bytes | NotWritten:
    """Return the keystore with certificates added and aliases removed, or under another `password`."""
    if content.private_keys:
        return NotWritten("holds a private key")
    try:
        for kind, attributes in _bags(data, content.password):
            _check(kind, attributes)
    except _UnseenError as unseen:
        return NotWritten(str(unseen))
    except (DERError, IndexError, ValueError):
        return NotWritten("is built in a way that certvigil does not read")
    gone = {each.lower() for each in removed}
    kept = [(each.alias, each.certificates[0]) for each in content.entries if each.alias.lower() not in gone]
    try:
        held = [
            pkcs12.PKCS12Certificate(x509.load_der_x509_certificate(der), alias.encode())
            for alias, der in (*kept, *added.items())
        ]
    except (ValueError, x509.InvalidVersion):
        return NotWritten("holds a certificate that is not in strict DER")
    known = content.password if password is None else password
    way: KeySerializationEncryption = BestAvailableEncryption(known) if known else NoEncryption()
    return pkcs12.serialize_java_truststore(held, way)


def _check(kind: bytes, attributes: Mapping[bytes, bytes]) -> None:
    """Raise _UnseenError for a bag that would not be written as it is."""
    if kind != _CERTIFICATE_BAG:
        raise _UnseenError("holds a key, or something else than certificates")
    if _TRUSTED not in attributes:
        raise _UnseenError("holds a certificate that Java does not take for trusted, and a new one would be")
    if attributes[_TRUSTED] != _ANY_PURPOSE or attributes.keys() - {_TRUSTED, _FRIENDLY_NAME}:
        raise _UnseenError("holds a certificate with attributes that would be lost")


def _bags(data: bytes, password: bytes | None) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    """Yield identifier and attributes of each bag; raises _UnseenError, DERError, IndexError, ValueError."""
    _, safe, *_mac = _children(_only(data, SEQUENCE))
    for each in _children(_only(_data_of(safe), SEQUENCE)):
        kind, content = _content_info(each)
        if kind == _ENCRYPTED_DATA:
            contents = _decrypted(content, password)
        elif kind == _DATA:
            contents = _only(content, OCTET_STRING)
        else:
            raise _UnseenError("is encrypted for somebody's key")
        for bag in _children(_only(contents, SEQUENCE)):
            identifier, _value_of_it, *more = _children(_value(bag, SEQUENCE))
            attributes = (
                (_children(_value(each, SEQUENCE)) for each in _children(_value(more[0], _SET))) if more else ()
            )
            named = {_value(name, OBJECT_IDENTIFIER): _value(values, _SET) for name, values in attributes}
            yield _value(identifier, OBJECT_IDENTIFIER), named


def _data_of(info: bytes) -> bytes:
    kind, content = _content_info(info)
    if kind != _DATA:
        raise _UnseenError("is signed, and not sealed by a password")
    return _only(content, OCTET_STRING)


def _content_info(info: bytes) -> tuple[bytes, bytes]:
    """Return what a ContentInfo (RFC 5652, 3) holds: the identifier, and the content."""
    kind, content = _children(_value(info, SEQUENCE))
    return _value(kind, OBJECT_IDENTIFIER), _value(content, _CONTENT)


def _decrypted(content: bytes, password: bytes | None) -> bytes:
    """Return what EncryptedData (RFC 5652, 8) holds that is under PBES2 (RFC 8018, 6.2) with AES."""
    _, info, *_ = _children(_only(content, SEQUENCE))
    _, algorithm, encrypted = _children(_value(info, SEQUENCE))
    scheme, parameters = _children(_value(algorithm, SEQUENCE))
    if _value(scheme, OBJECT_IDENTIFIER) != _PBES2:
        raise _UnseenError("is encrypted as Java did until 2021, which is not written any more")
    derivation, cipher = (_children(_value(each, SEQUENCE)) for each in _children(_value(parameters, SEQUENCE)))
    size = _AES.get(_value(cipher[0], OBJECT_IDENTIFIER))
    if size is None or _value(derivation[0], OBJECT_IDENTIFIER) != _PBKDF2:
        raise _UnseenError("is encrypted in a way that certvigil does not read")
    key = _derived(_children(_value(derivation[1], SEQUENCE)), password or b"", size)
    decryptor = Cipher(AES(key), CBC(_value(cipher[1], OCTET_STRING))).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain = decryptor.update(_value(encrypted, _ENCRYPTED_CONTENT)) + decryptor.finalize()
    return unpadder.update(plain) + unpadder.finalize()


def _derived(parameters: Sequence[bytes], password: bytes, size: int) -> bytes:
    salt, rounds, *more = parameters
    count = int.from_bytes(_value(rounds, INTEGER), "big")
    if count > MOST_ROUNDS:
        raise _UnseenError(f"asks for {count} rounds, {MOST_ROUNDS} at most are done")
    prf = next((_children(_value(each, SEQUENCE))[0] for each in more if each[0] == SEQUENCE), None)
    hashed = SHA1() if prf is None else _PRFS.get(_value(prf, OBJECT_IDENTIFIER))  # noqa: S303 (its default)
    if hashed is None:
        raise _UnseenError("is encrypted in a way that certvigil does not read")
    return PBKDF2HMAC(hashed, size, _value(salt, OCTET_STRING), count).derive(password)


def _children(content: bytes) -> list[bytes]:
    """Return the elements that follow each other in `content`, headers included."""
    found, at = [], 0
    while at < len(content):
        end = element_end(content, at)
        found.append(content[at:end])
        at = end
    return found


def _only(content: bytes, tag: int) -> bytes:
    """Return the content of the one element, which has that tag."""
    return _value(content[: element_end(content, 0)], tag)


def _value(element: bytes, tag: int) -> bytes:
    """Return the content of an element; raises ValueError where it has another tag."""
    if element[0] != tag:
        raise ValueError("another element was expected")
    length = element[1]
    return element[2 + (length & 0x7F if length & 0x80 else 0) :]
