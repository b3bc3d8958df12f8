"""What is needed to act under one configuration: its trust stores, the journal, the services, eyes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace

from actions import backup
from actions.account import Account
from actions.journal import Journal
from actions.precheck import Issuers
from actions.prepare import Refused, Site, plan_activation
from actions.rehearse import Stage
from actions.transaction import Setting
from actions.validate import Terms
from actions.world import World
from config.model import AllowedIssuer, Config
from monitor.actor.sight import endpoints_of, live
from monitor.actor.worth import worth_of
from monitor.surroundings import Surroundings
from probes.tls.drive import look_blocking


@dataclass(frozen=True, slots=True)
class Workbench:
    """What is needed to act under one configuration."""

    surroundings: Surroundings
    world: World
    setting: Setting

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.surroundings.config

    def site(self, name: str, issuers: tuple[AllowedIssuer, ...] = ()) -> Site:
        """Return the component called `name`, with what its endpoints present now.

        `issuers` are whose certificates it may be given; empty for anybody's.
        """
        component = self.config.components[name]
        stages = tuple(
            Stage(endpoint, self.surroundings.views(endpoint.clients), look_blocking(endpoint, time.time()).presented)
            for endpoint in endpoints_of(self.config, component)
        )
        given_up = Account.of(self.setting.journal.records()).why_not
        return Site(component, stages, tuple(map(self._issuers, issuers)), given_up=given_up)

    def _issuers(self, allowed: AllowedIssuer) -> Issuers:
        return Issuers(str(allowed), allowed.spki_sha256 or "", self.surroundings.store_view(allowed.trust_store))

    def inbox(self, name: str) -> str:
        """Return the directory in which candidates for the component called `name` are put."""
        return os.path.join(self.config.settings.actor.inbox_directory, name)

    def make_inboxes(self) -> None:
        """Make the inbox of each component that may be changed, where it is missing; raises OSError."""
        for name, component in self.config.components.items():
            if component.service is not None:
                self.world.make_directory(os.path.dirname(self.inbox(name)), 0o755)
                self.world.make_directory(self.inbox(name), 0o755)

    def backup_sets(self, name: str) -> Sequence[backup.BackupSet]:
        """Return the backup sets of a component, oldest first; raises OSError, BackupError."""
        return backup.sets(self.world, self.setting.backups, name)


def journal_path(config: Config) -> str:
    """Return where the actor's journal lies."""
    return os.path.join(config.settings.actor.directory, "journal.jsonl")


@contextmanager
def workbench(surroundings: Surroundings) -> Iterator[Workbench]:
    """Give what is needed to act; raises OSError or JournalError where the actor's directory cannot be used."""
    config, world = surroundings.config, World()
    directory = config.settings.actor.directory
    os.makedirs(directory, mode=0o700, exist_ok=True)
    journal = Journal(world, journal_path(config), config.host)
    try:
        services = {name: each.service for name, each in config.components.items() if each.service is not None}
        terms = Terms(*astuple(config.settings.validation))
        eyes = live(surroundings, world, terms.handshakes)

        def fit(name: str, now: float) -> str:
            made = plan_activation([bench.site(name)], world, now)
            return "; ".join(each.detail for each in made.objections) if isinstance(made, Refused) else ""

        def given_up() -> frozenset[str]:
            return frozenset(Account.of(journal.records()).given_up)

        eyes = replace(eyes, worth=worth_of(surroundings, world, given_up), fit=fit)
        bench = Workbench(surroundings, world, Setting(world, journal, directory, services, eyes, terms))
        yield bench
    finally:
        journal.close()
