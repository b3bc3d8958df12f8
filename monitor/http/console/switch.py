"""Whether the console is shown: by the configuration, or else by who can come in."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass

from config.address import split_address
from config.model import Web
from config.text import Printable
from monitor.http.webconfig import WebConfig

_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


@dataclass(slots=True)
class ConsoleSwitch:
    """Whether the console is shown now."""

    off: Printable
    """Why it is not, a sentence; empty where it is."""


def why_off(settings: Web, web: WebConfig) -> Printable:
    """Return why the console is not shown; empty where it is: everything that listens is loopback or has users."""
    if settings.console is not None:
        return Printable("" if settings.console else "web.console is false")
    if web.users or (web.tls is not None and web.tls.verify_mode is ssl.CERT_REQUIRED):
        return Printable("")
    if all(map(_is_loopback, settings.listen)):
        return Printable("")
    return Printable(
        "anybody could read it: an address of web.listen is not loopback, and web.config_file asks for no user; "
        "web.console: true shows it all the same"
    )


def _is_loopback(address: str) -> bool:
    host = split_address(address)[0]
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() in _LOCAL_NAMES
