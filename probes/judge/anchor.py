"""Findings on certificates that a store or a bundle trusts: their cures are not those of a server's certificates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from config.catalogue import CATALOGUE, NAMED_CURE
from config.text import harmless, sentence
from probes.finding import Finding


def with_cures_of_anchors(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings, each with the cure at a trusted certificate where the catalogue has another one for it."""
    for each in findings:
        by = CATALOGUE[each.code].anchor_cure
        yield replace(each, detail=sentence("{}{}{}", each.detail, harmless(NAMED_CURE), harmless(by))) if by else each
