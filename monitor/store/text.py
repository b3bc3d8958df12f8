"""Text as a column takes it: the name of a file is bytes, and Python's text for it is not always Unicode."""

from __future__ import annotations


def stored(text: str) -> str | bytes:
    """Return `text`, or bytes that stand for it where it has lone surrogates, which SQLite refuses."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def restored(value: str | bytes) -> str:
    """Return the text that was stored as `value`."""
    return value if isinstance(value, str) else value.decode(errors="surrogatepass")
