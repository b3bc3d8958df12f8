"""Findings about how a chain is presented: order, and unneeded certificates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from config.text import Printable, harmless, sentence
from config.vocabulary import Code
from probes.certificate import Certificate
from probes.chain import named_path, presented_path
from probes.finding import Finding, finding
from probes.judge.subject import SubjectOf
from probes.judge.time import moment
from probes.lifetime import has_ended


def judge_presentation(
    presented: Sequence[Certificate], used: Collection[Certificate], now: float, subject_of: SubjectOf
) -> Iterator[Finding]:
    """Yield the faults of order in `presented`, given the certificates `used` by some client's path (none if unknown).

    TLS 1.2 wants each certificate to certify the one before it (RFC 5246, 7.4.2); TLS 1.3 tolerates other orders.
    """
    leading = presented_path(presented)
    # Where a signature is bad, the certificate with the issuer's name is at fault, but it is not unneeded.
    linked = {*leading, *named_path(presented)}
    in_order = [each for each in dict.fromkeys(presented) if each in leading]
    if in_order != list(leading) or (leading and presented[0] != leading[0]):
        order = " > ".join(str(presented.index(each)) for each in leading)
        yield finding(
            Code.WRONG_ORDER,
            sentence("the chain leads from leaf to issuer in the order of positions {}", harmless(order)),
        )
    for certificate in dict.fromkeys(presented[1:]):
        if certificate == leading[0]:
            continue
        if certificate.self_issued and certificate in leading:
            yield finding(
                Code.ROOT_PRESENTED,
                sentence("{} is a root, which clients must hold themselves", certificate.title),
                subject_of(certificate),
            )
        elif certificate not in used and (certificate not in linked or (used and has_ended(certificate, now))):
            until = (
                sentence(", which ends at {}", moment(certificate.not_after))
                if certificate.not_after is not None
                else Printable("")
            )
            yield finding(
                Code.UNNEEDED_CERTIFICATE,
                sentence("no path needs {}{}", certificate.title, until),
                subject_of(certificate),
            )
    if len(set(presented)) < len(presented):
        yield finding(Code.UNNEEDED_CERTIFICATE, Printable("a certificate is presented more than once"))
