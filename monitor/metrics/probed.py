"""One look at an endpoint as blackbox_exporter and ssl_exporter say it, for those who have their dashboards.

Facts are there whether or not a client accepts them; unknown facts are absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from math import inf
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from config.address import is_ip_address
from config.immutable import immutable
from config.text import Printable, listed, printable, sentence
from config.vocabulary import ProbeKind, TLSVersion
from monitor.metrics.names import NameLabels, decimal_serial, value, values
from probes.certificate import Certificate, NameKind
from probes.http.exchange import NoResponse, Response
from probes.judge.presented import earliest_end
from probes.observation import EndpointObservation, Presented
from probes.ocsp import OCSPAnswer, OCSPStatus, staple_of

_VERSIONS: Final[Mapping[str, str]] = {
    TLSVersion.TLS1_0: "TLS 1.0",
    TLSVersion.TLS1_1: "TLS 1.1",
    TLSVersion.TLS1_2: "TLS 1.2",
    TLSVersion.TLS1_3: "TLS 1.3",
}

Samples = Iterable[tuple[Mapping[str, str], float]]
"""Labels and value of each."""
Families = Iterator[tuple[str, str, Samples]]
"""Name and help of each gauge, and its samples."""


PHASES: Final = ("resolve", "connect", "tls", "processing", "transfer")
"""Of a request, as blackbox_exporter calls them."""


@immutable
class Asked:
    """The result of a request, redirects included."""

    answer: Response | NoResponse
    """The last one."""
    redirects: int
    """Answers that led elsewhere, whether or not that was followed."""
    seconds: Mapping[str, float]
    """Of each phase that was reached, over all requests."""


@immutable
class Probed:
    """The result of a look, and the verdicts of clients."""

    prober: str
    """The prober's name in ssl_exporter."""
    observation: EndpointObservation
    paths: tuple[tuple[Certificate, ...], ...]
    """The verified ones, each once, by clients that accept the endpoint."""
    accepted: bool
    """Whether some address answered, every client accepts the presented chain, and the answer is the wanted one."""
    seconds: float
    """Duration of the look."""
    lookup: float = 0.0
    """Seconds in which the name was resolved."""
    asked: Asked | None = None
    """None where no request was to be sent."""
    limit: float | None = None
    """Seconds that it might have taken."""
    unmatched: bool = False
    """Whether a server did not say what the module expects."""
    in_body: tuple[Certificate, ...] | None = None
    """The certificates in the body of the answer; None where these were not wanted."""
    log: tuple[Printable, ...] = ()
    """What happened, for a person."""

    def text(self) -> bytes:
        """Return all of it in Prometheus text format 0.0.4."""
        return _text((*self._as_blackbox_exporter(), *self._as_ssl_exporter()))

    @property
    def _presented(self) -> Sequence[Presented]:
        return self.observation.presented

    @property
    def _certificates(self) -> Iterable[Certificate]:
        return dict.fromkeys(each for one in self._presented for each in one.chain)

    def _as_blackbox_exporter(self) -> Families:
        yield "probe_success", _SUCCESS, [({}, self.accepted)]
        yield "probe_duration_seconds", "Duration of the look.", [({}, self.seconds)]
        yield "probe_timeout_seconds", "Its time limit.", _known(self.limit)
        yield "probe_failed_due_to_regex", "Whether a server said other than expected.", [({}, self.unmatched)]
        yield "probe_dns_lookup_time_seconds", "Time in which the name was resolved.", [({}, self.lookup)]
        # Behind a proxy a name stands there, and the address is the proxy's secret.
        if self._presented and is_ip_address(self._presented[0].address):
            address = ip_address(self._presented[0].address.partition("%")[0])
            yield "probe_ip_protocol", "IP version of the first address that answered.", [({}, address.version)]
            yield (
                "probe_ip_addr_hash",
                "Hash of that address, which changes when it does.",
                [({}, _fnv(address.packed))],
            )
        yield "probe_tls_version_info", "The TLS version negotiated.", _versions(self._presented)
        ciphers = dict.fromkeys(each.cipher for each in self._presented)
        yield "probe_tls_cipher_info", "The cipher negotiated.", [({"cipher": each}, 1) for each in ciphers]
        groups = dict.fromkeys(each.group for each in self._presented if each.group)
        yield "probe_tls_group_info", "The key exchange group.", [({"group": each}, 1) for each in groups]
        if self.asked is not None and self._presented:
            yield "probe_http_ssl", "Whether TLS was used.", [({}, 1)]
        if self.asked is not None:
            yield from _as_http(self.asked)
        end = earliest_end(self._certificates)
        yield "probe_ssl_earliest_cert_expiry", "Earliest end of all certificates presented.", _known(end)
        end = earliest_end(each for path in self.paths for each in path)
        yield "probe_ssl_last_chain_expiry_timestamp_seconds", "Earliest end on the verified paths.", _known(end)
        leaves = dict.fromkeys(one.chain[0] for one in self._presented if one.chain)
        yield "probe_ssl_last_chain_info", "The leaf.", [(_leaf_labels(each), 1) for each in leaves]

    def _as_ssl_exporter(self) -> Families:
        yield "ssl_probe_success", _SUCCESS, [({}, self.accepted)]
        yield "ssl_prober", "How it was looked at.", [({"prober": self.prober}, 1)]
        yield "ssl_tls_version_info", "The TLS version negotiated.", _versions(self._presented)
        latest_first = sorted(self.paths, key=lambda path: earliest_end(path) or 0, reverse=True)
        for name, help_text, fact in (("not_after", "End", _not_after), ("not_before", "Begin", _not_before)):
            certificates = self._certificates if self.in_body is None else self.in_body
            yield (
                f"ssl_cert_{name}",
                f"{help_text} of each certificate presented or fetched.",
                _each(certificates, fact),
            )
            verified = [
                sample
                for number, path in enumerate(latest_first)
                for sample in _each(path, fact, {"chain_no": str(number)})
            ]
            yield f"ssl_verified_cert_{name}", f"{help_text} of each certificate on a verified path.", verified
        if self._presented:
            yield from _as_ocsp(self._presented, [each for path in self.paths for each in path])


def _as_ocsp(presented: Sequence[Presented], others: Sequence[Certificate]) -> Families:
    """Yield the facts of the staples: of several addresses, those of the worst one."""
    stapled = any(each.staple for each in presented)
    yield "ssl_ocsp_response_stapled", "Whether an OCSP response came in the handshake.", [({}, float(stapled))]
    found = [staple for each in presented if isinstance(staple := staple_of(each, others), OCSPAnswer)]
    if not found:
        return
    worst = max(found, key=lambda each: (each.status is OCSPStatus.REVOKED, -(each.next_update or inf)))
    yield "ssl_ocsp_response_status", "0 good, 1 revoked, 2 unknown.", [({}, _STATUS_NUMBERS[worst.status])]
    yield "ssl_ocsp_response_produced_at", "When it was signed.", [({}, worst.produced_at)]
    yield "ssl_ocsp_response_this_update", "Since when it is known to be right.", [({}, worst.this_update)]
    yield "ssl_ocsp_response_next_update", "When newer information will be there.", _known(worst.next_update)
    yield "ssl_ocsp_response_revoked_at", "When the certificate was revoked.", _known(worst.revoked_at)


_STATUS_NUMBERS: Final = {OCSPStatus.GOOD: 0, OCSPStatus.REVOKED: 1, OCSPStatus.UNKNOWN: 2}


@immutable
class FoundInFile:
    """What is in a file of this host, or in a part of it."""

    labels: Mapping[str, str]
    """Where it is."""
    certificates: tuple[Certificate, ...]
    fault: Printable
    """Why there are none, or not all; empty where nothing is wrong."""
    damaged: bool
    """Whether it should be otherwise."""


@immutable
class ProbedFiles:
    """The result of a look at files of this host."""

    kind: ProbeKind
    """FILE or KUBECONFIG."""
    found: tuple[FoundInFile, ...]
    seconds: float
    """Duration of the look."""

    @property
    def accepted(self) -> bool:
        """Whether there is a certificate, and no file that could be read is damaged."""
        return any(each.certificates for each in self.found) and not any(each.damaged for each in self.found)

    @property
    def log(self) -> tuple[Printable, ...]:
        """What happened, for a person."""
        return tuple(
            sentence(
                "{}: {}",
                listed((printable(each, 4096) for each in one.labels.values()), " "),
                one.fault or sentence("{} certificates", len(one.certificates)),
            )
            for one in self.found
        )

    def text(self) -> bytes:
        """Return all of it in Prometheus text format 0.0.4."""
        return _text(self._families())

    def _families(self) -> Families:
        yield "probe_success", _SUCCESS, [({}, self.accepted)]
        yield "probe_duration_seconds", "Duration of the look.", [({}, self.seconds)]
        yield "ssl_probe_success", _SUCCESS, [({}, self.accepted)]
        yield "ssl_prober", "How it was looked at.", [({"prober": self.kind}, 1)]
        for name, help_text, fact in (("not_after", "End", _not_after), ("not_before", "Begin", _not_before)):
            samples = [
                sample for each in self.found for sample in _each(dict.fromkeys(each.certificates), fact, each.labels)
            ]
            yield f"ssl_{self.kind}_cert_{name}", f"{help_text} of each certificate in a file.", samples


def _text(families: Iterable[tuple[str, str, Samples]]) -> bytes:
    registry = CollectorRegistry()
    for name, help_text, samples in families:
        known = list(samples)
        if known:
            gauge = Gauge(name, help_text, tuple(known[0][0]), registry=registry)
            for labels, number in known:
                (gauge.labels(**labels) if labels else gauge).set(number)
    return generate_latest(registry)


def _as_http(asked: Asked) -> Families:
    seconds = [({"phase": phase}, asked.seconds[phase]) for phase in PHASES if phase in asked.seconds]
    yield "probe_http_duration_seconds", "Duration of each phase, over all redirects.", seconds
    yield "probe_http_redirects", "How many answers led elsewhere, followed or not.", [({}, asked.redirects)]
    answer = asked.answer
    # Rules for blackbox_exporter take 0 for the lack of an answer.
    status = answer.status if isinstance(answer, Response) else 0
    yield "probe_http_status_code", "Status of the last answer, 0 where there was none.", [({}, status)]
    if isinstance(answer, Response):
        yield "probe_http_version", "Version of HTTP of the last answer.", [({}, float(answer.version))]
        yield "probe_http_content_length", "Length of the body, as announced.", _known(answer.content_length)
        yield "probe_http_uncompressed_body_length", "Length of the body, as it came.", _known(answer.body_length)
        modified = answer.last_modified
        yield "probe_http_last_modified_timestamp_seconds", "When it was last modified, as announced.", _known(modified)


def _fnv(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash (RFC 9923)."""
    value = 0x811C9DC5
    for each in data:
        value = (value ^ each) * 0x01000193 % 2**32
    return value


_SUCCESS: Final = "Whether an address answered as wanted and every client accepts."


def _known(number: float | None) -> Samples:
    return [] if number is None else [({}, number)]


def _versions(presented: Iterable[Presented]) -> Samples:
    spelled = dict.fromkeys(_VERSIONS.get(each.version, each.version) for each in presented)
    return [({"version": each}, 1) for each in spelled]


def _not_after(certificate: Certificate) -> int | None:
    return certificate.not_after


def _not_before(certificate: Certificate) -> int | None:
    return certificate.not_before


def _each(
    certificates: Iterable[Certificate],
    fact: Callable[[Certificate], int | None],
    more: Mapping[str, str] = MappingProxyType({}),
) -> Samples:
    # Where two have the same labels, the last sample stands: let it be of the one that ends first.
    for each in sorted(certificates, key=lambda each: each.not_after or 0, reverse=True):
        number = fact(each)
        if number is not None:
            yield {**more, **_labels(each)}, number


def _leaf_labels(leaf: Certificate) -> Mapping[str, str]:
    whole_octets = len(leaf.serial) + len(leaf.serial) % 2
    return {
        "fingerprint_sha256": leaf.sha256,
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "subjectalternative": ",".join(_names(leaf, NameKind.DNS)),
        "serialnumber": leaf.serial.zfill(whole_octets),
    }


def _labels(certificate: Certificate) -> Mapping[str, str]:
    names = NameLabels.of(certificate)
    return {
        "serial_no": decimal_serial(certificate),
        "issuer_cn": value(names.issuer, "CN"),
        "cn": value(names.subject, "CN"),
        "dnsnames": _listed(_names(certificate, NameKind.DNS)),
        "ips": _listed(_names(certificate, NameKind.IP)),
        "emails": _listed(_names(certificate, NameKind.EMAIL)),
        "ou": _listed(values(names.subject, "OU")),
    }


def _names(certificate: Certificate, kind: NameKind) -> tuple[str, ...]:
    return tuple(each.value for each in certificate.alternative_names() if each.kind is kind)


def _listed(items: Sequence[str]) -> str:
    return f",{','.join(items)}," if items else ""
