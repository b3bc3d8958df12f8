"""A grammar of chains: each is drawn by its number, from a site as it should be and a few ways to deviate from it.

The ways are those in which certificates on private networks are made, and those on which verifiers are known to differ.
The same seed draws the same deviations; keys, serial numbers and times are those of the run, since real clients know
no time but that of now.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from monitor.lab.ca import DAY, HOUR, UNKNOWN_CRITICAL, Authority, HashName, Issued, KeyType, Knobs, PrivateKey, new_key
from monitor.lab.ca import self_signed as signed_by_itself
from tests.kit.odd_certificates import ODDITIES, oddly
from tests.kit.verifiers import Question

NAME: Final = "www.example.com"
HASHES: Final[tuple[HashName, ...]] = ("md5", "sha1", "sha1", "sha384", "sha512")
Random = random.Random


@dataclass(slots=True)
class Draft:
    """A site that is being drawn: its certificates are not made yet."""

    now: float
    cas: list[Knobs]
    """Root first; the last one issues the leaf."""
    leaf: Knobs = field(default_factory=Knobs)
    names: list[str | x509.GeneralName] = field(default_factory=lambda: [NAME])
    asked: str = NAME
    presented: list[Callable[[Made], None]] = field(default_factory=list)
    """What is done to the chain after it was made."""
    deviations: list[str] = field(default_factory=list)

    def any_ca(self, rng: Random) -> Knobs:
        """Return one of the CAs."""
        return rng.choice(self.cas)

    def anyone(self, rng: Random) -> Knobs:
        """Return one of all certificates."""
        return rng.choice([*self.cas, self.leaf, self.leaf])

    def anyone_issued(self, rng: Random) -> Knobs:
        """Return one of the certificates that another one signed."""
        return rng.choice([*self.cas[1:], self.leaf, self.leaf])

    def extend(self, knobs: Knobs, extension: x509.ExtensionType, *, critical: bool = False) -> None:
        """Have a certificate carry one more extension."""
        more = x509.Extension(extension.oid, critical, extension)
        knobs["extensions"] = [*knobs.get("extensions", ()), more]


@dataclass(slots=True)
class Made:
    """What was made of a draft."""

    now: float
    cas: list[Authority]
    leaf: Issued
    chain: list[bytes]
    anchors: list[bytes]
    rng: Random


@dataclass(frozen=True, slots=True)
class DrawnChain:
    """One chain of the grammar."""

    number: int
    deviations: tuple[str, ...]
    question: Question


Way = Callable[[Draft, Random], None]
WAYS: Final[dict[str, tuple[Way, int]]] = {}
"""Each way to deviate, and how often it is drawn."""


def _way(weight: int = 2) -> Callable[[Way], Way]:
    def register(way: Way) -> Way:
        WAYS[way.__name__.strip("_")] = (way, weight)
        return way

    return register


def draw(number: int, seed: int = 15) -> DrawnChain:
    """Return the chain of that number."""
    rng = Random(f"{seed} {number}")
    now = float(int(time.time()))
    depth = rng.choices((0, 1, 2, 3), (1, 6, 3, 1))[0]
    cas = [Knobs(subject="Root"), *(Knobs(subject=f"Issuing {each}") for each in range(depth))]
    draft = Draft(now, cas)
    names, weights = zip(*((name, weight) for name, (_, weight) in WAYS.items()), strict=True)
    for _ in range(rng.choices((0, 1, 2, 3), (1, 9, 6, 2))[0]):
        name = rng.choices(names, weights)[0]
        if name not in draft.deviations:
            draft.deviations.append(name)
            WAYS[name][0](draft, rng)
    return DrawnChain(number, tuple(draft.deviations), _made(draft, rng))


def draws(count: int, first: int = 0, seed: int = 15) -> Iterator[DrawnChain]:
    """Yield that many chains."""
    return (draw(number, seed) for number in range(first, first + count))


def _without_doubles(knobs: Knobs, names: Sequence[object]) -> Knobs:
    """Return what makes a certificate such that two deviations do not both give it an extension."""
    own = {
        x509.SubjectAlternativeName.oid: bool(names),
        x509.BasicConstraints.oid: knobs.get("ca", True) is not None,
        x509.ExtendedKeyUsage.oid: bool(knobs.get("purposes")),
        x509.AuthorityKeyIdentifier.oid: knobs.get("authority_key_identifier", True),
    }
    more = {each.oid: each for each in knobs.get("extensions", ()) if not own.get(each.oid)}
    length = knobs.get("path_length") if knobs.get("ca", True) else None
    return cast("Knobs", {**knobs, "path_length": length, "extensions": tuple(more.values())})


def _made(draft: Draft, rng: Random) -> Question:
    draft.cas = [_without_doubles(each, ()) for each in draft.cas]
    draft.leaf = _without_doubles(draft.leaf, draft.names)
    cas = [Authority.root(**draft.cas[0])]
    for knobs in draft.cas[1:]:
        cas.append(cas[-1].intermediate(**knobs))
    leaf = cas[-1].issue(*draft.names, **draft.leaf)
    chain = [leaf.der(), *(each.der() for each in reversed(cas[1:]))]
    made = Made(draft.now, cas, leaf, chain, [cas[0].der()], rng)
    for change in draft.presented:
        change(made)
    return Question(draft.asked, tuple(made.anchors), tuple(made.chain), made.leaf.key)


_NO_USAGE: Final = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def _usage(*bits: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(bits, True)})


# Keys and signatures.


@lru_cache(maxsize=64)
def _kept(kind: str, number: int) -> PrivateKey:
    match kind:
        case "rsa3072":
            return rsa.generate_private_key(65_537, 3072)
        case "p224":
            return ec.generate_private_key(ec.SECP224R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "secp256k1":
            return ec.generate_private_key(ec.SECP256K1())
        case _:
            return new_key(KeyType(kind))


@_way(4)
def leaf_key(draft: Draft, rng: Random) -> None:
    kinds = ("rsa1024", "rsa2048", "rsa3072", "p384", "p521", "p224", "ed25519", "secp256k1")
    draft.leaf["key"] = _kept(rng.choice(kinds), 0)


@_way(4)
def ca_key(draft: Draft, rng: Random) -> None:
    number = rng.randrange(len(draft.cas))
    draft.cas[number]["key"] = _kept(rng.choice(("rsa1024", "rsa2048", "p384", "p521", "p224", "ed25519")), number + 1)


@_way(4)
def rsa_and_hash(draft: Draft, rng: Random) -> None:
    number = rng.randrange(len(draft.cas))
    draft.cas[number]["key"] = _kept("rsa2048", number + 1)
    below = [draft.cas[number + 1]] if number + 1 < len(draft.cas) else [draft.leaf]
    signed = rng.choice([*below, *below, *([draft.cas[0]] if number == 0 else [])])
    signed["signature_hash"] = rng.choice(HASHES)


@_way()
def ecdsa_and_hash(draft: Draft, rng: Random) -> None:
    draft.anyone(rng)["signature_hash"] = rng.choice(HASHES[1:])


@_way()
def corrupt_signature(draft: Draft, rng: Random) -> None:
    draft.anyone(rng)["corrupt_signature"] = True


# Names.


@_way(4)
def common_name_alone(draft: Draft, rng: Random) -> None:
    draft.names = list(rng.choice(((), (), (), (x509.RFC822Name("x@example.com"),), ("10.0.0.1",))))
    draft.leaf["subject"] = rng.choice((NAME, NAME, "*.example.com", "WWW.Example.Com", "w*.example.com", "10.9.9.9"))
    draft.asked = rng.choice((NAME, NAME, NAME, "10.9.9.9"))


@_way()
def common_name_beside(draft: Draft, rng: Random) -> None:
    draft.names = ["other.example.com"]
    draft.leaf["subject"] = NAME


@_way(5)
def wildcard(draft: Draft, rng: Random) -> None:
    patterns = (
        *("*.example.com", "*.example.com", "w*.example.com", "*w.example.com", "w*w.example.com", "*.com", "*"),
        *("www.*.com", "*.*.com", "*.www.example.com", "www.example.*", "x*.example.com", "*www.example.com"),
    )
    draft.names = [rng.choice(patterns)]
    draft.asked = rng.choice((NAME, NAME, NAME, "example.com", "a.www.example.com", "xn--bcher-kva.example.com", "www"))


@_way(4)
def name_of_other_form(draft: Draft, rng: Random) -> None:
    dns: list[tuple[str, str]] = [
        ("WWW.EXAMPLE.COM", NAME),
        ("www.example.com.", NAME),
        (".example.com", NAME),
        ("a_b.example.com", "a_b.example.com"),
        ("-a.example.com", "-a.example.com"),
        ("a-.example.com", "a-.example.com"),
        ("other.example.com", NAME),
        ("10.9.9.9", "10.9.9.9"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("www.example.com:443", NAME),
        (NAME, "WWW.example.com"),
        ("localhost", "localhost"),
        ("1.example.com", "1.example.com"),
    ]
    name, draft.asked = rng.choice(dns)
    draft.names = [name]


@_way(3)
def address(draft: Draft, rng: Random) -> None:
    names, draft.asked = rng.choice(
        (
            (["10.9.9.9"], "10.9.9.9"),
            (["10.9.9.8"], "10.9.9.9"),
            ([NAME, "10.9.9.9"], "10.9.9.9"),
            ([NAME], "10.9.9.9"),
            (["fd00::9"], "fd00::9"),
            (["10.9.9.9"], NAME),
        )
    )
    draft.names = [*names]
    draft.leaf["subject"] = rng.choice((NAME, "10.9.9.9", "site"))


@_way()
def empty_subject(draft: Draft, rng: Random) -> None:
    draft.leaf["subject"] = ""
    if rng.random() < 0.5:
        names = [x509.DNSName(NAME)]
        draft.names = []
        draft.extend(draft.leaf, x509.SubjectAlternativeName(names), critical=rng.random() < 0.5)


@_way()
def critical_names(draft: Draft, rng: Random) -> None:
    draft.names = []
    draft.leaf["subject"] = "site"
    draft.extend(draft.leaf, x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)


@_way()
def more_kinds_of_names(draft: Draft, rng: Random) -> None:
    other: list[x509.GeneralName] = [
        x509.RFC822Name("x@example.com"),
        x509.UniformResourceIdentifier("https://www.example.com/x"),
        x509.DirectoryName(_name("Someone")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01x"),
    ]
    draft.names = [*draft.names, rng.choice(other)]


@_way()
def subject_of_many_attributes(draft: Draft, rng: Random) -> None:
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example AG"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "x@example.com"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Some site"),
        x509.NameAttribute(NameOID.COMMON_NAME, NAME),
    ]
    kept = [each for each in attributes if rng.random() < 0.7] or attributes
    draft.leaf["subject"] = x509.Name(kept)
    if rng.random() < 0.4:
        draft.names = []


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


# Usages.


@_way(4)
def leaf_purposes(draft: Draft, rng: Random) -> None:
    server, client, anything = (
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    )
    gated = x509.ObjectIdentifier("2.16.840.1.113730.4.1")
    draft.leaf["purposes"] = rng.choice(
        ([], [client], [server, client], [anything], [client, anything], [ExtendedKeyUsageOID.CODE_SIGNING], [gated])
    )
    if rng.random() < 0.2 and draft.leaf["purposes"]:
        purposes, draft.leaf["purposes"] = draft.leaf["purposes"], []
        draft.extend(draft.leaf, x509.ExtendedKeyUsage(purposes), critical=True)


@_way(4)
def ca_purposes(draft: Draft, rng: Random) -> None:
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    draft.any_ca(rng)["purposes"] = rng.choice(
        (
            [server],
            [client],
            [server, client],
            [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
            [ExtendedKeyUsageOID.OCSP_SIGNING],
            [x509.ObjectIdentifier("2.16.840.1.113730.4.1")],
        )
    )


@_way(4)
def leaf_key_usage(draft: Draft, rng: Random) -> None:
    draft.leaf["key_usage"] = rng.choice(
        (
            None,
            _usage("key_encipherment"),
            _usage("key_agreement"),
            _usage("digital_signature", "key_encipherment"),
            _usage("key_cert_sign"),
            _usage("digital_signature", "key_cert_sign"),
            _usage("content_commitment"),
            _usage("data_encipherment"),
        )
    )
    if rng.random() < 0.3:
        draft.leaf["key"] = _kept("rsa2048", 0)


@_way(4)
def ca_key_usage(draft: Draft, rng: Random) -> None:
    draft.any_ca(rng)["key_usage"] = rng.choice(
        (
            None,
            _usage("digital_signature"),
            _usage("crl_sign"),
            _usage("key_cert_sign"),
            _usage("digital_signature", "key_cert_sign", "crl_sign"),
        )
    )


# Basic constraints, versions, numbers.


@_way(4)
def leaf_basic_constraints(draft: Draft, rng: Random) -> None:
    kind = rng.choice(("ca", "ca", "missing", "path length", "ca with usage"))
    draft.leaf["ca"] = None if kind == "missing" else kind != "path length"
    if kind == "path length":
        draft.leaf["ca"] = True
        draft.leaf["path_length"] = 0
    if kind == "ca with usage":
        draft.leaf["key_usage"] = _usage("digital_signature", "key_cert_sign")


@_way(5)
def ca_basic_constraints(draft: Draft, rng: Random) -> None:
    ca = draft.any_ca(rng)
    kind = rng.choice(("missing", "no ca", "not critical", "missing, no usage"))
    ca["ca"] = False if kind == "no ca" else None
    if kind == "not critical":
        draft.extend(ca, x509.BasicConstraints(ca=True, path_length=None))
    if kind == "missing, no usage":
        ca["key_usage"] = None


@_way(4)
def path_length(draft: Draft, rng: Random) -> None:
    draft.any_ca(rng)["path_length"] = rng.choice((0, 0, 1, 2))


@_way()
def self_issued_below(draft: Draft, rng: Random) -> None:
    """Have a CA issue one of its own name, which does not count for path lengths (RFC 5280, 4.2.1.9)."""
    at = rng.randrange(len(draft.cas))
    again = Knobs(subject=draft.cas[at].get("subject", ""), key=_kept("p256", 100 + at))
    if rng.random() < 0.7:
        draft.cas[at]["path_length"] = len(draft.cas) - 1 - at
    draft.cas.insert(at + 1, again)


@_way(3)
def version_one(draft: Draft, rng: Random) -> None:
    draft.anyone(rng)["version"] = 1
    if "version" in draft.leaf:
        draft.leaf["subject"] = NAME


@_way()
def serial_number(draft: Draft, rng: Random) -> None:
    draft.anyone(rng)["serial"] = rng.choice((0, -5, 1 << 159, (1 << 168) - 1, 1 << 170))


# Times.


@_way(6)
def times(draft: Draft, rng: Random) -> None:
    knobs = draft.anyone(rng)
    kind = rng.choice(("ended", "ended", "not yet", "long", "longer than its issuer", "endless"))
    if kind == "ended":
        knobs["not_before"], knobs["not_after"] = draft.now - 400 * DAY, draft.now - HOUR
    elif kind == "not yet":
        knobs["not_before"] = draft.now + DAY
    elif kind == "long":
        knobs["not_before"] = draft.now - 10 * DAY
        knobs["not_after"] = draft.now + 830 * DAY
    elif kind == "longer than its issuer":
        knobs["not_after"] = draft.now + 8000 * DAY
    else:
        knobs["not_after"] = 253_402_300_799.0


# Key identifiers.


@_way(4)
def key_identifiers(draft: Draft, rng: Random) -> None:
    knobs = draft.anyone(rng)
    if rng.random() < 0.5:
        knobs["subject_key_identifier"] = False
    if rng.random() < 0.7:
        knobs["authority_key_identifier"] = False


@_way(3)
def wrong_authority_key_identifier(draft: Draft, rng: Random) -> None:
    knobs = draft.anyone_issued(rng)
    knobs["authority_key_identifier"] = False
    other = [x509.DirectoryName(_name("Nobody"))]
    identifier = rng.choice(
        (
            x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None),
            x509.AuthorityKeyIdentifier(None, other, 5),
            x509.AuthorityKeyIdentifier(b"\x01" * 20, other, 5),
        )
    )
    draft.extend(knobs, identifier, critical=rng.random() < 0.15)


# Other extensions.


@_way(3)
def unknown_critical(draft: Draft, rng: Random) -> None:
    knobs = draft.anyone(rng)
    knobs["extensions"] = [*knobs.get("extensions", ()), UNKNOWN_CRITICAL]


@_way(2)
def policies(draft: Draft, rng: Random) -> None:
    any_policy, own = x509.ObjectIdentifier("2.5.29.32.0"), x509.ObjectIdentifier("1.3.6.1.4.1.55555.2.1")
    for knobs in (*draft.cas[1:], draft.leaf):
        if rng.random() < 0.6:
            which = rng.choice((any_policy, own, own))
            draft.extend(knobs, x509.CertificatePolicies([x509.PolicyInformation(which, None)]))
    limiting = draft.any_ca(rng)
    limit: x509.ExtensionType = rng.choice(
        (x509.PolicyConstraints(0, None), x509.PolicyConstraints(1, None), x509.InhibitAnyPolicy(0))
    )
    draft.extend(limiting, limit, critical=True)


@_way(2)
def harmless_extensions(draft: Draft, rng: Random) -> None:
    location = x509.UniformResourceIdentifier("http://ca.example.com/x")
    more: list[x509.ExtensionType] = [
        x509.AuthorityInformationAccess([x509.AccessDescription(x509.OID_CA_ISSUERS, location)]),
        x509.CRLDistributionPoints([x509.DistributionPoint([location], None, None, None)]),
        x509.TLSFeature([x509.TLSFeatureType.status_request]),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.7"), b"\x05\x00"),
    ]
    draft.extend(draft.anyone(rng), rng.choice(more), critical=rng.random() < 0.3)


@_way(8)
def name_constraints(draft: Draft, rng: Random) -> None:
    ca = draft.any_ca(rng)
    directory = x509.DirectoryName(_name("Nobody"))
    own_directory = x509.DirectoryName(_name(NAME))
    trees: list[str | x509.GeneralName] = [
        *("example.com", "example.com", ".example.com", "www.example.com", "other.example", "ample.com", ""),
        *("EXAMPLE.com", "10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0", "com"),
        *(x509.RFC822Name("example.com"), x509.UniformResourceIdentifier(".example.com"), directory, own_directory),
    ]
    side = rng.choice(("permitted", "permitted", "excluded", "both"))
    if side in {"permitted", "both"}:
        ca["permitted"] = [_tree(each) for each in rng.sample(trees, rng.choice((1, 1, 2)))]
    if side in {"excluded", "both"}:
        ca["excluded"] = [_tree(each) for each in rng.sample(trees, 1)]
    kind = rng.random()
    if kind < 0.2:
        draft.names = []
        draft.leaf["subject"] = rng.choice((NAME, NAME, "A site"))
    elif kind < 0.35:
        draft.names, draft.asked = ["10.9.9.9"], "10.9.9.9"
    elif kind < 0.45:
        draft.names = ["*.example.com"]
    elif kind < 0.5:
        draft.names = [NAME, "other.org"]


def _tree(tree: str | x509.GeneralName) -> str | x509.GeneralName:
    return x509.DNSName(tree) if isinstance(tree, str) and "/" not in tree else tree


# What is presented, and what is trusted.


@_way(4)
def order(draft: Draft, rng: Random) -> None:
    kind = rng.choice(("reversed", "shuffled"))

    def change(made: Made) -> None:
        rest = made.chain[1:]
        if kind == "reversed":
            rest.reverse()
        elif kind == "shuffled":
            made.rng.shuffle(rest)
        made.chain[1:] = rest

    draft.presented.append(change)


@_way(4)
def extras(draft: Draft, rng: Random) -> None:
    kind = rng.choice(("root", "stranger", "leaf again", "intermediate again", "other leaf"))

    def change(made: Made) -> None:
        more = {
            "root": made.cas[0].der(),
            "stranger": _stranger().der(),
            "leaf again": made.leaf.der(),
            "intermediate again": made.cas[-1].der(),
            "other leaf": _stranger().issue("x.example.org").der(),
        }[kind]
        at = len(made.chain) if kind == "root" and made.rng.random() < 0.7 else made.rng.randint(1, len(made.chain))
        made.chain.insert(at, more)

    draft.presented.append(change)


@lru_cache(maxsize=1)
def _stranger() -> Authority:
    return Authority.root("Stranger")


@_way(4)
def missing(draft: Draft, rng: Random) -> None:
    def change(made: Made) -> None:
        if len(made.chain) > 1:
            del made.chain[made.rng.randrange(1, len(made.chain))]

    draft.presented.append(change)


@_way(6)
def other_anchors(draft: Draft, rng: Random) -> None:
    kind = rng.choice(
        ("intermediate", "intermediate", "leaf", "leaf", "leaf and root", "stranger", "re-keyed", "with re-keyed")
    )
    if kind == "intermediate" and len(draft.cas) == 1:
        draft.cas.append(Knobs(subject="Issuing 0"))

    def change(made: Made) -> None:
        renewed = Authority.root("Root", key=_kept("p256", 50)).der()
        made.anchors = {
            "intermediate": [made.rng.choice(made.cas[1:] or made.cas).der()],
            "leaf": [made.leaf.der()],
            "leaf and root": [made.leaf.der(), made.cas[0].der()],
            "stranger": [_stranger().der()],
            "re-keyed": [renewed],
            "with re-keyed": made.rng.sample([renewed, made.cas[0].der()], 2),
        }[kind]

    draft.presented.append(change)


@_way(5)
def twin(draft: Draft, rng: Random) -> None:
    """Present a second certificate of an intermediate, before or after the good one."""
    kind = rng.choice(("ended", "ended", "other key", "no ca", "limited", "same"))
    before = rng.random() < 0.7
    at = rng.randrange(1, len(draft.cas)) if len(draft.cas) > 1 else 0

    def change(made: Made) -> None:
        if not 0 < at < len(made.cas):
            return
        good, issuer = made.cas[at], made.cas[at - 1]
        more: Knobs = {
            "ended": Knobs(not_before=made.now - 400 * DAY, not_after=made.now - HOUR),
            "other key": Knobs(key=_kept("p256", 60)),
            "no ca": Knobs(ca=False),
            "limited": Knobs(permitted=["other.example"]),
            "same": Knobs(),
        }[kind]
        other = issuer.cross_sign(good, **more)
        where = made.chain.index(good.der()) if good.der() in made.chain else len(made.chain)
        made.chain.insert(where if before else where + 1, other.der())

    draft.presented.append(change)


@_way(4)
def cross_signed(draft: Draft, rng: Random) -> None:
    """Present a certificate of the root by an older root, which is trusted, ended or unknown."""
    ended, trusted = rng.random() < 0.5, rng.choice(("new", "old", "both", "both", "old first"))

    def change(made: Made) -> None:
        times = Knobs(not_before=made.now - 400 * DAY, not_after=made.now - HOUR) if ended else Knobs()
        old = Authority.root("Old root", **times)
        crossed = old.cross_sign(made.cas[0], **(times if made.rng.random() < 0.5 else Knobs()))
        made.chain.append(crossed.der())
        if made.rng.random() < 0.3:
            made.chain.append(old.der())
        new = made.cas[0].der()
        made.anchors = {"new": [new], "old": [old.der()], "both": [new, old.der()], "old first": [old.der(), new]}[
            trusted
        ]

    draft.presented.append(change)


@_way(3)
def self_signed(draft: Draft, rng: Random) -> None:
    """Have the leaf sign itself, as a CA or not, trusted or not."""
    ca, trusted, in_chain = rng.choice((True, False, False, None)), rng.random() < 0.8, rng.random() < 0.2
    draft.cas[1:] = []

    def change(made: Made) -> None:
        knobs: Knobs = {**draft.leaf, "ca": ca}
        if not ca:
            knobs["path_length"] = None
        else:
            knobs["key_usage"] = _usage("digital_signature", "key_cert_sign")
        made.leaf = signed_by_itself(*draft.names, **knobs)
        made.chain = [made.leaf.der(), *(made.chain[1:] if in_chain else ())]
        made.anchors = [made.leaf.der()] if trusted else made.anchors

    draft.presented.append(change)


@_way(3)
def odd_encoding(draft: Draft, rng: Random) -> None:
    """Have the leaf break a rule of encoding."""
    name = rng.choice(sorted(ODDITIES))
    draft.deviations.append(name)

    def change(made: Made) -> None:
        signer = made.cas[-1]
        if not isinstance(signer.key, ec.EllipticCurvePrivateKey) or made.leaf.der() not in made.chain:
            return
        try:
            odd = oddly(made.leaf, signer, ODDITIES[name])
        except (IndexError, ValueError):
            return
        made.chain = [odd if each == made.leaf.der() else each for each in made.chain]
        made.leaf = Issued(made.leaf.subject, made.leaf.key, made.leaf.issuer, odd)

    draft.presented.append(change)


@_way(2)
def name_encodings(draft: Draft, rng: Random) -> None:
    """Have the issuer's name written in another way than the CA's own subject."""
    at = rng.randrange(len(draft.cas))
    kind = rng.choice(("printable", "case", "spaces"))

    def change(made: Made) -> None:
        if at >= len(made.cas):
            return
        issuer = made.cas[at]
        common = issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        text = str(common[0].value) if common else "Root"
        attribute = {
            "printable": x509.NameAttribute(NameOID.COMMON_NAME, text, x509.name._ASN1Type.PrintableString),
            "case": x509.NameAttribute(NameOID.COMMON_NAME, text.upper()),
            "spaces": x509.NameAttribute(NameOID.COMMON_NAME, f"{text.replace(' ', '  ')} "),
        }[kind]
        named = replace(issuer, subject=x509.Name([attribute]))
        if at + 1 < len(made.cas):
            below = made.cas[at + 1]
            other = named.cross_sign(below, **_shape(draft.cas[at + 1]))
            made.chain = [other.der() if each == below.der() else each for each in made.chain]
        else:
            knobs: Knobs = {**draft.leaf, "key": made.leaf.key}
            again = named.issue(*draft.names, **knobs)
            made.chain = [again.der() if each == made.leaf.der() else each for each in made.chain]
            made.leaf = again

    draft.presented.append(change)


def _shape(knobs: Knobs) -> Knobs:
    """Return what a CA deviates in, its name and its key aside."""
    return cast("Knobs", {name: value for name, value in knobs.items() if name not in {"subject", "key"}})
