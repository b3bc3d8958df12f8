"""What is at hand to tell whether certificates are revoked: lists in files, and those that were fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, pairwise, product
from typing import Final

from config.text import Log, Printable
from probes.certificate import Certificate
from probes.judge.client import View, judge_chain, leaf_first
from probes.revocation.crl import RevocationList, signed_by
from probes.revocation.evidence import MOST_OF_ISSUER, NO_EVIDENCE, Evidence
from probes.trust import Trust

log: Log = logging.getLogger("certvigil.revocation")

MOST_AT_ONCE: Final = 500
"""Signatures that are verified in one call, of lists in whose name there are too many."""
_MOST_SIGNERS: Final = 16
"""CAs of one name, and of one look."""


class KnownRevocations:
    """The lists of all sources, as one evidence."""

    def __init__(self, anchors: Callable[[], Iterable[Certificate]]) -> None:
        """Take the CAs that `anchors` gives for signers of lists, too: they need not be presented."""
        self._anchors = anchors
        self._in_files: dict[str, tuple[RevocationList, ...]] = {}
        """By target."""
        self._fetched = NO_EVIDENCE
        self._all: Evidence | None = NO_EVIDENCE
        """None where it is to be joined anew."""
        self._told: set[Printable] = set()
        """Issuers in whose name there are too many lists."""
        self._tried: dict[Certificate, dict[RevocationList, bool]] = {}
        """By a CA in whose name there are too many: whether it signed each list."""

    @property
    def all(self) -> Evidence:
        """Everything that is known, joined once for many files that change."""
        if self._all is None:
            self._all = self._fetched.with_lists(self._in_files.values())
            crowded = {each.issuer for each in self._all.lists if each.issuer_name in self._all.crowded}
            for each in crowded - self._told:
                log.warning("files hold more than %d revocation lists in the name of %s", MOST_OF_ISSUER, each)
            self._told = crowded
            there = set(chain.from_iterable(self._in_files.values())) if crowded else set()
            for signer, tried in tuple(self._tried.items()):
                self._tried[signer] = {each: is_own for each, is_own in tried.items() if each in there}
                if not self._tried[signer]:
                    del self._tried[signer]
        return self._all

    def note(self, target: str, lists: tuple[RevocationList, ...]) -> None:
        """Take up the lists that a file holds now."""
        if self._in_files.get(target, ()) == lists:
            return
        if lists:
            self._in_files[target] = lists
        else:
            del self._in_files[target]
        self._all = None

    def take(self, fetched: Evidence) -> None:
        """Take up what was fetched, in the place of what was before."""
        self._fetched = fetched
        self._all = None

    def about(self, chains: Iterable[Collection[Certificate]]) -> Evidence:
        """Return what is known of the certificates in these chains."""
        if self.all.is_empty:
            return NO_EVIDENCE
        certificates = dict.fromkeys(chain.from_iterable(chains))
        found = self.all.about(certificates)
        return self._with_signed(found, certificates) if found.crowded else found

    def _with_signed(self, evidence: Evidence, certificates: Collection[Certificate]) -> Evidence:
        """Return the evidence, and lists that were left out of it and that a CA has signed, the newest ones.

        A few signatures are verified each time: whoever floods a directory delays a list, and keeps none out.
        """
        known = dict.fromkeys((*certificates, *self._anchors()))
        signers = [each for each in known if each.outline().subject in evidence.crowded][:_MOST_SIGNERS]
        signed: list[RevocationList] = []
        left = MOST_AT_ONCE
        waiting = set[bytes]()
        for signer in signers:
            tried, name = self._tried.setdefault(signer, {}), signer.outline().subject
            for each in chain.from_iterable(self._in_files.values()):
                if each.issuer_name != name or each in tried:
                    continue
                if not left:
                    waiting.add(name)
                    break
                left -= 1
                tried[each] = signed_by(each, signer)
            own = sorted((each for each, is_own in tried.items() if is_own), key=lambda each: each.age_order)
            signed += own[-MOST_OF_ISSUER:]
        unsigned = evidence.crowded - {each.outline().subject for each in signers}
        return evidence.with_signed(signed, crowded=frozenset(waiting | unsigned))


def issued_pairs(
    chains: Iterable[Sequence[Certificate]], views: Iterable[View], elsewhere: tuple[Trust, ...], now: float
) -> Iterator[tuple[Certificate, Certificate]]:
    """Yield each certificate with its CA, on the paths of presented chains that end in the trust store of a client."""
    presented = dict.fromkeys(leaf_first(each) for each in chains if each)
    for view, shown in product(views, presented):
        path = judge_chain(shown, view, now, elsewhere).path
        if view.trust.holds(path[-1]):
            yield from pairwise(path)
