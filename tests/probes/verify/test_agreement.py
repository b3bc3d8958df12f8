"""The row of each family judges drawn chains as the real verifier does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest

from probes.verify.families import FAMILIES
from tests.kit.agreement import disagreements
from tests.kit.chains import WAYS, draw, draws
from tests.kit.verifiers import ALL, CURL, GNUTLS, GO, JAVA, OPENSSL, PYTHON, PYTHON_3_13, RealVerifier

DRAWN: Final = 300


def told(verifiers: Sequence[RealVerifier], count: int) -> list[str]:
    return list(map(str, disagreements(verifiers, list(draws(count)))))


@pytest.mark.server("openssl")
@pytest.mark.server("curl")
@pytest.mark.server("gnutls-cli")
def test_the_rows_of_openssl_curl_and_gnutls_judge_as_these_do() -> None:
    assert told((OPENSSL, CURL, GNUTLS), DRAWN) == []


@pytest.mark.server("openssl")
def test_the_rows_of_python_judge_as_it_does() -> None:
    assert told((PYTHON, PYTHON_3_13), DRAWN // 2) == []


# It takes seconds to start.
@pytest.mark.slow
@pytest.mark.server("java")
def test_the_row_of_java_judges_as_it_does() -> None:
    assert told((JAVA,), DRAWN) == []


# It takes seconds to build.
@pytest.mark.slow
@pytest.mark.skipif(not GO.is_there, reason="no Go that is new enough")
def test_the_row_of_go_judges_as_it_does() -> None:
    assert told((GO,), DRAWN) == []


def test_each_real_verifier_has_a_row_that_says_it_is_run() -> None:
    assert {each.name for each in ALL} == {each.name for each in FAMILIES.values() if each.is_run}


def test_the_same_number_draws_the_same_deviations_and_every_way_is_drawn() -> None:
    assert draw(7).deviations == draw(7).deviations
    drawn = {name for each in draws(DRAWN) for name in each.deviations}
    assert set(WAYS) - drawn == set()
