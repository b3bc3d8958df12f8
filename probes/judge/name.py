"""Findings about names."""

from __future__ import annotations

from collections.abc import Iterator

from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, VerifierName
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.names import names_server

_SHOWN_NAMES = 10


def judge_names(
    leaf: Certificate, wanted: tuple[str, ...], verifier: VerifierName = VerifierName.WEBPKI
) -> Iterator[Finding]:
    """Yield each wanted name that `leaf` does not carry for clients with that verifier, by default the strict one."""
    for name in wanted:
        if not names_server(leaf, name, verifier):
            shown = printable(name)
            yield finding(
                Code.HOSTNAME_MISMATCH, sentence("{} is not among its names: {}", shown, harmless(_names(leaf))), shown
            )


def judge_common_name(leaf: Certificate, subject: Printable) -> Iterator[Finding]:
    """Yield whether `leaf` names its server by the common name alone (RFC 9525, 2)."""
    if not leaf.has_server_names and leaf.common_names():
        yield finding(
            Code.COMMON_NAME_ONLY,
            sentence(
                "{} names its server by the common name alone, which browsers, Go and others do not read", leaf.title
            ),
            subject,
        )


def _names(leaf: Certificate) -> str:
    if not leaf.names:
        return "it has none"
    more = len(leaf.names) - _SHOWN_NAMES
    return ", ".join(leaf.names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
