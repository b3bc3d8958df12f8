"""Immutable values behave as frozen dataclasses do, which are held beside them here."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from config.immutable import immutable


@immutable
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)
    size: int = field(default=0, kw_only=True)
    length: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", (self.x**2 + self.y**2) ** 0.5)


@dataclass(frozen=True, slots=True)
class Peer:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)
    size: int = field(default=0, kw_only=True)
    length: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", (self.x**2 + self.y**2) ** 0.5)


@immutable
class Labelled(Point):
    label: str = "none"


@immutable
class Nothing:
    pass


@immutable
class ByName:
    name: str
    secret: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByName) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}>"


CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((3,), {}),
    ((3, 4), {}),
    ((3, 4, ["a"], "note"), {"size": 5}),
    ((), {"x": 1, "tags": ["b"]}),
)
MISTAKES: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}),
    ((1, 2, [], "", 5), {}),
    ((1,), {"length": 1.0}),
    ((1,), {"x": 1}),
    ((1,), {"z": 1}),
)


@pytest.mark.parametrize(("given", "named"), CALLS)
def test_it_is_made_and_shown_as_a_frozen_dataclass_is(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    made, peer = Point(*given, **named), Peer(*given, **named)

    assert repr(made).replace("Point", "Peer") == repr(peer)
    assert asdict(made) == asdict(peer)
    assert made.length == peer.length
    assert [each.name for each in fields(made)] == [each.name for each in fields(peer)]
    assert Point.__match_args__ == Peer.__match_args__
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize(("given", "named"), MISTAKES)
def test_whoever_makes_it_wrongly_is_told_so(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Point, Peer):
        with pytest.raises(TypeError):
            kind(*given, **named)


def test_each_has_a_default_of_its_own() -> None:
    first, second = Point(1), Point(1)

    assert first == second
    assert first.tags is not second.tags


def test_only_what_is_compared_makes_a_difference() -> None:
    assert Point(1, note="a") == Point(1, note="b")
    assert Point(1) != Point(2)
    assert Point(1, size=1) != Point(1, size=2)
    assert Point(1) != Labelled(1)
    of_another_kind: object = Peer(1)
    assert Point(1) != of_another_kind
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())


def test_the_hash_is_that_of_what_is_compared() -> None:
    @immutable
    class Pair:
        first: int
        second: str = field(compare=False)

    assert hash(Pair(1, "a")) == hash(Pair(1, "b"))
    assert len({Pair(1, "a"), Pair(1, "b"), Pair(2, "a")}) == 2


def test_nothing_can_be_set_or_deleted() -> None:
    made = Labelled(1)

    for name in ("x", "label", "unknown"):
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(made, name, 1)
        with pytest.raises(FrozenInstanceError, match=name):
            delattr(made, name)


def test_another_one_with_changes_and_a_copy_are_made_of_it() -> None:
    made = Labelled(3, 4, ["a"], label="b", size=7)

    assert replace(made, y=5) == Labelled(3, 5, ["a"], label="b", size=7)
    assert copy.copy(made) == made
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert pickle.loads(pickle.dumps(made)).length == 5.0


def test_a_subclass_has_the_fields_of_both() -> None:
    assert repr(Labelled(3, 4, label="a")) == "Labelled(x=3, y=4, tags=[], size=0, length=5.0, label='a')"
    assert Point(1) == Point(1), "the base is made as before"


def test_a_method_of_its_own_is_left() -> None:
    made = ByName("web", "hunter2")

    assert repr(made) == "<web>"
    assert made == ByName("web", "another")
    assert hash(made) == hash("web")
