"""Immutable values: `immutable` is `dataclass(frozen=True, slots=True)`, but compiles nothing before it is needed.

Half a thousand classes are declared when certvigil starts, and a process makes instances of few of them. `dataclasses`
compiles six methods for each class, which was more than half of the time in which certvigil's own modules are loaded.
Here `__init__` is compiled when the first instance is made. The other methods go by the values of the fields, and need
no compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, TypeVar, dataclass_transform

T = TypeVar("T")

_GIVEN_NOTHING: Final = object()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """Return `cls` as a class of immutable values with slots, which are equal where all that is compared is equal.

    A method that `cls` defines itself is left as it is.
    """
    own = set(vars(cls))
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    for method in (*_methods(made), _refuse_to_set, _refuse_to_delete):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return made


def _methods(cls: type[Any]) -> tuple[Callable[..., Any], ...]:
    """Return the methods that go by the fields of `cls`."""
    everything = fields(cls)
    names = tuple(each.name for each in everything)
    shown = tuple(each.name for each in everything if each.repr)
    compared = _values(tuple(each.name for each in everything if each.compare))

    def __init__(self: Any, *given: Any, **named: Any) -> None:  # noqa: N807
        cls.__init__ = _initialiser(cls)
        cls.__init__(self, *given, **named)

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return compared(self) == compared(other)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(compared(self))

    def __repr__(self: Any) -> str:  # noqa: N807
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __init__, __eq__, __hash__, __repr__, __getstate__, __setstate__


def _values(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _refuse_to_set(_self: object, name: str, _value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_refuse_to_set.__name__, _refuse_to_delete.__name__ = "__setattr__", "__delattr__"


def _initialiser(cls: type[Any]) -> Callable[..., None]:
    """Return `__init__` of `cls`, written as one would by hand."""
    everything = fields(cls)
    known: dict[str, Any] = {"_nothing": _GIVEN_NOTHING}
    taken = [each for each in everything if each.init]
    places = [_parameter(each, known) for each in taken if not each.kw_only]
    named = [_parameter(each, known) for each in taken if each.kw_only]
    lines = [line for each in everything if (line := _assignment(cls, each, known))]
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    words = ", ".join(("self", *places, *(("*", *named) if named else ())))
    exec("\n".join((f"def __init__({words}):", *(lines or [" pass"]))), known)  # noqa: S102 (of our own names)
    made: Callable[..., None] = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _parameter(of: Field[Any], known: dict[str, Any]) -> str:
    """Return a parameter as it is declared; its default goes into `known`."""
    if of.default_factory is not MISSING:
        return f"{of.name}=_nothing"
    if of.default is MISSING:
        return of.name
    known[f"_default_{of.name}"] = of.default
    return f"{of.name}=_default_{of.name}"


def _assignment(cls: type[Any], of: Field[Any], known: dict[str, Any]) -> str:
    """Return the line that fills a slot; an empty one for a field that nothing is known of yet."""
    value = of.name
    if of.default_factory is not MISSING:
        known[f"_new_{of.name}"] = of.default_factory
        value = f"_new_{of.name}() if {of.name} is _nothing else {of.name}" if of.init else f"_new_{of.name}()"
    elif not of.init:
        if of.default is MISSING:
            return ""
        known[f"_default_{of.name}"] = of.default
        value = f"_default_{of.name}"
    known[f"_set_{of.name}"] = getattr(cls, of.name).__set__
    return f" _set_{of.name}(self, {value})"
