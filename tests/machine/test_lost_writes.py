from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.machine.lost_writes import SECTOR, read_log

FLUSH = 1


def block(letter: str, sectors: int = 1) -> bytes:
    return letter.encode() * SECTOR * sectors


LOG = [(0, block("a"), 0), (1, block("b"), 0), (0, b"", FLUSH), (1, block("c"), 0), (2, block("d", 2), 0)]


def written(requests: Sequence[tuple[int, bytes, int]]) -> bytes:
    """Return the log of requests (first sector, data, flags), as QEMU writes it."""
    parts = [struct.pack("<QQQI", 0x6A736677736872, 1, len(requests), SECTOR).ljust(SECTOR, b"\0")]
    for sector, data, flags in requests:
        parts += [struct.pack("<QQQQ", sector, len(data) // SECTOR, flags, 0).ljust(SECTOR, b"\0"), data]
    return b"".join(parts)


def disk_after(directory: Path, number: int, seed: int) -> str:
    """Return the first letter of each sector of a disk whose power was cut."""
    (directory / "log").write_bytes(written(LOG))
    disk = directory / "disk"
    disk.write_bytes(block(".", 4))
    log = read_log(str(directory / "log"))
    log.apply(log.kept(number, Random(seed)), str(disk))
    data = disk.read_bytes()
    assert all(data[at : at + SECTOR] == data[at : at + 1] * SECTOR for at in range(0, len(data), SECTOR))
    return data[::SECTOR].decode()


def test_what_was_flushed_is_there_and_of_the_rest_any_part_may_be(tmp_path: Path) -> None:
    found = {disk_after(tmp_path, 5, seed) for seed in range(400)}
    assert found == {f"a{one}{two}{three}" for one in "bc" for two in ".d" for three in ".d"}


def test_before_the_flush_nothing_is_certain_and_after_it_everything_before(tmp_path: Path) -> None:
    assert {disk_after(tmp_path, 2, seed) for seed in range(200)} == {"....", "a...", ".b..", "ab.."}
    assert {disk_after(tmp_path, 3, seed) for seed in range(50)} == {"ab.."}
    assert {disk_after(tmp_path, 0, seed) for seed in range(10)} == {"...."}


def test_the_same_seed_loses_the_same(tmp_path: Path) -> None:
    assert [disk_after(tmp_path, 5, seed) for seed in range(30)] == [
        disk_after(tmp_path, 5, seed) for seed in range(30)
    ]


@pytest.mark.parametrize("lost", [1, SECTOR, SECTOR + 1, 3 * SECTOR])
def test_a_request_that_the_log_has_in_part_is_none(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(written(LOG)[:-lost])
    assert len(read_log(str(path))) == len(LOG) - 1
    path.write_bytes(written(LOG) + bytes(4 * SECTOR))
    log = read_log(str(path))
    assert len(log) == len(LOG)
    assert [log.pending(number) for number in range(6)] == [0, 1, 2, 0, 1, 2]
    assert log.after(log.writes[2].end) == 3


def test_another_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(SECTOR))
    with pytest.raises(ValueError, match="is no log of writes"):
        read_log(str(tmp_path / "log"))
