"""The journal: records of every transaction that outlive a crash; the authority on all of them.

A file of JSON lines, each with the CRC-32 of its own text, each on the medium before the next step is taken. After the
last line there may be zero bytes: reserved space, so that the way back can be recorded on a full disk.

Each record has a sequence number, which grows for as long as there is a journal, and the epoch in which it was written.
An epoch ends where the file is replaced by a shorter file, with the records that still count, their numbers unchanged.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from actions.world import Metadata, World, remove, write_all, write_new
from config.immutable import immutable

_RESERVE: Final = 64 * 1024
_CHECK: Final = b',"crc32":"%08x"}'
_CHECK_LENGTH: Final = len(_CHECK % 0)
_REMEMBERED: Final = 512
"""Lines of which the records are remembered: a process opens the journal for one request after the other."""


class Event(StrEnum):
    """The meaning of a record."""

    BEGIN = "begin"
    BACKED_UP = "backed_up"
    STAGED = "staged"
    INTENT = "intent"
    SWITCHED = "switched"
    CONFIG_TESTED = "config_tested"
    ACTIVATED = "activated"
    COMMAND = "command"
    """A command of a service is about to do something; it is over where any record of its transaction follows."""
    COMMAND_OVER = "command_over"
    """The fate of a command whose end is in no record: a killed process left it, or its end could not be written."""
    VALIDATED = "validated"
    ROLLING_BACK = "rolling_back"
    RECOVERING = "recovering"
    """Recovery has made the files a whole set, and goes on with the services: an attempt that counts."""
    STARTED = "started"
    """A dead service of components that are being frozen is started, once."""
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    FAILED_FORWARD = "failed_forward"
    SUPERSEDED = "superseded"
    CLOSED = "closed"
    """No file is left beside the targets, except those noted as ASIDE."""
    ASIDE = "aside"
    """Replaced files stay linked beside the targets for a while."""
    WRITTEN_LATE = "written_late"
    """Somebody wrote to such a file: the written content is kept."""
    LET_GO = "let_go"
    """Such files were removed, at the end of their time."""
    FROZEN = "frozen"
    THAWED = "thawed"
    """An operator has declared the component right."""
    QUARANTINED = "quarantined"
    RELEASED = "released"
    REFUSED = "refused"
    """A transaction that was asked for did not begin."""
    DECLINED = "declined"
    """An action that was asked for was refused before there was a transaction."""
    PROPOSED = "proposed"
    """A plan waits for approval."""
    WITHDRAWN = "withdrawn"
    """A plan that waited is no longer wanted: its cause or its candidate is gone."""
    UNNEEDED = "unneeded"
    """A candidate was removed from an inbox, since it is installed already."""
    APPROVED = "approved"
    REJECTED = "rejected"
    COMPACTED = "compacted"
    """Records that no longer count were left out before it; it begins an epoch, and has the totals of all records."""
    KEY_GIVEN_UP = "key_given_up"
    """An operator has declared private keys compromised: they never return."""
    KEY_REINSTATED = "key_reinstated"
    """An operator has taken that back."""
    REQUESTED = "requested"
    """A request for a certificate was made; its key is on the medium."""
    REQUEST_WITHDRAWN = "request_withdrawn"
    """A request that waited is no longer answered: it was cancelled, or its time is over."""
    ROOT_CONFIRMED = "root_confirmed"
    """An operator has seen a root in a trust store of other machines."""
    ROOT_GONE = "root_gone"
    """An operator has seen that such a store does not have a root."""
    REQUEST_CLEARED = "request_cleared"
    """The key that was made for a request is no longer in the directory of such keys."""
    OFFERED = "offered"
    """Somebody without rights has brought certificates over the socket."""
    OFFER_WITHDRAWN = "offer_withdrawn"
    """An offer was taken out unused: somebody withdrew it, its time is over, or it is installed already."""


ENDED: Final = frozenset({Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD, Event.SUPERSEDED})


class JournalError(Exception):
    """A record could not be written, or the journal cannot be trusted; the message is a sentence, printable."""


@immutable
class Record:
    """One line of the journal."""

    at: float
    """Unix time."""
    transaction: str
    event: Event
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain values; never the content of a file."""
    host: str = ""
    """The host that wrote it; empty where that is not known."""
    epoch: str = field(default="", compare=False)
    """The epoch in which it was written; given by the journal, like the number."""
    sequence: int = field(default=0, compare=False)
    """Its number, from 1 on; no number is given twice."""


@immutable
class Decoded:
    """The content of a journal's bytes."""

    records: tuple[Record, ...]
    end: int
    """Offset behind the last whole record."""
    torn: bool
    """Behind `end` lies a record that a crash interrupted: its writer never learnt that it was kept."""


@immutable
class Shorter:
    """The records that replace all records of a journal."""

    kept: Sequence[Record]
    """Some of them, in their order."""
    note: Record
    """Comes after them, and begins the new epoch."""


def birth(epoch: str) -> str:
    """Return the part of an epoch that identifies its journal."""
    return epoch.partition("-")[0]


def _next_epoch(epoch: str) -> str:
    before, _, number = epoch.partition("-")
    return f"{before}-{int(number) + 1}"


def encode(record: Record) -> bytes:
    """Return the line of a record."""
    host = {"host": record.host} if record.host else {}
    place = {"epoch": record.epoch, "sequence": record.sequence} if record.sequence else {}
    body = json.dumps(
        {"at": record.at, **host, **place, "transaction": record.transaction, "event": record.event, **record.data},
        separators=(",", ":"),
    ).encode()[:-1]
    return body + _CHECK % zlib.crc32(body) + b"\n"


def decode(data: bytes) -> Decoded:
    """Return the records; raises JournalError where a line that was once complete is damaged."""
    records: list[Record] = []
    end = 0
    while (newline := data.find(b"\n", end)) >= 0:
        line = data[end:newline]
        # Blocks of a record that never reached the medium read as zeros, since the space was reserved before.
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
    """Whether it is zeros only; comparing is a hundred times as fast as stripping for the reserved space."""
    return data == bytes(len(data))


def _intact(line: bytes) -> bool:
    return line[-_CHECK_LENGTH:] == _CHECK % zlib.crc32(line[:-_CHECK_LENGTH])


def _decode_line(line: bytes, number: int) -> Record:
    if not _intact(line):
        raise JournalError(f"line {number} of the journal is not what was written: its checksum is wrong")
    try:
        return _record(line)
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"line {number} of the journal is of a kind this version does not know") from error


@lru_cache(maxsize=_REMEMBERED)
def _record(line: bytes) -> Record:
    plain = json.loads(line)
    del plain["crc32"]
    at, host = float(plain.pop("at")), str(plain.pop("host", ""))
    epoch, sequence = str(plain.pop("epoch", "")), int(plain.pop("sequence", 0))
    transaction, event = str(plain.pop("transaction")), Event(plain.pop("event"))
    return Record(at, transaction, event, plain, host=host, epoch=epoch, sequence=sequence)


class Journal:
    """The journal's file, open for appending; several processes may have it open."""

    def __init__(self, world: World, path: str, host: str = "") -> None:
        """Open the journal, made where it is missing; `host` stands in each record that is appended.

        Raises JournalError where it cannot be opened or cannot be trusted.
        """
        self._world = world
        self._path = path
        self._host = host
        self._broken: str | None = None
        self._records: list[Record] = []
        self._end = 0
        # The bytes before it are known to be on the medium.
        self._synced = 0
        # Its name is known to be on the medium.
        self._named = False
        self.appended = 0
        """The number of records that this object has written."""
        try:
            self._descriptor = self._open()
            self.records()
        except OSError as error:
            raise JournalError(f"the journal cannot be opened: {error.strerror}") from error

    def _open(self) -> int:
        self._named = False
        try:
            return self._world.open(self._path)
        except FileNotFoundError:
            pass
        try:
            descriptor = self._world.create(self._path)
        except FileExistsError:
            return self._world.open(self._path)
        self._sync_name()
        return descriptor

    def _sync_name(self) -> None:
        self._world.sync_directory(os.path.dirname(self._path))
        self._named = True

    @property
    def size(self) -> int:
        """Bytes of the records that were read so far."""
        return self._end

    def records(self) -> Sequence[Record]:
        """Return every record, also those of other processes; raises JournalError, OSError."""
        while not self._world.is_at(self._descriptor, self._path):
            self._reopen()
        self._read_on()
        return self._records

    def _reopen(self) -> None:
        """Go on with the file that is at the path now: another process has put a shorter file there."""
        self._take_up(self._open(), [], 0)

    def _take_up(self, descriptor: int, records: list[Record], end: int) -> None:
        """Turn to another file, which is known to be on the medium up to `end`."""
        old, self._descriptor = self._descriptor, descriptor
        self._records, self._end, self._synced = records, end, end
        self._world.close(old)

    def append(self, record: Record) -> None:
        """Return once the record is on the medium.

        The first record of a transaction reserves space for the following records. Raises JournalError: then the record
        may or may not have been kept, and this journal takes no other record.
        """
        if self._broken:
            raise JournalError(self._broken)
        try:
            self._lock()
            try:
                self._append(replace(record, host=self._host), _RESERVE if record.event is Event.BEGIN else 0)
            finally:
                self._world.unlock(self._descriptor)
        except OSError as error:
            # After a failed fsync the page may count as clean: a later record would prove nothing.
            self._broken = f"the journal cannot be written: {error.strerror}"
            raise JournalError(self._broken) from error
        except JournalError as error:
            self._broken = str(error)
            raise

    def _lock(self) -> None:
        """Lock the file that is at the path now; a process that replaces it holds the lock of the old file."""
        self._world.lock(self._descriptor, wait=True)
        while not self._world.is_at(self._descriptor, self._path):
            # Closing the old file releases its lock.
            self._reopen()
            self._world.lock(self._descriptor, wait=True)

    def _append(self, record: Record, reserve: int) -> None:
        behind = self._read_on()
        record = self._placed(record, self._epoch())
        line = encode(record)
        if not self._named:
            # The process that made the file may have been killed before its name was on the medium.
            self._sync_name()
        if self._synced < self._end:
            # The writer of the last record may have been killed before the fsync: a new record could follow a hole.
            self._world.sync(self._descriptor)
        if not _blank(behind):
            # Blanked, not cut off: cutting would release the reserved space.
            write_all(self._world, self._descriptor, self._end, bytes(len(behind.rstrip(b"\0"))))
            self._world.sync(self._descriptor)
        if reserve and len(behind) < reserve + len(line):
            self._world.reserve(self._descriptor, self._end, reserve + len(line))
        write_all(self._world, self._descriptor, self._end, line)
        self._world.sync(self._descriptor)
        self._records.append(record)
        self.appended += 1
        self._end += len(line)
        self._synced = self._end

    def _epoch(self) -> str:
        return (self._records[-1].epoch if self._records else "") or f"{secrets.token_hex(4)}-1"

    def _placed(self, record: Record, epoch: str) -> Record:
        last = self._records[-1].sequence if self._records else 0
        return replace(record, epoch=epoch, sequence=last + 1)

    def shorten(self, choose: Callable[[Sequence[Record]], Shorter | None]) -> bool:
        """Replace the file by a file with the records that `choose` returns; return whether that was done.

        No process appends meanwhile, and a process that has the old file open turns to the new file before it reads or
        appends. A crash at any moment leaves the old file or the new file. Raises JournalError.
        """
        if self._broken:
            raise JournalError(self._broken)
        try:
            self._lock()
            try:
                self._read_on()
                chosen = choose(tuple(self._records))
                if chosen is None:
                    return False
                records = [
                    *chosen.kept,
                    self._placed(replace(chosen.note, host=self._host), _next_epoch(self._epoch())),
                ]
                descriptor, end = self._write_beside(records)
                try:
                    self._world.rename(self._beside, self._path)
                except OSError:
                    self._world.close(descriptor)
                    raise
                self._named = False
                self._take_up(descriptor, records, end)
                self._sync_name()
            finally:
                # The lock of the old file, or by now of the new file.
                self._world.unlock(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                remove(self._world, self._beside)
            raise JournalError(f"the journal cannot be compacted: {error.strerror}") from error
        return True

    @property
    def _beside(self) -> str:
        return f"{self._path}.new"

    def _write_beside(self, records: Sequence[Record]) -> tuple[int, int]:
        """Return another file with these records, whole, on the medium and locked, and its length; raises OSError."""
        data = b"".join(map(encode, records))
        # A killed process may have left such a file.
        remove(self._world, self._beside)
        status = self._world.stat(self._path)
        write_new(self._world, self._beside, data, Metadata(0o600, status.st_uid, status.st_gid))
        descriptor = self._world.open(self._beside)
        # Held until its name is on the medium: a record appended before that could be lost with the name.
        self._world.lock(descriptor, wait=True)
        return descriptor, len(data)

    def _read_on(self) -> bytes:
        """Take in records of other processes; returns the bytes behind the last record."""
        data = self._world.read_at(self._descriptor, self._end)
        decoded = decode(data)
        self._records.extend(decoded.records)
        self._end += decoded.end
        return data[decoded.end :]

    def close(self) -> None:
        """Close the file."""
        self._world.close(self._descriptor)
