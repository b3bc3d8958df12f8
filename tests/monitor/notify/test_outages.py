"""What goes dark together is one problem, what flaps is another, and whatever happens people are told what is so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.channel import FindingMatch, Notifications, Silence
from config.text import Printable, harmless
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.cause import (
    CALM,
    FLAPS,
    FLAPS_WITHIN,
    REFUSED_TOGETHER,
    RETURNS_WITHIN,
    SPREADS_FOR,
    TOGETHER,
)
from monitor.notify.delivery import Delivery, DeliveryFate
from monitor.notify.lifecycle import GONE, AlertStep, Note
from monitor.notify.outbox import Outbox
from monitor.state.target import Raised, TargetState
from probes.finding import Finding, finding
from tests.kit.examples import examples
from tests.kit.outbox import EXPIRED, OPS, UNREACHABLE, at, known, nothing_happens

GATHERED = 3.0
"""Seconds until what happened comes to the outbox, at most."""
HOUR = 3600.0
REFUSED = finding(Code.UNREACHABLE, Printable("connection_refused: Connection refused"))
UNREADABLE = finding(Code.UNREADABLE, Printable("io_error: gone"))
START = 1_800_000_000.0


class NotingDesk(Outbox):
    """An outbox that keeps what is said before it is put into words."""

    notes: list[Note]

    def _write(self, channel: str, notes: list[Note], now: float) -> Iterator[Delivery]:
        self.notes += notes
        yield from super()._write(channel, notes, now)


@dataclass
class NotifiedWorld:
    """Endpoints that go dark and come back, an outbox, and a channel that believes what it is told."""

    locations: Mapping[str, str]
    now: float = START
    terms: Notifications = field(default_factory=Notifications)
    kind: TargetKind = TargetKind.ENDPOINT
    failing: Finding = UNREACHABLE
    believed: set[str] = field(default_factory=set)
    """What the channel takes to be wrong."""
    said: list[tuple[float, Note]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = {name: self._known(name) for name in self.locations}
        self.begins: dict[str, list[float]] = {name: [] for name in self.locations}
        self.outbox = self._outbox()

    def _outbox(self) -> NotingDesk:
        outbox = NotingDesk(self.registry, nothing_happens)
        outbox.notes = []
        return outbox

    def start(self) -> None:
        """Begin to tell."""
        self.outbox.reconfigure({"ops": OPS}, self.terms)

    def restart(self) -> None:
        """Begin anew with what was kept."""
        kept = self.outbox.everything()
        self.outbox = self._outbox()
        self.outbox.restore(kept)
        self.start()
        self._review()

    def _known(self, name: str, *findings: Finding, since: float = 0.0) -> TargetState:
        whole = known(name, *findings, presented=(), kind=self.kind, since=since, last_look=self.now)
        return replace(whole, location=self.locations[name])

    def is_wrong(self, name: str) -> bool:
        """Whether it is dark."""
        return bool(self.registry[name].findings)

    def fail(self, *names: str, severity: Severity = Severity.WARNING) -> None:
        """Have these be dark from now on, or for longer and worse."""
        for name in names:
            if not self.is_wrong(name):
                self.begins[name].append(self.now)
                since = self.now
            else:
                since = min(each.since for each in self.registry[name].findings.values())
            found = at(severity, self.failing)
            self._believe(replace(self._known(name), findings={(found.code, found.subject): Raised(found, since)}))

    def mend(self, *names: str) -> None:
        """Have these answer again."""
        for name in names:
            self._believe(self._known(name))

    def _believe(self, believed: TargetState) -> None:
        self.registry[believed.target] = believed
        self.outbox.observe(believed.target)

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, and return the titles of what is said meanwhile; what happened comes to the outbox first."""
        end = self.now + seconds
        begun = len(self.said)
        self.now += min(seconds, 0.2)
        self._review()
        while (due := self.outbox.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self._review()
        self.now = end
        return [f"{note.step}: {note.alert.headline}" for _, note in self.said[begun:]]

    def _review(self) -> None:
        self.outbox.write_due(self.now)
        for delivery in self.outbox.pending():
            self.outbox.amend(replace(delivery, fate=DeliveryFate.DELIVERED, ended_at=self.now))
        for note in self.outbox.notes:
            self.said.append((self.now, note))
            self.believed |= {each.target for each in note.members}
            self.believed -= set(note.recovered)
        self.outbox.notes.clear()


def endpoints(count: int, host: str = "192.0.2.{}", port: int = 443) -> dict[str, str]:
    return {f"web{number:02}": f"{host.format(number)}:{port}" for number in range(count)}


def test_two_services_that_refuse_half_a_minute_apart_are_two_problems() -> None:
    """A host that answers that nothing listens is well: only what goes dark at once has one cause."""
    world = NotifiedWorld({"smtp": "192.0.2.1:25", "imap": "198.51.100.7:993", "pop": "203.0.113.9:995"})
    world.start()

    world.failing = REFUSED
    world.fail("smtp")
    world.wait(REFUSED_TOGETHER + 10)
    world.fail("imap", "pop")
    world.wait(10)
    assert [sorted(note.alert.targets) for _, note in world.said] == [["smtp"], ["imap", "pop"]]


@pytest.mark.parametrize(
    "detail", ["not_tls: SMTP", "protocol_version: no", "handshake_failed: no", "connection_closed: in the middle"]
)
def test_what_is_wrong_with_one_server_is_a_problem_of_its_own(detail: str) -> None:
    world = NotifiedWorld({"plain": "198.51.100.1:443", "flap": "192.0.2.1:443", "hang": "203.0.113.9:443"})
    world.start()
    for name, failing in (
        ("plain", finding(Code.UNREACHABLE, harmless(detail))),
        ("flap", REFUSED),
        ("hang", UNREACHABLE),
    ):
        world.failing = failing
        world.fail(name)
        world.wait(5.0)
    assert [f"{note.step}: {note.alert.headline}" for _, note in world.said] == [
        "raised: unreachable: plain",
        "raised: unreachable: flap",
        "raised: unreachable: hang",
    ]


def test_what_is_wrong_with_one_server_is_one_problem_at_its_listener() -> None:
    world = NotifiedWorld(
        {"a": "192.0.2.1:443", "b": "192.0.2.1:443"}, failing=finding(Code.UNREACHABLE, Printable("not_tls: SMTP"))
    )
    world.start()
    world.fail("a", "b")
    assert world.wait(5.0) == ["raised: unreachable: 2 targets"]


@pytest.mark.parametrize("detail", ["bad_pem: no", "wrong_password: no", "not_found: no", "permission_denied: no"])
def test_files_that_cannot_be_read_each_for_a_reason_of_its_own_are_no_outage(detail: str) -> None:
    world = NotifiedWorld(
        {"a": "/a", "b": "/b"}, kind=TargetKind.FILE, failing=finding(Code.UNREADABLE, harmless(detail))
    )
    world.start()
    world.fail("a")
    world.wait(5.0)
    world.fail("b")
    assert world.wait(5.0) == ["raised: unreadable: b"]


FLAPPER = {"flapper": "198.51.100.1:443"}


def flap(world: NotifiedWorld, times: int, period: float = 60.0) -> None:
    for _ in range(times):
        world.fail("flapper")
        world.wait(period / 2)
        world.mend("flapper")
        world.wait(period / 2)


def test_with_one_endpoint_flapping_an_outage_of_a_hundred_is_told_at_once() -> None:
    world = NotifiedWorld({**endpoints(100), **FLAPPER})
    world.start()
    flap(world, 10)
    world.fail("flapper")
    world.wait(10.0)
    world.fail(*endpoints(100))
    said = world.wait(10.0)
    assert said == ["raised: unreachable: 100 targets"]
    _, note = world.said[-1]
    assert note.alert.since == world.now - 10.0
    assert "flapper" not in {each.target for each in note.members}
    world.mend(*endpoints(100))
    assert world.wait(60.0) == ["resolved: unreachable: 100 targets"]
    assert set(world.said[-1][1].recovered) == set(endpoints(100))


def test_a_flapper_is_a_problem_of_its_own_with_its_count_and_is_resolved_once_it_is_calm() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    flap(world, 2, 120.0)
    assert [note.step for _, note in world.said] == [AlertStep.RAISED, AlertStep.RESOLVED] * 2
    world.fail("flapper")
    assert world.wait(30.0) == ["raised: flapping: flapper, unreachable 3 times"]
    _, note = world.said[-1]
    assert (note.alert.since, note.members[0].flaps) == (START, FLAPS)
    world.mend("flapper")
    assert world.wait(30.0) == []
    before = len(world.said)
    flap(world, 100)
    assert len(world.said) == before, "whoever was told that it flaps need not hear of each time"
    assert world.wait(CALM + 60.0) == ["resolved: flapping: flapper, unreachable 3 times"]
    assert world.outbox.alerts() == []


def test_a_flapper_has_the_failures_that_were_over_before_they_were_told() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    untold = tuple(START - each for each in (3 * FLAPS_WITHIN, 120.0, 90.0, 60.0, 30.0))
    for told in range(1, FLAPS + 2):
        began = world.now
        world.fail("flapper")
        untold += (began,)
        world.registry["flapper"] = replace(world.registry["flapper"], went_dark=untold)
        world.outbox.observe("flapper")
        world.wait(30.0)
        if told == FLAPS:
            (member,) = world.said[-1][1].members
            assert (member.flaps, member.since) == (FLAPS + 4, START - 120.0)
        world.mend("flapper")
        world.wait(30.0)


def test_a_flapper_that_stays_dark_is_said_to_be_dark() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    flap(world, 5)
    world.fail("flapper")
    assert world.wait(CALM + 10.0) == ["worsened: unreachable: flapper"]
    assert world.said[-1][1].alert.since == world.now - CALM - 10.0
    world.mend("flapper")
    assert world.wait(60.0) == ["resolved: unreachable: flapper"]


def test_all_that_flap_together_are_one_problem() -> None:
    world = NotifiedWorld(endpoints(50))
    world.start()
    for _ in range(20):
        world.fail(*endpoints(50))
        world.wait(30.0)
        world.mend(*endpoints(50))
        world.wait(30.0)
    assert world.said[-1][1].alert.headline == "flapping: 50 targets, unreachable 3 times"
    assert len(world.said) <= 5
    assert world.wait(CALM + 60.0) == ["resolved: flapping: 50 targets, unreachable 3 times"]


def test_two_that_flap_each_for_itself_are_two_problems() -> None:
    """Although they went dark together once."""
    world = NotifiedWorld({"app": "192.0.2.1:443", "light": "198.51.100.2:443"}, failing=REFUSED)
    world.start()
    world.fail("app", "light")
    world.wait(5.0)
    world.mend("app", "light")
    world.wait(5.0)
    for name in ("app", "light", "app", "light"):
        world.fail(name)
        world.wait(12.0)
        world.mend(name)
        world.wait(60.0)
    told = {note.alert.problem: note.alert for _, note in world.said if note.alert.flapping}
    assert sorted(each.headline for each in told.values()) == [
        "flapping: app, unreachable 3 times",
        "flapping: light, unreachable 3 times",
    ]
    assert sorted(world.wait(CALM + 120.0)) == [
        "resolved: flapping: app, unreachable 3 times",
        "resolved: flapping: light, unreachable 3 times",
    ]


def test_a_flapper_that_is_well_at_this_moment_is_a_warning() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    for _ in range(FLAPS):
        world.fail("flapper", severity=Severity.CRITICAL)
        # Shorter than the review: it is over when it is told.
        world.outbox._take_in(world.now)
        world.now += 5.0
        world.mend("flapper")
        world.outbox._take_in(world.now)
        world.now += 20.0
    world.wait(10.0)
    ((_, note),) = world.said
    assert (note.alert.headline, note.alert.severity) == ("flapping: flapper, unreachable 3 times", Severity.WARNING)
    world.fail("flapper", severity=Severity.CRITICAL)
    world.wait(10.0)
    assert world.said[-1][1].alert.severity is Severity.CRITICAL


def test_what_goes_dark_one_after_the_other_is_one_problem_and_what_does_later_is_another() -> None:
    world = NotifiedWorld({**endpoints(20), **FLAPPER})
    world.start()
    for name in endpoints(20):
        world.fail(name)
        world.wait(TOGETHER / 10)
    assert len({note.alert.problem for _, note in world.said}) == 1
    assert len(world.said) <= 2 + 20 * TOGETHER / 10 / 7
    world.wait(SPREADS_FOR)
    world.fail("flapper")
    assert world.wait(10.0) == ["raised: unreachable: flapper"]


def test_what_follows_in_a_network_that_is_dark_is_part_of_that() -> None:
    world = NotifiedWorld({**endpoints(20), "far": "203.0.113.9:443"})
    world.start()
    world.fail(*list(endpoints(20))[:5])
    world.wait(HOUR)
    world.fail("web10", "far")
    assert world.wait(10.0) == ["worsened: unreachable: 6 targets", "raised: unreachable: far"]


def test_another_name_at_the_same_listener_is_part_of_the_same_outage_and_another_service_of_a_host_is_not() -> None:
    world = NotifiedWorld({"a": "192.0.2.1:443", "b": "192.0.2.1:443", "c": "192.0.2.1:25"})
    world.start()
    world.fail("a")
    world.wait(HOUR)
    world.fail("b")
    assert world.wait(10.0) == ["worsened: unreachable: 2 targets"]
    world.wait(HOUR)
    world.fail("c")
    assert world.wait(10.0) == ["raised: unreachable: c"]


def test_who_joins_is_told_within_ten_seconds_however_many_messages_there_were() -> None:
    world = NotifiedWorld(endpoints(60))
    world.start()
    for name in endpoints(60):
        begun = world.now
        world.fail(name)
        world.wait(4.0)
        told = [when for when, note in world.said if name in {each.target for each in note.members}]
        world.wait(10.0 - GATHERED - 4.0)
        told = [when for when, note in world.said if name in {each.target for each in note.members}]
        assert told
        assert told[0] - begun <= 10.0 - GATHERED + 0.2


def test_an_outage_that_is_over_for_most_of_its_targets_says_so() -> None:
    world = NotifiedWorld(endpoints(100))
    world.start()
    world.fail(*endpoints(100), severity=Severity.CRITICAL)
    world.wait(HOUR)
    world.mend(*list(endpoints(100))[1:])
    assert world.wait(2 * GONE) == ["eased: unreachable: web00"]
    assert world.believed == {"web00"}
    world.fail("web01")
    assert world.wait(10.0) == ["raised: unreachable: web01"]
    world.mend("web00", "web01")
    assert sorted(world.wait(60.0)) == ["resolved: unreachable: web00", "resolved: unreachable: web01"]


def test_one_that_failed_in_an_outage_and_fails_again_by_itself_belongs_to_what_is_so_now() -> None:
    world = NotifiedWorld(endpoints(5))
    world.start()
    world.fail(*endpoints(5))
    world.wait(30.0)
    world.mend("web00")
    world.wait(RETURNS_WITHIN - 10.0)
    world.fail("web00")
    assert world.wait(30.0) == [], "it is told to be dark, and has not been right for long"
    world.mend("web00")
    world.wait(HOUR)
    world.fail("web00")
    # Behind the same address as before: it is where it was.
    assert world.wait(30.0) == ["worsened: unreachable: 5 targets"]


def test_a_disk_that_is_gone_is_one_problem() -> None:
    names = {f"/data/{number}.pem": f"/data/{number}.pem" for number in range(500)}
    world = NotifiedWorld(names, kind=TargetKind.FILE, failing=UNREADABLE)
    world.start()
    world.fail(*names)
    assert world.wait(10.0) == ["raised: unreadable: 500 targets"]
    world.mend(*names)
    assert world.wait(60.0) == ["resolved: unreadable: 500 targets"]


def test_a_flapper_is_one_after_a_restart_and_is_resolved_in_time() -> None:
    world = NotifiedWorld({**endpoints(3), **FLAPPER})
    world.start()
    world.fail(*endpoints(3))
    flap(world, 5)
    told = len(world.said)
    world.restart()
    flap(world, 5)
    assert len(world.said) == told
    world.fail("flapper")
    world.mend(*endpoints(3))
    assert world.wait(60.0) == ["resolved: unreachable: 3 targets"]
    world.mend("flapper")
    assert world.wait(CALM + 60.0) == ["resolved: flapping: flapper, unreachable 3 times"]


def test_what_is_removed_while_it_flaps_is_resolved() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    flap(world, 5)
    del world.registry["flapper"]
    world.outbox.observe("flapper")
    assert world.wait(60.0) == ["resolved: flapping: flapper, unreachable 3 times"]


def test_a_certificate_that_comes_and_goes_is_flapping_too() -> None:
    world = NotifiedWorld(FLAPPER, failing=EXPIRED)
    world.start()
    flap(world, 30)
    assert world.said[-1][1].alert.headline == "flapping: flapper, expired 3 times"
    assert len(world.said) <= 5


def test_each_plan_that_waits_for_approval_is_told_by_itself() -> None:
    world = NotifiedWorld(
        FLAPPER, kind=TargetKind.COMPONENT, failing=finding(Code.APPROVAL_PENDING, Printable("the plan"))
    )
    world.start()
    flap(world, 5, 120.0)
    assert [note.step for _, note in world.said] == [AlertStep.RAISED, AlertStep.RESOLVED] * 5


NAMES = ("a", "b", "c", "d", "e", "f")
LOCATIONS = {
    **{name: f"192.0.2.{number}:443" for number, name in enumerate(NAMES[:4])},
    "e": "192.0.2.1:443",
    "f": "mail.example.com:25",
}
SOME = st.sets(st.sampled_from(NAMES), min_size=1)
PAUSES = st.sampled_from([0.5, 5.0, 11.0, 29.0, 45.0, 61.0, 200.0, 601.0, 1201.0, 4000.0]) | st.floats(0.2, 2000.0)
HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["fail", "worsen", "mend", "mend", "restart"]), SOME, PAUSES), min_size=1, max_size=40
)


@settings(max_examples=examples(100), deadline=None)
@given(HAPPENINGS, st.booleans())
def test_whatever_happens_what_is_wrong_is_told_what_is_told_is_so_and_what_was_told_is_resolved(
    happenings: list[tuple[str, set[str], float]], constantly: bool
) -> None:
    """Of random outages, flaps and joins, with `a` flapping all the time or not."""
    world = NotifiedWorld(LOCATIONS)
    world.start()
    for what, names, pause in happenings:
        if what == "restart":
            world.restart()
        elif what == "mend":
            world.mend(*names)
        else:
            world.fail(*names, severity=Severity.CRITICAL if what == "worsen" else Severity.WARNING)
        end = world.now + pause
        while world.now < end:
            if constantly:
                world.mend("a") if world.is_wrong("a") else world.fail("a")
            live(world, min(20.0, end - world.now))
    world.mend(*NAMES)
    live(world, CALM + FLAPS_WITHIN)
    assert world.believed == set(), "what was told is resolved"
    assert world.outbox.alerts() == []
    hours = (world.now - START) / HOUR + 1
    assert len(world.said) <= 24 * len(NAMES) * hours
    by_problem: dict[str, list[float]] = {}
    for when, note in world.said:
        if note.step is not AlertStep.RESOLVED and not (
            note.step is AlertStep.WORSENED and note.alert.severity is Severity.CRITICAL
        ):
            by_problem.setdefault(note.alert.problem, []).append(when)
    for times in by_problem.values():
        assert all(later - sooner >= 7.0 for sooner, later in pairwise(times))


def live(world: NotifiedWorld, seconds: float) -> None:
    """Let time pass, and hold all that is said, and all that is not, against what is so."""
    begun = len(world.said)
    world.wait(seconds)
    for when, note in world.said[begun:]:
        # Within these seconds nothing happened but that time passed.
        is_told_as_it_is(world, when, note)
    for name in NAMES:
        if world.is_wrong(name) and world.now - world.begins[name][-1] >= 60.0:
            assert name in world.believed, "what has been wrong for a minute is told"


def is_told_as_it_is(world: NotifiedWorld, when: float, note: Note) -> None:
    severities = []
    for each in note.members:
        (now_wrong,) = world.registry[each.target].findings.values() or (None,)
        assert each.wrong_now == (now_wrong is not None)
        if each.flaps:
            assert each.flaps <= len(world.begins[each.target])
            assert each.since in world.begins[each.target]
        else:
            assert now_wrong is not None
            assert (each.finding, each.since) == (now_wrong.finding, now_wrong.since)
        severities.append(each.finding.severity)
    for name in note.recovered:
        assert not world.is_wrong(name)
    if note.step is not AlertStep.RESOLVED:
        assert note.alert.severity == max(severities, key=lambda severity: severity.rank)
        assert note.alert.since == min(each.since for each in note.members)
        assert note.alert.targets == {each.target for each in note.members}
        assert note.alert.headline.startswith("flapping") == all(each.flaps for each in note.members)


def test_an_endpoint_that_flaps_for_a_day_is_a_handful_of_messages() -> None:
    for period in (20.0, 60.0, 110.0, 300.0, 590.0):
        world = NotifiedWorld(FLAPPER)
        world.start()
        flap(world, int(86_400 / period), period)
        assert len(world.said) <= 2 * (FLAPS - 1) + 2, period


def test_one_that_fails_too_seldom_to_flap_is_told_each_time() -> None:
    world = NotifiedWorld(FLAPPER)
    world.start()
    flap(world, 10, HOUR)
    assert [note.step for _, note in world.said] == [AlertStep.RAISED, AlertStep.RESOLVED] * 10


def test_a_silence_over_an_outage_keeps_what_was_told_until_it_ends() -> None:
    silence = Silence(FindingMatch(targets=("web*",)), "a test", START + HOUR)
    world = NotifiedWorld(endpoints(3), terms=Notifications(silences=(silence,)))
    world.start()
    world.fail(*endpoints(3))
    assert world.wait(HOUR - 1.0) == []
    assert world.wait(2.0) == ["raised: unreachable: 3 targets"]
