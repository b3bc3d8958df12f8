"""A component on real servers, acted on under its configuration: in this process, or by the command line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from actions import backup
from actions.candidate import Given, NoCandidate, read_candidates
from actions.ending import Ending
from actions.plan import Order
from actions.plan_activation import plan_activation
from actions.plan_replacement import plan_replacement
from actions.plan_rollback import plan_rollback
from actions.prepare import Prepared, RefusedPlan
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from config.load import load
from config.model import Config
from config.service import Service, systemd
from monitor.actor.context import ActorContext, actor_context
from monitor.lab.ca import Issued
from monitor.lab.process import find_command
from monitor.lab.servers import BackgroundServer, Lighttpd, Site, replace_file, write_site
from monitor.state.trust import read_trust_context
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.real_server import service_of
from tests.kit.supervisor import Supervisor

DaemonKind = TypeVar("DaemonKind", bound=BackgroundServer)


def on_disk(directory: str | Path, actor: str | Path) -> dict[str, bytes]:
    """Return the content of every file in a directory, by name.

    But for what was replaced and stays linked for a while, as the journal in the actor's directory has it.
    """
    journal = Path(actor, "journal.jsonl")
    # It is taken as it is: some tests damage it.
    noted = journal.read_bytes() if journal.exists() else b""
    files = (each for each in Path(directory).iterdir() if not (each.name[0] == "." and each.name.encode() in noted))
    return {each.name: each.read_bytes() for each in files}


@dataclass
class InstalledComponent:
    """The component `web`: its files, its service, where it is served, and who must accept it."""

    directory: str
    site: Site
    service: Service
    endpoints: tuple[Mapping[str, str], ...]
    """As in the configuration."""
    clients: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: {"browser": {}})
    """By name, as in the configuration; all of them trust `ROOT`."""
    validation: Mapping[str, object] = field(
        default_factory=lambda: {"successes": 2, "interval": "0.1s", "deadline": "3s", "handshakes": 2}
    )

    @property
    def config_file(self) -> str:
        """The configuration as last declared."""
        return os.path.join(self.directory, "certvigil.yaml")

    def declare(self) -> Config:
        """Write the configuration, and return it as read back."""
        os.makedirs(self.directory, exist_ok=True)
        root = os.path.join(self.directory, "root.pem")
        replace_file(root, ROOT.pem())
        document = {
            "state_directory": os.path.join(self.directory, "state"),
            "actor": {
                "directory": os.path.join(self.directory, "actor"),
                "socket": os.path.join(self.directory, "actor.sock"),
            },
            "trust_stores": {"root": {"bundle": root}},
            "clients": {name: {"trusts": "root", **more} for name, more in self.clients.items()},
            "components": {
                "web": {
                    "artefacts": {
                        "certificate": self.site.certificate,
                        "key": self.site.key,
                        **({"chain": self.site.chain} if self.site.chain else {}),
                    },
                    "endpoints": self.endpoints,
                    "clients": sorted(self.clients),
                    "service": _declared(self.service),
                }
            },
            "validation": self.validation,
        }
        replace_file(self.config_file, json.dumps(document).encode())
        config = load(self.config_file, {})
        assert isinstance(config, Config), config
        return config

    @contextmanager
    def acting(self) -> Iterator[tuple[ActorContext, TransactionContext]]:
        """Give what acts on it, with the service as it is here: the configuration cannot say all of it."""
        with actor_context(read_trust_context(self.declare())[0]) as context:
            yield context, replace(context.transaction, services={"web": self.service})

    def order(self, issued: Issued, at: float | None = None) -> Order:
        """Return the order that replaces the files by `issued`, planned now or at Unix time `at`."""
        with self.acting() as (context, _):
            return order_of(context, issued, at)

    def carry_out(self, order: Order) -> Ending:
        """Carry out an order."""
        with self.acting() as (_, transaction):
            return transact(transaction, order)

    def intrude(self) -> None:
        """Have somebody write another key between the test of the new files and the restart: then it freezes."""
        theirs, kept = Path(self.directory).parent / "theirs.key", Path(self.directory).parent / "kept.crt"
        theirs.write_bytes(fresh().key_pem())
        kept.write_bytes(Path(self.site.certificate).read_bytes())
        script = f"cmp -s {self.site.certificate} {kept} || cp {theirs} {self.site.key}"
        self.service = replace(self.service, test=("/bin/sh", "-c", script))

    def replace(self, issued: Issued) -> Ending:
        """Replace the files by `issued`."""
        return self.carry_out(self.order(issued))

    def activate(self) -> Ending:
        """Have the service serve what is on disk."""
        return self._act(lambda context: plan_activation([context.site("web")], context.world, time.time()))

    def rollback(self) -> Ending:
        """Give the files before the last change back."""

        def plan(context: ActorContext) -> Prepared | RefusedPlan:
            content = backup.content(context.world, context.transaction.backups, context.backup_sets("web")[-1])
            return plan_rollback([context.site("web")], content, context.world, time.time())

        return self._act(plan)

    def _act(self, plan: Callable[[ActorContext], Prepared | RefusedPlan]) -> Ending:
        with self.acting() as (context, transaction):
            made = plan(context)
            assert isinstance(made, Prepared), made
            return transact(transaction, made.order)

    def on_disk(self) -> dict[str, bytes]:
        """Return the content of every file in the certificate's directory, as the function of this name does."""
        return on_disk(Path(self.site.certificate).parent, f"{self.directory}/actor")


class ServerMachine:
    """A machine in a directory of its own, with one component and servers that run until `cleanup`."""

    def __init__(self, directory: Path, cleanup: ExitStack) -> None:
        self.directory, self.cleanup = directory, cleanup
        self.old = fresh()
        """What the component has at first."""

    def site(self, stem: str = "site", **more: Any) -> Site:
        """Write what it has at first to files."""
        return write_site(str(self.directory / stem), self.old, stem=stem, **more)

    def start(self, kind: type[DaemonKind], *sites: Site, **more: Any) -> DaemonKind:
        """Start a server of `sites`."""
        directory = str(self.directory / f"server-{len(list(self.directory.glob('server-*')))}")
        server = kind(directory, sites, **more)
        self.cleanup.enter_context(server)
        return server

    def component(self, server: BackgroundServer, service: Service | None = None) -> InstalledComponent:
        """Return the component that a running server is, honest or driven as `service` says."""
        return self.declared(server.sites[0], service or service_of(server), {"address": server.address, "name": NAME})

    def supervised(self, with_the_new: str) -> tuple[InstalledComponent, Lighttpd]:
        """Return a component on a lighttpd that a supervisor runs otherwise `with_the_new` certificate."""
        site = self.site()
        server = Lighttpd(str(self.directory / "server"), [site])
        with server:
            command = f"{find_command('lighttpd')} -D -f {server.config_file}"
        line = self.unless_old(site, with_the_new.format(lighttpd=command)) + f"exec {command}"
        component = self.declared(site, Service(("/bin/true",)), {"address": server.address, "name": NAME})
        manager = Supervisor(str(self.directory / "manager"), ("/bin/sh", "-c", line), (server.host, server.port))
        self.cleanup.enter_context(manager)
        component.service = systemd("web.service", systemctl=manager.systemctl)
        return component, server

    def declared(self, site: Site, service: Service, *endpoints: dict[str, str]) -> InstalledComponent:
        """Return the component that has the files of `site` and is looked at where the configuration would say."""
        replace_file(str(self.directory / "kept.crt"), Path(site.certificate).read_bytes())
        return InstalledComponent(str(self.directory / "certvigil"), site, service, endpoints)

    def unless_old(self, site: Site, then: str) -> str:
        """Return the beginning of a line of shell that does something where the certificate on disk is a new one."""
        return f"cmp -s {site.certificate} {self.directory}/kept.crt || {{ {then}; }}; "


def order_of(context: ActorContext, issued: Issued, at: float | None = None) -> Order:
    """Return the order that replaces the files of `web` by `issued`, planned now or at Unix time `at`."""
    candidates = read_candidates([Given("new", issued.chain_pem() + issued.key_pem())])
    assert not isinstance(candidates, NoCandidate), candidates
    site = replace(context.site("web"), allow_shorter=True)
    made = plan_replacement([site], candidates, context.world, time.time() if at is None else at)
    assert isinstance(made, Prepared), made
    return made.order


def _declared(service: Service) -> dict[str, object]:
    given = {
        "test": service.test,
        "restart": service.restart,
        "reload": service.reload,
        "stop": service.stop,
        "start": service.start,
    }
    return {
        "activate": service.activate,
        "timeout": f"{service.timeout:g}s",
        **{name: list(command) for name, command in given.items() if command},
    }


NOT_FROZEN = "noted      web: it was not frozen; the fault counts as known, and it may be changed"
