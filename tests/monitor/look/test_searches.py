"""The order of searches: trees take turns, and no place is searched twice for the same notice."""

from __future__ import annotations

from monitor.look.searches import Searches


def taken(searches: Searches, now: float = 100.0) -> list[tuple[str, float]]:
    found = []
    while (each := searches.take(now)) is not None:
        found.append(each)
    return found


def test_a_tree_in_which_much_happens_keeps_no_other_waiting() -> None:
    searches = Searches()
    for number in range(1000):
        searches.add("/pub", f"/pub/{number}", 1.0)
    searches.add("/srv", "/srv/new.pem", 2.0)
    searches.add("", "/elsewhere", 3.0)
    assert [searches.take(10.0) for _ in range(4)] == [
        ("/pub/0", 1.0),
        ("/srv/new.pem", 2.0),
        ("/elsewhere", 3.0),
        ("/pub/1", 1.0),
    ]
    assert len(taken(searches)) == 998


def test_a_place_is_searched_with_the_one_above_it() -> None:
    searches = Searches()
    for place in ("/pub/a/b/c", "/pub/a/b", "/pub/ab", "/pub/a", "/pub/a/b/c/d"):
        searches.add("/pub", place, 5.0 if place != "/pub/a" else 6.0)
    assert taken(searches) == [("/pub/a", 5.0), ("/pub/ab", 5.0)]
    assert not searches


def test_what_is_noticed_after_a_search_began_is_searched_again() -> None:
    searches = Searches()
    for place in ("/pub/a", "/pub/a/b", "/pub/a/c", "/pub/d"):
        searches.add("/pub", place, 5.0)
    assert searches.take(7.0) == ("/pub/a", 5.0)
    searches.add("/pub", "/pub/a/b", 8.0)
    searches.add("/pub", "/pub/a", 8.5)
    assert taken(searches, 9.0) == [("/pub/a", 5.0), ("/pub/d", 5.0)]
