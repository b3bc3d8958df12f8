"""Java's keytool, which writes JKS and JCEKS: on a copy in a private directory, in a closed environment.

Nothing that it says is read: its words depend on the language, and its numbers on the format. Its exit status counts,
and what certvigil's own reader finds in the copy afterwards. It is never given a path that does not exist, since it
would make a new keystore there. Passwords are files for it, never arguments or variables, which others could read.
Root runs it as a user without rights, and only where nobody but root may change anything of its Java.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Mapping, Sequence
from typing import Final

from actions.world import Metadata, Place, World, remove, write_new
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.trusted import changeable, changeable_below, unreadable_for
from config.vocabulary import FileFormat

TIME_LIMIT: Final = 60.0
"""Seconds for each run: a Java machine starts in one, and in ten where a host is busy."""
TYPES: Final = {FileFormat.JKS: "JKS", FileFormat.JCEKS: "JCEKS", FileFormat.PKCS12: "PKCS12"}
"""The formats that it writes, as it calls them."""
_ENV: Final = "/usr/bin/env"
_PATH: Final = "/usr/bin:/bin"
_USUAL: Final = "/usr/bin/keytool"
_BESIDE: Final = ("../../bin/keytool", "../../../bin/keytool", "../../jre/bin/keytool")
"""From `lib/security` of an installation of Java, with and without a JRE of its own in it."""
_BY_PATH: Final = tuple(f"{each}/java" for each in _PATH.split(":"))
"""Where a wrapper finds Java by the PATH that it is given."""
_IN_A_JAVA: Final = re.compile(rb"/[A-Za-z0-9_./+-]{1,200}/bin/(?:java|keytool)(?![A-Za-z0-9_./-])")
_LARGEST_WRAPPER: Final = 65_536
_OF_THE_SYSTEM: Final = frozenset({"/", "/usr", "/usr/local"})
_QUICKLY: Final = ("-J-XX:TieredStopAtLevel=1", "-J-Xshare:auto", "-J-XX:-UsePerfData")
"""Without data for others about its performance, for which it changes its directory for a moment."""
_DIRECTORY_MODE: Final = 0o755
"""Whoever runs it can put no file there, and others do not get there."""
_SHOWN: Final = 200
_HERE: Final = "/proc/self/cwd/"
"""Its directory, the path of which may be closed to whoever runs it; keytool opens no relative path of a password."""
_COPY, _PASSWORD, _NEW_PASSWORD, _CERTIFICATE = "store", "password", "new-password", "certificate.pem"


@immutable
class KeytoolFailure:
    """Why keytool wrote nothing that can be used."""

    detail: str
    """A sentence without an end, printable."""


@immutable
class KeytoolChoice:
    """The keytool of a keystore, and those that were passed over."""

    program: str | None
    """None where there is none."""
    passed_over: tuple[Printable, ...] = ()
    """Sentences: why a nearer one is not taken."""


def find_keytool(configured: str | None, store: str, world: World, user: int | None = None) -> KeytoolChoice:
    """Return the keytool for the keystore at the path `store`: as configured, of its own Java, or the usual one.

    One that `why_untrusted` by `user` is passed over; without any other it is returned, and does not run.
    """
    if configured is not None:
        return KeytoolChoice(configured)
    own = [os.path.normpath(os.path.join(os.path.dirname(store), each)) for each in _BESIDE]
    refused: dict[str, Printable] = {}
    for each in (*own, _USUAL):
        try:
            world.stat(each)
        except OSError:
            continue
        if (why := why_untrusted(each, store, user)) == "":
            return KeytoolChoice(
                each, tuple(sentence("{} is not run: {}", printable(on), refused[on]) for on in refused)
            )
        refused[each] = why
    return KeytoolChoice(next(iter(refused), None))


def why_untrusted(program: str, store: str = "", user: int | None = None) -> Printable:
    """Return why a program must not be run, as the end of a sentence: others could have it do something else.

    All of a Java's installation decides that: its `java.security` names code, as its libraries and modules are code.
    A program outside of any, such as a wrapper in /usr/bin, runs the Javas that it names, or that are found as it finds
    them; where there is none, nobody knows what it runs. Only the keystore `store` itself does not count, of which it
    sees a copy. `user` is who runs it, beside root; None for the user of this process.
    """
    user = os.geteuid() if user is None else user
    try:
        why = changeable(program, user)
        if not why:
            javas = _javas_of(program)
            if not javas:
                return Printable("nobody knows which Java it runs: it lies in none, and names none")
            spared = (store,) if store else ()
            found = (changeable(at, user) or changeable_below(home, user, spared=spared) for at, home in javas.items())
            why = next(filter(None, found), "")
    except OSError as error:
        return printable(error.strerror or "it cannot be examined")
    return sentence("others may change what it runs: {}", harmless(why)) if why else Printable("")


def _javas_of(program: str) -> Mapping[str, str]:
    """Return the installations of Java whose code a program runs, by a program of each; raises OSError."""
    if (own := _home_of(program)) is not None:
        return {program: own}
    with open(os.path.realpath(program), "rb") as file:
        text = file.read(_LARGEST_WRAPPER)
    named = _IN_A_JAVA.findall(text) if text.startswith(b"#!") else []
    found = [*map(os.fsdecode, named), os.path.join(os.path.dirname(program), "java"), *_BY_PATH]
    homes = {each: _home_of(each) for each in found if os.path.exists(each)}
    return {each: home for each, home in homes.items() if home is not None}


def _home_of(program: str) -> str | None:
    """Return the Java that a program belongs to; None for one in a directory of the system, or in no `bin`."""
    directory = os.path.dirname(os.path.realpath(program))
    home, name = os.path.split(directory)
    return home if name == "bin" and home not in _OF_THE_SYSTEM else None


@immutable
class Keytool:
    """A program, and the private directory in which it works."""

    program: str
    world: World
    directory: str
    """Of the actor, which exists; others cannot enter it."""
    time_limit: float = TIME_LIMIT
    store: str = ""
    """The keystore that is changed, which may lie in the Java of the program."""
    lesser: tuple[int, int] | None = None
    """User and group that run it where they may run the program; None for those of this process."""

    def add(
        self, data: bytes, form: FileFormat, password: bytes, certificates: Mapping[str, bytes]
    ) -> bytes | KeytoolFailure:
        """Return a keystore with more trusted certificates, DER by alias; raises OSError."""
        orders: list[tuple[str, ...]] = []
        files: dict[str, bytes] = {}
        for number, (alias, der) in enumerate(certificates.items()):
            name = f"{number}-{_CERTIFICATE}"
            files[name] = ssl.DER_cert_to_PEM_cert(der).encode()
            orders.append(("-importcert", "-noprompt", "-alias", alias, "-file", _HERE + name))
        return self._changed(data, form, {_PASSWORD: password, **files}, orders)

    def delete(self, data: bytes, form: FileFormat, password: bytes, aliases: Sequence[str]) -> bytes | KeytoolFailure:
        """Return a keystore without the entries with these aliases; raises OSError."""
        orders = [("-delete", "-alias", each) for each in aliases]
        return self._changed(data, form, {_PASSWORD: password}, orders)

    def change_password(self, data: bytes, form: FileFormat, password: bytes, new: bytes) -> bytes | KeytoolFailure:
        """Return a keystore with another password; raises OSError."""
        order = ("-storepasswd", "-new:file", _HERE + _NEW_PASSWORD)
        return self._changed(data, form, {_PASSWORD: password, _NEW_PASSWORD: new}, [order])

    def _at(self, name: str) -> str:
        return os.path.join(self.directory, "keytool.d", name)

    def _changed(
        self, data: bytes, form: FileFormat, files: Mapping[str, bytes], orders: Sequence[tuple[str, ...]]
    ) -> bytes | KeytoolFailure:
        if (why := why_untrusted(self.program, self.store)) != "":
            cure = "name another one as `keytool` of the trust store, or have root own all of its Java"
            return KeytoolFailure(f"{printable(self.program)} is not run: {why}; {cure}")
        world, place = self.world, self._place()
        metadata = None if place.user is None or place.group is None else Metadata(0o600, place.user, place.group)
        world.make_directory(place.directory, _DIRECTORY_MODE)
        lock = self._lock()
        try:
            self._clear()
            if stat.S_IMODE(world.stat(place.directory).st_mode) != _DIRECTORY_MODE:
                world.remove_directory(place.directory)
                world.make_directory(place.directory, _DIRECTORY_MODE)
            for name, content in {**files, _COPY: data}.items():
                write_new(world, self._at(name), content, metadata)
            for order in orders:
                if (failure := self._run(form, order, place)) is not None:
                    return failure
            return world.read(self._at(_COPY))[1]
        finally:
            self._clear()
            world.close(lock)

    def _place(self) -> Place:
        """Return the directory of the copy, and who works in it: a user without rights, where this process is root."""
        directory = os.path.dirname(self._at(""))
        if self.lesser is None or os.geteuid() != 0:
            return Place(directory)
        user, group = self.lesser
        try:
            closed = unreadable_for(os.path.realpath(self.program), user, (group,))
        except OSError:
            closed = "it cannot be examined"
        # Nobody but root can change it: what is closed to others is run by root.
        return Place(directory) if closed else Place(directory, user, group)

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

    def _run(self, form: FileFormat, order: Sequence[str], place: Place) -> KeytoolFailure | None:
        closed = (_ENV, "-i", f"HOME={place.directory}", "LC_ALL=C.UTF-8", f"PATH={_PATH}")
        secret = ("-storepass:file", _HERE + _PASSWORD)
        where = ("-keystore", _HERE + _COPY, "-storetype", TYPES[form], *secret)
        ran = self.world.run((*closed, self.program, *_QUICKLY, *order, *where), self.time_limit, place=place)
        if ran.ok:
            return None
        name = printable(self.program)
        if ran.status is None:
            return KeytoolFailure(f"{name} {order[0]} did not end within {self.time_limit:g} s")
        said = f": {_reason(ran.output)}" if ran.output else ""
        return KeytoolFailure(f"{name} {order[0]} ended with status {ran.status}{said}")


def _reason(output: str) -> str:
    """Return the beginning and the end of what it said: the usage, which it often tells, stands between them."""
    return output if len(output) <= 2 * _SHOWN else f"{output[:_SHOWN]} … {output[-_SHOWN:]}"
