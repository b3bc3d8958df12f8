"""Findings about the connection: protocol version and cipher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from config.text import harmless, listed, sentence
from config.vocabulary import Code, Severity, TLSVersion
from probes.finding import Finding, finding
from probes.observation import Presented

_WEAK_CIPHER: Final = re.compile(r"EXP|(^|-)(RC4|RC2|DES|IDEA|SEED|MD5|3DES|CBC3)(-|$)")
_NO_CIPHER: Final = re.compile(r"NULL|(^|_)(anon|SHA256_SHA256|SHA384_SHA384)(_|$)|(^|-)(ADH|AECDH)(-|$)")
"""Without encryption, or without a certificate; those with a hash twice are RFC 9150's."""


def judge_tls(presented: Presented, allowed: frozenset[TLSVersion]) -> Iterator[Finding]:
    """Yield whether the negotiated version is not `allowed`, or the cipher is one that RFC 9325 forbids.

    One that does not encrypt, or knows no certificate, is critical.
    """
    if presented.version and presented.version not in allowed:
        yield finding(
            Code.OBSOLETE_PROTOCOL,
            sentence("negotiated {}, allowed are {}", harmless(presented.version), listed(sorted(allowed))),
            presented.address,
        )
    if _NO_CIPHER.search(presented.cipher):
        detail = sentence(
            "negotiated {}, which protects nobody: it does not encrypt, or knows no certificate",
            harmless(presented.cipher),
        )
        yield finding(Code.WEAK_CIPHER, detail, presented.address, Severity.CRITICAL)
    elif _WEAK_CIPHER.search(presented.cipher):
        yield finding(Code.WEAK_CIPHER, sentence("negotiated {}", harmless(presented.cipher)), presented.address)
