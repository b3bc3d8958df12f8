"""The result of `certvigil check`, as values and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from config.expected import ANY_MODERN, AllowedTLS
from config.immutable import immutable
from config.vocabulary import FileFormat, Verdict, worst
from monitor.commands.given import PassedOverPath
from monitor.commands.keys import KeyFile
from monitor.dialect import (
    address_object,
    certificate_object,
    iso,
    keystore_object,
    revocation_list_object,
    supported_object,
)
from probes.certificate import Certificate
from probes.chain import find_leaf, signed
from probes.finding import Finding, verdict
from probes.keystore import Keystore
from probes.observation import Presented
from probes.revocation.crl import RevocationList
from probes.tls.support import Supported

EXIT_CODE: Final = {Verdict.OK: 0, Verdict.WARNING: 1, Verdict.CRITICAL: 2, Verdict.UNKNOWN: 3}


@immutable
class Checked:
    """The verdict on one target."""

    target: str
    findings: tuple[Finding, ...]
    chain: tuple[Certificate, ...] = ()
    known: bool = False
    """Whether there was anything to judge."""
    addresses: tuple[Presented, ...] = ()
    """Of an endpoint that answered."""
    addresses_tried: int = 0
    """Of an endpoint: how many answered, or did not."""
    format: FileFormat | None = None
    """Of a file."""
    key: KeyFile | None = None
    """Of a file's certificate, where one was found."""
    keystore: Keystore[Certificate] | None = None
    """Of a file that is one."""
    lists: tuple[RevocationList, ...] = ()
    """The revocation lists in a file."""
    supported: tuple[Supported, ...] | None = None
    """What each address of an endpoint takes; None where they were not asked for that."""
    tls: AllowedTLS = ANY_MODERN
    """By which that is judged."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings; unknown where there was nothing to judge, unless a finding is critical."""
        found = verdict(self.findings, known=self.known)
        return found if self.known or found is Verdict.CRITICAL else Verdict.UNKNOWN

    @property
    def key_belongs(self) -> bool | None:
        """Whether the key belongs to the certificate; None where it is not known."""
        if self.key is None or not self.chain:
            return None
        return self.key.belongs_to(find_leaf(self.chain).public_key_sha256())


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the code of the worst verdict; without any verdict, the code of unknown."""
    return EXIT_CODE[worst(verdicts)]


def document(
    checked: Iterable[Checked], passed_over: Iterable[PassedOverPath], now: float, anchors: Sequence[Certificate] = ()
) -> dict[str, Any]:
    """Return the document of `--json`; its shape is a contract, and `schema` is its version.

    `anchors` are those of the trust store, where there is one.
    """
    return {
        "schema": 1,
        "at": iso(now),
        "targets": [_target_document(each, anchors) for each in checked],
        "passed_over": [{"path": each.path, "why": each.why} for each in passed_over],
    }


def _target_document(checked: Checked, anchors: Sequence[Certificate]) -> dict[str, Any]:
    key = checked.key
    return {
        "target": checked.target,
        "verdict": checked.verdict,
        "findings": [
            {"code": found.code, "severity": found.severity, "subject": found.subject, "detail": found.detail}
            for found in checked.findings
        ],
        "chain": [
            {**certificate_object(each), "issuer_spki_sha256": issuing_key(each, (*checked.chain, *anchors))}
            for each in checked.chain
        ],
        "addresses": [address_object(one, anchors) for one in checked.addresses],
        "format": checked.format,
        "keystore": checked.keystore and keystore_object(checked.keystore),
        "revocation_lists": [revocation_list_object(each) for each in checked.lists],
        "key": key and {"where": key.where, "belongs": checked.key_belongs, "why": key.why, "also": key.also},
        "supported": None
        if checked.supported is None
        else [supported_object(each, checked.tls) for each in checked.supported],
    }


def issuing_key(certificate: Certificate, others: Iterable[Certificate]) -> str | None:
    """Return the SHA-256 of the public key that signed a certificate, as `allowed_issuers` takes it.

    None where the issuer is not among `others`.
    """
    return next((each.public_key_sha256() for each in others if signed(each, certificate)), None)
