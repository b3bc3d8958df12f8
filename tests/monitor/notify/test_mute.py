"""A component under a transaction is muted: what outlives that is told, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.channel import Notifications, Route
from config.text import Printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.delivery import DeliveryFate
from monitor.notify.mute import GRACE, LONGEST, SETTLE, ComponentTransaction, muted
from monitor.state.target import TargetState
from probes.finding import finding
from tests.kit.outbox import CHAT, EXPIRED, OPS, UNREACHABLE, Office, at, known

NOW = 1_800_000_000.0


def endpoint(*, looked: float | None) -> TargetState:
    return known("web/a:443", component="web", last_look=looked)


def file(*, looked: float) -> TargetState:
    return known("web/certificate", component="web", kind=TargetKind.FILE, last_look=looked)


@pytest.mark.parametrize(
    ("transaction", "believed", "is_muted"),
    [
        (ComponentTransaction(NOW - 10.0), endpoint(looked=NOW), True),
        (ComponentTransaction(NOW - LONGEST), endpoint(looked=NOW), False),
        (ComponentTransaction(NOW - 20.0, NOW - 10.0), endpoint(looked=NOW - 10.1), True),
        (ComponentTransaction(NOW - 20.0, NOW - 10.0), endpoint(looked=None), True),
        (ComponentTransaction(NOW - 20.0, NOW - 10.0), endpoint(looked=NOW - 9.0), False),
        (ComponentTransaction(NOW - 20.0, NOW - SETTLE / 2), endpoint(looked=NOW), True),
        (ComponentTransaction(NOW - 50.0, NOW - GRACE), endpoint(looked=NOW - 40.0), False),
        # A file that did not change is not looked at again.
        (ComponentTransaction(NOW - 20.0, NOW - 10.0), file(looked=NOW - 15.0), False),
        (ComponentTransaction(NOW - 20.0, NOW - 10.0), known("other", last_look=None), False),
    ],
)
def test_a_component_is_muted_until_its_endpoints_were_looked_at_after_its_transaction(
    transaction: ComponentTransaction, believed: TargetState, is_muted: bool
) -> None:
    assert muted({"web": transaction}, [believed], NOW) == (frozenset({"web"}) if is_muted else frozenset())


def dark(name: str = "web/a:443", component: str = "web", looked: float = 100.0) -> TargetState:
    return known(name, UNREACHABLE, component=component, presented=(), last_look=looked)


def well(name: str = "web/a:443", component: str = "web", looked: float = 100.0) -> TargetState:
    return known(name, component=component, presented=(), last_look=looked)


def test_what_fails_under_a_transaction_and_is_well_after_it_is_not_told() -> None:
    office = Office()
    office.transactions["web"] = ComponentTransaction(1000.0)
    office.believe(dark(), dark("other:443", "other"))
    assert office.at(1001.0) == ["ops: [warning] unreachable: other:443"]
    office.transactions["web"] = ComponentTransaction(1000.0, 1010.0)
    assert office.at(1011.0) == []
    office.believe(well(looked=1012.0))
    assert office.at(1012.5) == office.at(1100.0) == []


def test_what_is_dark_while_a_transaction_is_undone_is_told_once_and_nothing_else() -> None:
    office = Office()
    office.transactions["web"] = ComponentTransaction(1000.0)
    office.believe(dark(), known("web/b:443", EXPIRED, component="web", last_look=100.0))
    assert office.at(1061.0) == []
    office.transactions["web"] = ComponentTransaction(1000.0, undone=True)
    assert office.at(1062.0) == ["ops: [warning] unreachable: web/a:443"]
    office.believe(well(looked=1100.0))
    assert office.at(1101.0) == [], "whether it holds is known after the end"


def test_what_outlives_a_transaction_is_told_once_it_was_looked_at_again() -> None:
    office = Office()
    office.transactions["web"] = ComponentTransaction(1000.0)
    office.believe(dark())
    assert office.at(1001.0) == []
    office.transactions["web"] = ComponentTransaction(1000.0, 1010.0)
    assert office.at(1014.0) == []
    assert office.outbox.next_due() == 1015.0
    office.believe(dark(looked=1012.0))
    assert office.at(1015.0) == ["ops: [warning] unreachable: web/a:443"]


def test_what_was_told_before_is_not_resolved_by_what_a_transaction_does_for_a_moment() -> None:
    office = Office(terms=Notifications(resolved_after=1.0))
    office.believe(dark())
    assert len(office.at(1000.0)) == 1
    office.transactions["web"] = ComponentTransaction(1001.0)
    office.believe(well())
    assert office.at(1002.0) == office.at(1009.0) == []
    office.believe(dark())
    office.transactions["web"] = ComponentTransaction(1001.0, 1010.0)
    office.at(1010.0)
    office.believe(dark(looked=1011.0))
    assert office.at(1015.0) == []
    office.believe(well(looked=1016.0))
    office.at(1017.0)
    assert office.at(1018.0) == ["ops: [resolved] unreachable: web/a:443"]


def test_what_a_transaction_does_to_its_component_makes_nothing_flap() -> None:
    """Two restarts of somebody else, and that of a replacement."""
    office = Office()

    def restart(now: float) -> list[str]:
        office.believe(replace(dark(looked=now), findings=known("x", UNREACHABLE, since=now).findings))
        said = office.at(now + 1.0)
        office.believe(well(looked=now + 12.0))
        return said + office.at(now + 12.0)

    restart(1000.0)
    restart(1100.0)
    office.transactions["web"] = ComponentTransaction(1195.0)
    said = restart(1200.0)
    office.transactions["web"] = ComponentTransaction(1195.0, 1210.0)
    said += restart(1215.0) + office.at(1300.0)
    assert not [title for title in said if "flapping" in title]
    assert any("flapping" in title for title in restart(1400.0)), "the third of somebody else"


@pytest.mark.parametrize(
    ("again", "told"), [(1146.0, ["ops: [warning, worse than before] action_failed: web"]), (1000.0, [])]
)
def test_another_transaction_that_fails_is_told_though_the_first_failure_was_never_resolved(
    again: float, told: list[str]
) -> None:
    """A success lay in between, but the second transaction began before anybody was told of it."""
    office = Office()

    def failed(since: float) -> TargetState:
        said = finding(Code.ACTION_FAILED, Printable("the replace was rolled_back"))
        return known("web", said, component="web", kind=TargetKind.COMPONENT, presented=(), since=since)

    office.believe(failed(1000.0))
    assert office.at(1000.5) == ["ops: [warning] action_failed: web"]
    office.outbox.amend(replace(office.deliveries[-1], fate=DeliveryFate.DELIVERED))
    office.transactions["web"] = ComponentTransaction(1050.0, 1053.0)
    office.believe(known("web", component="web", kind=TargetKind.COMPONENT, presented=()))
    assert office.at(1053.5) == office.at(1070.0) == []
    office.transactions["web"] = ComponentTransaction(1075.0)
    assert office.at(1076.0) == office.at(1101.0) == []
    office.transactions["web"] = ComponentTransaction(1075.0, 1146.0)
    office.believe(failed(again))
    assert office.at(1146.5) == []
    assert office.at(1150.0) == told
    assert office.at(1170.0) == []


# What must last


def test_a_route_that_waits_is_told_once_it_has_been_so_for_that_long() -> None:
    terms = Notifications(routes=(Route(("chat",)), Route(("ops",), lasting=300.0)))
    office = Office({"ops": OPS, "chat": CHAT}, terms)
    office.believe(replace(dark(), findings=known("x", UNREACHABLE, since=1000.0).findings))
    assert office.at(1000.5) == ["chat: [warning] unreachable: web/a:443"]
    assert office.outbox.next_due() == 1300.0
    assert office.at(1299.0) == []
    assert office.at(1300.0) == ["ops: [warning] unreachable: web/a:443"]
    office.believe(well())
    office.at(2000.0)
    assert len(office.at(2030.0)) == 2


def test_what_is_over_before_is_told_to_nobody_who_waits() -> None:
    office = Office(terms=Notifications(routes=(Route(("ops",), lasting=300.0),)))
    office.believe(replace(dark(), findings=known("x", UNREACHABLE, since=1000.0).findings))
    assert office.at(1000.5) == []
    office.believe(well())
    assert office.at(1200.0) == office.at(3000.0) == []


def test_what_was_told_to_who_waits_is_not_resolved_while_it_is_so_again() -> None:
    office = Office(terms=Notifications(routes=(Route(("ops",), lasting=300.0),)))
    office.believe(replace(dark(), findings=known("x", UNREACHABLE, since=1000.0).findings))
    assert len(office.at(1300.0)) == 1
    office.believe(well())
    office.at(1400.0)
    office.believe(replace(dark(), findings=known("x", UNREACHABLE, since=1420.0).findings))
    assert office.at(1420.0) == office.at(1500.0) == office.at(2000.0) == []
    office.believe(well())
    office.at(2100.0)
    assert office.at(2130.0) == ["ops: [resolved] unreachable: web/a:443"]


def test_who_waits_for_what_is_critical_waits_from_when_it_was() -> None:
    office = Office(terms=Notifications(routes=(Route(("ops",), Severity.CRITICAL, lasting=300.0),)))
    office.believe(known("web", at(Severity.WARNING, EXPIRED), since=1000.0))
    assert office.at(2000.0) == []
    office.believe(known("web", EXPIRED, since=1000.0))
    assert office.at(2100.0) == []
    assert office.at(2399.0) == []
    assert office.at(2400.0) == ["ops: [critical] expired: CN=a.example on web"]
