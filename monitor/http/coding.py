"""The coding of an answer's content: gzip, where the client takes it."""

from __future__ import annotations

from collections.abc import Iterable


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these request headers allow gzip (RFC 9110, 12.5.3)."""
    for name, value in headers:
        if name == b"accept-encoding":
            for coding in value.decode("latin-1").lower().split(","):
                word, _, weight = coding.replace(" ", "").partition(";q=")
                if word == "gzip":
                    return weight.rstrip("0.") != "" if weight else True
    return False
