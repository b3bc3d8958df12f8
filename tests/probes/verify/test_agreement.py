"""The row of each family judges drawn chains as the real verifier does, or says why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest

from probes.verify.families import FAMILIES
from tests.kit.agreement import REASONS, disagreements
from tests.kit.chains import WAYS, draw, draws
from tests.kit.verifiers import ALL, CURL, GNUTLS, GO, JAVA, OPENSSL, PYTHON, PYTHON_3_13, RealVerifier

DRAWN: Final = 300
MOST_PER_1000: Final = 5


def unexplained(verifiers: Sequence[RealVerifier], count: int) -> list[str]:
    found = disagreements(verifiers, list(draws(count)))
    by_family = {each.family: sum(one.family == each.family for one in found) for each in found}
    assert all(number * 1000 <= MOST_PER_1000 * count for number in by_family.values()), "\n".join(map(str, found))
    return [str(each) for each in found if each.reason is None]


@pytest.mark.server("openssl")
@pytest.mark.server("curl")
@pytest.mark.server("gnutls-cli")
def test_the_rows_of_openssl_curl_and_gnutls_judge_as_these_do() -> None:
    assert unexplained((OPENSSL, CURL, GNUTLS), DRAWN) == []


@pytest.mark.server("openssl")
def test_the_rows_of_python_judge_as_it_does() -> None:
    assert unexplained((PYTHON, PYTHON_3_13), DRAWN // 2) == []


# It takes seconds to start.
@pytest.mark.slow
@pytest.mark.server("java")
def test_the_row_of_java_judges_as_it_does() -> None:
    assert unexplained((JAVA,), DRAWN) == []


# It takes seconds to build.
@pytest.mark.slow
@pytest.mark.skipif(not GO.is_there, reason="no Go that is new enough")
def test_the_row_of_go_judges_as_it_does() -> None:
    assert unexplained((GO,), DRAWN) == []


def test_each_real_verifier_has_a_row_that_says_it_is_run() -> None:
    assert {each.name for each in ALL} == {each.name for each in FAMILIES.values() if each.is_run}


def test_the_same_number_draws_the_same_deviations_and_every_way_is_drawn() -> None:
    assert draw(7).deviations == draw(7).deviations
    drawn = {name for each in draws(DRAWN) for name in each.deviations}
    assert set(WAYS) - drawn == set()


def test_a_reason_is_of_a_family_and_of_a_way_to_deviate() -> None:
    assert {each.family for each in REASONS} <= set(FAMILIES)
