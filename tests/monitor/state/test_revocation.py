"""Lists in files about the certificates of a look: forged ones in the name of a CA keep none out that it has signed."""

from __future__ import annotations

import time

import pytest

from monitor.lab.ca import DAY, Authority, KeyType, new_key
from monitor.state import revocation
from monitor.state.revocation import KnownRevocations
from probes.certificate import certificate
from probes.revocation.crl import RevocationList, lists_in, signed_by
from probes.revocation.evidence import MOST_OF_ISSUER, Evidence
from tests.kit.crl import Entry, crl

NOW = time.time()
CA = Authority.root("Flooded")
STRANGER = Authority.root("Flooded", key=new_key(KeyType.P256))
LEAF = CA.issue("www.example.com")


def forged(number: int) -> tuple[RevocationList, ...]:
    der = crl(CA, NOW, signer=STRANGER, key_identifier=False)
    return lists_in(der[:-2] + each.to_bytes(2, "big") for each in range(number))


@pytest.mark.parametrize("presented", [True, False], ids=["the CA is presented", "the CA is trusted"])
def test_a_list_behind_any_number_of_forged_ones_is_found_a_few_signatures_at_a_time(
    *, presented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "MOST_AT_ONCE", 200)
    leaf, issuer = certificate(LEAF.der()), certificate(CA.der())
    known = KnownRevocations(lambda: () if presented else (issuer,))
    (own,) = lists_in([crl(CA, NOW, Entry(LEAF, NOW - DAY))])
    flood = forged(3 * MOST_OF_ISSUER)
    for number in range(0, len(flood), 100):
        known.note(f"flood {number}", flood[number : number + 100])
    known.note("own", (*forged(99), own))
    chain = (leaf, issuer) if presented else (leaf,)
    verified = 0
    monkeypatch.setattr(revocation, "signed_by", lambda *_: pytest.fail("on the loop"))
    rounds = 0

    def about() -> Evidence:
        nonlocal verified
        trials = known.untried([chain])
        verified += len(trials)
        known.note_tried((each, signed_by(*each)) for each in trials)
        return known.about([chain])

    while own not in (found := about()).lists:
        assert issuer.outline().subject in found.crowded, "nobody claims to have looked at all"
        rounds += 1
        # A further file loses nothing of what was done.
        known.note(f"more {rounds}", ())
    assert rounds == 4
    assert not found.crowded
    assert (verified, known.untried([chain])) == (len(flood) + 100, ())
    assert len(found.lists) == MOST_OF_ISSUER + 1
    known.note("own", ())
    assert own not in known.about([chain]).lists
