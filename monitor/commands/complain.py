"""The messages of commands on standard error."""

from __future__ import annotations

import sys

from config.text import Shown, harmless, sentence


def complain(template: str, *parts: Shown) -> None:
    """Write a sentence to standard error, as `sentence` makes it; parts of a document are escaped as well."""
    sys.stderr.write(f"{harmless(sentence(template, *parts))}\n")
