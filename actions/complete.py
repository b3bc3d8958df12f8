"""Completing a candidate that lacks an intermediate, from certificates that this host already has; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from actions.candidate import Candidate
from actions.precheck import missing_issuer
from probes.certificate import Certificate
from probes.chain import MAX_DEPTH, signed
from probes.judge.client import View


def complete(candidate: Candidate, installed: Sequence[Certificate], views: Sequence[View], now: float) -> Candidate:
    """Return `candidate` with the intermediates that a client misses, where the host has them; else unchanged.

    The installed chain, the certificates of clients and the trust stores are searched; a root is never added. Where no
    client validates, only a certificate without any chain is completed.
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
    """Yield intermediates that issued the end of the chain, and the place where each was found."""
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
        yield from ((each, f"the certificates of the client {view.client.name}") for each in view.held)
        for anchor in view.trust.by_subject.get(last.outline().issuer, ()):
            yield anchor, f"the trust store {view.trust.name}"
