"""Starting looks when they are due: never two at the same name, and nothing left under way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from monitor.look.rounds import Rounds
from tests.kit.monitors import until


class Looks:
    """Looks that go on until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now: list[str] = []
        self.most = 0
        self.given_up: list[tuple[str, bool]] = []
        self.let_go = asyncio.Event()
        self.gone: set[str] = set()
        self.rounds = Rounds(self.look, lambda _: 0.01)

    def look(self, name: str, _due: float) -> Coroutine[None, None, None] | None:
        return None if name in self.gone else self._look(name)

    async def _look(self, name: str) -> None:
        self.begun.append(name)
        self.now.append(name)
        self.most = max(self.most, self.now.count(name))
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.given_up.append((name, self.rounds.is_current(name)))
            raise
        finally:
            self.now.remove(name)


async def going_on(looks: Looks) -> asyncio.Task[None]:
    running = asyncio.create_task(looks.rounds.run())
    looks.rounds.hasten(["a", "b"])
    await until(lambda: sorted(looks.now) == ["a", "b"])
    return running


async def end(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_a_name_that_is_due_while_it_is_looked_at_is_looked_at_again_afterwards() -> None:
    async def story() -> None:
        looks = Looks()
        running = await going_on(looks)
        looks.rounds.hasten(["a"])
        looks.rounds.hasten(["c"])
        await until(lambda: "c" in looks.now)
        assert looks.begun == ["a", "b", "c"]
        looks.let_go.set()
        await until(lambda: looks.begun.count("a") == 2)
        assert (looks.most, looks.begun.count("b")) == (1, 1)
        await end(running)

    asyncio.run(story())


def test_a_look_that_is_given_up_is_no_longer_the_current_one_and_one_that_is_forgotten_never_comes() -> None:
    async def story() -> None:
        looks = Looks()
        running = await going_on(looks)
        looks.rounds.give_up("a")
        await until(lambda: looks.given_up == [("a", False)])
        looks.rounds.hasten(["b"])
        looks.rounds.forget("b")
        looks.gone.add("d")
        looks.rounds.hasten(["a", "d"])
        await until(lambda: looks.begun == ["a", "b", "a"])
        assert looks.now == ["a"]
        await end(running)
        # Nothing is left under way, and what ends with all the rest was given up by nobody.
        assert (looks.now, looks.given_up[-1]) == ([], ("a", True))

    asyncio.run(story())
