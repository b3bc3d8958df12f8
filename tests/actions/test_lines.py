"""What a configuration file includes is read within bounds, however its owner has written it."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from actions.lines import MOST_INCLUDED, MOST_INCLUDED_BYTES, Users, edited, writers
from actions.world import World
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


ROOT: Final[Users] = frozenset()


class Disk:
    """Files in memory, and how often they were read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_files: list[str] = []
        self.read_directories: list[str] = []

    def read_as(self, path: str, users: Users) -> tuple[os.stat_result, bytes]:  # noqa: ARG002 (root's)
        self.read_files.append(path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.stat("/"), self.files[path]

    def names_as(self, directory: str, users: Users) -> tuple[str, ...]:  # noqa: ARG002 (root's)
        self.read_directories.append(directory)
        return tuple(sorted(os.path.basename(each) for each in self.files if os.path.dirname(each) == directory))


def made(main: bytes, files: dict[str, bytes], line: ConfigLine = LINE) -> bytes | str | None:
    return edited(line, main, ROOT, Disk(files), wanted=True)


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
    assert isinstance(edited(LINE, BEGIN + b'include "a.conf"\ninclude "*.conf"\n', ROOT, disk, wanted=True), bytes)
    assert sorted(disk.read_files) == sorted(files)


def test_a_directory_of_many_patterns_is_read_once() -> None:
    disk = Disk(included(3))
    assert isinstance(edited(LINE, BEGIN + b'include "d/*.conf"\n' * 20, ROOT, disk, wanted=True), bytes)
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


def test_an_included_file_that_cannot_be_read_as_configuration_sets_nothing_and_is_said() -> None:
    said = made(BEGIN + b'include "notes"\n', {"/c/notes": b"Dear (reader,\nssl.ca-file is a setting.\n"})
    what = "it includes /c/notes, which cannot be read as lighttpd's"
    assert said is not None
    assert str(said).startswith(f"/c/x.conf is not edited: {what}; add this line yourself, and plan again: ssl.ca-file")


SERVICE: Final = 4711
SETS: Final = b'ssl.ca-file = "/x"\n'


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("gives files to another user")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def included_by(owner: int, pattern: object, place: Path, mode: int = 0o644) -> str:
    """Return why a configuration file of this owner is not edited; empty where it is."""
    main = place / "lighttpd.conf"
    main.write_bytes(BEGIN + f'include "{pattern}"\n'.encode())
    line = ConfigLine(str(main), LineSyntax.LIGHTTPD, "ssl.ca-file", "/c/chain.crt", "/c/web.pem")
    said = edited(line, main.read_bytes(), writers(owner, mode), World(), wanted=True)
    return said if isinstance(said, str) else ""


def kept(path: Path, mode: int, directory_mode: int = 0o755, owner: int = 0, data: bytes = SETS) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.chown(path, owner, owner)
    path.parent.chmod(directory_mode)
    return path


@pytest.mark.parametrize(("mode", "directory"), [(0o644, 0o700), (0o644, 0o711), (0o600, 0o755), (0o640, 0o750)])
@pytest.mark.parametrize("data", [SETS, b"export SECRET=(\n", b"x" * MOST_INCLUDED_BYTES])
def test_a_user_of_a_service_learns_no_name_and_no_size_of_a_file_that_is_closed_to_it(
    place: Path, mode: int, directory: int, data: bytes
) -> None:
    secret = kept(place / "closed" / "name.conf", mode, directory, data=data)
    can_list, can_read = directory & 0o005 == 0o005, mode & 0o004 and directory & 0o001
    for number in range(0 if can_list else MOST_INCLUDED):
        kept(place / "closed" / f"{number}.conf", mode, directory)
    for pattern in (secret.parent / "*", *(() if can_read else (secret,))):
        assert included_by(SERVICE, pattern, place) == ""
        assert included_by(0, pattern, place, 0o664) == "", "whoever is of its group"
    assert included_by(0, secret, place) != "", "root may include anything"


def test_what_a_user_of_a_service_may_read_is_read_for_it(place: Path) -> None:
    for each in (kept(place / "open" / "x.conf", 0o644), kept(place / "own" / "x.conf", 0o600, 0o711, SERVICE)):
        os.chown(each.parent, each.stat().st_uid, each.stat().st_uid)
        each.parent.chmod(0o700 if each.stat().st_uid else 0o755)
        for pattern in (each, each.parent / "*.conf"):
            assert f"ssl.ca-file is set in {each}, which it includes" in included_by(SERVICE, pattern, place)


def test_a_file_of_root_leads_a_user_of_a_service_no_further_than_the_user_may_go(place: Path) -> None:
    secret = kept(place / "closed" / "secret.conf", 0o600, 0o700)
    between = kept(place / "open" / "between.conf", 0o644, data=f'include "{secret.parent}/*"\n'.encode())
    assert included_by(SERVICE, between, place) == ""
    assert str(secret) in included_by(0, between, place)
    link = place / "link"
    link.symlink_to(secret.parent)
    os.lchown(link, SERVICE, SERVICE)
    assert included_by(SERVICE, link / "*", place) == ""
    assert included_by(0, link / "*", place) == "", "nor does a link of the user"


def test_an_acl_opens_no_file_to_the_group_whose_bits_it_hides(place: Path) -> None:
    secret = kept(place / "open" / "x.conf", 0o640)
    os.chown(secret, 0, grp.getgrnam("daemon").gr_gid)
    user = pwd.getpwnam("daemon").pw_uid
    assert str(secret) in included_by(user, secret, place)
    acl = struct.pack("<I", 2)
    # user::rw-, user:SERVICE:r--, group::---, mask::r--, other::---
    for tag, rights, who in ((1, 6, -1), (2, 4, SERVICE), (4, 0, -1), (16, 4, -1), (32, 0, -1)):
        acl += struct.pack("<HHi", tag, rights, who)
    try:
        os.setxattr(secret, "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"no ACL here: {error}")
    assert included_by(user, secret, place) == ""


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
    edited(LINE, main + b"\n", ROOT, Disk(files), wanted=True)
    assert time.process_time() - begun < 5.0


@pytest.mark.parametrize("main", [_full(b"<a/>", b"<r><ssl></ssl>", b"</r>"), _full(b"<ssl>", b"<r>")])
def test_the_worst_xml_takes_a_bounded_time(main: bytes) -> None:
    begun = time.process_time()
    assert isinstance(made(main, {}, XML), str)
    assert time.process_time() - begun < 5.0
