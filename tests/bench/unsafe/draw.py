"""What happens in a round: drawn from a seed, so that it can be played again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from tests.bench.unsafe.house import CASTS, ArtefactShape, Cast

_STEPS: Final = 9
"""Records of a transaction that commits, beside one for each file that is switched."""
_RECOVERY_STEPS: Final = 6
MOST_RECOVERIES: Final = 10
"""Recoveries in a row that are interrupted, at most."""


class DrawnContent(StrEnum):
    """The kinds of rounds."""

    KILL = "kill"
    """Something is killed during a replacement."""
    FOREIGN = "foreign"
    """Somebody else writes the files during a replacement."""
    CHAIN = "chain"
    """A replacement is killed, and one recovery after the other."""


class Victim(StrEnum):
    """Who is killed."""

    COMMAND = "command"
    """`certvigil replace`, which does the work itself or has the actor do it."""
    ACTOR = "actor"
    SERVICE = "service"
    """A command of the service, run by whoever does the work."""


class WritingManner(StrEnum):
    """What somebody else leaves on disk."""

    HALF = "half"
    """A certificate that its key does not fit."""
    WHOLE = "whole"
    """A newer set, file after file."""
    GARBAGE = "garbage"


class DrawnWay(StrEnum):
    """How somebody else writes."""

    IN_PLACE = "in_place"
    RENAME = "rename"
    HELD = "held"
    """Over what was opened before the transaction began."""


@dataclass(frozen=True, slots=True)
class DrawnMoment:
    """When something happens."""

    after: int
    """Records of the journal that come before; 0 counts from the start of the process."""
    delay: float
    """Seconds after that."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What somebody else does."""

    manner: WritingManner
    way: DrawnWay
    component: int
    key_first: bool
    gap: float
    """Seconds between two files."""
    hook: bool
    """Has the service take up what was written, as the hooks of ACME clients do."""
    moment: DrawnMoment


@dataclass(frozen=True, slots=True)
class Round:
    """One round."""

    what: DrawnContent
    number: int
    cast: Cast
    by_hand: bool
    """The command line is handed the candidate and does the work itself, whether or not there is an actor."""
    slow: float
    """Seconds that the service manager takes for whatever it is asked."""
    victim: Victim
    moment: DrawnMoment
    """When the victim is killed."""
    command: int
    """Which command of the service is killed, counted from 1."""
    foreign: Foreign | None
    recoveries: tuple[DrawnMoment, ...]
    """When each recovery is killed."""
    boot: bool
    """The machine has lost power: servers start again once a recovery has ended that leaves them alone."""

    @property
    def name(self) -> str:
        """What it is called within its run."""
        return f"{self.what}-{self.number}"


def rounds(seed: int, numbers: dict[DrawnContent, int]) -> Sequence[Round]:
    """Return so many rounds of each kind."""
    return [one(seed, what, number) for what, many in numbers.items() for number in range(many)]


def one(seed: int, what: DrawnContent, number: int) -> Round:
    """Return one round of a run; it depends on nothing else."""
    chance = Random(f"{seed} {what} {number}")
    # In turn, so that few rounds meet many of them.
    cast = CASTS[(number + Random(f"{seed} {what}").randrange(len(CASTS))) % len(CASTS)]
    # Whoever kills a command that only asks the actor interrupts no recovery.
    by_hand = not cast.actor or (what is not DrawnContent.CHAIN and chance.random() < 0.25)
    slow = chance.choice([0.0, 0.0, round(chance.uniform(0.1, 1.5), 3)])
    changes = sum(2 if part.shape is ArtefactShape.PAIR else 1 for part in cast.parts)
    victims = [Victim.COMMAND] * 3 if by_hand else [Victim.ACTOR] * 3 + [Victim.COMMAND]
    victim = chance.choice([*victims, *([Victim.SERVICE] if what is DrawnContent.KILL else [])])
    if what is DrawnContent.CHAIN:
        victim = victims[0]
    moment = _moment(chance, _STEPS + changes - 1, slow)
    if what is DrawnContent.CHAIN:
        # What has switched nothing is soon recovered from.
        moment = DrawnMoment(chance.randint(4, _STEPS + changes - 1), moment.delay)
    many = chance.randint(1, MOST_RECOVERIES) if what is DrawnContent.CHAIN else 0
    return Round(
        what,
        number,
        cast,
        by_hand,
        slow,
        victim,
        moment,
        chance.randint(1, 2 * len(cast.parts) + 1),
        _foreign(chance, cast, _STEPS + changes, slow) if what is DrawnContent.FOREIGN else None,
        tuple(_moment(chance, _RECOVERY_STEPS, slow) for _ in range(many)),
        chance.random() < 0.25 and what is not DrawnContent.FOREIGN and victim is not Victim.SERVICE,
    )


def _moment(chance: Random, steps: int, slow: float) -> DrawnMoment:
    after = chance.randint(0, steps)
    if after == 0:
        return DrawnMoment(0, round(chance.uniform(0.0, 1.5), 3))
    return DrawnMoment(after, round(chance.uniform(0.0, chance.choice([0.004, 0.04, 0.2, max(0.1, slow)])), 4))


def _foreign(chance: Random, cast: Cast, steps: int, slow: float) -> Foreign:
    moment = _moment(chance, steps, slow)
    return Foreign(
        chance.choice(list(WritingManner)),
        chance.choice(list(DrawnWay)),
        chance.randrange(len(cast.parts)),
        chance.random() < 0.5,
        chance.choice([0.0, round(chance.uniform(0.0, 0.3), 3), round(chance.uniform(0.3, 1.5), 3)]),
        chance.random() < 0.5,
        moment,
    )
