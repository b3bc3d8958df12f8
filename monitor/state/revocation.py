"""What is at hand to tell whether certificates are revoked: lists in files, and those that were fetched."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise, product

from config.text import Log, Printable
from probes.certificate import Certificate
from probes.judge.client import View, judge_chain, leaf_first
from probes.revocation.crl import RevocationList
from probes.revocation.evidence import MOST_OF_ISSUER, NO_EVIDENCE, Evidence
from probes.trust import Trust

log: Log = logging.getLogger("certvigil.revocation")


class KnownRevocations:
    """The lists of all sources, as one evidence."""

    def __init__(self) -> None:
        self._in_files: dict[str, tuple[RevocationList, ...]] = {}
        """By target."""
        self._fetched = NO_EVIDENCE
        self._all: Evidence | None = NO_EVIDENCE
        """None where it is to be joined anew."""
        self._told: set[Printable] = set()
        """Issuers in whose name there are too many lists."""

    @property
    def all(self) -> Evidence:
        """Everything that is known, joined once for many files that change."""
        if self._all is None:
            self._all = self._fetched.with_lists(self._in_files.values())
            crowded = {each.issuer for each in self._all.lists if each.issuer_name in self._all.crowded}
            for each in crowded - self._told:
                log.warning("files hold more than %d revocation lists in the name of %s", MOST_OF_ISSUER, each)
            self._told = crowded
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
        return self.all.about({each: None for chain in chains for each in chain})


def issued_pairs(
    chains: Iterable[Sequence[Certificate]], views: Iterable[View], elsewhere: tuple[Trust, ...], now: float
) -> Iterator[tuple[Certificate, Certificate]]:
    """Yield each certificate with its CA, on the paths of presented chains that end in the trust store of a client."""
    presented = dict.fromkeys(leaf_first(each) for each in chains if each)
    for view, chain in product(views, presented):
        path = judge_chain(chain, view, now, elsewhere).path
        if view.trust.holds(path[-1]):
            yield from pairwise(path)
