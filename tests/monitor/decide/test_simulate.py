from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.model import DAY
from config.policy import Notify, Policy, RemainingBelow, Window, share_of_lifetime
from config.shipped import shipped_policies
from config.vocabulary import Code, Mode
from monitor.decide.decision import Decision, DecisionStatus, kind_of
from monitor.decide.engine import decide
from monitor.decide.simulate import Assumptions, Happening, SimulatedEvent, as_of, succeed
from monitor.decide.simulate import timeline as simulated_timeline
from monitor.decide.situation import Result, Situation
from tests.kit.examples import examples
from tests.kit.policies import policies
from tests.kit.situations import (
    CODES,
    HOUR,
    NOW,
    REPLACE,
    attempt,
    candidate,
    findings,
    found,
    policy,
    situation,
    situations,
    validity,
)

RENEW = policy(RemainingBelow(share_of_lifetime(0.33)), REPLACE)


def simulate(
    facts: Sequence[Situation],
    own: Sequence[Policy],
    span: tuple[float, float],
    future: Sequence[SimulatedEvent] = (),
    assumed: Assumptions | None = None,
) -> list[Happening]:
    """Return what is decided; nobody is told, so that there are no messages."""
    happened = simulated_timeline(facts, own, span, future=future, assumptions=assumed)
    return [each for each in happened if isinstance(each, Happening)]


def timeline(
    facts: Situation, own: Sequence[Policy], days: float = 90, assumed: Assumptions | None = None
) -> list[tuple[float, str, DecisionStatus]]:
    """Return what is decided, by the day to two digits."""
    happened = simulate([facts], own, (NOW, NOW + days * DAY), assumed=assumed)
    return [(round((each.at - NOW) / DAY, 2), each.decision.policy, each.decision.status) for each in happened]


def test_a_timeline_shows_what_fires_when() -> None:
    assert timeline(situation(certificate=validity(90, 45)), [RENEW]) == [(15.3, "p", DecisionStatus.AWAIT_CANDIDATE)]


def test_with_candidates_assumed_certificates_are_renewed_again_and_again() -> None:
    shown = timeline(situation(certificate=validity(6, 4)), [RENEW], days=14, assumed=Assumptions(candidates=True))
    assert shown == [
        (round(2.02 + cycle * 4.02, 2), "p", status)
        for cycle in range(3)
        for status in (DecisionStatus.AWAIT_CANDIDATE, DecisionStatus.ACT)
    ]


def test_a_window_and_an_approval_are_waited_for() -> None:
    asking = replace(RENEW, mode=Mode.APPROVE, windows=(Window("0 2 * * *", HOUR),))
    facts = situation(certificate=validity(90, 20), candidate=candidate())
    assert timeline(facts, [asking]) == [(0, "p", DecisionStatus.AWAIT_APPROVAL)]
    assert timeline(facts, [asking], 60, Assumptions(approvals=True)) == [
        (0, "p", DecisionStatus.AWAIT_APPROVAL),
        (0, "p", DecisionStatus.AWAIT_WINDOW),
        (0.75, "p", DecisionStatus.ACT),
    ]


def test_findings_that_time_brings_come_in_their_time() -> None:
    tell = policy(RemainingBelow(share_of_lifetime(0)), None, notify=Notify(("ops",)))
    shipped = [*shipped_policies(), replace(tell, name="ended")]
    shown = timeline(situation(certificate=validity(47, 20)), shipped, days=30)
    assert shown == [
        (4.33, "replace-in-time", DecisionStatus.AWAIT_CANDIDATE),
        (20, "ended", DecisionStatus.NOTIFY),
    ]


def test_what_comes_to_be_known_later_counts_from_then_on() -> None:
    served = SimulatedEvent(
        NOW + 2 * DAY, "web", lambda facts: replace(facts, findings=(found(Code.NOT_SERVED, NOW + 2 * DAY),))
    )
    happened = simulate([situation()], shipped_policies(), (NOW, NOW + 10 * DAY), [served])
    assert [(each.at, each.decision.status) for each in happened] == [(NOW + 2 * DAY, DecisionStatus.ACT)]


def by_chance(decision: Decision, facts: Situation, now: float) -> Situation:
    """Carry out a decision in a way that only its identity determines."""
    chance = int(decision.identity, 16) % 5
    if chance == 0:
        return succeed(decision, facts, now)
    assert not isinstance(decision.action, Notify)
    result = (Result.COMMITTED, Result.TRANSIENT, Result.TRANSIENT, Result.CANDIDATE)[chance - 1]
    made = attempt(kind_of(decision.action), decision.what, now, result=result, transaction=decision.identity)
    return replace(facts, attempts=(*facts.attempts, made))


def asked_at(
    known: Sequence[Situation], own: Sequence[Policy], times: Sequence[float], future: Sequence[SimulatedEvent]
) -> list[tuple[float, str]]:
    """Return what a loop decides that asks every policy about everything at each of these times."""
    world = {each.subject: each for each in known}
    waiting = sorted(future, key=lambda event: event.at)
    taken: dict[str, None] = {}
    happened = []
    for now in times:
        while waiting and waiting[0].at <= now:
            event = waiting.pop(0)
            world[event.subject] = event.change(world[event.subject])
        news = True
        while news:
            news = False
            for subject, known_now in list(world.items()):
                facts = world[subject] = as_of(known_now, now)
                for decision in decide(facts, own, now).decisions:
                    if decision.identity in taken:
                        continue
                    taken[decision.identity] = None
                    happened.append((now, decision.identity))
                    if decision.status is DecisionStatus.ACT:
                        facts = world[subject] = by_chance(decision, facts, now)
                        news = True
    return happened


@st.composite
def futures(draw: st.DrawFn) -> list[SimulatedEvent]:
    """Return what comes to be known: findings that come and go, candidates, another certificate."""
    events = []
    for _ in range(draw(st.integers(0, 5))):
        at = NOW + draw(st.integers(1, 6 * 24 * 60)) * 60.0
        subject = draw(st.sampled_from(["web", "mail"]))
        news = draw(st.lists(findings(), max_size=2))
        what = draw(
            st.sampled_from(
                [
                    {"findings": tuple(replace(each, since=at) for each in news)},
                    {"candidate": candidate(f"candidate of {at}", at)},
                    {"certificate": validity(draw(st.sampled_from([6, 90])), 5, f"certificate of {at}")},
                    {"drift_since": at},
                ]
            )
        )
        events.append(SimulatedEvent(at, subject, lambda facts, what=what: replace(facts, **what)))  # type: ignore[misc]
    return events


@settings(
    deadline=None, max_examples=examples(20), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    situations("web"),
    situations("mail"),
    st.lists(policies(st.sampled_from(CODES), match=False), min_size=1, max_size=4, unique_by=lambda each: each.name),
    futures(),
)
def test_the_simulation_agrees_with_a_loop_that_asks_all_the_time(
    web: Situation, mail: Situation, own: list[Policy], future: list[SimulatedEvent]
) -> None:
    end = NOW + 7 * DAY
    simulated = simulate([web, mail], own, (NOW, end), future, Assumptions(carry_out=by_chance))
    ticks = {NOW + minutes * 60.0 for minutes in range(0, 7 * 24 * 60 + 1, 15)}
    times = sorted(ticks | {event.at for event in future} | {each.at for each in simulated})
    asked = asked_at([web, mail], own, times, future)
    assert sorted((each.at, each.decision.identity) for each in simulated) == sorted(asked)
