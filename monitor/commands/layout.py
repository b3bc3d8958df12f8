"""Text in columns, in which no word is broken. Pure: rows and a width in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

GAP: Final = 2
"""Spaces between columns."""
_MAY_WRAP: Final = 30
"""Shorter cells stay on one line: times, spans, names."""

Line = tuple[str, ...]
"""The text of each column on one line, padded, the gaps included."""


def wrap(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` cells, broken between words only: a longer word stays whole.

    Spaces at its beginning are before each line.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines: list[list[str]] = [[]]
    used = len(indent)
    for word in text[len(indent) :].split(" "):
        size = cell_len(word)
        if lines[-1] and used + 1 + size > width:
            lines.append([])
            used = len(indent)
        used += size + (1 if lines[-1] else 0)
        lines[-1].append(word)
    return [indent + " ".join(line) for line in lines]


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the width of each column in cells, or None where they do not fit side by side."""
    by_column = list(zip(columns, *rows, strict=True))
    natural = [max(map(cell_len, cells)) for cells in by_column]
    least = [max(map(_least, cells)) for cells in by_column]
    room = width - GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    widths = list(natural)
    while sum(widths) > room:
        # The widest gives way first, as far as its longest word allows.
        index = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[index] -= 1
    return widths


def _least(cell: str) -> int:
    size = cell_len(cell)
    return size if size <= _MAY_WRAP else max(map(cell_len, cell.split(" ")))


def side_by_side(row: Sequence[str], widths: Sequence[int]) -> Iterator[Line]:
    """Yield the lines of one row, each cell in its own column."""
    cells = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        parts = [lines[number] if number < len(lines) else "" for lines in cells]
        last = max((index for index, part in enumerate(parts) if part), default=0)
        yield tuple(
            pad(part, width + GAP) if index < last else part
            for index, (part, width) in enumerate(zip(parts, widths, strict=True))
            if index <= last
        )


def stacked(columns: Sequence[str], row: Sequence[str], width: int) -> Iterator[tuple[int, Line]]:
    """Yield the lines of one row with its cells below each other, each with its column. Empty cells are left out."""
    label = max(map(cell_len, columns)) + GAP
    for index, (column, cell) in enumerate(zip(columns, row, strict=True)):
        for number, line in enumerate(wrap(cell, max(1, width - label)) if cell else ()):
            yield index, (pad("" if number else column, label), line)


def pad(text: str, width: int) -> str:
    """Return `text` with spaces after it up to `width` cells."""
    return text + " " * (width - cell_len(text))
