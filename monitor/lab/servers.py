"""TLS servers on loopback: nginx, lighttpd, and one inside this process that presents whatever it is given."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final, Self

from config.address import join_address
from config.immutable import immutable
from config.vocabulary import TLSVersion
from monitor.lab.ca import Issued, bundle
from monitor.lab.process import LabError, ServerProcess, accepts, find_command, free_address, run_test

_DEFAULT_NAME: Final = "_"


@immutable
class Site:
    """The files that a server presents to those who ask for `name`, or to everyone else where that is None."""

    certificate: str
    """Holds the chain as well, unless `chain` has it."""
    key: str
    chain: str | None = None
    """Not for nginx."""
    name: str | None = None

    def install(self, issued: Issued, *, mode: int = 0o644) -> None:
        """Replace the files by `issued`, each at once; a server goes on serving the old ones until it reloads."""
        replace_file(self.key, issued.key_pem(), 0o600)
        if self.chain is None:
            replace_file(self.certificate, issued.chain_pem(), mode)
        else:
            replace_file(self.certificate, issued.pem(), mode)
            replace_file(self.chain, bundle(issued.chain[1:]), mode)


def write_site(
    directory: str, issued: Issued, *, name: str | None = None, stem: str = "site", separate_chain: bool = False
) -> Site:
    """Write `issued` to `STEM.crt`, `STEM.key` and perhaps `STEM.chain` below `directory`, made where it is missing."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, stem)
    site = Site(f"{path}.crt", f"{path}.key", f"{path}.chain" if separate_chain else None, name)
    site.install(issued)
    return site


def replace_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Put a whole new file in the place of the old one, by rename."""
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
    os.rename(new, path)


@immutable
class TLSSettings:
    """What a server negotiates; by default it also serves keys and signatures that OpenSSL finds too weak."""

    minimum: TLSVersion = TLSVersion.TLS1_2
    maximum: TLSVersion = TLSVersion.TLS1_3
    ciphers: str = "DEFAULT:@SECLEVEL=0"

    @property
    def versions(self) -> tuple[TLSVersion, ...]:
        """All versions from the lowest to the highest."""
        return tuple(each for each in TLSVersion if self.minimum.rank <= each.rank <= self.maximum.rank)


_USUAL: Final = TLSSettings()


class Server(ABC):
    """A TLS server for `sites`; as a context manager it runs inside the block, and never after it."""

    def __init__(
        self, sites: Sequence[Site], tls: TLSSettings = _USUAL, address: tuple[str, int] | None = None
    ) -> None:
        """Take the address of one's own where none is given."""
        self.sites = tuple(sites)
        self.tls = tls
        self.host, self.port = address or free_address()

    @abstractmethod
    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""

    @abstractmethod
    def reload(self) -> None:
        """Return once the files as they are now are served; raises LabError, and keeps the old, where they are bad."""

    @abstractmethod
    def stop(self) -> None:
        """End it; doing so twice is no error."""

    @property
    def address(self) -> str:
        """The address as `host:port`."""
        return join_address(self.host, self.port)

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        raise LabError(f"{type(self).__name__} cannot be told from outside to take up new files")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class BackgroundServer(Server):
    """A server in a process of its own with its configuration, log and temporary files in a directory of its own."""

    def __init__(
        self,
        directory: str,
        sites: Sequence[Site],
        tls: TLSSettings = _USUAL,
        address: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(sites, tls, address)
        self.directory = directory
        self.config_file = os.path.join(directory, "server.conf")
        self.log_file = os.path.join(directory, "error.log")
        self.process: ServerProcess | None = None

    @property
    @abstractmethod
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""

    @property
    @abstractmethod
    def _command(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _config(self) -> str: ...

    @abstractmethod
    def _activate(self, process: ServerProcess) -> None: ...

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    def _running(self) -> ServerProcess:
        if self.process is None:
            raise LabError(f"{self._command[0]} was not started")
        return self.process

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        os.makedirs(self.directory, exist_ok=True)
        replace_file(self.config_file, self._config().encode())
        replace_file(self.log_file, b"")
        self.process = process = ServerProcess(self._command, self.log_file)
        process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}")

    def reload(self) -> None:
        """Return once the files as they are now are served; raises LabError, and keeps the old, where they are bad."""
        run_test(self.test_command)
        self._activate(self._running())

    def stop(self) -> None:
        """End it; doing so twice is no error."""
        if self.process is not None:
            self.process.stop()


class Nginx(BackgroundServer):
    """nginx; two sites of the same name are an RSA and an EC pair."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("nginx", "-p", self.directory, "-c", self.config_file, "-e", self.log_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return (*self._command, "-t")

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is."""
        test = [find_command("nginx"), *self.test_command[1:]]
        reload = [*test[:-1], "-s", "reload"]
        return {"test": test, "activate": "reload", "reload": reload, "restart": reload}

    def _config(self) -> str:
        if any(site.chain for site in self.sites):
            raise LabError("nginx takes no chain in a file of its own")
        servers = "\n".join(
            self._server_block(name, list(sites))
            for name, sites in groupby(self.sites, key=lambda site: site.name or _DEFAULT_NAME)
        )
        scratch = "\n".join(
            f"    {module}_temp_path {self.directory}/{module};"
            for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""\
daemon off;
pid {self.directory}/nginx.pid;
worker_processes 1;
worker_shutdown_timeout 1s;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_timeout 5s;
{scratch}
{servers}
}}
"""

    def _server_block(self, name: str, sites: Sequence[Site]) -> str:
        pairs = "".join(
            f"        ssl_certificate {site.certificate};\n        ssl_certificate_key {site.key};\n" for site in sites
        )
        return f"""\
    server {{
        listen {self.address} ssl{" default_server" if name == _DEFAULT_NAME else ""};
        server_name {name};
        ssl_protocols {" ".join(self.tls.versions)};
        ssl_ciphers {self.tls.ciphers};
{pairs}        return 200 "ok";
    }}"""

    def _activate(self, process: ServerProcess) -> None:
        old = self._workers()
        process.signal(signal.SIGHUP)
        # Old workers accept until they leave, so the new files are served for sure only when all of them have.
        process.wait_until(lambda: (now := self._workers()) and not now & old, "new workers")

    def _workers(self) -> frozenset[str]:
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return frozenset(file.read().split())


def _signalling(pid: int, number: signal.Signals) -> Sequence[str]:
    return [sys.executable, "-I", "-c", f"import os; os.kill({pid}, {int(number)})"]


_LIGHTTPD_STARTED: Final = b"server started"


class Lighttpd(BackgroundServer):
    """lighttpd with mod_openssl."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("lighttpd", "-D", "-f", self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return ("lighttpd", "-tt", "-f", self.config_file)

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        test = [find_command("lighttpd"), *self.test_command[1:]]
        return {"test": test, "restart": _signalling(self.pid, signal.SIGUSR1)}

    def _config(self) -> str:
        sites = "\n".join(map(self._site_block, self.sites))
        return f"""\
server.document-root = "{self.directory}"
server.bind = "{self.host}"
server.port = {self.port}
server.errorlog = "{self.log_file}"
server.modules = ("mod_openssl")
server.feature-flags = ("server.graceful-shutdown-timeout" => 1)
ssl.engine = "enable"
ssl.openssl.ssl-conf-cmd = (
    "MinProtocol" => "{self.tls.minimum}",
    "MaxProtocol" => "{self.tls.maximum}",
    "CipherString" => "{self.tls.ciphers}"
)
{sites}
"""

    def _site_block(self, site: Site) -> str:
        lines = f'ssl.pemfile = "{site.certificate}"\nssl.privkey = "{site.key}"\n'
        if site.chain:
            lines += f'ssl.ca-file = "{site.chain}"\n'
        return lines if site.name is None else f'$HTTP["host"] == "{site.name}" {{\n{lines}}}\n'

    def start(self) -> None:
        """Return once the port accepts and the log says so, by which a later start is told from this one."""
        super().start()
        self._running().wait_until(self._starts, "writing its log")

    def _activate(self, process: ServerProcess) -> None:
        before = self._starts()
        process.signal(signal.SIGUSR1)
        process.wait_until(lambda: self._starts() > before and accepts(self.host, self.port), "starting again")

    def _starts(self) -> int:
        with open(self.log_file, "rb") as file:
            return file.read().count(_LIGHTTPD_STARTED)


_STDLIB_VERSION: Final = MappingProxyType(
    {
        TLSVersion.TLS1_0: ssl.TLSVersion.TLSv1,
        TLSVersion.TLS1_1: ssl.TLSVersion.TLSv1_1,
        TLSVersion.TLS1_2: ssl.TLSVersion.TLSv1_2,
        TLSVersion.TLS1_3: ssl.TLSVersion.TLSv1_3,
    }
)
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class LocalServer(Server):
    """A TLS server in threads of this process: needs nothing installed, takes a chain in any order after the leaf."""

    _tcp: _TCPServer | None = None
    shares_port = False
    """Whether others may listen on the same port, among whom the kernel then deals connections out."""

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is, in a process that reloads at SIGUSR1."""
        return {"restart": _signalling(os.getpid(), signal.SIGUSR1)}

    def start(self) -> None:
        """Return once the port accepts; raises LabError where the files cannot be served."""
        self._tcp = _TCPServer((self.host, self.port), self._for_everyone(), shares_port=self.shares_port)
        threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reload(self) -> None:
        """Serve the files as they are now; raises LabError, and keeps the old ones, where they are bad."""
        context = self._for_everyone()
        if self._tcp is None:
            raise LabError("the server was not started")
        self._tcp.context = context

    def stop(self) -> None:
        """End it; doing so twice is no error."""
        if self._tcp is not None:
            self._tcp.shutdown()
            self._tcp.server_close()
            self._tcp = None

    def _for_everyone(self) -> ssl.SSLContext:
        """Return the context of the site for everyone, which hands over to those for one name."""
        try:
            contexts = {site.name: self._context(site) for site in self.sites}
        except OSError as error:
            raise LabError(f"a site cannot be served: {error.strerror or type(error).__name__}") from error
        everyone = contexts.get(None) or next(iter(contexts.values()))

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
            connection.context = contexts.get(name, everyone)

        everyone.sni_callback = choose
        return everyone

    def _context(self, site: Site) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(self.tls.ciphers)
        with warnings.catch_warnings():
            # That TLS 1.0 and 1.1 are deprecated is why one wants to serve them here.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = _STDLIB_VERSION[self.tls.minimum]
            context.maximum_version = _STDLIB_VERSION[self.tls.maximum]
        if site.chain is None:
            context.load_cert_chain(site.certificate, site.key)
            return context
        with tempfile.NamedTemporaryFile() as whole:
            for path in (site.certificate, site.chain):
                with open(path, "rb") as part:
                    whole.write(part.read())
            whole.flush()
            context.load_cert_chain(whole.name, site.key)
        return context


class _TCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, *, shares_port: bool) -> None:
        self.context = context
        self.allow_reuse_port = shares_port
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    request: Any
    server: _TCPServer

    def handle(self) -> None:
        self.request.settimeout(5.0)
        # Whatever a client does wrong, or does to find out how we take it, concerns that client alone.
        with suppress(OSError), self.server.context.wrap_socket(self.request, server_side=True) as connection:
            connection.recv(65_536)
            connection.sendall(_ANSWER)
            connection.unwrap()
