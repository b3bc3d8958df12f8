"""Which trust stores of clients still lack the root of a candidate; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actions.candidate import Candidate
from actions.precheck import roots_known
from config.text import harmless, listed, sentence
from probes.judge.client import View
from probes.judge.roots import lacking


def of_all(proposals: Iterable[tuple[Candidate, Sequence[View]]], now: float) -> tuple[str, ...]:
    """Return a sentence for each trust store that lacks a root of candidates, with the clients that do not accept.

    A candidate that vouches for itself has no root that a store should be given.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for candidate, views in proposals:
        if candidate.certificate.self_issued:
            continue
        for each in lacking(candidate.presented, views, roots_known(candidate, views), now):
            known = "" if each.root is None else f" (sha256 {each.root.sha256})"
            found.setdefault((each.store, each.issuer, known), []).append(each.client)
    # One candidate brings its root and another names it only: that is the same lack.
    for store, issuer, known in [each for each in found if not each[2]]:
        same = (each for each in found if each[0] == store and each[2] and issuer.endswith(f", {each[1]}"))
        if (other := next(same, None)) is not None:
            found[other] += found.pop((store, issuer, known))
    return tuple(
        sentence(
            "the trust store {} lacks {}{}, so {} would not accept it",
            harmless(store),
            harmless(issuer),
            harmless(known),
            listed(map(harmless, dict.fromkeys(names)), " and "),
        )
        for (store, issuer, known), names in found.items()
    )
