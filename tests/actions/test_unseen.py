"""Clients whose trust stores nobody here can see: whether a candidate may lose them."""

from __future__ import annotations

import hashlib

from actions.ending import Ground
from actions.unseen import UnseenClient, lost_unseen
from monitor.lab.ca import Authority, Issued, self_signed
from probes.certificate import Certificate, certificate
from probes.trust import Trust
from tests.kit.authority import NAME, ROOT, fresh

NEXT = Authority.root("The next root")
KNOWN = (Trust("lab", tuple(certificate(each.der()) for each in (ROOT, NEXT))),)
TODAY, OWN = fresh(), self_signed(NAME)
CANDIDATE = NEXT.intermediate("The next issuing CA").issue(NAME)


def sha256(of: Issued) -> str:
    return hashlib.sha256(of.der()).hexdigest()


def presented(of: Issued) -> tuple[Certificate, ...]:
    return tuple(certificate(each.der()) for each in of.chain)


def lost(
    new: Issued = CANDIDATE,
    today: Issued | None = TODAY,
    *confirmed: Issued,
    trusts: tuple[Trust, ...] = KNOWN,
    expected: tuple[str, ...] = (),
) -> list[str]:
    """Return why the clients of two endpoints may be lost."""
    roots = frozenset(map(sha256, confirmed))
    clients = [UnseenClient("finder", "windows", each, roots) for each in ("web/443", "web/8443")]
    chain = presented(today) if today is not None else ()
    found = list(lost_unseen(presented(new), chain, clients, trusts, expected))
    assert {each.ground for each in found} <= {Ground.CLIENT_LOST}
    return [each.detail for each in found]


def test_another_root_that_nobody_confirmed_loses_each_client_once() -> None:
    (said,) = lost()
    assert said == (
        "finder might not accept web/443: nobody has confirmed that its trust store windows has CN=The next root; "
        f"`certvigil trust confirm windows --root {sha256(NEXT)}` does, and `certvigil rotate` has the order"
    )


def test_the_same_root_needs_no_word_and_a_confirmed_one_counts() -> None:
    assert lost(fresh()) == []
    assert lost(CANDIDATE, TODAY, NEXT) == []
    assert len(lost(CANDIDATE, TODAY, ROOT)) == 1


def test_a_root_that_is_not_at_hand_is_asked_for_unless_it_is_the_same_as_today() -> None:
    (said,) = lost(trusts=())
    assert said == (
        "finder might not accept web/443: the root of CN=The next root is not at hand: give it with the candidate"
    )
    assert lost(fresh(), trusts=()) == []


def test_nobody_is_lost_who_cannot_accept_today_or_who_is_expected_to_be_lost() -> None:
    assert lost(CANDIDATE, None) == []
    assert lost(CANDIDATE, OWN) == []
    assert len(lost(CANDIDATE, OWN, OWN)) == 1
    assert lost(expected=("finder",)) == []


def test_where_no_intermediate_is_sent_its_clients_must_hold_the_next_one() -> None:
    leaf_alone, other = presented(TODAY)[:1], ROOT.intermediate("Another issuing CA")
    renewed, moved = presented(fresh()), presented(other.issue(NAME))

    def said(new: tuple[Certificate, ...], *confirmed: Issued) -> list[str]:
        client = UnseenClient("finder", "windows", "web/443", frozenset(map(sha256, confirmed)), leaf_alone=True)
        return [each.detail for each in lost_unseen(new, leaf_alone, [client], KNOWN, ())]

    assert said(renewed) == []
    (root_first,) = said(moved)
    assert f"`certvigil trust confirm windows --root {sha256(ROOT)}` does" in root_first
    (then_the_intermediate,) = said(moved, ROOT)
    assert f"has CN=Another issuing CA; `certvigil trust confirm windows --root {sha256(other)}`" in (
        then_the_intermediate
    )
    assert said(moved, ROOT, other) == []
