"""Reading the files of a component: certificates, private keys, passwords, and paths that components share."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from actions.artefact import keys_in, presented_by
from actions.backup import state_of
from actions.candidate import PrivateKey
from actions.component_site import ComponentSite
from actions.contest import FileOnDisk
from actions.ending import Ground
from actions.lines import Users, presentable, writers
from actions.plan import FileState
from actions.precheck import Objection
from config.model import Artefacts, Component
from config.text import printable
from config.vocabulary import FileRole
from probes.certificate import Certificate
from probes.judge.client import leaf_first
from probes.keystore import password_in

WITH_KEY: Final = (FileRole.COMBINED, FileRole.KEYSTORE, FileRole.KEY)
"""Files that hold a private key."""


class FileReader(Protocol):
    """A disk; all of these raise OSError."""

    def resolve(self, path: str) -> str:
        """Return the absolute path with every symbolic link followed, of a missing file as well."""

    def stat(self, path: str) -> os.stat_result:
        """Return the status of the path itself."""

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        """Return a regular file; links are not followed."""

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; none where it does not exist."""

    def read_as(self, path: str, users: Users) -> tuple[os.stat_result, bytes]:
        """Return a regular file that each of the users could read."""

    def names_as(self, directory: str, users: Users) -> tuple[str, ...]:
        """Return the names in a directory that each of the users could list, sorted; none where it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFile:
    """One artefact on disk."""

    role: FileRole
    given: str
    """The path as configured."""
    path: str
    """The path with symbolic links followed."""
    state: FileState | None
    """None where there is no file."""
    data: bytes = field(repr=False)
    """Empty where there is no file."""
    password: bytes | None = field(repr=False, default=None)
    """Of a keystore."""

    def private_keys(self) -> tuple[PrivateKey | None, ...]:
        """Return the private keys in the file, None for each that cannot be read."""
        return keys_in(self.data, self.password)


ComponentFiles = Mapping[FileRole, ComponentFile]


def read_files(component: Component, reader: FileReader) -> ComponentFiles:
    """Return every artefact of a component; raises OSError."""
    return {role: read_file(role, component.artefacts, reader) for role in component.artefacts.files}


def read_file(role: FileRole, artefacts: Artefacts, reader: FileReader) -> ComponentFile:
    """Return one artefact, missing or not; raises OSError, also where the password of a keystore cannot be read."""
    given = artefacts.files[role]
    password = keystore_password(artefacts, reader) if role is FileRole.KEYSTORE else None
    path = reader.resolve(given)
    try:
        found, data = reader.read(path)
    except FileNotFoundError:
        return ComponentFile(role=role, given=given, path=path, state=None, data=b"", password=password)
    return ComponentFile(role=role, given=given, path=path, state=state_of(found, data), data=data, password=password)


def held(files: ComponentFiles) -> dict[FileRole, bytes | None]:
    """Return the content of each file; None where there is no file."""
    return {role: None if file.state is None else file.data for role, file in files.items()}


def writers_of(files: ComponentFiles) -> dict[FileRole, Users]:
    """Return who could have written each file that is there, beside root."""
    return {role: writers(file.state.owner, file.state.mode) for role, file in files.items() if file.state is not None}


def with_certificates(files: ComponentFiles) -> ComponentFiles:
    """Return the files without those of the configuration, and without those that are not there."""
    return {role: file for role, file in files.items() if not role.is_line and file.state is not None}


def password_of(files: ComponentFiles) -> bytes | None:
    """Return the password of the keystore; None where no keystore is among the files."""
    return files[FileRole.KEYSTORE].password if FileRole.KEYSTORE in files else None


def presented(artefacts: Artefacts, files: ComponentFiles) -> tuple[Certificate, ...]:
    """Return the certificates that a server would present of these files of a component, in that order."""
    return presented_by(presentable(artefacts, held(files)), password_of(files))


def set_on_disk(component: Component, reader: FileReader) -> tuple[FileOnDisk, float]:
    """Return the files of a component, and the Unix time of the last change of one of them; raises OSError."""
    files = read_files(component, reader)
    there = [each.path for each in files.values() if each.state is not None]
    changed = max((reader.stat(each).st_ctime for each in there), default=0.0)
    chain = tuple(each.sha256 for each in presented(component.artefacts, files))
    digests = {each.path: each.state.sha256 if each.state is not None else "" for each in files.values()}
    return FileOnDisk(digests, frozenset({chain} if chain else ())), changed


def chain_on_disk(component: Component, reader: FileReader) -> tuple[Certificate, ...]:
    """Return the certificates that a server would present of a component's files; raises OSError."""
    return presented(component.artefacts, read_files(component, reader))


def keys_at_hand(component: Component, reader: FileReader) -> tuple[PrivateKey, ...]:
    """Return the private keys that a component has, for a certificate that comes without a key."""
    found: list[PrivateKey] = []
    for role in (each for each in WITH_KEY if each in component.artefacts.files):
        try:
            found += filter(None, read_file(role, component.artefacts, reader).private_keys())
        except OSError:
            continue
    return tuple(found)


def keys_in_use(site: ComponentSite, reader: FileReader) -> frozenset[str]:
    """Return the private keys of a component on disk and live, by the SHA-256 of their public halves.

    Raises OSError where its files cannot be read.
    """
    files = read_files(site.component, reader)
    chains = [
        presented(site.component.artefacts, files),
        *(shown.chain for stage in site.stages for shown in stage.served),
    ]
    on_disk = frozenset(
        key.public_sha256 for role in WITH_KEY if role in files for key in files[role].private_keys() if key is not None
    )
    return on_disk | {leaf_first(chain)[0].public_key_sha256() for chain in chains if chain}


def keys_of_set(component: Component, content: Mapping[str, bytes | None], reader: FileReader) -> frozenset[str]:
    """Return the private keys of a backup set, by the SHA-256 of their public halves; `content` is by path.

    Raises OSError where a path or the password of a keystore cannot be read.
    """
    password = keystore_password(component.artefacts, reader)
    content_by_role = held_by(component.artefacts, content, reader)
    keys = frozenset(
        key.public_sha256
        for role in WITH_KEY
        if (data := content_by_role.get(role)) is not None
        for key in keys_in(data, password)
        if key is not None
    )
    chain = presented_by(content_by_role, password)
    return keys | ({leaf_first(chain)[0].public_key_sha256()} if chain else frozenset())


def read_password(path: str, reader: FileReader) -> bytes:
    """Return the password in the file at `path`; raises OSError, also where it is no text."""
    password = password_in(reader.read(reader.resolve(path))[1])
    try:
        password.decode()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "the password in it is no UTF-8 text", path) from None
    return password


def keystore_password(artefacts: Artefacts, reader: FileReader) -> bytes | None:
    """Return the password of a component's keystore; None where none is configured. Raises as `read_password`."""
    return None if artefacts.password_file is None else read_password(artefacts.password_file, reader)


def held_by(
    artefacts: Artefacts, content: Mapping[str, bytes | None], reader: FileReader
) -> dict[FileRole, bytes | None]:
    """Return the content of a component's files, given the content of each path; None is a file that is missing.

    Raises OSError where a path cannot be resolved.
    """
    return {role: content.get(reader.resolve(given)) for role, given in artefacts.files.items()}


def shared_paths(
    names: Collection[str], components: Mapping[str, Component], reader: FileReader
) -> Iterator[Objection]:
    """Yield each file of the named components that another component reaches over symbolic links; raises OSError.

    Two components that are configured with the very same path share it on purpose.
    """
    given = {path for name in names for path in components[name].artefacts.files.values()}
    ours = {reader.resolve(path) for path in given}
    for name, component in components.items():
        for path in component.artefacts.files.values() if name not in names else ():
            if path in given:
                continue
            # Where links are not followed for the other component, its files are not ours.
            with suppress(OSError):
                if (resolved := reader.resolve(path)) in ours:
                    yield Objection(Ground.PATH_SHARED, f"{printable(resolved)} is a file of {name}, too")
