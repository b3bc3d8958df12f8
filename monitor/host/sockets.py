"""Sockets that listen."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from contextlib import suppress
from typing import Final

from config.address import split_address
from config.text import printable
from probes.listening import open_ports

BACKLOG: Final = 128
_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""The error of `localhost` for ::1 on a host without IPv6."""


class ListenError(Exception):
    """A socket cannot listen; the text is a sentence that says which one and why."""


def listen_tcp(address: str) -> list[socket.socket]:
    """Return a listening socket for each IP address that the host of `address` has here; raises ListenError."""
    host, port = split_address(address)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                sockets.append(_listening(socket.socket(family, kind, protocol), where))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                failure = error
        if failure is not None and not sockets:
            raise failure
    except OSError as error:
        for each in sockets:
            each.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"{printable(address)} is in use by {_holder_of(port)}") from error
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    return sockets


def _holder_of(port: int) -> str:
    """Return who listens on a TCP port, as far as this process may see that."""
    opened = open_ports()
    sockets = [each for each in opened.sockets if each.port == port]
    for each in sockets:
        if (holder := opened.holders.get(each.inode)) is not None:
            return f"{holder.program}, process {holder.process}"
    for each in sockets:
        with suppress(KeyError):
            return f"a process of the user {pwd.getpwuid(each.user).pw_name}"
    return "another process"


def _listening(bare: socket.socket, where: tuple[object, ...] | str) -> socket.socket:
    try:
        bare.setblocking(False)
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bare.family == socket.AF_INET6:
            # So that [::]:9790 and 0.0.0.0:9790 may stand side by side.
            bare.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bare.bind(where)
        bare.listen(BACKLOG)
    except OSError:
        bare.close()
        raise
    return bare


def gid_of(group: str) -> int | None:
    """Return the number of a group that is given by its name or its number; None where there is no such group."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return int(group) if group.isascii() and group.isdecimal() else None


def listen_unix(path: str, mode: int = 0o660, group: int | None = None) -> socket.socket:
    """Return a socket that listens at `path`, by default for the owner and the group; raises ListenError.

    The group is our own, or the one with the number `group`, where we may give it that.

    It takes the place of a socket on which nobody answers. Nobody else may write to its directory.
    """
    shown = printable(path)
    directory = os.path.dirname(path)
    # It becomes visible under its name only when its mode is right: until then, only we may connect.
    beginning = f"{path}.{os.getpid()}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with suppress(FileExistsError):
            os.mkdir(directory, 0o755)
        _check_directory(directory)
        _check_free(path)
        with suppress(FileNotFoundError):
            os.unlink(beginning)
        listening.bind(beginning)
        os.chmod(beginning, 0o600)
        if group is not None:
            os.chown(beginning, -1, group)
        os.chmod(beginning, mode)
        listening.listen(BACKLOG)
        os.rename(beginning, path)
    except OSError as error:
        listening.close()
        # A path that is too long is refused by Python, without an errno.
        raise ListenError(f"cannot listen on {shown}: {error.strerror or error}") from error
    except ListenError:
        listening.close()
        raise
    return listening


def _check_directory(directory: str) -> None:
    status = os.stat(directory)
    others_may_replace = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in {0, os.geteuid()} or others_may_replace:
        raise ListenError(f"no socket is put into {printable(directory)}: others may write to it")


def _check_free(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ListenError(f"cannot listen on {printable(path)}: there is something else")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return
    raise ListenError(f"cannot listen on {printable(path)}: another process does")
