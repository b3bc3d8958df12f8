"""The page of metrics, made from the families that the code exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from prometheus_client.parser import text_string_to_metric_families

from config.text import Printable
from config.vocabulary import ClientCertificateUse, Code, KeyKind, TargetKind
from docs.generate.markdown import code, table
from docs.generate.markdown import page as whole_page
from monitor.lab.ca import Authority
from monitor.metrics import Counters, Page, plain_text
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate, Key, certificate
from probes.finding import Edge, finding
from probes.observation import Presented
from probes.tls.support import Supported, SupportedVersion

INTRODUCTION: Final = """certvigil answers `GET /metrics`, by default at 127.0.0.1:9790.

- Labels that identify (`target`, `component`, `client`) come from the configuration. A renewal does not change them.
- Facts of a certificate are labels of `certvigil_certificate_info`. Join them with `certvigil_presented_info`.
- An unknown value is absent. It is never 0.
- A name that ends in `_timestamp_seconds` is a Unix time.
- Error texts, dates and lists of names are no labels.

Three expressions cover most needs; [Prometheus and Grafana](grafana.md) has complete rules and dashboards:

```promql
certvigil_target_expiry_timestamp_seconds - time() < 14 * 86400    # the certificate ends within two weeks
certvigil_findings{severity="critical"} > 0                        # something is broken
time() - certvigil_target_last_look_timestamp_seconds > 1800       # the target is not looked at any more
```

A file with two certificates has 6 series for each of them, a file with one certificate has 9, without its findings."""


def _stapled() -> Presented:
    """Return an address that says all that an address can say."""
    issuer = Authority.root()
    leaf = issuer.issue("www.example.com")
    now = datetime.now(UTC)
    response = ocsp.OCSPResponseBuilder().add_response(
        *(leaf.certificate, issuer.certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, now, now, None, None)
    )
    signed = response.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate).sign(
        issuer.key, hashes.SHA256()
    )
    return Presented(
        Printable("192.0.2.1"),
        (certificate(leaf.der()), certificate(issuer.der())),
        "TLSv1.3",
        "TLS_AES_256_GCM_SHA384",
        "X25519",
        signed.public_bytes(Encoding.DER),
        ClientCertificateUse.REQUIRED,
    )


_CERTIFICATE: Final = Certificate(
    der=b"",
    sha256="0" * 64,
    subject=Printable("CN=www.example.com"),
    issuer=Printable("CN=Issuing CA"),
    serial="2a",
    not_before=1_700_000_000,
    not_after=1_800_000_000,
    names=("DNS:www.example.com",),
    key=Key(KeyKind.EC, 256),
    signature_hash=Printable("sha256"),
    is_ca=False,
    self_issued=False,
)
_RAISED: Final = {(Code.NOT_SERVED, ""): Raised(finding(Code.NOT_SERVED, Printable("")), 0.0)}
_EXAMPLE: Final = TargetState(
    "example",
    TargetKind.ENDPOINT,
    "www.example.com:443",
    presented=(_CERTIFICATE,),
    findings=_RAISED,
    pending=_RAISED,
    edges=(Edge("default", accepted=True),),
    expiry=0,
    last_look=0.0,
    addresses=(_stapled(),),
    supported=Supported(
        Printable("192.0.2.1"), (SupportedVersion("TLSv1.3", ("TLS_AES_256_GCM_SHA384",), ("x25519",)),)
    ),
)
"""A target about which every family has something to say."""


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """One family, as the page shows it."""

    name: str
    """With `_total`, where it is a counter."""
    kind: str
    labels: tuple[str, ...]
    help: str


def page() -> str:
    """Return the page."""
    return whole_page("Metrics", INTRODUCTION, _lines())


def _lines() -> Iterator[str]:
    yield "## Targets and certificates"
    yield ""
    yield from _table(of_targets())
    yield ""
    yield "## The daemon, its actions and its notifications"
    yield ""
    yield from _table(of_daemon())
    yield ""
    yield "`process_*` and `python_gc_*` are those of the Prometheus client for Python."


def _table(rows: Iterable[FamilyRow]) -> Iterator[str]:
    cells = ((code(_written(row)), row.kind, row.help) for row in sorted(rows, key=lambda row: row.name))
    return table(("family", "type", "meaning"), cells)


def _written(row: FamilyRow) -> str:
    return f"{row.name}{{{', '.join(row.labels)}}}" if row.labels else row.name


def of_targets() -> Iterator[FamilyRow]:
    """Yield the families about targets and certificates."""
    shown = Page(interval=lambda _target: 60.0)
    shown.update(_EXAMPLE)
    for family in text_string_to_metric_families(b"".join(plain_text(shown.pieces())).decode()):
        (labels, *_) = (tuple(sample.labels) for sample in family.samples)
        yield FamilyRow(family.name, family.type, labels, family.documentation)


def of_daemon() -> Iterator[FamilyRow]:
    """Yield the families about the daemon itself."""
    for collector in _collectors(Counters("0", 0.0)):
        for family in collector.collect():
            if family.name.startswith("certvigil_"):
                total = "_total" if family.type == "counter" else ""
                yield FamilyRow(f"{family.name}{total}", family.type, _labels(collector, family), family.documentation)


def _labels(collector: Any, family: Any) -> tuple[str, ...]:
    """Return the labels of a family, which the client library keeps to itself."""
    names: Any = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
    return tuple(names)


def _collectors(counters: Counters) -> Iterable[Any]:
    """Return the makers of the families; neither certvigil nor the client library hands them out."""
    return tuple(counters._registry._collector_to_names)
