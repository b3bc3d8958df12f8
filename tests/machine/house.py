"""What is installed in the machine: the servers' configuration, a CA, certvigil as docs/operate.md has it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from monitor.lab.ca import Authority, Issued, KeyType, new_key
from tests.machine.container import Container
from tests.machine.emulator import STARTS_WITHIN, Disk, Machine, accelerator, overlay
from tests.machine.host import Host, MachineError
from tests.machine.recipe import ROOT, Image, cache, digest_of, image, recipe, wheel
from tests.machine.say import say

NAME: Final = "www.example.com"
CONFIG: Final = "/etc/certvigil/certvigil.yaml"
NGINX: Final = "nginx"
LIGHTTPD: Final = "lighttpd"
UNITS: Final = ("certvigil", "certvigil-actor", NGINX, LIGHTTPD)
FILES: Final[Mapping[str, Mapping[str, str]]] = {
    NGINX: {"certificate": "/etc/nginx/tls/site.crt", "key": "/etc/nginx/tls/site.key"},
    LIGHTTPD: {"combined": "/etc/lighttpd/tls/site.pem"},
}
PORTS: Final = {NGINX: 443, LIGHTTPD: 8443}
_NOT_YET: Final = ("apache2", "haproxy", "postfix", "dovecot", "apache-htcacheclean")
"""Debian's servers that only some scenarios start."""

_SITE_OF_NGINX: Final = f"""\
server {{
    listen 127.0.0.1:443 ssl;
    server_name {NAME};
    ssl_certificate /etc/nginx/tls/site.crt;
    ssl_certificate_key /etc/nginx/tls/site.key;
    return 200;
}}
"""
_SITE_OF_LIGHTTPD: Final = """\
server.modules += ( "mod_openssl" )
$SERVER["socket"] == "127.0.0.1:8443" {
    ssl.engine = "enable"
    ssl.pemfile = "/etc/lighttpd/tls/site.pem"
}
"""


def configuration(*, own_clock: bool = True) -> str:
    """Return certvigil's configuration, for a machine whose own clock is synchronised, or for any clock."""
    document = {
        "actor": {"require_synchronised_clock": own_clock},
        "host": "machine.example.com",
        "trust_stores": {"own": {"bundle": "/etc/certvigil/root.pem"}},
        "clients": {"browser": {"trusts": "own"}},
        "validation": {"successes": 2, "interval": "500ms", "deadline": "2m"},
        "settle": "500ms",
        "components": {
            NGINX: component(
                FILES[NGINX],
                PORTS[NGINX],
                unit="nginx.service",
                activate="reload",
                test=["/usr/sbin/nginx", "-t"],
                writes=["/var/log/nginx", "/run"],
            ),
            LIGHTTPD: component(
                FILES[LIGHTTPD],
                PORTS[LIGHTTPD],
                unit="lighttpd.service",
                activate="restart",
                test=["/usr/sbin/lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf"],
            ),
        },
    }
    # JSON is YAML.
    return json.dumps(document, indent=1)


def component(artefacts: Mapping[str, str], port: int, **service: object) -> dict[str, Any]:
    """Return the section of a component that a candidate in its inbox changes without a person."""
    return {
        "artefacts": dict(artefacts),
        "endpoints": [{"address": f"127.0.0.1:{port}", "server_name": NAME, "every": "5s"}],
        "clients": ["browser"],
        "allowed_issuers": [{"trust_store": "own"}],
        "mode": "auto",
        # Emulated and busy, a command takes its time.
        "service": {"timeout": "90s", **service},
    }


@dataclass
class OwnCA:
    """The CA of the machine's certificates; its dates are those of the machine's own clock."""

    root: Authority
    issuing: Authority

    @classmethod
    def made(cls) -> OwnCA:
        """Return a new one."""
        root = Authority.root("Machine Root CA")
        return cls(root, root.intermediate("Machine Issuing CA"))

    def issue(self, machine: Host, *names: str) -> Issued:
        """Return a certificate with a key of its own that begins now, by the machine's clock."""
        now = float(machine.sh("date +%s"))
        more = {"not_before": now - 1, "not_after": now + 90 * 86_400}
        return self.issuing.issue(*(names or (NAME,)), key=new_key(KeyType.P256), **more)  # type: ignore[arg-type]

    def keep(self, path: str) -> None:
        """Write it to a file."""
        both = {"root": self.root, "issuing": self.issuing}
        text = json.dumps({name: [each.pem().decode(), each.key_pem().decode()] for name, each in both.items()})
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    @classmethod
    def kept(cls, path: str) -> OwnCA:
        """Return the one in a file."""
        plain = json.loads(Path(path).read_text())

        def authority(name: str, issuer: Authority | None) -> Authority:
            certificate = x509.load_pem_x509_certificate(plain[name][0].encode())
            key = load_pem_private_key(plain[name][1].encode(), None)
            der = x509.load_pem_x509_certificate(plain[name][0].encode()).public_bytes(Encoding.DER)
            return Authority(certificate.subject, key, issuer, der)  # type: ignore[arg-type]

        root = authority("root", None)
        return cls(root, authority("issuing", root))


def fingerprint(issued: Issued) -> str:
    """Return the SHA-256 of a certificate."""
    return hashlib.sha256(issued.der()).hexdigest()


def contents(name: str, issued: Issued) -> dict[str, bytes]:
    """Return what the files of a component hold, by path."""
    both = {"certificate": issued.chain_pem(), "key": issued.key_pem()}
    both["combined"] = both["key"] + both["certificate"]
    return {path: both[role] for role, path in FILES[name].items()}


@dataclass(frozen=True)
class MachineState:
    """A machine with certvigil installed that waits to be started, at once or from cold."""

    image: Image
    by: str
    directory: str

    @property
    def disk(self) -> Disk:
        """The disk, which nobody may change."""
        return Disk(os.path.join(self.directory, "disk"), "qcow2")

    @property
    def ca(self) -> OwnCA:
        """The CA."""
        return OwnCA.kept(os.path.join(self.directory, "ca"))

    @property
    def notes(self) -> str:
        """The file with the results so far."""
        return os.path.join(self.directory, "results.json")

    def container(self, where: str) -> Container:
        """Return the same without a machine, below `where`: its daemon starts anew."""
        changed = Path(where, "upper", CONFIG.lstrip("/"))
        changed.parent.mkdir(parents=True)
        changed.write_text(configuration(own_clock=False))
        return Container(where, os.path.join(self.directory, "installed"))

    def machine(self, where: str, *, cold: bool = False, log: str | None = None) -> Machine:
        """Return the machine with a disk of its own below `where`: where it was left, or off."""
        made = overlay(os.path.join(where, "disk"), self.disk)
        disk = Disk(made.path, made.form, log)
        memory = None if cold else os.path.join(self.directory, "memory")
        return Machine(where, self.image, disk, by=self.by, memory=memory)


def state() -> MachineState:
    """Return the machine with this tree's certvigil, made where it is not there yet; raises MachineError."""
    made = image()
    by = accelerator(made)
    sources = (each for name in ("config", "probes", "actions", "monitor") for each in (ROOT / name).rglob("*"))
    parts = [each.read_bytes() for each in sorted(sources) if each.is_file() and each.suffix != ".pyc"]
    house = Path(__file__).read_bytes()
    directory = os.path.join(cache(), f"state-{digest_of(recipe().encode(), by.encode(), house, *parts)}")
    if not os.path.isdir(directory):
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as making:
            into = os.path.join(making, "state")
            os.mkdir(into)
            _make(into, made, by)
            os.rename(into, directory)
    return MachineState(made, by, directory)


def _make(into: str, made: Image, by: str) -> None:
    ca = OwnCA.made()
    ca.keep(os.path.join(into, "ca"))
    installed = os.path.join(into, "installed")
    subprocess.run(["cp", "--sparse=always", made.disk, installed], check=True, timeout=300)
    root = os.path.join(into, "root")
    os.mkdir(root)
    say("installing certvigil on the machine")
    # Not by the emulated processor: the program runs from the disk all the same.
    subprocess.run(["mount", "-t", "ext4", "-o", "loop", installed, root], check=True, timeout=60)
    try:
        _furnish(root, ca)
        with tempfile.TemporaryDirectory() as directory:
            _install(root, wheel(directory))
    finally:
        subprocess.run(["umount", root], check=True, timeout=60)
    os.rmdir(root)
    disk = overlay(os.path.join(into, "disk"), Disk("installed", "raw"))
    say(f"starting the machine for the first time ({by})")
    with Machine(into, made, disk, by=by) as machine:
        await_quiet(machine)
        machine.sh("sync")
        machine.save(os.path.join(into, "memory"))
    for name in ("console", "qemu.log", "agent", "qmp"):
        path = os.path.join(into, name)
        if os.path.exists(path):
            os.unlink(path)


def _furnish(root: str, ca: OwnCA) -> None:
    """Give the servers their certificates, and let those start that each scenario has."""

    def put(path: str, data: bytes, mode: int = 0o644) -> None:
        where = os.path.join(root, path.lstrip("/"))
        os.makedirs(os.path.dirname(where), exist_ok=True)
        Path(where).write_bytes(data)
        os.chmod(where, mode)

    issued = ca.issuing.issue(NAME)
    put("/etc/machine-id", f"{os.urandom(16).hex()}\n".encode())
    put("/etc/nginx/conf.d/tls.conf", _SITE_OF_NGINX.encode())
    put("/etc/lighttpd/conf-enabled/10-tls.conf", _SITE_OF_LIGHTTPD.encode())
    for name in FILES:
        for path, data in contents(name, issued).items():
            put(path, data, 0o644 if path.endswith(".crt") else 0o600)
    put("/etc/certvigil/root.pem", ca.root.pem())
    put(CONFIG, configuration().encode())
    # All of Debian's web servers want port 80.
    main = Path(root, "etc/lighttpd/lighttpd.conf")
    main.write_text(re.sub(r"(?m)^server\.port.*", "server.port = 8081", main.read_text()))
    _inside(root, "systemctl", "disable", *_NOT_YET)


def _install(root: str, path_of_wheel: str) -> None:
    """Install certvigil as docs/operate.md says, in a machine that does not run: its services begin at its boot."""
    inside = f"/root/{os.path.basename(path_of_wheel)}"
    shutil.copyfile(path_of_wheel, f"{root}{inside}")
    _inside(root, "python3", "-m", "venv", "/opt/certvigil")
    _inside(root, "/opt/certvigil/bin/pip", "install", "--quiet", "--no-index", inside)
    _inside(root, "ln", "-s", "/opt/certvigil/bin/certvigil", "/usr/local/bin/certvigil")
    _inside(root, "certvigil", "config", "check", "--config", "/etc/certvigil")
    _inside(root, "certvigil", "config", "units", "--config", "/etc/certvigil", "--out", "/etc")
    _inside(root, "systemd-sysusers")
    _inside(root, "systemctl", "enable", "certvigil-recover", "certvigil-actor", "certvigil")


def _inside(root: str, *command: str) -> None:
    """Run a command of the machine's own below its root, with its /proc and /dev."""
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"'
    argv = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        script,
        root,
        *command,
    ]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900, env=environment)
    if ran.returncode:
        raise MachineError(f"`{' '.join(command)}` ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-1500:]}")


def take_up(machine: Host) -> None:
    """Make the units of the configuration, and have daemon and actor run by them."""
    machine.sh("certvigil config units --config /etc/certvigil --out /etc")
    machine.sh("systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload")
    machine.sh("systemctl enable certvigil-recover")
    machine.sh("systemctl enable --now certvigil-actor certvigil")


def await_quiet(machine: Host) -> None:
    """Return once everything runs, has been looked at and is well; raises MachineError."""
    machine.run(["systemctl", "is-system-running", "--wait"], STARTS_WITHIN)
    machine.wait_for("certvigil status --healthy", "the daemon is healthy", STARTS_WITHIN)
    try:
        machine.wait_for("certvigil status", "that status has no problem", STARTS_WITHIN)
    except MachineError as error:
        problems = machine.run(["certvigil", "status", "--problems"]).output
        raise MachineError(f"{error}\n{problems}") from None


def overlay_directory(parent: str, name: str) -> str:
    """Return an empty directory for a run."""
    path = os.path.join(parent, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path
