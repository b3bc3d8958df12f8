"""The tenth of the slow tests that a seed draws."""

from __future__ import annotations

from hashlib import sha256


def drawn(seed: str, test: str) -> bool:
    """Whether a slow test is in the tenth that a seed draws."""
    return int.from_bytes(sha256(f"{seed} {test}".encode()).digest()) % 10 == 0
