"""Containers: what the content of a file says that it is, whatever it is called, and what it holds.

`FORMATS` is the table of them. A new format is a line in it, and a line in `_MAGIC`, `_BY_LABEL` or `_text_format`
where its content begins neither as DER nor as one of these does.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final

from config.vocabulary import FileFormat, UnreadableReason
from probes.encoding import INTEGER, OBJECT_IDENTIFIER, Blocks, DERError, EncodingFault, element_end, split
from probes.pkcs7 import SIGNED_DATA_LABELS, certificates_of, is_signed_data
from probes.pkcs12 import is_keystore, unlock

Password = bytes | None
Shape = tuple[int, ...]
"""Tags of DER elements, one after the other."""

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_ENUMERATED: Final = 0x0A
_CONTEXT_0: Final = 0xA0
_TIMES: Final = (0x17, 0x18)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files."""

    name: FileFormat
    called: str
    """For a person, with an article."""
    begins: Callable[[bytes], bool]
    """Whether content is written in it."""
    with_certificates: bool = False
    """Whether there may be certificates in it."""
    opened: Callable[[bytes, Password], Blocks] | None = None
    """What is in it; None where that is not read yet, or never is anything to look at."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file's content, opened."""

    format: FileFormat
    blocks: Blocks


def open_container(data: bytes, password: Password = None) -> Container:
    """Return the format of `data` and the certificates and private keys in it, or as faults why they cannot be read.

    PEM with PKCS#7 in it is PEM. PEM and DER without a certificate are called by what is in them instead.
    """
    if data[:1] == _DER_BEGINS or data[:4] in _MAGIC:
        for each in FORMATS:
            if each.begins(data):
                return Container(each.name, _open(each, data, password))
    blocks = split(data)
    if any(map(is_signed_data, blocks.certificates)):
        return Container(FileFormat.PKCS7, _unfolded(blocks))
    if not blocks.certificates and b"-----BEGIN " in data:
        return _open_pem(data, blocks)
    if blocks.certificates or blocks.faults or blocks.keys:
        form = FileFormat.DER if data[:1] == _DER_BEGINS else FileFormat.PEM
        return Container(form if blocks.certificates or blocks.faults else FileFormat.PRIVATE_KEY, blocks)
    return Container(_text_format(data), blocks)


def called(name: FileFormat) -> str:
    """Return how people call a format, with an article; empty for what is none."""
    return _CALLED.get(name, "")


def may_hold_certificates(name: FileFormat) -> bool:
    """Whether a format is one of certificates, be it that they cannot be read."""
    return name in _WITH_CERTIFICATES


def _open(form: Format, data: bytes, password: Password) -> Blocks:
    if form.opened is not None:
        return form.opened(data, password)
    if form.with_certificates:
        return _fault(UnreadableReason.UNSUPPORTED, f"{form.called}, which certvigil does not read yet")
    return Blocks((), (), ())


def _open_keystore(data: bytes, password: Password) -> Blocks:
    blocks = unlock(data, password)
    return replace(blocks, faults=tuple(_keystore_fault(each, password) for each in blocks.faults))


def _keystore_fault(fault: EncodingFault, password: Password) -> EncodingFault:
    if fault.reason is not UnreadableReason.WRONG_PASSWORD:
        return fault
    if password is None:
        return EncodingFault(UnreadableReason.LOCKED, "a PKCS#12 keystore that needs a password")
    return EncodingFault(fault.reason, "a PKCS#12 keystore that this password does not open")


def _fault(reason: UnreadableReason, detail: str) -> Blocks:
    return Blocks((), (), (EncodingFault(reason, detail),))


_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9#][A-Z0-9# ]{0,63})-----(.*?)(?:-----END \1-----|\Z)", re.DOTALL)
_BY_LABEL: Final[Mapping[bytes, FileFormat]] = MappingProxyType(
    {
        b"CERTIFICATE REQUEST": FileFormat.REQUEST,
        b"NEW CERTIFICATE REQUEST": FileFormat.REQUEST,
        b"X509 CRL": FileFormat.CRL,
        b"OPENSSH PRIVATE KEY": FileFormat.OPENSSH_KEY,
        b"PUBLIC KEY": FileFormat.PUBLIC_KEY,
        b"RSA PUBLIC KEY": FileFormat.PUBLIC_KEY,
        b"DH PARAMETERS": FileFormat.PARAMETERS,
        b"X9.42 DH PARAMETERS": FileFormat.PARAMETERS,
        b"EC PARAMETERS": FileFormat.PARAMETERS,
    }
)


def _open_pem(data: bytes, blocks: Blocks) -> Container:
    """Return PEM that holds no certificate block: perhaps PKCS#7, else something that is called by its name."""
    certificates: list[bytes] = []
    faults = list(blocks.faults)
    formats: list[FileFormat] = []
    for block in _LABEL.finditer(data):
        if block[1] in SIGNED_DATA_LABELS:
            formats.append(FileFormat.PKCS7)
            inside = _open_pem_signed_data(block[2])
            certificates += inside.certificates
            faults += inside.faults
        elif block[1] in _BY_LABEL:
            formats.append(_BY_LABEL[block[1]])
    if certificates:
        return Container(FileFormat.PKCS7, Blocks(tuple(certificates), blocks.keys, tuple(faults)))
    if blocks.keys:
        return Container(FileFormat.PRIVATE_KEY, blocks)
    return Container(formats[0] if formats else FileFormat.PEM, replace(blocks, faults=tuple(faults)))


def _unfolded(blocks: Blocks) -> Blocks:
    """Return blocks with PKCS#7, which some tools label as a certificate, replaced by what is in it."""
    parts = [certificates_of(each) if is_signed_data(each) else Blocks((each,), (), ()) for each in blocks.certificates]
    certificates = tuple(each for part in parts for each in part.certificates)
    faults = (*blocks.faults, *(each for part in parts for each in part.faults))
    return Blocks(certificates, blocks.keys, faults)


def _open_pem_signed_data(body: bytes) -> Blocks:
    try:
        der = binascii.a2b_base64(body)
    except binascii.Error:
        return _fault(UnreadableReason.BAD_PEM, "the base64 of its PKCS#7 block cannot be decoded")
    return certificates_of(der)


_OPENSSH_PUBLIC_KEY: Final = re.compile(rb"\s*(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d+) AAAA")


def _text_format(data: bytes) -> FileFormat:
    if data.startswith(b"PuTTY-User-Key-File-"):
        return FileFormat.PUTTY_KEY
    return FileFormat.PUBLIC_KEY if _OPENSSH_PUBLIC_KEY.match(data) else FileFormat.OTHER


def _shape(data: bytes, depth: int) -> Shape:
    """Return the tags of the first elements inside the `depth`th SEQUENCE of DER, each the first in the one around."""
    try:
        at, end = 0, len(data)
        for _ in range(depth):
            if data[at] != _SEQUENCE:
                return ()
            end = element_end(data, at)
            length = data[at + 1]
            at += 2 + (length & 0x7F if length & 0x80 else 0)
        tags: list[int] = []
        while at < end and len(tags) < _MOST_TAGS:
            tags.append(data[at])
            at = element_end(data, at)
    except (IndexError, DERError):
        return ()
    return tuple(tags)


_MOST_TAGS: Final = 5


def _is_request(data: bytes) -> bool:
    """Tell PKCS#10 (RFC 2986, 4): version, subject, public key, attributes."""
    return _shape(data, 2) in {(INTEGER, _SEQUENCE, _SEQUENCE, _CONTEXT_0), (INTEGER, _SEQUENCE, _SEQUENCE)}


def _is_crl(data: bytes) -> bool:
    """Tell a CRL (RFC 5280, 5.1): perhaps a version, then algorithm, issuer, the time of this update."""
    shape = _shape(data, 2)
    fields = shape[1:] if shape[:1] == (INTEGER,) else shape
    return fields[:2] == (_SEQUENCE, _SEQUENCE) and fields[2:3] != () and fields[2] in _TIMES


def _is_public_key(data: bytes) -> bool:
    """Tell a SubjectPublicKeyInfo (RFC 5280, 4.1)."""
    return _shape(data, 1) == (_SEQUENCE, _BIT_STRING) and _shape(data, 2)[:1] == (OBJECT_IDENTIFIER,)


def _is_ocsp_response(data: bytes) -> bool:
    """Tell an OCSP response (RFC 6960, 4.2.1)."""
    return _shape(data, 1) in {(_ENUMERATED,), (_ENUMERATED, _CONTEXT_0)}


def _is_parameters(data: bytes) -> bool:
    """Tell Diffie-Hellman parameters (PKCS#3): a prime, a generator, perhaps a length."""
    return _shape(data, 1) in {(INTEGER, INTEGER), (INTEGER, INTEGER, INTEGER)}


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return partial(_starts_with_one, beginnings)


def _starts_with_one(beginnings: tuple[bytes, ...], data: bytes) -> bool:
    return data.startswith(beginnings)


def _never(_: bytes) -> bool:
    """Stand for formats that are told in another way than by how they begin."""
    return False


_DER_BEGINS: Final = b"\x30"
_JKS: Final = bytes.fromhex("feedfeed")
_JCEKS: Final = bytes.fromhex("cececece")
_BKS: Final = (bytes.fromhex("0000000100000014"), bytes.fromhex("0000000200000014"))
_MAGIC: Final = frozenset({_JKS, _JCEKS, *(each[:4] for each in _BKS)})

FORMATS: Final[Sequence[Format]] = (
    Format(FileFormat.PKCS12, "a PKCS#12 keystore", is_keystore, with_certificates=True, opened=_open_keystore),
    Format(
        FileFormat.PKCS7,
        "a PKCS#7 bundle",
        is_signed_data,
        with_certificates=True,
        opened=lambda data, _: certificates_of(data),
    ),
    Format(FileFormat.JKS, "a JKS keystore", _starts(_JKS), with_certificates=True),
    Format(FileFormat.JCEKS, "a JCEKS keystore", _starts(_JCEKS), with_certificates=True),
    Format(FileFormat.BKS, "a Bouncy Castle keystore (BKS)", _starts(*_BKS), with_certificates=True),
    Format(FileFormat.REQUEST, "a certificate signing request", _is_request),
    Format(FileFormat.CRL, "a certificate revocation list", _is_crl),
    Format(FileFormat.PUBLIC_KEY, "a public key", _is_public_key),
    Format(FileFormat.OCSP_RESPONSE, "an OCSP response", _is_ocsp_response),
    Format(FileFormat.PARAMETERS, "parameters of a key exchange", _is_parameters),
    # These are told by what is found in them.
    Format(FileFormat.PRIVATE_KEY, "a private key", _never),
    Format(FileFormat.OPENSSH_KEY, "an OpenSSH private key", _never),
    Format(FileFormat.PUTTY_KEY, "a PuTTY private key", _never),
)
"""In the order in which content is tried; PEM and a certificate in DER are what all others are not."""

_CALLED: Final = MappingProxyType({each.name: each.called for each in FORMATS})
_WITH_CERTIFICATES: Final = frozenset(each.name for each in FORMATS if each.with_certificates)
