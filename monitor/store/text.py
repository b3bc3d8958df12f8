"""Text as a column takes it: the name of a file is bytes, and Python's text for it is not always Unicode."""

from __future__ import annotations

import json
from dataclasses import asdict

from config.text import harmless
from probes.tls.support import Supported, SupportedVersion


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


def supported_text(supported: Supported | None) -> str | None:
    """Return everything that an endpoint takes as JSON; None where it was not asked."""
    return None if supported is None else json.dumps(asdict(supported))


def restored_supported(text: str | None) -> Supported | None:
    """Return what was stored as `text`; raises ValueError, TypeError or LookupError where it makes no sense."""
    if text is None:
        return None
    found = json.loads(text)
    versions = tuple(_version(**each) for each in found["versions"])
    unclear = tuple(map(harmless, found["unclear"]))
    return Supported(harmless(found["address"]), versions, unclear, int(found["connections"]), float(found["at"]))


def _version(
    version: str, suites: list[str], groups: list[str], prime_bits: int, signatures: list[str]
) -> SupportedVersion:
    taken, exchanged, signed = (tuple(map(harmless, each)) for each in (suites, groups, signatures))
    return SupportedVersion(harmless(version), taken, exchanged, int(prime_bits), signed)
