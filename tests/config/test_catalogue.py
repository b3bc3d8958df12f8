"""The catalogue of findings: one row for each code, complete, and in words that can be printed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from config.catalogue import (
    CATALOGUE,
    ENTRIES,
    GROUP_MEANING,
    GROUP_MEMBERS,
    NO_ACTOR,
    CatalogueEntry,
    CuringChange,
    ProblemScope,
    by_code,
)
from config.text import printable
from config.vocabulary import (
    ClientCertificateUse,
    Code,
    Group,
    Severity,
    TargetKind,
    UnreachableReason,
    UnreadableReason,
)

PLACEHOLDERS = {
    *("component", "where", "check", "target", "subject", "cure", "state_directory"),
    *("actor_log", "daemon_log", "clock_state"),
}
REASONS = {
    Code.UNREADABLE: set(UnreadableReason),
    Code.UNREACHABLE: {*UnreachableReason, NO_ACTOR},
    Code.CLIENT_CERTIFICATE_FAILED: {ClientCertificateUse.REFUSED, ClientCertificateUse.UNUSABLE},
}

of_each_row = pytest.mark.parametrize("row", ENTRIES, ids=lambda row: str(row.code))


def phrases(row: CatalogueEntry) -> Iterator[str]:
    yield from (row.cure, row.by_itself, *row.cures.values(), *row.hurts.values(), *row.steps)
    yield from (step for steps in row.steps_of.values() for step in steps)
    yield from filter(None, (row.client_cure, row.anchor_cure))


def test_each_code_has_one_row_in_the_order_of_the_codes() -> None:
    assert list(CATALOGUE) == list(Code) == [row.code for row in ENTRIES]
    assert all(CATALOGUE[code].code is code for code in Code)


def test_a_code_without_its_row_fails_at_import() -> None:
    with pytest.raises(ValueError, match=r"has no row for expired, undeclared_endpoint$"):
        by_code(ENTRIES[1:-1])


def test_a_code_with_two_rows_fails_at_import() -> None:
    with pytest.raises(ValueError, match=r"has two rows for expired$"):
        by_code((*ENTRIES, ENTRIES[0]))


@of_each_row
def test_each_row_says_what_it_means_in_whole_sentences(row: CatalogueEntry) -> None:
    for text in filter(None, (row.meaning, row.otherwise)):
        assert re.fullmatch(r"[A-Z](.|\n)*[a-z0-9`]\.", text), text


@of_each_row
def test_each_row_says_what_to_do_whom_it_hurts_and_what_happens_by_itself(row: CatalogueEntry) -> None:
    assert row.cure
    assert row.hurts
    assert row.steps or row.change
    for text in phrases(row):
        assert re.fullmatch(r"(for \{where\}|at \{where\}|[a-z]).*[^.\s]", text), text


@of_each_row
def test_each_text_is_printable(row: CatalogueEntry) -> None:
    for text in (row.meaning, row.otherwise, *phrases(row)):
        assert printable(text) == text
        assert text.isascii()


@of_each_row
def test_each_placeholder_is_one_that_advice_fills(row: CatalogueEntry) -> None:
    for text in phrases(row):
        assert PLACEHOLDERS.issuperset(re.findall(r"{(.*?)}", text))


@of_each_row
def test_cures_by_reason_are_for_reasons_that_the_code_has(row: CatalogueEntry) -> None:
    assert row.cures.keys() <= REASONS.get(row.code, set())


@of_each_row
def test_other_steps_are_for_kinds_of_target_on_which_the_code_is_raised(row: CatalogueEntry) -> None:
    assert row.steps_of.keys() <= row.hurts.keys()


@of_each_row
def test_a_change_is_for_a_component_so_nothing_about_certvigil_itself_is_cured_by_one(row: CatalogueEntry) -> None:
    if TargetKind.SELF in row.hurts:
        assert row.change is None


@of_each_row
def test_a_row_about_certvigil_alone_is_one_problem_for_each_subject(row: CatalogueEntry) -> None:
    assert (row.hurts.keys() == {TargetKind.SELF}) == (row.scope is ProblemScope.SUBJECT)


def test_a_policy_acts_unattended_only_on_findings_about_files_and_endpoints_that_the_actor_raises_itself() -> None:
    looked_at = {TargetKind.FILE, TargetKind.ENDPOINT}
    assert all(row.hurts.keys() <= looked_at for row in ENTRIES if row.seen_by_actor)
    assert {row.code for row in ENTRIES if row.hurts.keys() & looked_at and not row.seen_by_actor} == {
        *(Code.UNREADABLE, Code.UNREACHABLE, Code.NO_CERTIFICATE, Code.KEYS_UNREAD),
        *(Code.UNSETTLED, Code.NEXT_RELOAD_BREAKS, Code.CONFIG_LINE_MISSING, Code.KEY_SHARED),
        *(Code.CLIENT_CERTIFICATE_FAILED, Code.CRL_STALE),
    }


def test_every_file_that_cannot_be_read_has_a_cure_for_its_reason() -> None:
    assert CATALOGUE[Code.UNREADABLE].cures.keys() == set(UnreadableReason)


def test_the_groups_have_all_codes_each_in_one_of_them() -> None:
    assert sorted(code for codes in GROUP_MEMBERS.values() for code in codes) == sorted(Code)
    assert all(GROUP_MEMBERS[group] for group in Group)
    assert GROUP_MEANING.keys() == set(Group)


def test_every_change_and_every_scope_is_used() -> None:
    assert {row.change for row in ENTRIES} == {None, *CuringChange}
    assert {row.scope for row in ENTRIES} == set(ProblemScope)


def test_what_nobody_on_the_host_can_change_is_informational() -> None:
    assert {row.code for row in ENTRIES if row.informational} == {
        *(Code.VALIDITY_TOO_LONG, Code.UNDECLARED_ENDPOINT, Code.UNKNOWN_ALGORITHM)
    }
    assert all(row.informational == (row.severity is Severity.INFORMATIONAL) for row in ENTRIES)
