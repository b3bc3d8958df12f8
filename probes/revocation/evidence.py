"""What is at hand to tell whether certificates are revoked: lists, answers, and places that did not give any."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import chain, zip_longest
from typing import Final

from config.immutable import immutable
from config.text import Printable
from probes.certificate import Certificate
from probes.ocsp import answer_boundaries
from probes.revocation.crl import RevocationList
from probes.revocation.places import places_of

MOST_OF_ISSUER: Final = 256
"""Revocation lists in files in the name of one issuer; whoever writes a file can put any name into as many as he likes,
and each costs the verification of a signature."""


@immutable
class Evidence:
    """Signed lists and answers, none of them verified yet, and why others could not be had."""

    lists: tuple[RevocationList, ...] = ()
    failed: Mapping[str, Printable] = field(default_factory=dict)
    """By place, as `places_of` has it: why nothing could be had there, where that is worth telling, a clause."""
    answers: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    """OCSP responses in DER, by the SHA-256 of the certificate that each is about: of responders, and of handshakes."""
    awaited: frozenset[str] = frozenset()
    """SHA-256 of lists and answers whose next one is being asked for: they count beyond their time for so long."""
    crowded: frozenset[bytes] = frozenset()
    """DER of the names of issuers of more than `MOST_OF_ISSUER` lists in files; the others are left out."""
    outdated: frozenset[str] = frozenset()
    """SHA-256 of OCSP answers of handshakes that are older than one that was gone by before."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is at hand."""
        return not self.lists and not self.failed and not self.answers

    def about(self, certificates: Collection[Certificate]) -> Evidence:
        """Return the part that may tell of these certificates."""
        if self.is_empty:
            return NO_EVIDENCE
        names = {each.outline().issuer for each in certificates}
        lists = tuple(each for each in self.lists if each.issuer_name in names)
        places = (place for each in certificates for place in places_of(each)) if self.failed else ()
        failed = {place: self.failed[place] for place in places if place in self.failed}
        answers = {each.sha256: self.answers[each.sha256] for each in certificates if each.sha256 in self.answers}
        own = {each.sha256 for each in lists}
        own |= {sha256_of(der) for der in chain.from_iterable(answers.values())}
        return Evidence(lists, failed, answers, self.awaited & own, self.crowded & names, self.outdated)

    def with_lists(self, files: Iterable[Sequence[RevocationList]]) -> Evidence:
        """Return this and the lists in `files`, within `MOST_OF_ISSUER`: the first one of each file comes first."""
        taken, crowded = dict.fromkeys(self.lists), set[bytes]()
        counts = Counter[bytes]()
        for each in chain.from_iterable(zip_longest(*files)):
            if each is None or each in taken:
                continue
            if counts[each.issuer_name] == MOST_OF_ISSUER:
                crowded.add(each.issuer_name)
                continue
            counts[each.issuer_name] += 1
            taken[each] = None
        return replace(self, lists=tuple(taken), crowded=frozenset(crowded))

    def with_signed(self, signed: Iterable[RevocationList], *, crowded: frozenset[bytes]) -> Evidence:
        """Return this and lists that were left out and are the CA's own; `crowded` are the names that still are."""
        return replace(self, lists=tuple(dict.fromkeys((*self.lists, *signed))), crowded=crowded)

    def moment_for(self, sha256: str, end: int | None, now: float) -> float:
        """Return the Unix time at which a list or an answer that is valid until `end` is judged."""
        return min(now, end) if end is not None and sha256 in self.awaited else now

    def beside(self, staples: Iterable[tuple[str, bytes]]) -> Evidence:
        """Return this and the OCSP answers that came in handshakes, each with the SHA-256 of its certificate.

        Those that are outdated are left out.
        """
        fresh = ((about, der) for about, der in staples if not self.outdated or sha256_of(der) not in self.outdated)
        answers = answers_about((*((sha256, der) for sha256, ders in self.answers.items() for der in ders), *fresh))
        return replace(self, answers=answers) if answers else self

    def boundaries(self) -> Iterator[float]:
        """Yield the Unix times at which a list or an answer begins or ceases to tell something."""
        for der in chain.from_iterable(self.answers.values()):
            yield from answer_boundaries(der)
        for each in self.lists:
            if each.this_update is not None:
                yield each.this_update
            if each.next_update is not None:
                yield each.next_update + 1


NO_EVIDENCE: Final = Evidence()


def sha256_of(der: bytes) -> str:
    """Return the SHA-256 of an answer, as `awaited` has it."""
    return hashlib.sha256(der).hexdigest()


def answers_about(answers: Iterable[tuple[str, bytes]]) -> Mapping[str, tuple[bytes, ...]]:
    """Return OCSP responses by the certificate that each is about, each once."""
    found: dict[str, dict[bytes, None]] = {}
    for sha256, der in answers:
        found.setdefault(sha256, {})[der] = None
    return {sha256: tuple(ders) for sha256, ders in found.items()}
