"""Offers: certificates that somebody without rights has brought, whose content and names are hostile.

Only certificates are offered. Where a file comes from is not believed but read: its owner brought it, when it last
changed. Files of one owner are read together, so that nobody spoils the offers of others.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from actions.candidate import Given, NoCandidate, holds_key, read_certificates
from actions.inbox import Inbox, TakenFile, identity_of
from actions.target import unsafe_directory
from actions.world import World
from config.immutable import immutable
from config.text import Printable, printable, sentence
from probes.certificate import Certificate
from probes.judge.time import moment

MOST_BYTES: Final = 64 * 1024
"""Of one offer in DER."""
MOST_WRITTEN: Final = 96 * 1024
"""Of one file, as it is written: PEM takes a third more."""
MOST_NAMES: Final = 256
"""Names of one owner in one directory."""
MOST_OF_ONE: Final = 16
"""Files of one owner in one directory."""


class Way(StrEnum):
    """How an offer came."""

    SOCKET = "socket"
    DIRECTORY = "directory"


@immutable
class Provenance:
    """Who brought an offer, when and how."""

    uid: int
    by: Printable
    at: float
    """Unix time."""
    way: Way

    @property
    def sentence(self) -> Printable:
        """The rest of "it was offered ..."."""
        where = Printable("over the socket") if self.way is Way.SOCKET else Printable("in the directory of offers")
        return sentence("by {} at {}, {}", self.by, moment(self.at), where)


@immutable
class OfferedFile:
    """A file that lies in a directory of offers, whatever it is."""

    path: str
    identity: tuple[int, int, int, int]
    """As of `identity_of`."""
    mode: int
    provenance: Provenance

    @property
    def name(self) -> str:
        """The name by which a person calls it: hexadecimal, of its path and of what is there now."""
        return hashlib.sha256(b"%s\0%r" % (os.fsencode(self.path), self.identity)).hexdigest()


@immutable
class Bundle:
    """The usable files of one owner in one directory."""

    files: tuple[Given, ...]
    provenance: Provenance


@immutable
class Offers:
    """The offers for one component or group."""

    bundles: tuple[Bundle, ...] = ()
    inboxes: tuple[Inbox, ...] = ()
    """Their files, to be removed once they are done with."""
    troubles: tuple[Printable, ...] = ()
    """Files that are not used, and why: sentences."""


@immutable
class Offer:
    """The offer from which a plan is."""

    provenance: Provenance
    why_not_alone: str = ""
    """Why it is not carried out without a person, a sentence; printable, and empty where it may be."""


def a_key() -> Printable:
    """Return why what holds a private key is not taken."""
    return sentence(
        "it holds a private key, or may: only certificates are offered. Have the key made where it is used "
        "(`certvigil csr`), or have root put both into the inbox"
    )


def open_offers(world: World, directory: str, way: Way) -> Offers:
    """Copy the files that lie in a directory of offers; raises OSError where that cannot be looked into.

    The way to the directory must be root's or this user's; who may write into it is for the site to say. One that does
    not exist is empty.
    """
    try:
        unsafe = unsafe_directory(world, os.path.dirname(directory))
        world.stat(directory)
    except FileNotFoundError:
        return Offers()
    if unsafe is not None:
        return Offers(troubles=(sentence("{} can be changed by another user", printable(unsafe)),))
    taken: dict[int, list[TakenFile]] = {}
    troubles: list[Printable] = []
    for uid, paths in _by_owner(world, directory).items():
        if len(paths) > MOST_NAMES:
            whose = (
                Printable("files that have several names") if uid is None else sentence("files of {}", user_name(uid))
            )
            most = sentence("{} (more than {})", len(paths), MOST_NAMES)
            troubles.append(sentence("{} holds {} {}: none of these is used", printable(directory), most, whose))
            continue
        for path in paths:
            found = _take(world, path)
            if isinstance(found, str):
                troubles.append(sentence("{} is not used: {}", printable(path), found))
            elif found is not None:
                taken.setdefault(found[0], []).append(found[1])
    for uid, files in tuple(taken.items()):
        if len(files) > MOST_OF_ONE:
            troubles.append(sentence("{} offers more than {} files: none is used", user_name(uid), MOST_OF_ONE))
            del taken[uid]
    inboxes = {uid: Inbox(tuple(files)) for uid, files in taken.items()}
    bundles = tuple(
        Bundle(inbox.given(), Provenance(uid, user_name(uid), max(each.identity[2] for each in inbox.files) / 1e9, way))
        for uid, inbox in inboxes.items()
    )
    return Offers(bundles, tuple(inboxes.values()), tuple(troubles))


def lying_in(world: World, directory: str, way: Way) -> tuple[OfferedFile, ...]:
    """Return each name in a directory of offers, the oldest first; raises OSError.

    None of a directory that does not exist, or to which others can change the way.
    """
    try:
        if unsafe_directory(world, os.path.dirname(directory)) is not None:
            return ()
        found = [(path, each) for path, each in _looked_at(world, directory) if not _is_hidden(path)]
    except FileNotFoundError:
        return ()
    files = (
        OfferedFile(
            path,
            identity_of(each),
            each.st_mode,
            Provenance(each.st_uid, user_name(each.st_uid), each.st_ctime_ns / 1e9, way),
        )
        for path, each in found
    )
    return tuple(sorted(files, key=lambda each: (each.provenance.at, each.path)))


def why_not_used(world: World, file: OfferedFile) -> Printable | tuple[Certificate, ...]:
    """Return why a file is no offer, whatever it is for; else the certificates in it."""
    taken = _take(world, file.path)
    if taken is None:
        return Printable("it is gone")
    if isinstance(taken, str):
        return taken
    found = read_certificates((Given(printable(os.path.basename(file.path)), taken[1].data),))
    return sentence("{}: {}", found.flaw, printable(found.detail, 300)) if isinstance(found, NoCandidate) else found


def take_out(world: World, file: OfferedFile) -> Printable | None:
    """Remove a file that lies there as it was; return why it is not removed, a sentence. Raises OSError."""
    try:
        now = world.stat(file.path)
    except FileNotFoundError:
        return Printable("it is gone by now")
    if identity_of(now) != file.identity:
        return Printable("another file is in its place by now")
    if stat.S_ISDIR(now.st_mode):
        return sentence("{} is a directory: remove it by hand", printable(file.path))
    world.unlink(file.path)
    world.sync_directory(os.path.dirname(file.path))
    return None


def _is_hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def _by_owner(world: World, directory: str) -> dict[int | None, list[str]]:
    """Return the paths in a directory by owner: whoever lays down a crowd hides the files of nobody else.

    None has the files with several names: whoever gave them another one need not be their owner.
    """
    found: dict[int | None, list[str]] = {}
    for path, status in _looked_at(world, directory):
        if not _is_hidden(path):
            several = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
            found.setdefault(None if several else status.st_uid, []).append(path)
    return found


def _looked_at(world: World, directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the paths in a directory with their status; one that is gone meanwhile is passed over. Raises OSError."""
    for name in world.names(directory):
        path = os.path.join(directory, name)
        with suppress(FileNotFoundError):
            yield path, world.stat(path)


def together(offers: Sequence[Offers]) -> Offers:
    """Return the offers of several directories as one value, the oldest bundle first."""
    every = sorted((bundle for each in offers for bundle in each.bundles), key=lambda each: each.provenance.at)
    inboxes = tuple(inbox for each in offers for inbox in each.inboxes)
    return Offers(tuple(every), inboxes, tuple(trouble for each in offers for trouble in each.troubles))


def _take(world: World, path: str) -> tuple[int, TakenFile] | Printable | None:
    """Return the owner and the copy of one file, or why it is not used; None where it is gone."""
    try:
        before = world.stat(path)
        if not stat.S_ISREG(before.st_mode):
            return Printable("it is no regular file")
        if before.st_size > MOST_WRITTEN:
            return sentence("it is larger than {} bytes", MOST_WRITTEN)
        found, data = world.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return printable(error.strerror or type(error).__name__)
    if len(data) > MOST_WRITTEN:
        return sentence("it is larger than {} bytes", MOST_WRITTEN)
    if found.st_nlink != 1:
        return sentence("it has {} names, one of them elsewhere", found.st_nlink)
    file = TakenFile(path, data, identity_of(found))
    if holds_key(Given(printable(os.path.basename(path)), data)):
        return a_key()
    return found.st_uid, file


def user_name(uid: int) -> Printable:
    """Return what a user is called, with the number."""
    with suppress(KeyError):
        return sentence("{} (uid {})", printable(pwd.getpwuid(uid).pw_name), uid)
    return sentence("uid {}", uid)


def of_user(world: World, directory: str, uid: int) -> Iterator[str]:
    """Yield the files of one owner in a directory, the oldest first; raises OSError."""
    found = _looked_at(world, directory)
    ours = [(status.st_ctime, path) for path, status in found if status.st_uid == uid]
    yield from (path for _, path in sorted(ours))
