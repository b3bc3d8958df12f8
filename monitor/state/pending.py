"""When a finding is pending: seen and shown, but not told, since it may be a state between two writes or two looks.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from config.catalogue import GROUP_MEMBERS
from config.immutable import immutable
from config.vocabulary import Code, Group, Severity
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate
from probes.finding import Finding

_OF_WRITERS: Final = frozenset(
    code
    for group in (Group.CHAIN, Group.NAME, Group.KEY, Group.STATE, Group.SOURCE)
    for code in GROUP_MEMBERS[group]
    if code is not Code.KEY_EXPOSED
)
"""Findings that a further write of the same renewal may mend; who has read an exposed key, no write undoes."""
_PASSING: Final = frozenset(
    {
        *(Code.UNREACHABLE, Code.ENDPOINTS_DISAGREE, Code.CLIENT_CERTIFICATE_FAILED),
        Code.MUST_STAPLE_WITHOUT_STAPLE,
    }
)
"""Findings that a restart or a reload of a service, or the renewal of a client certificate, causes for a moment."""
ROLL_OUT: Final = 60.0
"""Seconds in which the servers behind the addresses of one name may take up a new certificate, one after the other; and
in which a server may fetch the OCSP answer that it staples (nginx asks for it once the first client has come)."""
UNREST: Final = 30.0
"""Seconds for which a file that is written to without a pause is not judged."""
RESTART: Final = 20.0
"""Seconds that a service may take to restart."""
AGAIN: Final = 3
"""Times of going dark lately that are no restart any more, but a service that comes and goes."""
OFTEN: Final = 5
"""The same of a service that comes back within `SURE` seconds each time."""
REMEMBERED: Final = 100
"""Times of going dark, the newest, that are remembered of an endpoint."""
LATELY: Final = 1200.0
"""Seconds."""
_MANY: Final = 5
"""Servers that go dark at the same time: more than one service."""
SURE: Final = 5.0
"""Seconds without an answer before which nothing is critical, however many looks there were: each file that is written
brings one."""
EXPECTED: Final = 60.0
"""Seconds after a change of a component's files in which its service is expected to restart."""

CLOCK_TRIED: Final = 600.0
"""Seconds after a step of the clock for which what the clock alone makes wrong is nobody's news: the clock may be put
right in that time. Where the kernel counts it as synchronised before, it is told then. The actor does not believe it
as long as that either (`actions.clock.DISTRUST`)."""
CLOCK_TRIED_AT_MOST: Final = 3 * CLOCK_TRIED
"""Seconds after the first of many steps, from which on it is told nevertheless: the clock of a guest that is put right
each few minutes would keep all silent for ever."""
BY_CLOCK: Final = frozenset(
    {
        *(Code.EXPIRED, Code.EXPIRING, Code.NOT_YET_VALID, Code.CLIENT_REJECTS),
        *(Code.CRL_STALE, Code.REVOCATION_UNKNOWN),
    }
)
"""Findings that a wrong clock may cause; lists and OCSP answers have dates, too."""


class ClockSteps:
    """The last step of the wall clock, as far as judgements by the clock wait for it."""

    def __init__(self) -> None:
        self.stepped_at: float | None = None
        """Monotonic time; None where there was none lately."""
        self._first_at = 0.0
        """When the first of those steps was that followed one another."""

    def stepped(self, steady: float) -> None:
        """Note a step at that monotonic time."""
        if self.stepped_at is None:
            self._first_at = steady
        self.stepped_at = steady

    def is_tried(self, steady: float) -> bool:
        """Whether there was a step, and nothing waits for the clock longer than until that monotonic time."""
        if self.stepped_at is None:
            return False
        return steady - self.stepped_at >= CLOCK_TRIED or steady - self._first_at >= CLOCK_TRIED_AT_MOST

    def forget(self) -> None:
        """Note that nothing waits for the clock any more."""
        self.stepped_at = None

    def awaits(self, finding: Finding) -> bool:
        """Whether a finding waits for the clock to be put right."""
        return self.stepped_at is not None and finding.code in BY_CLOCK


def awaits_rest(raised: Raised, left_alone: float, settle: float, now: float) -> bool:
    """Whether a finding about a file of no component waits at Unix time `now` for whoever is writing to it.

    The file was left alone for so many seconds; `settle` seconds are enough. One that is written to all the time is
    judged as it is after `UNREST` seconds.
    """
    return raised.finding.code in _OF_WRITERS and left_alone < settle and now - raised.since < UNREST


def awaits_writers(
    raised: Raised, endpoints: Iterable[TargetState], now: float, patience: float, last_whole: Certificate | None
) -> bool:
    """Whether a finding about the files of a component waits at Unix time `now` for somebody to finish them.

    People and configuration management write key and certificate up to minutes apart. That is nobody's news while
    what the `endpoints` of the component serve stays as it was, or becomes the `last_whole` one that was on disk;
    after `patience` seconds it is.
    """
    if raised.finding.code not in _OF_WRITERS or now - raised.since >= patience:
        return False
    return not any(_took_it_up(each, raised.since, last_whole) for each in endpoints)


def awaits_files(raised: Raised, *, lacks_a_file: bool, touched: float, now: float, patience: float) -> bool:
    """Whether a finding about an inbox waits at Unix time `now` for the rest of a candidate.

    It does where nothing but that `lacks_a_file`, until the inbox, last `touched` then, was left alone for `patience`
    seconds.
    """
    return (
        lacks_a_file and raised.finding.code is Code.CANDIDATE_REFUSED and now - max(raised.since, touched) < patience
    )


def _took_it_up(endpoint: TargetState, since: float, last_whole: Certificate | None) -> bool:
    """Whether an endpoint broke since then, or presents something else.

    A service that is reloaded, or looked at, only after the next renewal began has taken up the one before.
    """
    if endpoint.last_look is None:
        return False
    broke = any(
        each.finding.severity is Severity.CRITICAL and each.since >= since for each in endpoint.findings.values()
    )
    return broke or (endpoint.since > since and last_whole not in endpoint.presented)


@immutable
class Darkness:
    """What is known of servers that do not answer; Unix times."""

    others: tuple[float, ...] = ()
    """Since when each server does not answer, this one included."""
    before: tuple[float, ...] = ()
    """When this endpoint last began not to answer, this time included, oldest first; but not after its component's
    files were changed, since a restart follows these."""
    expected: bool = False
    """The component's files were changed just before."""
    starting_until: float = 0.0
    """Until when the unit of its service may still be on its way to answer, by the service manager."""


def awaits_second_look(raised: Raised, state: TargetState, every: float, darkness: Darkness, now: float) -> bool:
    """Whether a finding about an endpoint that is looked at `every` so many seconds waits at Unix time `now`.

    A service that restarts refuses connections for seconds; servers that take up a certificate one after the other
    present two for longer.
    Where many servers went dark with this one, or it goes dark again and again, that is no restart of one service, and
    it waits for `SURE` seconds. Else people are told of a warning and, a second later, of something critical. One that
    is dark for less each time, but very often, is told at once: no later look would find it dark.
    """
    finding = raised.finding
    if finding.code not in _PASSING:
        return False
    again = len([at for at in darkness.before if now - at <= LATELY])
    if finding.code is Code.UNREACHABLE:
        if now < darkness.starting_until:
            return True
        # Not where another address of the server answers: then none of these times is this one.
        if again >= OFTEN and darkness.before[-1] >= raised.since:
            return False
    if (finding.code, finding.subject) not in state.pending:
        return True
    if finding.code in {Code.ENDPOINTS_DISAGREE, Code.MUST_STAPLE_WITHOUT_STAPLE}:
        return now - raised.since < ROLL_OUT
    if finding.code is not Code.UNREACHABLE or now - raised.since >= (
        RESTART if darkness.expected else min(RESTART, every)
    ):
        return False
    if again < AGAIN and sum(abs(since - raised.since) <= RESTART for since in darkness.others) < _MANY:
        return True
    # Those before this look; there are none where another address of the server answers.
    return state.failures > 0 and now - raised.since < SURE
