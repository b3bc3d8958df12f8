"""Real servers under a service manager as components of a real certvigil, and what can be seen of them from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from OpenSSL import SSL

from monitor.actor.client import NoActor, ask
from monitor.actor.request import Request, Verb
from monitor.commands.status import is_ready
from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.process import LabError, find_command, free_address, wait_for
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx, Site, replace_file
from tests.kit import keystore_server
from tests.kit.daemon import CERTVIGIL
from tests.kit.forks import Child, Forked
from tests.kit.keystore import PASSWORD, keystore
from tests.kit.supervisor import Supervisor
from tests.kit.workers import Workers

NAME: Final = "www.example.com"
PATIENCE: Final = 60.0
"""Seconds after which whatever is waited for has failed."""
START_WITHIN: Final = 180.0
"""Seconds after which a daemon has failed to start, also on a machine that is busy with much else."""
_ROOT: Final = Authority.root()
_ISSUING: Final = _ROOT.intermediate()
_HANDSHAKES: Final = {"workers": 16}
"""How often who is asked what it serves; once where one process answers."""

_STEP_OF_A_STEP: Final = re.compile(rb'"event":"(command|aside|let_go|written_late)')
"""Records of which there are more or fewer from one run to the next."""

Record = Mapping[str, Any]


class ServerKind(StrEnum):
    """A server."""

    NGINX = "nginx"
    LIGHTTPD = "lighttpd"
    WORKERS = "workers"
    KEYSTORE = "keystore"
    """Reads a keystore, as servers in Java do."""


class ArtefactShape(StrEnum):
    """The files of a component."""

    PAIR = "pair"
    COMBINED = "combined"
    KEYSTORE = "keystore"


@dataclass(frozen=True, slots=True)
class HousePart:
    """A component of a house."""

    kind: ServerKind
    shape: ArtefactShape
    in_place: bool = False
    """Its files are written over, not replaced."""
    quiesce: bool = False
    """It is stopped for the switch."""


@dataclass(frozen=True, slots=True)
class Cast:
    """What is in a house."""

    parts: tuple[HousePart, ...]
    actor: bool
    """Whether there is an actor; else the command line does the work itself."""

    def __str__(self) -> str:
        each = (
            f"{part.kind}-{part.shape}{'-in_place' if part.in_place else ''}{'-quiesce' if part.quiesce else ''}"
            for part in self.parts
        )
        return f"{'+'.join(each)} {'with' if self.actor else 'without'} the actor"


_KEYSTORE: Final = HousePart(ServerKind.KEYSTORE, ArtefactShape.KEYSTORE)
_PARTS: Final = (
    (HousePart(ServerKind.NGINX, ArtefactShape.PAIR),),
    (HousePart(ServerKind.LIGHTTPD, ArtefactShape.PAIR),),
    (HousePart(ServerKind.WORKERS, ArtefactShape.PAIR),),
    (HousePart(ServerKind.NGINX, ArtefactShape.COMBINED),),
    (HousePart(ServerKind.LIGHTTPD, ArtefactShape.COMBINED),),
    (HousePart(ServerKind.WORKERS, ArtefactShape.COMBINED),),
    (_KEYSTORE,),
    (HousePart(ServerKind.LIGHTTPD, ArtefactShape.PAIR, in_place=True),),
    (HousePart(ServerKind.NGINX, ArtefactShape.PAIR, in_place=True),),
    (HousePart(ServerKind.LIGHTTPD, ArtefactShape.PAIR, quiesce=True),),
    (HousePart(ServerKind.NGINX, ArtefactShape.PAIR), HousePart(ServerKind.LIGHTTPD, ArtefactShape.PAIR)),
    (HousePart(ServerKind.LIGHTTPD, ArtefactShape.COMBINED), HousePart(ServerKind.WORKERS, ArtefactShape.PAIR)),
    (HousePart(ServerKind.WORKERS, ArtefactShape.COMBINED), _KEYSTORE),
    (HousePart(ServerKind.NGINX, ArtefactShape.COMBINED), _KEYSTORE),
)
CASTS: Final = tuple(Cast(parts, actor) for parts in _PARTS for actor in (False, True))


@dataclass(frozen=True, slots=True)
class FilesOnDisk:
    """What the files of a component are."""

    leaf: str
    """SHA-256 of the certificate; empty where there is none."""
    whole: bool
    """Whether a server can load them."""


class UnsafeComponent:
    """A component on a server of its own, which only a service manager starts and stops."""

    def __init__(self, name: str, directory: str, part: HousePart) -> None:
        self.name, self.directory, self.part = name, directory, part
        os.makedirs(directory, mode=0o755)
        self.server = self._server()
        self.host, self.port = free_address() if self.server is None else (self.server.host, self.server.port)
        self.manager: Supervisor | None = None

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, "tls", name)

    @property
    def artefacts(self) -> dict[str, str]:
        """The section `artefacts`."""
        match self.part.shape:
            case ArtefactShape.COMBINED:
                return {"combined": self._path("site.pem")}
            case ArtefactShape.KEYSTORE:
                return {"keystore": self._path("site.p12"), "password_file": f"{self.directory}/password"}
        return {"certificate": self._path("site.crt"), "key": self._path("site.key")}

    def files(self, issued: Issued) -> dict[str, bytes]:
        """Return what the files hold, by path, for a certificate."""
        match self.part.shape:
            case ArtefactShape.COMBINED:
                return {self._path("site.pem"): issued.key_pem() + issued.chain_pem()}
            case ArtefactShape.KEYSTORE:
                return {self._path("site.p12"): keystore(issued)}
        return {self._path("site.crt"): issued.chain_pem(), self._path("site.key"): issued.key_pem()}

    def install(self, issued: Issued) -> None:
        """Replace the files, each by rename."""
        os.makedirs(os.path.join(self.directory, "tls"), mode=0o755, exist_ok=True)
        for path, data in self.files(issued).items():
            replace_file(path, data, 0o644 if path.endswith(".crt") else 0o600)

    def on_disk(self) -> FilesOnDisk:
        """Return what the files are, as a server would load them."""
        first, *rest = self.artefacts.values()
        leaf = ""
        try:
            if self.part.shape is ArtefactShape.KEYSTORE:
                keystore_server.read(first, *rest).check_privatekey()
                with open(first, "rb") as file:
                    held = pkcs12.load_pkcs12(file.read(), PASSWORD)
                assert held.cert is not None
                der = held.cert.certificate.public_bytes(Encoding.DER)
                return FilesOnDisk(hashlib.sha256(der).hexdigest(), whole=True)
            with open(first, encoding="ascii", errors="replace") as file:
                leaf = _first_certificate(file.read())
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self.artefacts.values())
        except (OSError, ValueError, SSL.Error):
            return FilesOnDisk(leaf, whole=False)
        return FilesOnDisk(leaf, whole=True)

    def _server(self) -> BackgroundServer | None:
        paths = list(self.artefacts.values())
        if self.part.kind is ServerKind.KEYSTORE:
            return None
        kinds: Mapping[ServerKind, type[Nginx | Lighttpd | Workers]] = {
            ServerKind.NGINX: Nginx,
            ServerKind.LIGHTTPD: Lighttpd,
            ServerKind.WORKERS: Workers,
        }
        return kinds[self.part.kind](f"{self.directory}/server", [Site(paths[0], paths[-1])])

    def start(self, stack: ExitStack) -> None:
        """Start the service manager, and the server under it."""
        if self.server is None:
            paths = self.artefacts.values()
            replace_file(f"{self.directory}/password", PASSWORD, 0o600)
            command = (sys.executable, keystore_server.__file__, self.host, str(self.port), *paths)
        else:
            os.makedirs(self.server.directory, exist_ok=True)
            replace_file(self.server.config_file, self.server._config().encode())
            replace_file(self.server.log_file, b"")
            program, *arguments = self.server._command
            command = (find_command(program) or program, *arguments)
        manager = Supervisor(f"{self.directory}/manager", command, (self.host, self.port), restarts=False)
        self.manager = stack.enter_context(manager)

    def ask(self, verb: str) -> None:
        """Have the service manager do something."""
        assert self.manager is not None
        subprocess.run([self.manager.systemctl, verb], capture_output=True, timeout=PATIENCE, check=False)

    def delay(self, seconds: float) -> None:
        """Have the service manager take so long for whatever it is asked."""
        replace_file(f"{self.directory}/manager/delay", str(seconds).encode())

    def asked(self) -> list[tuple[float, str]]:
        """Return what the service manager was asked, and when (Unix time)."""
        with suppress(FileNotFoundError), open(f"{self.directory}/manager/asked", encoding="ascii") as file:
            return [(float(at), verb) for at, verb in (line.split() for line in file)]
        return []

    @property
    def activation(self) -> str:
        """The verb by which the server is put onto what is on disk."""
        return "restart" if self.part.kind is ServerKind.LIGHTTPD else "reload"

    def section(self) -> dict[str, object]:
        """Return the component as it is configured."""
        systemctl = f"{self.directory}/manager/systemctl"
        service: dict[str, object] = {verb: [systemctl, verb] for verb in ("restart", "reload", "stop", "start")}
        if self.server is not None:
            program, *arguments = self.server.test_command
            service["test"] = [find_command(program) or program, *arguments]
        else:
            path, secret = self.artefacts.values()
            test = ["pkcs12", "-in", path, "-passin", f"file:{secret}", "-noout"]
            service["test"] = [find_command("openssl") or "/usr/bin/openssl", *test]
        return {
            "artefacts": self.artefacts,
            "endpoints": [{"address": f"{self.host}:{self.port}", "name": NAME, "every": "0.5s"}],
            "clients": ["browser"],
            "service": {**service, "activate": self.activation, "timeout": "10s", "quiesce": self.part.quiesce},
            "write_mode": "in_place" if self.part.in_place else "rename",
            "mode": "observe",
        }

    def served(self) -> frozenset[str]:
        """Return what the server presents, as SHA-256 of the certificate: `refused` where no client accepts it."""
        return frozenset(self._handshake() for _ in range(_HANDSHAKES.get(self.part.kind, 1)))

    def _handshake(self) -> str:
        context = ssl.create_default_context(cadata=_ROOT.pem().decode())
        try:
            raw = socket.create_connection((self.host, self.port), timeout=3.0)
            with raw, context.wrap_socket(raw, server_hostname=NAME) as connection:
                return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
        except ssl.SSLCertVerificationError:
            return "refused"
        except OSError:
            return ""


def _first_certificate(text: str) -> str:
    _, begin, rest = text.partition("-----BEGIN CERTIFICATE-----\n")
    body, end, _ = rest.partition("-----END CERTIFICATE-----")
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}\n")).hexdigest() if end else ""
    except ValueError:
        return ""


class UnsafeActor:
    """The actor of a house, which runs only when it is told to."""

    def __init__(self, house: UnsafeHouse) -> None:
        self._house = house
        self._process: Child | None = None

    def launch(self) -> int:
        """Start it, and return its process id at once."""
        self._process = self._house.spawn("actor", output="actor.log")
        return self._process.pid

    def start(self) -> None:
        """Start it; return once it answers."""
        self.launch()
        wait_for(self.answers, START_WITHIN, "the actor's answer")

    def answers(self) -> bool:
        """Whether somebody answers at its socket."""
        try:
            ask(f"{self._house.directory}/actor.sock", Request(Verb.STATE), lambda _: None, timeout=PATIENCE)
        except (NoActor, OSError):
            return False
        return True

    @property
    def pid(self) -> int:
        """The process id it was last started with."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once, with nothing tidied up."""
        if self._process is not None and self.running:
            kill(self._process.pid)
            self._process.wait(PATIENCE)


class UnsafeHouse:
    """Components, a daemon that watches them, and perhaps an actor: inside the block, and never after it."""

    def __init__(self, cast: Cast, forks: str = "") -> None:
        """`forks`: where commands are forked from, empty where each is started anew."""
        self.cast = cast
        self._forks = forks
        # Short, since the path of a socket may have 107 characters only.
        self.directory = tempfile.mkdtemp(prefix="cv-")
        self._socket = f"{self.directory}/certvigil.sock"
        self._daemon: Child | None = None
        os.chmod(self.directory, 0o755)
        self.components = [
            UnsafeComponent(name, f"{self.directory}/{name}", part)
            for name, part in zip(("web", "mail"), cast.parts, strict=False)
        ]
        self.issued: dict[str, Issued] = {}
        """Whatever was issued here, by the SHA-256 of the certificate."""
        self._stack = ExitStack()
        self._known = _Known()
        self.config_file = f"{self.directory}/certvigil.yaml"
        self.actor = UnsafeActor(self)

    @property
    def names(self) -> list[str]:
        """The names of the components."""
        return [each.name for each in self.components]

    def issue(self) -> Issued:
        """Return a new certificate that every component may be given."""
        issued = _ISSUING.issue(NAME, key=new_key(KeyType.P256))
        self.issued[leaf_of(issued)] = issued
        return issued

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.actor.kill()
        if self._daemon is not None and self._daemon.poll() is None:
            kill(self._daemon.pid)
            self._daemon.wait(PATIENCE)
        self._stack.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        first = self.issue()
        for each in self.components:
            each.install(first)
            each.start(self._stack)
        replace_file(f"{self.directory}/root.pem", _ROOT.pem())
        document = json.dumps(
            {
                "state_directory": f"{self.directory}/state",
                "socket": self._socket,
                "web": {"listen": ["{}:{}".format(*free_address())]},
                "actor": {
                    "socket": f"{self.directory}/actor.sock",
                    "directory": f"{self.directory}/actor",
                    "inbox_directory": f"{self.directory}/inbox",
                    "require_synchronised_clock": False,
                },
                "trust_stores": {"corporate": {"bundle": f"{self.directory}/root.pem"}},
                "clients": {"browser": {"trusts": "corporate"}},
                "components": {each.name: each.section() for each in self.components},
                "validation": {"successes": 2, "interval": "0.1s", "deadline": "4s", "handshakes": 8},
            }
        )
        replace_file(self.config_file, document.encode(), 0o600)
        if self.cast.actor:
            self.actor.start()
        self._daemon = self.spawn("run", output="daemon.log")
        wait_for(lambda: is_ready(self._socket), START_WITHIN, "the daemon's readiness")

    def reboot(self) -> None:
        """End every server as a loss of power would; the files stay."""
        self._stack.close()
        for each in self.components:
            # What stood in the manager's directory is gone with it.
            shutil.rmtree(f"{each.directory}/manager", ignore_errors=True)

    def boot(self) -> None:
        """Start the servers again."""
        for each in self.components:
            # A server that cannot load its files is as dead as after a boot.
            with suppress(LabError):
                each.start(self._stack)

    def spawn(self, *arguments: str, output: str = "commands.log") -> Child:
        """Start a command of certvigil; what it says is appended to a file below the directory."""
        setpriv = find_command("setpriv")
        assert setpriv is not None
        words = [*arguments, *([] if arguments[0] == "status" else ["--config", self.config_file])]
        with open(f"{self.directory}/{output}", "ab") as log:
            if self._forks:
                return Forked(self._forks, words, log.fileno())
            command = [setpriv, "--pdeathsig", "KILL", *CERTVIGIL, *words]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of certvigil to its end; returns its exit code and what it prints."""
        path = f"{self.directory}/said"
        replace_file(path, b"")
        code = self.spawn(*arguments, output="said").wait(PATIENCE)
        with open(path, encoding="utf-8") as file:
            return code, file.read()

    def status(self) -> Mapping[str, Any]:
        """Return what `certvigil status` says; empty where it says nothing."""
        _, said = self.run("status", "--json", "--socket", self._socket)
        with suppress(ValueError):
            document: Mapping[str, Any] = json.loads(said)
            return document
        return {}

    def put(self, issued: Issued) -> list[str]:
        """Write a candidate; returns the options that name its files."""
        options = []
        for name, data in (("chain.pem", issued.chain_pem()), ("new.key", issued.key_pem())):
            path = f"{self.directory}/{name}"
            replace_file(path, data, 0o600)
            options += ["--from", path]
        return options

    def put_into_inboxes(self, issued: Issued) -> None:
        """Put a candidate into the inbox of each component."""
        for each in self.names:
            for name, data in (("chain.pem", issued.chain_pem()), ("new.key", issued.key_pem())):
                replace_file(f"{self.directory}/inbox/{each}/{name}", data, 0o600)

    def empty_inboxes(self) -> None:
        """Take back what is in an inbox."""
        for each in self.names:
            for name in ("chain.pem", "new.key"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.directory}/inbox/{each}/{name}")

    def records(self) -> list[Record]:
        """Return the journal, as far as whole lines are there."""
        try:
            with open(f"{self.directory}/actor/journal.jsonl", "rb") as file:
                lines = file.read().rstrip(b"\0").split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if b"\0" not in line]

    def recorded(self) -> int:
        """Return how many records of steps the journal has, of commands none; costs little."""
        with suppress(FileNotFoundError), open(f"{self.directory}/actor/journal.jsonl", "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._known.inode:
                self._known = _Known(inode)
            file.seek(self._known.end)
            new = file.read().partition(b"\0")[0].rpartition(b"\n")
            self._known.records += sum(not _STEP_OF_A_STEP.search(line) for line in new[0].splitlines())
            self._known.end += len(new[0] + new[1])
        return self._known.records

    def commands_of(self, pid: int) -> list[int]:
        """Return the processes of the services' commands that process `pid` has started and that still run."""
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return []
        found = []
        for thread in threads:
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split() if self._is_command(int(child))]
        return found

    def _is_command(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read()
        except OSError:
            return False
        # The reader and the like are certvigil's own.
        return self.directory.encode() in words and b"monitor.main" not in words and b"certvigil.yaml" not in words

    def holds(self, data: bytes) -> bool:
        """Whether some file of a component, or beside it, or of a backup set, holds exactly this."""
        places = [f"{each.directory}/tls" for each in self.components] + [f"{self.directory}/actor"]
        for place in places:
            for directory, _, names in os.walk(place):
                for name in names:
                    with suppress(OSError), open(os.path.join(directory, name), "rb") as file:
                        if file.read(len(data) + 1) == data:
                            return True
        return False

    def mend(self) -> list[str]:
        """Put things right as an administrator would; returns what is wrong even then."""
        self.empty_inboxes()
        issued = self.issue()
        for each in self.components:
            each.delay(0.0)
            each.install(issued)
            each.ask("restart")
        with suppress(TimeoutError):
            wait_for(lambda: all(each.served() == {leaf_of(issued)} for each in self.components), PATIENCE / 4)
        for name in self.names:
            code, said = self.run("recover", "--thaw", name)
            if code:
                return [f"a component that was put right is not thawed: {said.strip()}"]
        return [
            f"{each.name}: put right and thawed, it is not served"
            for each in self.components
            if each.served() != {leaf_of(issued)} or each.on_disk() != FilesOnDisk(leaf_of(issued), whole=True)
        ]

    def is_well(self) -> bool:
        """Whether every component serves the one certificate that is on disk, and may be changed."""
        if frozen(self.records()):
            return False
        leaves = {each.on_disk() for each in self.components}
        return len(leaves) == 1 and all(each.served() == {next(iter(leaves)).leaf} for each in self.components)


def frozen(records: Sequence[Record]) -> frozenset[str]:
    """Return the components that are frozen after these records."""
    now: set[str] = set()
    for each in records:
        if each["event"] == "frozen":
            now |= set(each["components"])
        elif each["event"] == "thawed":
            now -= set(each["components"])
    return frozenset(now)


@dataclass(slots=True)
class _Known:
    """How far a journal was read."""

    inode: int = 0
    records: int = 0
    end: int = 0


def leaf_of(issued: Issued) -> str:
    """Return the SHA-256 of a certificate."""
    return hashlib.sha256(issued.der()).hexdigest()


def kill(pid: int) -> None:
    """End a process at once."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def gone(pids: Sequence[int]) -> bool:
    """Whether none of these processes runs any more; those that nobody waited for count as gone."""
    return not any(_runs(each) for each in pids)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(moment: float) -> None:
    """Return at that time of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
