"""The life of a problem as it is told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from config.channel import Notifications
from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.lifecycle import (
    GONE,
    HOLD,
    MOST_CERTIFICATES,
    Acknowledgement,
    Alert,
    AlertStep,
    AlertUpdate,
    Note,
    next_note,
)
from monitor.notify.problem import Member
from probes.finding import finding
from tests.kit.outbox import UNREACHABLE, at, member, rejected

ABOUT = ("ops", "unreachable")
TERMS = Notifications()
HOUR, DAY = 3600.0, 86_400.0


def told(alert: Alert | None, now: float, *members: Member, **more: object) -> AlertUpdate:
    return next_note(ABOUT, alert, members, terms=TERMS, now=now, **more)  # type: ignore[arg-type]


def opened(now: float = 1000.0, *members: Member) -> Alert:
    alert = told(None, now, *(members or (member("a"),))).alert
    assert alert is not None
    return alert


def step(reviewed: AlertUpdate) -> AlertStep | None:
    return reviewed.note.step if reviewed.note else None


def test_a_problem_is_raised_once() -> None:
    first = told(None, 1000.0, member("a", since=900.0), member("b", since=800.0))
    assert step(first) is AlertStep.RAISED
    assert first.alert is not None
    assert (first.alert.since, sorted(first.alert.targets)) == (800.0, ["a", "b"])
    again = told(first.alert, 1001.0, member("a"), member("b"))
    assert step(again) is None
    assert again.alert == first.alert


def test_nothing_that_is_wrong_is_nothing_to_say() -> None:
    assert told(None, 1000.0) == AlertUpdate(None)


def test_it_is_worse_at_once_where_it_is_more_severe() -> None:
    alert = opened(1000.0, member("a", at(Severity.WARNING)))
    worse = told(alert, 1000.1, member("a", at(Severity.CRITICAL)))
    assert step(worse) is AlertStep.WORSENED
    assert worse.alert is not None
    assert worse.alert.severity is Severity.CRITICAL
    eased = told(worse.alert, 1001.0, member("a", at(Severity.WARNING)))
    assert step(eased) is None
    assert step(told(eased.alert, 1002.0, member("a", at(Severity.CRITICAL)))) is None


def test_more_targets_are_told_together_and_none_late() -> None:
    alert, times, now = opened(), [], 1000.0
    targets = [member("a")]
    while now < 2000.0:
        now += 1.0
        targets.append(member(f"more {now}"))
        reviewed = told(alert, now, *targets)
        assert reviewed.alert is not None
        alert = reviewed.alert
        if reviewed.note:
            assert step(reviewed) is AlertStep.WORSENED
            assert len(reviewed.note.members) == len(targets)
            times.append(now)
    assert times == [1000.0 + HOLD * number for number in range(1, 143)]


def test_what_joins_an_old_problem_is_told_at_once() -> None:
    alert = replace(opened(1000.0), messages=17)
    assert step(told(alert, 5000.0, member("a"), member("b"))) is AlertStep.WORSENED


def test_what_is_less_severe_than_was_told_is_changed_and_not_worse() -> None:
    alert = opened(1000.0, member("app", at(Severity.CRITICAL)))
    changed = told(alert, 1020.0, member("light", at(Severity.WARNING)))
    assert changed.note is not None
    assert (changed.note.step, changed.note.recovered) == (AlertStep.CHANGED, ("app",))
    assert step(told(changed.alert, 1020.1, member("light", at(Severity.CRITICAL)))) is AlertStep.WORSENED
    two = opened(1000.0, member("app"), member("light"))
    other = member("app", finding(Code.BAD_SIGNATURE, Printable("x"), Printable("position 0")))
    assert step(told(two, 1020.0, other)) is AlertStep.CHANGED


def test_a_further_target_of_a_component_that_was_told_is_listed_next_time() -> None:
    endpoint, file = member("tun/a:443", component="tun"), member("tun/certificate", component="tun")
    alert = opened(1000.0, endpoint)
    assert step(told(alert, 1020.0, endpoint, file)) is None
    later = told(alert, 1000.0 + DAY, endpoint, file)
    assert later.note is not None
    assert later.note.step is AlertStep.REMINDED
    assert later.note.alert.targets == {"tun/a:443", "tun/certificate"}
    on_disk = replace(file, kind=TargetKind.FILE)
    assert step(told(alert, 1020.0, on_disk)) is AlertStep.CHANGED, "nobody is served it any more"
    more = replace(on_disk, target="tun/chain")
    assert step(told(alert, 1020.0, on_disk, more)) is AlertStep.WORSENED
    alone = told(alert, 1020.0, file)
    assert step(alone) is AlertStep.WORSENED, "what was told is over"
    assert step(told(alert, 1020.0, endpoint, member("mail/certificate", component="mail"))) is AlertStep.WORSENED
    mild = opened(1000.0, member("tun/a:443", at(Severity.WARNING), component="tun"))
    worse = told(mild, 1000.1, member("tun/a:443", at(Severity.WARNING), component="tun"), file)
    assert step(worse) is AlertStep.WORSENED
    dark = [member(f"tun/{port}", UNREACHABLE, component="tun") for port in (25, 465)]
    assert step(told(opened(1000.0, dark[0]), 1020.0, *dark)) is AlertStep.WORSENED, "each server is one of its own"


def test_what_is_served_after_it_lay_on_disk_is_worse_although_its_component_was_told() -> None:
    file = replace(member("lb/combined", component="lb"), kind=TargetKind.FILE)
    endpoint = member("lb/a:443", component="lb")
    clients = [member("lb/a:443", rejected(name), component="lb") for name in ("browser", "curl")]
    alert = opened(1000.0, file)
    for served in ([endpoint], [endpoint, *clients]):
        waits = told(alert, 1005.0, file, *served)
        assert (step(waits), waits.next_at) == (None, 1000.0 + HOLD)
        worse = told(waits.alert, 1000.0 + HOLD, file, *served)
        assert step(worse) is AlertStep.WORSENED
        assert worse.alert is not None
        assert worse.alert.targets == {"lb/combined", "lb/a:443"}
        assert step(told(worse.alert, 1060.0, file, *served)) is None
    expiring = [replace(each, finding=at(Severity.CRITICAL)) for each in (file, endpoint)]
    assert step(told(opened(1000.0, expiring[0]), 1020.0, *expiring)) is None, "it hurts nobody yet, there as here"


def test_each_further_client_that_rejects_it_is_worse_whoever_acknowledged_it() -> None:
    curl, java = (member("a", rejected(name)) for name in ("curl", "java"))
    for acknowledged in (None, Acknowledgement("root", 1001.0)):
        alert = replace(opened(1000.0, member("a"), member("b"), curl), acknowledged=acknowledged)
        worse = told(alert, 1020.0, member("a"), curl, java)
        assert step(worse) is AlertStep.WORSENED
        assert step(told(worse.alert, 1060.0, member("a"), java)) is None
        assert step(told(worse.alert, 1060.0, member("a"), curl, java)) is None
    lenient = [member("a", at(Severity.NOTICE, rejected("old"))), member("a")]
    assert step(told(opened(1000.0, member("a"), curl), 1020.0, *lenient, curl)) is None


def test_a_target_that_recovered_and_fails_again_is_news() -> None:
    alert = opened(1000.0, member("a"), member("b"), member("c"))
    without = told(alert, 2000.0, member("a"), member("c"))
    assert step(without) is None
    soon = told(without.alert, 2000.0 + GONE - 1, member("a"), member("b"), member("c"))
    assert (step(soon), soon.alert) == (None, alert)
    later = told(without.alert, 2000.0 + GONE, member("a"), member("b"), member("c"))
    assert step(later) is AlertStep.WORSENED
    assert later.alert is not None
    assert later.alert.gone == {}


def test_what_is_said_is_what_is_so_then() -> None:
    alert = opened(
        1000.0, member("a", at(Severity.CRITICAL), since=100.0), member("b", at(Severity.WARNING), since=900.0)
    )
    eased = told(alert, 5000.0, member("b", at(Severity.WARNING), since=900.0))
    assert (step(eased), eased.next_at) == (None, 5000.0 + GONE)
    eased = told(eased.alert, 5000.0 + GONE, member("b", at(Severity.WARNING), since=900.0))
    assert eased.note is not None
    assert (eased.note.step, eased.note.recovered) == (AlertStep.EASED, ("a",))
    said = eased.note.alert
    assert (said.severity, said.since, set(said.targets)) == (Severity.WARNING, 900.0, {"b"})
    assert said.headline == "expiring: CN=a.example on b"
    # What was told to be less is worse once it is as it was.
    assert step(told(said, 5061.0, member("b", at(Severity.CRITICAL)))) is AlertStep.WORSENED
    reminded = told(said, 5060.0 + 7 * DAY, member("b", at(Severity.WARNING), since=900.0))
    assert step(reminded) is AlertStep.REMINDED


def test_half_of_what_was_told_is_right_again_before_that_is_worth_a_message() -> None:
    many = [member(str(number)) for number in range(100)]
    alert, sizes, now = opened(1000.0, *many), [], 1000.0
    while len(many) > 1:
        many.pop()
        now += 2 * GONE
        reviewed = told(alert, now, *many)
        later = told(reviewed.alert, now + GONE, *many)
        if later.note:
            sizes.append(len(later.note.members))
        assert later.alert is not None
        alert = later.alert
    assert sizes == [50, 25, 12, 6, 3, 1]


def test_what_becomes_flapping_and_what_fails_for_good_then_is_news() -> None:
    alert = opened(1000.0, member("a"))
    flapping = told(alert, 2000.0, replace(member("a"), flaps=3))
    assert flapping.note is not None
    assert flapping.note.step is AlertStep.WORSENED
    assert flapping.note.alert.headline == "flapping: a, expired 3 times"
    more = told(flapping.alert, 3000.0, replace(member("a"), flaps=30))
    assert step(more) is None
    assert step(told(more.alert, 4000.0, member("a"))) is AlertStep.WORSENED


def test_it_is_told_again_after_a_while_by_its_severity() -> None:
    critical, warning = opened(1000.0), opened(1000.0, member("a", at(Severity.WARNING)))
    assert step(told(critical, 1000.0 + DAY - 1, member("a"))) is None
    reminded = told(critical, 1000.0 + DAY, member("a"))
    assert step(reminded) is AlertStep.REMINDED
    assert reminded.next_at == 1000.0 + 2 * DAY
    assert step(told(warning, 1000.0 + 6 * DAY, member("a", at(Severity.WARNING)))) is None
    assert step(told(warning, 1000.0 + 7 * DAY, member("a", at(Severity.WARNING)))) is AlertStep.REMINDED
    never = Notifications(remind=dict.fromkeys(Severity))
    assert step(next_note(ABOUT, critical, [member("a")], terms=never, now=1e12)) is None


def test_it_is_resolved_once_it_has_been_gone_for_long_enough() -> None:
    alert = opened()
    gone = told(alert, 2000.0)
    assert (step(gone), gone.next_at) == (None, 2030.0)
    back = told(gone.alert, 2010.0, member("a"))
    assert step(back) is None
    gone = told(back.alert, 3000.0)
    resolved = told(gone.alert, 3030.0)
    assert step(resolved) is AlertStep.RESOLVED
    assert resolved.alert is None
    assert isinstance(resolved.note, Note)
    assert resolved.note.alert.cleared_at == 3000.0


def test_an_acknowledged_problem_is_told_only_where_it_gets_worse() -> None:
    alert = replace(opened(), acknowledged=Acknowledgement("root", 1001.0))
    assert step(told(alert, 1000.0 + 30 * DAY, member("a"), member("b"))) is None
    worse = told(
        alert,
        1000.0 + DAY,
        member("a"),
        member("a", finding(Code.BAD_SIGNATURE, Printable("x"), Printable("position 0"))),
    )
    assert step(worse) is AlertStep.WORSENED
    assert worse.alert is not None
    assert worse.alert.acknowledged is None


def test_an_acknowledgement_may_end() -> None:
    alert = replace(opened(), acknowledged=Acknowledgement("root", 1001.0, until=1000.0 + 2 * DAY))
    reviewed = told(alert, 1000.0 + DAY, member("a"))
    assert (step(reviewed), reviewed.next_at) == (None, 1000.0 + 2 * DAY)
    assert step(told(alert, 1000.0 + 2 * DAY, member("a"))) is AlertStep.REMINDED


def test_what_is_silenced_is_neither_raised_nor_reminded_nor_resolved() -> None:
    assert told(None, 1000.0, withheld={"a"}) == AlertUpdate(None)
    alert = opened()
    quiet = told(alert, 1000.0 + 30 * DAY, withheld={"a"})
    assert (step(quiet), quiet.alert) == (None, alert)


def test_while_it_was_not_delivered_only_what_is_more_severe_is_worth_a_message() -> None:
    alert = opened(1000.0, member("a", at(Severity.WARNING)))
    many = [member(str(number), at(Severity.WARNING)) for number in range(100)]
    waits = told(alert, 1000.0 + 30 * DAY, *many, undelivered=True)
    assert (step(waits), waits.next_at) == (None, 1010.0 + 30 * DAY)
    assert step(told(alert, 1000.0, member("a", at(Severity.CRITICAL)), undelivered=True)) is AlertStep.WORSENED


def test_a_clock_that_steps_back_silences_nothing() -> None:
    alert = opened(1_000_000.0)
    assert step(told(alert, 900_000.0, member("a"), member("b"))) is AlertStep.WORSENED
    gone = told(alert, 1_000_000.0)
    back = told(gone.alert, 900_000.0)
    assert back.next_at == 900_030.0
    assert step(told(back.alert, 900_030.0)) is AlertStep.RESOLVED


def test_each_message_has_an_id_of_its_own_that_stays() -> None:
    alert = opened()
    assert alert.message_id == opened().message_id
    ids = {replace(alert, messages=number).message_id for number in range(1, 100)}
    ids |= {replace(alert, channel="chat").message_id, opened(1001.0).message_id}
    assert len(ids) == 101


STATES = st.lists(
    st.tuples(
        st.sets(st.sampled_from("abcd")), st.sampled_from(sorted(TERMS.remind)), st.floats(0, 10_000), st.booleans()
    ),
    max_size=30,
)


@given(STATES)
def test_whatever_happens_what_was_raised_is_resolved_and_nothing_is_said_twice(
    states: list[tuple[set[str], Severity, float, bool]],
) -> None:
    alert: Alert | None = None
    now, ids, steps = 0.0, [], []
    for targets, severity, pause, undelivered in [*states, (set(), Severity.WARNING, 0.0, False)]:
        now += pause
        for moment in (now, now + 40_000.0):
            those = [member(target, at(severity)) for target in sorted(targets)]
            reviewed = next_note(ABOUT, alert, those, terms=TERMS, now=moment, undelivered=undelivered)
            settled = next_note(ABOUT, reviewed.alert, those, terms=TERMS, now=moment, undelivered=undelivered)
            assert settled.note is None, "the same at the same time is said once"
            alert = reviewed.alert
            if reviewed.note:
                ids.append(reviewed.note.alert.message_id)
                steps.append(reviewed.note.step)
        now += 40_000.0
    assert alert is None
    assert len(set(ids)) == len(ids)
    assert steps.count(AlertStep.RAISED) == steps.count(AlertStep.RESOLVED)


def presenting(target: str, certificate: str) -> Member:
    """Return that a target presents a certificate with a fault."""
    return replace(member(target), base=f"certificate {certificate}")


def test_another_certificate_with_the_same_fault_is_news_once_it_stays() -> None:
    alert = opened(1000.0, presenting("a", "A"))
    at_first = told(alert, 1100.0, presenting("a", "B"))
    assert step(at_first) is None
    assert at_first.next_at is not None, "it is asked again, though nothing else happens"
    later = told(at_first.alert, 1200.0, presenting("a", "B"), steady=frozenset({"a"}))
    assert later.note is not None
    assert (later.note.step, later.note.replaced) == (AlertStep.CHANGED, frozenset({"a"}))
    assert later.alert is not None
    for again in ("B", "A"):
        assert step(told(later.alert, 1300.0, presenting("a", again), steady=frozenset({"a"}))) is None, "told once"
    known = replace(later.alert, acknowledged=Acknowledgement("somebody", 1250.0))
    assert step(told(known, 1300.0, presenting("a", "C"), steady=frozenset({"a"}))) is AlertStep.CHANGED


def test_a_peer_with_another_certificate_at_each_handshake_stays_one_problem_that_says_so() -> None:
    alert, notes = opened(1000.0, presenting("a", "first")), []
    for number in range(1, 2 * 24 * 60):
        reviewed = told(alert, 1000.0 + 60.0 * number, presenting("a", str(number)))
        assert reviewed.alert is not None
        alert = reviewed.alert
        notes += [reviewed.note] if reviewed.note else []
    assert [(each.step, each.restless) for each in notes] == [(AlertStep.REMINDED, frozenset({"a"}))]
    assert alert.certificates == {"certificate first"}


def test_whoever_changes_the_certificate_every_other_minute_is_told_of_a_few_times() -> None:
    alert, steps = opened(1000.0, presenting("a", "first")), []
    for number in range(1, 600):
        reviewed = told(alert, 1000.0 + 120.0 * number, presenting("a", str(number)), steady=frozenset({"a"}))
        assert reviewed.alert is not None
        alert = reviewed.alert
        steps += [step(reviewed)] if reviewed.note else []
    assert steps == [AlertStep.CHANGED] * (MOST_CERTIFICATES - 1)
