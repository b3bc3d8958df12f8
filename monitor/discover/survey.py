"""All that is on a host: open ports, the servers behind them, their certificates; proved by comparing.

Looking changes nothing. Whatever was read is a guess until a handshake has presented the certificate in a file.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from typing import Final, NamedTuple

from config.address import is_dns_name, is_ip_address
from config.immutable import immutable
from config.model import Endpoint, FileTarget
from config.text import Printable, listed, printable, sentence
from config.vocabulary import EndpointProtocol, FileRole, KeyKind, ProxyProtocolVersion, ServerSoftware
from monitor.discover.lineages import Lineage, lineage_of, lineages, trusted_stores
from monitor.discover.services import SERVES, FoundUnit, find_unit
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.file import look_at_file
from probes.listening import MOST_LINES, Holder, ListeningSocket, OpenPorts, ProcessPlace, likely_protocols, open_ports
from probes.observation import Presented
from probes.opening import open_for_others
from probes.server_config.files import HostFiles
from probes.server_config.registry import READERS
from probes.server_config.terms import ANY_ADDRESS, ConfiguredListener, ConfiguredSite
from probes.tls.drive import look

_AT_ONCE: Final = 16
"""Handshakes."""
_MOST_SITES: Final = 500
_RUNS: Final = "/run/systemd/system"
_CONTAINER: Final = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
"""Files that containers have."""
_UNKNOWN: Final = Holder(ProcessPlace.UNKNOWN)


class SeenAt(NamedTuple):
    """An endpoint at which a site was seen."""

    address: str
    port: int
    protocol: EndpointProtocol
    proxy_protocol: bool
    server_name: str | None
    key_type: KeyKind | None
    """Where the server has a certificate for each type of key."""


@immutable
class FoundSite:
    """A certificate that a server is told to serve, and whether it does."""

    software: ServerSoftware
    site: ConfiguredSite
    certificate: Certificate | None
    """None where the file gives none."""
    unit: FoundUnit
    main: str
    """The configuration file with which the server begins."""
    served_at: tuple[SeenAt, ...] = ()
    """Where a handshake has presented the certificate in the file."""
    differs_at: tuple[SeenAt, ...] = ()
    """Where a handshake has presented another one."""
    lineage: Lineage | None = None
    untrusted: tuple[Printable, ...] = ()
    """Why its files, or those that name them, are not root's alone: sentences."""
    place: ProcessPlace = ProcessPlace.UNKNOWN


@immutable
class FoundPort:
    """An open port, and what it speaks."""

    socket: ListeningSocket
    holder: Holder
    protocol: EndpointProtocol | None
    """None where it has shown no TLS."""
    proxy_protocol: bool = False
    leaf: Certificate | None = None
    """As it is presented to a client that asks for no name."""
    files: tuple[str, ...] = ()
    """The files that hold this leaf."""
    software: ServerSoftware | None = None


@immutable
class Survey:
    """All that was found, and what could not be seen."""

    ports: tuple[FoundPort, ...]
    sites: tuple[FoundSite, ...]
    lineages: tuple[Lineage, ...]
    stores: tuple[str, ...]
    not_understood: tuple[tuple[ServerSoftware, str, Printable], ...]
    unseen: tuple[Printable, ...] = field(default=())
    """What this user, or this place, does not see: sentences."""


class _Port(NamedTuple):
    socket: ListeningSocket
    holder: Holder
    configured: tuple[tuple[ConfiguredListener, FoundSite], ...]


@immutable
class SurveyScope:
    """What is looked at."""

    root: str = "/"
    """Configuration and certificates are read beneath it."""
    only: frozenset[int] = frozenset()
    """The ports that are looked at; empty for all."""
    skipped: frozenset[int] = frozenset()
    """Ports that are not looked at."""
    timeout: float = 2.0
    """Seconds for each handshake."""
    patience: float = 60.0
    """Seconds for all handshakes: any user can open ports that never answer."""

    def has(self, port: int) -> bool:
        """Whether a port is looked at."""
        return port not in self.skipped and (not self.only or port in self.only)


def survey(scope: SurveyScope, now: float) -> Survey:
    """Return all that is on this host at Unix time `now`."""
    opened = open_ports()
    general = HostFiles(scope.root)
    found_lineages = lineages(general)
    sites, not_understood, faults = _configured(scope.root, now, found_lineages)
    ports = [each for each in _with_sites(opened, sites) if scope.has(each.socket.port)]
    looked, proof = asyncio.run(_prove(ports, scope, now))
    by_leaf = _files_by_leaf(sites, found_lineages, now)
    found_ports = tuple(
        replace(each, files=by_leaf.get(each.leaf.sha256, ())) if each.leaf is not None else each for each in looked
    )
    unread = [sentence("{}: {}", printable(path, 4096), why) for path, why in (*general.unread.items(), *faults)]
    return Survey(
        found_ports,
        tuple(_with_unit(HostFiles(scope.root), each, found_ports) for each in proof.noted(sites)),
        tuple(found_lineages),
        tuple(trusted_stores(general)),
        tuple(not_understood),
        tuple(dict.fromkeys((*_late(proof, scope), *_unseen(opened, general, scope), *unread))),
    )


def _configured(
    root: str, now: float, known: list[Lineage]
) -> tuple[list[FoundSite], list[tuple[ServerSoftware, str, Printable]], list[tuple[str, Printable]]]:
    """Return the sites that configurations name, what is not understood of them, and what could not be read."""
    sites: list[FoundSite] = []
    odd: list[tuple[ServerSoftware, str, Printable]] = []
    faults: list[tuple[str, Printable]] = []
    for software, read in READERS.items():
        files = HostFiles(root)
        reading = read(files)
        faults += files.unread.items()
        odd += [(software, each.file, each.why) for each in reading.not_understood]
        doubts = [sentence("{}", why) for why in files.doubts.values()]
        for site in reading.sites[:_MOST_SITES]:
            # Who named them may be curious about files that are closed to him: nothing is told of these.
            named = (site.files.certificate,) if doubts else (site.files.certificate, site.files.key, site.files.chain)
            paths = [each for each in named if each]
            own = [why for path in dict.fromkeys(paths) if (why := files.doubt(path)) is not None]
            main = next((each for each in reading.main if site.file == each), (reading.main or [site.file])[0])
            sites.append(
                FoundSite(
                    software,
                    site,
                    _leaf_of(site.files.certificate, now),
                    FoundUnit(None),
                    main,
                    lineage=next((found for path in paths if (found := lineage_of(path, known))), None),
                    untrusted=tuple(dict.fromkeys((*doubts, *own))),
                )
            )
    return sites, odd, faults


def _leaf_of(path: str, now: float) -> Certificate | None:
    """Return the server's certificate in a file; a private key in it is not decoded."""
    target = FileTarget(printable(path, 4096), path, FileRole.FOUND)
    seen = look_at_file(target, now, open_for_others, most_certificates=1000)
    return find_leaf(seen.certificates) if seen.certificates else None


def _files_by_leaf(sites: Iterable[FoundSite], known: Iterable[Lineage], now: float) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in sites:
        if each.certificate is not None:
            path = each.site.files.certificate
            found[each.certificate.sha256] = tuple(dict.fromkeys((*found.get(each.certificate.sha256, ()), path)))
    for lineage in known:
        leaf = _leaf_of(lineage.files.certificate, now)
        if leaf is not None:
            found[leaf.sha256] = tuple(dict.fromkeys((*found.get(leaf.sha256, ()), lineage.files.certificate)))
    return found


def _with_sites(opened: OpenPorts, sites: Sequence[FoundSite]) -> list[_Port]:
    """Return the open ports, each with the listeners that a configuration means by it."""
    by_port: dict[int, list[tuple[ConfiguredListener, FoundSite]]] = {}
    for site in sites:
        for listener in site.site.listeners:
            by_port.setdefault(listener.port, []).append((listener, site))
    return [
        _Port(
            each,
            opened.holders.get(each.inode, _UNKNOWN),
            tuple(one for one in by_port.get(each.port, ()) if _means(one[0], each)),
        )
        for each in opened.sockets
    ]


def _means(listener: ConfiguredListener, opened: ListeningSocket) -> bool:
    """Whether a listener of this port may be at its address."""
    everywhere = opened.address in {"0.0.0.0", "::"}  # noqa: S104 (compared with)
    return everywhere or not is_ip_address(listener.host) or listener.host in {ANY_ADDRESS, opened.address}


class _Look(NamedTuple):
    protocol: EndpointProtocol
    proxied: bool


class _Proof:
    """Where each site was seen, by its place in the list of sites."""

    def __init__(self) -> None:
        self.served: dict[int, list[SeenAt]] = {}
        self.differs: dict[int, list[SeenAt]] = {}
        self.late: set[ListeningSocket] = set()
        """Ports for which no time was left."""

    def noted(self, sites: Sequence[FoundSite]) -> list[FoundSite]:
        """Return the sites with the places."""
        return [
            replace(
                each,
                served_at=tuple(sorted(self.served.get(id(each), ()), key=_by_port)),
                differs_at=tuple(sorted(self.differs.get(id(each), ()), key=_by_port)),
            )
            for each in sites
        ]


def _by_port(place: SeenAt) -> tuple[int, str]:
    return place.port, place.address


async def _prove(ports: Sequence[_Port], scope: SurveyScope, now: float) -> tuple[list[FoundPort], _Proof]:
    room, proof = asyncio.Semaphore(_AT_ONCE), _Proof()
    end = time.monotonic() + scope.patience

    async def presented(port: _Port, how: _Look, name: str | None, key: KeyKind | None = None) -> Presented | None:
        endpoint = Endpoint(
            name="",
            host=port.socket.reachable,
            port=port.socket.port,
            server_name=name,
            timeout=scope.timeout,
            key_types=() if key is None else (key,),
            protocol=how.protocol,
            proxy_protocol=ProxyProtocolVersion.V1 if how.proxied else None,
        )
        async with room:
            if time.monotonic() >= end:
                proof.late.add(port.socket)
                return None
            seen = await look(endpoint, now)
        return next(iter(seen.presented), None)

    async def one(port: _Port) -> FoundPort:
        for how in _ways(port):
            # XMPP asks a host by its name.
            named = next((name for _, site in port.configured if (name := name_for(site)) is not None), None)
            first = await presented(port, how, named if how.protocol in _BY_NAME else None)
            if first is not None and first.chain:
                await asyncio.gather(*(compare(port, how, site) for site in _sites_of(port, how)))
                return FoundPort(
                    port.socket, port.holder, how.protocol, how.proxied, first.chain[0], software=_software(port)
                )
        return FoundPort(port.socket, port.holder, None, software=_software(port))

    async def compare(port: _Port, how: _Look, site: FoundSite) -> None:
        if site.certificate is None:
            return
        name = name_for(site)
        seen = await presented(port, how, name)
        key = None
        if seen is not None and not _is(seen, site) and site.certificate.key.kind in _OTHER:
            # Another type of key of the same site may have been chosen.
            key = site.certificate.key.kind
            seen = await presented(port, how, name, key)
        if seen is None:
            return
        fits = _is(seen, site)
        place = SeenAt(port.socket.reachable, port.socket.port, how.protocol, how.proxied, name, key if fits else None)
        (proof.served if fits else proof.differs).setdefault(id(site), []).append(place)

    # What nobody configured may be anybody's, and waits.
    configured = await asyncio.gather(*(one(each) for each in ports if each.configured))
    others = sorted((each for each in ports if not each.configured), key=lambda each: each.socket.user != 0)
    found = [*configured, *await asyncio.gather(*map(one, others))]
    _pair(proof)
    return sorted(found, key=lambda each: (each.socket.port, each.socket.address)), proof


_BY_NAME: Final = frozenset({EndpointProtocol.XMPP, EndpointProtocol.XMPP_SERVER})
_OTHER: Final = {KeyKind.RSA: KeyKind.EC, KeyKind.EC: KeyKind.RSA}
"""The types of keys by which a server may have two certificates for one name."""


def _pair(proof: _Proof) -> None:
    """Give both sites of a pair of keys their type, where one of them was found by asking for it."""
    every = [each for places in proof.served.values() for each in places]
    other = {each._replace(key_type=None): _OTHER[each.key_type] for each in every if each.key_type is not None}
    for places in proof.served.values():
        places[:] = [each._replace(key_type=each.key_type or other.get(each)) for each in places]


def _ways(port: _Port) -> list[_Look]:
    """Return what to try at a port: what a configuration says, what is usual there, and TLS at once."""
    ways = [_Look(listener.protocol, listener.proxy_protocol) for listener, _ in port.configured]
    return list(dict.fromkeys((*ways, *(_Look(each, proxied=False) for each in likely_protocols(port.socket.port)))))


def _sites_of(port: _Port, how: _Look) -> list[FoundSite]:
    sites = {id(site): site for listener, site in port.configured if listener.protocol is how.protocol}
    return list(sites.values())


_INTERPRETERS: Final = frozenset({"java", "lua5.4", "lua5.3", "lua5.2"})


def _software(port: _Port) -> ServerSoftware | None:
    """Return the server behind a port, by the name of its process, or else by the only configuration that means it."""
    program = port.holder.program
    named = [software for software, each in SERVES.items() if program in each.programs]
    meant = {site.software for _, site in port.configured}
    # The name of an interpreter alone does not tell the server.
    if len(named) == 1 and (named[0] in meant or not (meant or program in _INTERPRETERS)):
        return named[0]
    return next(iter(meant)) if len(meant) == 1 else None


def _is(seen: Presented, site: FoundSite) -> bool:
    return bool(seen.chain) and site.certificate is not None and seen.chain[0].sha256 == site.certificate.sha256


def name_for(site: FoundSite) -> str | None:
    """Return the name by which a site is asked for: its own, or one of its certificate; None where there is none."""
    own = [each.replace("*", "www", 1) if each.startswith("*.") else each for each in site.site.names]
    certified = [] if site.certificate is None else site.certificate.names
    names = [each.removeprefix("DNS:") for each in certified if each.startswith("DNS:")]
    plain = [each for each in names if not each.startswith("*")]
    wild = [each.replace("*", "www", 1) for each in names if each.startswith("*.")]
    return next((each for each in (*own, *plain, *wild) if is_dns_name(each) and "_" not in each), None)


def _with_unit(files: HostFiles, site: FoundSite, ports: Sequence[FoundPort]) -> FoundSite:
    """Return the site with the unit of the process that serves it, and the place of that."""
    at = {(each.address, each.port) for each in (*site.served_at, *site.differs_at)}
    holders = [each.holder for each in ports if (each.socket.reachable, each.socket.port) in at]
    places = {each.place for each in holders}
    units = {each.unit for each in holders if each.unit is not None}
    place = next(iter(places)) if len(places) == 1 else ProcessPlace.UNKNOWN
    if place in {ProcessPlace.SYSTEM, ProcessPlace.HOST} and len(units) < 2:
        told = next(iter(units), None)
        return replace(site, unit=find_unit(files, site.software, told, site.main), place=place)
    why = Printable("several processes hold its ports") if len(places | units) > 1 else _WHY_NO_UNIT[place]
    return replace(site, unit=FoundUnit(None, why), place=place)


_WHY_NO_UNIT: Final = {
    ProcessPlace.USER: Printable("its process belongs to a user's session or unit"),
    ProcessPlace.ELSEWHERE: Printable("its process runs in a container or in another namespace"),
    ProcessPlace.UNKNOWN: Printable("this user does not see which process serves it, or none does"),
    ProcessPlace.SYSTEM: Printable("several units hold its ports"),
    ProcessPlace.HOST: Printable("several processes hold its ports"),
}


def _late(proof: _Proof, scope: SurveyScope) -> Iterator[Printable]:
    if proof.late:
        ports = listed([each.port for each in sorted(proof.late, key=lambda each: each.port)][:20])
        yield sentence(
            "what {} ports speak, for which no time was left within {} seconds (`--port` looks at one alone): {}{}",
            len(proof.late),
            round(scope.patience),
            ports,
            Printable(", ..." if len(proof.late) > 20 else ""),
        )


def _unseen(opened: OpenPorts, files: HostFiles, scope: SurveyScope) -> list[Printable]:
    """Return what cannot be seen from here, as sentences."""
    told = [sentence("open ports, since {} cannot be read", printable(each)) for each in opened.unread]
    told += (sentence("open ports behind the first {} lines of {}", MOST_LINES, printable(each)) for each in opened.cut)
    if opened.unseen_processes and os.geteuid():
        told.append(
            sentence(
                "{} processes of other users, the ports that they hold, and other network namespaces: root sees them",
                opened.unseen_processes,
            )
        )
    elif opened.unseen_processes:
        told.append(sentence("processes that are closed even to this root: {}", opened.unseen_processes))
    for process, ports in opened.elsewhere.items():
        told.append(
            sentence(
                "the ports of the network namespace of process {}, which are not looked at: {}",
                process,
                listed(ports[:20]),
            )
        )
    if scope.only:
        told.append(sentence("other ports than {}, as it was asked for", listed(sorted(scope.only))))
    if scope.skipped:
        told.append(sentence("the ports {}, as it was asked for", listed(sorted(scope.skipped))))
    if any(files.exists(files.located(each)) for each in _CONTAINER):
        told.append(Printable("ports, files and services of the host of this container"))
    if not files.is_directory(files.located(_RUNS)):
        told.append(
            Printable("units that run, since systemd does not run here: a unit is told by the files of the system")
        )
    if os.geteuid():
        told.append(Printable("private keys and closed directories, since this is not root"))
    return told
