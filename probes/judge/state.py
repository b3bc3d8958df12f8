"""Findings about agreement: between the addresses of an endpoint, and between disk and wire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from config.text import harmless, sentence
from config.vocabulary import Code
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.time import moment
from probes.observation import Presented


@dataclass(frozen=True, slots=True)
class OnDisk:
    """The end-entity certificates in the files of the component that an endpoint belongs to."""

    leaves: tuple[Certificate, ...]
    """One for each key type that the service is configured with."""
    since: float
    """Unix time since when the newest of them lies there."""
    grace: float
    """Seconds that it may lie there before not serving it is a finding."""
    where: str


def judge_served(presented: Sequence[Presented], on_disk: OnDisk, now: float) -> Iterator[Finding]:
    """Yield each address that, after the grace, serves another certificate than the one on disk."""
    if now < on_disk.since + on_disk.grace:
        return
    for each in presented:
        if each.chain and not any(leaf in each.chain for leaf in on_disk.leaves):
            newest = on_disk.leaves[0]
            yield finding(
                Code.NOT_SERVED,
                sentence(
                    "{} holds {} (sha256 {}) since {}, but {} (sha256 {}) is served",
                    harmless(on_disk.where),
                    newest.title,
                    newest.short_sha256,
                    moment(on_disk.since),
                    each.chain[0].title,
                    each.chain[0].short_sha256,
                ),
                each.address,
            )


def judge_agreement(presented: Sequence[Presented]) -> Iterator[Finding]:
    """Yield whether the addresses of an endpoint present different certificates."""
    leaves = {each.address: each.chain[0].short_sha256 for each in presented if each.chain}
    if len(set(leaves.values())) > 1:
        shown = ", ".join(f"{address} {sha256}" for address, sha256 in sorted(leaves.items()))
        yield finding(
            Code.ENDPOINTS_DISAGREE, sentence("addresses present different certificates (sha256): {}", harmless(shown))
        )
