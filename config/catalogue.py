"""The catalogue of findings: one row for each code, from which everything that depends on a code is derived.

Severities, groups, cures, advice, the grouping of notifications, `certvigil explain` and docs/findings.md come from
here. Pure data. A code without its row makes this module fail at import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from config.vocabulary import (
    ClientCertificateUse,
    Code,
    Group,
    Severity,
    TargetKind,
    UnreachableReason,
    UnreadableReason,
)

NAMED_CURE: Final = "; to cure it, "
"""The text before the cure in the detail of a finding that names its cure itself."""
TAKES_NEW_KEY: Final = "it takes a new key"
"""In the detail of `revoked`, where the key of a server's certificate is compromised."""
NO_ACTOR: Final = "no actor"
"""The reason with which `unreachable` of a component begins."""
OPEN_TRANSACTION: Final = (
    "a transaction of it has no end, so its files may be new in part, and its service between two sets"
)
"""The fault in the detail of `unreachable` of a component whose actor ended in the middle of a transaction."""


class ProblemScope(StrEnum):
    """Which findings with a code are one problem, about which people get one message."""

    CERTIFICATE = "certificate"
    """Findings about the same certificate, with any code of this scope, wherever that certificate is."""
    SERVER_CERTIFICATE = "server certificate"
    """As `CERTIFICATE`; the subject of the finding is a name or a client, and the certificate is the server's own."""
    CAUSE = "cause"
    """Findings on one target; where many fail for one cause, such as a network or a disk that is gone, all of them."""
    COMPONENT = "component"
    """Findings with this code on one component; on a target of no component, those on that target."""
    SUBJECT = "subject"
    """Findings with this code and the same subject, such as a channel."""


class CuringChange(StrEnum):
    """The change of a component that cures a finding."""

    CERTIFICATE = "certificate"
    """A new certificate with its intermediates and its key."""
    CHAIN = "chain"
    """Other intermediates for the same certificate."""
    KEY = "key"
    """A certificate and a key that belong together."""
    ACTIVATION = "activation"
    """No new file: the service reads the files on disk again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """The facts about one code; every text is plain English and printable.

    `meaning` and `otherwise` are sentences. The other texts are phrases that end a sentence, without a full stop.
    Placeholders in `steps`: `{component}`, `{where}` (a path or an address), `{target}`, `{subject}`, `{cure}`,
    `{state_directory}`; and where to look on a host with or without systemd: `{actor_log}`, `{daemon_log}`,
    `{clock_state}`.
    """

    code: Code
    group: Group
    severity: Severity
    """The severity where the circumstances say nothing else."""
    meaning: str
    """The fault, and why it matters."""
    otherwise: str = ""
    """When the severity is another; empty where it never is."""
    cure: str
    """The cure, where the finding itself names no cure."""
    cures: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """The cure, by the reason with which the detail of the finding begins."""
    anchor_cure: str = ""
    """The cure at a certificate that a store or a bundle trusts, which no server presents; empty where `cure` fits."""
    client_cure: str = ""
    """The cure at the end of a sentence about a client that rejects; empty where `cure` fits."""
    hurts: Mapping[TargetKind, str]
    """Whom it hurts where no client was seen to reject, by the kind of target on which the code is raised."""
    by_itself: str = "nothing; somebody must act"
    """The course of things where no policy acts."""
    change: CuringChange | None = None
    """The change of the component that cures it; None where no such change does."""
    steps: tuple[str, ...] = ()
    """Further steps, with commands; they come before the change."""
    steps_of: Mapping[TargetKind, tuple[str, ...]] = field(default_factory=lambda: _NO_STEPS)
    """Other steps, for some kinds of target."""
    scope: ProblemScope
    """How the findings are grouped in notifications."""
    seen_by_actor: bool
    """Whether the actor can see it by a look of its own; a policy acts unattended only on such findings."""
    implied_by: frozenset[Code] = frozenset()
    """Codes on another target of the same component, whose message makes a message about this code superfluous."""
    names_problem: bool = True
    """Whether a problem may be called by this code where it has another code of the same severity."""

    @property
    def informational(self) -> bool:
        """Whether nobody on this host can change it, or need do so, so that people hear of it in a digest at most."""
        return self.severity is Severity.INFORMATIONAL

    def steps_on(self, kind: TargetKind) -> tuple[str, ...]:
        """Return the steps on a target of that kind."""
        return self.steps_of.get(kind, self.steps)

    def cure_for(self, reason: str) -> str:
        """Return the cure for a detail that begins with that reason."""
        return self.cures.get(reason, self.cure)


_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_NO_STEPS: Final[Mapping[TargetKind, tuple[str, ...]]] = MappingProxyType({})


def _looked_at(text: str) -> Mapping[TargetKind, str]:
    return MappingProxyType({TargetKind.FILE: text, TargetKind.ENDPOINT: text})


def _on(kind: TargetKind, text: str) -> Mapping[TargetKind, str]:
    return MappingProxyType({kind: text})


GROUP_MEANING: Final[Mapping[Group, str]] = MappingProxyType(
    {
        Group.TIME: "The validity of certificates.",
        Group.CHAIN: "Certificates as a chain: order, signatures, trust, restrictions.",
        Group.NAME: "The names that a certificate carries.",
        Group.KEY: "Private keys, and the strength of keys and signatures.",
        Group.STATE: "Files on disk against the certificates that are served.",
        Group.SOURCE: "Files and endpoints that give no facts.",
        Group.TLS: "Protocol versions and ciphers.",
        Group.REVOCATION: "Whether CAs have revoked certificates, and the lists by which they say so.",
        Group.CLIENT: "The verdicts of declared clients.",
        Group.ACTION: "Inboxes, plans and transactions.",
        Group.SELF: "certvigil itself.",
    }
)
"""The subject area of each group."""

NOBODY_YET: Final = "nobody yet"
IN_USE_STAYS: Final = "nobody: the files in use stay in use"
_YET: Final = _looked_at(NOBODY_YET)
_REJECTED: Final = MappingProxyType(
    {
        TargetKind.FILE: "nobody unless it is served; then clients that validate reject it",
        TargetKind.ENDPOINT: "no declared client; other clients that validate may reject it",
    }
)
"""Of faults for which every client that validates rejects a certificate."""

_AS_ANCHOR: Final = "A notice for a certificate in a bundle of CA certificates."

_NOT_VALIDATED: Final = "A notice where no client that validates is concerned."

_TIME: Final = (
    CatalogueEntry(
        code=Code.EXPIRED,
        group=Group.TIME,
        severity=Severity.CRITICAL,
        meaning="The certificate has ended. Clients that validate reject it.",
        otherwise=_AS_ANCHOR,
        cure="replace the certificate",
        client_cure="replace it",
        anchor_cure="take it out of this store once nothing that is checked against the store needs it",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.EXPIRING,
        group=Group.TIME,
        severity=Severity.WARNING,
        meaning="The certificate ends soon, measured by its lifetime and by the days that are left.",
        otherwise=(
            "A notice, a warning or critical, by the thresholds; at most a notice in a bundle of CA certificates."
        ),
        cure="renew the certificate before it ends",
        anchor_cure="put the next certificate of this CA into the store before it ends, and take it out afterwards",
        hurts=_looked_at("nobody yet; from its end on, every client that validates"),
        by_itself="nothing replaces it; it ends at the time that the finding names",
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.NOT_YET_VALID,
        group=Group.TIME,
        severity=Severity.CRITICAL,
        meaning="The certificate becomes valid in the future. Clients that validate reject it until then.",
        otherwise=_AS_ANCHOR,
        cure="check the clock of this host; where it is right, wait until the certificate is valid",
        client_cure="check the clocks, or wait until it is valid",
        anchor_cure="check the clock of this host; where it is right, it may stay in the store until it is valid",
        hurts=_REJECTED,
        by_itself="it becomes valid at the time that the finding names",
        change=CuringChange.CERTIFICATE,
        steps=(
            "see whether the clock of this host is right: date -u; if so, use the former certificate until then, or:",
        ),
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.VALIDITY_TOO_LONG,
        group=Group.TIME,
        severity=Severity.INFORMATIONAL,
        meaning="A public CA issued the certificate for a longer time than the CA/Browser Forum allowed on that day.",
        cure="have the certificate issued for a shorter time",
        hurts=_YET,
        steps=("nothing on this host; whoever issues the certificate can mend it with the next one",),
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
)

_CHAIN: Final = (
    CatalogueEntry(
        code=Code.INCOMPLETE_CHAIN,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning=(
            "An intermediate certificate is missing, so that no path leads from the server's certificate to a "
            "root. Clients that do not know the intermediate reject the server. Raised only where a trust store "
            "applies."
        ),
        otherwise=(
            "A notice where no client that validates is concerned, and where the server is not expected to send its "
            "intermediates (`sends_intermediates: not_expected`); a warning where it is expected to, and no client "
            "misses them."
        ),
        cure="append the missing intermediate to the certificates that the server presents",
        client_cure="append the missing intermediate to the certificates that the server presents",
        hurts=_REJECTED,
        change=CuringChange.CHAIN,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.WRONG_ORDER,
        group=Group.CHAIN,
        severity=Severity.WARNING,
        meaning=(
            "The certificates of the chain are not in order: each one must be followed by its issuer. Some "
            "older clients reject the server."
        ),
        cure="put the certificates in order: the server's own first, then each one's issuer",
        hurts=_YET,
        change=CuringChange.CHAIN,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.UNNEEDED_CERTIFICATE,
        group=Group.CHAIN,
        severity=Severity.NOTICE,
        meaning=(
            "The chain has a certificate that no path needs, or the same certificate twice. It costs bytes in "
            "every handshake, and an expired one confuses some clients. Or a trust store has the same certificate "
            "twice: whoever removes one of them goes on trusting it."
        ),
        cure="take that certificate out of the chain, or that entry out of the trust store",
        anchor_cure="take all but one of these entries out of the trust store",
        hurts=_YET,
        change=CuringChange.CHAIN,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.ROOT_PRESENTED,
        group=Group.CHAIN,
        severity=Severity.NOTICE,
        meaning="The chain contains its root. Clients trust only roots of their own, so it costs bytes for nothing.",
        cure="take the root out of the chain: clients have it themselves",
        hurts=_YET,
        change=CuringChange.CHAIN,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.UNTRUSTED_ISSUER,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning="The chain ends at a CA that is not in the trust store of the client.",
        otherwise=_NOT_VALIDATED,
        cure=(
            "use a certificate of a CA that the client trusts; have the client trust this CA only where its "
            "fingerprint is one that the CA itself publishes"
        ),
        client_cure=(
            "serve a certificate of a CA that the client trusts; or, where its fingerprint is one that the CA itself "
            "publishes, add that root to the client's store"
        ),
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.SELF_SIGNED,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning="The certificate is signed by its own key and is not in the trust store of the client.",
        otherwise=_NOT_VALIDATED,
        cure="use a certificate of a CA that the client trusts",
        client_cure=(
            "serve a certificate of a CA that the client trusts; or, where its fingerprint is that of the certificate "
            "which the server was given, add this one to the client's store"
        ),
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.BAD_SIGNATURE,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning=(
            "A signature in the chain does not belong to the certificate that carries it: the certificate is "
            "damaged, or its issuer has another key than the certificate of the issuer in the chain."
        ),
        otherwise=_NOT_VALIDATED,
        cure="install certificate and chain anew, from the files that the CA sent",
        client_cure="install the certificate and the chain anew from the CA's originals",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.INVALID_CA,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning=(
            "A certificate in the chain signed another one although it is no CA, or its key usage or its path "
            "length does not allow it."
        ),
        otherwise=_NOT_VALIDATED,
        cure="have the certificate issued by a CA that may issue it",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.PATH_REJECTED,
        group=Group.CHAIN,
        severity=Severity.CRITICAL,
        meaning=(
            "The chain reaches a root, and a restriction in it keeps clients from accepting it: an extended key "
            "usage, a name constraint, a critical extension that nobody knows, or an algorithm."
        ),
        otherwise=_NOT_VALIDATED,
        cure="have the certificate issued anew, without that restriction",
        client_cure="have the certificate issued anew without that restriction",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.NONCONFORMING,
        group=Group.CHAIN,
        severity=Severity.NOTICE,
        meaning=(
            "The certificate breaks a rule of RFC 5280 or of the web PKI, which the finding names. The clients "
            "that are declared accept it all the same; stricter ones do not."
        ),
        otherwise="Informational where a public CA issued it.",
        cure="have the certificate issued anew, by the rules of the web PKI",
        client_cure="have the certificate issued to the web PKI's profile",
        hurts=_YET,
        steps=("nothing on this host; whoever issues the certificate can mend it with the next one",),
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
)

_NAME: Final = (
    CatalogueEntry(
        code=Code.HOSTNAME_MISMATCH,
        group=Group.NAME,
        severity=Severity.CRITICAL,
        meaning="The certificate does not carry a name by which clients connect.",
        otherwise=_NOT_VALIDATED,
        cure="have the certificate issued with that name, or correct the configured name",
        client_cure="have the certificate issued with that name, or connect by a name it carries",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.SERVER_CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.COMMON_NAME_ONLY,
        group=Group.NAME,
        severity=Severity.NOTICE,
        meaning=(
            "The certificate names its server by the common name alone, which RFC 9525 has given up. Browsers, "
            "Go and others do not read it."
        ),
        cure="have the certificate issued with its names as subject alternative names",
        hurts=_YET,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.SERVER_CERTIFICATE,
        seen_by_actor=True,
    ),
)

_KEY: Final = (
    CatalogueEntry(
        code=Code.KEY_MISMATCH,
        group=Group.KEY,
        severity=Severity.CRITICAL,
        meaning="The private key beside the certificate is not the key of the certificate. No server can use both.",
        cure="put the key that belongs to the certificate beside it, or issue the certificate anew",
        hurts=_on(TargetKind.FILE, "nobody until the server is reloaded; then it fails, or goes on without TLS"),
        change=CuringChange.KEY,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.WEAK_KEY,
        group=Group.KEY,
        severity=Severity.WARNING,
        meaning="The key of the certificate is shorter than NIST SP 800-131A or a client demands.",
        otherwise="Critical where a client that validates rejects it for that.",
        cure="have a certificate issued for a stronger key, such as EC P-256 or RSA 2048",
        client_cure="have the certificate issued anew for a longer key",
        hurts=_YET,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.WEAK_SIGNATURE,
        group=Group.KEY,
        severity=Severity.WARNING,
        meaning="The certificate is signed with a hash that is broken or too weak for a client, such as SHA-1 or MD5.",
        otherwise="Critical where a client that validates rejects it for that.",
        cure="have the certificate issued with SHA-256",
        client_cure="have the certificate issued anew by a CA that signs with SHA-256",
        hurts=_YET,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.KEY_EXPOSED,
        group=Group.KEY,
        severity=Severity.WARNING,
        meaning=(
            "The mode of a file with a private key lets others than its owner and its group read or write it. Of a key "
            "that a pattern found in a directory of root, it is a notice that a person owns it."
        ),
        cure="let only owner and group read the key (chmod 0640); replace it if others may have read it",
        hurts=_on(TargetKind.FILE, "nobody yet; whoever reads the key can pose as the server"),
        steps=(
            "chmod 0640 {where}",
            "where a person owns it, chown it to root, or to the user of its service",
            "where somebody may have read the key, replace it together with its certificate",
        ),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.KEY_SHARED,
        group=Group.KEY,
        severity=Severity.WARNING,
        meaning=(
            "Servers of different names use the same private key, and the certificate does not carry the names of all "
            "of them. Whoever takes the key from one of them can pose as the others. Servers of one name, the members "
            "of a group, and a certificate that names each of them are no fault. Of files that are found, it is a "
            "notice: valid certificates for one key, where each has names that the other one has not."
        ),
        cure="give each server a key and a certificate of its own, or one certificate with the names of all of them",
        hurts=MappingProxyType(
            {
                TargetKind.ENDPOINT: "nobody yet; whoever takes the key from one server can pose as the others",
                TargetKind.FILE: "nobody yet; whoever takes the key can pose as the servers of each certificate",
            }
        ),
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.UNKNOWN_ALGORITHM,
        group=Group.KEY,
        severity=Severity.INFORMATIONAL,
        meaning=(
            "The key of the certificate, or the signature on it, is of an algorithm that certvigil does not know, so "
            "its strength is not known. The other facts are. Each client that does not know it either has a finding of "
            "its own."
        ),
        cure="nothing, where the algorithm is wanted",
        hurts=_YET,
        steps=("nothing on this host, where the algorithm is wanted",),
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.DEFAULT_STORE_PASSWORD,
        group=Group.KEY,
        severity=Severity.WARNING,
        meaning=(
            "The password of a keystore is `changeit`, which is Java's default and known to everybody. It protects "
            "neither the private keys in it, nor its trusted certificates against a change."
        ),
        otherwise=(
            "Informational for a trust store at a place of a Java package: the scripts of such packages import by "
            "this password, and fail with another."
        ),
        cure="give the keystore a password of its own (keytool -storepasswd)",
        hurts=_on(
            TargetKind.FILE,
            "nobody yet; the password keeps nobody from the private keys in it, nor from adding a certificate",
        ),
        steps=(
            "keytool -storepasswd -keystore {where}",
            "in JKS and JCEKS a private key keeps its own password: keytool -keypasswd -alias ALIAS -keystore {where}",
            "give the service, and certvigil's password_file, the new password",
        ),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
)

_STATE: Final = (
    CatalogueEntry(
        code=Code.UNSETTLED,
        group=Group.STATE,
        severity=Severity.NOTICE,
        meaning=(
            "Somebody writes to the files of a component without a pause, so that they cannot be judged as one set."
        ),
        otherwise="A warning once it lasts for minutes; each look is then judged by itself.",
        cure="find out who writes to these files all the time",
        hurts=_on(TargetKind.FILE, NOBODY_YET),
        by_itself="the files are judged once nobody writes to them any more",
        steps=("see who writes there: lsof {where}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.NEXT_RELOAD_BREAKS,
        group=Group.STATE,
        severity=Severity.WARNING,
        meaning=(
            "A client accepts the certificate that is served now. It will reject the set of files on disk as "
            "soon as the service reads it."
        ),
        cure="correct the files before the service is reloaded or restarted",
        hurts=_on(TargetKind.FILE, "nobody until the server is reloaded; then the clients that are named"),
        by_itself="it breaks with the next reload or restart",
        change=CuringChange.CHAIN,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.CONFIG_LINE_MISSING,
        group=Group.STATE,
        severity=Severity.WARNING,
        meaning=(
            "The file with the intermediate certificates and the configuration line that should name it do not fit "
            "together: the file is there and not named, or the line names another file or one that is not there. Or no "
            "replacement can edit the configuration file, as it is not understood or has the setting in another way."
        ),
        otherwise="Critical where the line names a file that is not there: the service does not start with it.",
        cure="put the line into the configuration file, or replace the certificate with its intermediates once more",
        hurts=_on(TargetKind.FILE, "clients that do not have the intermediates themselves"),
        by_itself="nothing; the next replacement puts it right, where it can edit the file, and is refused where not",
        steps=("for {where}: {cure}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.NOT_SERVED,
        group=Group.STATE,
        severity=Severity.WARNING,
        meaning=(
            "The server presents another certificate than the one in its files, which have been there for "
            "longer than the grace period."
        ),
        cure="reload or restart the service, so that it serves the files on disk",
        hurts=_on(TargetKind.ENDPOINT, "nobody before the certificate that is served ends"),
        change=CuringChange.ACTIVATION,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
        implied_by=frozenset({Code.APPROVAL_PENDING}),
    ),
    CatalogueEntry(
        code=Code.ENDPOINTS_DISAGREE,
        group=Group.STATE,
        severity=Severity.WARNING,
        meaning=(
            "The addresses of one endpoint have presented different certificates for a minute or longer, as the "
            "finding lists them."
        ),
        cure="have the servers behind all addresses present the same certificate",
        hurts=_on(TargetKind.ENDPOINT, "nobody yet; the certificate that a client gets depends on the address"),
        by_itself="nothing, unless a replacement is under way there",
        change=CuringChange.ACTIVATION,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.DEFAULT_CERTIFICATE,
        group=Group.STATE,
        severity=Severity.WARNING,
        meaning=(
            "The product's default certificate is in use, which it made itself at its installation. No client outside "
            "can tell it from any other that somebody makes. It stands in place of `self_signed`, `untrusted_issuer`, "
            "`incomplete_chain` and `hostname_mismatch` on the same certificate: these have one cause and one cure, "
            "and whoever gets four messages of one fact mutes all of them. A client that rejects it is as severe."
        ),
        otherwise="Critical where `own_certificate` is `mandatory`, and informational where it is `optional`.",
        cure="replace it by a certificate of a CA that the clients trust",
        hurts=MappingProxyType(
            {
                TargetKind.FILE: "clients that validate, once it is served",
                TargetKind.ENDPOINT: "no declared client; other clients that validate may reject it",
            }
        ),
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.SERVER_CERTIFICATE,
        seen_by_actor=True,
    ),
)

_SOURCE: Final = (
    CatalogueEntry(
        code=Code.UNREADABLE,
        group=Group.SOURCE,
        severity=Severity.CRITICAL,
        meaning=(
            "A file, a directory or a trust store could not be read, for the reason that the finding begins "
            "with. The facts about it are unknown."
        ),
        otherwise=(
            "A warning where the file may be in order, where it was met by a pattern and held a certificate "
            "before, and for directories and trust stores; a notice for any other file that was met by a "
            "pattern."
        ),
        cure="see whether the file is whole, and whether certvigil's user may read it",
        cures=MappingProxyType(
            {
                UnreadableReason.NOT_FOUND: "put the file there, or correct the configuration",
                UnreadableReason.PERMISSION_DENIED: "let certvigil's user read the file, or leave it out of the watch",
                UnreadableReason.NO_READER: "see whether the actor runs",
                UnreadableReason.READER_BUSY: (
                    "see in the actor's log why it did not read the files; it runs, and tries again by itself"
                ),
                UnreadableReason.UNSAFE_LINK: "let the link belong to root or to the owner of the file behind it",
                UnreadableReason.BROKEN_SYMLINK: "put the file there that the link leads to, or remove the link",
                UnreadableReason.SYMLINK_LOOP: "have the link lead to a file",
                UnreadableReason.NOT_REGULAR: "put a regular file there, or correct the configuration",
                UnreadableReason.TOO_LARGE: "leave it out of the watch: no certificate is as large",
                UnreadableReason.BAD_PEM: "write the file anew, from its original",
                UnreadableReason.BAD_DER: "write the file anew, from its original",
                UnreadableReason.BAD_DOCUMENT: "write the file anew, or correct the `pointers` of its watch",
                UnreadableReason.CHANGED_WHILE_READ: "find out who writes to the file all the time",
                UnreadableReason.NO_PASSWORD: "put the password into its file, and let certvigil's user read that file",
                UnreadableReason.WRONG_PASSWORD: "put the keystore's own password into its file",
                UnreadableReason.LOCKED: "name a file with its password (password_file), or leave it out of the watch",
                UnreadableReason.UNSUPPORTED: "convert it to PKCS#12, or leave it out of the watch",
                UnreadableReason.IO_ERROR: "see whether the disk is sound",
                UnreadableReason.UNFORESEEN: "report this fault of certvigil, with its log",
            }
        ),
        hurts=MappingProxyType(
            {
                TargetKind.FILE: "nobody yet; perhaps the server cannot read it either",
                TargetKind.SELF: "nobody yet; a fault there would not be noticed",
            }
        ),
        by_itself="certvigil looks again as soon as something changes there",
        steps=("for {where}: {cure}",),
        steps_of=MappingProxyType({TargetKind.SELF: ("certvigil status",)}),
        scope=ProblemScope.CAUSE,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.UNREACHABLE,
        group=Group.SOURCE,
        severity=Severity.WARNING,
        meaning=(
            "An endpoint did not complete a TLS handshake, or the actor does not answer, for the reason that "
            "the finding begins with. The facts about it are unknown."
        ),
        otherwise=("Critical after three looks in a row, over five seconds or more, in which no address answered."),
        cure="see whether the server runs and can be reached from this host",
        cures=MappingProxyType(
            {
                NO_ACTOR: "start the actor, or see in its log why it ended",
                UnreachableReason.NAME_NOT_FOUND: "correct the name, or its entry in the DNS",
                UnreachableReason.CONNECTION_REFUSED: "see whether the server runs and listens there",
                UnreachableReason.NO_ROUTE: "see whether the network between this host and the server is up",
                UnreachableReason.TIMED_OUT: "see whether the server hangs, or a firewall is between",
                UnreachableReason.CONNECTION_CLOSED: "see the server's log: it ended the handshake itself",
                UnreachableReason.NOT_TLS: "correct the port, or the protocol of the endpoint",
                UnreachableReason.TLS_DECLINED: (
                    "see the server's log: TLS is off, or its certificate or key cannot be used; where it is on, see "
                    "whether something between takes the offer of TLS away"
                ),
                UnreachableReason.PROTOCOL_VERSION: "allow TLS 1.2 or 1.3 in the server's configuration",
                UnreachableReason.HANDSHAKE_FAILED: "see the server's log: it ended the handshake itself",
                UnreachableReason.TOO_MUCH_DATA: "correct the port, or the protocol of the endpoint",
                UnreachableReason.PROXY_FAILED: "see whether the proxy runs, may connect to the server, and reaches it",
                UnreachableReason.UNFORESEEN: "report this fault of certvigil, with its log",
            }
        ),
        hurts=MappingProxyType(
            {
                TargetKind.ENDPOINT: "whoever connects there",
                TargetKind.COMPONENT: "nobody, unless a transaction is open; nothing is replaced meanwhile",
            }
        ),
        by_itself="certvigil goes on looking, and tells when there is an answer again",
        steps=("at {where}: {cure}; to look again at once: certvigil {check}",),
        steps_of=MappingProxyType(
            {TargetKind.COMPONENT: ("to have an actor again: {cure}; to see why it does not run: {actor_log}",)}
        ),
        scope=ProblemScope.CAUSE,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.NO_CERTIFICATE,
        group=Group.SOURCE,
        severity=Severity.CRITICAL,
        meaning="A file that should hold a certificate or a key holds none, or a server presents none.",
        otherwise="A warning where the file is something else that certvigil knows, or was met by a pattern.",
        cure="put a certificate there, or correct the configuration",
        client_cure="configure a certificate",
        hurts=MappingProxyType(
            {
                TargetKind.FILE: "nobody until the server reads the file again; then whoever connects",
                TargetKind.ENDPOINT: "whoever connects there",
            }
        ),
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.CLIENT_CERTIFICATE_FAILED,
        group=Group.SOURCE,
        severity=Severity.WARNING,
        meaning=(
            "The client certificate that the configuration names for an endpoint could not be used, or the server "
            "refused it. The server's own chain was seen and judged all the same."
        ),
        cure="see whether the server trusts the issuer of the client certificate",
        cures=MappingProxyType(
            {
                ClientCertificateUse.REFUSED: (
                    "renew the client certificate where it has expired, and see in the server's log why it is refused"
                ),
                ClientCertificateUse.UNUSABLE: (
                    "put certificate and key into the files that the configuration names, readable by certvigil's user"
                ),
            }
        ),
        hurts=_on(TargetKind.ENDPOINT, "nobody yet; whoever shows the same certificate is turned away, too"),
        by_itself="certvigil reads the files anew at each look",
        steps=("for {where}: {cure}; to look again at once: certvigil {check}",),
        scope=ProblemScope.CAUSE,
        seen_by_actor=False,
    ),
)

_TLS: Final = (
    CatalogueEntry(
        code=Code.OBSOLETE_PROTOCOL,
        group=Group.TLS,
        severity=Severity.WARNING,
        meaning=(
            "The server negotiated a version of TLS that is not allowed, or supports one for a client that "
            "asks for it. By default, 1.2 and 1.3 are allowed."
        ),
        cure="allow only TLS 1.2 and 1.3 in the server's configuration",
        hurts=_on(TargetKind.ENDPOINT, "nobody yet; somebody who can change the traffic may read it"),
        steps=("have the server at {where} support only TLS 1.2 and 1.3, with modern ciphers",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.WEAK_CIPHER,
        group=Group.TLS,
        severity=Severity.NOTICE,
        meaning=(
            "The server negotiated a cipher that RFC 9325 forbids, or that the list of the site does not allow, or "
            "supports one for a client that asks for it."
        ),
        otherwise=(
            "A warning where the configuration lists the allowed ciphers; critical where the cipher does not encrypt, "
            "or knows no certificate, and a warning where such a one is only supported."
        ),
        cure="take that cipher out of the server's configuration",
        hurts=_on(TargetKind.ENDPOINT, "nobody yet; somebody who can record the traffic may read it"),
        steps=("have the server at {where} support only TLS 1.2 and 1.3, with modern ciphers",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
)

_REVOCATION: Final = (
    CatalogueEntry(
        code=Code.REVOKED,
        group=Group.REVOCATION,
        severity=Severity.CRITICAL,
        meaning=(
            "The CA has revoked a certificate: its key is in wrong hands, or it must not be used any more for another "
            "reason. Clients that ask for revocation reject it. The finding names them, and those that do not ask."
        ),
        cure="replace the certificate, with a new key where the reason is a compromised one",
        client_cure="replace it, with a new key where the reason is a compromised one",
        hurts=_REJECTED,
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.REVOCATION_UNKNOWN,
        group=Group.REVOCATION,
        severity=Severity.NOTICE,
        meaning=(
            "It cannot be told if a certificate is revoked, although it was looked for: no valid revocation list of "
            "its CA is left. Clients that insist on an answer may reject it."
        ),
        cure="see why the CA gives no valid revocation list: the finding names the fault",
        client_cure="have the CA publish a valid revocation list",
        hurts=_looked_at("nobody yet; clients that insist on an answer may reject it"),
        by_itself="certvigil goes on fetching the list where the configuration lets it, and looks at files of lists",
        steps=("see whether the list can be had and is valid: openssl crl -noout -nextupdate -issuer -in LIST",),
        scope=ProblemScope.CERTIFICATE,
        seen_by_actor=True,
    ),
    CatalogueEntry(
        code=Code.CRL_STALE,
        group=Group.REVOCATION,
        severity=Severity.WARNING,
        meaning=(
            "A revocation list in a file should have been followed by a new one. Servers and clients that go by the "
            "file may reject every certificate that the list is about."
        ),
        otherwise=(
            "A notice while the time of the next list is near, and for a list that a pattern found and nothing is said "
            "to go by."
        ),
        cure="fetch the next list of this CA into the file; where there is none, have the CA sign one",
        hurts=_on(TargetKind.FILE, "whoever checks by this file: it may reject every certificate of this CA"),
        steps=("see which list it is: openssl crl -noout -issuer -lastupdate -nextupdate -in {where}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.MUST_STAPLE_WITHOUT_STAPLE,
        group=Group.REVOCATION,
        severity=Severity.WARNING,
        meaning=(
            "The certificate says that its server always sends an OCSP answer with it (RFC 7633), and the server does "
            "not. Firefox, among others, rejects such a server."
        ),
        cure=(
            "turn on OCSP stapling in the server's configuration, or have the certificate issued without the TLS "
            "feature status_request"
        ),
        hurts=_on(TargetKind.ENDPOINT, "clients that know this promise: they reject the server"),
        steps=("at {where}: {cure}; to look again at once: certvigil {check}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
)

_CLIENT: Final = (
    CatalogueEntry(
        code=Code.CLIENT_REJECTS,
        group=Group.CLIENT,
        severity=Severity.CRITICAL,
        meaning=(
            "A declared client does not accept the certificates of an endpoint. The finding says why and names "
            "the cure."
        ),
        otherwise="A notice where the client does not validate, and so connects all the same.",
        cure="see the other findings on this target",
        hurts=_on(TargetKind.ENDPOINT, "nobody where the client does not validate; else that client"),
        change=CuringChange.CERTIFICATE,
        scope=ProblemScope.SERVER_CERTIFICATE,
        seen_by_actor=True,
        implied_by=frozenset(Code),
        names_problem=False,
    ),
    CatalogueEntry(
        code=Code.VALIDATION_DISABLED,
        group=Group.CLIENT,
        severity=Severity.WARNING,
        meaning=(
            "The configuration of a client turns its validation of certificates off. It believes whoever answers at "
            "the address of its server."
        ),
        cure="turn validation on once the client accepts the server's certificate: certvigil trust enforce CLIENT",
        hurts=_on(TargetKind.ENDPOINT, "nobody yet; whoever comes between client and server can pose as the server"),
        steps=("see first whether the client accepts: certvigil trust enforce {subject} --dry-run; then: {cure}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=True,
    ),
)

_ACTION: Final = (
    CatalogueEntry(
        code=Code.CANDIDATE_REFUSED,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning="The candidate in the inbox of a component, or an offer, cannot be installed. Nothing was touched.",
        otherwise="A notice where a person rejected its plan, and where only an offer is at fault.",
        cure="put a candidate without that fault into the inbox, or take this one out",
        hurts=_on(TargetKind.COMPONENT, IN_USE_STAYS),
        steps=("put a correct candidate into {where}, or remove this one; all faults: certvigil plan {component}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.INBOX_UNSAFE,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning=(
            "Others than root can write to the inbox of a component or put another directory in its place, so "
            "its content is ignored."
        ),
        cure="let only root write to the inbox, to the files in it and to the directories above",
        hurts=_on(TargetKind.COMPONENT, IN_USE_STAYS),
        steps=("see who owns it and who may write there: ls -la {where}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.APPROVAL_PENDING,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning="A plan is ready and waits until a person approves it or carries it out.",
        cure="approve or reject the plan",
        hurts=_on(TargetKind.COMPONENT, IN_USE_STAYS),
        by_itself="nothing, until somebody approves",
        steps=("to see the plan first: certvigil plan {component}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
        names_problem=False,
    ),
    CatalogueEntry(
        code=Code.ACTION_FAILED,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning=(
            "The last transaction of a component did not end as it should: it was refused or undone, went forward "
            "after a failure, or a policy rolled its result back. Or a transaction that a policy calls for could not "
            "even be begun, twice in a row."
        ),
        cure="see `certvigil audit` for the attempts, and mend the cause",
        hurts=_on(
            TargetKind.COMPONENT,
            "nobody, as far as is known; the fault that the transaction should cure is still there",
        ),
        steps=("to settle it: {cure}; to see each attempt: certvigil history {target}, and certvigil audit",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.COMPONENT_FROZEN,
        group=Group.ACTION,
        severity=Severity.CRITICAL,
        meaning=(
            "A transaction could be neither finished nor undone. Nothing more is done to the component until a "
            "person has looked at it."
        ),
        cure="look at its files and its service, then thaw it with `certvigil recover --thaw`",
        hurts=_on(TargetKind.COMPONENT, "perhaps whoever connects: whether its service is well is not known"),
        steps=("see that its files and its service are right, then: certvigil recover --thaw {component}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.REVERTED_BY_ANOTHER,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning=(
            "Another tool changed the files of a component back after a transaction. Nothing more is done unattended."
        ),
        cure="have only one tool change these files, then `certvigil recover --thaw`",
        hurts=_on(TargetKind.COMPONENT, IN_USE_STAYS),
        by_itself="nothing is changed there any more, until somebody thaws the component",
        steps=("have only one tool change these files, then: certvigil recover --thaw {component}",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.WRITTEN_LATE,
        group=Group.ACTION,
        severity=Severity.WARNING,
        meaning=(
            "Somebody wrote to a file of a component after a transaction had replaced it, through a descriptor "
            "that was still open. The bytes are kept in a backup set and are not in use."
        ),
        cure="see whether the service needs these bytes, then `certvigil recover --thaw`",
        hurts=_on(TargetKind.COMPONENT, "nobody; but these bytes are not in use"),
        by_itself="nothing; the bytes are kept as a backup set",
        steps=(
            "see who wrote, and whether the service needs it: certvigil backups {component}",
            "then: certvigil recover --thaw {component}",
        ),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
)

_SELF: Final = (
    CatalogueEntry(
        code=Code.CLOCK_SUSPECT,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning="The clock of the host is not synchronised or has jumped, so that dates cannot be trusted.",
        cure="have the clock of this host synchronised",
        hurts=_on(
            TargetKind.SELF, "nobody; meanwhile nothing is replaced without a person, and nothing proposed for approval"
        ),
        by_itself="certvigil goes on once the clock can be believed again",
        steps=("see whether the clock is right and synchronised: {clock_state}",),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.KEYS_UNREAD,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning=(
            "No process of certvigil may read the private key or the keystore of a component, so no key is compared "
            "with its certificate."
        ),
        otherwise="A notice where the configuration says `keys: unread`, and while the actor is away or busy.",
        cure="run the actor, which has the right to read keys, or set `keys: unread` for the component",
        hurts=_on(TargetKind.FILE, "nobody; a key that does not match would not be noticed"),
        by_itself="the files are read as soon as an actor answers",
        steps=("see why the actor does not run: {actor_log}; without an actor, set `keys: unread`",),
        scope=ProblemScope.COMPONENT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.DAEMON_UNSTABLE,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning="The daemon ended several times soon after its start, and nobody had stopped it.",
        cure="see in the last lines of the log why the daemon ended",
        hurts=_on(TargetKind.SELF, "people who would have been notified meanwhile"),
        by_itself="the service manager starts the daemon again each time",
        steps=("see why the daemon ended: {daemon_log}",),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.DATABASE_DEGRADED,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning="The database cannot be read or written, so that events are kept in memory only.",
        cure="see whether the state directory can be written to and has space",
        hurts=_on(TargetKind.SELF, "nobody; the history of that time may be incomplete"),
        by_itself="certvigil goes on in memory, and tries again",
        steps=("see whether the disk is full or fails: df -h {state_directory}",),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.DELIVERY_FAILED,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning="Messages to a channel could not be delivered.",
        otherwise="Critical once messages were given up.",
        cure="correct the channel, then `certvigil notify retry`",
        hurts=_on(TargetKind.SELF, "people who should have been notified"),
        by_itself="messages that wait are tried again, for about a day; those that were given up are not",
        steps=(
            "see whether the channel works: certvigil notify test {subject}",
            "for messages that were given up: certvigil notify retry {subject}, or certvigil notify drop {subject}",
        ),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.CONFIG_REJECTED,
        group=Group.SELF,
        severity=Severity.WARNING,
        meaning="The configuration on disk has mistakes, or a part of it could not be put into effect.",
        cure="correct the mistakes that `certvigil config check` reports, then `certvigil reload`",
        hurts=_on(TargetKind.SELF, "nobody; the earlier configuration stays in force"),
        by_itself="nothing; somebody must put it right",
        steps=("mend the mistakes that this reports: certvigil config check; then: certvigil reload",),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
    CatalogueEntry(
        code=Code.UNDECLARED_ENDPOINT,
        group=Group.SELF,
        severity=Severity.INFORMATIONAL,
        meaning="A port of this host speaks TLS and is not in the configuration, so nobody watches its certificate.",
        cure="declare it in `endpoints` or in a component, or name its port in `undeclared.exclude_ports`",
        hurts=_on(TargetKind.SELF, NOBODY_YET),
        by_itself="it is no longer reported once the port is closed",
        steps=("see what it is, and which file it serves: certvigil discover",),
        scope=ProblemScope.SUBJECT,
        seen_by_actor=False,
    ),
)

ENTRIES: Final = (
    *_TIME,
    *_CHAIN,
    *_NAME,
    *_KEY,
    *_STATE,
    *_SOURCE,
    *_TLS,
    *_REVOCATION,
    *_CLIENT,
    *_ACTION,
    *_SELF,
)


def by_code(entries: Iterable[CatalogueEntry]) -> Mapping[Code, CatalogueEntry]:
    """Return the row of each code, in the order of the codes; raise ValueError where a code has none, or several."""
    rows: dict[Code, CatalogueEntry] = {}
    for each in entries:
        if each.code in rows:
            raise ValueError(f"the catalogue of findings has two rows for {each.code}")
        rows[each.code] = each
    if missing := [each for each in Code if each not in rows]:
        raise ValueError(f"the catalogue of findings has no row for {', '.join(missing)}")
    return MappingProxyType({code: rows[code] for code in Code})


CATALOGUE: Final = by_code(ENTRIES)
"""The row of every code."""

GROUP_MEMBERS: Final[Mapping[Group, frozenset[Code]]] = MappingProxyType(
    {group: frozenset(each.code for each in ENTRIES if each.group is group) for group in Group}
)
"""The codes of each group; each code is in one, and each group has one."""
