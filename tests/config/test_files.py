"""Which files are read, and which are not to be trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from config.load import digest_on_disk, load
from config.model import Config
from config.trusted import unsafe
from tests.kit.configuration import Loaded, Write


def mistakes(path: str | Path) -> list[str]:
    found = load(str(path), {})
    assert isinstance(found, tuple)
    return [str(mistake) for mistake in found]


def test_a_directory_is_read_as_one_document(write: Write, tmp_path: Path) -> None:
    write("endpoints: [{address: 'b:1', clients: [java]}]", "20-more.yml")
    write("endpoints: [{address: 'a:1'}]\nclients: {curl: {trusts: system}}", "10-base.yaml")
    write("clients: {java: {trusts: jdk}}\ntrust_stores: {jdk: {bundle: /jdk.pem}}", "30-java.yaml")
    write("not: read", "README.txt")
    write("not: read", ".hidden.yaml")
    config = load(str(tmp_path), {})
    assert isinstance(config, Config)
    assert list(config.endpoints) == ["a:1", "b:1"]
    assert set(config.clients) == {"default", "curl", "java"}
    assert [Path(source).name for source in config.sources] == ["10-base.yaml", "20-more.yml", "30-java.yaml"]


def test_mistakes_in_a_directory_name_the_file_and_line_of_each(write: Write, tmp_path: Path) -> None:
    a = write("rescan: 5m\nendpoints:\n- {address: 'a:1'}\nclients: {x: {trusts: system}}", "a.yaml")
    b = write("endpoints:\n- {address: 'b:1'}\n- {address: nowhere}\nclients:\n  x: {trusts: system}", "b.yaml")
    c = write("endpoints:\n- {address: 'a:1'}\nrescan: 5m", "c.yaml")
    assert mistakes(tmp_path) == [
        (
            f"{b}:3: endpoints[2].address: found 'nowhere', expected host:port, such as www.example.com:443 or "
            "[2001:db8::1]:443"
        ),
        f"{b}:5: clients.x: given twice, expected once; it is at {a}:4 already",
        f"{c}:2: endpoints[3]: there is a target 'a:1' at {a}:3 already, expected another name or address",
        f"{c}:3: rescan: given twice, expected once; it is at {a}:1 already",
    ]


def test_where_a_file_has_no_values_references_into_it_are_no_mistakes(write: Write, tmp_path: Path) -> None:
    write("clients: {java: {trusts: jdk}}\nrescan: soon", "a.yaml")
    b = write("trust_stores: [", "b.yaml")
    first, second = mistakes(tmp_path)
    assert first.endswith("a.yaml:2: rescan: found 'soon', expected a duration such as 30s, 5m, 3h or 2d")
    assert second.startswith(f"{b}:2: ")


def test_an_empty_directory_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path) == [f"{tmp_path}: an empty directory, expected *.yaml or *.yml files"]


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert mistakes(path) == [f"{path}: No such file or directory, expected a file that can be read"]


def test_a_pipe_is_a_mistake_and_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    assert mistakes(path) == [f"{path}: not a regular file, expected one"]


def test_a_huge_file_is_a_mistake(write: Write) -> None:
    path = write("")
    os.truncate(path, 17 * 1024 * 1024)
    assert mistakes(path) == [f"{path}: too large, expected at most 16777216 bytes"]


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_change_is_refused(mode: int, write: Write) -> None:
    path = write("rescan: 5m")
    os.chmod(path, mode)
    assert mistakes(path) == [f"{path}: writable by group or others (mode {mode:04o}), expected its owner alone"]


def test_a_directory_that_others_may_change_is_refused(write: Write, tmp_path: Path) -> None:
    path = write("rescan: 5m")
    tmp_path.chmod(0o775)
    refused = [f"{tmp_path}: writable by group or others (mode 0775), expected its owner alone"]
    assert mistakes(path) == refused
    assert mistakes(tmp_path) == refused


def test_a_sticky_directory_is_safe_for_a_file_but_not_for_whatever_it_holds(write: Write, tmp_path: Path) -> None:
    path = write("rescan: 5m")
    tmp_path.chmod(0o1777)
    assert isinstance(load(path, {}), Config)
    assert mistakes(tmp_path) == [f"{tmp_path}: writable by group or others (mode 1777), expected its owner alone"]


def test_a_link_does_not_hide_an_unsafe_directory(write: Write, tmp_path: Path) -> None:
    write("rescan: 5m")
    unsafe_directory = tmp_path / "unsafe"
    unsafe_directory.mkdir()
    unsafe_directory.chmod(0o777)
    (tmp_path / "certvigil.yaml").rename(unsafe_directory / "real.yaml")
    link = tmp_path / "certvigil.yaml"
    link.symlink_to(unsafe_directory / "real.yaml")
    assert mistakes(link) == [f"{unsafe_directory}: writable by group or others (mode 0777), expected its owner alone"]


@pytest.mark.parametrize(("owner", "safe"), [(0, True), (1000, True), (1001, False)])
def test_only_root_and_the_user_themself_may_own_the_configuration(owner: int, safe: bool) -> None:
    status = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    expected = "" if safe else "belongs to user 1001, expected root or user 1000"
    assert unsafe(status, user=1000, sticky_is_safe=False) == expected


def test_the_digest_changes_with_what_is_on_disk(loaded: Loaded, write: Write) -> None:
    config = loaded("rescan: 5m")
    (path,) = config.sources
    assert digest_on_disk(path) == config.digest
    write("rescan: 6m")
    changed = digest_on_disk(path)
    assert changed != config.digest
    Path(path).unlink()
    assert digest_on_disk(path) not in {config.digest, changed}
