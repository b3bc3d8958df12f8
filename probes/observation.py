"""The result of a look: facts and typed failures, no judgement."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from config.immutable import immutable
from config.text import Printable
from config.vocabulary import ClientCertificateUse, FileContent, FileFormat, UnreachableReason, UnreadableReason
from probes.certificate import Certificate
from probes.keystore import Keystore
from probes.line.syntax import LineReading
from probes.revocation.crl import RevocationList

NO_FAULT: Final = Printable("")


def bounded(number: int) -> int:
    """Return a number of a file at its nearest in 64 bits, or the sign: on some media its times may be any number."""
    return min(max(number, -(2**63)), 2**64 - 1)


@immutable
class FileIdentity:
    """A file with the same identity need not be read again; taken from the resolved file."""

    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


@immutable
class Unreadable:
    """A file gave no facts."""

    reason: UnreadableReason
    detail: Printable


@immutable
class FileObservation:
    """One look at a file; the same again, at another time, is equal."""

    target: str
    at: float = field(compare=False)
    """Unix time of the look."""
    identity: FileIdentity | None
    """None where the file could not be examined."""
    content: FileContent
    certificates: tuple[Certificate, ...] = ()
    """In file order; of a keystore the chains of its private keys, or where there is none its trusted certificates."""
    keys: tuple[str, ...] = ()
    """SHA-256 of the public half (SubjectPublicKeyInfo) of each private key in the file, hexadecimal."""
    mode: int = 0
    """Permission bits of the resolved file; of a key that a pattern found, without those that nobody reaches."""
    owner: int = 0
    failure: Unreadable | None = None
    encrypted_keys: int = 0
    """Private keys whose public half is not known, since they are encrypted."""
    format: FileFormat = FileFormat.OTHER
    keystore: Keystore[Certificate] | None = None
    """The entries, where the file is a keystore that could be read."""
    absent: bool = False
    """There is no file, and none is needed: a chain that no configuration file names."""
    line: LineReading | None = None
    """Whether it names the chain, where it is a configuration file that could be read."""
    lists: tuple[RevocationList, ...] = ()
    """The certificate revocation lists in it, in file order."""
    directory_owner: int | None = None
    """Of the directory of a key that a pattern found."""


@immutable
class Presented:
    """The chain of one address of an endpoint, in a completed handshake."""

    address: Printable
    chain: tuple[Certificate, ...]
    """As presented, leaf first by protocol, but nothing is assumed."""
    version: str
    """Protocol version as OpenSSL spells it, such as `TLSv1.3`."""
    cipher: str
    group: str
    """Key exchange group, empty where none was negotiated or it is not known."""
    staple: bytes = b""
    """The OCSP response in DER that came with the chain (RFC 6066, 8), as it came; empty where none did."""
    client_certificate: ClientCertificateUse = ClientCertificateUse.NOT_REQUESTED
    client_certificate_fault: Printable = NO_FAULT
    """Why the client's certificate was refused, or could not be used, a clause; empty where it was neither."""
    handshake_bytes: int = field(default=0, compare=False, kw_only=True)
    """That the server sent until the handshake was over; 0 where it is not known. It is another each time by little."""


@immutable
class Unreachable:
    """One address of an endpoint (or its name) gave no facts."""

    address: Printable
    reason: UnreachableReason
    detail: Printable


@immutable
class EndpointObservation:
    """One look at an endpoint, over every address that its name resolved to."""

    target: str
    at: float
    """Unix time of the look."""
    presented: tuple[Presented, ...]
    failures: tuple[Unreachable, ...] = ()

    @property
    def addresses(self) -> frozenset[Printable]:
        """The addresses that answered or did not; where none was found, the name."""
        return frozenset((*(each.address for each in self.presented), *(each.address for each in self.failures)))


Observation = FileObservation | EndpointObservation
