from __future__ import annotations

from config.channel import FindingMatch, Notifications, Route, Silence
from config.vocabulary import Severity
from monitor.notify.mute import ComponentTransaction
from monitor.notify.open_problem import OpenProblem, Quiet
from monitor.notify.outbox import RequestedSilence
from tests.kit.outbox import EXPIRED, EXPIRING, UNREACHABLE, Office, at, known


def problems(office: Office, now: float = 200.0) -> list[OpenProblem]:
    office.at(now)
    return office.outbox.problems(0, 100, now)[1]


def test_a_problem_is_open_though_no_channel_is_there_to_tell() -> None:
    office = Office(channels={})
    office.believe(known("web", EXPIRED), known("mail", UNREACHABLE, since=50.0))
    found = problems(office)
    assert [(each.severity, each.quiet, each.told) for each in found] == [
        (Severity.CRITICAL, Quiet.NO_CHANNEL, {}),
        (Severity.WARNING, Quiet.NO_CHANNEL, {}),
    ]
    assert found[1].text.since == 50.0


def test_a_problem_reads_as_its_message_does() -> None:
    office = Office()
    office.believe(known("web", EXPIRED))
    (problem,) = problems(office)
    message = office.deliveries[0].message
    assert problem.headline in message.title
    assert f"problem {problem.id}" in message.text
    for said in (problem.text.hurts, *problem.text.by_itself, *problem.text.to_act):
        assert said in message.text
    assert (problem.told, problem.quiet) == ({"ops": 200.0}, Quiet.NOT)


def test_a_problem_that_is_over_is_none() -> None:
    office = Office()
    office.believe(known("web", EXPIRED))
    assert len(problems(office)) == 1
    office.believe(known("web"))
    assert problems(office, 300.0) == []


def test_the_worst_come_first_and_some_can_be_asked_for() -> None:
    office = Office(channels={})
    office.believe(known("a", UNREACHABLE), known("b", UNREACHABLE, since=1.0), known("c", EXPIRED))
    office.at(200.0)
    assert [each.members[0].target for each in office.outbox.problems(0, 2, 200.0)[1]] == ["c", "b"]
    total, rest = office.outbox.problems(2, 2, 200.0)
    assert (total, [each.members[0].target for each in rest]) == (3, ["a"])


def test_warnings_are_open_problems_where_only_worse_is_told() -> None:
    office = Office(terms=Notifications(routes=(Route(("ops",), severity=Severity.CRITICAL),)))
    office.believe(known("web", at(Severity.WARNING, EXPIRING)))
    assert [each.quiet for each in problems(office)] == [Quiet.NO_CHANNEL]
    assert office.deliveries == []


def test_a_silence_and_a_transaction_are_named() -> None:
    office = Office(transactions={"mail": ComponentTransaction(190.0)})
    office.outbox.silence(RequestedSilence("abcd", Silence(FindingMatch(("web",)), "known", 900.0), "me", 0.0))
    office.believe(known("web", EXPIRED, presented=()), known("mail", UNREACHABLE, component="mail"))
    quiet = {each.members[0].target: each.quiet for each in problems(office)}
    assert quiet == {"web": Quiet.SILENCED, "mail": Quiet.UNDER_TRANSACTION}


def test_an_acknowledgement_stands_beside_its_problem() -> None:
    office = Office()
    office.believe(known("web", EXPIRED))
    (problem,) = problems(office)
    office.outbox.acknowledge(problem.id, "root (uid 0)", 500.0, 210.0)
    (problem,) = problems(office, 220.0)
    assert problem.acknowledged is not None
    assert problem.acknowledged.who == "root (uid 0)"
    assert office.outbox.problems(0, 1, 600.0)[1][0].acknowledged is None
