"""Where it is learnt if certificates are revoked: a list at a URL, or the answer of a responder about one certificate.

A source says how it is asked, reads what comes, and when it is to be asked again. What it holds was proved by a CA.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from config.text import Log, Printable, printable, sentence
from monitor.look.list_cache import MOST_IN_ALL, FetchedFrom, FetchedList, ListCache
from probes.certificate import Certificate
from probes.container.registry import open_unsealed
from probes.http.exchange import HTTPRequest, Response
from probes.ocsp import MOST_BYTES as MOST_OF_ANSWER
from probes.ocsp import OCSPAnswer, OCSPStatus, ocsp_answer
from probes.revocation.crl import MOST_LISTS, RevocationList, lists_in
from probes.revocation.evidence import sha256_of
from probes.revocation.places import answer_key, delta_urls, list_urls
from probes.revocation.status import tells_of, why_not

log: Log = logging.getLogger("certvigil.revocation")

SHARE: Final = 0.75
"""Of the time for which what came last is valid still, after which it is asked again."""
LEAST_PAUSE: Final = 60.0
"""Seconds from an answer to the next request: a CA that signs late is not asked ever faster."""
_LONGEST_TAG: Final = 256
_NO_WHY: Final = Printable("")


@dataclass(slots=True, eq=False)
class ListSource:
    """A revocation list at a URL."""

    url: str
    issuers: tuple[Certificate, ...]
    """The CAs that may have signed it."""
    cache: ListCache
    held: FetchedList | None = None
    failures: int = 0
    """In a row."""
    why: Printable = field(default_factory=lambda: _NO_WHY)
    """Of the last failure."""
    others: int = 0
    """Bytes of all other lists."""

    @property
    def key(self) -> str:
        """Tells sources apart."""
        return self.url

    @property
    def most(self) -> int | None:
        """Bytes of an answer; None for the configured ones."""
        return None

    @property
    def shown(self) -> Printable:
        """Its name in sentences."""
        return sentence("the revocation list at {}", printable(self.url, 200))

    def request(self) -> HTTPRequest:
        """Return a request that is answered shortly where the list is the same as before (RFC 9110, 13)."""
        if self.held is None:
            return HTTPRequest()
        headers: list[tuple[str, str]] = []
        if self.held.origin.etag is not None:
            headers.append(("If-None-Match", self.held.origin.etag))
        if self.held.origin.modified is not None:
            headers.append(("If-Modified-Since", formatdate(self.held.origin.modified, usegmt=True)))
        return HTTPRequest(tuple(headers))

    def read(self, answer: Response, now: float) -> FetchedList | Printable:
        """Return the list that an answer gives, or why it gives none; the list is on disk then."""
        held = self.held
        if answer.status == 304 and held is not None:
            taken = FetchedList(held.known, replace(held.origin, at=now))
            if why := _why_unusable(held.known, self.issuers, now):
                return why
        elif answer.status != 200:
            return sentence("the server answers with the status {}", answer.status)
        else:
            known = newest_valid(answer.body, self.issuers, now)
            if not isinstance(known, RevocationList):
                return known
            if held is not None and known.age_order < held.known.age_order:
                return Printable("the server gives an older list than before")
            taken = FetchedList(known, FetchedFrom(self.url, now, _plain(answer.etag), answer.last_modified))
        changed = held is None or held.known != taken.known
        if changed and self.others + len(taken.known.der) > MOST_IN_ALL:
            return sentence("all revocation lists together would have more than {} bytes", MOST_IN_ALL)
        try:
            self.cache.write(taken, with_list=changed)
        except OSError as error:
            log.warning("a revocation list cannot be kept on disk: %s", printable(error.strerror or str(error), 200))
        return taken

    def keep(self, taken: FetchedList) -> bool:
        """Hold what was read, and return whether it is another than before."""
        before, self.held = self.held, taken
        return before is None or before.known != taken.known

    def due(self, every: float) -> float | None:
        """Return the Unix time at which it is to be asked again; None where nothing is held."""
        if self.held is None:
            return None
        return _again(self.held.origin.at, self.held.known.next_update, every)

    def tells_of(self, certificate: Certificate) -> bool:
        """Whether what it holds may be about a certificate: one that names its URL, or no list. Lists may be split."""
        if self.held is None or self.held.known.issuer_name != certificate.outline().issuer:
            return False
        urls = (*list_urls(certificate), *delta_urls(certificate))
        return self.url in urls or (not urls and tells_of(self.held.known, certificate))


@dataclass(slots=True, eq=False)
class AnswerSource:
    """What a responder says by OCSP of one certificate (RFC 6960)."""

    url: str
    certificate: Certificate
    issuer: Certificate
    cache: ListCache
    held: bytes = b""
    answer: OCSPAnswer | None = None
    at: float = 0.0
    """Unix time of the last answer."""
    failures: int = 0
    """In a row."""
    why: Printable = field(default_factory=lambda: _NO_WHY)
    """Of the last failure."""

    @property
    def key(self) -> str:
        """Tells sources apart."""
        return answer_key(self.url, self.certificate)

    @property
    def sha256(self) -> str:
        """Of the answer that it holds, hexadecimal."""
        return sha256_of(self.held)

    @property
    def most(self) -> int | None:
        """Bytes of an answer."""
        return MOST_OF_ANSWER

    @property
    def shown(self) -> Printable:
        """Its name in sentences."""
        return sentence("an OCSP answer of {} about {}", printable(self.url, 200), self.certificate.title)

    def recall(self, now: float) -> None:
        """Take up the answer on disk, of before a restart; where it proves nothing more, there is none."""
        try:
            der, at = self.cache.read_answer(self.key)
        except (OSError, ValueError):
            return
        told = ocsp_answer(der, self.certificate, (self.issuer,))
        if isinstance(told, OCSPAnswer) and not told.why_no_proof(now) and told.status is not OCSPStatus.UNKNOWN:
            self.held, self.answer, self.at = der, told, min(at, now)

    def request(self) -> HTTPRequest:
        """Return the question, as a POST (RFC 6960, A.1)."""
        return HTTPRequest((("Content-Type", "application/ocsp-request"),), question(self.certificate, self.issuer))

    def read(self, answer: Response, now: float) -> tuple[bytes, OCSPAnswer] | Printable:
        """Return the answer, or why there is none that proves anything."""
        if answer.status != 200:
            return sentence("the responder answers with the status {}", answer.status)
        told = ocsp_answer(answer.body, self.certificate, (self.issuer,))
        if not isinstance(told, OCSPAnswer):
            return sentence("the answer of the responder {}", told.why)
        if why := told.why_no_proof(now):
            return sentence("the answer of the responder proves nothing: {}", why)
        if told.status is OCSPStatus.UNKNOWN:
            return Printable("the responder does not know the certificate")
        self.at = now
        try:
            self.cache.write_answer(self.key, answer.body)
        except OSError as error:
            log.warning("an OCSP answer cannot be kept on disk: %s", printable(error.strerror or str(error), 200))
        return answer.body, told

    def keep(self, taken: tuple[bytes, OCSPAnswer]) -> bool:
        """Hold what was read, and return whether it says another thing than before."""
        before = self.answer
        self.held, self.answer = taken
        return before is None or before.status is not self.answer.status

    def due(self, every: float) -> float | None:
        """Return the Unix time at which it is to be asked again; None where nothing is held."""
        if self.answer is None:
            return None
        return _again(self.at, self.answer.end, every)

    def tells_of(self, certificate: Certificate) -> bool:
        """Whether what it holds may be about a certificate."""
        return certificate == self.certificate


Source = ListSource | AnswerSource


@lru_cache(maxsize=256)
def question(certificate: Certificate, issuer: Certificate) -> bytes:
    """Return the OCSP request about a certificate, in DER."""
    # Responders need to know no other hash (RFC 5019, 2.1.1); nothing is proved by it.
    made = ocsp.OCSPRequestBuilder().add_certificate(certificate.x509(), issuer.x509(), hashes.SHA1())  # noqa: S303
    return made.build().public_bytes(Encoding.DER)


def newest_valid(body: bytes, issuers: Iterable[Certificate], now: float) -> RevocationList | Printable:
    """Return the newest list in the body of an answer that one of the CAs has signed and that is valid, or why not."""
    ders = open_unsealed(body).lists
    if len(ders) > MOST_LISTS:
        return sentence("the answer holds {} revocation lists, at most {} are looked at", len(ders), MOST_LISTS)
    found = lists_in(ders)
    if not found:
        return Printable("the answer is no revocation list")
    why = _NO_WHY
    for each in sorted(found, key=lambda known: known.age_order, reverse=True):
        against = _why_unusable(each, issuers, now)
        if not against:
            return each
        why = why or against
    return why


def _why_unusable(known: RevocationList, issuers: Iterable[Certificate], now: float) -> Printable:
    """Say why a list is of no use; empty where one of the CAs has signed it, and it is valid."""
    whys = [why_not(known, each, now) for each in issuers]
    return _NO_WHY if not all(whys) else whys[0]


def _plain(etag: str | None) -> str | None:
    """Return an entity tag that can stand in a request; None for any other text of a server."""
    return etag if etag is not None and len(etag) <= _LONGEST_TAG and etag.isascii() and etag.isprintable() else None


def _again(at: float, end: int | None, every: float) -> float:
    """Return when a source is to be asked again that answered at `at` with what is valid until `end`: Unix times."""
    pause = every if end is None else max(SHARE * (end - at), LEAST_PAUSE)
    return at + min(every, pause)
