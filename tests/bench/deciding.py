"""CPU of deciding about everything: ten thousand targets, of which a few per cent want something, and fifty policies.

Nothing is taken over from an earlier pass: it is what a start, or a changed configuration, costs.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from config.catalogue import GROUP_MEMBERS
from config.model import DAY
from config.policy import (
    Activate,
    AllOf,
    AnyOf,
    CandidatePresent,
    ClientRejects,
    HasFinding,
    Not,
    Notify,
    Policy,
    PolicyMatch,
    Regressed,
    RemainingBelow,
    Replace,
    Rollback,
    Window,
    days_left,
    share_of_lifetime,
)
from config.vocabulary import Code, Group, Mode, Severity
from monitor.decide.situation import FindingState, Situation, Validity
from monitor.decide.table import DecisionTable
from tests.bench.report import Measurement

TARGETS: Final = 10_000
ROUNDS: Final = 7
_NOW: Final = 1_800_000_000.0
_TEAMS: Final = tuple(f"team{number}" for number in range(10))
_LIFETIMES: Final = (6, 47, 90, 200, 398)
_TROUBLED: Final = 0.05
"""The share of targets with something wrong."""


def measure() -> Iterator[Measurement]:
    """Yield the CPU time of a full pass, the median of several."""
    known = _situations(random.Random(1))
    seconds = []
    for _ in range(ROUNDS):
        table = DecisionTable(_policies())
        for each in known:
            table.learn(each)
        start = time.process_time()
        decisions = table.decide(_NOW)
        seconds.append(time.process_time() - start)
    start = time.process_time()
    table.decide(_NOW + 60)
    idle = time.process_time() - start
    _say(f"{len(decisions)} decisions; a minute later, nothing having changed, {idle * 1000:.2f} ms")
    yield Measurement("decision_pass_cpu_ms", round(statistics.median(seconds) * 1000, 1), "ms", 100)


def _policies() -> Sequence[Policy]:
    """Return five policies for each team, of which some are for all."""
    found: list[Policy] = []
    for number, team in enumerate(_TEAMS):
        own = PolicyMatch(labels={"team": (team,)})
        night = Window(f"0 {number} * * *", 7200, "Europe/Zurich")
        chain = HasFinding(GROUP_MEMBERS[Group.CHAIN], "chain", Severity.CRITICAL)
        not_served = HasFinding(frozenset({Code.NOT_SERVED}), "not_served", lasting=900)
        found += [
            Policy(f"{team}-renew", RemainingBelow(share_of_lifetime(0.33)), Replace(), None, own, (night,)),
            Policy(f"{team}-serve", not_served, Activate(), None, windows=(night,)),
            Policy(f"{team}-chain", AllOf((chain, Not(CandidatePresent()))), None, Notify(("ops",))),
            Policy(f"{team}-undo", AnyOf((Regressed(3600), ClientRejects("java"))), Rollback()),
            Policy(f"{team}-late", RemainingBelow(days_left(5 + number)), None, Notify(("ops",)), own),
        ]
    return found


def _situations(chance: random.Random) -> Sequence[Situation]:
    found = []
    for number in range(TARGETS):
        name = f"target{number}"
        lifetime = chance.choice(_LIFETIMES) * DAY
        # Nearly all are renewed when a third is left.
        begun = _NOW - chance.random() * lifetime * 0.69
        troubled = chance.random() < _TROUBLED
        wrong = (FindingState(name, chance.choice(list(Code)), Severity.WARNING, _NOW - 1000),) if troubled else ()
        found.append(
            Situation(
                name,
                Mode.AUTO,
                (name,),
                is_component=True,
                labels={"team": chance.choice(_TEAMS)},
                findings=wrong,
                certificate=Validity(name, begun, begun + lifetime),
            )
        )
    return found


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
