"""From a look to events: the same look again is no event, and every change is exactly one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from config.model import Waiver
from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind, Verdict
from monitor.lab.ca import Authority
from monitor.state.events import (
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
)
from monitor.state.target import TargetState, learn, waive
from probes.certificate import certificate
from probes.finding import Assessment, Finding, finding

NEW = TargetState("web", TargetKind.ENDPOINT, "web:443")
CHAINS = tuple((certificate(Authority.root(name).der()),) for name in ("one", "two"))
FINDINGS = st.builds(
    Finding,
    st.sampled_from([Code.EXPIRING, Code.WEAK_KEY, Code.CLIENT_REJECTS]),
    st.sampled_from(Severity),
    st.sampled_from(["", "position 0"]),
    st.sampled_from(["because", "for another reason"]),
)
LOOKS = st.tuples(
    st.sampled_from(CHAINS),
    st.lists(FINDINGS, max_size=4, unique_by=lambda each: (each.code, each.subject)).map(tuple),
    st.sampled_from([None, ("timed_out", "no answer"), ("connection_refused", "closed")]),
)


def look(known: TargetState, seen: tuple[object, ...], now: float) -> tuple[TargetState, tuple[object, ...]]:
    chain, findings, failure = seen
    return learn(known, chain, Assessment(findings), failure, now=now)  # type: ignore[arg-type]


@given(st.lists(LOOKS, min_size=1, max_size=6))
def test_the_same_look_again_gives_no_event(looks: list[tuple[object, ...]]) -> None:
    known = NEW
    for now, seen in enumerate(looks):
        known, _ = look(known, seen, float(now))
        again, events = look(known, seen, now + 0.5)
        assert events == ()
        assert replace(again, last_look=known.last_look, failures=known.failures) == known


@given(st.lists(LOOKS, min_size=1, max_size=6))
def test_events_alone_tell_which_findings_stand(looks: list[tuple[object, ...]]) -> None:
    known, standing = NEW, {}
    for now, seen in enumerate(looks):
        known, events = look(known, seen, float(now))
        for event in events:
            match event:
                case FindingRaised(finding=found):
                    assert (found.code, found.subject) not in standing
                    standing[found.code, found.subject] = found
                case FindingChanged(before=before, finding=found):
                    assert standing[found.code, found.subject] == before
                    standing[found.code, found.subject] = found
                case FindingCleared(finding=found):
                    assert standing.pop((found.code, found.subject)) == found
        assert standing == {key: raised.finding for key, raised in known.findings.items()}


def test_a_finding_keeps_the_time_at_which_it_was_raised() -> None:
    mild, worse = (
        finding(Code.EXPIRING, Printable("soon"), severity=each) for each in (Severity.NOTICE, Severity.CRITICAL)
    )
    known, _ = learn(NEW, CHAINS[0], Assessment((mild,)), None, now=1)
    known, events = learn(known, CHAINS[0], Assessment((worse,)), None, now=2)
    assert known.findings[Code.EXPIRING, ""].since == 1
    assert [type(event) for event in events] == [FindingChanged]
    assert known.verdict is Verdict.CRITICAL


def test_failing_is_told_once_and_again_for_another_reason() -> None:
    known, told = NEW, []
    for now, failure in enumerate([("a", "x"), ("a", "y"), ("b", "x"), None]):
        known, events = learn(known, CHAINS[0], Assessment(()), failure, now=now)
        told.append([type(event) for event in events if isinstance(event, LookFailed | LookRecovered)])
    assert told == [[LookFailed], [], [LookFailed], [LookRecovered]]
    assert known.failures == 0


def test_what_is_presented_counts_since_it_changed() -> None:
    known, events = learn(NEW, CHAINS[0], Assessment(()), None, now=5)
    assert [type(event) for event in events] == [PresentedChanged]
    known, _ = learn(known, CHAINS[0], Assessment(()), None, now=6)
    assert known.since == 5
    known, _ = learn(known, CHAINS[1], Assessment(()), None, now=7)
    assert known.since == 7


def test_a_target_is_unknown_before_the_first_look() -> None:
    assert (NEW.verdict, NEW.up) == (Verdict.UNKNOWN, None)


def test_a_waiver_turns_one_finding_of_one_target_into_a_notice_until_it_ends() -> None:
    weak = finding(Code.WEAK_KEY, Printable("rsa 1024"))
    expired = finding(Code.EXPIRED, Printable("ended"))
    waiver = Waiver("web", Code.WEAK_KEY, "replaced in Q1", until=100)
    assessment = Assessment((weak, expired), until=500)
    waived = waive(assessment, "web", [waiver], now=99)
    assert [each.severity for each in waived.findings] == [Severity.NOTICE, Severity.CRITICAL]
    assert "waived until 1970-01-01 00:01:40Z: replaced in Q1" in waived.findings[0].detail
    assert waived.until == 100
    assert waive(assessment, "web", [waiver], now=100) == assessment
    assert waive(assessment, "mail", [waiver], now=99) == assessment
