"""Completing a candidate whose issuer's certificate was forgotten, from what this host already knows; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from actions.candidate import Candidate
from actions.precheck import missing_issuer
from probes.certificate import Certificate
from probes.chain import MAX_DEPTH, signed
from probes.judge.client import View


def complete(candidate: Candidate, installed: Sequence[Certificate], views: Sequence[View], now: float) -> Candidate:
    """Return `candidate` with the intermediates that a client misses, where the host has them; as it is otherwise.

    They are looked for in the installed chain, in what clients hold and in trust stores; a root is never added. Where
    no client says what it misses, only a certificate that came without any chain is given one.
    """
    completed, validating = candidate, [view for view in views if view.client.validates]
    if not validating and (candidate.chain or candidate.certificate.self_issued):
        return candidate
    while len(completed.presented) < MAX_DEPTH and (not validating or missing_issuer(completed, validating, now)):
        found = next(_issuers(completed, installed, views, now), None)
        if found is None:
            return candidate if validating else completed
        issuer, place = found
        said = f"the intermediate {issuer.subject} was missing, and was added from {place}"
        completed = replace(completed, chain=(*completed.chain, issuer), put_right=(*completed.put_right, said))
    return completed


def _issuers(
    candidate: Candidate, installed: Sequence[Certificate], views: Sequence[View], now: float
) -> Iterator[tuple[Certificate, str]]:
    """Yield intermediates that issued the end of the chain, and where each is known from."""
    last = candidate.presented[-1]
    for issuer, place in _known(last, installed, views):
        begin, end = issuer.not_before, issuer.not_after
        if begin is None or end is None or not begin <= now < end:
            continue
        if issuer.self_issued or issuer.is_costly or issuer in candidate.presented:
            continue
        if signed(issuer, last):
            yield issuer, place


def _known(
    last: Certificate, installed: Sequence[Certificate], views: Sequence[View]
) -> Iterator[tuple[Certificate, str]]:
    yield from ((each, "the installed chain") for each in installed)
    for view in views:
        yield from ((each, f"what the client {view.client.name} holds") for each in view.held)
        for anchor in view.trust.by_subject.get(last.outline().issuer, ()):
            yield anchor, f"the trust store {view.trust.name}"
