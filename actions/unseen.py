"""Clients on other machines, whose trust stores nobody here can see: an operator says what they hold; pure.

Such a client is taken to accept today's chain. It goes on accepting a candidate of the same root, and one of a root
that an operator confirmed for its trust store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from actions.ending import Ground
from actions.precheck import Objection
from config.immutable import immutable
from config.text import Printable, harmless, sentence
from probes.certificate import Certificate
from probes.chain import presented_path
from probes.judge.client import leaf_first
from probes.judge.roots import root_of
from probes.trust import Trust


@immutable
class UnseenClient:
    """A client that validates by a trust store which nobody here can see, at one endpoint."""

    client: str
    store: str
    endpoint: str
    confirmed: frozenset[str]
    """The SHA-256 of each root that an operator confirmed for that store, hexadecimal."""
    leaf_alone: bool = False
    """It can count on nothing but the server's own certificate, and so holds the intermediates itself."""


def lost_unseen(
    new: Sequence[Certificate],
    today: Sequence[Certificate],
    clients: Iterable[UnseenClient],
    trusts: Sequence[Trust],
    expected: Collection[str],
    *,
    is_offer: bool = False,
) -> Iterator[Objection]:
    """Yield each client, once, that accepts the chain of `today` and might reject the chain `new` (not empty).

    `trusts` are the stores by which the roots are known; clients that are `expected` to be lost are passed over. Of an
    offer, which is anybody's, no root is to be confirmed.
    """
    if not today:
        return
    leads_elsewhere = _end(new, trusts) != _end(today, trusts)
    path, root, leaf, told = presented_path(leaf_first(new)), root_of(new, trusts), leaf_first(today)[0], set[str]()
    is_issued_by_another = leaf.issuer != path[0].issuer
    for each in clients:
        # Where nobody is sent them, a client goes on accepting certificates of the intermediates that it holds.
        might_reject = is_issued_by_another if each.leaf_alone else leads_elsewhere
        if not might_reject or each.client in {*expected, *told}:
            continue
        needed = (root, *path[1:2]) if each.leaf_alone else (root,)
        lacks = [one for one in needed if one is None or one.sha256 not in each.confirmed]
        if not lacks:
            continue
        # A certificate that vouches for itself is accepted by nobody who validates, unless an operator confirmed it.
        if leaf.self_issued and leaf.sha256 not in each.confirmed:
            continue
        told.add(each.client)
        where, store = harmless(each.endpoint), harmless(each.store)
        if (first := lacks[0]) is None:
            cure = Printable("") if is_offer else Printable(": give it with the candidate")
            why = sentence("the root of {} is not at hand{}", path[-1].issuer, cure)
        else:
            why = sentence("nobody has confirmed that its trust store {} has {}", store, first.title)
            if not is_offer:
                why = sentence(
                    "{}; `certvigil trust confirm {} --root {}` does, and `certvigil rotate` has the order",
                    why,
                    store,
                    harmless(first.sha256),
                )
        yield Objection(Ground.CLIENT_LOST, sentence("{} might not accept {}: {}", harmless(each.client), where, why))


def _end(chain: Sequence[Certificate], trusts: Sequence[Trust]) -> str:
    """Return what a chain leads to: the SHA-256 of its root, or else the name of the issuer that is missing."""
    root = root_of(chain, trusts)
    return presented_path(leaf_first(chain))[-1].issuer if root is None else root.sha256
