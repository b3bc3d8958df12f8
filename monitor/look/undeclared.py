"""Open ports of this host with TLS that the configuration does not declare: each is looked at once, and reported.

A port is looked at when it was open at two looks in a row. It is forgotten when it is closed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Final

from config.address import is_ip_address, join_address, split_address
from config.model import Config, Endpoint
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, EndpointProtocol
from monitor.state.registry import TargetRegistry
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.time import moment
from probes.listening import ListeningSocket, likely_protocols, open_ports
from probes.tls.drive import look

_PATIENCE: Final = 2.0
"""Seconds for a handshake with a port of this host."""
_MOST: Final = 50
"""New ports that are looked at in one round, and findings."""
_Place = tuple[str, int]
"""The address and the port of a socket."""
_NO_INODE: Final = -1
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with)


class UndeclaredPorts:
    """Reports the undeclared ports of this host."""

    def __init__(
        self, registry: TargetRegistry, report: Callable[[Iterable[Finding]], None], threads: Executor
    ) -> None:
        self._registry = registry
        self._report = report
        self._threads = threads
        self._before: frozenset[_Place] = frozenset()
        self._looked: dict[_Place, tuple[int, Finding | None]] = {}
        """By the inode of the socket: a service that starts again opens another one at the same place."""
        self._remembered: dict[str, Finding] = {}
        self._changed = asyncio.Event()

    def remember(self, itself: TargetState | None) -> tuple[Finding, ...]:
        """Return the findings that the state of certvigil has from before; one holds while its port stays open."""
        raised = () if itself is None else itself.findings.values()
        found = [each.finding for each in raised if each.finding.code is Code.UNDECLARED_ENDPOINT]
        self._remembered = {each.subject: each for each in found}
        return tuple(found)

    def reconfigure(self) -> None:
        """Go by another configuration at once."""
        self._changed.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            config = self._registry.config
            if config.settings.undeclared.report:
                await self._round(config)
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next look; what another configuration declares meanwhile is no longer reported."""
        end = time.monotonic() + self._registry.config.settings.undeclared.every
        while (left := end - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
                self._changed.clear()
                self._tell(self._registry.config)
                end = min(end, time.monotonic() + self._registry.config.settings.undeclared.every)

    def _tell(self, config: Config) -> None:
        """Report what was found, as far as a configuration has it reported."""
        reports, declared = config.settings.undeclared.report, DeclaredPorts(config)
        kept = {place: each for place, each in self._looked.items() if reports and not declared.has(place)}
        self._looked = kept
        found = [each for _, each in kept.values() if each is not None]
        self._report(found[:_MOST])

    async def _round(self, config: Config) -> None:
        opened = await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(open_ports, with_holders=False)
        )
        declared, places = DeclaredPorts(config), {(each.address, each.port): each for each in opened.sockets}
        sockets = {place: each for place, each in places.items() if not declared.has(place)}
        self._looked = {each: looked for each, looked in self._looked.items() if each in sockets}
        for each in sockets:
            if (before := self._remembered.pop(_subject(each), None)) is not None:
                # It is looked at like a new one, and reported meanwhile.
                self._looked[each] = _NO_INODE, before
        self._remembered.clear()
        lasting, self._before = self._before & sockets.keys(), frozenset(sockets)
        new = [each for each in sorted(lasting) if self._looked.get(each, (_NO_INODE, None))[0] != sockets[each].inode]
        for each in new[:_MOST]:
            self._looked[each] = sockets[each].inode, await self._look(sockets[each])
        self._tell(config)

    async def _look(self, opened: ListeningSocket) -> Finding | None:
        """Return the finding about a port; None where it shows no TLS."""
        for protocol in likely_protocols(opened.port):
            endpoint = Endpoint("", opened.reachable, opened.port, timeout=_PATIENCE, protocol=protocol)
            seen = await look(endpoint, time.time())
            if seen.presented and seen.presented[0].chain:
                return undeclared(opened, protocol, seen.presented[0].chain[0])
        return None


def undeclared(opened: ListeningSocket, protocol: EndpointProtocol, leaf: Certificate) -> Finding:
    """Return the finding about a port that speaks TLS."""
    address = _subject((opened.address, opened.port))
    ends = sentence("until {}", moment(leaf.not_after)) if leaf.not_after is not None else sentence("without an end")
    detail = sentence("{} ({}) presents {}, {}, and is not declared", address, protocol, harmless(leaf.title), ends)
    return finding(Code.UNDECLARED_ENDPOINT, detail, address)


def _subject(place: _Place) -> Printable:
    return printable(join_address(*place))


class DeclaredPorts:
    """The ports that are endpoints of a configuration, certvigil's own, or left out."""

    def __init__(self, config: Config) -> None:
        settings = config.settings
        own = (split_address(each) for each in settings.web.listen)
        declared = [*own, *((each.host, each.port) for each in config.endpoints.values() if each.proxy is None)]
        declared += [(each.host, each.port) for each in config.not_tls]
        self._whole = set(settings.undeclared.exclude_ports)
        """The ports that are declared at any address."""
        self._hosts: dict[int, set[str]] = {}
        """The declared IP addresses of each port, as they are written and without a zone."""
        for host, port in declared:
            # A name may be any address, and counts.
            if not is_ip_address(host) or host in _EVERYWHERE:
                self._whole.add(port)
            else:
                self._hosts.setdefault(port, set()).update((host, host.partition("%")[0]))

    def has(self, place: _Place) -> bool:
        """Whether an open port is one of these."""
        address, port = place
        hosts = self._hosts.get(port, set())
        if port in self._whole or address in hosts:
            return True
        return address in _EVERYWHERE and any(map(_is_own, hosts))


def _is_own(address: str) -> bool:
    """Whether an IP address is one of this host: nobody can bind to that of another."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as unconnected:
            unconnected.bind((address, 0))
    except OSError:
        return False
    return True
