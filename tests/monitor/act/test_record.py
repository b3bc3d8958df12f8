"""Reading the actor's journal for whoever looks at the history."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from actions.journal import Event
from monitor.act.record import RecordReader
from monitor.actor.follow import JournalPosition
from monitor.dialect import iso_exactly


class TellingActor:
    """An actor that tells its journal to each who asks, or nothing at all."""

    def __init__(self, socket: Path) -> None:
        self.socket = str(socket)
        self.asked = 0
        self.length = 3
        self.silent = False
        self.was_asked = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self.was_asked.set()
        await reader.readline()
        if not self.silent:
            for number in range(self.length):
                event = Event.APPROVED if number != 1 else Event.STAGED
                record = {"at": iso_exactly(1e9 + number), "transaction": "", "event": event, "data": {"hash": "ab"}}
                writer.write(json.dumps({"record": record}).encode() + b"\n")
            writer.write(json.dumps({"here": self.length, "epoch": "e"}).encode() + b"\n")
        await reader.read()
        writer.close()


def test_a_journal_is_read_once_for_all_and_again_when_it_has_grown(tmp_path: Path) -> None:
    actor, reader = TellingActor(tmp_path / "s"), RecordReader()

    async def read(sequence: int, epoch: str = "e") -> list[float] | str:
        found = await reader.read(actor.socket, JournalPosition(epoch, sequence))
        return found if isinstance(found, str) else [each.at - 1e9 for each in found]

    async def story() -> None:
        async with await asyncio.start_unix_server(actor.answer, actor.socket):
            together = await asyncio.gather(*(read(3) for _ in range(32)))
            assert (together, actor.asked) == ([[2.0, 0.0]] * 32, 1)
            assert (await read(3), actor.asked) == ([2.0, 0.0], 1)
            actor.length = 5
            assert (await read(4), actor.asked) == ([4.0, 3.0, 2.0, 0.0], 2)
            assert (await read(5), actor.asked) == ([4.0, 3.0, 2.0, 0.0], 2)
            earlier = asyncio.create_task(read(6))
            actor.was_asked.clear()
            await actor.was_asked.wait()
            actor.length = 7
            later = await read(7)
            assert later == [6.0, 5.0, 4.0, 3.0, 2.0, 0.0]
            await earlier

    asyncio.run(story())


def test_whoever_leaves_takes_the_answer_from_nobody_and_a_failure_says_why(tmp_path: Path) -> None:
    actor, reader = TellingActor(tmp_path / "s"), RecordReader(within=0.2)

    async def story() -> None:
        async with await asyncio.start_unix_server(actor.answer, actor.socket):
            position = JournalPosition("e", 3)
            first = asyncio.create_task(reader.read(actor.socket, position))
            second = asyncio.create_task(reader.read(actor.socket, position))
            await asyncio.sleep(0)
            first.cancel()
            assert (len(await second), actor.asked) == (2, 1)
            actor.silent = True
            said = await reader.read(actor.socket, JournalPosition("e", 4))
            assert said == "the actor gave no answer within 0.2 seconds"
        said = await reader.read(f"{actor.socket}2", position)
        assert str(said).startswith("the actor gave no answer: ")

    asyncio.run(story())
