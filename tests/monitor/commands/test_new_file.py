"""New files for a person."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from monitor.commands.new_file import write_new_file


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_is_whole_and_for_all_to_read(umask: int, tmp_path: Path) -> None:
    path, before = tmp_path / "new.pem", os.umask(umask)
    try:
        write_new_file(str(path), b"content")
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"content", 0o644)
    assert os.listdir(tmp_path) == ["new.pem"]


@pytest.mark.parametrize("there", ["file", "dangling link", "directory"])
def test_nothing_that_is_there_is_written_over(there: str, tmp_path: Path) -> None:
    path = tmp_path / "there"
    match there:
        case "file":
            path.write_bytes(b"mine")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "nowhere")
    before = path.lstat()
    with pytest.raises(FileExistsError) as raised:
        write_new_file(str(path), b"content")
    assert raised.value.filename == str(path)
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)
    assert os.listdir(tmp_path) == ["there"]


def test_nothing_half_is_left(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_new_file(str(tmp_path / "new.pem"), b"content")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []
