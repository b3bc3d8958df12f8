"""The registration table of formats: content is tried by each row of `FORMATS` in turn, and the first that fits counts.

A file is called by its content, whatever its name. The rows, in the order of attempts:

 1. `jks` begins with the number FEEDFEED;
 2. `jceks` begins with the number CECECECE;
 3. `bks` begins with version 1 or 2 and the length of its salt;
 4. `pkcs12` is a SEQUENCE that begins with version 3;
 5. `pkcs7` is a SEQUENCE that begins with the identifier of signed data;
 6. `request` is DER with version, subject, public key and attributes;
 7. `crl` is DER with algorithm, issuer and a time;
 8. `ocsp_response` is DER that begins with a status;
 9. `parameters` is DER with two or three numbers;
10. `private_key` is DER with a version and numbers, or an algorithm and octets;
11. `der` is a certificate in DER, or DER that is cut short or damaged;
12. `pem` has the boundary of a block anywhere in it: a file of blocks without a certificate is called by them;
13. `openssh_key` is a PEM block alone;
14. `openssh_certificate` is a line of OpenSSH's that begins with the kind of a certificate;
15. `putty_key` begins with its own name;
16. `public_key` is DER with an algorithm and bits, or a line of OpenSSH's;
17. `kubeconfig` has the kind Config, and clusters;
18. `document` is YAML or JSON where a watch names places in it, and nothing otherwise.

Everything else is `other`. Binary formats come before text, since the text of a boundary may stand in any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from config.vocabulary import FileFormat, UnreadableReason
from probes.container.blocks import NOTHING, Blocks, Container, Format, Password, faulty
from probes.container.crl import CRL
from probes.container.der import DER
from probes.container.document import kubeconfig, open_document
from probes.container.jks import BKS, JCEKS, JKS
from probes.container.named import (
    OCSP_RESPONSE,
    OPENSSH_CERTIFICATE,
    OPENSSH_KEY,
    PARAMETERS,
    PUBLIC_KEY,
    PUTTY_KEY,
    REQUEST,
)
from probes.container.pem import is_pem, open_pem
from probes.container.pkcs7 import PKCS7
from probes.container.pkcs12 import PKCS12
from probes.container.private_key import PRIVATE_KEY
from probes.encoding import DERError, element_end

PEM: Final = Format(
    FileFormat.PEM, begins=is_pem, opened=lambda data, _password: open_pem(data, _BY_LABEL), encoding="PEM"
)

DOCUMENT: Final = Format(FileFormat.DOCUMENT, "a document of YAML or JSON")

FORMATS: Final[Sequence[Format]] = (
    JKS,
    JCEKS,
    BKS,
    PKCS12,
    PKCS7,
    REQUEST,
    CRL,
    OCSP_RESPONSE,
    PARAMETERS,
    PRIVATE_KEY,
    DER,
    PEM,
    OPENSSH_KEY,
    OPENSSH_CERTIFICATE,
    PUTTY_KEY,
    PUBLIC_KEY,
    kubeconfig(lambda data, password: open_container(data, password)),  # noqa: PLW0108 (it is defined below)
    DOCUMENT,
)
"""In the order of attempts, which the module's docstring puts into words."""

_BY_NAME: Final[Mapping[FileFormat, Format]] = MappingProxyType({each.name: each for each in FORMATS})
_BY_FIRST: Final = tuple(tuple(each for each in FORMATS if each.first in {None, octet}) for octet in range(256))
"""The rows for content that begins with an octet, since nearly every file is text, and most formats are not."""
_BY_LABEL: Final[Mapping[bytes, Format]] = MappingProxyType({label: each for each in FORMATS for label in each.labels})


def open_container(data: bytes, password: Password = None) -> Container:
    """Return the format of `data` and the certificates and private keys in it, or as faults why they cannot be read."""
    form = recognise(data)
    if form is None:
        return Container(FileFormat.OTHER, faulty(UnreadableReason.BAD_PEM, _IN_UTF16) if _is_utf16(data) else NOTHING)
    if form.opened is not None:
        return form.opened(data, password)
    if form.with_certificates:
        unsupported = f"{form.called}, which certvigil does not read yet"
        return Container(form.name, faulty(UnreadableReason.UNSUPPORTED, unsupported))
    return Container(form.name, NOTHING)


_IN_UTF16: Final = "it is PEM in UTF-16, which no server reads: write it in ASCII"
_UTF16_BOUNDARIES: Final = tuple("-----BEGIN ".encode(f"utf-16-{order}e") for order in "lb")


def _is_utf16(data: bytes) -> bool:
    """Whether `data` has the boundary of a PEM block in UTF-16, as Windows PowerShell writes what is redirected."""
    return any(each in data for each in _UTF16_BOUNDARIES)


def open_places(data: bytes, pointers: Sequence[str], password: Password = None) -> Container:
    """Return the certificates and private keys at these places in YAML or JSON, each an entry by its place."""
    return open_document(data, pointers, password, open_container)


def open_unsealed(data: bytes) -> Blocks:
    """Return the certificates, keys and faults in `data`; no keystore or kubeconfig is opened: that may cost work."""
    form = recognise(data)
    return NOTHING if form is None or form.is_keystore or form.shows_trusted else open_container(data).blocks


def trusted_in(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates, in DER, that a program trusts whose trust store has this content.

    Of a keystore these are the trusted entries, where they take no work to read; another keystore is not opened.
    """
    form = recognise(data)
    if form is None or not form.shows_trusted:
        return open_unsealed(data).certificates
    keystore = open_container(data).keystore
    return () if keystore is None else tuple(der for each in keystore.trusted for der in each.certificates)


def recognise(data: bytes) -> Format | None:
    """Return the first format in the table that `data` begins as; None for content of no known format."""
    for each in _BY_FIRST[data[0]] if data else ():
        if each.begins is not None and each.begins(data):
            return each
    return None


def parts_of(data: bytes) -> Iterator[bytes]:
    """Yield the parts of a file that was joined from several: each DER element in front, and then the rest."""
    at = 0
    while at < len(data):
        end = _end_of_part(data, at)
        yield data[at:end]
        at = end


_DER_OR_BER: Final = re.compile(rb"\x30(?:[\x81-\x84]|[\x20-\x7f]\x02\x01)")
"""A SEQUENCE as in a certificate or key; where its length was not known when it was written, the rest is all of it."""


def _end_of_part(data: bytes, at: int) -> int:
    try:
        return element_end(data, at) if _DER_OR_BER.match(data, at) else len(data)
    except DERError:
        return len(data)


def called(name: FileFormat) -> str:
    """Return how people call a format, with an article; empty where certificates are no more than expected."""
    return _BY_NAME[name].called if name in _BY_NAME else ""


def encoding(name: FileFormat) -> str:
    """Return the name of an encoding of certificates and keys, as `Container.encodings` has it."""
    return _BY_NAME[name].encoding


def may_hold_certificates(name: FileFormat) -> bool:
    """Whether a format is one of certificates, be it that they cannot be read."""
    return name in _BY_NAME and _BY_NAME[name].with_certificates


def is_keystore(name: FileFormat) -> bool:
    """Whether a format is one of keystores: private keys and certificates that a password may seal."""
    return name in _BY_NAME and _BY_NAME[name].is_keystore
