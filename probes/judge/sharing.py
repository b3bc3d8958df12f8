"""Findings about private keys that several servers use, or several certificates in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from config.immutable import immutable
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, FileContent, Severity, VerifierName
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.encoding import DERError
from probes.finding import Finding, finding
from probes.lifetime import is_within_validity
from probes.names import names_server
from probes.observation import Presented

_COMPARED: Final = 32
"""Files with one key, and names that one certificate has and another one has not."""
_SHOWN: Final = 5
"""Servers that a finding names: a key that a product ships may be at very many."""


@immutable
class SharingServer:
    """Another server that presents a certificate for the same key."""

    endpoint: str
    """Its name as a target."""
    name: str
    """The name that its certificate must have."""
    keys: frozenset[str]
    """SHA-256 of the public keys of the certificates that it presents, hexadecimal."""


@immutable
class SharingFile:
    """Another file with a certificate for the same key."""

    path: str
    leaf: Certificate


class FileKeys:
    """The files with a server's certificate, as an index by its public key."""

    def __init__(self) -> None:
        self._leaves: dict[str, Certificate] = {}
        """By path."""
        self._files: dict[str, dict[Certificate, dict[str, None]]] = {}
        """Paths in the order in which they came, by the SHA-256 of a public key, and by certificate."""

    def note(self, path: str, leaf: Certificate | None) -> None:
        """Note the server's certificate that a file holds now; None where it holds none."""
        before = self._leaves.get(path)
        if before == leaf:
            return
        if before is not None:
            key = before.public_key_sha256()
            held = self._files[key]
            del self._leaves[path], held[before][path]
            if not held[before]:
                del held[before]
            if not held:
                del self._files[key]
        if leaf is not None:
            self._leaves[path] = leaf
            self._files.setdefault(leaf.public_key_sha256(), {}).setdefault(leaf, {})[path] = None

    def sharing(self, path: str) -> tuple[SharingFile, ...]:
        """Return the files with another certificate for the key of that in a file: the first of each certificate.

        Of very many, those are returned whose certificates came first: whoever writes thousands costs no more.
        """
        own = self._leaves.get(path)
        if own is None:
            return ()
        held = self._files[own.public_key_sha256()]
        first = ((leaf, paths) for leaf, paths in islice(held.items(), _COMPARED + 1) if leaf != own)
        return tuple(SharingFile(next(iter(paths)), leaf) for leaf, paths in islice(first, _COMPARED))

    def is_one_of_many(self, path: str) -> bool:
        """Whether the key of a file has so many certificates that those which came first are not compared with it."""
        own = self._leaves.get(path)
        if own is None:
            return False
        held = self._files[own.public_key_sha256()]
        return len(held) > _COMPARED + 1 and own not in islice(held, _COMPARED + 1)


def servers_leaf(content: FileContent, certificates: Sequence[Certificate]) -> Certificate | None:
    """Return the server's certificate of a file that holds one with names; None for any other file."""
    if content is not FileContent.LEAF or not certificates:
        return None
    leaf = find_leaf(certificates)
    try:
        leaf.public_key_sha256()
    except DERError:
        return None
    return None if leaf.is_ca or not leaf.dns_names() else leaf


def judge_shared_files(leaf: Certificate, sharing: Iterable[SharingFile], now: float) -> Iterator[Finding]:
    """Yield that certificates in files of different names have one key, where neither carries the names of the other.

    A renewal may add names, or leave some out. No more than a notice: nobody is known to serve them.
    """
    if not is_within_validity(leaf, now):
        return
    others = [each for each in sharing if is_within_validity(each.leaf, now) and _are_apart(leaf, each.leaf)]
    if others:
        detail = sentence(
            "{} also {} a certificate for the key of {} (spki_sha256 {}), with other names",
            _some([harmless(each.path) for each in others]),
            Printable("has" if len(others) == 1 else "have"),
            leaf.title,
            harmless(leaf.public_key_sha256()),
        )
        yield finding(Code.KEY_SHARED, detail, severity=Severity.NOTICE)


def validity_boundaries(leaves: Iterable[Certificate]) -> Iterator[float]:
    """Yield the Unix times at which certificates begin or cease to be valid."""
    for each in leaves:
        if each.not_before is not None and each.not_after is not None:
            yield from (each.not_before, each.not_after + 1)


def _are_apart(one: Certificate, other: Certificate) -> bool:
    """Whether each of two certificates has a name that the other one does not carry."""
    return _has_more(one, other) and _has_more(other, one)


def _has_more(one: Certificate, other: Certificate) -> bool:
    # Whoever puts very many names into certificates has only some of them compared.
    beyond = sorted({each.lower() for each in one.dns_names()}.difference(each.lower() for each in other.dns_names()))
    return any(not names_server(other, each.replace("*", "x", 1)) for each in beyond[:_COMPARED])


def judge_shared(presented: Sequence[Presented], name: str, sharing: Iterable[SharingServer]) -> Iterator[Finding]:
    """Yield that servers of another name have the same key, where the certificate does not carry the names of both."""
    leaves = dict.fromkeys(each.chain[0] for each in presented if each.chain)
    others = sorted(sharing, key=lambda each: each.endpoint)
    for leaf in leaves:
        key = leaf.public_key_sha256()
        concerned = [each for each in others if key in each.keys]
        lacking = dict.fromkeys(
            each
            for each in (name, *(other.name for other in concerned))
            if not names_server(leaf, each, VerifierName.WEBPKI)
        )
        if not concerned or not lacking:
            continue
        detail = sentence(
            "{} also has the key of {} (spki_sha256 {}), and the certificate does not carry {}",
            _some([harmless(each.endpoint) for each in concerned]),
            leaf.title,
            harmless(key),
            _some([harmless(each) for each in lacking]),
        )
        yield finding(Code.KEY_SHARED, detail)
        return


def _some(names: Sequence[Printable]) -> Printable:
    shown = listed(names[:_SHOWN], " and ")
    return shown if len(names) <= _SHOWN else sentence("{} and {} more", shown, len(names) - _SHOWN)
