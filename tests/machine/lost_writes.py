"""What a disk may hold after its power was cut, by the log of its writes and flushes.

QEMU's `blklogwrites` notes each write and each flush in the format of the kernel's dm-log-writes: a superblock, and
then for each request a sector with its header (little endian, 64 bits each: first sector, number of sectors, flags,
length) and the data. A flush that was answered makes all writes before it in the log durable. Of the later writes,
which the guest knew to be in the disk's cache at most, any may be lost, each by itself, and a write may be torn between
two sectors of 512 bytes.

What is not simulated: a disk that lies about a flush, that writes a sector by half, or that damages what it does not
write.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

SECTOR: Final = 512
_MAGIC: Final = 0x6A736677736872
_HEADER: Final = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8


class LoggedWrite(NamedTuple):
    """A request of the guest to its disk, as logged."""

    sector: int
    sectors: int
    flags: int
    offset: int
    """Where its data is in the log."""
    end: int
    """Where the next one begins."""

    @property
    def is_flush(self) -> bool:
        """Whether everything before it was durable once it was answered."""
        return bool(self.flags & _FLUSH)


class KeptWrite(NamedTuple):
    """A part of a write that did reach the medium."""

    sector: int
    sectors: int
    offset: int


@dataclass(frozen=True, slots=True)
class WriteLog:
    """The log of one run."""

    path: str
    writes: tuple[LoggedWrite, ...]

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.writes)

    def after(self, size: int) -> int:
        """Return how many requests lie in the first `size` bytes of the log."""
        return sum(each.end <= size for each in self.writes)

    def kept(self, number: int, draw: Random) -> Iterator[KeptWrite]:
        """Yield what reached the medium where the power was cut after the first `number` requests."""
        given = self.writes[:number]
        durable = max((at for at, each in enumerate(given) if each.is_flush), default=-1) + 1
        for each in given[:durable]:
            yield from _whole(each)
        # None, all, or each by chance.
        likely = draw.choice((0.0, 1.0, draw.random()))
        for each in given[durable:]:
            if each.flags & _FUA:
                yield from _whole(each)
            elif draw.random() < 0.2:
                yield from _torn(each, likely, draw)
            elif draw.random() < likely:
                yield from _whole(each)

    def pending(self, number: int) -> int:
        """Return how many writes no flush had made durable after the first `number` requests."""
        given = self.writes[:number]
        durable = max((at for at, each in enumerate(given) if each.is_flush), default=-1) + 1
        return sum(each.sectors > 0 for each in given[durable:])

    def apply(self, kept: Iterator[KeptWrite], disk: str) -> None:
        """Write it to a file that is a raw disk."""
        log, target = os.open(self.path, os.O_RDONLY), os.open(disk, os.O_WRONLY)
        try:
            for each in kept:
                data = os.pread(log, each.sectors * SECTOR, each.offset)
                os.pwrite(target, data, each.sector * SECTOR)
        finally:
            os.close(log)
            os.close(target)


def _whole(write: LoggedWrite) -> Iterator[KeptWrite]:
    if write.sectors and not write.flags & _DISCARD:
        yield KeptWrite(write.sector, write.sectors, write.offset)


def _torn(write: LoggedWrite, likely: float, draw: Random) -> Iterator[KeptWrite]:
    for part in _whole(write):
        for at in range(part.sectors):
            if draw.random() < likely:
                yield KeptWrite(part.sector + at, 1, part.offset + at * SECTOR)


def read_log(path: str) -> WriteLog:
    """Return the log at `path`, up to the first request that is not whole; raises ValueError where it is none."""
    writes: list[LoggedWrite] = []
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic, version, _count, sector = struct.unpack("<QQQI", file.read(28))
        if (magic, version, sector) != (_MAGIC, 1, SECTOR):
            raise ValueError(f"{path} is no log of writes")
        at = SECTOR
        while at + SECTOR <= size:
            file.seek(at)
            first, number, flags, length = _HEADER.unpack(file.read(_HEADER.size))
            # Behind the last request the file is empty, or has never been written.
            if not (number or flags) or flags >= 2 * _MARK:
                break
            data = at + SECTOR
            end = data + (0 if flags & _DISCARD else number * SECTOR)
            if flags & _MARK:
                end = data + -(-length // SECTOR) * SECTOR
            if end > size:
                break
            writes.append(LoggedWrite(first, 0 if flags & _MARK else number, flags, data, end))
            at = end
    return WriteLog(path, tuple(writes))
