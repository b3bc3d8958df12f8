"""A host as there are many: services of seven kinds, certvigil installed as its units do it, people to be told."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.process import LabError
from monitor.lab.servers import Lighttpd, LocalServer, Nginx, Server, Site, write_site
from tests.kit.actor import StartedActor
from tests.kit.daemon import RunningDaemon
from tests.kit.installation import DAEMON, WITHOUT_RIGHTS, actor_section
from tests.kit.packaged_servers import Dovecot, HAProxy, JavaServer, Postfix, PostgreSQL
from tests.kit.receivers import MessageReceiver
from tests.kit.renewals import RenewalShape, RenewedFiles

EVERY: Final = 10.0
"""Seconds between two looks at an endpoint."""
FLEET: Final = 20
"""Endpoints of other hosts, as it were."""
ROOT: Final = Authority.root("Scene Root CA")
ISSUING: Final = ROOT.intermediate("Scene Issuing CA")


@dataclass
class SceneService:
    """One service: its files, and what serves them."""

    name: str
    disk: RenewedFiles
    server: Server
    has_endpoint: bool = True

    @property
    def server_name(self) -> str:
        """The name in its certificates."""
        return f"{self.name}.example.com"

    def issue(self) -> Issued:
        """Return a certificate with a key of its own."""
        return ISSUING.issue(self.server_name, key=new_key(KeyType.P256))

    @property
    def section(self) -> dict[str, Any]:
        """The component in the configuration."""
        endpoint = {"address": self.server.address, "name": self.server_name, "every": f"{EVERY:.0f}s"}
        return {
            "artefacts": self.disk.artefacts,
            "endpoints": [endpoint] if self.has_endpoint else [],
            "clients": ["browser"],
            "service": {"restart": ["/bin/true"]},
        }


@dataclass
class SceneHost:
    """All of it, running."""

    directory: str
    services: dict[str, SceneService] = field(default_factory=dict)
    fleet: list[LocalServer] = field(default_factory=list)
    receivers: Mapping[str, MessageReceiver] = field(
        default_factory=lambda: {"ops": MessageReceiver(), "pager": MessageReceiver()}
    )
    daemon: RunningDaemon | None = None

    def configuration(self) -> dict[str, Any]:
        """Return the configuration of daemon and actor: everything that can be left at its default is."""
        return {
            "host": "scene.example.com",
            "actor": actor_section(self.directory),
            "trust_stores": {"corporate": {"bundle": f"{self.directory}/root.pem"}},
            "clients": {"browser": {"trusts": "corporate"}},
            "channels": {name: {"urls": [each.url()]} for name, each in self.receivers.items()},
            "notifications": {
                "routes": [{"channels": ["ops"]}, {"channels": ["pager"], "severity": "critical"}],
            },
            "components": {name: each.section for name, each in self.services.items()},
            "endpoints": [
                {"name": f"fleet-{number}", "address": each.address, "server_name": "fleet.example.com"}
                | {"every": f"{EVERY:.0f}s", "clients": ["browser"]}
                for number, each in enumerate(self.fleet)
            ],
        }


def _disks(directory: str) -> Mapping[str, RenewedFiles]:
    postgres = pwd.getpwnam("postgres").pw_uid
    shapes = {
        "shop": RenewalShape.SYMLINKS,
        "blog": RenewalShape.KEY_FIRST,
        "edge": RenewalShape.COMBINED_SLOWLY,
        "panel": RenewalShape.IN_PLACE,
        "imap": RenewalShape.CERTIFICATE_FIRST,
        "smtp": RenewalShape.IN_PLACE,
        "db": RenewalShape.KEY_FIRST,
        "app": RenewalShape.KEYSTORE,
    }
    return {
        name: RenewedFiles(os.path.join(directory, name, "tls"), shape, postgres if name == "db" else 0)
        for name, shape in shapes.items()
    }


@contextmanager
def host(directory: str) -> Iterator[SceneHost]:
    """Give the host, everything on it running, below `directory`; needs root."""
    os.chmod(directory, 0o755)
    made = SceneHost(directory)
    with open(os.path.join(directory, "root.pem"), "wb") as file:
        file.write(ROOT.pem())
    disks = _disks(directory)
    for name, disk in disks.items():
        os.makedirs(os.path.dirname(disk.directory))
        disk.create(ISSUING.issue(f"{name}.example.com", key=new_key(KeyType.P256)))
    with ExitStack() as running:
        _serve(made, disks, running)
        for receiver in made.receivers.values():
            running.enter_context(receiver)
        _install(made, running)
        yield made


def _serve(made: SceneHost, disks: Mapping[str, RenewedFiles], running: ExitStack) -> None:
    """Start every server."""

    def site(name: str) -> Site:
        files = disks[name].artefacts
        certificate = files.get("certificate") or files.get("combined") or files["keystore"]
        return Site(certificate, files.get("key", certificate))

    def below(name: str) -> str:
        return os.path.join(made.directory, name, "server")

    java = JavaServer(below("app"), [site("app")])
    java.password_file = disks["app"].artefacts["password_file"]
    servers: dict[str, Server] = {
        "shop": Nginx(below("shop"), [site("shop")]),
        # A server of its own: nginx takes up nothing while the pair of any site is half written.
        "blog": Nginx(below("blog"), [site("blog")]),
        "edge": HAProxy(below("edge"), [site("edge")]),
        "panel": Lighttpd(below("panel"), [site("panel")]),
        "imap": Dovecot(below("imap"), [site("imap")]),
        "smtp": Postfix(below("smtp"), [site("smtp")]),
        "db": PostgreSQL(below("db"), [site("db")]),
        "app": java,
    }
    for server in servers.values():
        running.enter_context(server)
    for name, server in servers.items():
        # PostgreSQL wants a word of its own protocol before TLS.
        made.services[name] = SceneService(name, disks[name], server, has_endpoint=name != "db")
    fleet = write_site(os.path.join(made.directory, "fleet"), ISSUING.issue("fleet.example.com"))
    made.fleet = [running.enter_context(LocalServer([fleet])) for _ in range(FLEET)]


def _interpreter() -> Sequence[str]:
    """Return what has another interpreter run the command, where this one lies in somebody's home: else nothing.

    The daemon's user must be able to start it, for the processes that deliver.
    """
    if _may_be_run(sys.executable):
        return ()
    others = (f"/usr/bin/python3.{sys.version_info.minor}", "/usr/local/bin/python3")
    other = next((each for each in others if os.path.exists(each)), None)
    if other is None:
        raise LabError(f"the daemon's user cannot run {sys.executable}: make the virtual environment with another")
    modules = os.pathsep.join((os.getcwd(), sysconfig.get_path("purelib")))
    return ("/usr/bin/env", f"PYTHONPATH={modules}", "/bin/sh", "-c", f'shift; exec {other} "$@"', "sh")


def _may_be_run(program: str) -> bool:
    command = ["setpriv", *WITHOUT_RIGHTS, "/bin/sh", "-c", 'exec "$0" -c ""', program]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False, timeout=60).returncode == 0


def _install(made: SceneHost, running: ExitStack) -> None:
    """Start the actor as root and the daemon as a user without rights, as their units do."""
    daemon = made.daemon = RunningDaemon(made.configuration(), wrapper=(*WITHOUT_RIGHTS, *_interpreter()))
    running.callback(daemon.close)
    daemon.config_file = os.path.join(made.directory, "certvigil.yaml")
    daemon.configure(made.configuration())
    os.chown(daemon.config_file, 0, DAEMON)
    os.chmod(daemon.config_file, 0o640)
    for path in (daemon.directory, daemon.manager.address):
        os.chown(path, DAEMON, DAEMON)
    actor = StartedActor(daemon.config_file, f"{made.directory}/actor-run/actor.sock", f"{made.directory}/actor.log")
    running.enter_context(actor)
    daemon.start()
