from __future__ import annotations

import os
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from monitor.watch.paths import DEPTH_LIMIT, Link, NodeKind, PathGraph, SeenPath


class PathDisk:
    """Entries by path without links, and a record of the directories that a `PathGraph` is in."""

    def __init__(self, entries: dict[str, SeenPath]) -> None:
        self.entries = entries
        self.inside: set[str] = set()

    def see(self, path: str) -> SeenPath:
        assert os.path.dirname(path) in self.inside, "looked before it was watched"
        return self.entries.get(path, NodeKind.NOTHING)

    def ways(self, files: Iterable[str] = (), listings: Iterable[str] = ()) -> PathGraph:
        ways = PathGraph(self.see, self.inside.add, self.inside.remove)
        for path in files:
            ways.add_file(path)
        for path in listings:
            ways.add_listing(path)
        return ways


def disk(*directories: str, **links: str) -> PathDisk:
    entries: dict[str, SeenPath] = dict.fromkeys(directories, NodeKind.DIRECTORY)
    return PathDisk(entries | {f"/{name.replace('_', '/')}": Link(to) for name, to in links.items()})


def test_a_way_passes_every_directory_of_every_hop() -> None:
    there = disk("/a", "/a/v1", "/b", a_data="v1", a_crt="data/crt", link="/a")
    there.entries["/a/v1/crt"] = NodeKind.OTHER
    ways = there.ways(["/link/crt"])
    assert ways.directories == there.inside == {"/", "/a", "/a/v1"}
    for entry in ("/link", "/a", "/a/crt", "/a/data", "/a/v1", "/a/v1/crt"):
        assert ways.changed([entry]).files == {"/link/crt"}, entry
    assert ways.changed(["/b", "/a/other", "/a/v1/other"]).files == frozenset()


def test_a_way_ends_at_what_is_not_there() -> None:
    there = disk("/a")
    ways = there.ways(["/a/b/c/d"])
    assert ways.directories == {"/", "/a"}
    there.entries["/a/b"] = NodeKind.DIRECTORY
    assert ways.changed(["/a/b"]).files == {"/a/b/c/d"}
    assert ways.directories == {"/", "/a", "/a/b"}


def test_dots_are_followed_after_links_not_before() -> None:
    there = disk("/a", "/a/b", "/c", c_link="../a/b", c_crt="./link/../crt")
    there.entries["/a/crt"] = NodeKind.OTHER
    ways = there.ways(["/c//./crt"])
    assert ways.changed(["/a/crt"]).files == {"/c//./crt"}


def test_a_new_name_in_a_listing_is_a_place_by_the_listings_own_name() -> None:
    there = disk("/real", link="real")
    ways = there.ways(files=["/link/known"], listings=["/link"])
    concerned = ways.changed(["/real/new", "/real/known"])
    assert concerned.places == {"/link/new"}
    assert concerned.files == {"/link/known"}
    assert ways.changed(["/link"]).places == {"/link"}


def test_a_listing_that_vanished_is_forgotten_where_another_brings_it_back() -> None:
    there = disk("/a", "/a/b")
    ways = there.ways(listings=["/a", "/a/b"])
    del there.entries["/a/b"]
    assert ways.changed(["/a/b"]).places == {"/a/b"}
    assert ways.listings == {"/a"}


def test_a_way_too_deep_to_follow_ends() -> None:
    there = disk(loop="/loop" + "/x" * DEPTH_LIMIT, one="two", two="one")
    ways = there.ways(["/loop", "/one", "/" + "y/" * 2000])
    assert ways.changed(["/one"]).files == {"/one"}


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
THINGS = st.one_of(
    st.just(NodeKind.NOTHING),
    st.just(NodeKind.OTHER),
    st.just(NodeKind.DIRECTORY),
    st.builds(Link, st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=3).map("/".join)),
    st.builds(Link, PATHS),
)


@given(
    st.dictionaries(PATHS, THINGS, max_size=12),
    st.sets(PATHS, max_size=4),
    st.sets(PATHS, max_size=2),
    st.lists(st.tuples(PATHS, THINGS), max_size=8),
)
def test_ways_that_followed_every_change_are_those_that_start_afresh(
    entries: dict[str, SeenPath], files: set[str], listings: set[str], changes: list[tuple[str, SeenPath]]
) -> None:
    there = PathDisk(dict(entries))
    ways = there.ways(files, listings)
    for path, thing in changes:
        there.entries[path] = thing
        ways.changed([path])
        afresh = PathDisk(dict(there.entries)).ways(files, ways.listings)
        assert afresh.directories <= ways.directories == there.inside
        assert ways.differing(entry for each in ways.directories for entry in ways.entries(each)) == frozenset()
        for entry in there.entries:
            expected = PathDisk(dict(there.entries)).ways(files, ways.listings).changed([entry])
            assert ways.changed([entry]) == expected


@given(st.dictionaries(PATHS, THINGS, max_size=12), st.sets(PATHS), st.sets(PATHS))
def test_what_is_discarded_leaves_nothing_behind(
    entries: dict[str, SeenPath], files: set[str], listings: set[str]
) -> None:
    # Links in a circle hold each other.
    there = PathDisk({path: thing for path, thing in entries.items() if not isinstance(thing, Link)})
    ways = there.ways(files, listings)
    ways.discard(files, listings)
    assert ways.directories == there.inside == set()
