"""A Nexthink V6 appliance below a directory of its own, laid out as the profile describes it, with servers that run."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Final, Self

from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

from config.vocabulary import ApplianceRole, TLSVersion
from monitor.lab.ca import DAY, Authority, Issued, KeyType, bundle, new_key, self_signed
from monitor.lab.process import LabError, find_command, free_address
from monitor.lab.servers import Lighttpd, LocalServer, Nginx, Server, Site, TLSSettings, replace_file

EXTERNAL: Final = "appliance.example.com"
INTERNAL: Final = "appliance.corp.local"
MEMBERS: Final[Mapping[ApplianceRole, Sequence[str]]] = {
    ApplianceRole.PRIMARY: ("console", "portal"),
    ApplianceRole.SECONDARY: ("console", "engine"),
    ApplianceRole.SINGLE: ("console", "portal", "engine"),
}
"""The components of each role, whose group has the name of the role."""

_CONSOLE: Final = "var/nexthink/console/etc"
_PORTAL: Final = "var/nexthink/nxnginx/ssl"
_ENGINE: Final = "var/nexthink/engine/common/etc"
_BACKUP: Final = "var/nexthink/console/certificates/backup"
_CACERTS: Final = "usr/java/default/jre/lib/security/cacerts"
_BUNDLE: Final = f"{_ENGINE}/ca-bundle.crt"
_LIGHTTPD: Final = f"{_CONSOLE}/lighttpd-console.conf"
_XML: Final = "var/nexthink/engine/01/etc/nxengine.xml"
_SWITCHES: Final = "var/nexthink/portal/conf/portal.conf"
_CUSTOMER_KEY: Final = "var/nexthink/engine/common/etc/customer.key"
_NXENGINE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<nxengine>
  <!-- Written by the appliance. -->
  <ssl>
    <certificate_file>{root}/var/nexthink/engine/common/etc/certificate.pem</certificate_file>
    <private_key_file>{root}/var/nexthink/engine/common/etc/key.pem</private_key_file>
  </ssl>
</nxengine>
"""
_PORTAL_CONF: Final = b"globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems=true\n"
_NAMED_CHAIN: Final = re.compile(
    r'^ssl\.ca-file\s*=\s*"([^"]+)"|<certificate_chain_file>([^<]+)</certificate_chain_file>', re.MULTILINE
)
_BESIDE: Final = re.compile(r"\..+\.\d{8}t\d{6}-[0-9a-f]{8}\.old")
_RSA_ONLY: Final = TLSSettings(TLSVersion.TLS1_2, TLSVersion.TLS1_2, "ECDHE+aRSA")
"""A Web Console takes no more than TLS 1.2; this one has no cipher for an EC key."""


class StandIn(LocalServer):
    """A server in this process that sends the chain which a configuration file names, read anew at each reload."""

    def __init__(self, site: Site, config_file: str, tls: TLSSettings) -> None:
        super().__init__([site], tls)
        self._config_file = config_file

    def _context(self, site: Site) -> ssl.SSLContext:
        with open(self._config_file, encoding="utf-8") as file:
            named = _NAMED_CHAIN.search(file.read())
        return super()._context(replace(site, chain=named and (named[1] or named[2])))


class LaidOutAppliance:
    """The components of a role with the certificate of their installation; the servers run inside the `with` block.

    Web Console and Portal are lighttpd and nginx where these are installed; a server in this process stands for the
    Engine, and for those that are not.
    """

    def __init__(self, directory: str, role: ApplianceRole, listen: str | None = None) -> None:
        """Have its daemon answer HTTP at `listen` (`host:port`), or at an address of its own on loopback."""
        self.directory = directory
        self.role = role
        self.root = directory
        self.web = listen or "{}:{}".format(*free_address())
        self.config_file = f"{directory}/certvigil.yaml"
        self.socket = f"{directory}/certvigil.sock"
        self.actor_socket = f"{directory}/actor.sock"
        self.corporate = Authority.root("Corporate Root CA")
        self.issuing = self.corporate.intermediate("Corporate Issuing CA 3")
        self.default = self_signed(EXTERNAL, key=KeyType.RSA2048, not_after=time.time() + 3650 * DAY)
        """The certificate from the installation."""
        self.earlier = self.issuing.issue(*self.names, key=KeyType.RSA2048, not_before=time.time() - 30 * DAY)
        """An own certificate that was in use once."""
        self.sets = tuple(time.strftime("%Y%m%d", time.gmtime(time.time() - ago * DAY)) for ago in (300, 30))
        """The dates of the backup sets that the appliance has kept itself: of `default`, and of `earlier`."""
        self.servers: dict[str, tuple[Server, ...]] = {}
        self._running = ExitStack()

    @property
    def members(self) -> Sequence[str]:
        """The components."""
        return MEMBERS[self.role]

    @property
    def has_engine(self) -> bool:
        """Whether there is an Engine."""
        return "engine" in self.members

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients connect by; the internal one is the Portal's, as client of the Engine."""
        return (EXTERNAL, INTERNAL) if self.has_engine else (EXTERNAL,)

    def path(self, below: str) -> str:
        """Return the path of a file of the appliance."""
        return f"{self.root}/{below}"

    def lines(self) -> Mapping[str, str]:
        """Return for each component that has one the configuration file that may name its chain."""
        files = {"console": self.path(_LIGHTTPD), "engine": self.path(_XML)}
        return {name: path for name, path in files.items() if name in self.members}

    def names_chain(self, name: str) -> bool:
        """Whether the configuration of a component names its chain."""
        with open(self.lines()[name], encoding="utf-8") as file:
            return _NAMED_CHAIN.search(file.read()) is not None

    def files(self) -> Mapping[str, bytes]:
        """Return what the files hold that a replacement may change; a missing one is left out."""
        return {path: _read(path) for path in sorted(self._declared()) if os.path.exists(path)}

    def untouched(self) -> Mapping[str, str]:
        """Return the hash of every other file of the appliance: the Customer Key, the trust stores, the backup sets.

        The old files that certvigil keeps beside the new ones are of no appliance.
        """
        found = {
            os.path.join(directory, name)
            for top in ("usr", "var")
            for directory, _, names in os.walk(self.path(top))
            for name in names
            if not _BESIDE.fullmatch(name)
        } - self._declared()
        return {path: hashlib.sha256(_read(path)).hexdigest() for path in sorted(found)}

    def served(self) -> Mapping[str, bytes]:
        """Return for each endpoint the certificate (DER) that a handshake of our own gets."""
        return {
            f"{name}/{server.address}": ssl.PEM_cert_to_DER_cert(
                ssl.get_server_certificate((server.host, server.port), timeout=5.0)
            )
            for name, servers in self.servers.items()
            for server in servers
        }

    def renewed(self, key: KeyType) -> bytes:
        """Return a new certificate with its chain and a fresh key of that kind, in one file."""
        issued = self.issuing.issue(*self.names, key=new_key(key))
        return issued.chain_pem() + issued.key_pem()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        replace_file(f"{self.directory}/corporate.pem", self.corporate.pem())
        self._lay_out()
        for name in self.members:
            self.servers[name] = tuple(self._running.enter_context(each) for each in self._servers(name))
        previous = signal.signal(signal.SIGUSR1, lambda *_: self._reload_here())
        self._running.callback(signal.signal, signal.SIGUSR1, previous)
        replace_file(self.config_file, json.dumps(self.config(), indent=2).encode())

    def _reload_here(self) -> None:
        for server in self._each():
            if isinstance(server, LocalServer):
                # A server that cannot goes on with the old files, as others do.
                with suppress(LabError):
                    server.reload()

    def _each(self) -> Iterator[Server]:
        for servers in self.servers.values():
            yield from servers

    # Files

    def _declared(self) -> set[str]:
        names = {
            "console": (f"{_CONSOLE}/certificate.pem", f"{_CONSOLE}/intermediate.crt", _LIGHTTPD),
            "portal": (f"{_PORTAL}/nginx.crt", f"{_PORTAL}/nginx.key"),
            "engine": (*(f"{_ENGINE}/{each}" for each in ("certificate.pem", "key.pem", "intermediate.crt")), _XML),
        }
        return {self.path(each) for name in self.members for each in names[name]}

    def _lay_out(self) -> None:
        default = self.default
        content: dict[str, bytes] = {f"{_CONSOLE}/certificate.pem": default.pem() + default.key_pem()}
        if "portal" in self.members:
            content |= {f"{_PORTAL}/nginx.crt": default.pem(), f"{_PORTAL}/nginx.key": default.key_pem()}
            content |= {_SWITCHES: _PORTAL_CONF, _CACERTS: self._cacerts()}
        if self.has_engine:
            content |= {f"{_ENGINE}/certificate.pem": default.pem(), f"{_ENGINE}/key.pem": default.key_pem()}
            content |= {_XML: _NXENGINE.format(root=self.root).encode(), _BUNDLE: self.corporate.pem()}
            content |= {_CUSTOMER_KEY: os.urandom(64)}
        for date, issued in zip(self.sets, (self.default, self.earlier), strict=True):
            content |= self._kept(date, issued)
        for below, data in content.items():
            os.makedirs(os.path.dirname(self.path(below)), exist_ok=True)
            replace_file(self.path(below), data, 0o600 if b"PRIVATE KEY" in data or below == _CUSTOMER_KEY else 0o644)

    def _kept(self, date: str, issued: Issued) -> dict[str, bytes]:
        """Return a backup set as the appliance's own console keeps it; a set without a chain has no file for it."""
        chain = bundle(issued.chain[1:]) if issued.issuer else b""
        both = {
            "console-certificate.pem": issued.pem() + issued.key_pem(),
            "console-intermediate.crt": chain,
            "portal-nginx.crt": issued.pem() + chain,
            "portal-nginx.key": issued.key_pem(),
            "engine-certificate.pem": issued.pem(),
            "engine-key.pem": issued.key_pem(),
            "engine-intermediate.crt": chain,
        }
        return {
            f"{_BACKUP}/{date}-{name}": data
            for name, data in both.items()
            if data and name.partition("-")[0] in self.members
        }

    def _cacerts(self) -> bytes:
        root = PKCS12Certificate(self.corporate.certificate, b"corporate-root")
        return serialize_java_truststore([root], NoEncryption())

    # Servers

    def _servers(self, name: str) -> Sequence[Server]:
        run = f"{self.directory}/run/{name}"
        if name == "console":
            path = self.path(f"{_CONSOLE}/certificate.pem")
            if find_command("lighttpd"):
                server = Lighttpd(run, [Site(path, path)], _RSA_ONLY)
                server.config_file = self.path(_LIGHTTPD)
                return (server,)
            replace_file(self.path(_LIGHTTPD), f'ssl.engine = "enable"\nssl.pemfile = "{path}"\n'.encode())
            return (StandIn(Site(path, path), self.path(_LIGHTTPD), _RSA_ONLY),)
        if name == "portal":
            site = Site(self.path(f"{_PORTAL}/nginx.crt"), self.path(f"{_PORTAL}/nginx.key"))
            return (Nginx(run, [site]) if find_command("nginx") else LocalServer([site]),)
        site = Site(self.path(f"{_ENGINE}/certificate.pem"), self.path(f"{_ENGINE}/key.pem"))
        # On a single appliance port 443 is the Portal's.
        ports = 2 if self.role is ApplianceRole.SECONDARY else 1
        return tuple(StandIn(site, self.path(_XML), TLSSettings()) for _ in range(ports))

    # Configuration

    def config(self) -> dict[str, object]:
        """Return the configuration, as it would be written in YAML: the profile, and what is of this host alone."""
        internal = {"internal_name": INTERNAL} if self.has_engine else {}
        return {
            "profile": "nexthink-v6",
            "appliance": {"role": str(self.role), "root": self.root, "external_name": EXTERNAL, **internal},
            "actor": {
                "socket": self.actor_socket,
                "directory": f"{self.directory}/actor",
                "inbox_directory": f"{self.directory}/inbox",
                "group": grp.getgrgid(os.getegid()).gr_name,
                "require_synchronised_clock": False,
            },
            "state_directory": f"{self.directory}/state",
            "socket": self.socket,
            "rescan": "30s",
            "web": {"listen": [self.web]},
            "validation": {"successes": 2, "interval": "0.2s", "deadline": "6s", "handshakes": 2},
            "trust_stores": self._trust_stores(),
            "components": {name: self._component(name) for name in self.members},
        }

    def _trust_stores(self) -> Mapping[str, object]:
        stores = {"outsiders": {"bundle": f"{self.directory}/corporate.pem"}}
        # No services run here that have read these.
        if "portal" in self.members:
            stores["portal-cacerts"] = {"bundle": self.path(_CACERTS)}
        if self.has_engine:
            stores["engine-ca-bundle"] = {"bundle": self.path(_BUNDLE)}
        return stores

    def _component(self, name: str) -> Mapping[str, object]:
        """Return what differs from the profile: ports that anybody may listen on, and services that are no units."""
        servers = self.servers[name]
        endpoints: list[dict[str, object]] = [
            {"address": each.address, "server_name": EXTERNAL, "every": "0.5s"} for each in servers
        ]
        if name == "portal":
            endpoints[0]["own_certificate"] = "mandatory"
        if name == "engine":
            endpoints[-1]["clients"] = ["web-api", "portal"]
        if len(endpoints) > 1:
            endpoints[0] |= {"clients": ["collector"], "own_certificate": "mandatory"}
        return {"endpoints": endpoints, "service": servers[0].service}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
