"""PKCS#7 bundles (RFC 5652, SignedData with certificates alone): the certificates in the order of their issuers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import NOTHING, Blocks, Container, Format, Password, faulty
from probes.encoding import SEQUENCE, DERError, outline, starts_with

# Old tools write BER, which is no reason for a line in the log.
warnings.filterwarnings("ignore", category=UserWarning, message=r"PKCS#7 .* could not be parsed as DER")

_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")  # RFC 5652, 5.1
_ANY_CONTENT: Final = bytes.fromhex("06092a864886f70d0107")  # RFC 5652, 14
_LABELS: Final = frozenset({b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA"})  # RFC 7468, 8 and 9
_ENCODINGS: Final = frozenset({FileFormat.PKCS7})


def is_signed_data(data: bytes) -> bool:
    """Whether `data` begins as PKCS#7 signed data does."""
    return starts_with(data, _SIGNED_DATA)


def _open(data: bytes, _password: Password) -> Container:
    """Return the certificates of PKCS#7 signed data, or as a fault why they cannot be read.

    In the bundle they are a set: the first issued no other one, then come those that it leads to.
    """
    if starts_with(data, _ANY_CONTENT) and not is_signed_data(data):
        # A message, such as an enveloped one, under a PEM label that serves for both.
        return Container(FileFormat.PKCS7, NOTHING)
    # It loads the library's mail formats, which nothing else needs.
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415

    try:
        held = [each.public_bytes(Encoding.DER) for each in pkcs7.load_der_pkcs7_certificates(data)]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        damaged = faulty(UnreadableReason.BAD_DER, "the PKCS#7 data cannot be decoded")
        return Container(FileFormat.PKCS7, damaged, _ENCODINGS)
    return Container(FileFormat.PKCS7, Blocks(in_order(held), (), ()), _ENCODINGS)


PKCS7: Final = Format(
    FileFormat.PKCS7,
    "a PKCS#7 bundle",
    is_signed_data,
    SEQUENCE,
    _LABELS,
    _open,
    with_certificates=True,
    encoding="PKCS#7",
)


def in_order(certificates: Sequence[bytes], first: bytes | None = None) -> tuple[bytes, ...]:
    """Return DER certificates as their names lead from the first on, and then those that they do not lead to.

    Where no `first` is given, it is a certificate that issued no other one.
    """
    try:
        outlines = {each: outline(each) for each in certificates}
    except DERError:
        return tuple(dict.fromkeys(certificates))
    issued_by = {each.issuer for each in outlines.values() if each.issuer != each.subject}
    ends = (each for each in certificates if outlines[each].subject not in issued_by)
    following = first if first is not None else next(ends, None)
    by_subject = {outlines[each].subject: each for each in reversed(certificates)}
    path: dict[bytes, None] = {}
    while following is not None and following not in path:
        path[following] = None
        following = by_subject.get(outlines[following].issuer)
    return tuple(dict.fromkeys((*path, *certificates)))
