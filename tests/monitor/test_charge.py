"""What is the matter with a component that may be changed, as findings."""

from __future__ import annotations

import pytest

from config.vocabulary import Code, ComponentState, Mode
from monitor.charge import Charge, Offer, findings_of


@pytest.mark.parametrize(
    ("ground", "detail", "code", "said"),
    [
        ("inbox_unsafe", "x.pem can be changed", Code.INBOX_UNSAFE, "x.pem can be changed"),
        ("no_candidate", "no_key: there is none", Code.CANDIDATE_REFUSED, "no_key: there is none"),
        ("too_short", "it ends soon", Code.CANDIDATE_REFUSED, "too_short: it ends soon"),
    ],
)
def test_no_code_is_said_twice(ground: str, detail: str, code: Code, said: str) -> None:
    offer = Offer(objections=((ground, detail),))
    charge = Charge("web", Mode.AUTO, ComponentState.IDLE, "/inbox", offer, None, "", None, None, None)
    (found,) = findings_of(charge)
    assert (found.code, found.detail) == (code, said)
