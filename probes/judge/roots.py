"""Roots: where a chain leads to, who issues there, and which clients still lack that root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from config.expected import DefaultCertificate
from config.immutable import immutable
from config.text import Printable, sentence
from config.vocabulary import CertificateOrigin
from probes.certificate import Certificate
from probes.chain import find_leaf, paths, presented_path, signed
from probes.judge.client import View, judge_chain, leaf_first
from probes.judge.default import is_default
from probes.trust import Trust


@immutable
class LackingClient:
    """A client whose trust store lacks the root of a chain, so that it does not accept it."""

    client: str
    store: str
    root: Certificate | None
    """None where the root is nowhere at hand."""
    issuer: Printable
    """The name of the root; where that is not at hand, words for the issuer of the last certificate that is known."""


def root_of(
    chain: Sequence[Certificate], trusts: Iterable[Trust], held: Sequence[Certificate] = ()
) -> Certificate | None:
    """Return the root that `chain` (not empty) leads to, by way of `held` and `trusts`, too; None where none is known.

    A root that no trust store has may be presented, and is returned all the same: it proves nothing.
    """
    leaf, pool = find_leaf(chain), (*chain, *held)
    for trust in trusts:
        for path in paths(leaf, pool, trust):
            if path.is_anchored and path.last.self_issued:
                return path.last
    last = presented_path(pool if find_leaf(pool) == leaf else chain)[-1]
    return last if last.self_issued and last != leaf and signed(last, last) else None


def origin_of(
    chain: Sequence[Certificate], root: Certificate | None, public: Iterable[Trust], default: DefaultCertificate | None
) -> CertificateOrigin:
    """Return who issued the server's certificate in `chain`, whose root may be an anchor of the `public` stores."""
    leaf = find_leaf(chain)
    if is_default(leaf, default):
        return CertificateOrigin.DEFAULT
    if leaf.self_issued and signed(leaf, leaf):
        return CertificateOrigin.SELF_SIGNED
    if root is None:
        return CertificateOrigin.UNKNOWN
    is_public = any(trust.holds_as_public(root) for trust in public)
    return CertificateOrigin.PUBLIC_CA if is_public else CertificateOrigin.OWN_CA


def lacking(
    chain: Sequence[Certificate], views: Iterable[View], trusts: Sequence[Trust], now: float
) -> tuple[LackingClient, ...]:
    """Return the clients of `views` that do not accept `chain` at Unix time `now`, and lack its root.

    A client that accepts by way of another root lacks nothing, nor does one that has the root and rejects for something
    else.
    """
    if not chain:
        return ()
    views = tuple(views)
    held = tuple(dict.fromkeys(each for view in views for each in view.held))
    root, presented = root_of(chain, trusts, held), leaf_first(chain)
    last = presented_path(presented)[-1]
    issuer = root.title if root is not None else sentence("the issuer of {}, {}", last.title, last.issuer)
    return tuple(
        LackingClient(view.client.name, view.trust.name, root, issuer)
        for view in views
        if not judge_chain(presented, view, now, tuple(trusts)).accepted and not _has(view.trust, root)
    )


def _has(trust: Trust, root: Certificate | None) -> bool:
    """Whether a trust store has this root, or the same key of the same name in another certificate."""
    if root is None:
        return False
    namesakes = trust.by_subject.get(root.outline().subject, ())
    return any(each.outline().public_key == root.outline().public_key for each in namesakes)
