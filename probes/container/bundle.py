"""A bundle of PEM certificates as a trust store: exactly those that OpenSSL takes for anchors (`verify -CAfile`).

OpenSSL reads lines, and what it cannot read in one block ends the whole file: then it takes no certificate at all.
Other programs read more: Java, Go and GnuTLS also take blocks behind a damaged one, for instance, and GnuTLS and Go
indented ones. The strict reading counts, since a client that is said to trust an anchor must do so.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import InvalidVersion, load_der_x509_crl

from config.immutable import immutable
from probes.certificate import why_undecodable
from probes.encoding import CONTEXT_0, SEQUENCE, DERError, element_end, enter, outline
from probes.private_key import load_private_key

MOST_ANCHORS: Final = 10_000
"""Certificates of one store: Mozilla's has some 140, a large company's some thousands."""
_MOST_OTHERS: Final = 100
"""Keys and revocation lists in it, each of which is decoded."""

_LONGEST: Final = 254
"""Bytes of a line; the rest of a longer one is read as a line of its own."""
_BLANK: Final = bytes(range(33))
"""Where characters have a sign, OpenSSL takes those beyond ASCII for blanks, too; elsewhere it does not."""
_MARK: Final = b"\xef\xbb\xbf"
_BEGIN, _END, _TAIL = b"-----BEGIN ", b"-----END ", b"-----"
_WIDTH: Final = 64
"""Characters of a line behind a blank one; a shorter line is the last."""
_CERTIFICATES: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_TRUSTED: Final = b"TRUSTED CERTIFICATE"
_CRL: Final = b"X509 CRL"
_DECODED: Final = frozenset({_CRL, b"PRIVATE KEY", b"RSA PRIVATE KEY", b"DSA PRIVATE KEY", b"EC PRIVATE KEY"})
"""Other blocks whose content is read."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_ANY_USE: Final = bytes.fromhex("0604551d2500")
"""anyExtendedKeyUsage."""


@immutable
class ReadBundle:
    """The anchors in a bundle."""

    certificates: tuple[bytes, ...] = ()
    """DER."""
    why: str = ""
    """Why nothing of the file is read, the rest of a sentence; empty where it is read."""


class _DamagedError(Exception):
    """OpenSSL reads nothing of the file; the message is the end of a sentence."""


def read_bundle(data: bytes) -> ReadBundle:
    """Return what OpenSSL takes for anchors, not many more than `MOST_ANCHORS`; raises nothing."""
    lines, found, others = _Lines(data), list[bytes](), 0
    try:
        while len(found) <= MOST_ANCHORS and (label := _begun(lines)) is not None:
            at = lines.number
            others += label in _DECODED
            if others > _MOST_OTHERS:
                return ReadBundle(why=f"it holds more than {_MOST_OTHERS} keys and revocation lists, and is not read")
            try:
                content, has_header = _content(lines, label)
                found += _anchors(label, content, has_header=has_header)
            except (DERError, ValueError, IndexError) as error:
                raise _DamagedError(f"the block at line {at} cannot be decoded: {why_undecodable(error)}") from None
    except _DamagedError as error:
        return ReadBundle(why=f"OpenSSL reads none of it: {error}")
    return ReadBundle(tuple(found))


class _Lines:
    """The lines of a file as C reads them, with their number."""

    def __init__(self, data: bytes) -> None:
        self._data = data.removeprefix(_MARK) if len(data) > len(_MARK) else data
        self._at = 0
        self.number = 0
        self.is_part = False
        """The last line is only the first part of one."""

    def next(self) -> bytes | None:
        """Return the next line up to a NUL; None at the end, which a NUL at the beginning of a line looks like."""
        found = self._data.find(b"\n", self._at, self._at + _LONGEST)
        end = found + 1 if found >= 0 else min(self._at + _LONGEST, len(self._data))
        line = self._data[self._at : end].partition(b"\0")[0]
        self.number += self._at == 0 or self._data[self._at - 1 : self._at] == b"\n"
        self.is_part = len(line) == _LONGEST and not line.endswith(b"\n")
        self._at = end
        return line or None


def _begun(lines: _Lines) -> bytes | None:
    """Return the label of the next block; None where there is no more."""
    while (line := lines.next()) is not None:
        line = line.rstrip(_BLANK)
        if line.startswith(_BEGIN) and line.endswith(_TAIL):
            return line[len(_BEGIN) : -len(_TAIL)] if len(line) >= len(_BEGIN + _TAIL) else b""
    return None


def _content(lines: _Lines, label: bytes) -> tuple[bytes, bool]:
    """Return the bytes of a block whose first line was read, and whether it has a header.

    Raises ValueError, and _DamagedError where it has no end.
    """
    begun, header, body = lines.number, list[bytes](), list[bytes]()
    is_header = behind_header = is_last = was_part = False
    while (line := lines.next()) is not None:
        after_part, was_part = was_part, lines.is_part
        is_header |= not behind_header and b":" in line
        line = line.rstrip(_BLANK)
        if not line:
            # The end of a line that was read in parts is no blank line.
            if not after_part:
                if behind_header:
                    raise ValueError("it has two blank lines")
                behind_header = True
        elif line.startswith(_END):
            if line != _END + label + _TAIL:
                break
            if not (behind_header or is_header):
                header, body = [], header
            return _decoded(b"".join(body)), bool(header)
        elif is_last or (behind_header and len(line) > _WIDTH):
            raise ValueError("its lines are not of one length")
        elif behind_header:
            body.append(line)
            is_last = len(line) < _WIDTH
        else:
            header.append(line)
    raise _DamagedError(f"the block at line {begun} has no end of its own")


def _decoded(written: bytes) -> bytes:
    # OpenSSL takes a hyphen for the end.
    text = written.translate(None, b" \t\r\n").partition(b"-")[0]
    if not text:
        raise ValueError("it is empty")
    if len(text) % 4 or not _BASE64.fullmatch(text):
        raise ValueError("it is no base64")
    return binascii.a2b_base64(text)


def _anchors(label: bytes, content: bytes, *, has_header: bool) -> Iterator[bytes]:
    """Yield the anchor in a block; raises DERError, ValueError, IndexError where OpenSSL cannot decode it."""
    if label in _DECODED and not has_header:
        _decode_other(label, content)
    if label not in _CERTIFICATES and label != _TRUSTED:
        return
    if has_header:
        raise ValueError("it has a header")
    end = element_end(content, 0)
    outline(content[:end])
    if label != _TRUSTED or _is_for_all(content, end):
        yield content[:end]


def _decode_other(label: bytes, content: bytes) -> None:
    try:
        if label == _CRL:
            load_der_x509_crl(content)
        else:
            load_private_key(content)
    except (TypeError, UnsupportedAlgorithm, InvalidVersion):
        # It has the shape.
        return


def _is_for_all(content: bytes, at: int) -> bool:
    """Whether what stands behind a trusted certificate leaves it an anchor for every use."""
    if at == len(content):
        return True
    at, end = enter(content, at)
    uses = b""
    if at < end and content[at] == SEQUENCE:
        start, stop = enter(content, at)
        uses, at = content[start:stop], stop
        if _ANY_USE not in uses:
            return False
    return not (at < end and content[at] == CONTEXT_0)
