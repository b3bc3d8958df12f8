"""A PKCS#12 keystore that replaces another: sealed like the old keystore, and only where no content is lost."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from actions.candidate import Candidate
from probes.certificate import decodable
from probes.chain import paths
from probes.container.blocks import EncodingFault
from probes.container.pkcs12 import PKCS12, open_keystore, seal_of, unlock
from probes.container.registry import recognise
from probes.encoding import DERError

_OLD_ENCRYPTION: Final = bytes.fromhex("2a864886f70d010c01")
"""The first bytes of the identifiers of PKCS#12's own encryption schemes (RFC 7292, appendix C)."""
_HASHES: Final[dict[bytes, HashAlgorithm]] = {
    bytes.fromhex("2b0e03021a"): SHA1(),  # noqa: S303 (old readers verify this; it finds damage)
    bytes.fromhex("608648016503040201"): SHA256(),
    bytes.fromhex("608648016503040202"): SHA384(),
    bytes.fromhex("608648016503040203"): SHA512(),
}

_CONVERT: Final = (
    "convert it to PKCS#12, which Java reads as well: "
    "keytool -importkeystore -srckeystore OLD -destkeystore NEW -deststoretype PKCS12"
)


def seal(candidate: Candidate, like: bytes, password: bytes | None) -> bytes:
    """Return a keystore with key, certificate and chain of `candidate`, sealed like the old keystore `like`.

    It keeps the old friendly name, by which services choose an entry, and the old encryption, since its reader may
    know no other: Java 8 before 8u301 knows only PKCS#12's own schemes, and a MAC by SHA-1. A keystore with such a
    scheme is replaced by one with 3DES and that MAC; all others, and unknown ones, by one with PBES2 and AES-256-CBC,
    the default of OpenSSL and Java today. Without a password it is not encrypted. Salts are random, so the bytes of
    two keystores always differ.
    """
    old = like if recognise(like) is PKCS12 else None
    opened = None if old is None else open_keystore(old, password)
    own = None if opened is None or isinstance(opened, EncodingFault) else opened.cert
    return pkcs12.serialize_key_and_certificates(
        None if own is None else own.friendly_name,
        candidate.key.library_key(),
        candidate.certificate.x509(),
        [each.x509() for each in candidate.chain],
        _encryption(old, password) if password else NoEncryption(),
    )


def _encryption(like: bytes | None, password: bytes) -> KeySerializationEncryption:
    try:
        identifiers = () if like is None else seal_of(like).identifiers
    except DERError:
        identifiers = ()
    old = any(each.startswith(_OLD_ENCRYPTION) for each in identifiers)
    way = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC if old else pkcs12.PBES.PBESv2SHA256AndAES256CBC
    hashed = _HASHES.get(identifiers[-1], SHA256()) if identifiers else SHA256()
    return PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(way).hmac_hash(hashed).build(password)


def why_not_written(old: bytes) -> str | None:
    """Return that a keystore is in a format that is not written, as the end of a sentence about it; else None.

    The new one would be PKCS#12, which not every program finds out by itself.
    """
    form = recognise(old)
    if form is None or not form.is_keystore or form is PKCS12:
        return None
    return f"is {form.called}, and certvigil writes PKCS#12 alone; {_CONVERT}"


def loss(old: bytes, password: bytes | None) -> str | None:
    """Return the content that would be lost with an old keystore, the end of a sentence; None without a loss.

    A file that is no keystore, because it is damaged or empty, is no loss.
    """
    if recognise(old) is not PKCS12:
        return why_not_written(old)
    blocks = unlock(old, password)
    if blocks.faults:
        return f"cannot be opened, so its service may not use this password: {blocks.faults[0].detail}"
    if (keys := seal_of(old).keys) > 1:
        return f"holds {keys} private keys, and a new one would hold one"
    held = decodable(blocks.certificates)
    chain = {each for path in paths(held[0], held, None) for each in path.certificates} if held else set()
    others = ", ".join(each.title for each in held if each not in chain)
    return f"holds certificates outside its chain, and a new one would not: {others}" if others else None
