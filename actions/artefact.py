"""Rendering: the files of a component for a candidate, and whether a file has the same content already."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from actions.candidate import Candidate, LibraryKey, PrivateKey
from actions.keystore import seal
from config.model import Artefacts
from config.vocabulary import FileRole
from probes.certificate import Certificate, decodable
from probes.container.blocks import Blocks
from probes.container.private_key import OpenKey, open_key
from probes.container.registry import open_container
from probes.judge.client import leaf_first

_WITH_CERTIFICATES: Final = (FileRole.COMBINED, FileRole.KEYSTORE, FileRole.CERTIFICATE, FileRole.CHAIN)
_PARAMETERS: Final = re.compile(rb"-----BEGIN DH PARAMETERS-----[^-]*-----END DH PARAMETERS-----")


def render(
    candidate: Candidate, artefacts: Artefacts, keystore: bytes = b"", password: bytes | None = None
) -> Mapping[FileRole, bytes]:
    """Return the complete new content of each file of a component; `password` opens `keystore`, the old keystore.

    The chain follows the certificate unless it has a file of its own. Without an intermediate, that file holds the root
    or a self-signed certificate itself: servers do not start with an empty file. It is left out where neither is known,
    and where configuration lines name it, for these are left out as well. Those files are rendered by `actions.lines`.
    """
    certificates = candidate.presented if artefacts.chain is None else (candidate.certificate,)
    content = {
        FileRole.COMBINED: candidate.key.pem() + pem(certificates),
        FileRole.CERTIFICATE: pem(certificates),
        FileRole.KEY: candidate.key.pem(),
        FileRole.CHAIN: pem(candidate.chain if artefacts.lines else _chain_file(candidate)),
        FileRole.KEYSTORE: b"" if artefacts.keystore is None else seal(candidate, keystore, password),
    }
    return {role: content[role] for role in artefacts.files if content.get(role)}


def pem(certificates: Iterable[Certificate]) -> bytes:
    """Return `certificates` as PEM (RFC 7468), in that order."""
    return b"".join(ssl.DER_cert_to_PEM_cert(each.der).encode("ascii") for each in certificates)


def _chain_file(candidate: Candidate) -> Sequence[Certificate]:
    if candidate.chain:
        return candidate.chain
    if candidate.root is not None:
        return (candidate.root,)
    return (candidate.certificate,) if candidate.certificate.self_issued else ()


def carried_over(before: bytes) -> bytes:
    """Return the Diffie-Hellman parameters in a file, which some servers read beside the certificate, as PEM lines."""
    return b"".join(block + b"\n" for block in _PARAMETERS.findall(before))


def presented_by(content: Mapping[FileRole, bytes | None], password: bytes | None = None) -> tuple[Certificate, ...]:
    """Return the certificates that a server presents of such files, in that order; `password` opens a keystore.

    None is a file that is not there.
    """
    held = (_blocks(data, password).certificates for role in _WITH_CERTIFICATES if (data := content.get(role)))
    return decodable(chain.from_iterable(held))


def ways_of_presenting(
    certificates: Sequence[Certificate], root: Certificate | None = None, *, leaf_alone: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Return the chains that a server may present whose files hold `certificates`: SHA-256 of each, hexadecimal.

    Servers differ about a root: some look for it themselves, some leave it out. With `leaf_alone`, the server may leave
    out all but its own certificate.
    """
    bare = tuple(each for each in certificates if each is certificates[0] or not each.self_issued)
    alone = leaf_first(certificates)[:1] if leaf_alone else ()
    chains = dict.fromkeys((tuple(certificates), bare, bare if root is None else (*bare, root), alone))
    return tuple(tuple(each.sha256 for each in one) for one in chains if one)


def keys_in(data: bytes, password: bytes | None = None) -> tuple[PrivateKey | None, ...]:
    """Return the private keys in a file, in its order; None for each that cannot be read without a password."""
    return tuple(map(_key, _blocks(data, password).keys))


def _blocks(data: bytes, password: bytes | None) -> Blocks:
    return open_container(data, password).blocks


def _key(data: bytes) -> PrivateKey | None:
    opened = open_key(data, None)
    return PrivateKey(opened.key) if isinstance(opened, OpenKey) and isinstance(opened.key, LibraryKey) else None


def says_the_same(before: bytes, after: bytes, password: bytes | None = None) -> bool:
    """Whether two contents hold the same certificates and keys in the same order, in any encoding."""
    old, new = _blocks(before, password), _blocks(after, password)
    return not old.faults and old.certificates == new.certificates and [*map(_key, old.keys)] == [*map(_key, new.keys)]


def content_digest(data: bytes, password: bytes | None) -> str:
    """Return the SHA-256, hexadecimal, of the certificates and public keys in a file, in any encoding."""
    blocks = _blocks(data, password)
    keys = [key.public_sha256 if key else None for key in map(_key, blocks.keys)]
    said = [[hashlib.sha256(each).hexdigest() for each in blocks.certificates], keys]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
