"""What is pending: seen, shown, and told only where it lasts or somebody suffers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.text import Printable, printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.act.status import CandidateStatus
from monitor.lab.ca import Authority
from monitor.state.pending import RESTART, ROLL_OUT, SURE, Darkness, awaits_files, awaits_second_look, awaits_writers
from monitor.state.target import Raised, TargetState
from probes.certificate import certificate
from probes.finding import finding

PATIENCE = 300.0
BEGAN = 1_000.0
WELL = TargetState("e", TargetKind.ENDPOINT, "192.0.2.1:443", since=BEGAN - 500, last_look=BEGAN)

BEFORE = certificate(Authority.root().issue("www.example.com").der())
LATE = replace(WELL, presented=(BEFORE,), since=BEGAN + 5)
"""It presents the last whole set only since the next renewal began."""


def broken(since: float, severity: Severity = Severity.CRITICAL) -> TargetState:
    found = finding(Code.CLIENT_REJECTS, Printable("why"), Printable("browser"), severity)
    return replace(WELL, findings={(found.code, found.subject): Raised(found, since)})


@pytest.mark.parametrize(
    ("code", "endpoint", "later", "waits"),
    [
        pytest.param(Code.KEY_MISMATCH, LATE, 10, True, id="the service took up the renewal before"),
        pytest.param(Code.KEY_MISMATCH, WELL, 10, True, id="a half written pair"),
        pytest.param(Code.NEXT_RELOAD_BREAKS, WELL, 10, True, id="an intermediate that is still to come"),
        pytest.param(Code.KEY_MISMATCH, None, 10, True, id="nothing is known of what is served"),
        pytest.param(Code.KEY_MISMATCH, WELL, PATIENCE, False, id="nobody finished it"),
        pytest.param(Code.EXPIRED, WELL, 10, False, id="what no further write mends"),
        pytest.param(Code.KEY_EXPOSED, WELL, 0, False, id="what no further write undoes"),
        pytest.param(Code.KEYS_UNREAD, WELL, 10, False, id="what is no writer's"),
        pytest.param(Code.KEY_MISMATCH, broken(BEGAN + 5), 10, False, id="what is served broke since"),
        pytest.param(Code.KEY_MISMATCH, broken(BEGAN - 5), 10, True, id="what is served was broken before"),
        pytest.param(Code.KEY_MISMATCH, broken(BEGAN + 5, Severity.WARNING), 10, True, id="nobody suffers"),
        pytest.param(Code.KEY_MISMATCH, replace(WELL, since=BEGAN + 5), 10, False, id="the service took it up"),
        pytest.param(Code.KEY_MISMATCH, replace(WELL, last_look=None, since=BEGAN + 5), 10, True, id="no look yet"),
    ],
)
def test_a_finding_about_a_set_waits_for_its_writer(
    code: Code, endpoint: TargetState | None, later: float, *, waits: bool
) -> None:
    endpoints = [] if endpoint is None else [endpoint]
    assert (
        awaits_writers(Raised(finding(code, Printable("why")), BEGAN), endpoints, BEGAN + later, PATIENCE, BEFORE)
        is waits
    )


REFUSED = Raised(finding(Code.CANDIDATE_REFUSED, Printable("no_candidate: no_key: why")), BEGAN)


@pytest.mark.parametrize(
    ("objections", "touched", "later", "waits"),
    [
        pytest.param([("no_candidate", "no_key: why")], BEGAN, 10, True, id="its key may be on its way"),
        pytest.param([("no_candidate", "undecodable: why")], BEGAN, 10, True, id="a file may be half written"),
        pytest.param([("no_candidate", "no_certificate: why")], BEGAN, 10, True, id="a file may still be empty"),
        pytest.param([("incomplete_chain", "why")], BEGAN, 10, True, id="its chain may be on its way"),
        pytest.param([("no_candidate", "no_key: why")], BEGAN, PATIENCE, False, id="the inbox was left alone"),
        pytest.param([("no_candidate", "no_key: why")], 0.0, PATIENCE, False, id="it lay there at the start"),
        pytest.param([("no_candidate", "no_key: why")], BEGAN + 200, PATIENCE, True, id="another file came since"),
        pytest.param([("no_candidate", "several_leaves: why")], BEGAN, 10, False, id="no file mends it"),
        pytest.param([("incomplete_chain", "why"), ("too_short", "why")], BEGAN, 10, False, id="more is wrong"),
    ],
)
def test_a_candidate_waits_for_the_rest_of_its_files(
    objections: list[tuple[str, str]], touched: float, later: float, *, waits: bool
) -> None:
    lacks = CandidateStatus(
        objections=tuple((printable(ground), printable(detail)) for ground, detail in objections)
    ).lacks_a_file
    now = BEGAN + later
    assert awaits_files(REFUSED, lacks_a_file=lacks, touched=touched, now=now, patience=PATIENCE) is waits


def test_an_unsafe_inbox_waits_for_nothing() -> None:
    unsafe = Raised(finding(Code.INBOX_UNSAFE, Printable("why")), BEGAN)
    assert not awaits_files(unsafe, lacks_a_file=True, touched=BEGAN, now=BEGAN, patience=PATIENCE)


UNREACHABLE = finding(Code.UNREACHABLE, Printable("connection_refused: why"), Printable("192.0.2.1"))
SEEN_BEFORE = replace(WELL, pending={(Code.UNREACHABLE, "192.0.2.1"): Raised(UNREACHABLE, BEGAN)})
SEEN_ONCE, SEEN_TWICE = (replace(SEEN_BEFORE, failures=failures) for failures in (1, 2))
_TOGETHER = [BEGAN + each for each in range(5)]
_AGAIN = [BEGAN - 60, BEGAN - 30, BEGAN]
_OFTEN = [*(BEGAN - each for each in (300, 200, 100, 50)), BEGAN]


@pytest.mark.parametrize(
    ("known", "others", "before", "later", "every", "waits"),
    [
        pytest.param(WELL, [BEGAN], [], 0, 300, True, id="the first look that fails"),
        pytest.param(SEEN_BEFORE, [BEGAN], [], 2, 300, True, id="a service that restarts"),
        pytest.param(SEEN_BEFORE, [BEGAN], [], RESTART, 300, False, id="a service that stays away"),
        pytest.param(SEEN_BEFORE, [BEGAN], [], 1, 1, False, id="one that is looked at each second"),
        pytest.param(SEEN_TWICE, _TOGETHER, [], SURE, 300, False, id="many go dark at once"),
        pytest.param(SEEN_TWICE, _TOGETHER, [], 2, 300, True, id="the next look says how bad it is"),
        pytest.param(SEEN_ONCE, _TOGETHER, [], 10, 300, False, id="many hang"),
        pytest.param(SEEN_BEFORE, _TOGETHER, [], 2, 300, False, id="only one address of each goes dark"),
        pytest.param(SEEN_BEFORE, [BEGAN, *[BEGAN - 60] * 9], [], 2, 300, True, id="others were dark long before"),
        pytest.param(SEEN_TWICE, [BEGAN], _AGAIN, SURE, 300, False, id="it comes and goes"),
        pytest.param(SEEN_TWICE, [BEGAN], _AGAIN, 2, 300, True, id="it comes, goes, and may be back at the next look"),
        pytest.param(WELL, [BEGAN], _OFTEN, 0, 300, False, id="it is dark for a moment, very often"),
        pytest.param(WELL, [BEGAN], _OFTEN[1:], 0, 300, True, id="it is dark for a moment, often"),
        pytest.param(WELL, [BEGAN], [*_OFTEN[:4], BEGAN - 1], 0, 300, True, id="another address answers this time"),
        pytest.param(WELL, [BEGAN], [BEGAN - 9000, *_OFTEN[1:]], 0, 300, True, id="it was so over a long time"),
        pytest.param(SEEN_BEFORE, [BEGAN], [BEGAN - 9000, BEGAN - 30, BEGAN], 2, 300, True, id="it did so long ago"),
    ],
)
def test_an_endpoint_that_does_not_answer_waits_for_more_looks(
    known: TargetState, others: list[float], before: list[float], later: float, every: float, *, waits: bool
) -> None:
    darkness = Darkness(tuple(others), tuple(before))
    assert awaits_second_look(Raised(UNREACHABLE, BEGAN), known, every, darkness, BEGAN + later) is waits


def test_a_server_whose_files_were_changed_just_before_may_take_its_time_to_restart() -> None:
    later, often = BEGAN + RESTART - 1, 5
    for is_expected in (True, False):
        darkness = Darkness((BEGAN,), expected=is_expected)
        assert awaits_second_look(Raised(UNREACHABLE, BEGAN), SEEN_TWICE, often, darkness, later) is is_expected
    darkness = Darkness((BEGAN,), expected=True)
    assert not awaits_second_look(Raised(UNREACHABLE, BEGAN), SEEN_TWICE, often, darkness, BEGAN + RESTART)


def test_a_server_whose_unit_is_starting_is_nobodys_news_until_its_time_is_up() -> None:
    for later, waits in ((29, True), (30, False)):
        darkness = Darkness(tuple(_TOGETHER), tuple(_OFTEN), starting_until=BEGAN + 30)
        raised = Raised(UNREACHABLE, BEGAN)
        assert awaits_second_look(raised, SEEN_TWICE, 1, darkness, BEGAN + later) is waits


def test_addresses_that_disagree_wait_for_a_roll_out_over_all_of_them() -> None:
    disagree = finding(Code.ENDPOINTS_DISAGREE, Printable("why"))
    assert awaits_second_look(Raised(disagree, BEGAN), WELL, 300, Darkness(), BEGAN)
    seen = replace(WELL, pending={(Code.ENDPOINTS_DISAGREE, ""): Raised(disagree, BEGAN)})
    assert awaits_second_look(Raised(disagree, BEGAN), seen, 300, Darkness(), BEGAN + ROLL_OUT - 1)
    assert not awaits_second_look(Raised(disagree, BEGAN), seen, 300, Darkness(), BEGAN + ROLL_OUT)


def test_what_clients_reject_waits_for_nothing() -> None:
    assert not awaits_second_look(
        Raised(finding(Code.CLIENT_REJECTS, Printable("why"), Printable("browser")), BEGAN),
        WELL,
        300,
        Darkness(),
        BEGAN,
    )
