"""Why a path is refused: a finding for each rule of a client's family that one of its certificates breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from cryptography import x509

from config.immutable import immutable
from config.model import Client
from config.text import Printable, harmless, sentence
from config.vocabulary import Code
from probes.certificate import Certificate
from probes.chain import made_signature, signed
from probes.finding import Finding, finding
from probes.judge.algorithm import key_finding, signature_finding
from probes.judge.subject import SubjectOf
from probes.judge.time import judge_period
from probes.trust import Trust
from probes.verify.building import End
from probes.verify.engine import JudgedPath
from probes.verify.facts import facts_of
from probes.verify.families import family_of
from probes.verify.rules import TOO_MANY_NAMES, PathObjection, Rule

Value = TypeVar("Value", bound=x509.ExtensionType)


@immutable
class RefusedPath:
    """A path that a client with a store has tried, to be told in the words of findings.

    An issuer that is an anchor `elsewhere` is a root that this store lacks, not an intermediate that the server forgot.
    """

    attempt: JudgedPath
    trust: Trust
    client: Client
    now: float
    subject_of: SubjectOf
    elsewhere: Sequence[Trust] = ()

    @property
    def path(self) -> Sequence[Certificate]:
        """Its certificates, the leaf first."""
        return self.attempt.path.certificates

    def findings(self) -> Iterator[Finding]:
        """Yield why it is refused, the most telling first."""
        yield from dict.fromkeys(found for each in self.attempt.objections for found in self.told(each))

    def told(self, objection: PathObjection) -> Iterator[Finding]:
        """Yield an objection as findings."""
        certificate = self.path[objection.index]
        subject = self.subject_of(certificate)
        match objection.rule:
            case Rule.ANCHOR:
                yield from self._end()
            case Rule.SIGNATURE:
                yield self._at(certificate).has_a_bad_signature()
            case Rule.BEGIN | Rule.END:
                yield from judge_period(certificate, subject, self.now)
            case Rule.KEY:
                yield key_finding(certificate, self.client, subject, leaf=objection.index == 0)
            case Rule.SIGNATURE_ALGORITHM:
                yield signature_finding(certificate, self.client, subject)
            case Rule.CONSTRAINTS if objection.detail == TOO_MANY_NAMES:
                detail = sentence(
                    "the chain has more names and name constraints, up to those of {}, than a verdict compares",
                    certificate.title,
                )
                yield finding(Code.PATH_REJECTED, detail, subject)
            case Rule.CONSTRAINTS:
                detail = sentence(
                    "the name constraints of {} exclude a name of {}", certificate.title, self.path[0].title
                )
                yield finding(Code.PATH_REJECTED, detail, subject, cure=_FOR_OTHER_NAMES)
            case Rule.CA | Rule.SIGNING_USAGE | Rule.PATH_LENGTH:
                yield finding(Code.INVALID_CA, self._of_ca(objection, certificate), subject)
            case Rule.PURPOSE | Rule.KEY_USAGE | Rule.LEAF_IS_CA if objection.index == 0 and certificate.is_ca:
                yield finding(Code.PATH_REJECTED, self._in_words(objection, certificate), subject, cure=_OF_A_SERVER)
            case _:
                yield finding(Code.PATH_REJECTED, self._in_words(objection, certificate), subject)

    def _at(self, certificate: Certificate) -> _PathEnd:
        namesakes = self.trust.by_subject.get(certificate.outline().issuer, ())
        who = harmless(family_of(self.client).title)
        return _PathEnd(certificate, harmless(self.trust.name), self.subject_of(certificate), namesakes, who)

    def _end(self) -> Iterator[Finding]:
        """Yield why the path ends where this client does not go on, the first that applies."""
        last, alone = self.path[-1], len(self.path) == 1
        at = self._at(last)
        match self.attempt.path.end:
            case End.MISSING if self.trust.holds(last):
                yield at.is_no_root()
            case End.SELF_SIGNED:
                yield at.is_a_strange_root(alone=alone)
            case _ if signers := [(each, other) for other in self.elsewhere for each in _signers(last, other)]:
                yield at.leads_to_another_store(*signers[0])
            case End.MISSING if any(made_signature(each, last) for each in at.namesakes):
                yield at.names_another_key()
            case End.MISSING if at.namesakes:
                yield at.is_signed_with_another_key()
            case End.BAD_SIGNATURE:
                yield at.has_a_bad_signature()
            case _:
                yield at.lacks_its_issuer(alone=alone)

    def _of_ca(self, objection: PathObjection, certificate: Certificate) -> Printable:
        """Say why a certificate may not have signed the one before it."""
        title, below = certificate.title, self.path[max(objection.index - 1, 0)].title
        match objection.rule:
            case Rule.CA:
                return sentence("{} signed {}, but is no CA", title, below)
            case Rule.SIGNING_USAGE:
                return sentence("{} signed {}, but its key usage excludes that", title, below)
            case _:
                facts = [facts_of(each) for each in self.path[1 : objection.index]]
                counts_all = family_of(self.client).self_issued_counts
                found = sum(counts_all or not each.self_issued for each in facts)
                allowed = facts_of(certificate).path_length or 0
                return sentence("{} allows {} CAs below itself, the path has {}", title, allowed, found)

    def _in_words(self, objection: PathObjection, certificate: Certificate) -> Printable:
        """Return an objection that one sentence says."""
        title, detail, who = certificate.title, harmless(objection.detail), harmless(family_of(self.client).title)
        match objection.rule:
            case Rule.PURPOSE:
                return sentence("the extended key usage of {} excludes TLS servers", title)
            case Rule.KEY_USAGE:
                return sentence("the key usage of {} excludes TLS servers", title)
            case Rule.LEAF_IS_CA:
                return sentence("{} is a CA, and {} takes none for a server", title, who)
            case Rule.CRITICAL:
                return sentence("{} has the critical extension {}, which is not known", title, detail)
            case Rule.POLICY:
                return sentence("a CA above {} demands a policy, and none is left", title)
            case Rule.STAPLE:
                return sentence("{} promises an OCSP answer with each handshake, and {} demands it", title, who)
            case Rule.SERIAL:
                return sentence("the serial number of {} is negative", title)
            case _:
                return sentence("{} refuses {}: {}", who, title, detail)


@immutable
class _PathEnd:
    """The end of a path, for the findings about it."""

    last: Certificate
    store: Printable
    """The name of the client's store."""
    subject: Printable
    namesakes: Sequence[Certificate]
    """Certificates in the store that have the name of the last one's issuer."""
    who: Printable
    """The title of the client's family."""

    def is_no_root(self) -> Finding:
        """Return that the client does not stop at an anchor that is no root."""
        detail = sentence(
            "{} is in the store {} but is no root, and {} by default accepts only a path "
            "that ends at a root; {}, which issued it, is not at hand",
            self.last.title,
            self.store,
            self.who,
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

    def names_another_key(self) -> Finding:
        """Return that the issuer is in the store, and the certificate names another key as its issuer's."""
        detail = sentence(
            "{} was signed by {} in the store {}, but its authority key identifier names another certificate",
            self.last.title,
            self.last.issuer,
            self.store,
        )
        return finding(Code.UNTRUSTED_ISSUER, detail, self.subject, cure=_IDENTIFIED_ANEW)

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


_IDENTIFIED_ANEW: Final = Printable("have it issued anew, with the key identifier of its issuer")
_OF_A_SERVER: Final = Printable(
    "put the server's own certificate before it: this is the certificate of a CA, which may stay as it is"
)
_FOR_OTHER_NAMES: Final = Printable("have the certificate issued for names that these allow")
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


def extension_of(certificate: Certificate, kind: type[Value]) -> Value | None:
    """Return the value of the extension of that class, None where it is absent or cannot be decoded."""
    try:
        return certificate.extensions().get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
