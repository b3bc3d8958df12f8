"""Trust stores: the content of their sources, read once; nothing is ever learned from an endpoint."""

from __future__ import annotations

import errno
import os
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import certifi

from config.model import CertifiStore, OtherMachines, PemBundle, SystemStore, TrustStore
from probes.certificate import Certificate, decodable
from probes.container.pkcs12 import PKCS12
from probes.container.registry import recognise, trusted_in
from probes.keystore import DEFAULT_PASSWORD, password_in
from probes.store_content import read_store

LARGEST: Final = 64 * 2**20
"""Bytes of a file of anchors."""
_LONGEST_PASSWORD: Final = 64 * 1024
"""Bytes of its file."""
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """The anchors of one trust store as they were read; equal only to itself, so that verdicts can be kept by it."""

    name: str
    anchors: tuple[Certificate, ...]
    public: bool = False
    """The anchors are those of the web PKI, so its rules on validity apply."""
    public_anchors: frozenset[Certificate] = field(default=frozenset(), repr=False)
    """Those that are, where not all are."""
    by_subject: Mapping[bytes, tuple[Certificate, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_subject: dict[bytes, tuple[Certificate, ...]] = {}
        for anchor in self.anchors:
            subject = anchor.outline().subject
            by_subject[subject] = (*by_subject.get(subject, ()), anchor)
        object.__setattr__(self, "by_subject", by_subject)

    def holds(self, candidate: Certificate) -> bool:
        """Whether exactly this certificate is an anchor."""
        return candidate in self.by_subject.get(candidate.outline().subject, ())

    def holds_as_public(self, candidate: Certificate) -> bool:
        """Whether this certificate is an anchor, and one of the web PKI."""
        return candidate in self.public_anchors or (self.public and self.holds(candidate))

    def holds_the_same_as(self, other: Trust) -> bool:
        """Whether both have the same name, the same anchors in the same order and the same rules."""
        return (self.name, self.public, self.anchors, self.public_anchors) == (
            other.name,
            other.public,
            other.anchors,
            other.public_anchors,
        )


@dataclass(frozen=True, slots=True)
class TrustUnreadable:
    """A trust store gave no anchors."""

    store: str
    path: str
    detail: str


def trust_path(store: TrustStore) -> str:
    """Return the file that `store` is read from; the first of the system's usual ones where none exists.

    A store of other machines has none: the path is empty.
    """
    match store.source:
        case PemBundle(path):
            return path
        case CertifiStore():
            return certifi.where()
        case SystemStore():
            default = ssl.get_default_verify_paths().cafile
            candidates = (*_SYSTEM_BUNDLES, default) if default else _SYSTEM_BUNDLES
            return next(filter(os.path.exists, candidates), _SYSTEM_BUNDLES[0])
        case OtherMachines():
            return ""


def read_trust(store: TrustStore) -> Trust | TrustUnreadable:
    """Return the anchors of `store`; a block that cannot be decoded is passed over, an empty store is unreadable."""
    path = trust_path(store)
    if isinstance(store.source, OtherMachines):
        return TrustUnreadable(store.name, path, "it is on other machines, and nobody here can see it")
    try:
        certificates = _anchors_of(store, path)
    except OSError as error:
        return TrustUnreadable(store.name, path, error.strerror or "cannot be read")
    if not certificates:
        return TrustUnreadable(store.name, path, "holds no certificate")
    match store.source:
        case CertifiStore():
            return Trust(store.name, certificates, public=True)
        case SystemStore():
            # A site adds its own CAs to the system's, to which the rules of the web PKI do not apply.
            return Trust(store.name, certificates, public_anchors=_of_the_web_pki().intersection(certificates))
        case PemBundle():
            return Trust(store.name, certificates)


def _of_the_web_pki() -> frozenset[Certificate]:
    try:
        return frozenset(read_certificates(certifi.where()))
    except OSError:
        return frozenset()


def read_certificates(path: str) -> tuple[Certificate, ...]:
    """Return the certificates in the file at `path`, each once, in file order.

    Raises OSError where the file cannot be read.
    """
    return tuple(dict.fromkeys(decodable(trusted_in(read_anchor_file(path)))))


def _anchors_of(store: TrustStore, path: str) -> tuple[Certificate, ...]:
    """Return the anchors of a store, also of PKCS#12, which needs a password; raises OSError."""
    data = read_anchor_file(path)
    if recognise(data) is not PKCS12:
        return tuple(dict.fromkeys(decodable(trusted_in(data))))
    return decodable(read_store(data, (*own_password(store), None, DEFAULT_PASSWORD)).anchors)


def own_password(store: TrustStore) -> tuple[bytes, ...]:
    """Return the configured password of a store; none where there is none, or this process may not read it."""
    if store.password_file is None:
        return ()
    try:
        with open(os.open(store.password_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return (password_in(file.read(_LONGEST_PASSWORD)),)
    except OSError:
        return ()


def read_anchor_file(path: str) -> bytes:
    """Return the content of a file of anchors; raises OSError, also where it is no regular file, or is too large."""
    # A FIFO must not hold up whoever reads, nor a device fill the memory.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data
