"""One certificate in DER (X.690)."""

from __future__ import annotations

from typing import Final

from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import Blocks, Container, Format, Password, faulty
from probes.encoding import CONTEXT_0, SEQUENCE, DERError, element_end, enter, is_der, outline

_ENCODINGS: Final = frozenset({FileFormat.DER})


def is_certificate(data: bytes) -> bool:
    """Whether `data` is a certificate in DER, or DER of a certificate's size that is cut short or damaged."""
    if not is_der(data):
        return False
    try:
        return _holds_certificate(data[: element_end(data, 0)])
    except (DERError, IndexError):
        return True


def _holds_certificate(der: bytes) -> bool:
    at, _ = enter(der, 0)
    at, _ = enter(der, at)
    if der[at : at + 1] == bytes([CONTEXT_0]):
        # The version, which only certificates of version 1 lack.
        return True
    try:
        outline(der)
    except DERError:
        return False
    return True


def _open(data: bytes, _password: Password) -> Container:
    try:
        der = data[: element_end(data, 0)]
        _holds_certificate(der)
    except (DERError, IndexError):
        damaged = faulty(UnreadableReason.BAD_DER, "the DER data is cut short or damaged")
        return Container(FileFormat.DER, damaged, _ENCODINGS)
    # What follows, such as an end of line, is no part of it.
    return Container(FileFormat.DER, Blocks((der,), (), ()), _ENCODINGS)


DER: Final = Format(FileFormat.DER, begins=is_certificate, first=SEQUENCE, opened=_open, encoding="DER")
