from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from config.model import Threshold, Thresholds, Watch
from config.vocabulary import FileRole, UnreadableReason
from probes import find as module
from probes.find import Found, find
from tests.kit.unprivileged import unprivileged


def tree(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def watch(root: Path, *patterns: str, exclude: tuple[str, ...] = ()) -> Watch:
    return Watch(
        tuple(f"{root}/{pattern}" for pattern in patterns), exclude=tuple(f"{root}/{each}" for each in exclude)
    )


def names(root: Path, found: Found, role: FileRole | None = None) -> list[str]:
    return sorted(os.path.relpath(target.path, root) for target in found.targets if role is None or target.role is role)


def directories(root: Path, found: Found) -> list[str]:
    return sorted(os.path.relpath(path, root) for path in found.directories)


PATHS = ("a.pem", "b.crt", ".hidden.pem", "sub/a.pem", "sub/deep/a.pem", "sub/deep/c.key", ".dot/a.pem", "[x].pem")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.pem", ["[x].pem", "a.pem"]),
        ("?.*", ["a.pem", "b.crt"]),
        ("[ab].*", ["a.pem", "b.crt"]),
        ("[!a].*", ["b.crt"]),
        ("[[]x].pem", ["[x].pem"]),
        ("**/*.pem", ["[x].pem", "a.pem", "sub/a.pem", "sub/deep/a.pem"]),
        ("**/**/a.pem", ["a.pem", "sub/a.pem", "sub/deep/a.pem"]),
        ("**/deep/*", ["sub/deep/a.pem", "sub/deep/c.key"]),
        ("**", ["[x].pem", "a.pem", "b.crt", "sub/a.pem", "sub/deep/a.pem", "sub/deep/c.key"]),
        ("s*/*.pem", ["sub/a.pem"]),
        ("s*/deep/c.key", ["sub/deep/c.key"]),
        ("sub/**", ["sub/a.pem", "sub/deep/a.pem", "sub/deep/c.key"]),
        (".*.pem", [".hidden.pem"]),
        (".dot/*.pem", [".dot/a.pem"]),
        ("*", ["[x].pem", "a.pem", "b.crt"]),
        ("no/*.pem", []),
        ("a.pem/*", []),
    ],
)
def test_a_pattern_matches_as_in_a_shell(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    tree(tmp_path, *PATHS)
    assert names(tmp_path, find([watch(tmp_path, pattern)]), FileRole.FOUND) == expected


@pytest.mark.parametrize("path", ["sub", "sub/", "./sub//"])
def test_a_directory_stands_for_every_file_beneath_it(tmp_path: Path, path: str) -> None:
    tree(tmp_path, *PATHS)
    found = find([watch(tmp_path, path)])
    assert names(tmp_path, found, FileRole.FOUND) == ["sub/a.pem", "sub/deep/a.pem", "sub/deep/c.key"]
    assert directories(tmp_path, found) == ["sub", "sub/deep"]


def test_a_path_named_on_its_own_is_listed_whether_or_not_it_is_there(tmp_path: Path) -> None:
    tree(tmp_path, "a.pem")
    assert names(tmp_path, find([watch(tmp_path, "a.pem", "missing.pem")]), FileRole.LISTED) == [
        "a.pem",
        "missing.pem",
    ]


def test_a_path_that_is_listed_and_found_is_listed_once(tmp_path: Path) -> None:
    tree(tmp_path, "a.pem")
    found = find([watch(tmp_path, "*.pem"), watch(tmp_path, "a.pem"), watch(tmp_path, "a.*")])
    assert names(tmp_path, found) == names(tmp_path, found, FileRole.LISTED) == ["a.pem"]


def test_a_target_carries_what_its_watch_says(tmp_path: Path) -> None:
    tree(tmp_path, "a\n.pem")
    thresholds = Thresholds(notice=Threshold(0.5, 1))
    (target,) = find([Watch((f"{tmp_path}/*",), trust_store="corp", thresholds=thresholds)]).targets
    assert (target.path, target.trust_store, target.thresholds) == (f"{tmp_path}/a\n.pem", "corp", thresholds)
    assert target.name == f"{tmp_path}/a\\x0a.pem"


def test_an_exclusion_leaves_out_what_it_matches_and_everything_beneath(tmp_path: Path) -> None:
    tree(tmp_path, "a.pem", "b.pem", "old/c.pem", "sub/old/d.pem", "sub/e.bak", "sub/f.pem")
    found = find([watch(tmp_path, "**", "b.pem", exclude=("b.pem", "**/old", "**/*.bak"))])
    assert names(tmp_path, found) == ["a.pem", "sub/f.pem"]
    assert directories(tmp_path, found) == [".", "sub"]


def test_linked_directories_are_followed_and_loops_are_cut(tmp_path: Path) -> None:
    tree(tmp_path, "real/a.pem", "watched/b.pem", "watched/sub/c.pem")
    (tmp_path / "watched/linked").symlink_to("../real")
    (tmp_path / "watched/sub/up").symlink_to("..")
    (tmp_path / "watched/self").symlink_to(".")
    found = find([watch(tmp_path, "watched/**/*.pem")])
    assert names(tmp_path, found) == ["watched/b.pem", "watched/linked/a.pem", "watched/sub/c.pem"]


def test_links_to_files_are_found_and_so_are_those_that_lead_nowhere(tmp_path: Path) -> None:
    tree(tmp_path, "real.txt")
    (tmp_path / "a.pem").symlink_to("real.txt")
    (tmp_path / "broken.pem").symlink_to("nowhere")
    (tmp_path / "device.pem").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo.pem")
    (tmp_path / "directory.pem").mkdir()
    assert names(tmp_path, find([watch(tmp_path, "*.pem")])) == ["a.pem", "broken.pem"]
    assert names(tmp_path, find([watch(tmp_path, "**/broken.pem", "**/a.pem")])) == ["a.pem", "broken.pem"]


def test_every_directory_where_a_match_may_appear_is_told(tmp_path: Path) -> None:
    tree(tmp_path, "live/one/x", "live/two/certs/x", "file")
    found = find([watch(tmp_path, "live/*/certs/*.pem", "later/*.pem", "live/*/tls.crt")])
    assert directories(tmp_path, found) == [
        "later",
        "live",
        "live/one",
        "live/one/certs",
        "live/two",
        "live/two/certs",
    ]
    assert found.directories[f"{tmp_path}/live"] == (tmp_path / "live").stat().st_mtime_ns
    assert found.directories[f"{tmp_path}/later"] is None
    assert found.unreadable == {}


def test_a_directory_that_may_not_be_listed_is_told(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.pem", "secret/y.pem")
    (tmp_path / "secret").chmod(0)
    with unprivileged(tmp_path):
        found = find([watch(tmp_path, "**/*.pem")])
    (tmp_path / "secret").chmod(0o700)
    assert names(tmp_path, found) == ["a/x.pem"]
    assert found.unreadable[f"{tmp_path}/secret"].reason is UnreadableReason.PERMISSION_DENIED


@pytest.mark.parametrize("pattern", ["**/*.pem", "sub", "sub/**", "s*/d*/*.pem", "s*/deep/a.pem", "sub/deep/a.pem"])
@pytest.mark.parametrize("under", [".", "sub", "sub/deep", "sub/deep/a.pem", "other", "sub/deep/no"])
def test_finding_beneath_a_place_gives_the_part_of_the_whole_that_lies_there(
    tmp_path: Path, pattern: str, under: str
) -> None:
    tree(tmp_path, *PATHS, "other/a.pem")
    place = os.path.normpath(f"{tmp_path}/{under}")
    whole, part = find([watch(tmp_path, pattern)]), find([watch(tmp_path, pattern)], place)
    assert part.targets == tuple(
        target for target in whole.targets if target.path == place or target.path.startswith(f"{place}/")
    )
    assert part.directories.items() <= whole.directories.items()


def test_a_pattern_that_no_path_can_match_finds_nothing() -> None:
    assert [find([Watch((pattern,))]).targets for pattern in ("/a\0b/*.pem", "/*/a\0b")] == [(), ()]


def test_finding_beneath_a_place_heeds_exclusions_and_loops(tmp_path: Path) -> None:
    tree(tmp_path, "old/deep/a.pem", "sub/b.pem")
    (tmp_path / "sub/up").symlink_to("..")
    watches = [watch(tmp_path, "**/*.pem", exclude=("old",))]
    assert find(watches, f"{tmp_path}/old/deep").targets == ()
    assert find(watches, f"{tmp_path}/sub/up").targets == ()


def test_a_search_that_grows_without_bounds_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a", "b", "c", "d/e", "f/g")
    monkeypatch.setattr(module, "FILE_LIMIT", 2)
    found = find([watch(tmp_path, "**")])
    assert (len(found.targets), found.exceeded) == (2, {str(tmp_path): "more than 2 files match"})
    monkeypatch.setattr(module, "FILE_LIMIT", 100)
    monkeypatch.setattr(module, "DIRECTORY_LIMIT", 2)
    found = find([watch(tmp_path, "**")])
    assert (len(found.directories), found.exceeded) == (2, {str(tmp_path): "more than 2 directories to search"})


def test_what_lies_too_deep_is_left_out_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a", "1/b", "1/2/c", "3/d")
    monkeypatch.setattr(module, "DEPTH_LIMIT", 2)
    found = find([watch(tmp_path, "**")])
    assert names(tmp_path, found) == ["1/b", "3/d", "a"]
    assert found.exceeded == {str(tmp_path): "directories more than 2 deep"}


def test_a_watch_that_grows_without_bounds_takes_nothing_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "big/1/a", "big/2/b", "big/3/c", "small/x/d")
    monkeypatch.setattr(module, "DIRECTORY_LIMIT", 2)
    monkeypatch.setattr(module, "FILE_LIMIT", 2)
    found = find([watch(tmp_path, "big/**"), watch(tmp_path, "small/**")])
    assert "small/x/d" in names(tmp_path, found)
    assert found.exceeded.keys() == {f"{tmp_path}/big"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links to others")
def test_a_link_that_another_user_laid_leads_no_search_out_of_the_tree(tmp_path: Path) -> None:
    tree(tmp_path, "pub/a.pem", "pub/own/b.pem", "private/c.pem", "theirs/d.pem", "private/deep/e.pem")
    laid = {"out": "../private", "root": "/", "inside": "own", "theirs": "../theirs", "up": ".."}
    for name, to in laid.items():
        (tmp_path / "pub" / name).symlink_to(to)
        os.chown(tmp_path / "pub" / name, 1234, 1234, follow_symlinks=False)
    os.chown(tmp_path / "theirs", 1234, 1234)
    (tmp_path / "pub" / "ours").symlink_to("../private")
    found = find([watch(tmp_path, "pub/**/*.pem")])
    assert names(tmp_path, found) == [
        "pub/a.pem",
        "pub/inside/b.pem",
        "pub/ours/c.pem",
        "pub/ours/deep/e.pem",
        "pub/own/b.pem",
        "pub/theirs/d.pem",
    ]
    assert {os.path.basename(each) for each in found.unfollowed} == {"out", "root", "up"}
    assert {each.reason for each in found.unfollowed.values()} == {UnreadableReason.UNSAFE_LINK}
    # Nor does a notice of something beneath it.
    for under in ("pub/out", "pub/out/deep", "pub/out/deep/e.pem"):
        part = find([watch(tmp_path, "pub/**/*.pem")], f"{tmp_path}/{under}")
        assert (part.targets, dict(part.directories)) == ((), {})
    # Each name of a pattern that is no `**` says itself how far to go.
    assert names(tmp_path, find([watch(tmp_path, "pub/*/c.pem")])) == ["pub/ours/c.pem", "pub/out/c.pem"]


def test_an_expression_leaves_out_what_it_does_not_match_and_its_groups_are_labels(tmp_path: Path) -> None:
    for name in ("shop/prod/a.pem", "shop/test/b.pem", "blog/prod/c.pem", "blog/d.pem"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    expression = f"{re.escape(str(tmp_path))}/(?P<site>[^/]+)/(?P<env>prod|test)/[^/]+"
    watch = Watch((f"{tmp_path}/**/*.pem",), labels=(("env", "none"), ("team", "web")), expression=expression)
    labels = {os.path.basename(each.path): dict(each.labels) for each in find((watch,)).targets}
    assert labels == {
        "a.pem": {"site": "shop", "env": "prod", "team": "web"},
        "b.pem": {"site": "shop", "env": "test", "team": "web"},
        "c.pem": {"site": "blog", "env": "prod", "team": "web"},
    }


def test_a_label_from_a_path_is_printable_and_short(tmp_path: Path) -> None:
    (tmp_path / f"\x1b[31m\n{'x' * 200}").touch()
    (tmp_path / "b").touch()
    watch = Watch((f"{tmp_path}/*",), expression=f"{re.escape(str(tmp_path))}/(?P<name>(?s:.*))")
    (found, plain) = sorted((dict(each.labels)["name"] for each in find((watch,)).targets), key=len, reverse=True)
    assert plain == "b"
    assert found.startswith(r"\x1b[31m\x0a")
    assert found.isprintable()
    assert len(found) < 200


def test_a_group_that_takes_no_part_gives_no_label(tmp_path: Path) -> None:
    (tmp_path / "a.pem").touch()
    watch = Watch((f"{tmp_path}/*",), expression=f"{re.escape(str(tmp_path))}/a(?P<x>-[0-9]+)?.pem")
    (only,) = find((watch,)).targets
    assert only.labels == ()
