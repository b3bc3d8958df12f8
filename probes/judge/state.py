"""Findings about agreement: between the addresses of an endpoint, and between disk and wire."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from config.immutable import immutable
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, KeyKind
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.time import moment
from probes.observation import Presented


@immutable
class OnDisk:
    """The end-entity certificates in the files of the component that an endpoint belongs to."""

    leaves: tuple[Certificate, ...]
    """One for each key type that the service is configured with."""
    since: float
    """Unix time since when the newest of them lies there."""
    grace: float
    """Seconds that it may lie there before not serving it is a finding."""
    where: str
    held_since: float | None = None
    """Unix time since when the file holds the newest; None for `since`, which may be later: when its set was whole."""


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
                    moment(on_disk.since if on_disk.held_since is None else on_disk.held_since),
                    each.chain[0].title,
                    each.chain[0].short_sha256,
                ),
                each.address,
            )


def judge_agreement(presented: Sequence[Presented], key_types: Collection[KeyKind] = ()) -> Iterator[Finding]:
    """Yield whether the addresses of an endpoint present different certificates for the same kind of key.

    Kinds are told apart only where each of these `key_types` was asked for.
    """
    addresses: dict[Certificate, list[Printable]] = {}
    for each in presented:
        if each.chain:
            addresses.setdefault(each.chain[0], []).append(each.address)
    for kind in key_types or (None,):
        leaves = sorted((each for each in addresses if kind in {None, each.key.kind}), key=lambda each: each.sha256)
        if len(leaves) > 1:
            groups = [_at(each, addresses[each]) for each in leaves[:_SHOWN]]
            more = Printable("") if len(leaves) <= _SHOWN else sentence("; and {} more", len(leaves) - _SHOWN)
            told = listed(groups, "; ")
            subject = Printable("") if kind is None else sentence("{}", kind)
            detail = sentence("addresses present different certificates (sha256): {}{}", told, more)
            yield finding(Code.ENDPOINTS_DISAGREE, detail, subject)


_SHOWN: Final = 8
"""Certificates, and addresses of each, that a message lists."""


def _at(leaf: Certificate, addresses: Sequence[Printable]) -> Printable:
    shown = sorted(addresses)
    more = Printable("") if len(shown) <= _SHOWN else sentence(" and {} more", len(shown) - _SHOWN)
    return sentence("{} at {}{}", leaf.short_sha256, listed(shown[:_SHOWN]), more)
