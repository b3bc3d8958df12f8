"""Appliances with real servers, each with its own layout of files: console and engine on lighttpd, portal on nginx."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from actions.journal_state import ActionRequest
from config.load import load
from config.model import Config
from monitor.actor.context import actor_context
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle
from monitor.actor.request import Document, Request, Verb
from monitor.actor.sightings import Sightings
from monitor.actor.work import Work
from monitor.lab.ca import Issued
from monitor.lab.process import find_command
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx, Site, replace_file, write_site
from monitor.state.trust import read_trust_context
from tests.kit.actor import ISSUER, PERSON, ActorHost, Right
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.liar import Shifted
from tests.kit.openssl_client import presented

MEMBERS: Final = {
    "primary": ("console", "portal"),
    "secondary": ("console", "engine"),
    "single": ("console", "engine", "portal"),
}
"""The components of each kind of appliance, which is also the name of its group."""

_VENDOR: Final = {
    "console": {"combined": "console/etc/certificate.pem"},
    "portal": {"certificate": "nxnginx/ssl/nginx.crt", "key": "nxnginx/ssl/nginx.key"},
    "engine": {
        "certificate": "engine/common/etc/certificate.pem",
        "key": "engine/common/etc/key.pem",
        "chain": "engine/common/etc/intermediate.crt",
    },
}
"""The places of artefacts on the vendor's appliance."""


@dataclass
class Appliance(ActorHost):
    """An appliance, of which each component may be changed."""

    role: str
    directory: str
    servers: Mapping[str, BackgroundServer]
    old: Issued
    world: Shifted = field(default_factory=Shifted)
    """Of the work in this process."""
    sightings: Sightings = field(default_factory=Sightings)

    def artefacts(self, name: str) -> dict[str, str]:
        """Return the files of a component, each appliance's own way."""
        site = self.servers[name].sites[0]
        match name:
            case "console":
                return {"combined": site.certificate}
            case "portal":
                return {"certificate": site.certificate, "key": site.key}
            case _:
                return {"certificate": site.certificate, "key": site.key, "chain": str(site.chain)}

    def component(self, name: str, **more: object) -> dict[str, object]:
        """Return a component as it is configured."""
        server = self.servers[name]
        test = [str(find_command(server.test_command[0])), *server.test_command[1:]]
        if isinstance(server, Nginx):
            reload = [*test[:-1], "-s", "reload"]
            service: dict[str, object] = {"test": test, "activate": "reload", "reload": reload, "restart": reload}
        else:
            service = {"test": test, "restart": ["/bin/kill", "-USR1", str(server.pid)]}
        return {
            "artefacts": self.artefacts(name),
            "endpoints": [{"address": server.address, "name": NAME, "every": "0.5s"}],
            "clients": ["browser"],
            "service": service,
            **more,
        }

    def service(self, name: str, **commands: object) -> dict[str, object]:
        """Return the service of a component with other commands."""
        service = self.component(name)["service"]
        assert isinstance(service, dict)
        return {"service": {**service, **commands}}

    def document(self, components: Mapping[str, Mapping[str, object]] | None = None, **more: object) -> dict[str, Any]:
        """Return the configuration; `components` adds to each, `more` to the whole."""
        return {
            "actor": {**self.settings, "approvals_over_api": True},
            "state_directory": f"{self.directory}/state",
            "trust_stores": {"corporate": {"bundle": f"{self.directory}/root.pem"}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": {name: self.component(name, **(components or {}).get(name, {})) for name in self.servers},
            "groups": {self.role: list(self.servers)},
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "8s", "handshakes": 2},
            **more,
        }

    def configure(self, components: Mapping[str, Mapping[str, object]] | None = None, **more: object) -> None:
        """Write the configuration, as one whole file."""
        replace_file(self.config_file, json.dumps(self.document(components, **more)).encode())

    def configure_by_profile(self, **appliance: object) -> None:
        """Lay the files out as the vendor does, and configure the profile: the site gives commands and addresses."""
        document = self.document()
        components: dict[str, dict[str, object]] = {}
        for name in self.servers:
            for role, file in self.artefacts(name).items():
                there = Path(self.directory, "root/var/nexthink", _VENDOR[name][role])
                there.parent.mkdir(parents=True, exist_ok=True)
                # The laboratory's files, under the names of the appliance's.
                os.rename(file, there)
                os.symlink(there, file)
            self._lay_out_configuration(name)
            given = document["components"][name]
            service = {key: given["service"][key] for key in ("test", "restart")}
            components[name] = {"endpoints": given["endpoints"], "service": service}
        ours = {"profile": "nexthink-v6", "components": components}
        ours["appliance"] = {"role": self.role, "external_name": NAME, "root": f"{self.directory}/root", **appliance}
        ours["trust_stores"] = {"outsiders": document["trust_stores"]["corporate"]}
        ours |= {key: document[key] for key in ("actor", "state_directory", "validation")}
        replace_file(self.config_file, json.dumps(ours).encode())

    def _lay_out_configuration(self, name: str) -> None:
        """Put the file that names the chain of a component where the vendor has it."""
        root = Path(self.directory, "root/var/nexthink")
        if name == "console":
            there = root / "console/etc/lighttpd-console.conf"
            os.rename(self.servers[name].config_file, there)
            os.symlink(there, self.servers[name].config_file)
        if name == "engine":
            there = root / "engine/01/etc/nxengine.xml"
            there.parent.mkdir(parents=True)
            chain = root / _VENDOR[name]["chain"]
            there.write_text(f"<c><ssl><certificate_chain_file>{chain}</certificate_chain_file></ssl></c>\n")

    def automatic(self) -> dict[str, Mapping[str, object]]:
        """Return what each component says where nobody is to be asked."""
        return {name: {"mode": "auto", "allowed_issuers": [ISSUER]} for name in self.servers}

    def inbox(self, name: str = "") -> str:
        """Return the inbox of the group, or of a component."""
        return f"{self.directory}/inbox/{name or self.role}"

    def put(self, issued: Issued, name: str = "") -> None:
        """Put a candidate into an inbox."""
        os.makedirs(self.inbox(name), mode=0o755, exist_ok=True)
        replace_file(f"{self.inbox(name)}/.new", self.pem(issued), 0o600)
        os.rename(f"{self.inbox(name)}/.new", f"{self.inbox(name)}/{issued.certificate.serial_number}.pem")

    def pem(self, issued: Issued) -> bytes:
        """Return a candidate in one file."""
        return issued.chain_pem() + issued.key_pem()

    def given(self, issued: Issued) -> str:
        """Return the path of a candidate that a person hands over."""
        path = f"{self.directory}/given.pem"
        replace_file(path, self.pem(issued), 0o600)
        return path

    def ask(self, action: ActionRequest, right: Right = PERSON, verb: Verb = Verb.CARRY_OUT) -> Document:
        """Return what the actor's own work, done in this process, makes of an action."""
        return self.do(Request(verb, action), right)

    def do(
        self, request: Request, right: Right = PERSON, uid: int | None = None, files: CandidateFiles | None = None
    ) -> Document:
        """Return what the actor's own work, done in this process for a user, makes of a request."""
        config = load(self.config_file, {})
        assert isinstance(config, Config), config
        with actor_context(read_trust_context(config)[0]) as context:
            shifted = replace(context, world=self.world, transaction=replace(context.transaction, world=self.world))
            work = Work(shifted, "somebody", role=right.role, approval=right.approval, sightings=self.sightings)
            return handle(replace(work, files=files, uid=work.uid if uid is None else uid), request)

    def install(self, issued: Issued) -> None:
        """Put a certificate into place by hand, in every component, and have it served."""
        for name, server in self.servers.items():
            if name == "console":
                replace_file(server.sites[0].certificate, self.pem(issued), 0o600)
            else:
                server.sites[0].install(issued)
            server.reload()

    def served(self) -> dict[str, bytes]:
        """Return the leaf that each component presents."""
        return {name: presented(server)[0] for name, server in self.servers.items()}

    def serves(self, issued: Issued) -> bool:
        """Whether every component presents that certificate."""
        return set(self.served().values()) == {issued.der()}

    def on_disk(self) -> dict[str, bytes]:
        """Return what the files of all components hold."""
        return {path: Path(path).read_bytes() for name in self.servers for path in self.artefacts(name).values()}

    def last(self, event: str) -> Mapping[str, Any]:
        """Return the last record of an event."""
        return next(each for each in reversed(self.records()) if each["event"] == event)


@contextmanager
def running_servers(
    role: str, site_of: Callable[[str, str], Site]
) -> Iterator[tuple[str, Mapping[str, BackgroundServer]]]:
    """Give the directory of an appliance, with the root of its clients, and the server of each component, running.

    `site_of` writes the files of a component below that directory.
    """
    with tempfile.TemporaryDirectory(prefix="cv-") as directory, ExitStack() as stack:
        os.chmod(directory, 0o755)
        Path(directory, "root.pem").write_bytes(ROOT.pem())
        servers: dict[str, BackgroundServer] = {}
        for name in MEMBERS[role]:
            kind = Nginx if name == "portal" else Lighttpd
            servers[name] = stack.enter_context(kind(f"{directory}/server-{name}", [site_of(directory, name)]))
        yield directory, servers


def write_combined(directory: str, content: bytes) -> Site:
    """Write the one file of a console."""
    path = f"{directory}/console/certificate.pem"
    os.makedirs(os.path.dirname(path))
    replace_file(path, content, 0o600)
    return Site(path, path)


@contextmanager
def appliance(role: str = "primary") -> Iterator[Appliance]:
    """Give an appliance with its servers running."""
    old = fresh()

    def site_of(directory: str, name: str) -> Site:
        if name == "console":
            return write_combined(directory, old.chain_pem() + old.key_pem())
        return write_site(f"{directory}/{name}", old, stem=name, separate_chain=name == "engine")

    with running_servers(role, site_of) as (directory, servers):
        made = Appliance(role, directory, servers, old)
        made.configure()
        yield made
