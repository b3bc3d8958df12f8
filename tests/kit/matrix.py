"""A matrix of cells, played by their names in whatever order the runs come to them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from tests.kit.worlds import NotReachedError

C = TypeVar("C")

_ATTEMPTS: Final = 5
_MOST_TRACES: Final = 40


class Share(NamedTuple):
    """One of several shares of all names, the same in every run."""

    number: int = 0
    of: int = 1

    def has(self, name: str) -> bool:
        """Whether a name is in it."""
        return zlib.crc32(name.encode()) % self.of == self.number


EVERYTHING: Final = Share()


def some(of: int, whose: str) -> Share:
    """Return one share of so many, another for each owner."""
    return Share(zlib.crc32(whose.encode()) % of, of)


def played(
    generate: Callable[[], Iterable[C]],
    play: Callable[[C], Iterable[str]],
    share: Share = EVERYTHING,
    *,
    or_none: bool = False,
) -> list[str]:
    """Play every cell of a share, and return what is wrong; that there is no cell at all, too, unless `or_none`.

    Where a run does not come to a cell (NotReachedError), its trace is another than the one that the cells are from:
    then they are generated again, those that are new are played as well, and the cell has its turn again. One that no
    run comes to is wrong.
    """
    done: set[str] = set()
    missed: Counter[str] = Counter()
    traces = 0

    def fresh() -> dict[str, C]:
        nonlocal traces
        traces += 1
        named = {str(each): each for each in generate()}
        assert named or or_none, "there is no cell"
        assert traces <= _MOST_TRACES, f"no two runs have the same cells: {sorted(named)}"
        return {name: each for name, each in named.items() if share.has(name) and name not in done}

    wrong: list[str] = []
    waiting = fresh()
    while waiting:
        name = next(iter(waiting))
        cell = waiting.pop(name)
        try:
            wrong += [f"{name}: {each}" for each in play(cell)]
        except NotReachedError as error:
            missed[name] += 1
            if missed[name] < _ATTEMPTS:
                waiting = {name: cell} | waiting | fresh()
                continue
            wrong.append(f"{name}: not reached in {_ATTEMPTS} runs ({error})")
        done.add(name)
    return wrong
