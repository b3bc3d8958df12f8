"""PKCS#7 bundles (RFC 5652, SignedData with certificates alone): bytes in, certificates out in their order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from config.vocabulary import UnreadableReason
from probes.encoding import Blocks, DERError, EncodingFault, outline, starts_with

# Old tools write BER, which is no reason for a line in the log.
warnings.filterwarnings("ignore", category=UserWarning, message=r"PKCS#7 .* could not be parsed as DER")

_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")  # RFC 5652, 5.1
SIGNED_DATA_LABELS: Final = frozenset({b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA"})
"""Labels of PEM blocks with PKCS#7 (RFC 7468, 8 and 9)."""
_DAMAGED: Final = EncodingFault(UnreadableReason.BAD_DER, "the PKCS#7 bundle is cut short or damaged")


def is_signed_data(data: bytes) -> bool:
    """Whether `data` begins as PKCS#7 signed data does."""
    return starts_with(data, _SIGNED_DATA)


def certificates_of(data: bytes) -> Blocks:
    """Return the certificates of PKCS#7 signed data, or as a fault why they cannot be read.

    In the bundle they are a set: the first issued no other one, then come those that it leads to.
    """
    # It loads the library's mail formats, which nothing else needs.
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415

    try:
        held = [each.public_bytes(Encoding.DER) for each in pkcs7.load_der_pkcs7_certificates(data)]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Blocks((), (), (_DAMAGED,))
    return Blocks(in_order(held), (), ())


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
