"""Writes every generated page: `python -m docs.generate` (`make pages`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from docs.generate import PAGES

DIRECTORY: Final = Path(__file__).parents[1]


def main() -> None:
    """Write them."""
    for name, page in PAGES.items():
        (DIRECTORY / name).write_text(page())


if __name__ == "__main__":
    main()
