"""The configuration as frozen values, which are valid once built."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from config.address import join_address
from config.channel import Channel, Notifications
from config.expected import ANY_MODERN, AllowedTLS, DefaultCertificate, NotTLS, ValidationSwitch
from config.host import NAMELESS
from config.immutable import immutable
from config.label import Labels
from config.probing import MODULES, ProbeModule, ProbeTurn
from config.reach import Reach
from config.revocation import NO_SOURCES, RevocationSettings
from config.service import Service
from config.vocabulary import (
    LINE_ROLES,
    AddressChoice,
    Code,
    Elsewhere,
    EndpointProtocol,
    FileRole,
    KeyKind,
    Keys,
    LineSyntax,
    Mode,
    ProxyKind,
    ProxyProtocolVersion,
    RevocationCheck,
    Scope,
    Sending,
    TargetKind,
    TLSVersion,
    VerifierName,
    WriteMode,
)

if TYPE_CHECKING:
    # Policies use thresholds, which are defined here.
    from config.policy import Policy

DAY = 86_400

DEFAULT_SECURITY_LEVEL: Final = 2
"""Of OpenSSL since 3.2, and of the distributions long before."""

DEFAULT_CLIENT = "default"
"""The client that must accept an endpoint without clients of its own."""


@immutable
class Threshold:
    """A point before the end of a lifetime: `share` of the lifetime is left, but never more than `days` days."""

    share: float
    days: float

    def seconds_left(self, lifetime: float) -> float:
        """Return the seconds that are left of a `lifetime` in seconds when it crosses this threshold."""
        return min(self.share * lifetime, self.days * DAY)


@immutable
class Thresholds:
    """When `expiring` is raised, by severity; each level lies no earlier than the one below it."""

    notice: Threshold = Threshold(1 / 3, 60)
    warning: Threshold = Threshold(0.25, 30)
    critical: Threshold = Threshold(0.125, 14)


@immutable
class ConfigLine:
    """A line in a configuration file that must be there exactly while the chain of a component is in use."""

    file: str
    syntax: LineSyntax
    setting: str
    """Of lighttpd the name of a setting; of XML the path of an element, such as `ssl/certificate_chain_file`."""
    value: str
    """The path of the chain, as configured."""
    certificate: str = ""
    """The path of the component's certificate, as configured: the line belongs beside its name."""


@immutable
class FileTarget:
    """A file that is looked at."""

    name: str
    path: str
    """Absolute, as configured: symbolic links are not resolved."""
    role: FileRole
    component: str | None = None
    trust_store: str | None = None
    """The trust store by which the file's chain is judged, if there is one."""
    thresholds: Thresholds | None = None
    """None means the default thresholds, which also know short-lived and CA certificates."""
    password_files: tuple[str, ...] = ()
    """The files with the passwords of a keystore and of encrypted keys, in the order in which they are tried."""
    keys: Keys = Keys.READ
    """For a component's file: whether the component's private keys should be read."""
    line: ConfigLine | None = None
    """The line in it, where it is a configuration file."""
    default_certificate: DefaultCertificate | None = None
    """How the product's own default certificate is told in this file; None where nothing is known of one."""
    labels: Labels = ()
    pointers: tuple[str, ...] = ()
    """Where in a document its certificates are; empty where it is one, or something else."""


@immutable
class Watch:
    """Files to find: paths, directories (recursively) and patterns with `*`, `?`, `[...]` and `**`, all absolute."""

    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    trust_store: str | None = None
    thresholds: Thresholds | None = None
    password_files: tuple[str, ...] = ()
    """The files with the passwords of the keystores among these files, in the order in which they are tried."""
    labels: Labels = ()
    pointers: tuple[str, ...] = ()
    """JSON pointers, in which `*` stands for any key or index: places with certificates in YAML or JSON."""
    expression: str | None = None
    """A regular expression that a whole path must match; its named groups are labels. None matches every path."""
    of_lists: bool = False
    """These are the files of `revocation.crls`."""


@immutable
class Proxy:
    """A proxy through which an endpoint is reached."""

    kind: ProxyKind
    host: str
    port: int
    credentials_file: str | None = None
    """The path of a file with `USER:PASSWORD`; None where the proxy wants none."""

    @property
    def url(self) -> str:
        """As it is written in YAML."""
        return f"{self.kind}://{join_address(self.host, self.port)}"


@immutable
class ClientCertificate:
    """Where the certificate lies that is shown to a server; both files are read by certvigil's own user."""

    certificate: str
    """The path of a PEM file: the certificate, then its chain."""
    key: str
    """The path of a PEM file with its private key, without a password; perhaps the same."""


@immutable
class Endpoint:
    """A TLS server, at the addresses that `host` resolves to."""

    name: str
    host: str
    port: int
    server_name: str | None = None
    """The SNI name and the name to verify; None means `host` (no SNI where that is an address)."""
    every: float = 300.0
    timeout: float = 10.0
    minimum_version: TLSVersion = TLSVersion.TLS1_0
    """The lowest version that the probe itself accepts: it is low, since facts come first."""
    tls: AllowedTLS = ANY_MODERN
    """What may be negotiated without `obsolete_protocol` and `weak_cipher`."""
    clients: tuple[str, ...] = ()
    component: str | None = None
    thresholds: Thresholds | None = None
    key_types: tuple[KeyKind, ...] = ()
    """The kinds of key to ask for, each by itself, of a server that has an RSA and an EC pair; without any the server
    chooses."""
    addresses: AddressChoice = AddressChoice.ALL
    """Which addresses of `host` are looked at."""
    source_address: str | None = None
    """The address of this host from which it connects; None leaves that to the kernel."""
    sni: bool = True
    """Whether the server is told the name that is asked for."""
    client_certificate: ClientCertificate | None = None
    """The certificate that is shown to a server that asks for one; None for none."""
    protocol: EndpointProtocol = EndpointProtocol.TLS
    proxy: Proxy | None = None
    """It resolves the host; None connects to each address of the host."""
    proxy_protocol: ProxyProtocolVersion | None = None
    """The header that the server expects first; None for none."""
    sends_intermediates: Sending | None = None
    """Whether the server is expected to send its intermediates; None where the site does not say."""
    default_certificate: DefaultCertificate | None = None
    """How the product's own default certificate is told at this endpoint; None where nothing is known of one."""
    supported_every: float | None = None
    """Seconds between two inquiries about everything that it takes; None for none."""
    labels: Labels = ()
    """Those of its component among them."""
    dialogue: tuple[ProbeTurn, ...] = ()
    """What is said before TLS in place of the `protocol`, where a module of `/probe` says so."""

    @property
    def key_type(self) -> KeyKind | None:
        """The only kind of key that is asked for; None where there is none, or more than one."""
        return self.key_types[0] if len(self.key_types) == 1 else None

    @property
    def verified_name(self) -> str:
        """The name that the certificate must have."""
        return self.server_name or self.host

    @property
    def may_send_leaf_alone(self) -> bool:
        """Whether its clients can count on nothing but the server's own certificate."""
        return self.sends_intermediates is Sending.NOT_EXPECTED


@immutable
class Artefacts:
    """The files of a component: `keystore`, or `combined`, or `certificate` (and `key`), and a separate `chain`."""

    certificate: str | None = None
    key: str | None = None
    chain: str | None = None
    combined: str | None = None
    keystore: str | None = None
    """With key, certificate and chain: PKCS#12, JKS or JCEKS."""
    password_file: str | None = None
    """The file with the password of `keystore`, whose line end does not count; None where it has none."""
    lines: tuple[ConfigLine, ...] = ()
    """The lines that name `chain`, each in a file of its own: as long as there are any, the chain may be missing."""

    @property
    def line_of(self) -> Mapping[FileRole, ConfigLine]:
        """The configuration lines, by the roles of their files."""
        return dict(zip(LINE_ROLES, self.lines, strict=False))

    @property
    def files(self) -> Mapping[FileRole, str]:
        """The files that change with the certificate, by role, in the order of the change."""
        every = {
            FileRole.COMBINED: self.combined,
            FileRole.KEYSTORE: self.keystore,
            FileRole.CERTIFICATE: self.certificate,
            FileRole.KEY: self.key,
            FileRole.CHAIN: self.chain,
        }
        lines = {role: each.file for role, each in self.line_of.items()}
        return {role: path for role, path in (every | lines).items() if path is not None}


@immutable
class BackupFolder:
    """A folder in which another program keeps earlier files of a component."""

    directory: str
    names: Mapping[FileRole, str]
    """By artefact: a file's name, in which `*` stands for the date that names the set."""


@immutable
class AllowedIssuer:
    """An acceptable issuer, given by a key or by a trust store, since anybody can write a name."""

    trust_store: str | None = None
    """The name of a trust store to which the chain must lead."""
    spki_sha256: str | None = None
    """SHA-256 of the public key of the issuer itself, as SubjectPublicKeyInfo, hexadecimal."""

    def __str__(self) -> str:
        """Its spelling in the configuration."""
        return f"trust_store: {self.trust_store}" if self.trust_store else f"spki_sha256: {self.spki_sha256}"


@immutable
class Component:
    """A service with its artefacts, its own endpoints and the clients that must accept it."""

    name: str
    artefacts: Artefacts
    endpoints: tuple[str, ...] = ()
    """Names of endpoints."""
    clients: tuple[str, ...] = ()
    not_served_after: float = 120.0
    """Seconds for which a new certificate may be on disk without being served, before this is a finding."""
    service: Service | None = None
    """The commands of its service; None where certvigil must not change it."""
    allowed_issuers: tuple[AllowedIssuer, ...] = ()
    """The acceptable issuers; empty for any issuer."""
    mode: Mode = Mode.APPROVE
    """How far a candidate in its inbox is taken without a person."""
    write_mode: WriteMode = WriteMode.RENAME
    """Of all its files."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Labels for the matches of policies; its files and endpoints have them, too."""
    keys: Keys = Keys.READ
    """Whether its private keys should be read."""
    min_lifetime: float | None = None
    """Seconds for which a new certificate must remain valid; None leaves that to its own thresholds."""
    do_first: str | None = None
    """What a person must have done before its first replacement, a sentence."""
    backup_folder: BackupFolder | None = None
    """Where another program keeps its earlier files."""
    default_certificate: DefaultCertificate | None = None
    """How its default certificate is told; None where nothing is known of one."""
    guide: str | None = None
    """The topic of `certvigil guide` about its replacement by hand."""


@immutable
class ComponentGroup:
    """Components that are changed as one, or not at all."""

    name: str
    """Of no component."""
    members: tuple[str, ...]
    """Names of components, each of this group only, sorted."""


def groups_by_member(groups: Mapping[str, ComponentGroup]) -> dict[str, str]:
    """Return the name of the group of each component that is in one."""
    return {member: name for name, group in groups.items() for member in group.members}


@immutable
class PemBundle:
    """Anchors in a file of PEM (or one DER) certificates."""

    path: str


@immutable
class SystemStore:
    """The operating system's anchors."""


@immutable
class CertifiStore:
    """Mozilla's anchors, as the certifi package ships them."""


@immutable
class OtherMachines:
    """Anchors on other machines, which nobody here can see: persons confirm which roots are among them."""

    kind: Elsewhere


TrustSource = PemBundle | SystemStore | CertifiStore | OtherMachines


@immutable
class TrustStore:
    """A named set of anchors."""

    name: str
    source: TrustSource
    password_file: str | None = None
    """The file with the password of a keystore; None where the keystore has none, or Java's default one."""
    mode: Mode = Mode.OBSERVE
    """`observe` where certvigil must not change it, `approve` where a person may have it changed."""
    service: Service | None = None
    """The service that reads it; None where nothing must be started anew after a change."""
    write_mode: WriteMode = WriteMode.RENAME
    keytool: str | None = None
    """Java's keytool for this store; None leaves it to be found beside the store."""

    @property
    def path(self) -> str | None:
        """The file of the store, as configured; None for the anchors of the system and of packages."""
        return self.source.path if isinstance(self.source, PemBundle) else None

    @property
    def elsewhere(self) -> Elsewhere | None:
        """The machines that have it, where nobody here can see it; else None."""
        return self.source.kind if isinstance(self.source, OtherMachines) else None

    @property
    def is_changeable(self) -> bool:
        """Whether a person may have it changed."""
        return self.path is not None and self.mode is not Mode.OBSERVE


@immutable
class Client:
    """A kind of program that connects: its trust store, its rules, and the names by which it connects."""

    name: str
    trusts: str
    """The name of a trust store."""
    verifier: VerifierName = VerifierName.OPENSSL
    intermediates: tuple[str, ...] = ()
    """Files with certificates that this client holds itself."""
    names: tuple[str, ...] = ()
    """The names by which it connects; empty means the endpoint's own."""
    validates: bool = True
    validation_switch: ValidationSwitch | None = None
    """Where it is told to validate; `validates` counts where that cannot be read."""
    security_level: int = DEFAULT_SECURITY_LEVEL
    """How long keys and signatures must be for OpenSSL, from 0 to 5 (SSL_CTX_set_security_level(3))."""
    post_quantum: bool = False
    """Whether it knows ML-DSA and SLH-DSA, as OpenSSL does since 3.5."""
    revocation: RevocationCheck = RevocationCheck.NONE


@immutable
class Rotation:
    """A declared change of the root: the files of the roots that come and go."""

    new: str
    old: tuple[str, ...] = ()
    """Empty where the roots of the certificates in use are meant."""


@immutable
class Waiver:
    """A finding that counts as a notice until a date."""

    target: str
    code: Code
    reason: str
    until: int
    """Unix time at which the waiver ends."""


@immutable
class Web:
    """Where and how the daemon answers HTTP."""

    listen: tuple[str, ...] = ("127.0.0.1:9790",)
    config_file: str | None = None
    """A file in the shape of Prometheus' `web.config.file`."""
    allowed_hosts: tuple[str, ...] = ()
    """Host header values accepted beside the listening addresses and the host's own names."""
    tokens: tuple[Token, ...] = ()
    console: bool | None = None
    """Whether the console is shown; None where only those who may come in can reach it."""
    external_url: str | None = None
    """How browsers reach it, without a slash at the end; None where messages have no links."""


@immutable
class Token:
    """A token for more than reading over the API."""

    name: str
    """For the record."""
    sha256: str = field(repr=False)
    """Of the token, hexadecimal."""
    scopes: frozenset[Scope] = frozenset()


@immutable
class Validation:
    """When the result of a change counts as good: so many looks in a row without a fault, before a deadline."""

    successes: int = 3
    interval: float = 1.0
    """Seconds between two looks."""
    deadline: float = 60.0
    """Seconds after which the change is undone."""
    handshakes: int = 16
    """Handshakes with each address in one look, since several workers may share a port."""


@immutable
class ActorSettings:
    """The process with the rights to act: its socket, its directories, and the users who may ask it."""

    socket: str = "/run/certvigil-actor/actor.sock"
    directory: str = "/var/lib/certvigil-actor"
    """Journal, audit, backups and locks; not the daemon's to write."""
    inbox_directory: str = "/var/lib/certvigil-inbox"
    """The directory of the inboxes: one directory for each component."""
    offered_directory: str | None = None
    """The directory of offers, in which others may write: one directory for each component; None for none."""
    operators: tuple[str, ...] = ()
    """Users, beside root and its own, who may ask for any action."""
    group: str = "certvigil-actor"
    """Of its socket: daemon and operators must be in it to be heard at all."""
    daemon_user: str = "certvigil"
    """The user of the daemon, who may ask for actions that modes and approvals allow."""
    approval_lifetime: float = 7 * DAY
    """Seconds for which an approval holds."""
    keep_backups: int = 20
    """The largest number of backup sets of a component, the default set aside."""
    backup_lifetime: float = 400 * DAY
    """Seconds after which a backup set is removed, unless it is the default set or the last good one."""
    offer_lifetime: float = 90 * DAY
    """Seconds after which an offer that nobody took is taken out, unless it answers a request that waits."""
    approvals_over_api: bool = False
    """Whether the actor believes the daemon that somebody approved or rejected a plan over its API."""
    require_synchronised_clock: bool = True
    """Whether actions without a person need a clock that the kernel counts as synchronised."""


@immutable
class Undeclared:
    """Whether the daemon reports open ports of this host with TLS that the configuration does not declare."""

    report: bool = True
    exclude_ports: frozenset[int] = frozenset()
    """Ports that are not looked at."""
    every: float = 300.0
    """Seconds between two looks at the open ports; a new one is looked at when it was seen twice."""


@immutable
class X509CertSettings:
    """How the metrics of x509-certificate-exporter are exported."""

    relative: bool = False
    """Whether the seconds from now to the begin and the end of each validity are among them."""
    trim_path_components: int = 0
    """The number of components at the beginning of each path that are left out."""


@immutable
class Settings:
    """The settings of the daemon."""

    state_directory: str = "/var/lib/certvigil"
    socket: str = "/run/certvigil/certvigil.sock"
    rescan: float = 600.0
    """Seconds between two looks at every file, the safety net for a lost event."""
    concurrency: int = 20
    """The largest number of looks at endpoints at the same time; looks that last too long do not count."""
    history_days: int = 400
    web: Web = Web()
    actor: ActorSettings = ActorSettings()
    validation: Validation = Validation()
    probe: tuple[Reach, ...] = ()
    """The addresses that `/probe` may have looked at, beside the endpoints."""
    probe_files: tuple[str, ...] = ()
    """Patterns of the files that `/probe` may read, beside the watched ones."""
    probe_modules: Mapping[str, ProbeModule] = field(default_factory=lambda: MODULES)
    """By name."""
    x509_cert: X509CertSettings | None = None
    """How the certificates in files are exported as x509-certificate-exporter does, too; None for not at all."""
    settle: float = 2.0
    """Seconds without a write after which the files of a component are judged, as one set."""
    pending: float = 300.0
    """Seconds for which the faults of a set on disk are only shown, while the served set is good."""
    tls: AllowedTLS = ANY_MODERN
    """What the endpoints may negotiate that say nothing else."""
    undeclared: Undeclared = Undeclared()
    revocation: RevocationSettings = NO_SOURCES


@immutable
class Config:
    """Everything that the configuration declares; names are unique and every reference resolves."""

    settings: Settings = Settings()
    host: str = NAMELESS
    """The name of the host that certvigil runs on: a DNS name, so it can be printed as it is."""
    watches: tuple[Watch, ...] = ()
    files: tuple[FileTarget, ...] = ()
    """Files of components; those of `watches` are found at run time."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    components: Mapping[str, Component] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[str, ComponentGroup] = field(default_factory=lambda: MappingProxyType({}))
    """A component is in one group at most: in two, it could be changed without a part of its group."""
    trust_stores: Mapping[str, TrustStore] = field(default_factory=lambda: MappingProxyType({}))
    clients: Mapping[str, Client] = field(default_factory=lambda: MappingProxyType({}))
    policies: tuple[Policy, ...] = ()
    """In their order of precedence; the shipped policies come last."""
    waivers: tuple[Waiver, ...] = ()
    not_tls: tuple[NotTLS, ...] = ()
    """Ports that are listed, and never looked at."""
    rotation: Rotation | None = None
    channels: Mapping[str, Channel] = field(default_factory=lambda: MappingProxyType({}))
    notifications: Notifications = field(default_factory=Notifications)
    profile: str | None = None
    """The name of the shipped profile that the configuration adds to."""
    parameters: Mapping[str, str | tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """The parameters of the profile, with defaults; an empty list for none."""
    guides: str | None = None
    """The directory of the site's own topics of `certvigil guide`."""
    sources: tuple[str, ...] = ()
    """The files of the configuration, to notice that they differ from the loaded configuration."""
    digest: str = ""
    """SHA-256 over those files, hexadecimal."""
    given: str = field(default="", compare=False)
    """The path, absolute, by which the configuration was named: a file or a directory."""
    group_of: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """By component: the name of its group; a component of no group is not in it."""

    def __post_init__(self) -> None:
        """Note the group of each component."""
        object.__setattr__(self, "group_of", MappingProxyType(groups_by_member(self.groups)))

    def subject_of(self, component: str) -> str:
        """Return the name of what is changed with a component: its group, or where it is in none, itself."""
        return self.group_of.get(component, component)

    def group_of_all(self, components: Iterable[str]) -> str:
        """Return the group that all these components are in; empty where there is no such group."""
        groups = {self.group_of.get(each, "") for each in components}
        return groups.pop() if len(groups) == 1 else ""

    def subjects_of(self, components: Iterable[str]) -> tuple[str, ...]:
        """Return the subjects of these components, each once, in their order."""
        return tuple(dict.fromkeys(map(self.subject_of, components)))

    def members_of(self, name: str) -> tuple[str, ...]:
        """Return the components that a name stands for: the members of a group, or else the one of this name."""
        group = self.groups.get(name)
        return (name,) if group is None else group.members

    def with_own(self, own_sha256: Mapping[str, Collection[str]]) -> Config:
        """Return it with certificates, by component, that are known to be the site's own, by SHA-256.

        None of them is a default certificate for being signed by its own key.
        """
        if not any(own_sha256.values()):
            return self

        def told(component: str | None, default: DefaultCertificate | None) -> DefaultCertificate | None:
            return None if default is None else default.but_for(own_sha256.get(component or "", ()))

        return replace(
            self,
            files=tuple(
                replace(each, default_certificate=told(each.component, each.default_certificate)) for each in self.files
            ),
            endpoints=MappingProxyType(
                {
                    name: replace(each, default_certificate=told(each.component, each.default_certificate))
                    for name, each in self.endpoints.items()
                }
            ),
            components=MappingProxyType(
                {
                    name: replace(each, default_certificate=told(name, each.default_certificate))
                    for name, each in self.components.items()
                }
            ),
        )

    @property
    def changeable_stores(self) -> Mapping[str, TrustStore]:
        """The trust stores that a person may have changed, by name."""
        return {name: each for name, each in self.trust_stores.items() if each.is_changeable}

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of what is changed as one: groups, and components of no group."""
        return (*self.groups, *(name for name in self.components if name not in self.group_of))

    @property
    def labels(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of each component and each group: of a group, those that no two of its members have otherwise."""
        found = {name: each.labels for name, each in self.components.items()}
        for name, group in self.groups.items():
            every = [item for member in group.members for item in found[member].items()]
            found[name] = {key: value for key, value in every if all(value == it for at, it in every if at == key)}
        return found

    def interval(self, target: str, kind: TargetKind) -> float | None:
        """Return the seconds after which the next look at a target is due; None where it is not looked at."""
        if kind is TargetKind.FILE:
            return self.settings.rescan
        endpoint = self.endpoints.get(target) if kind is TargetKind.ENDPOINT else None
        return None if endpoint is None else endpoint.every
