"""Labels of targets: names and values that a site chooses for its policies and its Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from config.text import Printable, printable

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

MOST_LABELS: Final = 16
LONGEST_NAME: Final = 64
LONGEST_VALUE: Final = 128
RESERVED: Final = frozenset({"target", "kind", "component", "location", "job", "instance"})
"""Labels that certvigil and Prometheus set themselves."""
NAME: Final = rf"(?!__)[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}"
"""As Prometheus takes it; two underscores are its own."""

_NAME: Final = re.compile(NAME)


def is_label_name(name: str) -> bool:
    """Whether a label may have this name."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED


def label_value(text: str) -> Printable:
    """Return `text` as the value of a label: printable, and cut at its greatest length."""
    return printable(text, LONGEST_VALUE)


def labels_of(*given: Mapping[str, str]) -> Labels:
    """Return all labels together; where two give the same name, the later one counts."""
    return tuple(sorted({name: value for each in given for name, value in each.items()}.items()))
