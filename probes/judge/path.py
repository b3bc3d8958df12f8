"""Why a path is refused: each rule of RFC 5280, 6.1 that one of its certificates breaks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from config.immutable import immutable
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, VerifierName
from probes.certificate import Certificate
from probes.chain import End, Path, signed
from probes.finding import Finding, finding
from probes.judge.time import judge_period
from probes.trust import Trust

Value = TypeVar("Value", bound=x509.ExtensionType)

SubjectOf = Callable[[Certificate], Printable]
"""Gives the subject of a finding about a certificate, such as `position 1`."""

_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    }
)
MOST_COMPARED_NAMES: Final = 1 << 14
"""Pairs of a name and a constraint on names; verifiers give up as well, if later."""

_SERVER_USES: Final = {
    # With those of Netscape and Microsoft for "server gated cryptography", but not any purpose.
    VerifierName.OPENSSL: frozenset(
        {
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
            x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
        }
    ),
    VerifierName.WEBPKI: frozenset({ExtendedKeyUsageOID.SERVER_AUTH}),
}
_ISSUER_USES: Final = {
    VerifierName.OPENSSL: _SERVER_USES[VerifierName.OPENSSL],
    VerifierName.WEBPKI: _SERVER_USES[VerifierName.WEBPKI] | {ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE},
}


def judge_path(
    path: Path,
    trust: Trust,
    verifier: VerifierName,
    now: float,
    subject_of: SubjectOf,
    *,
    elsewhere: Sequence[Trust] = (),
) -> Iterator[Finding]:
    """Yield the faults of `path` for a client with that store and verifier, the most telling first.

    An issuer that is an anchor `elsewhere` is a root that this store lacks, not an intermediate that the server forgot.
    """
    yield from _judge_end(path, trust, verifier, subject_of, elsewhere)
    for index, certificate in enumerate(path.certificates):
        subject = subject_of(certificate)
        yield from judge_period(certificate, subject, now)
        if index:
            yield from _judge_authority(path.certificates, index, subject)
        yield from _judge_use(certificate, verifier, subject, leaf=index == 0)
        yield from _judge_constraints(path.certificates, index, subject)


def _judge_end(
    path: Path, trust: Trust, verifier: VerifierName, subject_of: SubjectOf, elsewhere: Sequence[Trust]
) -> Iterator[Finding]:
    """Yield why a path ends where a client with that store does not go on, the first that applies."""
    last, alone = path.last, len(path.certificates) == 1
    at = _PathEnd(last, harmless(trust.name), subject_of(last), trust.by_subject.get(last.outline().issuer, ()))
    match path.end:
        case End.ANCHOR:
            if verifier is VerifierName.OPENSSL and not _is_root(last):
                yield at.is_no_root()
        case End.SELF_SIGNED:
            yield at.is_a_strange_root(alone=alone)
        case _ if signers := [(each, other) for other in elsewhere for each in _signers(last, other)]:
            yield at.leads_to_another_store(*signers[0])
        case End.MISSING if at.namesakes:
            yield at.is_signed_with_another_key()
        case End.BAD_SIGNATURE:
            yield at.has_a_bad_signature()
        case End.MISSING:
            yield at.lacks_its_issuer(alone=alone)


@immutable
class _PathEnd:
    """The end of a path, for the findings about it."""

    last: Certificate
    store: Printable
    """The name of the client's store."""
    subject: Printable
    namesakes: Sequence[Certificate]
    """Certificates in the store that have the name of the last one's issuer."""

    def is_no_root(self) -> Finding:
        """Return that OpenSSL does not stop at an anchor that is no root."""
        detail = sentence(
            "{} is in the store {} but is no root, and OpenSSL by default accepts only a path "
            "that ends at a root; {}, which issued it, is not at hand",
            self.last.title,
            self.store,
            self.last.issuer,
        )
        cure = sentence("add {} to the client's store", self.last.issuer)
        return finding(Code.UNTRUSTED_ISSUER, detail, self.subject, cure=cure)

    def is_a_strange_root(self, *, alone: bool) -> Finding:
        """Return that the path ends at a certificate that is its own issuer and not in the store."""
        if self.namesakes:
            detail = sentence(
                "the chain ends at {} (sha256 {}), which may be forged: the store {} holds another certificate of "
                "that name, with another key (sha256 {})",
                self.last.title,
                harmless(self.last.sha256),
                self.store,
                harmless(self.namesakes[0].sha256),
            )
            return finding(Code.UNTRUSTED_ISSUER, detail, self.subject, cure=_OTHER_KEY)
        if alone:
            detail = sentence("{} is signed by itself and not in the store {}", self.last.title, self.store)
            return finding(Code.SELF_SIGNED, detail, self.subject)
        detail = sentence("the chain ends at the root {}, not in the store {}", self.last.title, self.store)
        return finding(Code.UNTRUSTED_ISSUER, detail, self.subject)

    def leads_to_another_store(self, signer: Certificate, other: Trust) -> Finding:
        """Return that the issuer is a root, or another certificate, of another store alone."""
        is_root = _is_root(signer)
        detail = sentence(
            "the chain leads to {}, {} the store {}, but not in the store {}{}",
            self.last.issuer,
            Printable("a root in") if is_root else Printable("which is in"),
            harmless(other.name),
            self.store,
            _NAMESAKE if self.namesakes else _NOTHING,
        )
        cure = _OTHER_KEY if self.namesakes else _NOTHING if is_root else _either(self.last)
        may_lack = not (self.namesakes or is_root)
        return finding(Code.UNTRUSTED_ISSUER, detail, self.subject, cure=cure, may_lack_in_chain=may_lack)

    def is_signed_with_another_key(self) -> Finding:
        """Return that the store holds the name of the issuer with another key."""
        detail = sentence(
            "{} was signed with another key than that of {} in the store {} (sha256 {}), and may be forged",
            self.last.title,
            self.last.issuer,
            self.store,
            harmless(self.namesakes[0].sha256),
        )
        return finding(Code.UNTRUSTED_ISSUER, detail, self.subject, cure=_OTHER_KEY)

    def has_a_bad_signature(self) -> Finding:
        """Return that the signature is not by the presented issuer."""
        detail = sentence("the signature on {} is not by its issuer {}", self.last.title, self.last.issuer)
        cure = _ORIGINALS_OR_OTHER_KEY if self.namesakes else _NOTHING
        return finding(Code.BAD_SIGNATURE, detail, self.subject, cure=cure)

    def lacks_its_issuer(self, *, alone: bool) -> Finding:
        """Return that the issuer is nowhere.

        Whether a server forgot an intermediate or a client lacks a root cannot be told: the first is likelier for the
        issuer of the server's certificate, the second for the issuer of a CA's.
        """
        detail = sentence(
            "the certificate of {}, which issued {}, is neither presented nor in the store {}",
            self.last.issuer,
            self.last.title,
            self.store,
        )
        code = Code.INCOMPLETE_CHAIN if alone or not self.last.is_ca else Code.UNTRUSTED_ISSUER
        return finding(code, detail, self.subject, cure=_either(self.last), may_lack_in_chain=True)


_NOTHING: Final = Printable("")
_NAMESAKE: Final = Printable(", which holds another of that name, with another key")
# Whoever forges a certificate gives it the name of a CA that is trusted: a name is no reason to trust another key.
_COMPARED: Final = Printable(
    "only where the CA has a new key, by a fingerprint that the CA itself publishes (compare it with `openssl x509 -in "
    "FILE -noout -fingerprint -sha256`), add its new certificate to the client's store"
)
_OTHER_KEY: Final = sentence("serve a certificate of the CA that the store holds; {}", _COMPARED)
_ORIGINALS_OR_OTHER_KEY: Final = sentence(
    "install the certificate and the chain anew from the CA's originals; {}", _COMPARED
)


def _either(last: Certificate) -> Printable:
    """Return the cure for a missing issuer of `last`, which may be an intermediate or a root."""
    return sentence(
        "append the certificate of {} to the server's chain if it is an intermediate, or add it to the client's store "
        "if it is a root whose fingerprint is one that the CA itself publishes",
        last.issuer,
    )


def _is_root(certificate: Certificate) -> bool:
    return certificate.self_issued and signed(certificate, certificate)


def _signers(certificate: Certificate, trust: Trust) -> Iterator[Certificate]:
    return (each for each in trust.by_subject.get(certificate.outline().issuer, ()) if signed(each, certificate))


def _judge_authority(path: Sequence[Certificate], index: int, subject: Printable) -> Iterator[Finding]:
    """Yield why the certificate at `index` may not have signed the one before it (RFC 5280, 6.1.4 k to n)."""
    certificate = path[index]
    signed = path[index - 1].title
    if not certificate.is_ca:
        yield finding(Code.INVALID_CA, sentence("{} signed {}, but is no CA", certificate.title, signed), subject)
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield finding(
            Code.INVALID_CA,
            sentence("{} signed {}, but its key usage excludes that", certificate.title, signed),
            subject,
        )
    basic = extension_of(certificate, x509.BasicConstraints)
    below = sum(not each.self_issued for each in path[1:index])
    if basic is not None and basic.path_length is not None and below > basic.path_length:
        yield finding(
            Code.INVALID_CA,
            sentence("{} allows {} CAs below itself, the path has {}", certificate.title, basic.path_length, below),
            subject,
        )


def _judge_use(
    certificate: Certificate, verifier: VerifierName, subject: Printable, *, leaf: bool
) -> Iterator[Finding]:
    """Yield each rule that excludes `certificate` from a path to a TLS server."""
    extended = extension_of(certificate, x509.ExtendedKeyUsage)
    uses = (_SERVER_USES if leaf else _ISSUER_USES)[verifier]
    if extended is not None and not uses.intersection(extended):
        yield finding(
            Code.PATH_REJECTED,
            sentence("the extended key usage of {} excludes TLS servers", certificate.title),
            subject,
        )
    usage = extension_of(certificate, x509.KeyUsage)
    serves = usage is None or usage.digital_signature or usage.key_encipherment or usage.key_agreement
    if leaf and not serves:
        yield finding(
            Code.PATH_REJECTED, sentence("the key usage of {} excludes TLS servers", certificate.title), subject
        )
    # One will do: an attacker may put in thousands.
    for oid in islice(_not_understood(certificate), 1):
        yield finding(
            Code.PATH_REJECTED,
            sentence("{} has the critical extension {}, which is not known", certificate.title, harmless(oid)),
            subject,
        )


def _judge_constraints(path: Sequence[Certificate], index: int, subject: Printable) -> Iterator[Finding]:
    """Yield the names of the leaf that the certificate at `index` does not allow (RFC 5280, 4.2.1.10)."""
    if index and _excludes(path[index], path[0]):
        yield finding(
            Code.PATH_REJECTED,
            sentence("the name constraints of {} exclude a name of {}", path[index].title, path[0].title),
            subject,
        )


@lru_cache(maxsize=256)
def _excludes(authority: Certificate, leaf: Certificate) -> bool:
    """Whether the constraints of `authority` forbid a name of `leaf`; not, where they are too many to compare."""
    constraints = extension_of(authority, x509.NameConstraints)
    names = extension_of(leaf, x509.SubjectAlternativeName) if constraints else None
    if constraints is None or names is None:
        return False
    permitted, excluded = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    if len(leaf.names) * (len(permitted) + len(excluded)) > MOST_COMPARED_NAMES:
        return False
    for name in names:
        same_kind = [each for each in permitted if type(each) is type(name)]
        if same_kind and not any(_within(name, tree) for tree in same_kind):
            return True
        if any(_within(name, tree) for tree in excluded):
            return True
    return False


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    match name, tree:
        case x509.DNSName(), x509.DNSName():
            base = tree.value.lower().lstrip(".")
            host = name.value.lower()
            return not base or host == base or host.endswith("." + base)
        case x509.IPAddress(), x509.IPAddress():
            address, network = name.value, tree.value
            if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
                return False
            return isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) and address in network
        case _:
            return False


def _not_understood(certificate: Certificate) -> Iterator[str]:
    for extension in certificate.extensions():
        if extension.critical and extension.oid not in _UNDERSTOOD:
            yield extension.oid.dotted_string


def extension_of(certificate: Certificate, kind: type[Value]) -> Value | None:
    """Return the value of the extension of that class, None where it is absent or cannot be decoded."""
    try:
        return certificate.extensions().get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
