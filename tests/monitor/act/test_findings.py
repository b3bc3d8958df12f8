"""What is the matter with a component that may be changed, as findings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from actions.aside import Late
from actions.ending import Cause, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.text import Printable, printable
from config.vocabulary import Code, ComponentState, Mode, Severity
from monitor.act.findings import findings_of, no_actor
from monitor.act.status import CandidateStatus, ComponentStatus, candidate_status
from monitor.state.cure import cure, without_cure


def ended(outcome: Outcome, cause: Cause, reason: str) -> RecordedEnding:
    return RecordedEnding(
        transaction="tx1",
        components=("web",),
        outcome=outcome,
        cause=cause,
        reason=reason,
        at=1.0,
        began=1.0,
        kind=Kind.REPLACE,
        plan="p",
        by="daemon",
    )


@pytest.mark.parametrize(
    ("ground", "detail", "code", "said"),
    [
        ("inbox_unsafe", "x.pem can be changed", Code.INBOX_UNSAFE, "x.pem can be changed"),
        ("no_candidate", "no_key: there is none", Code.CANDIDATE_REFUSED, "no_key: there is none"),
        ("too_short", "it ends soon", Code.CANDIDATE_REFUSED, "too_short: it ends soon"),
    ],
)
def test_no_code_is_said_twice(ground: str, detail: str, code: Code, said: str) -> None:
    offer = CandidateStatus(objections=((printable(ground), printable(detail)),))
    component = ComponentStatus("web", Mode.AUTO, ComponentState.IDLE, "/inbox", offer, None, "", None, None, None)
    (found,) = findings_of(component)
    assert (found.code, found.detail) == (code, said)


def test_what_was_written_late_is_told_with_where_it_is_kept_and_how_to_go_on() -> None:
    late = Late(
        "web", "tx1", 1_800_000_100.0, 1_800_000_000.0, ("/etc/site.crt",), "tx1-late-0a", "/backups/web/tx1-late-0a"
    )
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.IDLE, "/inbox", CandidateStatus(), None, "", None, None, None, late=late
    )
    (found,) = findings_of(component)
    assert found.code is Code.WRITTEN_LATE
    assert found.detail == (
        "somebody wrote at 2027-01-15 08:00:00Z to a file that certvigil had replaced before, by transaction tx1: "
        "/etc/site.crt; no service reads it. The written content is kept as backup set tx1-late-0a, in "
        "/backups/web/tx1-late-0a; `certvigil rollback web --to tx1-late-0a` puts it in place, and `certvigil recover "
        "--thaw web` clears this"
    )


def test_what_gave_way_to_somebody_elses_set_is_no_finding() -> None:
    last = ended(Outcome.SUPERSEDED, Cause.CHANGED, "they came")
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.IDLE, "/inbox", CandidateStatus(), None, "", None, None, last
    )
    assert list(findings_of(component)) == []


def test_an_actor_that_is_gone_in_the_middle_of_a_transaction_is_told_with_the_way_to_end_it() -> None:
    quiet, halfway = (no_actor("nobody answers on /run/a", is_open=is_open) for is_open in (False, True))
    assert quiet.detail == "no actor: nobody answers on /run/a"
    assert "start the actor" in cure(quiet.code, quiet.detail)
    assert without_cure(halfway.detail) == (
        "no actor: a transaction of it has no end, so its files may be new in part, and its service between two sets; "
        "nobody answers on /run/a"
    )
    assert "`certvigil recover`" in cure(halfway.code, halfway.detail)
    assert quiet.severity is halfway.severity is Severity.WARNING


def test_that_a_component_is_frozen_is_one_finding_until_it_is_thawed() -> None:
    last = ended(Outcome.FROZEN, Cause.ACTIVATION, "web answers nobody")
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.FROZEN, "/inbox", CandidateStatus(), None, "", None, last.reason, last
    )
    refused = replace(last, outcome=Outcome.REFUSED, cause=Cause.COMPONENT_FROZEN)
    for each in (component, replace(component, last=refused)):
        (found,) = findings_of(each)
        assert found.code is Code.COMPONENT_FROZEN
        assert found.detail.startswith("web answers nobody; nothing more is done to it")
    (found,) = findings_of(replace(component, frozen=None, last=replace(last, outcome=Outcome.ROLLED_BACK)))
    assert found.code is Code.ACTION_FAILED


def test_what_a_person_rejected_is_no_more_than_a_notice() -> None:
    offer = CandidateStatus(
        objections=(
            (Printable("rejected"), Printable("this replace was rejected by root")),
            (Printable("too_short"), Printable("it ends soon")),
        )
    )
    component = ComponentStatus("web", Mode.AUTO, ComponentState.IDLE, "/inbox", offer, None, "", None, None, None)
    assert [each.severity for each in findings_of(component)] == [Severity.NOTICE, Severity.WARNING]


def test_an_offer_that_cannot_be_used_alarms_nobody_and_its_cure_is_not_the_inbox() -> None:
    offer = CandidateStatus(objections=((Printable("no_offer"), Printable("no_certificate: it is no regular file")),))
    component = ComponentStatus("web", Mode.AUTO, ComponentState.IDLE, "/inbox", offer, None, "", None, None, None)
    (found,) = findings_of(component)
    assert (found.code, found.severity) == (Code.CANDIDATE_REFUSED, Severity.NOTICE)
    assert without_cure(found.detail) == "no_certificate: it is no regular file"
    assert cure(found.code, found.detail).endswith("takes it out: `certvigil offer --withdraw NAME`")


def test_a_failure_that_passes_names_the_way_to_end_the_wait() -> None:
    last = replace(ended(Outcome.ROLLED_BACK, Cause.INTERRUPTED, "it was interrupted"), why="policy use-candidate")
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.IDLE, "/inbox", CandidateStatus(), None, "", None, None, last
    )
    (found,) = findings_of(component)
    assert found.detail.endswith("`certvigil recover --thaw web`, which also ends the wait for the next attempt")
    assert "again, since" not in found.detail, "a policy tries it again by itself"
    (found,) = findings_of(replace(component, last=replace(last, why="")))
    assert cure(found.code, found.detail) == (
        "ask for the replace again, since it was only interrupted; or give another candidate, empty the inbox /inbox, "
        "or run `certvigil recover --thaw web`"
    )


@pytest.mark.parametrize("written", [2.0**45, -(2.0**60), math.inf, -math.inf, math.nan])
def test_whatever_time_a_file_was_given_what_was_written_late_is_told(written: float) -> None:
    late = Late("web", "tx1", 1.0, written, ("/etc/site.crt",), "tx1-late", "/backups/web/tx1-late")
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.IDLE, "/inbox", CandidateStatus(), None, "", None, None, None, late=late
    )
    (found,) = findings_of(component)
    assert found.code is Code.WRITTEN_LATE


def test_a_rollback_is_by_itself_only_where_no_person_approved_it() -> None:
    last = ended(Outcome.COMMITTED, Cause.NONE, "the files are in use")
    last = replace(last, kind=Kind.ROLLBACK, why="policy undo-regression: browser no longer accepts")
    component = ComponentStatus(
        "web", Mode.AUTO, ComponentState.IDLE, "/inbox", CandidateStatus(), None, "", None, None, last
    )
    (found,) = findings_of(component)
    assert "it was rolled back by itself" in found.detail
    assert list(findings_of(replace(component, last=replace(last, approved=True)))) == []


def test_what_is_remarked_beside_a_refused_candidate_is_a_note() -> None:
    answer = {
        "refused": {"objections": [{"ground": "no_candidate", "detail": "no_key: there is none"}]},
        "remarks": ["/inbox/portal is not used"],
    }
    assert candidate_status(answer, CandidateStatus(), 1.0).remarks == ("/inbox/portal is not used",)
    answer["refused"] = {"objections": [{"ground": "empty_inbox", "detail": "there is no candidate"}]}
    assert candidate_status(answer, CandidateStatus(), 1.0).remarks == ()
