"""An nginx as a component that the command line changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from actions.journal import Journal
from actions.journal_state import JournalState
from actions.world import World
from monitor.lab.ca import Issued, bundle
from monitor.lab.process import find_command
from monitor.lab.servers import Nginx, Site, write_site
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import certvigil
from tests.kit.scene import kept_aside


@dataclass
class WebComponent:
    """nginx as a component, whose client trusts one CA."""

    directory: Path
    server: Nginx
    site: Site
    old: Issued

    @property
    def config(self) -> str:
        return str(self.directory / "certvigil.yaml")

    def declare(self, *, write_mode: str = "rename", **service: object) -> None:
        nginx = [find_command("nginx"), *self.server.test_command[1:]]
        commands = {
            "test": nginx,
            "activate": "reload",
            "reload": [*nginx[:-1], "-s", "reload"],
            "restart": ["/bin/false"],
        }
        component = {
            "artefacts": {"certificate": self.site.certificate, "key": self.site.key},
            "endpoints": [{"address": self.server.address, "name": NAME}],
            "clients": ["browser"],
            "service": commands | service,
            "write_mode": write_mode,
        }
        document = {
            "state_directory": str(self.directory / "state"),
            "actor": {"directory": str(self.directory / "actor")},
            "trust_stores": {"corporate": {"bundle": str(self.directory / "root.pem")}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": {"web": component},
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "2s", "handshakes": 2},
        }
        Path(self.config).write_text(json.dumps(document))

    def candidate(self, issued: Issued) -> list[str]:
        """Write a candidate in disorder, and return the options that name it."""
        mess = self.directory / "mess.txt"
        mess.write_bytes(b"\xef\xbb\xbfnew one\r\n" + bundle([ROOT, ISSUING, issued]).replace(b"\n", b"\r\n"))
        key = self.directory / "new.key"
        key.write_bytes(issued.key_pem())
        return ["--from", str(mess), "--from", str(key)]

    def act(self, *arguments: str) -> tuple[int, str]:
        ran = certvigil(*arguments, "--config", self.config)
        assert "PRIVATE KEY" not in ran.stdout + ran.stderr
        return ran.returncode, ran.stdout + ran.stderr

    def on_disk(self) -> dict[str, bytes]:
        return {name: Path(name).read_bytes() for name in (self.site.certificate, self.site.key)}

    def beside(self) -> set[str]:
        kept = {os.path.basename(each) for each in self.aside()}
        return set(os.listdir(os.path.dirname(self.site.certificate))) - {"site.crt", "site.key"} - kept

    def aside(self) -> set[str]:
        """Return the files that stay linked after they were replaced."""
        if not os.path.exists(path := f"{self.directory}/actor/journal.jsonl"):
            return set()
        with closing(Journal(World(), path)) as journal:
            return kept_aside(JournalState.of(journal.records()))


@contextmanager
def serving(directory: Path) -> Iterator[WebComponent]:
    """Give the component in a directory, with its server running."""
    old = fresh()
    (directory / "root.pem").write_bytes(ROOT.pem())
    site = write_site(str(directory / "tls"), old)
    with Nginx(str(directory / "nginx"), [site]) as server:
        web = WebComponent(directory, server, site, old)
        web.declare()
        yield web


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebComponent]:
    with serving(tmp_path) as web:
        yield web
