"""The things that an action needs under one configuration: its trust stores, the journal, the services, eyes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, field, replace
from functools import partial
from types import MappingProxyType

from actions import audit, backup
from actions.artefact import presented_by
from actions.backup import Retention
from actions.compact import compact, is_due
from actions.component_files import held_by, keystore_password
from actions.component_site import ComponentSite, LastSet
from actions.journal import Journal, JournalError, Record
from actions.journal_state import JournalState, TakenIn
from actions.lines import had_no_chain, presentable
from actions.plan import Ill
from actions.plan_activation import plan_activation
from actions.precheck import Issuers
from actions.prepare import RefusedPlan
from actions.rehearse import RehearsalStage
from actions.service import test
from actions.soundness import faults_in, ill_of
from actions.transaction_state import TransactionContext
from actions.trust_change import passwords_of
from actions.unseen import UnseenClient
from actions.validate import Terms
from actions.world import World
from config.immutable import immutable
from config.model import AllowedIssuer, Component, Config
from config.text import Log, printable
from config.vocabulary import Code, FileRole
from monitor.actor.live_view import endpoints_of, live
from monitor.actor.revocation import evidence_about
from monitor.actor.store_view import StoreEyes, with_stores
from monitor.actor.transactions import Transactions
from monitor.actor.worth import worth_of
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.judge.client import judge_chain, leaf_first
from probes.judge.revocation import SeenPath, judge_revocation, why_compromised
from probes.revocation.evidence import Evidence
from probes.tls.drive import look_blocking

log: Log = logging.getLogger("certvigil.actor")


@immutable
class ActorContext:
    """The things that an action needs under one configuration."""

    trust_context: TrustContext
    world: World
    transaction: TransactionContext
    store_eyes: StoreEyes
    """How clients of trust stores are looked at."""
    _transactions: TakenIn[Transactions] = field(
        default_factory=partial(TakenIn, Transactions.of), init=False, repr=False, compare=False
    )

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.trust_context.config

    def records(self) -> Sequence[Record]:
        """Return every record of the journal; raises JournalError, OSError."""
        return self.transaction.journal.records()

    def journal_state(self) -> JournalState:
        """Return the state that the journal's records make, not to be changed; raises JournalError, OSError."""
        return self.transaction.journal_state()

    def transactions(self) -> Transactions:
        """Return the transactions of the journal, as `journal_state`; raises JournalError, OSError."""
        return self._transactions.of(self.records())

    def site(
        self,
        name: str,
        issuers: tuple[AllowedIssuer, ...] = (),
        *,
        allow_shorter: bool = False,
        min_lifetime: float | None = None,
        attended: bool = False,
    ) -> ComponentSite:
        """Return the component called `name`, with the certificates of its endpoints now.

        `issuers` are whose certificates it may be given; empty for anybody's. For how long these must last is as in
        `ComponentSite`. Its configuration test is run only for a person, who is `attended` to.
        """
        component = self.config.components[name]
        stages = tuple(
            RehearsalStage(
                endpoint, self.trust_context.views(endpoint.clients), look_blocking(endpoint, time.time()).presented
            )
            for endpoint in endpoints_of(self.config, component)
        )
        return ComponentSite(
            component,
            stages,
            tuple(map(self._issuers, issuers)),
            allow_shorter,
            min_lifetime,
            lambda: self._last(component),
            lambda: attended and component.service is not None and test(self.world, component.service) is not None,
            self.journal_state().why_not,
            partial(self._revoked, component),
            partial(self._compromised, component),
            self.config.group_of.get(name, ""),
            tuple(self._unseen(component)),
        )

    def _revoked(self, component: Component, presented: Sequence[Certificate]) -> str:
        """Say which certificate of a chain is revoked, a sentence; empty where none is known to be."""
        paths, evidence, now = self._evidence(component, presented)
        found = judge_revocation((SeenPath(tuple(each)) for each in paths), evidence, now, lambda each: each.title)
        return next((each.detail for each in found if each.code is Code.REVOKED), "")

    def _compromised(self, component: Component, presented: Sequence[Certificate]) -> str:
        """Say that the leaf of a chain is revoked because its key is compromised, a sentence; else empty."""
        return why_compromised(*self._evidence(component, presented))

    def _evidence(
        self, component: Component, presented: Sequence[Certificate]
    ) -> tuple[Sequence[Sequence[Certificate]], Evidence, float]:
        """Return the paths of a chain that a component's clients build, what is known of their revocation, and now."""
        clients = (*component.clients, *(each for name in component.endpoints for each in self._clients(name)))
        views, now = self.trust_context.views(dict.fromkeys(clients)), self.world.now()
        evidence = evidence_about(self.trust_context, self.world, [presented], views, now)
        elsewhere = tuple(self.trust_context.trusts.values())
        return [judge_chain(leaf_first(presented), each, now, elsewhere).path for each in views], evidence, now

    def _clients(self, endpoint: str) -> tuple[str, ...]:
        return self.config.endpoints[endpoint].clients

    def _unseen(self, component: Component) -> Iterator[UnseenClient]:
        """Yield the clients of a component that validate by a trust store which nobody here can see."""
        confirmed = self.journal_state().confirmed
        for endpoint in endpoints_of(self.config, component):
            for client in map(self.trust_context.client, endpoint.clients):
                if client.validates and self.config.trust_stores[client.trusts].elsewhere is not None:
                    roots = frozenset(
                        root for (store, root), each in confirmed.items() if store == client.trusts and each.has
                    )
                    yield UnseenClient(client.name, client.trusts, endpoint.name, roots, endpoint.may_send_leaf_alone)

    def _last(self, component: Component) -> LastSet:
        """Return the newest backup set with which a server starts; raises OSError."""
        committed = self.transactions().to_be_served(component.name)
        password = keystore_password(component.artefacts, self.world)
        for each in reversed(self.backup_sets(component.name)):
            try:
                held = self._held(component, each)
            except (backup.BackupError, OSError):
                continue
            if not self._why_dead(component, held, password):
                chain = _presented(component, held, password)
                states = {copy.path: copy.state for copy in each.copies if copy.state is not None}
                return LastSet(chain, held.get(FileRole.KEYSTORE) or b"", states, committed)
        return LastSet(committed=committed)

    def unusable(self, of: backup.BackupSet) -> str:
        """Say why a backup set is of no use: it is damaged, lacks a file, or no server starts with it; printable.

        Empty where it can be used, and where nobody can tell.
        """
        component = self.config.components[of.component]
        if of.missing:
            return f"half a set: there is no {printable(', '.join(of.missing))} in {printable(of.folder)}"
        try:
            held = self._held(component, of)
            missing = [component.artefacts.files[role] for role in self._lacking(component, of, held)]
            dead = self._why_dead(
                component, held, keystore_password(component.artefacts, self.world), self._copies(component, of)
            )
            return dead or (f"it does not hold {printable(', '.join(missing))}" if missing else "")
        except backup.BackupError as error:
            return printable(str(error))
        except OSError:
            return ""

    def _lacking(
        self, component: Component, of: backup.BackupSet, held: Mapping[FileRole, bytes | None]
    ) -> Iterator[FileRole]:
        """Yield the files that a backup set should have: configuration files are only edited."""
        noted = {copy.path for copy in of.copies}
        for role, data in held.items():
            optional = role is FileRole.CHAIN and component.artefacts.lines
            was_missing = optional and (
                self.world.resolve(component.artefacts.files[role]) in noted or had_no_chain(component.artefacts, held)
            )
            if data is None and not role.is_line and not was_missing:
                yield role

    def _held(self, component: Component, of: backup.BackupSet) -> Mapping[FileRole, bytes | None]:
        """Return the content of a backup set for a component's files as they are configured now."""
        content = backup.content(self.world, self.transaction.backups, of)
        return held_by(component.artefacts, content, self.world)

    def presented_with(self, of: backup.BackupSet) -> tuple[Certificate, ...]:
        """Return the chain that a server presents with a backup set of a component; raises BackupError, OSError."""
        component = self.config.components[of.component]
        password = keystore_password(component.artefacts, self.world)
        return _presented(component, self._held(component, of), password)

    def _copies(self, component: Component, of: backup.BackupSet) -> Mapping[str, str]:
        """Return the path of the copy of each file in a backup set, by the configured path; raises OSError."""
        root = os.path.join(self.transaction.backups, of.component, of.transaction)
        # The copies in a folder have absolute names.
        copies = {copy.path: os.path.join(root, copy.name) for copy in of.copies if copy.name}
        given = component.artefacts.files.values()
        return {path: copies[there] for path in given if (there := self.world.resolve(path)) in copies}

    def _why_dead(
        self,
        component: Component,
        held: Mapping[FileRole, bytes | None],
        password: bytes | None,
        copies: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Say why no server starts with files that hold this; empty where one does. `copies` are their own paths."""
        faults = faults_in(component.artefacts, held, password, self.world.now())
        # The file that a service reads now may be in order.
        named = {given: f"{printable(copy)}, its copy of {printable(given)}" for given, copy in copies.items()}
        certain = (
            f"{named.get(each.target, printable(each.target))}: {each.detail}" for each in faults if each.certain
        )
        return f"no server starts with it: {'; '.join(certain)}" if ill_of(faults) is Ill.DEAD else ""

    def _issuers(self, allowed: AllowedIssuer) -> Issuers:
        return Issuers(str(allowed), allowed.spki_sha256 or "", self.trust_context.store_view(allowed.trust_store))

    def inbox(self, name: str) -> str:
        """Return the directory in which candidates for the component, or the group, called `name` are put."""
        return os.path.join(self.config.settings.actor.inbox_directory, name)

    def make_inboxes(self) -> None:
        """Make the inbox of what may be changed as one, where it is missing; raises OSError.

        A member of a group has none: what is put there is for all.
        """
        for name in self.config.subjects:
            if all(self.config.components[each].service is not None for each in self.config.members_of(name)):
                self.world.make_directory(os.path.dirname(self.inbox(name)), 0o755)
                self.world.make_directory(self.inbox(name), 0o755)

    def make_offered_directories(self) -> None:
        """Make the directories of offers, where they are missing; the site lets others write there. Raises OSError."""
        if (where := self.config.settings.actor.offered_directory) is None:
            return
        self.world.make_directory(where, 0o755)
        for name in self.config.subjects:
            if all(self.config.components[each].service is not None for each in self.config.members_of(name)):
                self.world.make_directory(os.path.join(where, name), 0o755)

    def audit(self) -> None:
        """Add new records of the journal to the audit; where that cannot be, it is logged."""
        try:
            self.add_to_audit(self.records())
        except (JournalError, OSError) as error:
            why = printable(str(error))
            log.error("the last actions are not in the audit yet, and will be added later: %s", why)  # noqa: TRY400

    def add_to_audit(self, records: Sequence[Record]) -> None:
        """Add those of the journal's `records` to the audit that are not there yet; raises OSError."""
        last = audit.add(self.world, audit_directory(self.config), records)
        if last is not None:
            # Kept elsewhere by whoever keeps logs elsewhere, it says that all before it was not written anew.
            log.info("the audit ends with entry %d, sha256 %s", last.number, printable(last.sha256))

    def tidy(self) -> None:
        """Have the journal compacted where it has become large; raises JournalError, OSError."""
        journal = self.transaction.journal
        if not is_due(journal.records(), journal.size):
            return
        before = journal.size
        if (why := compact(self.transaction, self.add_to_audit)) is not None:
            log.warning("the journal was not compacted: %s", printable(why))
        else:
            log.info("the journal was compacted from %d to %d bytes", before, journal.size)

    def backup_sets(self, name: str) -> Sequence[backup.BackupSet]:
        """Return certvigil's own backup sets of a component, oldest first; raises OSError, BackupError."""
        return backup.sets(self.world, self.transaction.backups, name)


def _presented(
    component: Component, held: Mapping[FileRole, bytes | None], password: bytes | None
) -> tuple[Certificate, ...]:
    return presented_by(presentable(component.artefacts, held), password)


def journal_path(config: Config) -> str:
    """Return where the actor's journal lies."""
    return os.path.join(config.settings.actor.directory, "journal.jsonl")


def audit_directory(config: Config) -> str:
    """Return where the segments of the audit lie."""
    return os.path.join(config.settings.actor.directory, "audit")


@contextmanager
def actor_context(trust_context: TrustContext) -> Iterator[ActorContext]:
    """Give the context of an action; raises OSError or JournalError where the actor's directory cannot be used."""
    config, world = trust_context.config, World()
    directory = config.settings.actor.directory
    os.makedirs(directory, mode=0o700, exist_ok=True)
    journal = Journal(world, journal_path(config), config.host)
    try:
        services = {name: each.service for name, each in config.components.items() if each.service is not None}
        services |= {name: each.service for name, each in config.changeable_stores.items() if each.service is not None}
        terms = Terms(*astuple(config.settings.validation))
        eyes = live(trust_context, world, terms.handshakes)

        def fit(name: str, now: float) -> str:
            made = plan_activation([context.site(name)], world, now)
            return "; ".join(each.detail for each in made.objections) if isinstance(made, RefusedPlan) else ""

        def given_up() -> frozenset[str]:
            return frozenset(context.journal_state().given_up)

        retention = Retention(config.settings.actor.keep_backups, config.settings.actor.backup_lifetime)
        eyes = replace(eyes, worth=worth_of(trust_context, world, given_up), fit=fit)
        store_eyes = StoreEyes(trust_context, world, lambda name: passwords_of(config.trust_stores[name], world))
        eyes = with_stores(eyes, store_eyes, config.changeable_stores)
        transaction = TransactionContext(world, journal, directory, services, eyes, terms, retention=retention)
        context = ActorContext(trust_context, world, transaction, store_eyes)
        try:
            yield context
        finally:
            if journal.appended:
                context.audit()
    finally:
        journal.close()
