"""Decoding field by field, so that one bad field costs that field alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from config.text import Printable

Fact = TypeVar("Fact")


class Fields:
    """The fields of one value; `faults` has a sentence for each that could not be decoded."""

    def __init__(self, fault: Callable[[str, Exception], Printable]) -> None:
        """`fault` says in a sentence that the field of that name could not be decoded, and why."""
        self.faults: list[Printable] = []
        self._fault = fault

    def get(self, name: str, decode: Callable[[], Fact], otherwise: Fact) -> Fact:
        """Return what `decode` gives, or `otherwise` where it raises."""
        try:
            return decode()
        except Exception as error:  # noqa: BLE001 (the library raises KeyError and exceptions without a common base)
            self.faults.append(self._fault(name, error))
            return otherwise
