"""Every finding has a cure, in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.vocabulary import DEFAULT_SEVERITY, Code, UnreachableReason, UnreadableReason
from monitor.state.cure import CURES, cure, without_cure
from probes.finding import finding
from probes.judge.client import cure_of

ROOMS = ("config", "probes", "actions", "monitor")


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


def test_an_actor_that_is_away_is_to_be_started() -> None:
    assert "start the actor" in cure(Code.UNREACHABLE, "no actor: nobody answers on /run/a: it does not run")


def test_a_cure_that_the_finding_names_is_taken_out_of_what_is_wrong() -> None:
    detail = "browser rejects web: it is; odd; to cure it, replace it"
    assert (cure(Code.CLIENT_REJECTS, detail), without_cure(detail)) == (
        "replace it",
        "browser rejects web: it is; odd",
    )
    assert without_cure("it is odd") == "it is odd"


def test_a_code_of_which_nothing_is_said_still_has_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.state.cure.CURES", {})
    monkeypatch.setattr("probes.judge.client.CURES", {})
    for code in Code:
        assert cure(code)
        assert cure_of(finding(code, "as the test has it"))


TABLE = re.compile(r"\b_?[A-Z]+(?:_[A-Z]+)*\[[a-z_.]*code\]")


def test_no_table_by_code_is_looked_up_without_a_fallback() -> None:
    """Whoever adds a code forgets one of them; `DEFAULT_SEVERITY` alone is made of all codes."""
    root = Path(__file__).parents[2]
    sources = {path: path.read_text() for room in ROOMS for path in (root / room).rglob("*.py")}
    found = {(path.name, each) for path, text in sources.items() for each in TABLE.findall(text)}
    assert found == {("finding.py", "DEFAULT_SEVERITY[code]")}
    assert DEFAULT_SEVERITY.keys() == set(Code)
