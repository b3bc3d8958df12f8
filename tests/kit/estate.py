"""Daemons on which everything is wrong that a rule or a panel tells about."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from monitor.lab.ca import DAY, Authority, Issued, bundle
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, Site, replace_file, write_site
from tests.kit.actor import house
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon
from tests.kit.peers import Behaviour, HostilePeer

NAME: Final = "www.example.com"
SOON: Final = "0.5s"
RARELY: Final = "1h"


class Estate:
    """Five daemons, and the address of a sixth that does not answer; they run until `stack` ends."""

    def __init__(self, directory: str, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.root = Authority.root()
        self.issuing = self.root.intermediate()
        self._bundles = {
            name: self._write(f"{name}.pem", bundle([authority]))
            for name, authority in (("corporate", self.root), ("elsewhere", Authority.root("Another Root CA")))
        }
        now = time.time()
        self.served = self.issuing.issue(NAME)
        """With findings, and a client that accepts it as well as one that does not."""
        self._site = self._new_site("web", self.served)
        files = [self._write("good.pem", self.issuing.issue(NAME).chain_pem()), self._write("none.pem", b"none")]
        self.busy = self._daemon(
            {
                "rescan": SOON,
                "watch": [{"files": files}],
                "components": {
                    "web": {
                        "artefacts": {"certificate": self._site.certificate, "key": self._site.key},
                        "endpoints": [{"address": self._serve(self._site), "name": NAME, "every": SOON}],
                        "clients": ["browser", "java"],
                        "not_served_after": "0.1s",
                    }
                },
                "endpoints": [
                    self._endpoint("expired", self._issued(now - 40 * DAY, now - DAY)),
                    self._endpoint("expiring", self._issued(now - 80 * DAY, now + 5 * DAY)),
                    self._endpoint("other name", self.issuing.issue("elsewhere.example.com")),
                    {"name": "gone", "address": self._nobody(), "every": SOON},
                    {"name": "never", "address": self._peer(Behaviour.SILENT), "every": SOON, "timeout": RARELY},
                ],
                "waivers": [
                    {"target": "gone", "finding": "weak_key", "reason": "for the panel", "until": "2999-12-31"}
                ],
                "metrics": {"x509_cert": True},
            },
            ready=False,
        )
        # One whose third look lasts stays a warning.
        fading = {"address": self._peer(Behaviour.FADES), "timeout": RARELY, "every": SOON}
        self.cut_off = self._daemon(
            {"endpoints": [*({"address": self._nobody(), "every": SOON} for _ in "12"), fading]}
        )
        self.blind = self._daemon({})
        self.acting = self._acting("committed")
        # A service that takes nothing up does not serve the new certificate.
        self.undoing = self._acting("rolled_back", reload=["/bin/true"], restart=["/bin/true"])
        self.dead = self._nobody()
        for target in ("web/certificate", "expired", "expiring", "other name"):
            self.busy.wait_until("presents", target=target)
        self._go_wrong()

    @property
    def addresses(self) -> tuple[str, ...]:
        """What Prometheus is to scrape."""
        running = (self.busy, self.cut_off, self.blind, self.acting, self.undoing)
        return (*(each.web for each in running), self.dead)

    def _acting(self, ending: str, **service: object) -> RunningDaemon:
        """Return a daemon beside an actor that replaced something once, and waits for approval of the next."""
        where = self._stack.enter_context(house())
        ours = {"activate": "reload", **where.component()["service"], **service}  # type: ignore[dict-item]
        component = {"mode": "approve", "service": ours}
        where.configure(component)
        self._stack.enter_context(where.actor())
        telling = {
            "channels": {"ops": {"urls": [f"json://{self._nobody()}/"]}},
            "notifications": {"routes": [{"channels": ["ops"]}]},
            "policies": [
                {
                    "name": "tell",
                    "match": {"component": ["web"]},
                    "when": {"remaining_below": "100%"},
                    "do": [{"notify": ["ops"]}],
                }
            ],
        }
        daemon = self._stack.enter_context(RunningDaemon({**where.document(component), **telling}))
        where.put(fresh())
        files = [f"--from={where.inbox}/{name}" for name in ("chain.pem", "new.key")]
        _, said = where.command("replace", "web", *files)
        assert ending in said, said
        where.put(fresh())
        return daemon

    def _go_wrong(self) -> None:
        """Renew on disk alone; then break the configuration of a daemon, and have it read again."""
        self._site.install(self.issuing.issue(NAME))
        self.busy.wait_until("raised", code="not_served")
        self.busy.configure_with("endpoints: wrong")
        self.busy.send(signal.SIGHUP)
        self.busy.wait_until("raised", code="config_rejected")

    def _issued(self, begin: float, end: float) -> Issued:
        return self.issuing.issue(NAME, not_before=begin, not_after=end)

    def _daemon(self, config: Mapping[str, object], *, ready: bool = True) -> RunningDaemon:
        common = {
            "trust_stores": {name: {"bundle": path} for name, path in self._bundles.items()},
            "clients": {"browser": {"trusts": "corporate"}, "java": {"trusts": "elsewhere"}},
        }
        daemon = RunningDaemon({**common, **config})
        self._stack.callback(daemon.close)
        daemon.start(ready=ready)
        return daemon

    def _endpoint(self, name: str, issued: Issued) -> Mapping[str, object]:
        address = self._serve(self._new_site(name, issued))
        return {"name": name, "address": address, "server_name": NAME, "every": SOON, "clients": ["browser"]}

    def _serve(self, site: Site) -> str:
        return self._stack.enter_context(LocalServer([site])).address

    def _new_site(self, name: str, issued: Issued) -> Site:
        return write_site(os.path.join(self._directory, name), issued)

    def _nobody(self) -> str:
        return "{}:{}".format(*free_address())

    def _peer(self, behaviour: Behaviour) -> str:
        peer = self._stack.enter_context(HostilePeer(behaviour))
        return f"{peer.host}:{peer.port}"

    def _write(self, name: str, data: bytes) -> str:
        path = os.path.join(self._directory, name)
        replace_file(path, data)
        return path


def sha256(issued: Issued) -> str:
    """Return the hash by which a certificate goes."""
    return hashlib.sha256(issued.der()).hexdigest()
