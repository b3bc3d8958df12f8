"""Certificate revocation lists (RFC 5280, 5): recognised; `probes.revocation.crl` decodes them."""

from __future__ import annotations

from typing import Final

from config.vocabulary import FileFormat
from probes.container.blocks import Blocks, Container, Format, Password
from probes.encoding import INTEGER, SEQUENCE, TIMES, shape


def is_crl(data: bytes) -> bool:
    """Whether `data` is a CRL in DER: perhaps a version, then algorithm, issuer, the time of this update."""
    found = shape(data, 2)
    fields = found[1:] if found[:1] == (INTEGER,) else found
    return fields[:2] == (SEQUENCE, SEQUENCE) and fields[2:3] != () and fields[2] in TIMES


def _opened(data: bytes, _password: Password) -> Container:
    return Container(FileFormat.CRL, Blocks((), (), (), (data,)))


CRL: Final = Format(
    FileFormat.CRL, "a certificate revocation list", is_crl, SEQUENCE, frozenset({b"X509 CRL"}), opened=_opened
)
