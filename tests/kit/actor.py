"""A real actor, and a real nginx that it may change, with a daemon beside them where one is wanted."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from actions.journal_state import Ruling
from monitor.actor.authority import Role
from monitor.actor.client import NoActor, ask
from monitor.actor.request import Document, Request, Verb
from monitor.lab.ca import Authority, Issued, bundle
from monitor.lab.process import find_command, wait_for
from monitor.lab.servers import Nginx, Site, write_site
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import PATIENCE, certvigil, start
from tests.kit.forks import Child

ISSUER: Final = {"trust_store": "corporate"}
"""As it is configured: by the store in which its root is."""


@dataclass(frozen=True)
class Right:
    """The right by which somebody has a plan carried out, as in `Work`."""

    role: Role
    approval: Ruling | None = None


PERSON: Final = Right(Role.OPERATOR)
APPROVED: Final = Right(Role.DAEMON, Ruling("somebody", 0.0, float("inf")))
ALONE: Final = Right(Role.DAEMON)
"""The daemon asks, and no person has approved the plan."""


class StartedActor:
    """A real actor; as a context manager it runs inside the block, and never after it."""

    def __init__(self, config_file: str, socket: str, log_file: str, wrapper: Sequence[str] = ()) -> None:
        """Configure it; `wrapper` is what takes rights away before."""
        self.config_file, self.socket, self.log_file = config_file, socket, log_file
        self._wrapper = tuple(wrapper)
        self._process: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; return once it answers."""
        given = ("actor", "--config", self.config_file, "--log-level", "debug")
        self._process = start(given, self.log_file, self._wrapper)
        wait_for(self._answers, PATIENCE, "the actor's answer")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.text
        try:
            self.ask(Request(Verb.STATE))
        except (NoActor, OSError):
            return False
        return True

    def kill(self) -> None:
        """End it at once, with nothing tidied up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> int:
        """Send the signal that is to end it, and return its exit code; fails where it takes longer."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(patience)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, request: Request, steps: list[str] | None = None) -> Document:
        """Return what it answers; the steps of a transaction are added to `steps`."""
        heard: list[str] = [] if steps is None else steps
        return ask(self.socket, request, lambda step: heard.append(step["event"]), timeout=60.0)

    @property
    def text(self) -> str:
        """Everything it wrote to standard output and error."""
        return Path(self.log_file).read_text(encoding="utf-8")


class ActorHost:
    """An actor with its configuration and journal, below a directory that only root and we ourselves can write to."""

    directory: str

    @property
    def config_file(self) -> str:
        """The configuration, of actor and daemon alike."""
        return f"{self.directory}/certvigil.yaml"

    @property
    def settings(self) -> dict[str, Any]:
        """What the actor is told of itself."""
        return {
            "socket": f"{self.directory}/actor.sock",
            "directory": f"{self.directory}/actor",
            "inbox_directory": f"{self.directory}/inbox",
            "require_synchronised_clock": False,
        }

    def actor(self) -> StartedActor:
        """Return an actor, not running yet."""
        return StartedActor(self.config_file, f"{self.directory}/actor.sock", f"{self.directory}/actor.log")

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command, and return its exit code and all that it says."""
        ran = certvigil(*arguments, "--config", self.config_file)
        assert "PRIVATE KEY" not in ran.stdout + ran.stderr
        return ran.returncode, ran.stdout + ran.stderr

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Return the journal."""
        text = Path(f"{self.directory}/actor/journal.jsonl").read_bytes().rstrip(b"\0").decode()
        return [json.loads(line) for line in text.splitlines()]


@dataclass
class ActorHouse(ActorHost):
    """A component that may be changed."""

    directory: str
    server: Nginx
    site: Site
    old: Issued

    @property
    def inbox(self) -> str:
        """Where candidates are put."""
        return f"{self.directory}/inbox/web"

    def component(self, **more: object) -> dict[str, object]:
        """Return the component as it is configured."""
        nginx = [find_command("nginx"), *self.server.test_command[1:]]
        return {
            "artefacts": {"certificate": self.site.certificate, "key": self.site.key},
            "endpoints": [{"address": self.server.address, "name": NAME, "every": "0.5s"}],
            "clients": ["browser"],
            "service": {
                "test": nginx,
                "activate": "reload",
                "reload": [*nginx[:-1], "-s", "reload"],
                "restart": ["/bin/false"],
            },
            **more,
        }

    def document(self, component: Mapping[str, object] | None = None, **actor: object) -> dict[str, Any]:
        """Return the configuration."""
        return {
            "actor": {**self.settings, **actor},
            "trust_stores": {"corporate": {"bundle": f"{self.directory}/root.pem"}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": {"web": self.component(**(component or {}))},
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "5s", "handshakes": 2},
        }

    def configure(self, component: Mapping[str, object] | None = None, **actor: object) -> None:
        """Write the configuration, as one whole file."""
        new = f"{self.config_file}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w", encoding="utf-8") as file:
            json.dump(self.document(component, **actor), file)
        os.rename(new, self.config_file)

    def put(self, issued: Issued, issuing: Authority = ISSUING, *, key: bool = True) -> None:
        """Put a candidate into the inbox, file after file."""
        self.put_file("chain.pem", bundle([issued, issuing]))
        if key:
            self.put_file("new.key", issued.key_pem())

    def put_file(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Put one file into the inbox, and return its path."""
        os.makedirs(self.inbox, mode=0o755, exist_ok=True)
        path = f"{self.inbox}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
        return path

    def on_disk(self) -> dict[str, bytes]:
        """Return what the component's files hold."""
        return {path: Path(path).read_bytes() for path in (self.site.certificate, self.site.key)}


@contextmanager
def house(old: Issued | None = None) -> Iterator[ActorHouse]:
    """Give a house with its server running."""
    with tempfile.TemporaryDirectory(prefix="cv-") as directory:
        os.chmod(directory, 0o755)
        old = old or fresh()
        Path(directory, "root.pem").write_bytes(ROOT.pem())
        site = write_site(f"{directory}/tls", old)
        with Nginx(f"{directory}/nginx", [site]) as server:
            made = ActorHouse(directory, server, site, old)
            made.configure()
            yield made
