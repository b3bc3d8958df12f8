"""What the daemon has at hand to tell whether certificates are revoked: lists in files, and those that were fetched."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from probes.certificate import Certificate
from probes.revocation.crl import RevocationList
from probes.revocation.evidence import NO_EVIDENCE, Evidence


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
        self.all = Evidence(tuple(dict.fromkeys(every)), self._fetched.failed)
