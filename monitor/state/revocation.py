"""What is at hand to tell whether certificates are revoked: lists in files, and those that were fetched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product

from probes.certificate import Certificate
from probes.judge.client import View, judge_chain, leaf_first
from probes.revocation.crl import RevocationList
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.trust import Trust


class KnownRevocations:
    """The lists of all sources, as one evidence."""

    def __init__(self) -> None:
        self._in_files: dict[str, tuple[RevocationList, ...]] = {}
        """By target."""
        self._fetched = NO_EVIDENCE
        self.all = NO_EVIDENCE
        """Everything that is known."""

    def note(self, target: str, lists: tuple[RevocationList, ...]) -> None:
        """Take up the lists that a file holds now."""
        if self._in_files.get(target, ()) == lists:
            return
        if lists:
            self._in_files[target] = lists
        else:
            del self._in_files[target]
        self._join()

    def take(self, fetched: Evidence) -> None:
        """Take up what was fetched, in the place of what was before."""
        self._fetched = fetched
        self._join()

    def about(self, chains: Iterable[Collection[Certificate]]) -> Evidence:
        """Return what is known of the certificates in these chains."""
        if self.all.is_empty:
            return NO_EVIDENCE
        return self.all.about({each: None for chain in chains for each in chain})

    def _join(self) -> None:
        every = (*self._fetched.lists, *(each for lists in self._in_files.values() for each in lists))
        self.all = replace(self._fetched, lists=tuple(dict.fromkeys(every)))


def issued_pairs(
    chains: Iterable[Sequence[Certificate]], views: Iterable[View], elsewhere: tuple[Trust, ...], now: float
) -> Iterator[tuple[Certificate, Certificate]]:
    """Yield each certificate with its CA, on the paths of presented chains that end in the trust store of a client."""
    presented = dict.fromkeys(leaf_first(each) for each in chains if each)
    for view, chain in product(views, presented):
        path = judge_chain(chain, view, now, elsewhere).path
        if view.trust.holds(path[-1]):
            yield from pairwise(path)
