"""What was done and what is under way, in records that outlive a crash: the authority on every transaction.

A file of JSON lines, each with the CRC-32 of what stands before it, each on the medium before the next step is taken.
After the last line there may be zero bytes: space set aside, so that a full disk can still be told of the way back.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from actions.world import World, write_all

_RESERVE: Final = 64 * 1024
_CHECK: Final = b',"crc32":"%08x"}'
_CHECK_LENGTH: Final = len(_CHECK % 0)


class Event(StrEnum):
    """What a record says."""

    BEGIN = "begin"
    BACKED_UP = "backed_up"
    STAGED = "staged"
    INTENT = "intent"
    SWITCHED = "switched"
    CONFIG_TESTED = "config_tested"
    ACTIVATED = "activated"
    VALIDATED = "validated"
    ROLLING_BACK = "rolling_back"
    RECOVERING = "recovering"
    """Recovery has made the files a whole set, and goes on with the services: an attempt that counts."""
    STARTED = "started"
    """A service that answers nobody, of components that are being frozen, is started, once."""
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    FAILED_FORWARD = "failed_forward"
    CLOSED = "closed"
    """Nothing is left beside the targets."""
    FROZEN = "frozen"
    THAWED = "thawed"
    """An operator has put the component right."""
    QUARANTINED = "quarantined"
    RELEASED = "released"
    REFUSED = "refused"
    """A transaction that was asked for did not begin."""
    PROPOSED = "proposed"
    """A plan waits for approval."""
    WITHDRAWN = "withdrawn"
    """A plan that waited is no longer wanted: its cause, or its candidate, is gone."""
    UNNEEDED = "unneeded"
    """A candidate was taken out of an inbox, since it is what is installed."""
    APPROVED = "approved"
    REJECTED = "rejected"
    KEY_GIVEN_UP = "key_given_up"
    """An operator has said that private keys are compromised: nothing brings them back."""
    KEY_REINSTATED = "key_reinstated"
    """An operator has taken that back."""


ENDED: Final = frozenset({Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD})


class JournalError(Exception):
    """A record could not be written, or the journal cannot be trusted; the message is a sentence, printable."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal."""

    at: float
    """Unix time."""
    transaction: str
    event: Event
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain values; never the content of a file."""
    host: str = ""
    """Where it was written; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the bytes of a journal amount to."""

    records: tuple[Record, ...]
    end: int
    """Offset behind the last whole record."""
    torn: bool
    """Behind `end` lies a record that a crash interrupted: its writer was never told that it was kept."""


def encode(record: Record) -> bytes:
    """Return the line of a record."""
    host = {"host": record.host} if record.host else {}
    body = json.dumps(
        {"at": record.at, **host, "transaction": record.transaction, "event": record.event, **record.data},
        separators=(",", ":"),
    ).encode()[:-1]
    return body + _CHECK % zlib.crc32(body) + b"\n"


def decode(data: bytes) -> Decoded:
    """Return the records; raises JournalError where a line that was once written whole is not what was written."""
    records: list[Record] = []
    end = 0
    while (newline := data.find(b"\n", end)) >= 0:
        line = data[end:newline]
        # Blocks of a record that never reached the medium read as zeros, since the space was set aside before.
        if b"\0" in line:
            break
        records.append(_decode_line(line, len(records) + 1))
        end = newline + 1
    rest = data[end:]
    torn = not _blank(rest)
    for line in rest.split(b"\n")[1:] if torn else ():
        if line.endswith(b'"}') and _intact(line):
            raise JournalError(f"the journal has a hole after line {len(records)}, and whole records behind it")
    return Decoded(tuple(records), end, torn)


def _blank(data: bytes) -> bool:
    """Whether it is zeros only; by comparing, which for the space set aside is a hundred times as fast as stripping."""
    return data == bytes(len(data))


def _intact(line: bytes) -> bool:
    return line[-_CHECK_LENGTH:] == _CHECK % zlib.crc32(line[:-_CHECK_LENGTH])


def _decode_line(line: bytes, number: int) -> Record:
    if not _intact(line):
        raise JournalError(f"line {number} of the journal is not what was written: its checksum is wrong")
    try:
        plain = json.loads(line)
        del plain["crc32"]
        at, host = float(plain.pop("at")), str(plain.pop("host", ""))
        return Record(at, str(plain.pop("transaction")), Event(plain.pop("event")), plain, host)
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"line {number} of the journal is of a kind this version does not know") from error


class Journal:
    """The journal's file, open for appending; several processes may have it open."""

    def __init__(self, world: World, path: str, host: str = "") -> None:
        """Open the journal, made where it is missing; `host` stands in what is appended.

        Raises JournalError where it cannot be opened or cannot be trusted.
        """
        self._world = world
        self._host = host
        self._broken: str | None = None
        try:
            self._descriptor = self._open(path)
            self._records: list[Record] = []
            self._end = 0
            # What lies before it is known to be on the medium.
            self._synced = 0
            self.records()
        except OSError as error:
            raise JournalError(f"the journal cannot be opened: {error.strerror}") from error

    def _open(self, path: str) -> int:
        try:
            return self._world.open(path)
        except FileNotFoundError:
            pass
        try:
            descriptor = self._world.create(path)
        except FileExistsError:
            return self._world.open(path)
        self._world.sync_directory(os.path.dirname(path))
        return descriptor

    def records(self) -> Sequence[Record]:
        """Return every record, also those that others wrote; raises JournalError, OSError."""
        self._read_on()
        return self._records

    def append(self, record: Record) -> None:
        """Return once the record is on the medium.

        The first of a transaction has space set aside for those that follow. Raises JournalError: then the record may
        or may not have been kept, and this journal takes no other.
        """
        if self._broken:
            raise JournalError(self._broken)
        record = replace(record, host=self._host)
        line = encode(record)
        try:
            self._world.lock(self._descriptor, wait=True)
            try:
                self._append(line, _RESERVE if record.event is Event.BEGIN else 0)
            finally:
                self._world.unlock(self._descriptor)
        except OSError as error:
            # After a failed fsync the page may count as clean: whatever is written behind it would prove nothing.
            self._broken = f"the journal cannot be written: {error.strerror}"
            raise JournalError(self._broken) from error
        except JournalError as error:
            self._broken = str(error)
            raise
        self._records.append(record)
        self._end += len(line)
        self._synced = self._end

    def _append(self, line: bytes, reserve: int) -> None:
        behind = self._read_on()
        if self._synced < self._end:
            # Whoever wrote it may have been killed before the fsync: what comes now could be left behind a hole.
            self._world.sync(self._descriptor)
        if not _blank(behind):
            # Blanked, not cut off: cutting would give back the space that was set aside.
            write_all(self._world, self._descriptor, self._end, bytes(len(behind.rstrip(b"\0"))))
            self._world.sync(self._descriptor)
        if reserve and len(behind) < reserve + len(line):
            self._world.reserve(self._descriptor, self._end, reserve + len(line))
        write_all(self._world, self._descriptor, self._end, line)
        self._world.sync(self._descriptor)

    def _read_on(self) -> bytes:
        """Take in what others wrote; returns what lies behind the last record."""
        data = self._world.read_at(self._descriptor, self._end)
        decoded = decode(data)
        self._records.extend(decoded.records)
        self._end += decoded.end
        return data[decoded.end :]

    def close(self) -> None:
        """Close the file."""
        self._world.close(self._descriptor)
