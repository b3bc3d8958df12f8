"""The audit: requests, answers to them and their endings, in entries that each have the hash of the entry before.

Segments are files of JSON lines that are only appended to, and never compacted. The first entry of a segment has the
hash of the last entry of the segment before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from actions.journal import Event, Record, birth
from actions.world import World, write_all
from config.immutable import immutable

SEGMENT: Final = 2**20
"""Bytes after which a segment gets no further entry."""
NOTHING: Final = "0" * 64
"""The hash before the first entry."""
STEPS: Final = frozenset(
    {
        *(Event.BACKED_UP, Event.STAGED, Event.INTENT, Event.SWITCHED, Event.CONFIG_TESTED),
        *(Event.ACTIVATED, Event.VALIDATED, Event.CLOSED, Event.COMMAND, Event.ASIDE, Event.LET_GO),
        Event.REQUEST_CLEARED,
    }
)
"""Records of mere steps, which are in the journal alone."""
_LEAVES: Final = frozenset({"plan", "baseline", "pem"})
"""Parts of a record that are left out for their length; the hash of the plan stays."""
_NAME: Final = re.compile(r"[0-9]{10}\.jsonl")
_HASH: Final = b',"sha256":"%s"}'
_HASH_LENGTH: Final = len(_HASH % NOTHING.encode())


@immutable
class ChainEntry:
    """One line."""

    number: int
    """From 1 on."""
    before: str
    """SHA-256 of the entry before, hexadecimal."""
    record: Mapping[str, Any]
    """As in `summary`."""
    sha256: str
    """Of the text before it in the line, hexadecimal."""

    @property
    def epoch(self) -> str:
        """The epoch of the journal in which its record was written."""
        return str(self.record.get("epoch", ""))

    @property
    def sequence(self) -> int:
        """The number of its record in the journal."""
        return int(self.record.get("sequence", 0))


@immutable
class Break:
    """A place where the chain does not hold."""

    where: str
    """The segment."""
    why: str
    """A sentence without its end."""


@immutable
class Segment:
    """A file."""

    name: str
    data: bytes


def summary(record: Record) -> dict[str, Any]:
    """Return a record as plain values, without the long parts that are in the journal alone."""
    data = {key: value for key, value in record.data.items() if key not in _LEAVES}
    if isinstance(plan := record.data.get("plan"), Mapping):
        data["plan"] = {key: plan[key] for key in ("kind", "components", "group") if key in plan}
    return {
        "at": record.at,
        "transaction": record.transaction,
        "event": record.event,
        "data": data,
        "host": record.host,
        "epoch": record.epoch,
        "sequence": record.sequence,
    }


def encode(number: int, before: str, record: Mapping[str, Any]) -> bytes:
    """Return the line of an entry."""
    body = json.dumps({"number": number, "before": before, "record": record}, separators=(",", ":")).encode()[:-1]
    return body + _HASH % hashlib.sha256(body).hexdigest().encode() + b"\n"


def _decode(line: bytes) -> ChainEntry | None:
    """Return the entry of a line without its end; None where the line is damaged."""
    if line[-_HASH_LENGTH:] != _HASH % hashlib.sha256(line[:-_HASH_LENGTH]).hexdigest().encode():
        return None
    try:
        plain = json.loads(line)
        entry = ChainEntry(int(plain["number"]), str(plain["before"]), dict(plain["record"]), str(plain["sha256"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry


def _whole(data: bytes) -> int:
    """Return the end of the last line that a crash did not interrupt."""
    end = data.rfind(b"\n") + 1
    last = data[data.rfind(b"\n", 0, max(0, end - 1)) + 1 : end]
    # A block that never reached the medium reads as zeros.
    return end - len(last) if b"\0" in last else end


def chain(segments: Iterable[Segment]) -> Iterator[ChainEntry | Break]:
    """Yield each entry and each break of the chain; a line that a crash cut off at the end is no break."""
    number, before, torn = 0, NOTHING, ""
    for segment in segments:
        if torn:
            yield Break(torn, "its last line is cut off, and there is another segment after it")
        whole = _whole(segment.data)
        torn = segment.name if whole < len(segment.data) else ""
        for line in segment.data[:whole].split(b"\n")[:-1]:
            entry = _decode(line)
            if entry is None:
                yield Break(segment.name, f"the entry after entry {number} is damaged")
                continue
            if (entry.number, entry.before) != (number + 1, before):
                yield Break(segment.name, f"entry {entry.number} does not follow entry {number} as it is here")
            number, before = entry.number, entry.sha256
            yield entry


def read(world: World, directory: str, *, backwards: bool = False) -> Iterator[Segment]:
    """Yield each segment, oldest first; none where the directory does not exist. Raises OSError."""
    names = [each for each in world.names(directory) if _NAME.fullmatch(each)]
    for name in reversed(names) if backwards else names:
        yield Segment(name, world.read(os.path.join(directory, name))[1])


def add(world: World, directory: str, records: Sequence[Record]) -> ChainEntry | None:
    """Add the records of a journal that are not in the audit yet; return the last entry, None where there is none.

    Then all is on the medium. `directory` is made where it is missing. Raises OSError: records that were not added are
    added the next time.
    """
    world.make_directory(directory)
    world.sync_directory(os.path.dirname(directory))
    lock = _open(world, os.path.join(directory, "lock"))
    try:
        world.lock(lock, wait=True)
        writer = _Writer(world, directory)
        try:
            writer.find_end()
            for record in writer.missing(records):
                writer.append(record)
        finally:
            writer.close()
    finally:
        world.close(lock)
    return writer.last


def _open(world: World, path: str) -> int:
    try:
        return world.open(path)
    except FileNotFoundError:
        return world.create(path)


class _Writer:
    """Writes behind the last entry, while no other process does."""

    def __init__(self, world: World, directory: str) -> None:
        self._world = world
        self._directory = directory
        self._descriptor: int | None = None
        """The last segment, where there is one."""
        self._end = 0
        self.last: ChainEntry | None = None

    def find_end(self) -> None:
        """Go to the end, and remove a line that a crash interrupted there; raises OSError."""
        for segment in read(self._world, self._directory, backwards=True):
            if self._descriptor is None:
                self._descriptor = self._world.open(os.path.join(self._directory, segment.name))
                self._end = _whole(segment.data)
                if self._end < len(segment.data):
                    self._world.truncate(self._descriptor, self._end)
                # The writer may have been killed before the segment was on the medium.
                self._world.sync(self._descriptor)
            if (last := _last(segment)) is not None:
                self.last = last
                break
        self._world.sync_directory(self._directory)

    def missing(self, records: Sequence[Record]) -> Iterator[Record]:
        """Return the records of a journal that are to be added."""
        journal = birth(records[-1].epoch) if records else ""
        after = self.last.sequence if self.last is not None else 0
        if self.last is not None and birth(self.last.epoch) != journal:
            # Another journal was used in between.
            every = (each for each in chain(read(self._world, self._directory)) if isinstance(each, ChainEntry))
            after = max((each.sequence for each in every if birth(each.epoch) == journal), default=0)
        return (each for each in records if each.sequence > after and each.event not in STEPS)

    def append(self, record: Record) -> None:
        """Write one entry; it is on the medium then. Raises OSError."""
        number, before = (self.last.number, self.last.sha256) if self.last is not None else (0, NOTHING)
        line = encode(number + 1, before, summary(record))
        if self._descriptor is None or self._end >= SEGMENT:
            self.close()
            self._descriptor = self._world.create(os.path.join(self._directory, f"{number + 1:010d}.jsonl"))
            self._end = 0
            self._world.sync_directory(self._directory)
        write_all(self._world, self._descriptor, self._end, line)
        self._world.sync(self._descriptor)
        self._end += len(line)
        self.last = _decode(line[:-1])

    def close(self) -> None:
        """Close the segment."""
        if self._descriptor is not None:
            self._world.close(self._descriptor)
            self._descriptor = None


def _last(segment: Segment) -> ChainEntry | None:
    """Return the last undamaged entry of a segment."""
    lines = segment.data[: _whole(segment.data)].split(b"\n")[:-1]
    return next(filter(None, map(_decode, reversed(lines))), None)
