"""Private keys: PKCS#8 (RFC 5958, encrypted or not), PKCS#1 (RFC 8017) and SEC 1 (RFC 5915)."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from config.immutable import immutable
from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import Blocks, Container, EncodingFault, Format, Password
from probes.encoding import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, DERError, element_end, enter, is_der
from probes.private_key import load_private_key
from probes.trial import Sealed, too_much_work

_VERSIONS: Final = frozenset({b"\x02\x01\x00", b"\x02\x01\x01"})
_EC_VERSION: Final = b"\x02\x01\x01"


def is_private_key(data: bytes) -> bool:
    """Whether `data` is a private key in DER, encrypted or not."""
    if not is_der(data):
        return False
    try:
        at, end = enter(data, 0)
        return _holds_key(data, at, end)
    except (DERError, IndexError):
        return False


def _holds_key(der: bytes, at: int, end: int) -> bool:
    second = element_end(der, at)
    if second >= end:
        return False
    if der[at] == SEQUENCE:
        inside, _ = enter(der, at)
        return (der[inside], der[second]) == (OBJECT_IDENTIFIER, OCTET_STRING)
    version = der[at:second]
    return (version in _VERSIONS and der[second] in {SEQUENCE, INTEGER}) or (
        version == _EC_VERSION and der[second] == OCTET_STRING
    )


def _open(data: bytes, _password: Password) -> Container:
    key = data[: element_end(data, 0)]
    return Container(FileFormat.PRIVATE_KEY, Blocks((), (key,), ()), frozenset({FileFormat.DER}))


PRIVATE_KEY: Final = Format(
    FileFormat.PRIVATE_KEY,
    "a private key",
    is_private_key,
    SEQUENCE,
    frozenset({b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"DSA PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"}),
    _open,
)


@immutable
class OpenKey:
    """A private key as the library has it."""

    key: PrivateKeyTypes
    was_encrypted: bool


def open_key(key: bytes, password: Password, *, validated: bool = False) -> OpenKey | EncodingFault:
    """Return the key in one block, PEM or DER, or why it cannot be read, as the rest of "the private key ...".

    With `validated`, the numbers of an RSA key are checked, which takes long. The fault's reason is LOCKED without a
    password that is needed, WRONG_PASSWORD, TOO_LARGE where the password would take too much work, else BAD_PEM.
    """
    try:
        return OpenKey(load_private_key(key, validated=validated), was_encrypted=False)
    except TypeError:
        if password is None:
            return EncodingFault(UnreadableReason.LOCKED, "is encrypted")
    except (ValueError, UnsupportedAlgorithm):
        return _UNDECODABLE
    if why := too_much_work(Sealed.KEY, key, password):
        return EncodingFault(UnreadableReason.TOO_LARGE, why)
    try:
        return OpenKey(load_private_key(key, password, validated=validated), was_encrypted=True)
    except UnsupportedAlgorithm:
        return _UNDECODABLE
    except (ValueError, TypeError):
        return EncodingFault(UnreadableReason.WRONG_PASSWORD, "is not opened by this password")


_UNDECODABLE: Final = EncodingFault(UnreadableReason.BAD_PEM, "cannot be decoded")
