"""Java's keytool, which writes JKS and JCEKS: on a copy in a private directory, in a closed environment.

Nothing that it says is read: its words depend on the language, and its numbers on the format. Its exit status counts,
and what certvigil's own reader finds in the copy afterwards. It is never given a path that does not exist, since it
would make a new keystore there. Passwords are files for it, never arguments or variables, which others could read.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from actions.world import World, remove, write_new
from config.text import printable
from config.trusted import changeable
from config.vocabulary import FileFormat

TIME_LIMIT: Final = 60.0
"""Seconds for each run: a Java machine starts in one, and in ten where a host is busy."""
TYPES: Final = {FileFormat.JKS: "JKS", FileFormat.JCEKS: "JCEKS", FileFormat.PKCS12: "PKCS12"}
"""The formats that it writes, as it calls them."""
_ENV: Final = "/usr/bin/env"
_USUAL: Final = "/usr/bin/keytool"
_BESIDE: Final = ("../../bin/keytool", "../../../bin/keytool", "../../jre/bin/keytool")
"""From `lib/security` of an installation of Java, with and without a JRE of its own in it."""
_QUICKLY: Final = ("-J-XX:TieredStopAtLevel=1", "-J-Xshare:auto")
_COPY, _PASSWORD, _NEW_PASSWORD, _CERTIFICATE = "store", "password", "new-password", "certificate.pem"


@dataclass(frozen=True, slots=True)
class KeytoolFailure:
    """Why keytool wrote nothing that can be used."""

    detail: str
    """A sentence without an end, printable."""


def find_keytool(configured: str | None, store: str, world: World) -> str | None:
    """Return the keytool for the keystore at the path `store`: as configured, of its own Java, or the usual one.

    None where there is none.
    """
    if configured is not None:
        return configured
    own = [os.path.normpath(os.path.join(os.path.dirname(store), each)) for each in _BESIDE]
    for each in (*own, _USUAL):
        try:
            world.stat(each)
        except OSError:
            continue
        return each
    return None


def why_untrusted(program: str) -> str:
    """Return why a program must not be run as root, as the end of a sentence: somebody else could change it."""
    if os.geteuid() != 0:
        return ""
    try:
        return changeable(program)
    except OSError as error:
        return printable(error.strerror or "it cannot be examined")


@dataclass(frozen=True, slots=True)
class Keytool:
    """A program, and the private directory in which it works."""

    program: str
    world: World
    directory: str
    """Of the actor, which exists; others cannot enter it."""
    time_limit: float = TIME_LIMIT

    def add(
        self, data: bytes, form: FileFormat, password: bytes, certificates: Mapping[str, bytes]
    ) -> bytes | KeytoolFailure:
        """Return a keystore with more trusted certificates, DER by alias; raises OSError."""
        orders: list[tuple[str, ...]] = []
        files: dict[str, bytes] = {}
        for number, (alias, der) in enumerate(certificates.items()):
            name = f"{number}-{_CERTIFICATE}"
            files[name] = ssl.DER_cert_to_PEM_cert(der).encode()
            orders.append(("-importcert", "-noprompt", "-alias", alias, "-file", self._at(name)))
        return self._changed(data, form, {_PASSWORD: password, **files}, orders)

    def delete(self, data: bytes, form: FileFormat, password: bytes, aliases: Sequence[str]) -> bytes | KeytoolFailure:
        """Return a keystore without the entries with these aliases; raises OSError."""
        orders = [("-delete", "-alias", each) for each in aliases]
        return self._changed(data, form, {_PASSWORD: password}, orders)

    def change_password(self, data: bytes, form: FileFormat, password: bytes, new: bytes) -> bytes | KeytoolFailure:
        """Return a keystore with another password; raises OSError."""
        order = ("-storepasswd", "-new:file", self._at(_NEW_PASSWORD))
        return self._changed(data, form, {_PASSWORD: password, _NEW_PASSWORD: new}, [order])

    def _at(self, name: str) -> str:
        return os.path.join(self.directory, "keytool.d", name)

    def _changed(
        self, data: bytes, form: FileFormat, files: Mapping[str, bytes], orders: Sequence[tuple[str, ...]]
    ) -> bytes | KeytoolFailure:
        if (why := why_untrusted(self.program)) != "":
            return KeytoolFailure(f"{printable(self.program)} is not run: {why}")
        world = self.world
        world.make_directory(os.path.dirname(self._at("")))
        lock = self._lock()
        try:
            self._clear()
            for name, content in {**files, _COPY: data}.items():
                write_new(world, self._at(name), content)
            for order in orders:
                if (failure := self._run(form, order)) is not None:
                    return failure
            return world.read(self._at(_COPY))[1]
        finally:
            self._clear()
            world.close(lock)

    def _lock(self) -> int:
        """Take the directory for this process; another one has it for as long as its keytool runs."""
        path = os.path.join(self.directory, "keytool.lock")
        try:
            lock = self.world.open(path)
        except FileNotFoundError:
            lock = self.world.create(path)
        self.world.lock(lock, wait=True)
        return lock

    def _clear(self) -> None:
        """Remove what a run, also one that was killed, has left: passwords are among it."""
        for name in self.world.names(os.path.dirname(self._at(""))):
            remove(self.world, self._at(name))

    def _run(self, form: FileFormat, order: Sequence[str]) -> KeytoolFailure | None:
        home = os.path.dirname(self._at(""))
        closed = (_ENV, "-i", f"HOME={home}", "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin")
        where = ("-keystore", self._at(_COPY), "-storetype", TYPES[form], "-storepass:file", self._at(_PASSWORD))
        ran = self.world.run((*closed, self.program, *_QUICKLY, *order, *where), self.time_limit)
        if ran.ok:
            return None
        name = printable(self.program)
        if ran.status is None:
            return KeytoolFailure(f"{name} {order[0]} did not end within {self.time_limit:g} s")
        said = f": {ran.output[-300:]}" if ran.output else ""
        return KeytoolFailure(f"{name} {order[0]} ended with status {ran.status}{said}")
