from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import pytest

from config.vocabulary import KeyKind
from probes.certificate import certificate
from probes.trust import Trust
from probes.verify.engine import verify
from probes.verify.families import OPENSSL
from probes.verify.rules import Rule
from tests.kit.pkits import ANCHOR, CASES, PUBLISHED, Gap, PkitsCase, all_certificates, read

ANY_STRENGTH: Final = replace(OPENSSL, algorithms=replace(OPENSSL.algorithms, level=0))
IN_2026 = 1_790_000_000.0
"""Within the validity of everything that is meant to be valid, as is the time of publication."""


@lru_cache(maxsize=1)
def trust(anchor_der: bytes) -> Trust:
    return Trust("pkits", (certificate(anchor_der),))


def accepts(leaf_der: bytes, intermediates_der: Sequence[bytes], anchor_der: bytes, now: float) -> bool:
    presented = [certificate(each) for each in (leaf_der, *intermediates_der)]
    judged = verify(presented, trust(anchor_der), ANY_STRENGTH, None, now)
    # By today's TLS, no server has a key of DSA.
    return all(each.rule is Rule.KEY and not each.index for each in judged.best.objections)


def accepted(case: PkitsCase, now: float) -> bool:
    return accepts(read(case.end_entity), [read(each) for each in case.intermediates], read(ANCHOR), now)


def named(case: PkitsCase) -> str:
    return f"{case.number} {case.name}"


@pytest.mark.parametrize("now", [PUBLISHED, IN_2026], ids=["2011", "2026"])
@pytest.mark.parametrize("case", [each for each in CASES if each.supported], ids=named)
def test_a_supported_case_gets_the_published_verdict(case: PkitsCase, now: float) -> None:
    assert accepted(case, now) is case.valid


@pytest.mark.parametrize("case", [each for each in CASES if each.gap in {Gap.REVOCATION, Gap.POLICY}], ids=named)
def test_a_case_is_unsupported_only_while_the_verdict_is_wrong(case: PkitsCase) -> None:
    assert accepted(case, PUBLISHED) is not case.valid


def test_a_dsa_key_that_inherits_its_parameters_is_unknown() -> None:
    (case,) = [each for each in CASES if each.gap is Gap.DSA_INHERITANCE]
    held = certificate(read(case.intermediates[-1]))
    assert held.failures == ("public key cannot be decoded: it is not well-formed",)
    assert (held.key.kind, held.is_strict) == (KeyKind.UNKNOWN, False)


def test_a_case_with_policy_inputs_is_not_supported() -> None:
    assert all(bool(case.settings) is (case.gap is Gap.SETTINGS) for case in CASES)


def test_the_verdict_under_default_settings_is_the_one_in_the_name() -> None:
    telling = [case for case in CASES if not case.settings and case.end_entity.startswith(("Valid", "Invalid"))]
    assert len(telling) > 190
    assert [case for case in telling if case.valid is not case.end_entity.startswith("Valid")] == []


def test_every_certificate_of_the_data_is_in_a_case() -> None:
    in_cases = {name for case in CASES for name in (case.end_entity, *case.intermediates)}
    assert in_cases | {ANCHOR} == all_certificates()


def test_every_section_is_there_and_no_case_twice() -> None:
    tests = Counter(case.number for case in CASES)
    assert max(tests.values()) == 1
    sections = {tuple(number.split(".")[:3]) for number in tests}
    assert Counter(int(section[1]) for section in sections) == {
        1: 6,
        2: 8,
        3: 11,
        4: 21,
        5: 8,
        6: 17,
        7: 5,
        8: 20,
        9: 8,
        10: 14,
        11: 11,
        12: 10,
        13: 38,
        14: 35,
        15: 10,
        16: 2,
    }
