"""Requests for certificates (PKCS#10, RFC 2986): the parts of one, its key, and the certificate that answers it.

A request has its names as subject alternative names, since clients do not read the common name (RFC 9525).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actions.candidate import PrivateKey
from config.address import is_dns_name, is_ip_address
from config.immutable import immutable
from config.plain import text, texts, whole
from config.text import Printable, printable, sentence
from config.vocabulary import KeyKind, RequestKey
from probes.certificate import Certificate, Key
from probes.judge.time import moment
from probes.names import names_server

MOST_NAMES: Final = 100
LONGEST_NAMES: Final = 6000
"""Characters of all together."""
LONGEST_SUBJECT: Final = 500
"""Characters."""
LONGEST: Final = 366
"""Days for which a request waits at most."""
BACKDATED: Final = 86_400.0
"""Seconds before the request at which its certificate may begin: some CAs let it begin with the day."""
_LONGEST_COMMON_NAME: Final = 64
"""Characters (ub-common-name of RFC 5280)."""
_SIZES: Final[Mapping[RequestKey, int]] = {
    RequestKey.RSA2048: 2048,
    RequestKey.RSA3072: 3072,
    RequestKey.RSA4096: 4096,
}
_CURVES: Final[Mapping[RequestKey, type[ec.EllipticCurve]]] = {
    RequestKey.P256: ec.SECP256R1,
    RequestKey.P384: ec.SECP384R1,
}


@immutable
class CsrOrder:
    """The parts of a request that somebody wants to have made."""

    names: tuple[str, ...] = ()
    """More names, beside those that the configuration gives."""
    subject: str | None = None
    """RFC 4514; None for the first name as common name, empty for no subject."""
    key: RequestKey | None = None
    """The kind of a new key; None for the kind of the installed key."""
    installed: bool = False
    """The installed key is used, and no key is made."""
    days: int = 90
    """The days for which the request waits for its answer."""
    dry_run: bool = False
    """Nothing is made; the request is only described."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "names": list(self.names),
            **({} if self.subject is None else {"subject": self.subject}),
            **({} if self.key is None else {"key": self.key}),
            **({"installed": True} if self.installed else {}),
            "days": self.days,
            **({"dry_run": True} if self.dry_run else {}),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the order of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        if not plain.keys() <= {"names", "subject", "key", "installed", "days", "dry_run"}:
            raise ValueError("unknown keys")
        subject, key = plain.get("subject"), plain.get("key")
        return cls(
            texts(plain.get("names", [])),
            None if subject is None else text(subject),
            None if key is None else RequestKey(key),
            plain.get("installed", False) is True,
            whole(plain["days"]),
            plain.get("dry_run", False) is True,
        )


@immutable
class WaitingRequest:
    """A request that waits for its certificate, as the journal has it."""

    key: str
    """SHA-256 of its public key (SubjectPublicKeyInfo), hexadecimal."""
    components: tuple[str, ...]
    """One component, or the members of a group."""
    names: tuple[str, ...]
    installed: bool
    """The key is the installed one: none was made."""
    pem: str
    by: str
    """Who made it; printable."""
    at: float
    """Unix time."""
    until: float
    """Unix time at which it is no longer answered."""
    seen: frozenset[str] = frozenset()
    """SHA-256 of certificates that were there before it, of those young enough to be taken for an answer."""
    group: str = ""
    """The group of which the components are; empty for one component."""

    @property
    def subject(self) -> str:
        """The group or component for which the certificate is."""
        return self.group or self.components[0]

    @property
    def sentence(self) -> Printable:
        """Its names, its key and its time, as a part of a sentence."""
        names = ", ".join(self.names[:3]) + (f" and {len(self.names) - 3} more" if len(self.names) > 3 else "")
        return sentence("{} (key {}, since {})", printable(names), printable(self.key[:16]), moment(self.at))


def wrong_name(name: str) -> Printable | None:
    """Say why a name cannot be asked for, a sentence; None where it can."""
    rest = name.removeprefix("*.")
    if is_ip_address(name) and "%" not in name:
        return None
    if is_dns_name(rest) and (rest == name or "." in rest):
        return None
    return sentence("'{}' is neither a DNS name nor an address", printable(name, 200))


def wrong_order(order: CsrOrder) -> Printable | None:
    """Say why a request cannot be made as ordered, a sentence; None where it can, as far as the order says."""
    if len(order.names) > MOST_NAMES:
        return sentence("a request has at most {} names", MOST_NAMES)
    if sum(map(len, order.names)) > LONGEST_NAMES:
        return sentence("the names have at most {} characters together", LONGEST_NAMES)
    if not 1 <= order.days <= LONGEST:
        return sentence("a request waits for 1 to {} days, not for {}", LONGEST, order.days)
    if order.installed and order.key is not None:
        return Printable("the installed key is of the kind that it is: give a kind, or the installed key")
    if (why := next(filter(None, map(wrong_name, order.names)), None)) is not None:
        return why
    return None if isinstance(found := subject_of(order.subject, order.names), x509.Name) else found


def subject_of(written: str | None, names: Sequence[str]) -> x509.Name | Printable:
    """Return the subject that is written (RFC 4514), or by default the first of `names`; or what is wrong with it."""
    if written is None:
        first = next((each for each in names if len(each) <= _LONGEST_COMMON_NAME), None)
        return x509.Name([] if first is None else [x509.NameAttribute(NameOID.COMMON_NAME, first)])
    if len(written) > LONGEST_SUBJECT:
        return sentence("a subject has at most {} characters", LONGEST_SUBJECT)
    try:
        return x509.Name.from_rfc4514_string(written)
    except (ValueError, KeyError) as error:
        why = printable(str(error), 200)
        return sentence(
            "'{}' is no subject, such as CN=www.example.com,O=Example,C=CH: {}", printable(written, 200), why
        )


def new_key(kind: RequestKey) -> PrivateKey:
    """Return a new private key."""
    if (curve := _CURVES.get(kind)) is not None:
        return PrivateKey(ec.generate_private_key(curve()))
    return PrivateKey(rsa.generate_private_key(65_537, _SIZES[kind]))


def kind_like(installed: Key | None) -> RequestKey:
    """Return the kind of a new key by the installed one; P-256 where there is none, or none of its kind is made."""
    if installed is None or installed.kind not in {KeyKind.RSA, KeyKind.EC}:
        return RequestKey.P256
    if installed.kind is KeyKind.EC:
        return RequestKey.P384 if installed.bits > 256 else RequestKey.P256
    return next((kind for kind, size in _SIZES.items() if size >= installed.bits), RequestKey.RSA4096)


def signed_request(key: PrivateKey, names: Sequence[str], subject: x509.Name) -> str:
    """Return the request in PEM; raises ValueError where the key cannot sign one."""
    library_key = key.library_key()
    if isinstance(library_key, dsa.DSAPrivateKey):
        raise ValueError("no TLS server uses a DSA key")  # noqa: TRY004 (the kind of a key is a value)
    alternative = x509.SubjectAlternativeName([_general_name(each) for each in names])
    # Some CAs issue what the request says, and nothing else.
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(library_key, rsa.RSAPrivateKey),
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternative, critical=not list(subject))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    hashed = None if isinstance(library_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(library_key, hashed).public_bytes(Encoding.PEM).decode()


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if is_ip_address(name) else x509.DNSName(name)


def why_no_answer(certificate: Certificate, request: WaitingRequest) -> Iterator[Printable]:
    """Yield why a certificate for the key of a request is not its answer, sentences; none where it is."""
    missing = [each for each in request.names if not _covers(certificate, each)]
    if missing:
        more = sentence(" and {} more", len(missing) - 3) if len(missing) > 3 else Printable("")
        yield sentence("it lacks {}{}, which the request asks for", printable(", ".join(missing[:3])), more)
    if certificate.not_before is None or certificate.not_before < request.at - BACKDATED:
        begin = Printable("at an unknown time") if certificate.not_before is None else moment(certificate.not_before)
        yield sentence("it begins {}, before the request of {}", begin, moment(request.at))
    if certificate.sha256 in request.seen:
        yield sentence("it was there before the request of {}", moment(request.at))


def _covers(certificate: Certificate, name: str) -> bool:
    # First as it is written: a wildcard that is asked for is no server's name, and `names_server` refuses it.
    written = name.casefold()
    return any(each.casefold() == written for each in certificate.dns_names()) or names_server(certificate, name)


def young(certificates: Collection[Certificate], now: float) -> frozenset[str]:
    """Return those, by SHA-256, that begin late enough to be taken for the answer to a request of Unix time `now`."""
    return frozenset(
        each.sha256 for each in certificates if each.not_before is None or each.not_before >= now - BACKDATED
    )
