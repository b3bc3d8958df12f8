"""URLs of HTTP, of which all texts may be hostile, and redirects from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from config.address import is_dns_name, is_ip_address, join_address
from config.immutable import immutable
from config.text import Printable, printable, sentence
from probes.http.exchange import LONGEST_LOCATION

MOST_REDIRECTS: Final = 10
LONGEST_URL: Final = LONGEST_LOCATION
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""The statuses of answers that lead elsewhere by their Location (RFC 9110, 15.4)."""
PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
"""Of a URL that names none, by its scheme."""


@immutable
class URLParts:
    """The parts of a URL."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """As in a Host header."""
        return authority(self.host, self.port, self.scheme)

    @property
    def url(self) -> str:
        """All of it."""
        return f"{self.scheme}://{self.authority}{self.target}"


@immutable
class NoURL:
    """A text is no URL that may be asked, and why, a clause."""

    why: Printable


def authority(host: str, port: int, scheme: str) -> str:
    """Return a host as in a Host header: with brackets around an IPv6 address, and a port that is not the usual one."""
    bare = f"[{host}]" if ":" in host else host
    return bare if port == PORTS[scheme] else join_address(host, port)


def url_parts(url: str) -> URLParts | NoURL:
    """Return the parts of an HTTP or HTTPS URL."""
    shown = printable(url, 200)
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return NoURL(sentence("{} is no URL", shown))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return NoURL(sentence("{} is no URL", shown))
    host = parts.hostname or ""
    if parts.scheme not in PORTS:
        return NoURL(sentence("{} is not at http:// or https://", shown))
    if not (is_dns_name(host) or is_ip_address(host)) or "%" in host or "@" in parts.netloc:
        return NoURL(sentence("{} names no host", shown))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return URLParts(parts.scheme, host, PORTS[parts.scheme] if port is None else port, target)
