"""Every finding has a cure, in words."""

from __future__ import annotations

import pytest

from config.vocabulary import Code, UnreachableReason, UnreadableReason
from monitor.cure import CURES, cure, without_cure


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_cure(code: Code) -> None:
    assert CURES[code]
    assert cure(code) == CURES[code]
    assert not CURES[code].endswith(".")


@pytest.mark.parametrize("reason", UnreadableReason)
def test_every_reason_why_a_file_is_unreadable_has_a_cure_of_its_own(reason: UnreadableReason) -> None:
    assert cure(Code.UNREADABLE, f"{reason}: it is so") != CURES[Code.UNREADABLE]


def test_a_reason_that_says_nothing_of_a_cure_has_that_of_the_code() -> None:
    for reason in UnreachableReason:
        assert cure(Code.UNREACHABLE, f"{reason}: it is so")
    assert cure(Code.UNREACHABLE, "io_error: it is so") == CURES[Code.UNREACHABLE]


def test_a_cure_that_the_finding_names_is_taken_out_of_what_is_wrong() -> None:
    detail = "browser rejects web: it is; odd; to cure it, replace it"
    assert (cure(Code.CLIENT_REJECTS, detail), without_cure(detail)) == (
        "replace it",
        "browser rejects web: it is; odd",
    )
    assert without_cure("it is odd") == "it is odd"
