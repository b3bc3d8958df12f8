"""A private CA for one name, and certificates of it."""

from __future__ import annotations

from typing import Any, Final

from monitor.lab.ca import Authority, Issued, KeyType, new_key

NAME: Final = "www.example.com"
ROOT: Final = Authority.root()
ISSUING: Final = ROOT.intermediate()


def fresh(*more_names: str, issuing: Authority = ISSUING, **knobs: Any) -> Issued:
    """Return a new certificate for `NAME`, with a key of its own."""
    return issuing.issue(NAME, *more_names, **({"key": new_key(KeyType.P256)} | knobs))
