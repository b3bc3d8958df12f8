"""Certificates added to and removed from a bundle of PEM certificates, by position in its bytes; pure.

Whatever else is in the file stays byte for byte: comments, blank lines, line ends, blocks of other kinds.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from config.text import printable
from probes.certificate import Certificate
from probes.container.pem import spans
from probes.container.registry import open_container
from probes.store_content import sha256_of

_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_LINE_END: Final = re.compile(rb"[ \t]*(?:\r?\n|\r|\Z)")
_OURS: Final = b"# certvigil: "
"""How the line begins that stands above each certificate which was added here."""
_LONGEST: Final = 200


class _Block(NamedTuple):
    """Where a certificate stands, from the beginning of its line to behind its line end."""

    start: int
    end: int
    sha256: str


def appended(data: bytes, certificates: Iterable[Certificate]) -> bytes:
    """Return the bundle with `certificates` behind all that it has; a last line without an end gets one."""
    end = _line_end(data)
    added = b"".join(_lines(each, end) for each in certificates)
    gap = b"" if not data or data.endswith((b"\n", b"\r")) else end
    return data + gap + added if added else data


def without(data: bytes, sha256: str) -> bytes:
    """Return the bundle without each block of the certificate with that SHA-256, hexadecimal.

    A comment directly above goes with the block where certvigil wrote it.
    """
    kept: list[bytes] = []
    at = 0
    for block in _blocks(data):
        if block.sha256 == sha256:
            kept.append(data[at : _with_our_comment(data, block.start)])
            at = block.end
    return b"".join((*kept, data[at:]))


def _lines(certificate: Certificate, end: bytes) -> bytes:
    # A subject may hold anything, also what looks like the boundary of a block.
    name = printable(certificate.title, _LONGEST).encode("ascii", "backslashreplace").replace(b"-----", b"- - -")
    pem = ssl.DER_cert_to_PEM_cert(certificate.der).encode("ascii")
    lines = (_OURS + name + b", sha256 " + certificate.sha256.encode(), *pem.splitlines())
    return b"".join(line + end for line in lines)


def _line_end(data: bytes) -> bytes:
    """Return how the last line of a file ends that has an end, as its writer wrote it."""
    at = data.rfind(b"\n")
    return b"\r\n" if at > 0 and data[at - 1 : at] == b"\r" else b"\n"


def _blocks(data: bytes) -> Iterator[_Block]:
    behind = 0
    for found in spans(data, _LABELS):
        held = open_container(data[found.start : found.end]).blocks.certificates
        start, behind = _line_start(data, found.start, behind), _behind_line(data, found.end)
        if len(held) == 1:
            yield _Block(start, behind, sha256_of(held[0]))


def _line_start(data: bytes, at: int, behind: int) -> int:
    """Return where a line begins that has nothing but blanks before `at`; else `at`.

    `behind` is the end of the block before: one line of many blocks is not gone back over for each.
    """
    found = data.rfind(b"\n", behind, at)
    if found < 0 and behind and not data.startswith(b"\n", behind - 1):
        return at
    start = max(found + 1, behind)
    return start if not data[start:at].strip(b" \t") else at


def _behind_line(data: bytes, at: int) -> int:
    """Return behind the end of a line that has nothing but blanks from `at` on; else `at`."""
    found = _LINE_END.match(data, at)
    return found.end() if found is not None else at


def _with_our_comment(data: bytes, start: int) -> int:
    before = data.rfind(b"\n", 0, max(0, start - 1)) + 1
    return before if data.startswith(_OURS, before) and before < start else start
