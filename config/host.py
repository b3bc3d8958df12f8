"""The name of this host, as messages, records and answers of certvigil have it."""

from __future__ import annotations

import re
import socket
import threading
from functools import cache
from typing import Final

from config.address import is_dns_name

NAMELESS: Final = "localhost"
"""The name of a host without a name."""

_WAIT: Final = 2.0
"""Seconds to wait for a name server."""


@cache
def own_name() -> str:
    """Return the fully qualified name of this host, else its plain name; a process asks once.

    The plain name is used where name resolution knows no other, calls it a name of every host (`localhost`), or does
    not answer within two seconds.
    """
    plain = _as_name(socket.gethostname())
    learned: list[str] = []
    # A name server that does not answer would delay each load of a configuration by half a minute.
    thread = threading.Thread(target=lambda: learned.append(socket.getfqdn()), daemon=True)
    thread.start()
    thread.join(_WAIT)
    full = _as_name(learned[0]) if learned else NAMELESS
    return plain if _is_of_every_host(full) else full


def _as_name(text: str) -> str:
    """Return `text` of an administrator or a name server, with a hyphen for each character that no name may have."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")
    return name if is_dns_name(name) else NAMELESS


def _is_of_every_host(name: str) -> bool:
    first, _, domain = name.lower().partition(".")
    return first in {NAMELESS, "ip6-localhost", "ip6-loopback"} and domain in {
        "",
        "localdomain",
        "localdomain4",
        "localdomain6",
    }
