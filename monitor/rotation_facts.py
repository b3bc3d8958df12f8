"""The facts about the rotation of a root, from a look at all targets, and the document that tells the steps.

The daemon makes it of the state of its targets; `certvigil rotate` makes it of its own looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from actions.journal_state import Confirmations
from config.command_reach import command_line
from config.immutable import immutable
from config.model import Config, PemBundle, TrustStore
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import CertificateOrigin, Machine, RotationDeed, StepProgress
from monitor.dialect import certificate_object, iso
from monitor.inventory import installed_chain, web_pki
from monitor.rotation import (
    ClientFacts,
    Keeper,
    Root,
    RotationFacts,
    ServerFacts,
    Step,
    StoreFacts,
    done,
    steps,
)
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from probes.certificate import Certificate, roots_in
from probes.chain import find_leaf, paths
from probes.judge.client import leaf_first
from probes.judge.roots import origin_of, root_of
from probes.trust import Trust, TrustUnreadable, read_certificates, read_trust, way_into

Document = dict[str, Any]
Words = tuple[str, ...]
"""Of a command, without `certvigil`."""

_NO_WAYS: Final[Mapping[str, Words]] = MappingProxyType({})


@immutable
class Roots:
    """The roots of a rotation, and the file of the new one."""

    new: Certificate
    file: str
    old: tuple[Certificate, ...] = ()
    """Empty where the roots of the certificates in use are meant."""


def read_roots(new: str, old: Sequence[str]) -> Roots | Printable:
    """Return the roots in these files, or why they are none, a sentence."""
    found: list[Certificate] = []
    for path in (new, *old):
        name = printable(path, 4096)
        try:
            roots = roots_in(read_certificates(path))
        except OSError as error:
            return sentence("{}: {}", name, printable(error.strerror or "it cannot be read"))
        if len(roots) != 1:
            return sentence("{}: it takes a file with one root, and there are {}", name, len(roots))
        found += roots
    first, *others = found
    if first in others:
        return sentence("{} is the new root, and cannot be an old one, too", first.title)
    return Roots(first, new, tuple(dict.fromkeys(others)))


def rotation(
    trust_context: TrustContext,
    targets: Mapping[str, TargetState],
    confirmations: Confirmations,
    roots: Roots | Printable | None,
    now: float,
    *,
    ways: Mapping[str, Words] = _NO_WAYS,
) -> Document:
    """Return how far a rotation is, at Unix time `now`; of no rotation, or of one without its roots, no steps.

    `ways` are the words, by component or group, of the command that installs the certificate that was brought for it.
    """
    if not isinstance(roots, Roots):
        notes = [] if roots is None else [roots]
        return _document(trust_context.config, now, None, (), (), notes)
    gathered = _Gathered(trust_context, targets, roots)
    facts = gathered.facts(confirmations)
    notes = [] if facts.old else [Printable("no old root is known: name it, so that it can go at the end")]
    return _document(trust_context.config, now, roots, gathered.old, steps(facts), notes, ways)


def _document(  # noqa: PLR0917 (the parts of the document)
    config: Config,
    now: float,
    roots: Roots | None,
    old: Sequence[Certificate],
    of: Sequence[Step],
    notes: Sequence[Printable],
    ways: Mapping[str, Words] = _NO_WAYS,
) -> Document:
    file = "" if roots is None else roots.file
    return {
        "schema": 1,
        "host": config.host,
        "at": iso(now),
        "new": None if roots is None else certificate_object(roots.new),
        "old": [certificate_object(each) for each in old],
        "done": done(of),
        "steps": [_step(each, config, file, ways) for each in of],
        "notes": list(notes),
    }


def _step(step: Step, config: Config, file: str, ways: Mapping[str, Words]) -> Document:
    is_next = step.progress is StepProgress.NEXT
    return {
        "deed": step.deed,
        "about": step.about,
        "root": step.root.sha256,
        "title": step.root.title,
        "progress": step.progress,
        "reason": step.reason,
        "commands": [printable(command_line(*each), 4096) for each in _commands(step, config, file, ways)]
        if is_next
        else [],
        "guide": _guide(step, config) if is_next else None,
    }


def _commands(step: Step, config: Config, file: str, ways: Mapping[str, Words]) -> Iterator[Words]:
    """Yield the commands that do a step."""
    name, sha256 = step.about, step.root.sha256
    if step.deed is RotationDeed.SWITCH:
        if any(config.components[each].service is None for each in config.members_of(name)):
            return
        installs = ways.get(name, ("replace", name))
        yield ("activate", name) if step.activates else installs
    elif step.keeper is Keeper.PERSON:
        is_new = step.deed is RotationDeed.ADD
        if is_new and (machine := _machine(config.trust_stores[name])) is not None:
            yield ("export", machine, file, "--out", f"{name}-root")
        yield ("trust", "confirm", name, "--root", sha256, *(() if is_new else ("--removed",)))
    elif step.keeper is Keeper.CERTVIGIL:
        added = ("trust", "add", name, "--from", file, "--sha256", sha256)
        yield added if step.deed is RotationDeed.ADD else ("trust", "remove", name, sha256[:16])


def _guide(step: Step, config: Config) -> str | None:
    """Return the topic of `certvigil guide` about a step; None where the configuration has no topics."""
    if config.profile is None or step.deed is not RotationDeed.ADD or step.keeper is not Keeper.PERSON:
        return None
    machine = _machine(config.trust_stores[step.about])
    return None if machine is None else machine.topic


def _machine(store: TrustStore) -> Machine | None:
    """Return the machines that have a trust store, where roots can be exported to them."""
    return next((each for each in Machine if each.value == store.elsewhere), None)


class _Gathered:
    """What the facts of one rotation have in common."""

    def __init__(self, trust_context: TrustContext, targets: Mapping[str, TargetState], roots: Roots) -> None:
        self.trust_context, self.config, self.targets = trust_context, trust_context.config, targets
        self.trusts: dict[str, Trust | TrustUnreadable] = {}
        for name, store in self.config.trust_stores.items():
            if store.elsewhere is None and (name in trust_context.trusts or isinstance(store.source, PemBundle)):
                self.trusts[name] = trust_context.trusts.get(name) or read_trust(store)
        self.known = tuple(each for each in self.trusts.values() if isinstance(each, Trust))
        # A server need not send an intermediate that its clients hold as an anchor.
        self.beside = tuple(dict.fromkeys(each for one in self.known for each in one.anchors if not each.self_issued))
        self.chains = list(self._chains())
        self.old = roots.old or self._in_use(roots.new)
        self.new = roots.new

    def facts(self, confirmations: Confirmations) -> RotationFacts:
        servers = tuple(self._server(each) for each in self.chains)
        used = dict.fromkeys(name for each in servers for name in each.clients)
        clients = map(self.trust_context.client, used)
        return RotationFacts(
            _root(self.new),
            tuple(map(_root, self.old)),
            tuple(self._stores()),
            tuple(ClientFacts(each.name, each.trusts, each.validates) for each in clients),
            servers,
            confirmations,
        )

    def _chains(self) -> Iterator[_Chain]:
        """Yield what is installed for each component, and what each endpoint serves."""
        config = self.config
        subject_by_leaf: dict[Certificate, str] = {}
        for component in config.components.values():
            chain, subject = installed_chain(component, self.targets), config.subject_of(component.name)
            if chain:
                subject_by_leaf[find_leaf(chain)] = subject
            told = dict.fromkeys(name for each in component.endpoints for name in config.endpoints[each].clients)
            place = sentence("the files of {}", harmless(component.name))
            yield _Chain(place, subject, chain, tuple(told), is_installed=True)
        for endpoint in config.endpoints.values():
            state = self.targets.get(endpoint.name)
            chain = leaf_first(state.presented) if state is not None and state.presented else ()
            subject = config.subject_of(endpoint.component) if endpoint.component is not None else ""
            # A name by which outsiders connect is switched with the component that answers there.
            subject = subject or (subject_by_leaf.get(chain[0], "") if chain else "")
            yield _Chain(harmless(endpoint.name), subject, chain, endpoint.clients)

    def _in_use(self, new: Certificate) -> tuple[Certificate, ...]:
        """Return the roots that the certificates of components lead to, those of public CAs aside."""
        found: dict[Certificate, None] = {}
        for each in self.chains:
            if not each.subject or not each.chain or self._leads_to(each, new):
                continue
            root = root_of(each.chain, self.known, self._held(each))
            if root is not None and not any(one.holds_as_public(root) for one in (*self.known, *web_pki())):
                found[root] = None
        return tuple(found)

    def _held(self, of: _Chain) -> tuple[Certificate, ...]:
        held = self.trust_context.held
        return tuple(dict.fromkeys(each for name in of.clients for each in held.get(name, ())))

    def _leads_to(self, of: _Chain, root: Certificate) -> bool:
        pool, anchor = (*of.chain, *self._held(of), *self.beside), Trust("", (root,))
        return any(each.is_anchored for each in paths(find_leaf(of.chain), pool, anchor))

    def _server(self, of: _Chain) -> ServerFacts:
        leads_to = None
        if of.chain:
            leads_to = frozenset(each.sha256 for each in (self.new, *self.old) if self._leads_to(of, each))
        root = root_of(of.chain, self.known, self._held(of)) if of.chain else None
        is_public = bool(of.chain) and (
            origin_of(of.chain, root, (*self.known, *web_pki()), None) is CertificateOrigin.PUBLIC_CA
        )
        return ServerFacts(of.place, of.subject, leads_to, of.clients, of.is_installed, is_public)

    def _stores(self) -> Iterator[StoreFacts]:
        for name, store in self.config.trust_stores.items():
            if store.elsewhere is not None:
                yield StoreFacts(name, Keeper.PERSON)
                continue
            trust = self.trusts.get(name)
            if isinstance(trust, TrustUnreadable):
                yield StoreFacts(name, Keeper.OTHERS, None, harmless(trust.detail))
            elif trust is not None:
                holds = frozenset(each.sha256 for each in (self.new, *self.old) if trust.holds(each))
                keeper = Keeper.CERTVIGIL if store.is_changeable else Keeper.OTHERS
                yield StoreFacts(name, keeper, holds, _how(store))


@immutable
class _Chain:
    """A chain, where it is, and who connects there."""

    place: Printable
    subject: str
    chain: tuple[Certificate, ...]
    clients: tuple[str, ...]
    is_installed: bool = False


def _root(certificate: Certificate) -> Root:
    return Root(certificate.sha256, certificate.title)


def _how(store: TrustStore) -> Printable:
    """Return how a store is changed that certvigil does not change; empty for another one."""
    if store.is_changeable:
        return Printable("")
    if isinstance(store.source, PemBundle):
        path = printable(store.source.path, 4096)
        return sentence("change {} by your own means, or set `mode: approve` of that trust store", path)
    return way_into(store)


def declared_roots(config: Config) -> Roots | Printable | None:
    """Return the roots of the declared rotation, or why they cannot be told; None where none is declared."""
    if config.rotation is None:
        return None
    found = read_roots(config.rotation.new, config.rotation.old)
    return found if isinstance(found, Roots) else sentence("`rotation` of the configuration: {}", found)
