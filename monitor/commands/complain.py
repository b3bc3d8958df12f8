"""What commands say on standard error."""

from __future__ import annotations

import sys

from config.text import harmless


def complain(sentence: str) -> None:
    """Write a sentence to standard error, escaped, whoever is quoted in it."""
    sys.stderr.write(f"{harmless(sentence)}\n")
