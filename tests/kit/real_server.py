"""Real servers as components: their files, the commands that drive them, and looks by handshake."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from actions.ending import Ending
from actions.journal import Journal
from actions.late import Compared, look_again
from actions.plan import Change, FileState, Kind, Order, Plan, Serving
from actions.target import state
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from actions.validate import Acceptance, Live, LiveView, Served, Terms
from actions.world import World
from config.service import Activation, Service
from monitor.lab.ca import Authority, Issued
from monitor.lab.process import find_command
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx, Site
from tests.kit.worlds import LaterWorld, StepWorld, names_of


def service_of(server: BackgroundServer) -> Service:
    """Return the service that a running server is; its commands return before it has done what they say."""
    test = (find_command(server.test_command[0]) or server.test_command[0], *server.test_command[1:])
    if isinstance(server, Nginx):
        reload = (*test[:-1], "-s", "reload")
        return Service(restart=reload, reload=reload, test=test, activate=Activation.RELOAD)
    if isinstance(server, Lighttpd):
        # lighttpd starts anew on this signal, in the same process.
        return Service(restart=("/bin/kill", "-USR1", str(server.pid)), test=test)
    hang_up = ("/bin/kill", "-HUP", str(server.pid))
    return Service(restart=hang_up, reload=hang_up, test=test, activate=Activation.RELOAD)


@dataclass
class Real:
    """One real server below a directory of its own, with one client that trusts one CA."""

    server: BackgroundServer
    site: Site
    trusts: Authority
    state: str
    terms: Terms = field(default_factory=lambda: Terms(successes=3, interval=0.1, deadline=30.0))

    def context(self, world: World) -> TransactionContext:
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        services = {"web": service_of(self.server)}
        if isinstance(world, StepWorld):
            world.spelling = names_of(services, (self.state, "state"), (os.path.dirname(self.site.certificate), "web"))
        journal = Journal(world, f"{self.state}/journal.jsonl")
        return TransactionContext(world, journal, self.state, services, Live(self.look, self.judge), self.terms)

    def let_go(self) -> None:
        """Have let go what stays linked, as ten minutes later."""
        context = self.context(LaterWorld())
        with closing(context.journal):
            assert look_again(context) == Compared()

    def replace(self, world: World, order: Order) -> Ending:
        context = self.context(world)
        with closing(context.journal):
            return transact(context, order)

    def look(self, _components: tuple[str, ...], _now: float) -> LiveView:
        leaf, accepted = self.handshake()
        return LiveView((Served("web", "default", (leaf,) if leaf else ()),), self._edge(accepted))

    def judge(self, _components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> frozenset[Acceptance]:
        return self._edge(self.site.certificate in files)

    @staticmethod
    def _edge(accepted: bool) -> frozenset[Acceptance]:
        return frozenset({Acceptance("browser", "web")} if accepted else ())

    def handshake(self) -> tuple[str | None, bool]:
        """Return the SHA-256 of the leaf that is served, and whether the client accepts it."""
        context = ssl.create_default_context(cadata=self.trusts.pem().decode())
        context.check_hostname = False
        for mode in (ssl.CERT_REQUIRED, ssl.CERT_NONE):
            context.verify_mode = mode
            try:
                raw = socket.create_connection((self.server.host, self.server.port), timeout=10.0)
                with raw, context.wrap_socket(raw) as connection:
                    der = connection.getpeercert(binary_form=True) or b""
                    return hashlib.sha256(der).hexdigest(), mode is ssl.CERT_REQUIRED
            except ssl.SSLCertVerificationError:
                continue
            except OSError:
                break
        return None, False

    def order(self, issued: Issued) -> Order:
        content = {self.site.key: issued.key_pem(), self.site.certificate: issued.chain_pem()}
        changes = []
        for path, data in content.items():
            before = state(World(), path)
            assert before is not None
            digest = hashlib.sha256(data).hexdigest()
            changes.append(Change("web", path, before, FileState(digest, before.mode, before.owner, before.group)))
        leaf = hashlib.sha256(issued.der()).hexdigest()
        old = self.handshake()[0]
        assert old is not None
        return Order(
            Plan(
                Kind.REPLACE,
                ("web",),
                tuple(changes),
                (),
                (Serving("web", ((leaf,),)),),
                (Serving("web", ((old,),)),),
            ),
            content,
        )

    def on_disk(self) -> str:
        """Return the SHA-256 of the leaf in the certificate's file."""
        with open(self.site.certificate, encoding="ascii") as file:
            first = file.read().partition("-----END CERTIFICATE-----\n")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest()
