"""The two verifiers that clients are built on: each accepts a path or refuses; the cause is found elsewhere."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from OpenSSL import crypto
from OpenSSL._util import lib as openssl

from config.text import printable
from probes.certificate import Certificate, certificate
from probes.trust import Trust

WEBPKI_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Accepted:
    """The verifier found a path."""

    path: tuple[Certificate, ...]
    """Leaf first, anchor last."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The verifier found no path that it accepts."""

    said: str
    """Its own words, printable: shown to a person, never interpreted."""


Verification = Accepted | Refused


class _OpenSSLStore:
    """Anchors in OpenSSL's form; its time is set before each use, hence the lock."""

    def __init__(self, trust: Trust) -> None:
        self.lock = threading.Lock()
        self.store = crypto.X509Store()
        for anchor in trust.anchors:
            self.store.add_cert(crypto.X509.from_cryptography(anchor.x509()))
        # pyOpenSSL has no public call for the purpose, without which any certificate could be a server's.
        if openssl.X509_STORE_set_purpose(self.store._store, openssl.X509_PURPOSE_SSL_SERVER) != 1:
            raise RuntimeError("OpenSSL does not take the purpose of a server")


@lru_cache(maxsize=64)
def _openssl_store(trust: Trust) -> _OpenSSLStore:
    return _OpenSSLStore(trust)


@lru_cache(maxsize=64)
def _webpki_store(trust: Trust) -> verification.Store:
    return verification.Store([anchor.x509() for anchor in trust.anchors])


def verify_openssl(leaf: Certificate, intermediates: Sequence[Certificate], trust: Trust, now: float) -> Verification:
    """Verify as OpenSSL does for a TLS server at Unix time `now`, the name left aside."""
    store = _openssl_store(trust)
    untrusted = [crypto.X509.from_cryptography(each.x509()) for each in intermediates]
    context = crypto.X509StoreContext(store.store, crypto.X509.from_cryptography(leaf.x509()), untrusted)
    with store.lock:
        store.store.set_time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
        try:
            path = context.get_verified_chain()
        except crypto.X509StoreContextError as error:
            return Refused(printable(str(error)))
    return Accepted(tuple(certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, each)) for each in path))


def verify_webpki(leaf: Certificate, intermediates: Sequence[Certificate], trust: Trust, now: float) -> Verification:
    """Verify by the web PKI's profile (as cryptography implements it) at Unix time `now`, the name left aside."""
    verifier = (
        verification.PolicyBuilder()
        .store(_webpki_store(trust))
        .time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
        .max_chain_depth(WEBPKI_MAX_DEPTH)
        .build_server_verifier(_some_name_of(leaf))
    )
    try:
        path = verifier.verify(leaf.x509(), [each.x509() for each in intermediates])
    except (verification.VerificationError, ValueError, x509.DuplicateExtension) as error:
        return Refused(printable(str(error)))
    return Accepted(tuple(certificate(each.public_bytes(Encoding.DER)) for each in path))


def _some_name_of(leaf: Certificate) -> verification.Subject:
    """Return a name that the leaf itself carries: this verifier wants one, but names are judged separately."""
    for name in leaf.names:
        kind, _, value = name.partition(":")
        try:
            if kind == "DNS":
                return x509.DNSName(value.replace("*.", "any.", 1) if value.startswith("*.") else value)
            if kind == "IP":
                return x509.IPAddress(ipaddress.ip_address(value))
        except ValueError:
            continue
    return x509.DNSName("unnamed.invalid")
