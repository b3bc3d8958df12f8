"""A small appliance on loopback: its own CA, four components on real servers where these are installed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Final, Self

from config.immutable import immutable
from monitor.lab.ca import DAY, Authority, Issued, bundle
from monitor.lab.process import LabError, find_command, free_address
from monitor.lab.servers import Lighttpd, LocalServer, Nginx, Server, Site, replace_file, write_site

NAME: Final = "appliance.example.com"
GRACE: Final = "0.3s"
"""How long a new certificate may lie on disk unserved: short, so that the demonstration is."""


@immutable
class Part:
    """One component: its server, and the files it serves."""

    server: Server
    site: Site

    @property
    def server_name(self) -> str:
        """What people call its server."""
        known = isinstance(self.server, Nginx | Lighttpd)
        return type(self.server).__name__.lower() if known else "its server"

    def serve(self, issued: Issued) -> None:
        """Install `issued` and have it served."""
        self.site.install(issued)
        self.server.reload()


class Appliance:
    """Web console, portal, engine and collector, in files below `directory`; they run inside the `with` block."""

    def __init__(self, directory: str, listen: str | None = None, *, changeable: bool = False) -> None:
        """Have its daemon answer HTTP at `listen` (`host:port`), or at an address of its own on loopback.

        Where it is `changeable`, an actor may replace the certificates of console and portal. The console's server then
        reads its chain from another file than the component's, as somebody once left it: the same, as yet.
        """
        self.directory = directory
        self.root = Authority.root("Corporate Root CA")
        self.issuing = self.root.intermediate("Corporate Issuing CA 3")
        self.federation = Authority.root("Appliance Federation CA")
        self.parts: dict[str, Part] = {}
        self._running = ExitStack()
        self.web = listen or "{}:{}".format(*free_address())
        self._changeable = frozenset({"console", "portal"}) if changeable else frozenset()
        self.config_file = os.path.join(directory, "certvigil.yaml")
        self.socket = os.path.join(directory, "certvigil.sock")
        self.actor_socket = os.path.join(directory, "actor.sock")

    def __enter__(self) -> Self:
        self._write("corporate.pem", bundle([self.root]))
        self._write("federation.pem", bundle([self.federation]))
        for component, server in self._servers().items():
            issued = self.federation.issue(NAME) if component == "collector" else self.issue()
            separate = server is Lighttpd or (component == "console" and component in self._changeable)
            site = write_site(os.path.join(self.directory, component), issued, separate_chain=separate)
            read = self._left_behind(site, issued) if component == "console" and component in self._changeable else site
            self.parts[component] = Part(self._running.enter_context(self._server(server, component, read)), site)
        if self._changeable:
            previous = signal.signal(signal.SIGUSR1, lambda *_: self._reload_here())
            self._running.callback(signal.signal, signal.SIGUSR1, previous)
        self._write("certvigil.yaml", json.dumps(self.config(), indent=2).encode())
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _left_behind(self, site: Site, issued: Issued) -> Site:
        """Return the files of a server whose configuration names another chain than its component does."""
        chain = os.path.join(os.path.dirname(site.certificate), "intermediate.pem")
        replace_file(chain, bundle(issued.chain[1:]))
        return replace(site, chain=chain)

    def _reload_here(self) -> None:
        """Have the servers in this process serve their files as they are now."""
        for part in self.parts.values():
            if isinstance(part.server, LocalServer):
                # A server that cannot goes on with the old ones, as others do.
                with suppress(LabError):
                    part.server.reload()

    def inbox(self, component: str) -> str:
        """Return the directory in which candidates for a component are put."""
        return os.path.join(self.directory, "inbox", component)

    def issue(self, lifetime: float = 90 * DAY) -> Issued:
        """Return a new certificate that ends in `lifetime` seconds."""
        return self.issuing.issue(NAME, not_after=int(time.time() + lifetime))

    def config(self) -> dict[str, object]:
        """Return the configuration under which all of it is watched, as it would be written in YAML."""
        return {
            **(self._acting() if self._changeable else {}),
            "state_directory": os.path.join(self.directory, "state"),
            "socket": self.socket,
            "rescan": "30s",
            "web": {"listen": [self.web]},
            "trust_stores": {
                "corporate": {"bundle": os.path.join(self.directory, "corporate.pem")},
                "federation": {"bundle": os.path.join(self.directory, "federation.pem")},
            },
            "clients": {
                "browser": {"trusts": "corporate", "verifier": "webpki"},
                "finder": {"trusts": "corporate"},
                "collector-client": {"trusts": "federation"},
            },
            "components": {name: self._component(name, part) for name, part in self.parts.items()},
        }

    def _acting(self) -> Mapping[str, object]:
        actor = {
            "socket": self.actor_socket,
            "directory": os.path.join(self.directory, "actor"),
            "inbox_directory": os.path.join(self.directory, "inbox"),
            "require_synchronised_clock": False,
        }
        return {"actor": actor, "validation": {"successes": 2, "interval": "0.2s", "deadline": "6s", "handshakes": 2}}

    def _component(self, name: str, part: Part) -> Mapping[str, object]:
        artefacts = {"certificate": part.site.certificate, "key": part.site.key}
        if part.site.chain:
            artefacts["chain"] = part.site.chain
        return {
            "artefacts": artefacts,
            "endpoints": [{"address": part.server.address, "name": NAME, "every": "0.5s"}],
            "clients": ["collector-client"] if name == "collector" else ["browser", "finder"],
            "not_served_after": GRACE,
            **({"service": part.server.service, "mode": "observe"} if name in self._changeable else {}),
        }

    def _servers(self) -> dict[str, type[Server]]:
        nginx: type[Server] = Nginx if find_command("nginx") else LocalServer
        lighttpd: type[Server] = Lighttpd if find_command("lighttpd") else LocalServer
        return {"console": lighttpd, "portal": nginx, "engine": nginx, "collector": LocalServer}

    def _server(self, server: type[Server], component: str, site: Site) -> Server:
        if issubclass(server, Lighttpd | Nginx):
            return server(os.path.join(self.directory, component, "server"), [site])
        return server([site])

    def _write(self, name: str, data: bytes) -> None:
        with open(os.open(os.path.join(self.directory, name), os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.write(data)
