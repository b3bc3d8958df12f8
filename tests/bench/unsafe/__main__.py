"""Rounds from outside on real processes, each of which must end live on a whole set: `python -m tests.bench.unsafe`.

It prints its seed and, for each round that is unsafe, what was done, what is on disk and served, the journal's records,
and the command that plays that round again. The last line is the number, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final

from monitor.lab.process import LabError
from tests.bench.report import Measurement
from tests.bench.unsafe.draw import DrawnContent, Round, one, rounds
from tests.bench.unsafe.house import Cast, UnsafeHouse
from tests.bench.unsafe.judge import remarks, scene, wrong
from tests.bench.unsafe.play import Play
from tests.kit.forks import parent

NUMBERS: Final[Mapping[DrawnContent, int]] = {DrawnContent.KILL: 200, DrawnContent.FOREIGN: 100, DrawnContent.CHAIN: 50}

_TRIES: Final = 5
"""Houses that may come to nothing, of each cast."""


@dataclass
class RoundResult:
    """What came out of many rounds."""

    seed: int
    keep: str = ""
    """Where the house of an unsafe round is copied to; empty for nowhere."""
    played: int = 0
    unsafe: list[str] = field(default_factory=list)
    """The names of the rounds that were."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often what happened."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, house: UnsafeHouse, drawn: Round) -> bool:
        """Play a round and take it into account; returns whether the house can be used again."""
        play = Play(house, drawn)
        try:
            play.run()
            found = wrong(house, play.story)
        except (TimeoutError, OSError, AssertionError) as error:
            found = [f"the round came to no end: {type(error).__name__}: {error}"]
        said = remarks(house, play.story)
        records = house.records()[play.story.before :]
        with self._lock:
            self.played += 1
            self.outcomes[f"{drawn.what}: {'unsafe' if found else _outcome(records)}"] += 1
            self.outcomes.update(each.partition(": ")[2] for each in said)
            if found:
                self.unsafe.append(drawn.name)
                self._report(house, drawn, play, found, records)
            elif self.played % 10 == 0:
                sys.stderr.write(f"{self.played} rounds, {len(self.unsafe)} unsafe\n")
        if found:
            return False
        if house.is_well():
            return True
        thawed = house.mend()
        with self._lock:
            if thawed:
                self.unsafe.append(drawn.name)
                self._report(house, drawn, play, thawed, house.records()[play.story.before :])
        return not thawed

    def _report(
        self,
        house: UnsafeHouse,
        drawn: Round,
        play: Play,
        found: Sequence[str],
        records: Sequence[Mapping[str, object]],
    ) -> None:
        lines = [
            "",
            f"UNSAFE {drawn.name} of seed {self.seed}: {drawn.cast}",
            *(f"  wrong    {each}" for each in found),
            f"  again    python -m tests.bench.unsafe --seed {self.seed} --only {drawn.name}",
            f"  drawn    {drawn}",
            f"  sets     old {play.story.old[:16]}, new {play.story.new[:16]}, theirs {play.story.theirs[:16]}",
            *(f"  scene    {each}" for each in scene(house)),
            *(f"  done     {each}" for each in play.story.log),
            *(f"  journal  {json.dumps(each)}" for each in records),
        ]
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
        if self.keep:
            shutil.copytree(
                house.directory, os.path.join(self.keep, drawn.name), dirs_exist_ok=True, ignore=_no_sockets
            )


def _no_sockets(directory: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if not os.path.isfile(p := os.path.join(directory, name)) and not os.path.isdir(p)]


def _outcome(records: Sequence[Mapping[str, object]]) -> str:
    return next((str(each["outcome"]) for each in reversed(records) if "outcome" in each), "nothing began")


@dataclass(frozen=True, slots=True)
class PlayedWay:
    """How rounds are played."""

    jobs: int = 2
    """Houses at the same time."""
    seconds: float = float("inf")
    """After which none is begun."""
    forks: str = ""
    """Where commands are forked from; empty where each is started anew."""


def play_all(chosen: Sequence[Round], result: RoundResult, way: PlayedWay = PlayedWay()) -> None:
    """Play rounds, those with the same cast in one house."""
    end = time.monotonic() + way.seconds
    by_cast: dict[Cast, list[Round]] = {}
    for each in chosen:
        by_cast.setdefault(each.cast, []).append(each)

    def play(several: Sequence[Round]) -> None:
        waiting, tries = list(several), 0
        while waiting and time.monotonic() < end:
            try:
                with UnsafeHouse(waiting[0].cast, way.forks) as house:
                    while waiting and time.monotonic() < end and result.take(house, waiting.pop(0)):
                        pass
            except (TimeoutError, AssertionError, LabError) as error:
                # A machine that is too busy says nothing of what was to be played.
                tries += 1
                sys.stderr.write(f"{waiting[0].name if waiting else 'the last'}: no house: {str(error)[:200]}\n")
                if tries == _TRIES:
                    raise

    # The longest first, so that none is left alone at the end.
    with ThreadPoolExecutor(way.jobs) as threads:
        for done in [threads.submit(play, several) for several in sorted(by_cast.values(), key=len, reverse=True)]:
            done.result()


def main(arguments: Sequence[str]) -> int:
    """Play, and print the number; returns 1 where a round is unsafe."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.unsafe", description=__doc__)
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated")
    parser.add_argument("--only", action="append", metavar="ROUND", help="such as kill-17; repeatable")
    parser.add_argument("--rounds", type=int, metavar="N", help="so many in all, instead of 350")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after that")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="houses at the same time")
    parser.add_argument("--keep", default="", metavar="DIR", help="copy the files of each unsafe round there")
    parser.add_argument("--starts", action="store_true", help="start each command anew, as a shell does: slower")
    given = parser.parse_args(arguments)
    seed = SystemRandom().randrange(2**32) if given.seed is None else given.seed
    sys.stderr.write(f"seed {seed}\n")
    if given.only:
        names = [each.rpartition("-") for each in given.only]
        chosen: Sequence[Round] = [one(seed, DrawnContent(what), int(number)) for what, _, number in names]
    else:
        chosen = rounds(seed, scaled(given.rounds))
    result = RoundResult(seed, given.keep)
    play_all(chosen, result, PlayedWay(given.jobs, given.seconds, "" if given.starts else parent()))
    for what, times in sorted(result.outcomes.items()):
        sys.stderr.write(f"{times:5}  {what}\n")
    sys.stderr.write(f"{result.played} rounds of seed {seed}; unsafe: {', '.join(result.unsafe) or 'none'}\n")
    number = Measurement("unsafe_rounds", len(set(result.unsafe)), "", 0)
    sys.stdout.write(f"{number.line()}\n")
    return 0 if number.ok else 1


def scaled(rounds_in_all: int | None) -> dict[DrawnContent, int]:
    """Return how many rounds of each kind there are if there are so many in all; by default 200, 100 and 50."""
    whole = sum(NUMBERS.values())
    return {what: -(-many * (rounds_in_all or whole) // whole) for what, many in NUMBERS.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
