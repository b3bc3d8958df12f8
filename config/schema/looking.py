"""Watched files and endpoints, as they are written."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from config import model
from config.address import join_address, split_address, split_proxy
from config.expected import ANY_MODERN, DefaultCertificate
from config.expected import AllowedTLS as Allowed
from config.fields import (
    AbsolutePath,
    Address,
    Host,
    Interval,
    IPAddress,
    LongInterval,
    PathExpression,
    Pointer,
    Port,
    ProxyURL,
    TargetName,
    default_duration,
)
from config.label import labels_of
from config.schema.expected import DefaultCertificateSection, NegotiationSection, Own, Version
from config.schema.section import ClientName, Labels, Section, StoreName, broken_rule
from config.schema.threshold import ThresholdsSection, built
from config.vocabulary import AddressChoice, EndpointProtocol, KeyKind, OwnCertificate, ProxyProtocolVersion, Sending

MOST_PASSWORDS: Final = 8
"""Of a watch: each of them may cost as much work as a keystore asks for."""

MOST_POINTERS: Final = 32
"""Of a watch."""

_ENDPOINT: Final = model.Endpoint("", "", 0)

_UNDECLARED: Final = model.Undeclared()


def _spoken(protocol: object) -> object:
    if isinstance(protocol, str) and protocol.lower() in {"dtls", "quic"}:
        raise broken_rule(f"'{protocol}' is not spoken: it runs over UDP, and certvigil speaks TLS over TCP alone")
    return protocol


Protocol = Annotated[EndpointProtocol, Field(strict=False), BeforeValidator(_spoken)]


class WatchSection(Section):
    """Files to find."""

    files: list[AbsolutePath] = Field(min_length=1)
    """A list of files, directories (recursive) and patterns with `*`, `?`, `[...]` and `**`, absolute."""
    exclude: list[AbsolutePath] = []
    """Paths to leave out, with everything beneath them."""
    trust_store: StoreName | None = None
    """Judge the chains in these files against this trust store."""
    thresholds: ThresholdsSection | None = None
    """When a certificate in these files counts as expiring."""
    password_file: AbsolutePath | None = None
    """A file with the password that opens the keystores among these files (PKCS#12, JKS, JCEKS), read by the daemon."""
    password_files: list[AbsolutePath] = Field(default=[], max_length=MOST_PASSWORDS)
    """In place of `password_file`, several such files; their passwords are tried in this order."""
    pointers: list[Pointer] = Field(default=[], max_length=MOST_POINTERS)
    """Places in these files, which are YAML or JSON, with certificates as PEM or in base64: JSON pointers, in which `*`
    stands for any key or index, such as /data/tls.crt. A kubeconfig needs none."""
    labels: Labels = {}
    """Labels for Prometheus, such as {team: web}; they stand on certvigil_target_info of each of these files."""
    expression: PathExpression | None = None
    """A regular expression (Python's) that a whole path must match, or the file is left out. Its named groups are
    labels, such as `/srv/(?P<site>[^/]+)/tls/.+`."""

    @model_validator(mode="after")
    def _check_passwords(self) -> Self:
        if self.password_file is not None and self.password_files:
            problem = "'password_files' beside 'password_file', expected one of them"
            raise broken_rule(problem, "password_file", "password_files")
        return self

    def build(self) -> model.Watch:
        """Return the watch."""
        alone = () if self.password_file is None else (self.password_file,)
        return model.Watch(
            tuple(self.files),
            tuple(self.exclude),
            self.trust_store,
            built(self.thresholds),
            tuple(self.password_files) or alone,
            labels_of(self.labels),
            tuple(self.pointers),
            self.expression,
        )


class SupportedSection(Section):
    """When a server is asked for everything that it takes."""

    every: LongInterval = default_duration(7 * model.DAY)
    """The time between two inquiries, at least an hour: each makes about a hundred connections."""


class _Looking(Section):
    """The keys of each endpoint."""

    address: Address
    """Host and port, such as www.example.com:443 or "[2001:db8::1]:443"."""
    addresses: Annotated[AddressChoice, Field(strict=False)] = _ENDPOINT.addresses
    """Which addresses of the host are looked at, and compared: all, the first that answers, or those of one kind."""
    source_address: IPAddress | None = None
    """The address of this host from which certvigil connects; addresses of the other kind are not looked at."""
    protocol: Protocol = _ENDPOINT.protocol
    """What is spoken from the first byte on: TLS, or a protocol that asks for TLS in the clear (STARTTLS)."""
    proxy: ProxyURL | None = None
    """The proxy that connects to the address and resolves its host: http://HOST:PORT (CONNECT) or socks5://HOST:PORT.
    """
    proxy_credentials_file: AbsolutePath | None = None
    """A file with the user and the password for the proxy, as USER:PASSWORD in one line."""
    proxy_protocol: Annotated[ProxyProtocolVersion, Field(strict=False)] | None = None
    """The version of the PROXY protocol whose header the server expects, as behind a load balancer."""
    every: Interval = default_duration(_ENDPOINT.every)
    """The time between two looks: a failure that begins and ends between two of them is not seen."""
    timeout: Interval = default_duration(_ENDPOINT.timeout)
    """The time limit of a look."""
    minimum_version: Version = _ENDPOINT.minimum_version
    """The lowest TLS version that certvigil itself accepts. It is low, to see old servers as well."""
    supported: SupportedSection | None = None
    """Ask the server now and then for every version, cipher and group that it takes; without this key, never."""
    tls: NegotiationSection = NegotiationSection()
    """The TLS versions and ciphers that may be negotiated without a finding; by default as in the whole configuration.
    """
    clients: list[ClientName] | None = None
    """The clients that must accept the presented chain; an empty list means none."""
    thresholds: ThresholdsSection | None = None
    """When a certificate at this endpoint counts as expiring."""
    server_name: Host | None = None
    """The name that certvigil asks for (SNI) and verifies; by default the host."""
    sni: bool = _ENDPOINT.sni
    """Whether certvigil tells the server that name; without it the server presents its default certificate."""
    client_certificate: AbsolutePath | None = None
    """A PEM file with the certificate, and its chain, that certvigil shows to a server that asks for one."""
    client_key: AbsolutePath | None = None
    """A PEM file with its private key, without a password; by default the file of the certificate."""
    key_type: Literal["rsa", "ec"] | None = None
    """The type of key to ask for, if the server has a certificate for each type; by default the server chooses."""
    sends_intermediates: Annotated[Sending, Field(strict=False)] | None = None
    """Whether the server should send its intermediates (expected), or its clients must hold them (not_expected).

    Without it, an incomplete chain is a finding where a client rejects the server for it.
    """
    default_certificate: DefaultCertificateSection | None = None
    """How the product's default certificate is told here; by default as at the component."""
    own_certificate: Own | None = None
    """Whether an own certificate must stand in its place: optional, expected or mandatory."""
    labels: Labels = {}
    """Labels for Prometheus, such as {team: mail}; they stand on certvigil_target_info."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.client_key is not None and self.client_certificate is None:
            raise broken_rule(
                "'client_key' without 'client_certificate', expected it beside", "client_key", "client_certificate"
            )
        if self.proxy_credentials_file is not None and self.proxy is None:
            raise broken_rule(
                "'proxy_credentials_file' without 'proxy', expected it beside", "proxy_credentials_file", "proxy"
            )
        if self.addresses is not _ENDPOINT.addresses and self.proxy is not None:
            raise broken_rule(
                "'addresses' beside 'proxy', expected one of them: the proxy resolves the host", "addresses", "proxy"
            )
        return self

    def _default(self, inherited: DefaultCertificate | None) -> DefaultCertificate | None:
        """Return how the default certificate is told, from the endpoint's own keys or those of its component."""
        own = self.own_certificate or (inherited.own if inherited is not None else OwnCertificate.EXPECTED)
        if self.default_certificate is not None:
            return self.default_certificate.build(own)
        return None if inherited is None else replace(inherited, own=own)

    def _build(  # noqa: PLR0917 (each is of the endpoint)
        self,
        name: str,
        server_name: str | None,
        clients: tuple[str, ...],
        component: str | None,
        tls: Allowed,
        default: DefaultCertificate | None = None,
    ) -> model.Endpoint:
        host, port = split_address(self.address)
        return model.Endpoint(
            name=name,
            host=host,
            port=port,
            server_name=server_name,
            every=self.every,
            timeout=self.timeout,
            minimum_version=self.minimum_version,
            tls=self.tls.build(tls),
            clients=clients if self.clients is None else tuple(self.clients),
            component=component,
            thresholds=built(self.thresholds),
            key_types=(KeyKind(self.key_type),) if self.key_type else (),
            addresses=self.addresses,
            source_address=self.source_address,
            sni=self.sni,
            client_certificate=self._client_certificate(),
            protocol=self.protocol,
            proxy=None if self.proxy is None else model.Proxy(*split_proxy(self.proxy), self.proxy_credentials_file),
            proxy_protocol=self.proxy_protocol,
            sends_intermediates=self.sends_intermediates,
            default_certificate=self._default(default),
            supported_every=self.supported.every if self.supported else None,
            labels=labels_of(self.labels),
        )

    def _client_certificate(self) -> model.ClientCertificate | None:
        if self.client_certificate is None:
            return None
        return model.ClientCertificate(self.client_certificate, self.client_key or self.client_certificate)

    def _typed(self, name: str) -> str:
        """Return `name`, with the type of key where it is given, and with the lack of SNI."""
        typed = name if self.key_type is None else f"{name}/{self.key_type}"
        return typed if self.sni else f"{typed}/no-sni"


class EndpointSection(_Looking):
    """A TLS server."""

    name: TargetName | None = None
    """The name of this target; by default its address, with server_name and key_type where they are given."""
    server_names: list[Host] = []
    """Several names to ask for at this address; each is a target of its own, whose name ends in it."""
    key_types: list[Literal["rsa", "ec"]] = []
    """The types of key to ask for, each by itself, if the server has a certificate for each; all are judged."""

    @model_validator(mode="after")
    def _check_several(self) -> Self:
        for one, several in (("server_name", "server_names"), ("key_type", "key_types")):
            values = getattr(self, several)
            if values and getattr(self, one) is not None:
                raise broken_rule(f"'{one}' beside '{several}', expected one of them", one, several)
            if len(set(values)) < len(values):
                raise broken_rule(f"'{several}' has a value twice, expected each once", several)
        return self

    @model_validator(mode="after")
    def _check_own(self) -> Self:
        check_own(self.own_certificate, self.default_certificate)
        return self

    def build(self, tls: Allowed = ANY_MODERN) -> tuple[model.Endpoint, ...]:
        """Return the endpoint, or one for each of several names; `tls` is what the whole configuration allows."""
        if self.server_names:
            return tuple(self._named(each, tls) for each in self.server_names)
        return (self._named(self.server_name, tls),)

    def _named(self, server_name: str | None, tls: Allowed) -> model.Endpoint:
        host, port = split_address(self.address)
        derived = join_address(host, port)
        if server_name not in {None, host}:
            derived += f"/{server_name}"
        name = self._typed(derived) if self.name is None else self.name
        if self.name is not None and self.server_names:
            name += f"/{server_name}"
        built = self._build(name, server_name, (model.DEFAULT_CLIENT,), None, tls)
        return replace(built, key_types=tuple(map(KeyKind, self.key_types))) if self.key_types else built


class ComponentEndpoint(_Looking):
    """A port at which a component serves its certificate; the target's name has the component and the address."""

    name: Host | None = None
    """Another word for `server_name`."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.name is not None and self.server_name is not None:
            raise broken_rule(
                "'name' beside 'server_name', expected 'server_name' alone: "
                "a component's endpoint is called by its address"
            )
        return self

    def build(
        self,
        component: str,
        clients: tuple[str, ...],
        taken: Collection[str],
        tls: Allowed,
        default: DefaultCertificate | None,
    ) -> model.Endpoint:
        """Return the endpoint of `component`. Its name has the address; where it is `taken`, also the server name."""
        server_name = self.server_name or self.name
        target = self._typed(f"{component}/{join_address(*split_address(self.address))}")
        if target in taken and server_name is not None:
            target += f"/{server_name}"
        return self._build(target, server_name, clients, component, tls, default)


class UndeclaredSection(Section):
    """Open ports of this host with TLS that the configuration does not declare."""

    report: bool = _UNDECLARED.report
    """Whether the daemon reports them."""
    exclude_ports: list[Port] = []
    """Ports that are not looked at."""
    every: Interval = default_duration(_UNDECLARED.every)
    """The time between two looks at the open ports; a new one is looked at once, when it was seen twice."""

    def build(self) -> model.Undeclared:
        """Return the settings."""
        return model.Undeclared(self.report, frozenset(self.exclude_ports), self.every)


def check_own(own: OwnCertificate | None, default: DefaultCertificateSection | None) -> None:
    """Raise the mistake that an own certificate is wanted in the place of a default one that nobody can tell."""
    if own is not None and default is None:
        raise broken_rule(
            "'own_certificate' without 'default_certificate', expected it beside: how is the default one told?",
            "own_certificate",
            "default_certificate",
        )
