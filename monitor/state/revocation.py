"""What is at hand to tell whether certificates are revoked: lists in files, and those that were fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise, product
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


Trial = tuple[RevocationList, Certificate]
"""A list, and the CA that may have signed it."""


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
        self._by_issuer: Mapping[bytes, tuple[RevocationList, ...]] = {}
        """Those of all evidence, by the names of their issuers."""
        self._crowd: Mapping[bytes, tuple[RevocationList, ...]] = {}
        """The lists in files, by the names of issuers of whom there are too many."""
        self._signers: dict[Certificate, _Signer] = {}
        """CAs with such a name."""

    @property
    def all(self) -> Evidence:
        """Everything that is known, joined once for many files that change."""
        if self._all is None:
            self._all = self._fetched.with_lists(self._in_files.values())
            crowded = {each.issuer for each in self._all.lists if each.issuer_name in self._all.crowded}
            for each in crowded - self._told:
                log.warning("files hold more than %d revocation lists in the name of %s", MOST_OF_ISSUER, each)
            self._told = crowded
            self._by_issuer = _by_issuer(self._all.lists)
            self._crowd = self._crowd_of(self._all.crowded)
            signers = ((each, known, self._crowd.get(each.outline().subject)) for each, known in self._signers.items())
            self._signers = {each: known.among(frozenset(there)) for each, known, there in signers if there}
        return self._all

    def _crowd_of(self, names: Collection[bytes]) -> Mapping[bytes, tuple[RevocationList, ...]]:
        """Return the lists in files by their issuers, of those with these names."""
        in_files = chain.from_iterable(self._in_files.values()) if names else ()
        return _by_issuer(each for each in in_files if each.issuer_name in names)

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
        """Return what is known of the certificates in these chains; no signature is verified."""
        if self.all.is_empty:
            return NO_EVIDENCE
        certificates = dict.fromkeys(chain.from_iterable(chains))
        found = self._part_about(certificates)
        if not found.crowded:
            return found
        signers = self._signers_of(certificates, found.crowded)
        signed = chain.from_iterable(known.own for _, known in signers)
        waiting = {signer.outline().subject for signer, known in signers if any(self._untried(signer, known, 1))}
        unsigned = found.crowded - {signer.outline().subject for signer, _ in signers}
        return found.with_signed(signed, crowded=frozenset(waiting | unsigned))

    def _part_about(self, certificates: Collection[Certificate]) -> Evidence:
        """Return what `about` of all evidence returns, without a look at the lists of all issuers."""
        names = dict.fromkeys(each.outline().issuer for each in certificates)
        lists = chain.from_iterable(self._by_issuer.get(each, ()) for each in names)
        return replace(self.all, lists=tuple(lists)).about(certificates)

    def untried(self, chains: Iterable[Collection[Certificate]]) -> tuple[Trial, ...]:
        """Return the signatures to verify, elsewhere, before it is asked what is known `about` these chains.

        They are of lists of which there are too many, a few each time: whoever floods a directory delays a list, and
        keeps none out.
        """
        if not self.all.crowded:
            return ()
        certificates = dict.fromkeys(chain.from_iterable(chains))
        found: list[Trial] = []
        names = self.all.crowded & {each.outline().issuer for each in certificates}
        for signer, known in self._signers_of(certificates, names):
            found += ((each, signer) for each in self._untried(signer, known, MOST_AT_ONCE - len(found)))
        return tuple(found)

    def _untried(self, signer: Certificate, known: _Signer, most: int) -> Iterator[RevocationList]:
        return known.untried(self._crowd[signer.outline().subject], most)

    def note_tried(self, trials: Iterable[tuple[Trial, bool]]) -> None:
        """Take up whether the CA of each trial signed its list."""
        own: dict[Certificate, list[RevocationList]] = {}
        for (each, signer), is_own in trials:
            known = self._signers.setdefault(signer, _Signer())
            known.tried[each] = is_own
            if is_own:
                own.setdefault(signer, []).append(each)
        for signer, lists in own.items():
            known = self._signers[signer]
            known.own = _newest({*known.own, *lists})

    def _signers_of(
        self, certificates: Collection[Certificate], crowded: Collection[bytes]
    ) -> tuple[tuple[Certificate, _Signer], ...]:
        """Return the CAs that may have signed lists in these names."""
        known = dict.fromkeys((*certificates, *self._anchors()))
        found = islice((each for each in known if each.outline().subject in crowded), _MOST_SIGNERS)
        return tuple((each, self._signers.get(each) or _Signer()) for each in found)


@dataclass(slots=True)
class _Signer:
    """A CA in whose name there are too many lists, and which of these it signed."""

    tried: dict[RevocationList, bool] = field(default_factory=dict)
    own: tuple[RevocationList, ...] = ()
    """The newest ones that it signed."""
    at: int = 0
    """The place among all in its name, before which each was tried."""

    def among(self, there: Collection[RevocationList]) -> _Signer:
        """Return what is known of it where these lists are there."""
        tried = {each: is_own for each, is_own in self.tried.items() if each in there}
        return _Signer(tried, _newest(each for each, is_own in tried.items() if is_own))

    def untried(self, lists: Sequence[RevocationList], most: int) -> Iterator[RevocationList]:
        """Yield the next ones of all lists in its name that were not tried, at most so many."""
        while self.at < len(lists) and lists[self.at] in self.tried:
            self.at += 1
        return islice((lists[at] for at in range(self.at, len(lists)) if lists[at] not in self.tried), most)


def _by_issuer(lists: Iterable[RevocationList]) -> Mapping[bytes, tuple[RevocationList, ...]]:
    """Return lists, each once, by the names of their issuers."""
    found: dict[bytes, dict[RevocationList, None]] = {}
    for each in lists:
        found.setdefault(each.issuer_name, {})[each] = None
    return {name: tuple(those) for name, those in found.items()}


def _newest(lists: Iterable[RevocationList]) -> tuple[RevocationList, ...]:
    return tuple(sorted(lists, key=lambda each: each.age_order)[-MOST_OF_ISSUER:])


def try_all(trials: Iterable[Trial]) -> tuple[tuple[Trial, bool], ...]:
    """Verify signatures; return each trial with its outcome."""
    return tuple((each, signed_by(*each)) for each in trials)


def issued_pairs(
    chains: Iterable[Sequence[Certificate]], views: Iterable[View], elsewhere: tuple[Trust, ...], now: float
) -> Iterator[tuple[Certificate, Certificate]]:
    """Yield each certificate with its CA, on the paths of presented chains that end in the trust store of a client."""
    presented = dict.fromkeys(leaf_first(each) for each in chains if each)
    for view, shown in product(views, presented):
        path = judge_chain(shown, view, now, elsewhere).path
        if view.trust.holds(path[-1]):
            yield from pairwise(path)
