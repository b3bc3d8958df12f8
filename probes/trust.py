"""Trust stores: the content of their sources, read once; nothing is ever learned from an endpoint."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import certifi

from config.immutable import immutable
from config.model import CertifiStore, OtherMachines, PemBundle, SystemStore, TrustStore
from config.text import Printable
from config.vocabulary import UnreadableReason
from probes.certificate import Certificate, decodable
from probes.container.bundle import read_bundle
from probes.container.registry import PEM, recognise, trusted_in
from probes.keystore import DEFAULT_PASSWORD, password_in
from probes.opening import read_as_ourselves
from probes.store_content import LARGEST, read_store, why_too_many

_LONGEST_PASSWORD: Final = 64 * 1024
"""Bytes of its file."""
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_WAY_INTO_SYSTEM: Final = Printable(
    "put the root into /usr/local/share/ca-certificates and run update-ca-certificates, or into "
    "/etc/pki/ca-trust/source/anchors and run update-ca-trust"
)
_NO_WAY_IN: Final = Printable("it holds Mozilla's roots, as a package ships them: no root of one's own comes to it")


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """The anchors of one trust store as they were read; equal only to itself, so that verdicts can be kept by it."""

    name: str
    anchors: tuple[Certificate, ...]
    public: bool = False
    """The anchors are those of the web PKI, so its rules on validity apply."""
    public_anchors: frozenset[Certificate] = field(default=frozenset(), repr=False)
    """Those that are, where not all are."""
    by_subject: Mapping[bytes, Sequence[Certificate]] = field(init=False, repr=False)
    _held: frozenset[Certificate] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_subject: dict[bytes, list[Certificate]] = {}
        for anchor in self.anchors:
            by_subject.setdefault(anchor.outline().subject, []).append(anchor)
        object.__setattr__(self, "by_subject", by_subject)
        object.__setattr__(self, "_held", frozenset(self.anchors))

    def holds(self, candidate: Certificate) -> bool:
        """Whether exactly this certificate is an anchor."""
        return candidate in self._held

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


@immutable
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


def way_into(store: TrustStore) -> Printable:
    """Say how a root comes into the store of the system or of a package, a sentence without an end."""
    return _WAY_INTO_SYSTEM if isinstance(store.source, SystemStore) else _NO_WAY_IN


def read_trust(store: TrustStore) -> Trust | TrustUnreadable:
    """Return the anchors of `store`, of PEM as `read_bundle` does; a store without any is unreadable."""
    path = trust_path(store)
    if isinstance(store.source, OtherMachines):
        return TrustUnreadable(store.name, path, "it is on other machines, and nobody here can see it")
    try:
        certificates = _anchors_of(store, path)
    except OSError as error:
        return TrustUnreadable(store.name, path, error.strerror or "cannot be read")
    if isinstance(certificates, str):
        return TrustUnreadable(store.name, path, certificates)
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

    Raises OSError where the file cannot be read, or holds too many.
    """
    found = trusted_in(read_anchor_file(path))
    if why := why_too_many(found):
        raise OSError(errno.EFBIG, why, path)
    return tuple(dict.fromkeys(decodable(found)))


def _anchors_of(store: TrustStore, path: str) -> tuple[Certificate, ...] | str:
    """Return the anchors of a store, also of one that needs a password, or why there are none; raises OSError."""
    data = read_anchor_file(path)
    form = recognise(data)
    if form is not None and form.is_keystore and not form.shows_trusted:
        content = read_store(data, (*own_password(store), None, DEFAULT_PASSWORD))
        large = (each.detail for each in content.faults if each.reason is UnreadableReason.TOO_LARGE)
        return next(large, "") or decodable(content.anchors)
    if form is PEM:
        read = read_bundle(data)
        why, found = read.why, read.certificates
    else:
        why, found = "", trusted_in(data)
    return why or why_too_many(found) or tuple(dict.fromkeys(decodable(found)))


def own_password(store: TrustStore) -> tuple[bytes, ...]:
    """Return the configured password of a store; none where there is none, or this process may not read it."""
    if store.password_file is None:
        return ()
    try:
        return (password_in(read_as_ourselves(store.password_file, _LONGEST_PASSWORD)),)
    except OSError:
        return ()


def read_anchor_file(path: str) -> bytes:
    """Return the content of a file of anchors; raises OSError, also where it is no regular file, or is too large."""
    return read_as_ourselves(path, LARGEST)
