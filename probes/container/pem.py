"""PEM (RFC 7468): blocks of any kind, with text around them."""

from __future__ import annotations

import binascii
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import MOST_FAULTS, Blocks, Container, EncodingFault, Format
from probes.container.crl import CRL
from probes.container.pkcs7 import PKCS7, is_signed_data
from probes.container.private_key import PRIVATE_KEY
from probes.encoding import element_end

_CERTIFICATE_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_BEGIN: Final = b"-----BEGIN "
_LABEL: Final = rb"[A-Z0-9#][A-Z0-9# ]{0,63}"
_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) (" + _LABEL + rb")-----")
# Two boundaries may share their hyphens.
_MARK: Final = re.compile(rb"-----(BEGIN|END) (" + _LABEL + rb")(?=-----)")
_HYPHENS: Final = 5
_BARE: Final = frozenset({FileFormat.PEM})
_WITH_PKCS7: Final = _BARE | {FileFormat.PKCS7}


def is_pem(data: bytes) -> bool:
    """Whether there is a boundary of a PEM block in `data`."""
    return _BEGIN in data or _BOUNDARY.search(data) is not None


class BlockSpan(NamedTuple):
    """Where a block stands, its boundaries included."""

    start: int
    end: int


def spans(data: bytes, labels: Collection[bytes] | None = None) -> Iterator[BlockSpan]:
    """Yield where blocks stand, each up to the first end of its own label; of `labels` alone, where these are given.

    Each boundary is looked at once: a file of beginnings without an end takes no longer than any other.
    """
    marks = [each for each in _MARK.finditer(data) if labels is None or each[2] in labels]
    ends: dict[bytes, deque[re.Match[bytes]]] = {}
    for mark in marks:
        if mark[1] == b"END":
            ends.setdefault(mark[2], deque()).append(mark)
    at = 0
    for mark in marks:
        behind = mark.end() + _HYPHENS
        if mark[1] == b"END" or mark.start() < at:
            continue
        waiting = ends.get(mark[2], deque())
        while waiting and waiting[0].start() < behind:
            waiting.popleft()
        if waiting:
            at = waiting[0].end() + _HYPHENS
            yield BlockSpan(mark.start(), at)


def text_around(data: bytes) -> bytes:
    """Return what stands before, between and behind the blocks."""
    kept: list[bytes] = []
    at = 0
    for span in spans(data):
        kept.append(data[at : span.start])
        at = span.end
    return b"".join((*kept, data[at:]))


def open_pem(data: bytes, by_label: Mapping[bytes, Format]) -> Container:
    """Return the certificates, keys, revocation lists and faulty blocks in PEM; a faulty block hides no others.

    `by_label` are the formats of other blocks than certificates.
    """
    found = _FoundBlocks()
    for begin, end in _blocks(data, found.faults):
        label, body = begin[2], data[begin.end() : end.start()]
        try:
            if label in _CERTIFICATE_LABELS:
                found.take_certificate(binascii.a2b_base64(body))
            elif label in PRIVATE_KEY.labels:
                found.keys.append(data[begin.start() : end.end()])
            elif (form := by_label.get(label)) is not None:
                found.take_other(form, body)
        except ValueError as error:
            found.faults.append(_fault(data, begin, str(error)))
    return found.container()


def _blocks(data: bytes, faults: list[EncodingFault]) -> Iterator[tuple[re.Match[bytes], re.Match[bytes]]]:
    """Yield both boundaries of each block; a boundary without the other is added to `faults`, which end it."""
    begin: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        if len(faults) >= MOST_FAULTS:
            return
        if boundary[1] == b"BEGIN":
            if begin is not None:
                faults.append(_unended(data, begin))
            begin = boundary
            continue
        if begin is None or begin[2] != boundary[2]:
            faults.append(_fault(data, boundary, f"END {boundary[2].decode()} has no BEGIN of its own"))
        else:
            yield begin, boundary
        begin = None
    if begin is not None:
        faults.append(_unended(data, begin))


def _fault(data: bytes, boundary: re.Match[bytes], why: str) -> EncodingFault:
    line = data.count(b"\n", 0, boundary.start()) + 1
    return EncodingFault(UnreadableReason.BAD_PEM, f"the PEM block at line {line} cannot be decoded: {why}")


def _unended(data: bytes, begin: re.Match[bytes]) -> EncodingFault:
    return _fault(data, begin, f"END {begin[2].decode()} is missing")


class _FoundBlocks:
    """What was found so far."""

    def __init__(self) -> None:
        self.certificates: list[bytes] = []
        self.keys: list[bytes] = []
        self.lists: list[bytes] = []
        self.faults: list[EncodingFault] = []
        self._others: list[FileFormat] = []
        """The formats of blocks that are neither certificates nor keys."""
        self._only_inside = True
        """No certificate stands in PEM on its own."""

    def take_certificate(self, der: bytes) -> None:
        """Take the content of a block that is called a certificate; raises ValueError where it is none."""
        if is_signed_data(der):
            # Windows' certutil calls a certificate whatever it encodes.
            self._take_inside(PKCS7, der)
        else:
            # OpenSSL's TRUSTED CERTIFICATE appends its own settings after the certificate.
            self.certificates.append(der[: element_end(der, 0)])
            self._only_inside = False

    def take_other(self, form: Format, body: bytes) -> None:
        """Take a block in that format; raises ValueError where it cannot be decoded."""
        if form.with_certificates:
            self._take_inside(form, binascii.a2b_base64(body))
        else:
            if form is CRL:
                self.lists.append(binascii.a2b_base64(body))
            self._others.append(form.name)

    def _take_inside(self, form: Format, content: bytes) -> None:
        self._others.append(form.name)
        if form.opened is not None:
            inside = form.opened(content, None).blocks
            self.certificates += inside.certificates
            self.faults += inside.faults

    def container(self) -> Container:
        """Return all; it is called PEM where a certificate stands in it on its own, else by what is in it."""
        faults = tuple(self.faults[:MOST_FAULTS])
        blocks = Blocks(tuple(self.certificates), tuple(self.keys), faults, tuple(self.lists))
        if not (self.certificates or self.keys or self._others):
            return Container(FileFormat.PEM, blocks)
        return Container(self._name(), blocks, _WITH_PKCS7 if FileFormat.PKCS7 in self._others else _BARE)

    def _name(self) -> FileFormat:
        if self.certificates:
            return FileFormat.PKCS7 if self._only_inside else FileFormat.PEM
        return FileFormat.PRIVATE_KEY if self.keys else self._others[0]
