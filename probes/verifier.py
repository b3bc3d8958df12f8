"""The strict reference: the web PKI's profile as cryptography implements it; the cause is found elsewhere."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from config.immutable import immutable
from config.text import Printable, harmless, listed, printable, sentence
from probes.certificate import Certificate, NameKind, certificate
from probes.trust import Trust

WEBPKI_MAX_DEPTH: Final = 8


@immutable
class Accepted:
    """The verifier found a path."""

    path: tuple[Certificate, ...]
    """Leaf first, anchor last."""


@immutable
class RefusedChain:
    """The verifier found no path that it accepts."""

    said: Printable
    """Its own words: shown to a person, never interpreted."""


Verification = Accepted | RefusedChain


@lru_cache(maxsize=64)
def _webpki_store(trust: Trust) -> verification.Store | None:
    anchors = _read_strictly(trust.anchors)
    return verification.Store(anchors) if anchors else None


def _read_strictly(certificates: Iterable[Certificate]) -> list[x509.Certificate]:
    """Return those that a client which reads strict DER can read."""
    return [each.x509() for each in certificates if each.is_strict]


def verify_webpki(leaf: Certificate, intermediates: Sequence[Certificate], trust: Trust, now: float) -> Verification:
    """Verify by the web PKI's profile (as cryptography implements it) at Unix time `now`, the name left aside.

    Such a client reads no certificate that is not in strict DER.
    """
    first, store = _read_strictly((leaf,)), _webpki_store(trust)
    if not first:
        return RefusedChain(sentence("{} breaks {}", leaf.title, listed(leaf.encoding_faults, "; ")))
    if store is None:
        return RefusedChain(Printable("no anchor is in strict DER"))
    policy = (
        verification.PolicyBuilder()
        .store(store)
        .time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
        .max_chain_depth(WEBPKI_MAX_DEPTH)
    )
    try:
        verifier = policy.build_server_verifier(_some_name_of(leaf))
        path = verifier.verify(first[0], _read_strictly(intermediates))
    except Exception as error:  # noqa: BLE001 (which ones a certificate can make it raise is documented nowhere)
        return RefusedChain(_in_words(str(error)))
    return Accepted(tuple(certificate(each.public_bytes(Encoding.DER)) for each in path))


def _in_words(said: str) -> Printable:
    """Return the library's reason to refuse, without its texts for its own developers."""
    reason = _PREFIXES.sub("", said.partition(" (encountered processing")[0])
    if (extension := _OF_EXTENSION.fullmatch(reason)) is not None and extension[2] in _ILLS:
        name = x509.ObjectIdentifier(extension[1])._name
        called = harmless(extension[1] if name == "Unknown OID" else name)
        return sentence("a certificate of the path, or its anchor, {} {}", _ILLS[extension[2]], called)
    if reason == _NO_PATH:
        return Printable("it finds no path to an anchor that it accepts")
    if _FOR_DEVELOPERS.search(reason):
        return Printable("for a reason that it does not put into words")
    return printable(reason)


_PREFIXES: Final = re.compile(r"\A(validation failed: |candidates exhausted: )*")
_OF_EXTENSION: Final = re.compile(r"invalid extension: ([0-9.]+): (.*)")
_ILLS: Final = {
    "Certificate is missing required extension": Printable("lacks the extension"),
    "Certificate contains prohibited extension": Printable("must not have the extension"),
    "Certificate extension has incorrect criticality": Printable("has with the wrong criticality the extension"),
}
_NO_PATH: Final = "all candidates exhausted with no interior errors"
_FOR_DEVELOPERS: Final = re.compile(r"[{}<>]|::|\w\(|\A\s*\Z")


def _some_name_of(leaf: Certificate) -> verification.Subject:
    """Return a name that the leaf itself carries: this verifier wants one, but names are judged separately."""
    for name in leaf.alternative_names():
        with suppress(ValueError):
            if name.kind is NameKind.DNS:
                value = name.value
                return x509.DNSName(value.replace("*.", "any.", 1) if value.startswith("*.") else value)
            if name.kind is NameKind.IP:
                return x509.IPAddress(ipaddress.ip_address(name.value))
    return x509.DNSName("unnamed.invalid")
