"""What happens on the host, and what was said about it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.kit.receivers import MessageReceiver, ReceivedMessage

AFTERWARDS: Final = 20.0
"""Seconds after an event for which what is said of the same place counts as said about it."""
_CURED_WITHIN: Final = 90.0
"""Seconds: while something of the same problem lasts, that half of it is over is told once it is so for a minute."""
_OF_A_FAULT: Final = 4
"""Messages: one to the channel for everything and one to the pager, each once more where the problem becomes worse.

It does where another server refuses connections in the same seconds, as the one that flaps may.
"""


@dataclass
class StageRow:
    """One event, and what came of it."""

    where: str
    what: str
    expected: str
    began: float
    """Unix time."""
    ended: float = 0.0
    said: list[tuple[str, ReceivedMessage]] = field(default_factory=list)
    """By channel."""
    missed: str = ""
    """What was not said, or not in time."""
    most: int = 0
    """Messages that may be said about it, over all channels."""

    @property
    def is_cure(self) -> bool:
        """Whether it is the end of a fault."""
        return self.expected.endswith("resolved")

    @property
    def as_expected(self) -> bool:
        """Whether nothing was missed, and no more said than should have been."""
        return not self.missed and len(self.said) <= self.most


@dataclass
class Stage:
    """Keeps the account; each part of the play runs in a thread of its own."""

    receivers: Mapping[str, MessageReceiver]
    rows: list[StageRow] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def quietly(self, where: str, what: str, most: int = 0) -> Iterator[None]:
        """Do inside the block what nobody is to be told of, or what is worth `most` messages."""
        row = self._row(where, what, f"{most} messages at most" if most else "nothing")
        row.most = most
        yield
        row.ended = time.time()

    def fault(
        self,
        where: str,
        what: str,
        *,
        code: str,
        within: float,
        cause: Callable[[], object],
        cure: Callable[[], object],
    ) -> None:
        """Have something go wrong that is to be told, and its cure; each is to be told once, and in time."""
        row = self._row(where, what, code)
        row.most = _OF_A_FAULT
        cause()
        row.began = time.time()
        self._await(row, lambda got: f" {code}: " in got.title and not is_of_a_cure(got), within)
        row.ended = time.time()
        row = self._row(where, f"{what}: cured", f"{code} resolved")
        row.most = len(self.receivers)
        cure()
        row.began = time.time()
        self._await(row, lambda got: f" {code}: " in got.title and is_of_a_cure(got), _CURED_WITHIN)
        row.ended = time.time()

    def _row(self, where: str, what: str, expected: str) -> StageRow:
        row = StageRow(where, what, expected, time.time())
        with self._lock:
            self.rows.append(row)
        return row

    def _await(self, row: StageRow, is_it: Callable[[ReceivedMessage], bool], within: float) -> None:
        while time.time() < row.began + within:
            for channel, got in self._since(row.began):
                if is_it(got) and is_about(got, row.where):
                    row.said.append((channel, got))
                    return
            time.sleep(0.1)
        row.missed = f"not told within {within:.0f} s"

    def _since(self, at: float) -> Iterator[tuple[str, ReceivedMessage]]:
        for channel, receiver in self.receivers.items():
            yield from ((channel, got) for got in tuple(receiver.accepted) if got.at >= at)

    def settle_accounts(self) -> list[tuple[str, ReceivedMessage]]:
        """Give each message that nobody waited for to the event that it is about; return those that fit none.

        A message to a second channel, and one that says that a told fault became worse, belong to that fault.
        """
        left: list[tuple[str, ReceivedMessage]] = []
        counted = {id(got) for row in self.rows for _, got in row.said}
        for channel, got in self._since(0.0):
            if id(got) in counted:
                continue
            about = [
                row
                for row in self.rows
                if is_about(got, row.where) and row.began <= got.at and row.is_cure == is_of_a_cure(got)
            ] or [row for row in self.rows if is_about(got, row.where) and row.began <= got.at]
            fitting = [row for row in about if row.expected.split()[0] in got.title] or [
                row for row in about if got.at <= row.ended + AFTERWARDS
            ]
            if fitting:
                max(fitting, key=lambda row: row.began).said.append((channel, got))
            else:
                left.append((channel, got))
        return left


def is_of_a_cure(got: ReceivedMessage) -> bool:
    """Whether a message says that something is right again, or most of it."""
    return got.title.startswith("[resolved]") or "less than before" in got.title


def is_about(got: ReceivedMessage, where: str) -> bool:
    """Whether a message names a target of that component, or an endpoint that this pattern matches."""
    return re.search(rf"(?<![\w-])(?:{where})(?![\w-])", f"{got.title}\n{got.text}") is not None


def table(rows: list[StageRow], left: list[tuple[str, ReceivedMessage]], width: int = 150) -> str:
    """Return the account as text."""
    lines = [_line(("", "where", "event", "expected", "said"), width)]
    for row in sorted(rows, key=lambda each: each.began):
        said = "; ".join(f"{channel} after {got.at - row.began:.1f} s: {got.title}" for channel, got in row.said)
        mark = "ok" if row.as_expected else "WRONG"
        lines.append(_line((mark, row.where, row.what, row.expected, row.missed or said or "nothing"), width))
    lines.extend(
        _line(("WRONG", "", "nothing that was done", "nothing", f"{channel}: {got.title}"), width)
        for channel, got in left
    )
    return "\n".join(lines)


def _line(row: tuple[str, str, str, str, str], width: int) -> str:
    mark, where, what, expected, said = row
    head = f"{mark:<6}{where:<9}{what:<78} {expected:<28} "
    return head + said if len(head) + len(said) <= width else f"{head}\n{'':<15}{said}"
