"""The arguments of `certvigil check`: files, directories, standard input and endpoints; and names passed over."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from config.address import join_address, split_address
from config.immutable import immutable
from config.model import Endpoint, FileTarget, Watch
from config.text import harmless, printable, sentence
from config.vocabulary import STARTTLS_PORTS, EndpointProtocol, FileRole, UnreadableReason
from probes.find import Found, find
from probes.observation import Unreadable

STANDARD_INPUT: Final = FileTarget("standard input", "-", FileRole.LISTED)
"""Its content is piped into the command."""

_URL: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://.*", re.IGNORECASE)
_UDP: Final = "it runs over UDP, and certvigil speaks TLS over TCP alone"
_NO_TLS: Final = {"http": "it has no TLS", "dtls": _UDP, "quic": _UDP}


@immutable
class _Scheme:
    """What a scheme of a URL means."""

    protocol: EndpointProtocol
    port: int | None


_SCHEMES: Final[Mapping[str, _Scheme]] = {
    "https": _Scheme(EndpointProtocol.TLS, 443),
    "tls": _Scheme(EndpointProtocol.TLS, None),
    # In the clear at first
    **{str(each): _Scheme(each, ports[0]) for each, ports in STARTTLS_PORTS.items()},
    "postgresql": _Scheme(EndpointProtocol.POSTGRES, 5432),
    "postgres-direct": _Scheme(EndpointProtocol.POSTGRES_DIRECT, 5432),
    # The same within TLS
    "ftps": _Scheme(EndpointProtocol.TLS, 990),
    "imaps": _Scheme(EndpointProtocol.TLS, 993),
    "ircs": _Scheme(EndpointProtocol.TLS, 6697),
    "ldaps": _Scheme(EndpointProtocol.TLS, 636),
    "nntps": _Scheme(EndpointProtocol.TLS, 563),
    "pop3s": _Scheme(EndpointProtocol.TLS, 995),
    "smtps": _Scheme(EndpointProtocol.TLS, 465),
    "xmpps": _Scheme(EndpointProtocol.TLS, 5223),
}


class UsageError(Exception):
    """A request that cannot be met; the text says why, and the way out."""


@immutable
class PassedOverPath:
    """Something in a directory that was not judged."""

    path: str
    """Printable."""
    why: str
    """The kind of the thing, as the end of a sentence; printable."""


@immutable
class Directory:
    """A directory that was given."""

    name: str
    """As it was given, printable."""
    path: str
    passed_over: tuple[PassedOverPath, ...]
    """Names of other things than files."""
    unreadable: Mapping[str, Unreadable]
    """Directories in it that cannot be searched, by name."""


@immutable
class GivenTargets:
    """Each argument once, in order."""

    targets: tuple[FileTarget | Endpoint, ...]
    directories: tuple[Directory, ...]


def read_given(given: Iterable[str], name: str | None, timeout: float) -> GivenTargets:
    """Return the targets: an existing path is a file or all files of a directory; HOST:PORT or a URL is an endpoint.

    Raises UsageError for anything else.
    """
    targets: dict[str, FileTarget | Endpoint] = {}
    directories: dict[str, Directory] = {}
    for each in given:
        path = _absolute(each)
        if each == "-":
            targets[each] = STANDARD_INPUT
        elif path is None:
            targets[each] = _endpoint_without_place(each, name, timeout)
        elif os.path.isdir(path):
            found = find((Watch((glob.escape(path),)),))
            directories[path] = _directory(printable(each, 4096), path, found)
            for target in sorted(found.targets, key=lambda target: target.path):
                targets.setdefault(target.path, target)
        elif os.path.lexists(path):
            targets[path] = FileTarget(printable(each, 4096), path, FileRole.LISTED)
        else:
            targets[each] = _endpoint(each, name, timeout)
    return GivenTargets(tuple(targets.values()), tuple(directories.values()))


def parse_time(text: str) -> float:
    """Return the Unix time of an ISO 8601 date or time, in UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {printable(text)}: this is not a time; write 2027-03-20 or 2027-03-20T08:00:00Z"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _absolute(path: str) -> str | None:
    """Return the absolute path; None where the shell's directory was deleted."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return None


def _endpoint_without_place(target: str, name: str | None, timeout: float) -> Endpoint:
    try:
        return _endpoint(target, name, timeout)
    except UsageError:
        raise UsageError(
            f"{printable(target)}: the current directory was deleted; change to another, or give the whole path"
        ) from None


def _endpoint(target: str, name: str | None, timeout: float) -> Endpoint:
    scheme = _scheme(target)
    try:
        host, port = split_address(target if scheme is None else _address_in_url(target, scheme))
    except ValueError:
        raise UsageError(
            f"{printable(target)}: there is no such file or directory, and it is neither HOST:PORT nor https://HOST"
        ) from None
    protocol = EndpointProtocol.TLS if scheme is None else scheme.protocol
    return Endpoint(printable(target), host, port, server_name=name, timeout=timeout, protocol=protocol)


def _scheme(target: str) -> _Scheme | None:
    """Return what the scheme of a URL means, None for what is no URL; raises UsageError for one that is not spoken."""
    url = _URL.fullmatch(target)
    if url is None:
        return None
    scheme = url["scheme"].lower()
    if scheme not in _SCHEMES:
        why = _NO_TLS.get(scheme, "it is not spoken yet")
        spoken = ", ".join(_SCHEMES)
        raise UsageError(f"{printable(target)}: the protocol {scheme} cannot be checked: {why}; these can: {spoken}")
    return _SCHEMES[scheme]


def _address_in_url(url: str, scheme: _Scheme) -> str:
    """Return `host:port` of a URL, whatever its path; raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or scheme.port
    except ValueError as error:
        raise UsageError(f"{printable(url)}: this is not a URL: {printable(str(error))}") from None
    if port is None:
        raise UsageError(f"{printable(url)}: the port is missing; write tls://HOST:PORT")
    return join_address(host, port)


def _directory(name: str, path: str, found: Found) -> Directory:
    unsearched = {**found.unreadable, **found.unfollowed}
    unreadable: dict[str, Unreadable] = {printable(each, 4096): why for each, why in unsearched.items()}
    for exceeded in found.exceeded.values():
        unreadable[name] = Unreadable(
            UnreadableReason.TOO_LARGE, sentence("not all of it was searched: {}", harmless(exceeded))
        )
    return Directory(name, path, tuple(_not_files(found)), unreadable)


def _not_files(found: Found) -> Iterator[PassedOverPath]:
    """Yield each name in the searched directories that is neither a file nor a searched directory."""
    paths = {each.path for each in found.targets}
    for directory in sorted(found.directories):
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue  # that it cannot be searched is said of it
        for entry in entries:
            if not (entry.path in paths or entry.path in found.directories or entry.path in found.unfollowed):
                yield PassedOverPath(printable(entry.path, 4096), _why_not(entry))


def _why_not(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "hidden, its name begins with a dot"
    try:
        leads_back = entry.is_dir()
    except OSError:
        leads_back = False
    return "a directory that leads back to one above it" if leads_back else "not a regular file"
