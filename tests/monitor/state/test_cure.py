"""Every finding has a cure, in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.catalogue import CATALOGUE
from config.text import Printable
from config.vocabulary import Code, UnreachableReason, UnreadableReason
from monitor.state.cure import cure, without_cure
from probes.finding import finding
from probes.judge.client import cure_of

ROOMS = ("config", "probes", "actions", "monitor")


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_cure(code: Code) -> None:
    assert cure(code) == CATALOGUE[code].cure
    assert cure_of(finding(code, Printable("as the test has it"))) in {
        CATALOGUE[code].client_cure,
        CATALOGUE[code].cure,
    } - {""}


@pytest.mark.parametrize("reason", UnreadableReason)
def test_every_reason_why_a_file_is_unreadable_has_a_cure_of_its_own(reason: UnreadableReason) -> None:
    assert cure(Code.UNREADABLE, f"{reason}: it is so") != CATALOGUE[Code.UNREADABLE].cure


def test_a_reason_that_says_nothing_of_a_cure_has_that_of_the_code() -> None:
    for reason in UnreachableReason:
        assert cure(Code.UNREACHABLE, f"{reason}: it is so")
    assert cure(Code.UNREACHABLE, "io_error: it is so") == CATALOGUE[Code.UNREACHABLE].cure


def test_an_actor_that_is_away_is_to_be_started() -> None:
    assert "start the actor" in cure(Code.UNREACHABLE, "no actor: nobody answers on /run/a: it does not run")


def test_a_cure_that_the_finding_names_is_taken_out_of_what_is_wrong() -> None:
    detail = "browser rejects web: it is; odd; to cure it, replace it"
    assert (cure(Code.CLIENT_REJECTS, detail), without_cure(detail)) == (
        "replace it",
        "browser rejects web: it is; odd",
    )
    assert without_cure("it is odd") == "it is odd"


TABLE = re.compile(r"\b_?[A-Z]+(?:_[A-Z]+)*\[[a-z_.]*code\]")


def test_no_table_by_code_but_the_catalogue_is_looked_up_without_a_fallback() -> None:
    """Only the catalogue has a row for every code, or is not imported."""
    root = Path(__file__).parents[3]
    sources = {path: path.read_text() for room in ROOMS for path in (root / room).rglob("*.py")}
    found = {each for text in sources.values() for each in TABLE.findall(text)}
    assert {each.partition("[")[0] for each in found} == {"CATALOGUE"}
