"""The daemon's answers to other programs, as they are written: the reach of `/probe`, and optional metrics."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Self

from pydantic import Field, model_validator

from config import model, probing, reach
from config.address import split_proxy
from config.fields import (
    AbsolutePath,
    Host,
    HostPattern,
    Interval,
    Network,
    PathComponents,
    PlainName,
    Port,
    ProxyURL,
    SimpleExpression,
)
from config.schema.looking import Protocol
from config.schema.section import Section, broken_rule
from config.vocabulary import ProbeKind


class ReachSection(Section):
    """Networks, names and the ports there, or files."""

    networks: list[Network] = []
    """Networks such as 10.0.0.0/8 or "fd00::/8". Loopback and link-local addresses need a network of their own."""
    names: list[HostPattern] = []
    """Names such as www.example.com or "*.example.com" that a module's proxy may be asked for, since it resolves them.
    """
    ports: list[Port] = Field(min_length=1)
    """The ports at these addresses and names."""

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if not (self.networks or self.names):
            raise broken_rule("neither 'networks' nor 'names', expected one of them", "networks", "names")
        return self

    def build(self) -> reach.Reach:
        """Return the reach."""
        return reach.Reach(tuple(map(ip_network, self.networks)), frozenset(self.ports), tuple(self.names))


class TurnSection(Section):
    """One turn of a dialogue, as in blackbox_exporter's query_response."""

    expect: SimpleExpression | None = None
    """A regular expression that some line of the server must match, such as ^220."""
    expect_bytes: str | None = None
    """The characters that must come next, in place of a line."""
    send: str = ""
    """A line for the server; ${1} is the first group of `expect`. A line feed is added."""
    starttls: bool = False
    """Whether TLS begins after it."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.expect is not None and self.expect_bytes is not None:
            raise broken_rule("'expect' beside 'expect_bytes', expected one of them", "expect", "expect_bytes")
        return self

    def build(self) -> probing.ProbeTurn:
        """Return the turn."""
        return probing.ProbeTurn(self.expect or "", (self.expect_bytes or "").encode(), self.send, self.starttls)


class TCPSection(Section):
    """What is said beside the handshake."""

    tls: bool = False
    """Whether TLS begins at once, before the dialogue, as it also does where no turn begins it."""
    starttls: Protocol | None = None
    """The protocol that asks for TLS, such as smtp, as in ssl_exporter."""
    query_response: Annotated[list[TurnSection], Field(max_length=probing.MOST_TURNS)] = []
    """The turns of a dialogue, as in blackbox_exporter."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        begin = sum(each.starttls for each in self.query_response)
        if begin > 1 or (begin and (self.tls or self.starttls is not None)):
            raise broken_rule("TLS begins twice, expected one of 'tls', 'starttls' and one turn with 'starttls'")
        return self


class TLSConfigSection(Section):
    """Of the handshake: a CA is that of a client, and a client certificate is only shown to endpoints."""

    server_name: Host | None = None
    """The name that is asked for (SNI) and verified; by default `hostname` of the request, or the target's."""
    insecure_skip_verify: bool = False
    """Whether success does without the verdicts of the clients."""


class ViaSection(Section):
    """The proxy of a request."""

    proxy_url: ProxyURL | None = None
    """http://HOST:PORT or socks5://HOST:PORT; it resolves the target, so `names` of `allow` must have that."""


class ModuleSection(Section):
    """A module, in the shape of those of blackbox_exporter and ssl_exporter."""

    prober: Annotated[ProbeKind, Field(strict=False)]
    """How it looks: tcp, https, http, file, kubeconfig or http_file."""
    target: str | None = None
    """The only target; by default that of the request."""
    timeout: Interval | None = None
    """The time limit; by default that of the request."""
    tls_config: TLSConfigSection = TLSConfigSection()
    """The name that is asked for, and whether the clients' verdicts count."""
    tcp: TCPSection | None = None
    """What is said beside the handshake."""
    https: ViaSection | None = None
    """The proxy of `prober: https`."""
    http: ViaSection | None = None
    """The proxy of `prober: http`."""
    http_file: ViaSection | None = None
    """The proxy of `prober: http_file`."""

    @model_validator(mode="after")
    def _check_of_prober(self) -> Self:
        for key in ("tcp", "https", "http", "http_file"):
            if getattr(self, key) is not None and self.prober != key:
                raise broken_rule(f"'{key}' beside 'prober: {self.prober}', expected 'prober: {key}'", key, "prober")
        return self

    def build(self) -> probing.ProbeModule:
        """Return the module."""
        said = self.tcp or TCPSection()
        turns = tuple(each.build() for each in said.query_response)
        before, within = probing.split_turns(turns, tls=said.tls or said.starttls is not None)
        via = self.https or self.http or self.http_file or ViaSection()
        return probing.ProbeModule(
            self.prober,
            self.target,
            self.timeout,
            self.tls_config.server_name,
            not self.tls_config.insecure_skip_verify,
            said.starttls,
            before,
            within,
            None if via.proxy_url is None else model.Proxy(*split_proxy(via.proxy_url)),
        )


class Probe(Section):
    """What a request for `/probe` may have looked at, and how."""

    allow: list[ReachSection] = []
    """Further addresses; endpoints are always allowed."""
    files: list[AbsolutePath] = []
    """Paths and patterns of files, as in `watch`, that a request of the prober `file` may read; watched ones may be."""
    modules: dict[PlainName, ModuleSection] = {}
    """Modules beside those that are always there, or in their place."""


class MetricsSection(Section):
    """Metrics under the names of other exporters."""

    x509_cert: bool = False
    """For each certificate in a file also x509_cert_not_after and the other names of x509-certificate-exporter."""
    x509_relative: bool = False
    """Also x509_cert_expires_in_seconds and x509_cert_valid_since_seconds, which change at every scrape."""
    x509_trim_path_components: PathComponents = 0
    """How many components at the beginning of each path are left out of its labels, such as 2 for /mnt/watch."""

    @model_validator(mode="after")
    def _check_use(self) -> Self:
        for key in ("x509_relative", "x509_trim_path_components"):
            if getattr(self, key) and not self.x509_cert:
                raise broken_rule(f"'{key}' without 'x509_cert', expected 'x509_cert: true' beside it", key)
        return self

    def build(self) -> model.X509CertSettings | None:
        """Return how they are exported; None for not at all."""
        if not self.x509_cert:
            return None
        return model.X509CertSettings(self.x509_relative, self.x509_trim_path_components)
