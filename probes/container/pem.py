"""PEM (RFC 7468): blocks of any kind, with text around them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import MOST_FAULTS, Blocks, Container, EncodingFault, Format
from probes.container.pkcs7 import PKCS7, is_signed_data
from probes.encoding import element_end

_CERTIFICATE_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_BEGIN: Final = b"-----BEGIN "
_LABEL: Final = rb"[A-Z0-9#][A-Z0-9# ]{0,63}"
_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) (" + _LABEL + rb")-----")
_BLOCK: Final = re.compile(rb"-----BEGIN (" + _LABEL + rb")-----.*?-----END \1-----", re.DOTALL)
_ENCODINGS: Final = frozenset({FileFormat.PEM, FileFormat.PKCS7})


def is_pem(data: bytes) -> bool:
    """Whether there is a boundary of a PEM block in `data`."""
    return _BEGIN in data or _BOUNDARY.search(data) is not None


def text_around(data: bytes) -> bytes:
    """Return what stands before, between and behind the blocks."""
    return _BLOCK.sub(b"", data)


def open_pem(data: bytes, by_label: Mapping[bytes, Format]) -> Container:
    """Return the certificates, private keys and faulty blocks in PEM; a faulty block does not hide the others.

    `by_label` are the formats of other blocks than certificates.
    """
    found = _Found()
    for block in _blocks(data):
        if isinstance(block, EncodingFault):
            found.faults.append(block)
        else:
            try:
                found.take(block, by_label.get(block.label))
            except ValueError as error:
                found.faults.append(_fault(data, block.start, str(error)))
        if len(found.faults) >= MOST_FAULTS:
            break
    return found.container()


@dataclass(frozen=True, slots=True)
class _Block:
    label: bytes
    text: bytes = field(repr=False)
    """Boundaries included."""
    body: bytes = field(repr=False)
    start: int


def _blocks(data: bytes) -> Iterator[_Block | EncodingFault]:
    """Yield the blocks in file order, and each boundary without its counterpart as a fault."""
    begin: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        if boundary[1] == b"BEGIN":
            if begin is not None:
                yield _unended(data, begin)
            begin = boundary
            continue
        if begin is None or begin[2] != boundary[2]:
            yield _fault(data, boundary.start(), f"END {boundary[2].decode()} has no BEGIN of its own")
        else:
            start, end = begin.start(), boundary.end()
            yield _Block(begin[2], data[start:end], data[begin.end() : boundary.start()], start)
        begin = None
    if begin is not None:
        yield _unended(data, begin)


def _fault(data: bytes, start: int, why: str) -> EncodingFault:
    line = data.count(b"\n", 0, start) + 1
    return EncodingFault(UnreadableReason.BAD_PEM, f"the PEM block at line {line} cannot be decoded: {why}")


def _unended(data: bytes, begin: re.Match[bytes]) -> EncodingFault:
    return _fault(data, begin.start(), f"END {begin[2].decode()} is missing")


@dataclass(slots=True)
class _Found:
    certificates: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list, repr=False)
    faults: list[EncodingFault] = field(default_factory=list)
    formats: list[FileFormat] = field(default_factory=list)
    """Of the blocks, in file order; PEM of a certificate that stands in it on its own."""

    def take(self, block: _Block, form: Format | None) -> None:
        """Take what a block holds; raises ValueError where it cannot be decoded."""
        if block.label in _CERTIFICATE_LABELS:
            self._take_certificate(block)
        elif form is not None:
            self.formats.append(form.name)
            if form.name is FileFormat.PRIVATE_KEY:
                self.keys.append(block.text)
            elif form.with_certificates:
                self._take_inside(form, binascii.a2b_base64(block.body))

    def _take_certificate(self, block: _Block) -> None:
        self.formats.append(FileFormat.PEM)
        der = binascii.a2b_base64(block.body)
        if is_signed_data(der):
            # Windows' certutil calls a certificate whatever it encodes.
            self.formats[-1] = FileFormat.PKCS7
            self._take_inside(PKCS7, der)
        else:
            # OpenSSL's TRUSTED CERTIFICATE appends its own settings after the certificate.
            self.certificates.append(der[: element_end(der, 0)])

    def _take_inside(self, form: Format, content: bytes) -> None:
        if form.opened is not None:
            inside = form.opened(content, None).blocks
            self.certificates += inside.certificates
            self.faults += inside.faults

    def container(self) -> Container:
        """Return all; it is called PEM where a certificate stands in it on its own, else by what is in it."""
        blocks = Blocks(tuple(self.certificates), tuple(self.keys), tuple(self.faults[:MOST_FAULTS]))
        encodings = _ENCODINGS & {FileFormat.PEM, *self.formats} if self.formats else frozenset()
        return Container(self._name(), blocks, encodings)

    def _name(self) -> FileFormat:
        preferred = (FileFormat.PEM, FileFormat.PKCS7, FileFormat.PRIVATE_KEY)
        return next((each for each in (*preferred, *self.formats) if each in self.formats), FileFormat.PEM)
