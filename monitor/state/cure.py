"""What cures a finding, in words: one sentence for each code, and for each reason where a code has several."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from config.vocabulary import Code, UnreachableReason, UnreadableReason

BUSY: Final = "see in the actor's log why it did not read the files; it runs, and tries again by itself"
"""The cure where an actor runs and has not read what it was asked to."""
_NAMED: Final = "; to cure it, "
"""What stands before the cure in a finding that names it itself."""

CURES: Final[Mapping[Code, str]] = MappingProxyType(
    {
        Code.EXPIRED: "replace the certificate",
        Code.EXPIRING: "renew the certificate before it ends",
        Code.NOT_YET_VALID: "check the clock of this host; else wait until the certificate is valid",
        Code.VALIDITY_TOO_LONG: "have the certificate issued for a shorter time",
        Code.INCOMPLETE_CHAIN: "append the missing intermediate to the certificates that the server presents",
        Code.WRONG_ORDER: "put the certificates in order: the server's own first, then each one's issuer",
        Code.UNNEEDED_CERTIFICATE: "take that certificate out of the chain",
        Code.ROOT_PRESENTED: "take the root out of the chain: clients have it themselves",
        Code.UNTRUSTED_ISSUER: "use a certificate of a CA that the client trusts, or have the client trust this CA",
        Code.SELF_SIGNED: "use a certificate of a CA that the client trusts",
        Code.BAD_SIGNATURE: "install certificate and chain anew, from the files that the CA sent",
        Code.INVALID_CA: "have the certificate issued by a CA that may issue it",
        Code.PATH_REJECTED: "have the certificate issued anew, without that restriction",
        Code.NONCONFORMING: "have the certificate issued anew, by the rules of the web PKI",
        Code.HOSTNAME_MISMATCH: "have the certificate issued with that name, or correct the configured name",
        Code.COMMON_NAME_ONLY: "have the certificate issued with its names as subject alternative names",
        Code.KEY_MISMATCH: "put the key that belongs to the certificate beside it, or issue the certificate anew",
        Code.WEAK_KEY: "have a certificate issued for a stronger key, such as EC P-256 or RSA 2048",
        Code.WEAK_SIGNATURE: "have the certificate issued with SHA-256",
        Code.KEY_EXPOSED: "let only owner and group read the key (chmod 0640); replace it if others may have read it",
        Code.UNSETTLED: "find out who writes to these files all the time",
        Code.NEXT_RELOAD_BREAKS: "correct the files before the service is reloaded or restarted",
        Code.NOT_SERVED: "reload or restart the service, so that it serves what is on disk",
        Code.ENDPOINTS_DISAGREE: "have the servers behind all addresses present the same certificate",
        Code.UNREADABLE: "see whether the file is whole, and may be read",
        Code.UNREACHABLE: "see whether the server runs and can be reached from this host",
        Code.NO_CERTIFICATE: "put a certificate there, or correct the configuration",
        Code.OBSOLETE_PROTOCOL: "allow only TLS 1.2 and 1.3 in the server's configuration",
        Code.WEAK_CIPHER: "take that cipher out of the server's configuration",
        Code.CLIENT_REJECTS: "see what else is wrong with this target",
        Code.CANDIDATE_REFUSED: "put a candidate without that fault into the inbox, or take this one out",
        Code.INBOX_UNSAFE: "let only root write to the inbox, to what is in it and to the directories above",
        Code.APPROVAL_PENDING: "approve or reject the plan",
        Code.ACTION_FAILED: "see `certvigil audit` for what was tried, and mend the cause",
        Code.COMPONENT_FROZEN: "look at its files and its service, then thaw it with `certvigil recover --thaw`",
        Code.WRITTEN_LATE: "see whether the service needs what was written, then `certvigil recover --thaw`",
        Code.REVERTED_BY_ANOTHER: "have one tool alone change these files, then `certvigil recover --thaw`",
        Code.DAEMON_UNSTABLE: "see in the log why the daemon ended; its last lines say so",
        Code.CLOCK_SUSPECT: "have the clock of this host synchronised",
        Code.KEYS_UNREAD: "run the actor, which has the rights to read them, or say `keys: unread` of the component",
        Code.DATABASE_DEGRADED: "see whether the state directory can be written to and has space",
        Code.DELIVERY_FAILED: "correct the channel, then `certvigil notify retry`",
        Code.CONFIG_REJECTED: "correct what `certvigil config check` says, then `certvigil reload`",
    }
)
"""For every code; phrases that say what to do, as the end of a sentence."""

_NOTHING_NEARER: Final = "see what the finding says; `certvigil history` tells what came before"
"""For a code of which nothing is said here: that must never keep a finding from being shown."""

_BY_REASON: Final[Mapping[Code, Mapping[str, str]]] = MappingProxyType(
    {
        Code.UNREADABLE: {
            UnreadableReason.NOT_FOUND: "put the file there, or correct the configuration",
            UnreadableReason.PERMISSION_DENIED: "let certvigil's user read the file, or leave it out of the watch",
            UnreadableReason.BROKEN_SYMLINK: "put the file there that the link leads to, or remove the link",
            UnreadableReason.SYMLINK_LOOP: "have the link lead to a file",
            UnreadableReason.NOT_REGULAR: "put a regular file there, or correct the configuration",
            UnreadableReason.TOO_LARGE: "leave it out of the watch: no certificate is as large",
            UnreadableReason.BAD_PEM: "write the file anew, from its original",
            UnreadableReason.BAD_DER: "write the file anew, from its original",
            UnreadableReason.CHANGED_WHILE_READ: "find out who writes to the file all the time",
            UnreadableReason.NO_PASSWORD: "put the password into its file, and let certvigil's user read that",
            UnreadableReason.WRONG_PASSWORD: "put the keystore's own password into its file",
            UnreadableReason.LOCKED: "name a file with its password (password_file), or leave it out of the watch",
            UnreadableReason.UNSUPPORTED: "convert it to PKCS#12, or leave it out of the watch",
            UnreadableReason.NO_READER: "see whether the actor runs",
            UnreadableReason.READER_BUSY: BUSY,
            UnreadableReason.UNSAFE_LINK: "let the link belong to root or to the owner of what it leads to",
            UnreadableReason.IO_ERROR: "see whether the disk is sound",
            UnreadableReason.UNFORESEEN: "report this fault of certvigil, with its log",
        },
        Code.UNREACHABLE: {
            "no actor": "start the actor (systemctl start certvigil-actor), or see in its log why it ended",
            UnreachableReason.NAME_NOT_FOUND: "correct the name, or its entry in the DNS",
            UnreachableReason.CONNECTION_REFUSED: "see whether the server runs and listens there",
            UnreachableReason.NO_ROUTE: "see whether the network between this host and the server is up",
            UnreachableReason.TIMED_OUT: "see whether the server hangs, or a firewall is between",
            UnreachableReason.NOT_TLS: "correct the port, or the protocol of the endpoint",
            UnreachableReason.PROTOCOL_VERSION: "allow TLS 1.2 or 1.3 in the server's configuration",
            UnreachableReason.HANDSHAKE_FAILED: "see the server's log: it ended the handshake itself",
            UnreachableReason.CONNECTION_CLOSED: "see the server's log: it ended the handshake itself",
            UnreachableReason.TOO_MUCH_DATA: "correct the port, or the protocol of the endpoint",
            UnreachableReason.UNFORESEEN: "report this fault of certvigil, with its log",
        },
    }
)
"""By the reason with which the detail of a finding begins."""


def cure(code: Code, detail: str = "") -> str:
    """Return what cures a finding with that code and detail, a phrase without a full stop.

    A cure that the detail names itself comes first.
    """
    if _NAMED in detail:
        return detail.rpartition(_NAMED)[2]
    return _BY_REASON.get(code, {}).get(detail.partition(":")[0], CURES.get(code, _NOTHING_NEARER))


def curable(detail: str, by: str) -> str:
    """Return what a finding says is wrong with the cure that it names itself."""
    return f"{detail}{_NAMED}{by}"


def without_cure(detail: str) -> str:
    """Return what a finding says is wrong, without the cure that it may name itself."""
    return detail.rpartition(_NAMED)[0] if _NAMED in detail else detail
