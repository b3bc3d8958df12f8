"""Which trust stores of clients still lack the root of a candidate; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from actions.candidate import Candidate
from actions.precheck import roots_known
from config.text import harmless, listed, sentence
from probes.judge.client import View
from probes.judge.roots import lacking


def lacking_stores(candidate: Candidate, views: Sequence[View], now: float) -> Iterator[str]:
    """Yield each trust store that lacks the root of `candidate`, with the clients that do not accept it for that."""
    found = lacking(candidate.presented, views, roots_known(candidate, views), now)
    clients: dict[str, list[str]] = {}
    for each in found:
        clients.setdefault(each.store, []).append(each.client)
    for store, names in clients.items():
        first = next(each for each in found if each.store == store)
        known = "" if first.root is None else f" (sha256 {first.root.sha256})"
        yield sentence(
            "the trust store {} lacks {}{}, so {} would not accept it",
            harmless(store),
            first.issuer,
            harmless(known),
            listed(map(harmless, dict.fromkeys(names)), " and "),
        )


def of_all(proposals: Iterable[tuple[Candidate, Sequence[View]]], now: float) -> tuple[str, ...]:
    """Return the sentences about all components of a plan, each once."""
    return tuple(
        dict.fromkeys(each for candidate, views in proposals for each in lacking_stores(candidate, views, now))
    )
