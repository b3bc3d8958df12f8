"""Network addresses as people write them: `host:port`, the host of an IPv6 address in brackets."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from config.vocabulary import ProxyKind

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)
"""What inet_aton(3) takes for a part of an IPv4 address: decimal, octal or hexadecimal."""
_ZONE: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@lru_cache(maxsize=1024)
def is_ip_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address, the latter without brackets, perhaps with a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    _, zoned, zone = host.partition("%")
    return not zoned or _ZONE.fullmatch(zone) is not None


def is_dns_name(host: str) -> bool:
    """Whether `host` may be looked up in the DNS: letters, digits, hyphens, underscores.

    Nothing that ends in a number, which resolvers take for an IPv4 address, however it is written (WHATWG, URL, 3.5).
    """
    labels = host.split(".")
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def split_address(text: str) -> tuple[str, int]:
    """Return host, without brackets, and port of `host:port` or `[v6]:port`.

    Raises ValueError for any other text.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("not host:port")
    six, host, port = match["six"], match["host"], int(match["port"])
    if port > 65_535 or not (is_ip_address(six) and ":" in six if six else is_ip_address(host) or is_dns_name(host)):
        raise ValueError("not host:port")
    return six or host, port


def split_proxy(url: str) -> tuple[ProxyKind, str, int]:
    """Return kind, host and port of a proxy's URL; raises ValueError for any other text."""
    kind, _, address = url.partition("://")
    host, port = split_address(address.removesuffix("/"))
    return ProxyKind(kind), host, port


def join_address(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
