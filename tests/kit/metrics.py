"""Target states to export, and a reader of metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from config.model import Config, X509CertSettings
from config.text import Printable, harmless, sentence
from config.vocabulary import KeyKind, TargetKind
from monitor.metrics import Page, plain_text
from monitor.metrics.x509_cert import FileCertificates
from monitor.metrics.x509_source import Sources
from monitor.state.target import TargetState
from probes.certificate import Certificate, Key

Series = tuple[str, frozenset[tuple[str, str]]]


def some_certificate(name: str = "www.example.com", *, not_after: int | None = 1_800_000_000) -> Certificate:
    """Return a certificate whose facts say `name`; its bytes are no DER."""
    der = f"{name} {not_after}".encode()
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        subject=sentence("CN={}", harmless(name)),
        issuer=Printable("CN=Lab Issuing CA"),
        serial="2a",
        not_before=1_700_000_000,
        not_after=not_after,
        names=(f"DNS:{name}",),
        key=Key(KeyKind.EC, 256),
        signature_hash=Printable("sha256"),
        is_ca=False,
        self_issued=False,
    )


def some_file(target: str = "/etc/ssl/www.pem", *presented: Certificate, last_look: float | None = 1.5) -> TargetState:
    return TargetState(target, TargetKind.FILE, target, presented=presented, last_look=last_look)


def as_x509_exporter(settings: X509CertSettings | None = None) -> FileCertificates:
    """Return the metrics of x509-certificate-exporter, of no configured source."""
    return FileCertificates(settings or X509CertSettings(), Sources(Config(), "1"))


def text_of(page: Page) -> str:
    return b"".join(plain_text(page.pieces())).decode()


def samples(page: str) -> dict[Series, float]:
    """Return the value of each series of a page; fails where one appears twice."""
    found: dict[Series, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} appears twice"
            found[key] = sample.value
    return found


def series(name: str, **labels: str) -> Series:
    """Return the series of the daemon's own metric of that name with exactly these labels."""
    return f"certvigil_{name}", frozenset(labels.items())


def value(text: str, name: str, **labels: str) -> float | None:
    """Return the value of the one series that has at least these labels, None where there is none."""
    matching = [
        each for (sample, got), each in samples(text).items() if sample == name and frozenset(labels.items()) <= got
    ]
    assert len(matching) < 2, f"{len(matching)} series match"
    return matching[0] if matching else None


def page_of(known: Iterable[TargetState]) -> Page:
    page = Page()
    for each in known:
        page.update(each)
    return page
