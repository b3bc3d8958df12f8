"""The files that the configuration names for trust: trust stores, and the intermediates of clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from functools import partial
from typing import TypeVar, cast

from config.immutable import immutable
from config.model import DEFAULT_CLIENT, Client, Config, TrustStore
from config.policy import Replace
from config.text import harmless, printable, sentence
from config.vocabulary import Code, Severity
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.client import View
from probes.trust import Trust, TrustUnreadable, read_certificates, read_trust, trust_path
from probes.validation import SwitchReading, SwitchUnreadable, read_switch

T = TypeVar("T")
Tell = Callable[[Finding], None]


@immutable
class TrustContext:
    """The configuration, and the content of the files of its trust stores and clients."""

    config: Config
    trusts: Mapping[str, Trust]
    held: Mapping[str, tuple[Certificate, ...]]
    """Intermediates that each client holds itself."""
    switches: Mapping[str, SwitchReading] = field(default_factory=dict)
    """By client: what its own configuration says of its validation, where that could be read."""

    def views(self, clients: Iterable[str]) -> tuple[View, ...]:
        """Return the view of each of those clients whose trust store could be read."""
        chosen = (self.config.clients[name] for name in clients)
        return tuple(self._view(client) for client in chosen if client.trusts in self.trusts)

    def client(self, name: str) -> Client:
        """Return a client as it is configured; whether it validates is as its own configuration says."""
        client, read = self.config.clients[name], self.switches.get(name)
        return client if read is None else replace(client, validates=read.validates)

    def _view(self, client: Client) -> View:
        trust, held, read = self.trusts[client.trusts], self.held.get(client.name, ()), self.switches.get(client.name)
        if read is None:
            return View(client, trust, held)
        return View(self.client(client.name), trust, held, read.disabled)

    def store_view(self, store: str | None) -> View | None:
        """Return the view of a plain client with nothing but that trust store."""
        trust = self.trusts.get(store) if store else None
        return View(Client(f"a client that trusts {trust.name}", trust.name), trust) if trust else None

    def paths(self) -> frozenset[str]:
        """Return the files whose change calls for reading everything anew."""
        paths = {path for store in self.config.trust_stores.values() if (path := trust_path(store))}
        paths.update(path for each in self.config.watches for path in each.password_files)
        switches = (each.validation_switch for each in self.config.clients.values())
        paths.update(each.file for each in switches if each is not None)
        return frozenset(paths.union(*(client.intermediates for client in self.config.clients.values())))


Signature = tuple[tuple[str, int, int, int, int], ...]
"""Path, inode, times of modification and of change, and size of files."""


def signature_of(paths: Iterable[str]) -> Signature:
    """Return a value that differs once a file is another."""
    found = []
    for path in sorted(paths):
        with suppress(OSError):
            status = os.stat(path)
            found.append((path, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size))
    return tuple(found)


def files_of(store: TrustStore) -> tuple[str, ...]:
    """Return the files that decide on the content of a trust store."""
    return tuple(filter(None, (trust_path(store), store.password_file)))


class TrustReadings:
    """The results of reading, as long as neither the files nor the declaration changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[object, Signature, object, tuple[Finding, ...]]] = {}

    def of(
        self, declared: TrustStore | Client, what: str, paths: Iterable[str], read: Callable[[Tell], T], tell: Tell
    ) -> T:
        """Return the result of `read`, of then or of now; the findings of then are told again."""
        # From before it is read: a file that changes meanwhile is read again.
        key, signature = (what, declared.name), signature_of(paths)
        known = self._known.get(key)
        if known is None or known[:2] != (declared, signature):
            findings: list[Finding] = []
            value = read(findings.append)
            known = self._known[key] = (declared, signature, value, tuple(findings))
        for each in known[3]:
            tell(each)
        return cast("T", known[2])


def read_trust_context(
    config: Config, before: TrustContext | None = None, readings: TrustReadings | None = None
) -> tuple[TrustContext, tuple[Finding, ...]]:
    """Return the trust context from the files that `config` names, and a finding for each unusable file.

    Of stores and clients that nothing refers to, only the stores that are files are read, to be shown: that one cannot
    be read is no finding. A store that holds the same as `before` is the same object, so that verdicts by it stay. Of
    files that are as they were for `readings`, nothing is read.
    """
    findings: list[Finding] = []
    readings = readings or TrustReadings()
    trusts: dict[str, Trust] = {}
    in_use = stores_in_use(config)
    shown = tuple(name for name, each in config.trust_stores.items() if each.path is not None and name not in in_use)
    for name in (*in_use, *shown):
        store, tell = config.trust_stores[name], findings.append if name in in_use else _untold
        trust = readings.of(store, "anchors", files_of(store), partial(read_one_trust, config, name), tell)
        if trust is not None:
            known = before.trusts.get(name) if before is not None else None
            trusts[name] = known if known is not None and known.holds_the_same_as(trust) else trust
    held: dict[str, tuple[Certificate, ...]] = {}
    switches: dict[str, SwitchReading] = {}
    for each in clients_in_use(config):
        held[each.name] = readings.of(each, "held", each.intermediates, partial(read_held, each), findings.append)
        file = () if each.validation_switch is None else (each.validation_switch.file,)
        switch = readings.of(each, "switch", file, partial(read_client_switch, each), findings.append)
        if switch is not None:
            switches[each.name] = switch
    return TrustContext(config, trusts, held, switches), tuple(findings)


def _untold(_finding: Finding) -> None:
    """Tell nobody: nothing refers to the store."""


def read_one_trust(config: Config, name: str, tell: Tell) -> Trust | None:
    """Return the anchors of one trust store; None where it cannot be used, which is told."""
    match read_trust(config.trust_stores[name]):
        case Trust() as trust:
            return trust
        case TrustUnreadable(_, path, detail):
            tell(_unreadable(f"trust store {name}", path, detail))
    return None


def read_held(client: Client, tell: Tell) -> tuple[Certificate, ...]:
    """Return the intermediates that a client holds itself; each file that cannot be used is told."""
    certificates: list[Certificate] = []
    for path in client.intermediates:
        try:
            certificates.extend(read_certificates(path))
        except OSError as error:
            tell(_unreadable(f"client {client.name}", path, error.strerror or "cannot be read"))
    return tuple(certificates)


def read_client_switch(client: Client, tell: Tell) -> SwitchReading | None:
    """Return what a client's own configuration says of its validation; None where nothing can be read of it."""
    switch = client.validation_switch
    match None if switch is None else read_switch(switch):
        case SwitchReading() as read:
            return read
        case SwitchUnreadable(path, detail):
            tell(_unreadable(f"validation_switch of client {client.name}", path, detail))
    return None


def clients_in_use(config: Config) -> tuple[Client, ...]:
    """Return the clients of endpoints, and the default one where `/probe` may need it."""
    named = {name for endpoint in config.endpoints.values() for name in endpoint.clients}
    if config.settings.probe:
        named.add(DEFAULT_CLIENT)
    return tuple(client for name, client in config.clients.items() if name in named)


def stores_in_use(config: Config) -> tuple[str, ...]:
    """Return the names of the trust stores that something which is looked at, or may be installed, refers to.

    Those of other machines are not among them: there is nothing to read.
    """
    named = {client.trusts for client in clients_in_use(config)}
    named.update(watch.trust_store for watch in config.watches if watch.trust_store)
    named.update(file.trust_store for file in config.files if file.trust_store)
    allowed = [each for component in config.components.values() for each in component.allowed_issuers]
    for policy in config.policies:
        allowed += policy.action.allowed_issuers if isinstance(policy.action, Replace) else ()
    named.update(each.trust_store for each in allowed if each.trust_store)
    return tuple(name for name, each in config.trust_stores.items() if name in named and each.elsewhere is None)


def _unreadable(subject: str, path: str, detail: str) -> Finding:
    return finding(
        Code.UNREADABLE,
        sentence("the {} cannot be used: {}: {}", harmless(subject), printable(path), harmless(detail)),
        harmless(subject),
        Severity.WARNING,
    )
