"""What is at hand to tell whether certificates are revoked: lists, and places that did not give any."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from config.text import Printable
from probes.certificate import Certificate
from probes.revocation.crl import RevocationList
from probes.revocation.places import list_urls


@dataclass(frozen=True, slots=True)
class Evidence:
    """Signed lists, none of them verified yet, and why others could not be had."""

    lists: tuple[RevocationList, ...] = ()
    failed: Mapping[str, Printable] = field(default_factory=dict)
    """By URL: why no list could be had there for so long that it is worth telling, a clause."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is at hand."""
        return not self.lists and not self.failed

    def about(self, certificates: Collection[Certificate]) -> Evidence:
        """Return the part that may tell of these certificates."""
        if self.is_empty:
            return NO_EVIDENCE
        names = {each.outline().issuer for each in certificates}
        lists = tuple(each for each in self.lists if each.issuer_name in names)
        urls = (url for each in certificates for url in list_urls(each)) if self.failed else ()
        failed = {url: self.failed[url] for url in urls if url in self.failed}
        return Evidence(lists, failed)

    def boundaries(self) -> Iterator[float]:
        """Yield the Unix times at which a list begins or ceases to tell something."""
        for each in self.lists:
            if each.this_update is not None:
                yield each.this_update
            if each.next_update is not None:
                yield each.next_update + 1


NO_EVIDENCE: Final = Evidence()
