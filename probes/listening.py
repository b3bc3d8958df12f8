"""The TCP ports that are open on this host, and the processes that hold them, by proc(5).

Anybody sees the ports. It takes root to see the processes of others, and what listens in another network namespace.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import STARTTLS_PORTS, EndpointProtocol

PROC: Final = "/proc"
_TABLES: Final = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6}
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""Before an IPv4 address that is written as one of IPv6 (RFC 4291, 2.5.5.2)."""
_LISTENS: Final = "0A"
"""The state of a socket that does, hexadecimal."""
_MOST: Final = 10_000
"""Processes, and open files of each, that are looked at."""
MOST_LINES: Final = 200_000
"""Of a table of the kernel. Any user can open tens of thousands of sockets, and the kernel has them in no order."""
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_PARENT: Final = re.compile(r"^PPid:\s+(\d+)$", re.MULTILINE)
_GENERATIONS: Final = 4
"""Processes that are looked at, each the parent of the one before."""
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}\.service")
_CONTAINERS: Final = ("docker", "libpod", "lxc", "kubepods", "machine.slice", "crio-", "containerd", "buildkit")
"""Parts of the path of a container's control group."""


_BY_PORT: Final = {port: protocol for protocol, ports in STARTTLS_PORTS.items() for port in ports}


def likely_protocols(port: int) -> tuple[EndpointProtocol, ...]:
    """Return what a port may speak, the likeliest first: its usual protocol in the clear, and TLS at once."""
    usual = _BY_PORT.get(port)
    return (EndpointProtocol.TLS,) if usual is None else (usual, EndpointProtocol.TLS)


class ListeningSocket(NamedTuple):
    """An open TCP port."""

    address: str
    """The IP address; `0.0.0.0` or `::` for every one."""
    port: int
    user: int
    inode: int

    @property
    def reachable(self) -> str:
        """The IP address of this host at which it is reached."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)  # noqa: S104 (compared with)


class ProcessPlace(StrEnum):
    """Where a process runs."""

    SYSTEM = "system"
    """On the host itself, in a unit of the system."""
    HOST = "host"
    """On the host itself, and no unit is told."""
    USER = "user"
    """In a session or a unit of a user."""
    ELSEWHERE = "elsewhere"
    """In a container, or in another namespace of networks, processes or users."""
    UNKNOWN = "unknown"
    """This user may not see it."""


@immutable
class Holder:
    """The process that holds a socket."""

    place: ProcessPlace
    process: int = 0
    program: Printable = Printable("")
    unit: str | None = None
    """The unit of systemd in which it runs."""


@immutable
class OpenPorts:
    """The open ports of this host."""

    sockets: tuple[ListeningSocket, ...]
    holders: Mapping[int, Holder] = field(default_factory=dict)
    """By the inodes of sockets; where one is missing, nobody was seen to hold it."""
    elsewhere: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """The ports that are open in other network namespaces, by one process of each."""
    unseen_processes: int = 0
    """Those whose sockets this user may not see, or that are too many."""
    unread: tuple[str, ...] = ()
    """Tables that could not be read."""
    cut: tuple[str, ...] = ()
    """Tables of which only the first lines were read."""


def open_ports(proc: str = PROC, *, with_holders: bool = True, most_lines: int = MOST_LINES) -> OpenPorts:
    """Return the open ports as this process sees them; never raises."""
    sockets: list[ListeningSocket] = []
    unread: list[str] = []
    cut: list[str] = []
    for name in _TABLES:
        path = f"{proc}/self/net/{name}"
        try:
            found, is_whole = _read_table(path, _TABLES[name], most_lines)
            sockets += found
            cut += () if is_whole else (path,)
        except FileNotFoundError:
            # A host without IPv6 has no such table.
            if name == "tcp":
                unread.append(path)
        except OSError:
            unread.append(path)
    sockets.sort(key=lambda each: (each.port, each.address, -each.inode))
    # Workers may share a port by SO_REUSEPORT; the oldest socket counts.
    sockets = list({(each.address, each.port): each for each in sockets}.values())
    if not with_holders:
        return OpenPorts(tuple(sockets), unread=tuple(unread), cut=tuple(cut))
    seen = _Processes(proc, frozenset(each.inode for each in sockets))
    return OpenPorts(tuple(sockets), seen.holders, seen.elsewhere, seen.unseen, tuple(unread), tuple(cut))


def _read_table(path: str, family: socket.AddressFamily, most: int = MOST_LINES) -> tuple[list[ListeningSocket], bool]:
    """Return the listening sockets in the first lines of a table, and whether these are all of its lines."""
    with open(path, encoding="ascii", errors="replace") as file:
        return list(listening(islice(file, most), family)), next(file, None) is None


def listening(lines: Iterator[str], family: socket.AddressFamily) -> Iterator[ListeningSocket]:
    """Yield the listening sockets of a table of the kernel, its heading aside."""
    for line in lines:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTENS:
            continue
        host, _, port = fields[1].partition(":")
        try:
            yield ListeningSocket(_address(host, family), int(port, 16), int(fields[7]), int(fields[9]))
        except (ValueError, OSError):
            continue


def _address(text: str, family: socket.AddressFamily) -> str:
    """Return an address that the kernel prints as words in its own order of bytes.

    Java listens at an IPv4 address by a socket of IPv6: the clients, and the configurations, name the IPv4 address.
    """
    raw = bytes.fromhex(text)
    words = struct.unpack(f"={len(raw) // 4}I", raw)
    packed = struct.pack(f">{len(words)}I", *words)
    if len(packed) == 16 and packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed.removeprefix(_MAPPED))
    return socket.inet_ntop(family, packed)


class _Processes:
    """What the processes of the host tell, as far as this user sees them."""

    def __init__(self, proc: str, wanted: frozenset[int]) -> None:
        self.holders: dict[int, Holder] = {}
        self.elsewhere: dict[int, tuple[int, ...]] = {}
        self.unseen = 0
        self._proc = proc
        self._own = {name: self._namespace("self", name) for name in ("net", "pid", "user")}
        self._root = self._root_of("self")
        networks = {self._own["net"]}
        numbers = self._numbers()
        self.unseen += max(0, len(numbers) - _MOST)
        for process in numbers[:_MOST]:
            network = self._namespace(str(process), "net")
            if network is None:
                self.unseen += 1
            elif network not in networks:
                networks.add(network)
                if ports := self._ports_of(process):
                    self.elsewhere[process] = ports
            elif wanted and network == self._own["net"]:
                self._hold(process, wanted)

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(each) for each in os.listdir(self._proc) if each.isdecimal())
        except OSError:
            return []

    def _hold(self, process: int, wanted: frozenset[int]) -> None:
        """Note the wanted sockets of a process; the first one that has a socket is its holder."""
        directory = f"{self._proc}/{process}/fd"
        try:
            names = os.listdir(directory)
        except PermissionError:
            self.unseen += 1
            return
        except OSError:
            return
        holder: Holder | None = None
        for name in names[:_MOST]:
            try:
                found = _SOCKET.fullmatch(os.readlink(f"{directory}/{name}"))
            except OSError:
                continue
            if found is None or (inode := int(found[1])) not in wanted:
                continue
            # systemd holds the sockets of units that it starts on demand, too.
            if inode not in self.holders or self.holders[inode].process == 1:
                holder = holder or self._holder(process)
                self.holders[inode] = holder

    def _holder(self, process: int) -> Holder:
        name = printable(self._text(process, "comm").strip(), 64)
        group = control_group(self._text(process, "cgroup"))
        if not self._is_here(process, group):
            return Holder(ProcessPlace.ELSEWHERE, process, name)
        place, unit = place_of(group)
        return Holder(place, process, name, unit)

    def _is_here(self, process: int, group: str) -> bool:
        """Whether a process sees this host as this one does, but for a smaller root that it gave itself.

        A server such as haproxy changes its root once it has read its files: a process above it, of the same control
        group, still has the root of the host.
        """
        for _ in range(_GENERATIONS):
            if any(self._namespace(str(process), each) != own for each, own in self._own.items()):
                return False
            if self._root_of(str(process)) == self._root:
                return True
            parent = _PARENT.search(self._text(process, "status"))
            process = int(parent[1]) if parent else 0
            if not process or control_group(self._text(process, "cgroup")) != group:
                return False
        return False

    def _ports_of(self, process: int) -> tuple[int, ...]:
        ports: set[int] = set()
        for name, family in _TABLES.items():
            try:
                ports |= {each.port for each in _read_table(f"{self._proc}/{process}/net/{name}", family)[0]}
            except OSError:
                continue
        return tuple(sorted(ports))

    def _namespace(self, process: str, name: str) -> str | None:
        try:
            return os.readlink(f"{self._proc}/{process}/ns/{name}")
        except OSError:
            return None

    def _root_of(self, process: str) -> tuple[int, int] | None:
        """Return the identity of the directory that a process has as its root."""
        try:
            found = os.stat(f"{self._proc}/{process}/root/.")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _text(self, process: int, name: str) -> str:
        try:
            with open(f"{self._proc}/{process}/{name}", encoding="utf-8", errors="replace") as file:
                return file.read(64 * 1024)
        except OSError:
            return ""


def control_group(text: str) -> str:
    """Return the path of a process in the hierarchy of systemd, by the lines of its `cgroup`, cgroups(7)."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths["unified" if number == "0" else controllers] = path
    # Where systemd does not use it, the older hierarchy may be there all the same, with everything at its root.
    found = (paths.get("name=systemd", ""), paths.get("unified", ""))
    return next((each for each in found if each not in {"", "/"}), "")


def place_of(group: str) -> tuple[ProcessPlace, str | None]:
    """Return where the path of a control group lies, and the unit of the system that it names."""
    if any(part in group for part in _CONTAINERS):
        return ProcessPlace.ELSEWHERE, None
    parts = [each for each in group.split("/") if each]
    if parts[:1] == ["user.slice"]:
        return ProcessPlace.USER, None
    unit = next((each for each in parts if _UNIT.fullmatch(each)), None)
    if unit is not None and (parts[0] == "system.slice" or parts[0].endswith(".slice")):
        return ProcessPlace.SYSTEM, unit
    return ProcessPlace.HOST, None
