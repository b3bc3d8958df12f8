"""A host on which certvigil is installed as the units do it: the daemon without rights, keys for root alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from monitor.lab.ca import Issued
from tests.kit.actor import StartedActor
from tests.kit.authority import ISSUING, ROOT, fresh
from tests.kit.daemon import RunningDaemon, certvigil_as
from tests.kit.keystore import PASSWORD, keystore

DAEMON: Final = 64_010
"""The user of the daemon; as in the units it is nobody else's."""
DOVECOT, HAPROXY, JAVA, POSTGRES = 64_011, 64_012, 64_013, 64_014
"""Users of services."""
WITHOUT_RIGHTS: Final = ("--reuid", str(DAEMON), "--regid", str(DAEMON), "--clear-groups")


def actor_section(directory: str) -> dict[str, Any]:
    """Return the section `actor` of a host whose directories lie below `directory`, with the units' user and group."""
    return {
        "socket": f"{directory}/actor-run/actor.sock",
        "directory": f"{directory}/actor",
        "inbox_directory": f"{directory}/inbox",
        "daemon_user": str(DAEMON),
        "group": str(DAEMON),
        "require_synchronised_clock": False,
    }


@dataclass
class InstalledHost:
    """Services with the owners and modes that their packages and their guides give their files."""

    directory: str
    components: dict[str, dict[str, str]] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return a path on that host."""
        return Path(self.directory, name)

    def make(self, name: str, mode: int, owner: int = 0) -> None:
        """Make a directory, those above it for everybody."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).mkdir(exist_ok=True)
        os.chown(self.path(name), owner, owner)
        self.path(name).chmod(mode)

    def put(self, name: str, data: bytes, mode: int, owner: int = 0, group: int | None = None) -> str:
        """Write a whole file in place of what is there, and return its path."""
        path = self.path(name)
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(data)
        os.chown(new, owner, owner if group is None else group)
        new.chmod(mode)
        os.rename(new, path)
        return str(path)

    def certbot(self, issued: Issued, number: int) -> None:
        """Put a lineage's next certificate down as certbot does: below directories that only root may enter."""
        archive, live = "letsencrypt/archive/example.com", "letsencrypt/live/example.com"
        for name in ("letsencrypt/archive", archive, "letsencrypt/live", live):
            self.make(name, 0o755 if name in {archive, live} else 0o700)
        held = {"privkey": issued.key_pem(), "cert": issued.pem(), "fullchain": issued.chain_pem()}
        for name, data in held.items():
            self.put(f"{archive}/{name}{number}.pem", data, 0o600 if name == "privkey" else 0o644)
        for name in held:
            new = self.path(f"{live}/.{name}.new")
            new.symlink_to(f"../../archive/example.com/{name}{number}.pem")
            os.rename(new, self.path(f"{live}/{name}.pem"))

    def document(self, **actor: object) -> dict[str, Any]:
        """Return the configuration of daemon and actor."""
        components = {
            name: {"artefacts": artefacts, "service": {"restart": ["/bin/true"]}, "clients": ["browser"]}
            for name, artefacts in self.components.items()
        }
        return {
            "host": "mail.example.com",
            "actor": {**actor_section(self.directory), **actor},
            "settle": "0.3s",
            "watch": [{"files": [f"{self.directory}/pki/certs/*.pem"]}],
            "trust_stores": {"corporate": {"bundle": f"{self.directory}/pki/certs/root.pem"}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": components,
        }

    def actor(self, config_file: str) -> StartedActor:
        """Return an actor, not running yet."""
        return StartedActor(config_file, f"{self.directory}/actor-run/actor.sock", f"{self.directory}/actor.log")


@contextmanager
def host() -> Iterator[InstalledHost]:
    """Give a host with the layouts of certbot, nginx, postfix, dovecot, lighttpd, HAProxy, Java and PostgreSQL."""
    with TemporaryDirectory(prefix="cv-") as directory:
        os.chmod(directory, 0o755)
        made = InstalledHost(directory)
        parts = made.components
        made.make("pki/certs", 0o755)
        made.put("pki/certs/root.pem", ROOT.pem(), 0o644)

        made.certbot(fresh(), 1)
        live = f"{directory}/letsencrypt/live/example.com"
        parts["certbot"] = {"certificate": f"{live}/fullchain.pem", "key": f"{live}/privkey.pem"}

        issued = fresh()
        made.make("nginx/tls", 0o755)
        parts["nginx"] = {
            "certificate": made.put("nginx/tls/site.crt", issued.chain_pem(), 0o644),
            "key": made.put("nginx/tls/site.key", issued.key_pem(), 0o600),
        }
        issued = fresh()
        made.make("postfix/tls", 0o700)
        parts["postfix"] = {
            "certificate": made.put("postfix/tls/cert.pem", issued.pem(), 0o644),
            "chain": made.put("postfix/tls/chain.pem", ISSUING.pem(), 0o644),
            "key": made.put("postfix/tls/key.pem", issued.key_pem(), 0o600),
        }
        issued = fresh()
        made.make("dovecot/private", 0o700, DOVECOT)
        parts["dovecot"] = {
            "certificate": made.put("dovecot/cert.pem", issued.chain_pem(), 0o444),
            "key": made.put("dovecot/private/key.pem", issued.key_pem(), 0o400, DOVECOT),
        }
        issued = fresh()
        made.make("lighttpd", 0o755)
        combined = issued.key_pem() + issued.chain_pem()
        parts["lighttpd"] = {"combined": made.put("lighttpd/server.pem", combined, 0o600)}
        issued = fresh()
        made.make("haproxy", 0o750, HAPROXY)
        combined = issued.chain_pem() + issued.key_pem()
        parts["haproxy"] = {"combined": made.put("haproxy/site.pem", combined, 0o640, 0, HAPROXY)}
        made.make("java", 0o750, JAVA)
        parts["java"] = {
            "keystore": made.put("java/keystore.p12", keystore(fresh()), 0o640, JAVA),
            "password_file": made.put("java/storepass", PASSWORD + b"\n", 0o600, JAVA),
        }
        issued = fresh()
        made.make("postgresql", 0o700, POSTGRES)
        parts["postgresql"] = {
            "certificate": made.put("postgresql/server.crt", issued.chain_pem(), 0o600, POSTGRES),
            "key": made.put("postgresql/server.key", issued.key_pem(), 0o600, POSTGRES),
        }
        yield made


@contextmanager
def installed(
    made: InstalledHost, document: Mapping[str, object], *, actor: bool = True
) -> Iterator[tuple[RunningDaemon, StartedActor]]:
    """Give the daemon, which runs as a user without rights, and the actor, which runs as root where it does."""
    daemon = RunningDaemon(document, wrapper=WITHOUT_RIGHTS)
    # One configuration for both, which only root may write.
    daemon.config_file = f"{made.directory}/certvigil.yaml"
    beside = made.actor(daemon.config_file)
    try:
        daemon.configure(document)
        os.chown(daemon.config_file, 0, DAEMON)
        os.chmod(daemon.config_file, 0o640)
        for path in (daemon.directory, daemon.manager.address):
            os.chown(path, DAEMON, DAEMON)
        if actor:
            beside.start()
        daemon.start()
        yield daemon, beside
    finally:
        daemon.close()
        beside.kill()


def status(daemon: RunningDaemon, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the output of `certvigil status`, run as the user of the daemon."""
    ran = certvigil_as((DAEMON, DAEMON), "status", "--socket", daemon.socket, *arguments)
    return ran.returncode, ran.stdout + ran.stderr


def wrong(daemon: RunningDaemon) -> Sequence[tuple[str, str, str, str]]:
    """Return target, code, severity and detail of each finding that is more than a notice."""
    code, text = status(daemon, "--json")
    assert text.startswith("{"), (code, text)
    return [
        (each["target"], found["code"], found["severity"], found["detail"])
        for each in json.loads(text)["targets"]
        for found in each["findings"]
        if found["severity"] != "notice"
    ]
