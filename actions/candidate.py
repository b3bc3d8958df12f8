"""A candidate: certificate, chain and key, read from files in any disorder; or the reason why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from itertools import islice
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import FileFormat
from probes.certificate import Certificate, certificate
from probes.chain import paths, signed
from probes.container.blocks import SEALED, EncodingFault
from probes.container.pem import text_around
from probes.container.private_key import open_key
from probes.container.registry import called, encoding, open_container, open_unsealed, parts_of, recognise

LibraryKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)

MOST_BYTES: Final = 1024 * 1024
"""Of all files together."""
MOST_CERTIFICATES: Final = 64
_MOST_NAMED: Final = 3
"""Files that one sentence names."""
MOST_PARTS: Final = 256
"""Of one file, each of which is opened."""
_MAY_HOLD_KEY: Final = frozenset({FileFormat.PUTTY_KEY, FileFormat.KUBECONFIG})


class PrivateKey:
    """A private key that never shows: it is not printed, pickled or copied. Equality is by the public half."""

    __slots__ = ("_key", "public_sha256")

    def __init__(self, key: LibraryKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_sha256: Final = hashlib.sha256(public).hexdigest()
        """SHA-256 of the SubjectPublicKeyInfo, hexadecimal."""

    def pem(self) -> bytes:
        """Return the key itself, as unencrypted PKCS#8 PEM."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def library_key(self) -> LibraryKey:
        """Return the key itself, as the library's object."""
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and self.public_sha256 == other.public_sha256

    def __hash__(self) -> int:
        return hash(self.public_sha256)

    def __repr__(self) -> str:
        return f"<PrivateKey of public {self.public_sha256[:16]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is neither pickled nor copied")


@immutable
class Given:
    """A file that may hold a part of a candidate, under any name."""

    name: str
    data: bytes = field(repr=False)


@immutable
class Candidate:
    """Certificate, chain and key that are proposed for components; the key belongs to the certificate."""

    certificate: Certificate
    chain: tuple[Certificate, ...]
    """The certificates to be presented after the leaf, each signed by the next, without a root."""
    key: PrivateKey
    root: Certificate | None = None
    """The root among the files, if there is one; clients must hold it themselves."""
    put_right: tuple[str, ...] = ()
    """Corrections that were made to the files: sentences, printable."""
    offered: Printable = field(default=Printable(""), compare=False)
    """Of an offer, by whom and when it was brought, the rest of "it was offered ..."; else empty."""

    @property
    def presented(self) -> tuple[Certificate, ...]:
        """The certificate and its chain."""
        return (self.certificate, *self.chain)

    @property
    def sha256(self) -> str:
        """Of the presented certificates, hexadecimal: the same for the same candidate in other files."""
        return hashlib.sha256(b"".join(each.der for each in self.presented)).hexdigest()


class Flaw(StrEnum):
    """Why files make no candidate."""

    NO_CERTIFICATE = "no_certificate"
    SEVERAL_LEAVES = "several_leaves"
    NO_KEY = "no_key"
    KEY_MISMATCH = "key_mismatch"
    KEY_ENCRYPTED = "key_encrypted"
    """No password was given."""
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (a reason, not a secret)
    UNDECODABLE = "undecodable"
    NO_ANSWER = "no_answer"
    """Its key was made for a request, or is the one of a request, that it does not answer."""
    TOO_LARGE = "too_large"


@immutable
class NoCandidate:
    """The files make no candidate."""

    flaw: Flaw
    detail: str
    """A sentence for a person, printable."""


@immutable
class Keyless:
    """A server's own certificate whose private key is not at hand."""

    certificate: Certificate
    chain: tuple[Certificate, ...]
    why: NoCandidate


Offered = Candidate | Keyless


@immutable
class Candidates:
    """All candidates in some files, in the order in which their certificates were found."""

    usable: tuple[Candidate, ...]
    """At least one."""
    keyless: tuple[Keyless, ...] = ()

    @property
    def offered(self) -> tuple[Offered, ...]:
        """All candidates, with or without their keys."""
        return (*self.usable, *self.keyless)

    @property
    def leaves(self) -> tuple[Certificate, ...]:
        """The servers' own certificates."""
        return tuple(each.certificate for each in self.offered)


def read_candidate(
    files: Sequence[Given], password: bytes | None = None, at_hand: Sequence[PrivateKey] = ()
) -> Candidate | NoCandidate:
    """Return the only candidate in `files`, as `read_candidates` does."""
    made = read_candidates(files, password, at_hand)
    if isinstance(made, NoCandidate):
        return made
    return made.usable[0] if len(made.leaves) == 1 else _several(made.leaves)


def read_candidates(
    files: Sequence[Given],
    password: bytes | None = None,
    at_hand: Sequence[PrivateKey] = (),
    *,
    requested: Sequence[PrivateKey] = (),
    opened_with: str = "this password",
) -> Candidates | NoCandidate:
    """Return the candidates in `files`: PEM, DER, PKCS#7 or PKCS#12, recognised by content.

    There is one candidate for each server's certificate whose key is at hand; all share the remarks on corrections to
    the files. `password` opens encrypted keys and keystores; `opened_with` is its name in a sentence, printable.
    `at_hand` are keys of the host, for a certificate that comes without a key, and `requested` those that were made for
    requests.
    """
    parts = _parts(files, password, opened_with)
    if isinstance(parts, NoCandidate):
        return parts
    keys = {key.public_sha256: key for key in (*requested, *at_hand, *parts.keys)}
    leaves = _leaves(parts.certificates, keys.keys()) if parts.certificates else parts.without_certificate()
    if isinstance(leaves, NoCandidate):
        return parts.locked() or leaves
    made, keyless = _paired(leaves, parts, keys)
    if not made:
        why = max(keyless, key=lambda each: age_order(each.certificate)).why
        return replace(why, detail=f"{why.detail}{parts.empty}")
    return Candidates(_described(made, keyless, parts, {*requested} - {*at_hand}), keyless)


def age_order(certificate: Certificate) -> tuple[float, float, str]:
    """Return a sort key from the oldest to the newest certificate: begin, then end, then content."""
    never = float("-inf")
    begin, end = certificate.not_before, certificate.not_after
    return never if begin is None else begin, never if end is None else end, certificate.sha256


def identities(file: Given, password: bytes | None = None) -> frozenset[str]:
    """Return the SHA-256 of each certificate in a file, and of each private key's public half, hexadecimal."""
    found = _look_into(file, password)
    return frozenset((*(each.sha256 for each in found.certificates), *(each.public_sha256 for each in found.keys)))


def read_certificates(files: Sequence[Given]) -> tuple[Certificate, ...] | NoCandidate:
    """Return the certificates in `files`, each once, or why there are none; keys are left out."""
    parts = _parts(files, None, "this password")
    if isinstance(parts, NoCandidate):
        return parts
    return parts.certificates or parts.without_certificate()


def holds_key(file: Given) -> bool:
    """Whether a file holds a private key, or a keystore or kubeconfig, which may hold one; nothing in it is opened."""
    data = _unmarked(file.data, _Found(file.name, None))
    if b"PRIVATE KEY-----" in data:
        return True
    for part in islice(parts_of(data), MOST_PARTS):
        form = recognise(part)
        if form is not None and (form.is_keystore or form.name in _MAY_HOLD_KEY or open_unsealed(part).keys):
            return True
    return False


@immutable
class _Parts:
    """The content of all files together."""

    found: tuple[_Found, ...]
    password: bytes | None
    opened_with: str
    """In a sentence; printable."""

    @property
    def every(self) -> list[Certificate]:
        """The certificates, repeated where they were given more than once."""
        return [each for one in self.found for each in one.certificates]

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(dict.fromkeys(self.every))

    @property
    def keys(self) -> tuple[PrivateKey, ...]:
        return tuple(dict.fromkeys(each for one in self.found for each in one.keys))

    def without_certificate(self) -> NoCandidate:
        """Return that there is no certificate in these files, and which of them are empty."""
        where = f" in {', '.join(one.name for one in self.found[:_MOST_NAMED])}" if self.found else ""
        more = f" and {len(self.found) - _MOST_NAMED} more" if len(self.found) > _MOST_NAMED else ""
        return NoCandidate(Flaw.NO_CERTIFICATE, f"there is no certificate{where}{more}{self.empty}")

    @property
    def empty(self) -> str:
        """The rest of a sentence that names the empty files; empty where there are none."""
        names = [one.name for one in self.found if one.is_empty]
        return f"; empty: {', '.join(names[:_MOST_NAMED])}" if names else ""

    def locked(self) -> NoCandidate | None:
        """Return that a key or keystore was not opened for want of the right password; None where all were."""
        where = ", ".join(one.name for one in self.found if one.locked)
        if not where:
            return None
        if self.password is None:
            return NoCandidate(
                Flaw.KEY_ENCRYPTED, f"the private key in {where} is encrypted, and no password was given"
            )
        return NoCandidate(
            Flaw.WRONG_PASSWORD, f"the private key in {where} cannot be opened with {self.opened_with}, or is damaged"
        )


def _parts(files: Sequence[Given], password: bytes | None, opened_with: str) -> _Parts | NoCandidate:
    """Return the content of `files`, unless a file is damaged or they are too large."""
    if sum(len(file.data) for file in files) > MOST_BYTES:
        return NoCandidate(Flaw.TOO_LARGE, f"the files hold more than {MOST_BYTES} bytes together")
    parts = _Parts(tuple(_look_into(file, password) for file in files), password, opened_with)
    damage = [each for one in parts.found for each in one.damage]
    if damage:
        return NoCandidate(Flaw.UNDECODABLE, damage[0])
    if (count := len(parts.every)) > MOST_CERTIFICATES:
        return NoCandidate(
            Flaw.TOO_LARGE, f"the files hold {count} certificates: that is a trust store, not a candidate"
        )
    return parts


def _paired(
    leaves: Sequence[Certificate], parts: _Parts, keys: Mapping[str, PrivateKey]
) -> tuple[list[Candidate], tuple[Keyless, ...]]:
    """Return a candidate for each leaf whose key is among `keys`, by public half, and the leaves without a key."""
    made: list[Candidate] = []
    keyless: list[Keyless] = []
    for leaf in leaves:
        chain, root = _chain(leaf, parts.certificates)
        key = keys.get(leaf.public_key_sha256())
        if key is None:
            keyless.append(Keyless(leaf, chain, parts.locked() or _without_key(leaf, parts.keys)))
        else:
            made.append(Candidate(leaf, chain, key, root))
    return made, tuple(keyless)


def _described(
    made: Sequence[Candidate], keyless: Sequence[Keyless], parts: _Parts, requested: Collection[PrivateKey]
) -> tuple[Candidate, ...]:
    """Return the candidates, each with the corrections to the files."""
    corrections = tuple(_corrections(made, keyless, parts))
    reused = "no private key was given: the installed one, to which the certificate belongs, is used again"
    kept = "no private key was given: the one that was made for its request is used"
    where = {one.certificate: kept if one.key in requested else reused for one in made}
    own = {one.certificate: () if one.key in parts.keys else (where[one.certificate],) for one in made}
    return tuple(replace(one, put_right=tuple(dict.fromkeys((*corrections, *own[one.certificate])))) for one in made)


def _corrections(made: Sequence[Candidate], keyless: Sequence[Keyless], parts: _Parts) -> Iterable[str]:
    """Yield the corrections to the files, which all candidates share."""
    every = parts.every
    yield from (each for one in parts.found for each in one.put_right)
    yield from (f"{each.title} was given more than once" for each in parts.certificates if every.count(each) > 1)
    yield from (each for one in made for each in _order(parts.found, one.presented))
    waiting = {each for one in keyless for each in (one.certificate, *one.chain)}
    yield from _left_out(parts.certificates, made, waiting)
    if set(parts.keys) - {one.key for one in made}:
        yield "a private key that does not belong to the certificate was left out"


_BY_EXTENSION: Final = {
    "pem": FileFormat.PEM,
    "der": FileFormat.DER,
    "p7b": FileFormat.PKCS7,
    "p7c": FileFormat.PKCS7,
    "p12": FileFormat.PKCS12,
    "pfx": FileFormat.PKCS12,
}
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class _Found:
    """The content of one file."""

    def __init__(self, name: str, password: bytes | None) -> None:
        self.name: Final = printable(name, 200)
        self.certificates: list[Certificate] = []
        self.keys: list[PrivateKey] = []
        self.encodings: set[FileFormat] = set()
        self.is_empty = False
        self.locked = False
        """A key or keystore was not opened for want of the right password."""
        self.put_right: list[str] = []
        self.damage: list[str] = []
        self._password = password

    def take(self, part: bytes) -> None:
        """Take the file, or a part of one that was joined from several."""
        form = recognise(part)
        if form is not None and form.name is FileFormat.KUBECONFIG:
            # Reading YAML costs time, and nothing in it is used.
            self.put_right.append(f"{self.name} was passed over: it is a kubeconfig, whose certificates are of clients")
            return
        container = open_container(part, self._password)
        self.encodings |= container.encodings
        for fault in container.blocks.faults:
            if fault.reason in SEALED:
                self.locked = True
            else:
                self.damage.append(f"{self.name}: {fault.detail}")
        if container.keystore is not None and container.keystore.locked_keys:
            self.locked = True
        if container.blocks.faults:
            return
        if container.blocks.certificates or container.blocks.keys:
            self.put_right += (f"{self.name}: {each}" for each in _conversions(part, container.encodings))
        elif part.strip():
            held = called(container.format)
            why = f"it is {held}" if held else "it holds neither certificate nor key"
            self.put_right.append(f"{self.name} was passed over: {why}")
        for certificate_block in container.blocks.certificates:
            self._take_certificate(certificate_block)
        for key_block in container.blocks.keys:
            self._take_key(key_block)

    def _take_certificate(self, der: bytes) -> None:
        try:
            held = certificate(der)
            # It is written as the library has it, and strict clients would not read it.
            held.x509()
            self.certificates.append(held)
        except ValueError as error:
            self.damage.append(f"{self.name}: a certificate cannot be decoded: {printable(str(error), 200)}")

    def _take_key(self, block: bytes) -> None:
        opened = open_key(block, self._password, validated=True)
        if isinstance(opened, EncodingFault):
            if opened.reason in SEALED:
                self.locked = True
            else:
                self.damage.append(f"{self.name}: the private key {opened.detail}")
        elif not isinstance(opened.key, LibraryKey):
            self.damage.append(f"{self.name}: the private key is of a kind that cannot be rehearsed here")
        else:
            self.keys.append(PrivateKey(opened.key))
            if opened.was_encrypted:
                self.put_right.append(
                    f"{self.name}: the private key was encrypted and will be written without a password"
                )


def _conversions(part: bytes, encodings: Collection[FileFormat]) -> Iterable[str]:
    """Yield the conversions of content that holds something."""
    if FileFormat.PEM in encodings:
        if text_around(part).strip():
            yield "text around the PEM blocks was left out"
        if b"\r" in part:
            yield "Windows line ends were removed"
    yield from (f"{encoding(each)} was converted to PEM" for each in sorted(encodings) if each is not FileFormat.PEM)


def _look_into(file: Given, password: bytes | None) -> _Found:
    found = _Found(file.name, password)
    for number, part in enumerate(parts_of(_unmarked(file.data, found)), start=1):
        if number > MOST_PARTS:
            found.damage.append(f"{found.name}: it is joined from more than {MOST_PARTS} parts")
        else:
            found.take(part)
        if found.damage:
            break
    if not file.data.strip():
        found.is_empty = True
        found.put_right.append(f"{found.name} was passed over: it is empty")
    found.put_right += _misnamed(found)
    return found


def _unmarked(data: bytes, found: _Found) -> bytes:
    if data.startswith(_BYTE_ORDER_MARK):
        found.put_right.append(f"{found.name}: a byte order mark was removed")
        return data.removeprefix(_BYTE_ORDER_MARK)
    if data.startswith(_UTF16_MARKS):
        found.put_right.append(f"{found.name}: text in UTF-16 was converted")
        return data.decode("utf-16", "replace").encode("ascii", "replace")
    return data


def _misnamed(found: _Found) -> Iterable[str]:
    """Yield how the extension of a file misleads about its content."""
    extension = found.name.rpartition(".")[2].lower()
    expected = _BY_EXTENSION.get(extension)
    if expected and found.encodings and expected not in found.encodings:
        held = " and ".join(sorted(encoding(each) for each in found.encodings))
        yield f"{found.name} holds {held}, though its name says otherwise"
    elif extension == "key" and found.certificates and not found.keys:
        yield f"{found.name} holds certificates and no key, though its name says otherwise"
    elif extension in {"crt", "cer"} and found.keys and not found.certificates:
        yield f"{found.name} holds a key and no certificate, though its name says otherwise"


def _leaves(certificates: Sequence[Certificate], keys: Collection[str]) -> Sequence[Certificate] | NoCandidate:
    """Return the servers' own certificates."""
    ends = [each for each in certificates if not each.is_ca and not any(_issued(each, other) for other in certificates)]
    # Some appliances have a server's certificate that claims to be a CA's.
    ends = ends or [each for each in certificates if each.public_key_sha256() in keys]
    if not ends:
        shown = _subjects(certificates)
        return NoCandidate(Flaw.NO_CERTIFICATE, f"there are only CA certificates: {shown}; the server's own is missing")
    return ends


def _several(leaves: Sequence[Certificate]) -> NoCandidate:
    return NoCandidate(Flaw.SEVERAL_LEAVES, f"there are {len(leaves)} servers' certificates: {_subjects(leaves)}")


def _issued(issuer: Certificate, other: Certificate) -> bool:
    return issuer is not other and signed(issuer, other)


def _subjects(certificates: Sequence[Certificate]) -> str:
    shown = ", ".join(f"{each.title} (sha256 {each.sha256[:16]})" for each in certificates[:3])
    return shown + (f" and {len(certificates) - 3} more" if len(certificates) > 3 else "")


def _without_key(leaf: Certificate, keys: Sequence[PrivateKey]) -> NoCandidate:
    if keys:
        return NoCandidate(Flaw.KEY_MISMATCH, f"the private key does not belong to {leaf.title}")
    return NoCandidate(Flaw.NO_KEY, f"there is no private key for {leaf.title}")


def _chain(
    leaf: Certificate, certificates: Sequence[Certificate]
) -> tuple[tuple[Certificate, ...], Certificate | None]:
    """Return the certificates from `leaf` towards roots, those of the longest path first, and the first root."""
    ways = sorted(paths(leaf, certificates, None), key=lambda path: -len(path.certificates))
    # Certificates that only a shorter path needs come last: a client may know no other root.
    met = dict.fromkeys(each for way in ways for each in way.certificates[1:])
    roots = [each for each in met if each.self_issued and signed(each, each)]
    return tuple(each for each in met if each not in roots), roots[0] if roots else None


def _order(found: Iterable[_Found], presented: Sequence[Certificate]) -> Iterable[str]:
    for one in found:
        places = [presented.index(each) for each in one.certificates if each in presented]
        # The certificates of PKCS#7 and PKCS#12 are a set, so their order cannot be wrong.
        if places != sorted(places) and one.encodings <= {FileFormat.PEM, FileFormat.DER}:
            yield f"{one.name}: the certificates were put in order, from the server's to its issuers'"


def _left_out(
    certificates: Iterable[Certificate], made: Sequence[Candidate], waiting: Collection[Certificate]
) -> Iterable[str]:
    """Yield each certificate that neither a candidate nor a certificate that is `waiting` for its key needs."""
    presented = {each for one in made for each in one.presented}.union(waiting)
    roots = {one.root for one in made}
    for each in certificates:
        if each in roots:
            yield f"the root {each.title} was left out: clients must hold it themselves"
        elif each not in presented:
            yield f"{each.title} was left out: no path from the server's certificate needs it"
