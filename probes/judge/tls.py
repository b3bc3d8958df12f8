"""Findings about the connection: protocol version and cipher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from config.vocabulary import Code, TLSVersion
from probes.finding import Finding, finding
from probes.observation import Presented

_WEAK_CIPHER: Final = re.compile(r"NULL|EXP|(^|-)(A?DH-anon|ADH|AECDH|RC4|RC2|DES|IDEA|SEED|MD5|3DES|CBC3)(-|$)")


def judge_tls(presented: Presented, allowed: frozenset[TLSVersion]) -> Iterator[Finding]:
    """Yield whether the negotiated version is not `allowed`, or the cipher is one that RFC 9325 forbids."""
    if presented.version and presented.version not in allowed:
        yield finding(
            Code.OBSOLETE_PROTOCOL,
            f"negotiated {presented.version}, allowed are {', '.join(sorted(allowed))}",
            presented.address,
        )
    if _WEAK_CIPHER.search(presented.cipher):
        yield finding(Code.WEAK_CIPHER, f"negotiated {presented.cipher}", presented.address)
