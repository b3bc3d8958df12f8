"""One OCSP response (RFC 6960): what it says of a certificate, and whether that certificate's issuer stands behind it.

Pure. Staples of a handshake and answers of responders are read alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.immutable import immutable
from config.text import Printable, harmless, sentence
from probes.certificate import Certificate, certificate, why_undecodable
from probes.chain import signed
from probes.encoding import DERError, elements, first_element
from probes.observation import Presented
from probes.remembered import Remembered

MOST_BYTES: Final = 64 * 1024
"""Of a response; usual ones have less than 3 KiB."""
MOST_CERTIFICATES: Final = 8
"""Of a response that are tried as its signer."""
CLOCK_SKEW: Final = 300.0
"""Seconds by which the clocks of responder and host may differ, as OpenSSL allows."""
LASTS: Final = 24 * 3600
"""Seconds for which a response without nextUpdate proves something, as in Firefox: newer information is always there
(RFC 6960, 2.4), and who replays an old one leaves no other trace."""


class OCSPStatus(StrEnum):
    """What a responder says of a certificate (RFC 6960, 2.2)."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """The responder does not know the certificate."""


@immutable
class OCSPFault:
    """A response says nothing of the certificate."""

    why: Printable
    """A clause, whose subject is the response."""


@immutable
class OCSPAnswer:
    """What a response says of one certificate; all times are Unix times."""

    status: OCSPStatus
    produced_at: int
    this_update: int
    next_update: int | None
    """None where newer information is available all the time."""
    revoked_at: int | None
    reason: Printable
    """Of the revocation, as RFC 5280 spells it; empty where none is given."""
    signer: Certificate | None
    """The issuer, or its delegate, whose signature is verified; None where the response proves nothing."""
    doubt: Printable
    """Why there is no verified signature, a clause; empty where there is."""

    @property
    def end(self) -> int:
        """Unix time until which it proves something."""
        return _end(self.this_update, self.next_update)

    def why_no_proof(self, now: float) -> Printable:
        """Return why the answer proves nothing at Unix time `now`, a clause; empty where it does (RFC 6960, 3.2)."""
        if self.signer is None:
            return self.doubt
        if self.this_update > now + CLOCK_SKEW:
            return Printable("it is from the future")
        if self.end < now - CLOCK_SKEW:
            return Printable("it is out of date")
        begin, end = self.signer.not_before, self.signer.not_after
        if begin is None or end is None or not begin <= now <= end:
            return sentence("the certificate of its signer, {}, is not valid now", self.signer.title)
        return Printable("")


_read: Final = Remembered["OCSPAnswer | OCSPFault"](1024)


def ocsp_answer(der: bytes, subject: Certificate, issuers: Sequence[Certificate]) -> OCSPAnswer | OCSPFault:
    """Return what an OCSP response in DER says of `subject`; `issuers` are candidates for its issuer.

    Raises nothing: a response may be any bytes. Without the issuer the answer is there, and proves nothing.
    """
    if len(der) > MOST_BYTES:
        return OCSPFault(sentence("is larger than {} bytes", MOST_BYTES))
    key = (hashlib.sha256(der).digest(), subject.sha256, *(each.sha256 for each in issuers))
    return _read.get(key, lambda: _read_answer(der, subject, issuers))


def _read_answer(der: bytes, subject: Certificate, issuers: Sequence[Certificate]) -> OCSPAnswer | OCSPFault:
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            why = harmless(response.response_status.name.lower())
            return OCSPFault(sentence("is the responder's error {}", why))
        issuer = next((each for each in issuers if signed(each, subject)), None)
        single = _about(response, subject, issuer)
        if single is None:
            return OCSPFault(Printable("is about another certificate"))
        return _answer(response, single, *_signer(response, issuer))
    except Exception as error:  # noqa: BLE001 (the library raises KeyError and exceptions without a common base)
        return OCSPFault(sentence("cannot be decoded: {}", why_undecodable(error)))


def _answer(
    response: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, signer: Certificate | None, doubt: Printable
) -> OCSPAnswer:
    reason = single.revocation_reason
    this_update = _unix(single.this_update_utc)
    return OCSPAnswer(
        OCSPStatus(single.certificate_status.name.lower()),
        _unix(response.produced_at_utc),
        this_update,
        _unix_or_none(single.next_update_utc),
        _unix_or_none(single.revocation_time_utc),
        harmless(reason.value) if reason is not None else Printable(""),
        signer,
        doubt,
    )


def _unix(time: datetime) -> int:
    return int(time.timestamp())


def _unix_or_none(time: datetime | None) -> int | None:
    return None if time is None else _unix(time)


def _end(this_update: int, next_update: int | None) -> int:
    return this_update + LASTS if next_update is None else next_update


def _about(
    response: ocsp.OCSPResponse, subject: Certificate, issuer: Certificate | None
) -> ocsp.OCSPSingleResponse | None:
    """Return the newest statement about `subject`; where its issuer is not known, its name and number must do."""
    found = [
        each
        for each in response.responses
        if f"{each.serial_number:x}" == subject.serial
        and each.issuer_name_hash == _digest(each.hash_algorithm, subject.outline().issuer)
        and (issuer is None or each.issuer_key_hash == _digest(each.hash_algorithm, _key_bits(issuer)))
    ]
    return max(found, key=lambda each: each.this_update_utc, default=None)


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _key_bits(holder: Certificate) -> bytes:
    """Return the bits of the public key, without the octets around them (RFC 6960, 4.1.1)."""
    bits = elements(first_element(holder.outline().public_key).content)[1]
    if not bits.content.startswith(b"\0"):
        raise DERError("the public key has unused bits")
    return bits.content[1:]


def _signer(response: ocsp.OCSPResponse, issuer: Certificate | None) -> tuple[Certificate | None, Printable]:
    """Return the certificate behind the signature, or why it cannot be relied on (RFC 6960, 4.2.2.2)."""
    if issuer is None:
        return None, Printable("the issuer of the certificate is not at hand")
    try:
        return _verified(response, issuer)
    except UnsupportedAlgorithm:
        oid = harmless(response.signature_algorithm_oid.dotted_string)
        return None, sentence("the algorithm of its signature, {}, is not known", oid)


def _verified(response: ocsp.OCSPResponse, issuer: Certificate) -> tuple[Certificate | None, Printable]:
    if _is_responder(response, issuer):
        if _made_by(issuer, response):
            return issuer, Printable("")
        return None, Printable("its signature is not that of the issuer")
    candidates = (each.public_bytes(Encoding.DER) for each in response.certificates[:MOST_CERTIFICATES])
    delegate = next((each for each in map(certificate, candidates) if _is_responder(response, each)), None)
    if delegate is None:
        return None, Printable("the certificate of its signer is not in it")
    if not signed(issuer, delegate):
        return None, sentence("its signer, {}, was not certified by the issuer", delegate.title)
    if not _may_sign(delegate):
        return None, sentence("its signer, {}, is not meant to sign OCSP responses", delegate.title)
    if not _made_by(delegate, response):
        return None, sentence("its signature is not that of {}", delegate.title)
    return delegate, Printable("")


def _is_responder(response: ocsp.OCSPResponse, holder: Certificate) -> bool:
    """Whether the response names this certificate, by name or by the SHA-1 of its key, as its signer."""
    if response.responder_name is not None:
        return response.responder_name.public_bytes() == holder.outline().subject
    return response.responder_key_hash == hashlib.sha1(_key_bits(holder), usedforsecurity=False).digest()


def _may_sign(delegate: Certificate) -> bool:
    usages = {type(each.value): each.value for each in delegate.extensions()}
    purposes, usage = usages.get(x509.ExtendedKeyUsage), usages.get(x509.KeyUsage)
    named = isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.OCSP_SIGNING in purposes
    return named and (not isinstance(usage, x509.KeyUsage) or usage.digital_signature)


def _made_by(holder: Certificate, response: ocsp.OCSPResponse) -> bool:
    """Whether the key of `holder` made the signature; MD5 proves nothing, and no costly key is tried.

    Raises UnsupportedAlgorithm where the library does not know the algorithm, such as RSASSA-PSS.
    """
    algorithm = response.signature_hash_algorithm
    if holder.is_costly or isinstance(algorithm, hashes.MD5):
        return False
    key, signature, data = holder.decoded().public_key(), response.signature, response.tbs_response_bytes
    try:
        match key:
            case rsa.RSAPublicKey() if algorithm is not None:
                key.verify(signature, data, padding.PKCS1v15(), algorithm)
            case ec.EllipticCurvePublicKey() if algorithm is not None:
                key.verify(signature, data, ec.ECDSA(algorithm))
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, data)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def answer_boundaries(der: bytes) -> tuple[float, ...]:
    """Return the Unix times at which an OCSP response begins or ceases to prove something; raises nothing."""
    if len(der) > MOST_BYTES:
        return ()
    try:
        response = ocsp.load_der_ocsp_response(der)
        told = [(_unix(each.this_update_utc), _unix_or_none(each.next_update_utc)) for each in response.responses]
    except Exception:  # noqa: BLE001 (as above)
        return ()
    return (*(begin - CLOCK_SKEW for begin, _ in told), *(_end(*each) + CLOCK_SKEW + 1 for each in told))


def staple_of(presented: Presented, others: Iterable[Certificate] = ()) -> OCSPAnswer | OCSPFault | None:
    """Return what the staple of a presented chain says of its leaf; None without a staple.

    Its issuer is sought behind it and among `others`, such as the anchors of clients.
    """
    if not presented.staple or not presented.chain:
        return None
    return ocsp_answer(presented.staple, presented.chain[0], possible_issuers(presented.chain, others))


def possible_issuers(presented: Sequence[Certificate], others: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Return the certificates of the name of the leaf's issuer, of those behind the leaf and of `others`."""
    if not presented:
        return ()
    wanted = presented[0].outline().issuer
    return tuple(dict.fromkeys(each for each in (*presented[1:], *others) if each.outline().subject == wanted))
