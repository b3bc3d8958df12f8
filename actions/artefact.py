"""Rendering: what a candidate looks like in the files of a component, and whether a file says so already."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from actions.candidate import Candidate, LibraryKey, PrivateKey
from config.model import Artefacts
from config.vocabulary import FileRole
from probes.certificate import Certificate, certificates_in
from probes.encoding import split

_WITH_CERTIFICATES: Final = (FileRole.COMBINED, FileRole.CERTIFICATE, FileRole.CHAIN)
_PARAMETERS: Final = re.compile(rb"-----BEGIN DH PARAMETERS-----[^-]*-----END DH PARAMETERS-----")


def paths_of(artefacts: Artefacts) -> Mapping[FileRole, str]:
    """Return the files of a component by what they hold, in the order in which they are replaced."""
    every = {
        FileRole.COMBINED: artefacts.combined,
        FileRole.CERTIFICATE: artefacts.certificate,
        FileRole.KEY: artefacts.key,
        FileRole.CHAIN: artefacts.chain,
    }
    return {role: path for role, path in every.items() if path is not None}


def render(candidate: Candidate, artefacts: Artefacts) -> Mapping[FileRole, bytes]:
    """Return the complete new content of each file of a component.

    The chain follows the certificate unless it has a file of its own. That holds the root, or a self-signed certificate
    itself, where there is no intermediate: servers do not start on an empty one. It is missing where neither is known.
    """
    certificates = candidate.presented if artefacts.chain is None else (candidate.certificate,)
    content = {
        FileRole.COMBINED: candidate.key.pem() + pem(certificates),
        FileRole.CERTIFICATE: pem(certificates),
        FileRole.KEY: candidate.key.pem(),
        FileRole.CHAIN: pem(_chain_file(candidate)),
    }
    return {role: content[role] for role in paths_of(artefacts) if content[role]}


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


def presented_by(content: Mapping[FileRole, bytes]) -> tuple[Certificate, ...]:
    """Return what a server presents that reads files with this content, in that order."""
    return tuple(each for role in _WITH_CERTIFICATES if role in content for each in certificates_in(content[role]))


def keys_in(data: bytes) -> tuple[PrivateKey | None, ...]:
    """Return the private keys in a file, in its order; None for each that cannot be read as it stands."""
    return tuple(map(_key, split(data).keys))


def _key(data: bytes) -> PrivateKey | None:
    load = load_pem_private_key if data.startswith(b"-----") else load_der_private_key
    try:
        key = load(data, None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return None
    return PrivateKey(key) if isinstance(key, LibraryKey) else None


def says_the_same(before: bytes, after: bytes) -> bool:
    """Whether two contents hold the same certificates and keys in the same order, however they are written down."""
    old, new = split(before), split(after)
    return not old.faults and old.certificates == new.certificates and keys_in(before) == keys_in(after)
