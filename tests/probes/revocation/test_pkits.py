"""NIST's PKITS: no certificate whose revocation a test is about counts as good, and no good one as revoked."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

from config.vocabulary import RevocationState
from monitor.lab.ca import DAY
from probes.certificate import Certificate, certificate
from probes.revocation.crl import lists_in
from probes.revocation.evidence import Evidence
from probes.revocation.status import status_of
from tests.kit.pkits import ANCHOR, CASES, PUBLISHED, Gap, PkitsCase, all_lists, read

NOT_TOLD = {
    # DSA with parameters of its own, as nobody uses it.
    "4.1.4",
    # Names that differ in their encoding, and are the same by RFC 5280, 7.1.
    *("4.3.3", "4.3.4", "4.3.5", "4.3.10", "4.3.11"),
    # Another certificate of the CA signs its lists; or a self-issued one stands on the path.
    *("4.4.19", "4.5.1", "4.6.15", "4.6.17", "4.9.6"),
    *("4.11.7", "4.12.7", "4.12.9", "4.13.19"),
    # Lists for some reasons each, and indirect lists.
    *("4.14.18", "4.14.19", "4.14.22", "4.14.24", "4.14.25"),
    *("4.14.28", "4.14.29", "4.14.30", "4.14.33"),
}
"""Valid paths of which certvigil cannot tell that nothing is revoked: it says so, and never that something is."""


@cache
def evidence() -> Evidence:
    return Evidence(lists_in(all_lists()))


def states(case: PkitsCase) -> list[RevocationState]:
    names = (ANCHOR, *case.intermediates, case.end_entity)
    path: list[Certificate] = [certificate(read(each)) for each in names]
    return [status_of(each, issuer, evidence(), PUBLISHED + DAY).state for issuer, each in pairwise(path)]


DECODED = [each for each in CASES if each.gap is not Gap.DSA_INHERITANCE]


def test_all_its_lists_but_a_copy_are_read() -> None:
    assert len(evidence().lists) == len(set(all_lists())) == len(all_lists()) - 1


@pytest.mark.parametrize("case", [each for each in DECODED if each.valid], ids=lambda case: case.number)
def test_a_valid_path_has_nothing_revoked(case: PkitsCase) -> None:
    found = states(case)
    assert RevocationState.REVOKED not in found
    assert (set(found) == {RevocationState.GOOD}) is (case.number not in NOT_TOLD), found


@pytest.mark.parametrize(
    "case", [each for each in DECODED if each.gap is Gap.REVOCATION and not each.valid], ids=lambda case: case.number
)
def test_a_path_that_its_lists_make_invalid_is_not_good(case: PkitsCase) -> None:
    assert set(states(case)) != {RevocationState.GOOD}
