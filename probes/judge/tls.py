"""Findings about the connection: protocol version and cipher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from config.expected import AllowedTLS
from config.pattern import is_one_of
from config.text import harmless, listed, sentence
from config.vocabulary import Code, Severity
from probes.finding import Finding, finding
from probes.observation import Presented

_WEAK_CIPHER: Final = re.compile(r"EXP|(^|-)(RC4|RC2|DES|IDEA|SEED|MD5|3DES|CBC3)(-|$)")
_NO_CIPHER: Final = re.compile(r"NULL|(^|_)(anon|SHA256_SHA256|SHA384_SHA384)(_|$)|(^|-)(ADH|AECDH)(-|$)")
"""Without encryption, or without a certificate; those with a hash twice are RFC 9150's."""


def judge_tls(presented: Presented, allowed: AllowedTLS) -> Iterator[Finding]:
    """Yield whether the negotiated version or cipher is not `allowed`; without a list, ciphers that RFC 9325 forbids.

    One that does not encrypt, or knows no certificate, is critical, whatever is allowed.
    """
    if presented.version and presented.version not in allowed.protocols:
        yield finding(
            Code.OBSOLETE_PROTOCOL,
            sentence("negotiated {}, allowed are {}", harmless(presented.version), listed(sorted(allowed.protocols))),
            presented.address,
        )
    if _NO_CIPHER.search(presented.cipher):
        detail = sentence(
            "negotiated {}, which protects nobody: it does not encrypt, or knows no certificate",
            harmless(presented.cipher),
        )
        yield finding(Code.WEAK_CIPHER, detail, presented.address, Severity.CRITICAL)
    elif allowed.ciphers and presented.cipher:
        if not is_one_of(presented.cipher, allowed.ciphers):
            listing = harmless(", ".join(allowed.ciphers))
            detail = sentence("negotiated {}, allowed are {}", harmless(presented.cipher), listing)
            yield finding(Code.WEAK_CIPHER, detail, presented.address, Severity.WARNING)
    elif _WEAK_CIPHER.search(presented.cipher):
        yield finding(Code.WEAK_CIPHER, sentence("negotiated {}", harmless(presented.cipher)), presented.address)
