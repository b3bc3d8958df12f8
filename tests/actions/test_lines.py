"""What a configuration file includes is read within bounds, however its owner has written it."""

from __future__ import annotations

import errno
import os
import time
from typing import Final

import pytest

from actions.lines import MOST_INCLUDED, MOST_INCLUDED_BYTES, edited
from config.model import ConfigLine
from config.vocabulary import LineSyntax
from probes.line import lighttpd, xml
from probes.line.syntax import LARGEST

LINE: Final = ConfigLine("/c/x.conf", LineSyntax.LIGHTTPD, "ssl.ca-file", "/c/chain.crt", "/c/web.pem")
XML: Final = ConfigLine("/c/x.xml", LineSyntax.XML, "ssl/certificate_chain_file", "/c/chain.crt")
BEGIN: Final = b'ssl.pemfile = "/c/web.pem"\n'
TOO_MUCH: Final = (
    f"it includes more than {MOST_INCLUDED} files or {MOST_INCLUDED_BYTES} bytes, which may set ssl.ca-file"
)


class Disk:
    """Files in memory, and how often they were read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_files: list[str] = []
        self.read_directories: list[str] = []

    def resolve(self, path: str) -> str:
        return os.path.normpath(path)

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        self.read_files.append(path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.stat("/"), self.files[path]

    def names(self, directory: str) -> tuple[str, ...]:
        self.read_directories.append(directory)
        return tuple(sorted(os.path.basename(each) for each in self.files if os.path.dirname(each) == directory))


def made(main: bytes, files: dict[str, bytes], line: ConfigLine = LINE) -> bytes | str | None:
    return edited(line, main, Disk(files), wanted=True)


def included(number: int, size: int = 0) -> dict[str, bytes]:
    return {f"/c/d/{each}.conf": f"# {each}".encode().ljust(size, b"\n") for each in range(number)}


def test_as_many_files_as_a_server_has_are_read() -> None:
    main = BEGIN + b'include "d/*.conf"\n'
    assert isinstance(made(main, included(MOST_INCLUDED, MOST_INCLUDED_BYTES // MOST_INCLUDED)), bytes)


@pytest.mark.parametrize(
    ("main", "files"),
    [
        (b'include "d/*.conf"\n', included(MOST_INCLUDED + 1)),
        (b'include "d/*.conf"\n', included(8, MOST_INCLUDED_BYTES // 8 + 1)),
        (b'include "d/no-such"\n' * (MOST_INCLUDED + 1), {}),
        (b"".join(b'include "d/%d.conf"\n' % each for each in range(MOST_INCLUDED + 1)), included(MOST_INCLUDED + 1)),
        (b'include "d/' + b"[" * 100_000 + b'"\n', included(1)),
        (b'include "d/?*.conf"\n', {f"/c/d/{each}": b"" for each in range(5000)}),
        (b'include "0"\n', {f"/c/{each}": f'include "{each + 1}"\n'.encode() for each in range(100)}),
    ],
    ids=["files", "bytes", "patterns", "names", "long-pattern", "directory", "nested"],
)
def test_beyond_the_bounds_of_what_is_included_a_person_adds_the_line(main: bytes, files: dict[str, bytes]) -> None:
    said = made(BEGIN + main, files)
    assert isinstance(said, str)
    assert said.startswith(f"/c/x.conf is not edited: {TOO_MUCH}; add this line yourself")


def test_files_that_include_each_other_are_read_once_each() -> None:
    files = {"/c/a.conf": b'include "b.conf"\n', "/c/b.conf": b'include "a.conf"\ninclude "x.conf"\n'}
    disk = Disk(files)
    assert isinstance(edited(LINE, BEGIN + b'include "a.conf"\ninclude "*.conf"\n', disk, wanted=True), bytes)
    assert sorted(disk.read_files) == sorted(files)


def test_a_directory_of_many_patterns_is_read_once() -> None:
    disk = Disk(included(3))
    assert isinstance(edited(LINE, BEGIN + b'include "d/*.conf"\n' * 20, disk, wanted=True), bytes)
    assert disk.read_directories == ["/c/d"]


def test_a_file_whose_name_is_no_ascii_is_found() -> None:
    said = made(BEGIN + 'include "d/\u00e4*.conf"\n'.encode(), {"/c/d/\u00e4\u00f6.conf": b'ssl.ca-file = "x"\n'})
    assert isinstance(said, str)
    assert "ssl.ca-file is set in /c/d/\u00e4\u00f6.conf" in said


def test_each_file_is_parsed_once_for_a_plan() -> None:
    lighttpd._parsed.cache_clear()
    assert isinstance(made(BEGIN + b'include "d/*.conf"\n', {**included(3), "/c/d/odd.conf": b"# no more"}), bytes)
    assert lighttpd._parsed.cache_info().misses == len(["before", "after", "0", "1", "2", "odd"])
    xml._parsed.cache_clear()
    assert isinstance(made(b"<a><ssl>\n</ssl></a>", {}, XML), bytes)
    assert xml._parsed.cache_info().misses == len(["before", "after"])


def _full(unit: bytes, begin: bytes = BEGIN, end: bytes = b"") -> bytes:
    return begin + unit * ((LARGEST - len(begin) - len(end)) // len(unit)) + end


@pytest.mark.parametrize(
    "main",
    [
        _full(b"a=1\n"),
        _full(b"{}"),
        _full(b"if\n"),
        _full(b'a="\\""'),
        _full(b" #\n"),
        _full(b'ssl.pemfile="x"\n', b'{ssl.ca-file="/c/chain.crt"}' * 5000 + b'{ssl.ca-file="/c/chain.crt"\n', b"}"),
        _full(b'include "d/*.conf"\n'),
        _full(b'include "d/[!'),
    ],
)
def test_the_worst_file_takes_a_bounded_time(main: bytes) -> None:
    files = included(8, MOST_INCLUDED_BYTES // 8 - 1)
    begun = time.process_time()
    edited(LINE, main + b"\n", Disk(files), wanted=True)
    assert time.process_time() - begun < 5.0


@pytest.mark.parametrize("main", [_full(b"<a/>", b"<r><ssl></ssl>", b"</r>"), _full(b"<ssl>", b"<r>")])
def test_the_worst_xml_takes_a_bounded_time(main: bytes) -> None:
    begun = time.process_time()
    assert isinstance(made(main, {}, XML), str)
    assert time.process_time() - begun < 5.0
