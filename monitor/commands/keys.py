"""The private key for a certificate in a file: in the same file, given, or beside it; and whether the two belong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from config.immutable import immutable
from config.model import FileTarget
from config.text import harmless, printable
from config.vocabulary import FileRole
from probes.beside import is_named_as_chain, key_paths
from probes.certificate import Certificate
from probes.finding import Finding
from probes.judge.key import judge_exposure
from probes.observation import FileObservation

LookAt = Callable[[FileTarget], FileObservation]


@immutable
class KeyFile:
    """A private key that should belong to a certificate."""

    where: str
    """Printable."""
    public: tuple[str, ...]
    """SHA-256 of the public halves in that place; empty where they could not be read."""
    why: str = ""
    """Why they could not be read, a sentence; printable."""
    exposed: tuple[Finding, ...] = ()
    """The finding that others may read it, where it has a file of its own."""
    also: tuple[str, ...] = ()
    """Other files that hold the same key; printable."""

    def belongs_to(self, public_half: str) -> bool | None:
        """Whether it is the key of a certificate with that public half; None where it is not known."""
        return public_half in self.public if self.public else None


def key_in(observation: FileObservation, where: str, *, own_file: bool = True) -> KeyFile | None:
    """Return the keys in a file that was looked at; None where there are none."""
    of_file = (observation.mode, harmless(where), observation.owner, observation.directory_owner)
    exposed = tuple(judge_exposure(*of_file)) if own_file else ()
    if observation.keys:
        return KeyFile(where, observation.keys, exposed=exposed)
    if observation.encrypted_keys:
        return KeyFile(where, (), "it is encrypted; --password-file opens it", exposed)
    return None


def key_beside(target: FileTarget, observed: Mapping[str, FileObservation], look: LookAt) -> KeyFile | None:
    """Return the key beside a certificate, by the customary names of both.

    Of several such files, a key that belongs to the certificate comes first. A key beside the certificates of CAs alone
    that does not belong to them is another certificate's key (`privkey.pem` beside certbot's `chain.pem`), unless it
    has the same name as their file.
    """
    certificates = observed[target.path].certificates
    own = {each.public_key_sha256() for each in certificates}
    found = list(_beside(_paths(target.path), target, observed, look))
    belonging = next((each for each in found if not own.isdisjoint(each.public)), None)
    if belonging is not None or not _is_chain(target.path, certificates):
        return belonging or (found[0] if found else None)
    return next(_beside(_paths(target.path, named_alike=True), target, observed, look), None)


def _is_chain(path: str, certificates: Sequence[Certificate]) -> bool:
    """Whether these are the certificates of CAs; a server's self-signed certificate may also say that it is a CA's."""
    of_cas = all(each.is_ca for each in certificates)
    alone = len(certificates) == 1 and certificates[0].self_issued
    return of_cas and (not alone or is_named_as_chain(path))


KeyPaths = Mapping[str, Sequence[str]]
"""Files with a private key and no certificate, by the SHA-256 of its public half."""


def key_paths_in(observed: Mapping[str, FileObservation]) -> KeyPaths:
    """Return where each private key lies among the observed files."""
    found: dict[str, list[str]] = {}
    for path, seen in observed.items():
        for public_half in () if seen.certificates else seen.keys:
            found.setdefault(public_half, []).append(path)
    return found


def keys_among(
    public_half: str, directory: str, observed: Mapping[str, FileObservation], paths: KeyPaths
) -> tuple[KeyFile, ...]:
    """Return the key with that public half from each observed file that holds it; those of `directory` come first."""
    nearest = sorted(paths.get(public_half, ()), key=lambda path: os.path.dirname(path) != directory)
    return tuple(key for path in nearest if (key := key_in(observed[path], printable(path, 4096))) is not None)


def _beside(
    paths: Iterable[str], target: FileTarget, observed: Mapping[str, FileObservation], look: LookAt
) -> Iterator[KeyFile]:
    for path in paths:
        seen = observed.get(path)
        if seen is None:
            if not os.path.isfile(path):
                continue
            seen = look(FileTarget(printable(path, 4096), path, FileRole.LISTED, password_files=target.password_files))
        if seen.certificates:
            continue  # a certificate's own key, in the same file, is no other's
        where = printable(path, 4096)
        if seen.failure is not None and not seen.keys:
            yield KeyFile(where, (), seen.failure.detail)
        elif key := key_in(seen, where):
            yield key


def _paths(certificate: str, *, named_alike: bool = False) -> Iterable[str]:
    """Return where the key may lie: beside the path, and where that is a link, beside the file that it leads to."""
    resolved = os.path.realpath(certificate)
    return dict.fromkeys(path for each in (certificate, resolved) for path in key_paths(each, named_alike=named_alike))
