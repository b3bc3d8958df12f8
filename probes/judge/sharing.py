"""Findings about private keys that several servers use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from config.immutable import immutable
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, VerifierName
from probes.finding import Finding, finding
from probes.names import names_server
from probes.observation import Presented

_SHOWN: Final = 5
"""Servers that a finding names: a key that a product ships may be at very many."""


@immutable
class SharingServer:
    """Another server that presents a certificate for the same key."""

    endpoint: str
    """Its name as a target."""
    name: str
    """The name that its certificate must have."""
    keys: frozenset[str]
    """SHA-256 of the public keys of the certificates that it presents, hexadecimal."""


def judge_shared(presented: Sequence[Presented], name: str, sharing: Iterable[SharingServer]) -> Iterator[Finding]:
    """Yield that servers of another name have the same key, where the certificate does not carry the names of both."""
    leaves = dict.fromkeys(each.chain[0] for each in presented if each.chain)
    others = sorted(sharing, key=lambda each: each.endpoint)
    for leaf in leaves:
        key = leaf.public_key_sha256()
        concerned = [each for each in others if key in each.keys]
        lacking = dict.fromkeys(
            each
            for each in (name, *(other.name for other in concerned))
            if not names_server(leaf, each, VerifierName.WEBPKI)
        )
        if not concerned or not lacking:
            continue
        detail = sentence(
            "{} also has the key of {} (spki_sha256 {}), and the certificate does not carry {}",
            _some([harmless(each.endpoint) for each in concerned]),
            leaf.title,
            harmless(key),
            _some([harmless(each) for each in lacking]),
        )
        yield finding(Code.KEY_SHARED, detail)
        return


def _some(names: Sequence[Printable]) -> Printable:
    shown = listed(names[:_SHOWN], " and ")
    return shown if len(names) <= _SHOWN else sentence("{} and {} more", shown, len(names) - _SHOWN)
