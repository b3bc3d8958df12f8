"""The closed lists: every word that appears in a finding, a label, a log line or the API comes from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Severity(StrEnum):
    """How much a finding matters; members are declared from least to most severe."""

    INFORMATIONAL = "informational"
    """Nobody on this host can change it, or need do so: it is shown, and told in a digest at most."""
    NOTICE = "notice"
    """It could be better, but nobody is hurt: it is told where a route asks for it."""
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The position on the scale, 0 for the least severe."""
        return _SEVERITY_RANK[self]


_SEVERITY_RANK: Final = {severity: rank for rank, severity in enumerate(Severity)}


class Verdict(StrEnum):
    """The summary of a target: the worst of its findings; a notice and an informational finding count as ok."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def badness(self) -> int:
        """The position among verdicts, 0 for ok: unknown is worse than a warning, and critical is the worst."""
        return _BADNESS[self]


_BADNESS: Final = {
    verdict: badness for badness, verdict in enumerate((Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.CRITICAL))
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of `verdicts`, unknown where there are none."""
    return max(verdicts, key=lambda each: each.badness, default=Verdict.UNKNOWN)


class Code(StrEnum):
    """The closed list of finding codes; `config.catalogue` has a row for each, and something raises each."""

    # time
    EXPIRED = "expired"
    EXPIRING = "expiring"
    NOT_YET_VALID = "not_yet_valid"
    VALIDITY_TOO_LONG = "validity_too_long"
    # chain
    INCOMPLETE_CHAIN = "incomplete_chain"
    WRONG_ORDER = "wrong_order"
    UNNEEDED_CERTIFICATE = "unneeded_certificate"
    ROOT_PRESENTED = "root_presented"
    UNTRUSTED_ISSUER = "untrusted_issuer"
    SELF_SIGNED = "self_signed"
    BAD_SIGNATURE = "bad_signature"
    INVALID_CA = "invalid_ca"
    PATH_REJECTED = "path_rejected"
    NONCONFORMING = "nonconforming"
    # name
    HOSTNAME_MISMATCH = "hostname_mismatch"
    COMMON_NAME_ONLY = "common_name_only"
    # key
    KEY_MISMATCH = "key_mismatch"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    KEY_EXPOSED = "key_exposed"
    KEY_SHARED = "key_shared"
    UNKNOWN_ALGORITHM = "unknown_algorithm"
    DEFAULT_STORE_PASSWORD = "default_store_password"  # noqa: S105 (a code, not a secret)
    # state
    UNSETTLED = "unsettled"
    NEXT_RELOAD_BREAKS = "next_reload_breaks"
    CONFIG_LINE_MISSING = "config_line_missing"
    NOT_SERVED = "not_served"
    ENDPOINTS_DISAGREE = "endpoints_disagree"
    DEFAULT_CERTIFICATE = "default_certificate"
    # source
    UNREADABLE = "unreadable"
    UNREACHABLE = "unreachable"
    NO_CERTIFICATE = "no_certificate"
    CLIENT_CERTIFICATE_FAILED = "client_certificate_failed"
    # tls
    OBSOLETE_PROTOCOL = "obsolete_protocol"
    WEAK_CIPHER = "weak_cipher"
    # revocation
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    CRL_STALE = "crl_stale"
    MUST_STAPLE_WITHOUT_STAPLE = "must_staple_without_staple"
    # client
    CLIENT_REJECTS = "client_rejects"
    VALIDATION_DISABLED = "validation_disabled"
    # action
    CANDIDATE_REFUSED = "candidate_refused"
    INBOX_UNSAFE = "inbox_unsafe"
    APPROVAL_PENDING = "approval_pending"
    ACTION_FAILED = "action_failed"
    COMPONENT_FROZEN = "component_frozen"
    REVERTED_BY_ANOTHER = "reverted_by_another"
    WRITTEN_LATE = "written_late"
    # self
    CLOCK_SUSPECT = "clock_suspect"
    KEYS_UNREAD = "keys_unread"
    DAEMON_UNSTABLE = "daemon_unstable"
    DATABASE_DEGRADED = "database_degraded"
    DELIVERY_FAILED = "delivery_failed"
    CONFIG_REJECTED = "config_rejected"
    UNDECLARED_ENDPOINT = "undeclared_endpoint"


class Group(StrEnum):
    """The subject area of a finding."""

    TIME = "time"
    CHAIN = "chain"
    NAME = "name"
    KEY = "key"
    STATE = "state"
    SOURCE = "source"
    TLS = "tls"
    REVOCATION = "revocation"
    CLIENT = "client"
    ACTION = "action"
    SELF = "self"


class TargetKind(StrEnum):
    """The kind of a target."""

    FILE = "file"
    ENDPOINT = "endpoint"
    COMPONENT = "component"
    """The actions on a component: its inbox and its transactions."""
    SELF = "self"
    """certvigil itself: its configuration, its database, its clock."""


class FileRole(StrEnum):
    """Why a file is looked at, which decides how it is judged."""

    LISTED = "listed"
    """Named on its own: it is a fault if it cannot be read, or has no certificate."""
    FOUND = "found"
    """Matched by a pattern or met in a directory: it may be anything, and is judged only if it holds a certificate."""
    CERTIFICATE = "certificate"
    KEY = "key"
    CHAIN = "chain"
    COMBINED = "combined"
    """A component's file with certificate, key and perhaps chain."""
    KEYSTORE = "keystore"
    """A component's one file with all of them: PKCS#12, JKS or JCEKS."""
    LINE = "line"
    """A component's configuration file with a line that names the chain, exactly while a chain is in use."""
    LINE_2 = "line-2"
    LINE_3 = "line-3"
    LINE_4 = "line-4"
    """Further ones, such as of a second instance of its service."""

    @property
    def is_line(self) -> bool:
        """Whether it is a configuration file, which holds neither certificate nor key."""
        return self in LINE_ROLES


LINE_ROLES: Final = (FileRole.LINE, FileRole.LINE_2, FileRole.LINE_3, FileRole.LINE_4)
"""In the order in which a component names these files."""


class LineSyntax(StrEnum):
    """How a configuration file with the name of a chain is written."""

    LIGHTTPD = "lighttpd"
    XML = "xml"


class LineState(StrEnum):
    """Whether a configuration file names the chain."""

    PRESENT = "present"
    ABSENT = "absent"
    OTHER = "other"
    """It has the setting with another value."""
    UNCLEAR = "unclear"
    """It cannot be told."""


class RequestKey(StrEnum):
    """The kind of a key that is made for a request, with its length or its curve."""

    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    P256 = "p256"
    P384 = "p384"


class Keys(StrEnum):
    """Whether private keys should be read, to compare their public halves with certificates."""

    READ = "read"
    UNREAD = "unread"
    """Nobody may read them here, on purpose: so it is a notice at most."""


class WriteMode(StrEnum):
    """How new bytes get into a file."""

    RENAME = "rename"
    """A new file takes the place of the old one at once."""
    IN_PLACE = "in_place"
    """The old file is written over: nothing can be renamed onto a mount point."""


class FileContent(StrEnum):
    """The content of a file, as it was found."""

    LEAF = "leaf"
    """An end-entity certificate, perhaps with the certificates that lead towards its root."""
    BUNDLE = "bundle"
    """Several CA certificates, no end entity."""
    ANCHOR = "anchor"
    """One CA certificate."""
    KEY = "key"
    """A private key and no certificate."""
    NOTHING = "nothing"
    """Neither a certificate nor a key."""


class FileFormat(StrEnum):
    """How the content of a file is written down, told by the content alone."""

    PEM = "pem"
    DER = "der"
    """One certificate."""
    PKCS7 = "pkcs7"
    PKCS12 = "pkcs12"
    JKS = "jks"
    JCEKS = "jceks"
    BKS = "bks"
    KUBECONFIG = "kubeconfig"
    DOCUMENT = "document"
    """YAML or JSON, where a watch names places in it."""
    PRIVATE_KEY = "private_key"
    OPENSSH_KEY = "openssh_key"
    OPENSSH_CERTIFICATE = "openssh_certificate"
    """Of OpenSSH's own kind, for users and hosts: no TLS server has one."""
    PUTTY_KEY = "putty_key"
    PUBLIC_KEY = "public_key"
    REQUEST = "request"
    """A certificate signing request, PKCS#10."""
    CRL = "crl"
    OCSP_RESPONSE = "ocsp_response"
    PARAMETERS = "parameters"
    """Of a key exchange or of a curve."""
    OTHER = "other"
    """Any other format."""


class ExportFormat(StrEnum):
    """The formats in which trusted certificates are exported."""

    PEM = "pem"
    DER = "der"
    PKCS12 = "pkcs12"


class Elsewhere(StrEnum):
    """The machines that have a trust store which nobody here can see."""

    WINDOWS = "windows"
    MACOS = "macos"
    OTHER = "other"


class RotationDeed(StrEnum):
    """A step of a root rotation."""

    ADD = "add"
    """A trust store gets the new root."""
    SWITCH = "switch"
    """A component or group gets a certificate that leads to the new root."""
    REMOVE = "remove"
    """A trust store loses the old root."""


class StepProgress(StrEnum):
    """How far a step of a root rotation is."""

    DONE = "done"
    NEXT = "next"
    """It may be done now."""
    WAITING = "waiting"
    """Something else must be done or be known before."""


class EntryKind(StrEnum):
    """What an entry of a keystore is."""

    TRUSTED = "trusted"
    """A certificate that whoever uses the keystore trusts."""
    PRIVATE_KEY = "private_key"
    """A private key with its chain."""
    SECRET_KEY = "secret_key"  # noqa: S105 (a kind, not a secret)
    """A key of a symmetric cipher, with no certificate."""


class Integrity(StrEnum):
    """Whether a keystore is as its last writer left it, as far as its password proves."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    """The password is not known, or does not fit."""
    UNPROTECTED = "unprotected"
    """No password protects it, so that anybody may have changed it."""


class ProbeKind(StrEnum):
    """How a module of `/probe` looks, as blackbox_exporter and ssl_exporter call it."""

    TCP = "tcp"
    """A handshake with every address."""
    HTTPS = "https"
    """Also a request; any answer in HTTP counts."""
    HTTP = "http"
    """Also a request, whose answer must be of 2xx; redirects are followed."""
    FILE = "file"
    """The certificates in files of this host."""
    KUBECONFIG = "kubeconfig"
    """The certificates in a kubeconfig of this host, and in files that it names."""
    HTTP_FILE = "http_file"
    """The certificates in the answer of a web server."""


class UnreadableReason(StrEnum):
    """Why a file gave no facts."""

    NOT_FOUND = "not_found"
    PERMISSION_DENIED = "permission_denied"
    NO_READER = "no_reader"
    """It takes the actor to read it, and the actor is away."""
    READER_BUSY = "reader_busy"
    """The actor runs, and reads it later."""
    UNSAFE_LINK = "unsafe_link"
    """A symbolic link on its way belongs to somebody who may not lead a reader with rights to it."""
    BROKEN_SYMLINK = "broken_symlink"
    SYMLINK_LOOP = "symlink_loop"
    NOT_REGULAR = "not_regular"
    """A directory, FIFO, socket or device."""
    TOO_LARGE = "too_large"
    BAD_PEM = "bad_pem"
    BAD_DER = "bad_der"
    BAD_DOCUMENT = "bad_document"
    """It is no YAML or JSON, or not at the place that is named in it."""
    CHANGED_WHILE_READ = "changed_while_read"
    NO_PASSWORD = "no_password"  # noqa: S105 (a reason, not a secret)
    """The file with the password of a keystore cannot be read."""
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (a reason, not a secret)
    LOCKED = "locked"
    """It needs a password, and none is known."""
    UNSUPPORTED = "unsupported"
    """Its format is known, but not read."""
    IO_ERROR = "io_error"
    UNFORESEEN = "unforeseen"
    """A fault of certvigil itself; its log tells where."""


class SourceState(StrEnum):
    """How a revocation list at a URL, or an OCSP responder, stands that a certificate names."""

    HELD = "held"
    """It has given something, and goes on doing so."""
    AWAITED = "awaited"
    """Nothing has come yet."""
    FAILED = "failed"
    """Several requests in a row have failed."""
    LEFT_OUT = "left_out"
    """It is not asked, because there are too many."""


class UnreachableReason(StrEnum):
    """Why an endpoint gave no facts."""

    NAME_NOT_FOUND = "name_not_found"
    CONNECTION_REFUSED = "connection_refused"
    NO_ROUTE = "no_route"
    TIMED_OUT = "timed_out"
    CONNECTION_RESET = "connection_reset"
    CONNECTION_CLOSED = "connection_closed"
    """The peer closed the connection in the middle of the handshake."""
    NOT_TLS = "not_tls"
    TLS_DECLINED = "tls_declined"
    """The server speaks the protocol of the endpoint, and does not begin TLS."""
    PROTOCOL_VERSION = "protocol_version"
    """No TLS version in common."""
    HANDSHAKE_FAILED = "handshake_failed"
    TOO_MUCH_DATA = "too_much_data"
    PROXY_FAILED = "proxy_failed"
    """The proxy of the endpoint cannot be reached, or gave no connection."""
    NOT_PERMITTED = "not_permitted"
    """The sender of the request may not have this address looked at."""
    IO_ERROR = "io_error"
    UNFORESEEN = "unforeseen"
    """A fault of certvigil itself; its log tells where."""


class VerifierName(StrEnum):
    """The rules by which clients judge: those of a family of programs, or of a profile."""

    OPENSSL = "openssl"
    """Programs on OpenSSL, with its defaults."""
    CURL = "curl"
    """curl with OpenSSL."""
    PYTHON = "python"
    """Python up to 3.12."""
    PYTHON_3_13 = "python-3.13"
    """Python from 3.13 on."""
    GO = "go"
    JAVA_17 = "java-17"
    GNUTLS = "gnutls"
    WEBPKI = "webpki"
    """The profile of the web PKI: a strict reference, and no program."""


class RevocationCheck(StrEnum):
    """Whether a client asks if a certificate is revoked, and what it does where nobody can tell."""

    NONE = "none"
    """It does not ask."""
    SOFT_FAIL = "soft_fail"
    """It accepts where it cannot be told."""
    HARD_FAIL = "hard_fail"
    """It rejects where it cannot be told."""


class RevocationState(StrEnum):
    """What is known of the revocation of a certificate."""

    GOOD = "good"
    """Its CA says that it is not revoked."""
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """It was looked for, and cannot be told."""
    UNCHECKED = "unchecked"
    """Nobody looked for it."""
    BY_DESIGN = "by_design"
    """It is never revoked: it ends soon instead."""


class RevocationReason(StrEnum):
    """Why a certificate was revoked (RFC 5280, 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    CA_COMPROMISE = "ca_compromise"
    AFFILIATION_CHANGED = "affiliation_changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation_of_operation"
    CERTIFICATE_HOLD = "certificate_hold"
    """It may be taken back."""
    REMOVE_FROM_CRL = "remove_from_crl"
    """It was taken back."""
    PRIVILEGE_WITHDRAWN = "privilege_withdrawn"
    AA_COMPROMISE = "aa_compromise"


class KeyKind(StrEnum):
    """The algorithm of a public key."""

    RSA = "rsa"
    EC = "ec"
    ED25519 = "ed25519"
    ED448 = "ed448"
    DSA = "dsa"
    ML_DSA = "ml-dsa"
    SLH_DSA = "slh-dsa"
    COMPOSITE = "composite"
    """ML-DSA and an older algorithm, of which neither alone is enough."""
    UNKNOWN = "unknown"


class EndpointProtocol(StrEnum):
    """What an endpoint speaks from the first byte on."""

    TLS = "tls"
    SMTP = "smtp"
    """STARTTLS of RFC 3207."""
    LMTP = "lmtp"
    """The same, in RFC 2033."""
    IMAP = "imap"
    """STARTTLS of RFC 9051."""
    POP3 = "pop3"
    """STLS of RFC 2595."""
    SIEVE = "sieve"
    """STARTTLS of RFC 5804 (ManageSieve)."""
    FTP = "ftp"
    """AUTH TLS of RFC 4217."""
    NNTP = "nntp"
    """STARTTLS of RFC 4642."""
    IRC = "irc"
    """STARTTLS of IRCv3."""
    LDAP = "ldap"
    """StartTLS of RFC 4511."""
    XMPP = "xmpp"
    """STARTTLS of RFC 6120, as a client."""
    XMPP_SERVER = "xmpp-server"
    """The same, as another server."""
    POSTGRES = "postgres"
    """PostgreSQL's own request for TLS."""
    POSTGRES_DIRECT = "postgres-direct"
    """TLS at once, as PostgreSQL 17 takes it with the ALPN protocol `postgresql`."""
    MYSQL = "mysql"
    """MySQL's and MariaDB's own."""
    RDP = "rdp"
    """The negotiation of security in MS-RDPBCGR."""


STARTTLS_PORTS: Final[Mapping[EndpointProtocol, tuple[int, ...]]] = MappingProxyType(
    {
        EndpointProtocol.FTP: (21,),
        EndpointProtocol.IMAP: (143,),
        EndpointProtocol.IRC: (6667,),
        EndpointProtocol.LDAP: (389,),
        EndpointProtocol.LMTP: (24,),
        EndpointProtocol.MYSQL: (3306,),
        EndpointProtocol.NNTP: (119,),
        EndpointProtocol.POP3: (110,),
        EndpointProtocol.POSTGRES: (5432,),
        EndpointProtocol.RDP: (3389,),
        EndpointProtocol.SIEVE: (4190,),
        EndpointProtocol.SMTP: (25, 587),
        EndpointProtocol.XMPP: (5222,),
        EndpointProtocol.XMPP_SERVER: (5269,),
    }
)
"""The usual ports of protocols that begin in the clear; the first is that of a URL without a port."""


class ServerSoftware(StrEnum):
    """The servers whose configuration is understood."""

    NGINX = "nginx"
    APACHE = "apache"
    LIGHTTPD = "lighttpd"
    HAPROXY = "haproxy"
    POSTFIX = "postfix"
    EXIM = "exim"
    DOVECOT = "dovecot"
    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"
    SLAPD = "slapd"
    STUNNEL = "stunnel"
    VSFTPD = "vsftpd"
    PROSODY = "prosody"
    TOMCAT = "tomcat"


class AddressChoice(StrEnum):
    """Which of the addresses of a name are looked at."""

    ALL = "all"
    FIRST = "first"
    """The first that answers, IPv4 before IPv6."""
    IPV4 = "ipv4"
    """All IPv4 addresses."""
    IPV6 = "ipv6"


class ClientCertificateUse(StrEnum):
    """What came of a server's request for a certificate of the client (RFC 8446, 4.3.2)."""

    NOT_REQUESTED = "not_requested"
    REQUESTED = "requested"
    """The server asks for one, and takes a client without, as far as TLS is concerned."""
    REQUIRED = "required"
    """The server turned the client away, which had none."""
    ACCEPTED = "accepted"
    """The endpoint's own was sent, and the server went on."""
    REFUSED = "refused"
    """The endpoint's own was sent, and the server turned the client away."""
    UNUSABLE = "unusable"
    """The endpoint's own could not be read, so the look was made without."""


class ProxyKind(StrEnum):
    """How a proxy is asked for a connection; the scheme of its URL."""

    HTTP = "http"
    """CONNECT (RFC 9110, 9.3.6)."""
    SOCKS5 = "socks5"
    """RFC 1928; the proxy resolves the name."""


class ProxyProtocolVersion(StrEnum):
    """The header of the PROXY protocol, by which a load balancer tells whom it speaks for; ours is of itself."""

    V1 = "v1"
    V2 = "v2"


class TLSVersion(StrEnum):
    """A protocol version, spelled as OpenSSL reports it; members are declared from oldest to newest."""

    TLS1_0 = "TLSv1"
    TLS1_1 = "TLSv1.1"
    TLS1_2 = "TLSv1.2"
    TLS1_3 = "TLSv1.3"

    @property
    def rank(self) -> int:
        """The age of the version, 0 for the oldest."""
        return _TLS_RANK[self]


_TLS_RANK: Final = {version: rank for rank, version in enumerate(TLSVersion)}


class Sending(StrEnum):
    """Whether a server is expected to send the intermediate certificates of its chain."""

    EXPECTED = "expected"
    """It is a fault of the server where it does not."""
    NOT_EXPECTED = "not_expected"
    """Its clients must hold them."""


class OwnCertificate(StrEnum):
    """Whether an own certificate must stand in the place of a product's default certificate."""

    OPTIONAL = "optional"
    """The default certificate is shown, and no fault."""
    EXPECTED = "expected"
    MANDATORY = "mandatory"


class CertificateOrigin(StrEnum):
    """Who issued a server's certificate."""

    DEFAULT = "default"
    """The product itself, at its installation."""
    SELF_SIGNED = "self_signed"
    """Its own key."""
    OWN_CA = "own_ca"
    """A CA whose root is none of the web PKI: it must be in the trust store of each client."""
    PUBLIC_CA = "public_ca"
    """A CA of the web PKI."""
    UNKNOWN = "unknown"
    """Its root is not at hand."""


class Mode(StrEnum):
    """How far a component's candidate is taken without a person; members are declared from least to most."""

    OBSERVE = "observe"
    """It is left alone."""
    PLAN = "plan"
    """Its plan is shown."""
    APPROVE = "approve"
    """It is carried out once a person has approved it."""
    AUTO = "auto"
    """It is carried out."""


class Scope(StrEnum):
    """The right of a token's bearer over the API."""

    APPROVE = "approve"
    """Approve and reject plans that wait."""


class ComponentState(StrEnum):
    """The state of a component that certvigil may change."""

    OBSERVED = "observed"
    """Nothing is done to it."""
    IDLE = "idle"
    WAITING = "waiting"
    """The content of its inbox cannot be used, or not yet."""
    PENDING = "pending"
    """A plan waits for approval, or to be carried out."""
    FROZEN = "frozen"


class LookOutcome(StrEnum):
    """How a look ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class DeliveryOutcome(StrEnum):
    """The result of a message to a channel, or of one attempt to deliver it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """An attempt did."""
    DEAD = "dead"
    """There were too many messages."""


class Machine(StrEnum):
    """A kind of machine on which certvigil does not run, and to which it exports roots."""

    WINDOWS = "windows"
    MACOS = "macos"

    @property
    def topic(self) -> str:
        """The runbook about these machines, where the configuration has it."""
        return f"{self}-root"


class Scenario(StrEnum):
    """The story of a demonstration."""

    FAULTS = "faults"
    """Certificates that are not served, not complete, or expired, one after the other."""
    BAD_REPLACEMENT = "bad-replacement"
    """A replacement that passes every check before, fails at the endpoint, and is undone by itself."""


class ApplianceRole(StrEnum):
    """The kinds of appliances that a demonstration lays out; each has a group of that name."""

    PRIMARY = "primary"
    """Web Console and Portal."""
    SECONDARY = "secondary"
    """Web Console and Engine."""
    SINGLE = "single"
    """All three."""


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level of log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
