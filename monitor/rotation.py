"""The rotation of a root: the ordered steps, derived from facts each time, and how far each is. Pure.

First each trust store gets the new root, then the servers of its clients get certificates that lead to it, and the old
root goes when nothing needs it any more. No step is stored: whatever happened meanwhile, the facts say what is next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Final

from actions.journal_state import Confirmations
from config.immutable import immutable
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import RotationDeed, StepProgress

_NOTHING: Final = Printable("")


@immutable
class Root:
    """A root that comes or goes."""

    sha256: str
    title: Printable


class Keeper(StrEnum):
    """Who changes a trust store."""

    CERTVIGIL = "certvigil"
    PERSON = "person"
    """On other machines: what it holds is what an operator confirmed."""
    OTHERS = "others"
    """It can be read here, and is changed by other means."""


@immutable
class StoreFacts:
    """A trust store, and which of the roots it holds."""

    name: str
    keeper: Keeper
    holds: frozenset[str] | None = frozenset()
    """SHA-256; None where it cannot be read. Of a store of a person, the confirmations count instead."""
    how: Printable = _NOTHING
    """Why it cannot be read, or how it is changed where certvigil does not change it: a sentence."""


@immutable
class ClientFacts:
    """A client, whom it trusts, and whether it validates."""

    name: str
    store: str
    validates: bool = True


@immutable
class ServerFacts:
    """A chain that an endpoint serves, or that is installed for a component."""

    place: Printable
    """The endpoint, or the files of a component."""
    subject: str = ""
    """The component or group that it is changed with; empty where certvigil does not change it."""
    leads_to: frozenset[str] | None = frozenset()
    """The SHA-256 of the roots that the chain leads to, among those that are asked about; None where it is unknown."""
    clients: tuple[str, ...] = ()
    is_installed: bool = False
    """It is on disk, and not what an endpoint serves."""
    is_public: bool = False
    """It leads to a CA of the web PKI."""


@immutable
class RotationFacts:
    """All that the steps are derived from."""

    new: Root
    old: tuple[Root, ...]
    stores: tuple[StoreFacts, ...]
    clients: tuple[ClientFacts, ...]
    servers: tuple[ServerFacts, ...]
    confirmations: Confirmations


@immutable
class Step:
    """One step, and how far it is."""

    deed: RotationDeed
    about: str
    """The trust store, or the component or group."""
    root: Root
    """The root that comes or goes; of a switch, the new one."""
    progress: StepProgress
    reason: Printable
    """Why it is done, or what it waits for; of a next step, a remark or nothing: a clause."""
    keeper: Keeper = Keeper.CERTVIGIL
    activates: bool = False
    """Of a switch: the new certificate is installed, and has to be served."""


def steps(facts: RotationFacts) -> tuple[Step, ...]:
    """Return the steps of a rotation, in their order."""
    return _Rotation(facts).steps()


class _Rotation:
    """What the steps of one rotation have in common."""

    def __init__(self, facts: RotationFacts) -> None:
        self.facts = facts
        self.new, self.old = facts.new, facts.old
        self.stores = {each.name: each for each in facts.stores}
        self.clients = {each.name: each for each in facts.clients}
        old = {each.sha256 for each in facts.old}
        self.subjects: dict[str, list[ServerFacts]] = {}
        """The servers of each component or group that is to be switched."""
        for name in dict.fromkeys(each.subject for each in facts.servers if each.subject):
            of = [each for each in facts.servers if each.subject == name]
            known = [each for each in of if each.leads_to is not None]
            if not known or any(_is_concerned(each, self.new.sha256, old) for each in known):
                self.subjects[name] = of

    def steps(self) -> tuple[Step, ...]:
        adds = tuple(self._add(self.stores[name]) for name in self._given_the_root())
        has = {each.about for each in adds if each.progress is StepProgress.DONE}
        switches = tuple(self._switch(name, of, has) for name, of in self.subjects.items())
        to_switch = [each.about for each in switches if each.progress is not StepProgress.DONE]
        removals = (self._remove(self.stores[each.about], root, to_switch) for root in self.old for each in adds)
        return (*adds, *switches, *removals)

    def _given_the_root(self) -> Sequence[str]:
        """Return the stores that get the new root: of the clients of what is switched, and those with an old root."""
        told = {self.clients[name].store for of in self.subjects.values() for each in of for name in each.clients}
        old = [each.sha256 for each in self.old]
        return [
            name
            for name, each in self.stores.items()
            if name in told or any(self._holds(each, root) for root in (*old, self.new.sha256))
        ]

    def _holds(self, store: StoreFacts, sha256: str) -> bool | None:
        """Whether a store holds a root; None where that is not known."""
        if store.keeper is Keeper.PERSON:
            said = self.facts.confirmations.get((store.name, sha256))
            return None if said is None else said.has
        return None if store.holds is None else sha256 in store.holds

    def _said(self, store: StoreFacts, root: Root) -> Printable:
        """Return the word of an operator on a root in a store; empty where there is none."""
        said = self.facts.confirmations.get((store.name, root.sha256))
        return _NOTHING if said is None or store.keeper is not Keeper.PERSON else harmless(said.sentence)

    def _add(self, store: StoreFacts) -> Step:
        def step(progress: StepProgress, reason: Printable) -> Step:
            return Step(RotationDeed.ADD, store.name, self.new, progress, reason, store.keeper)

        if self._holds(store, self.new.sha256):
            return step(StepProgress.DONE, self._said(store, self.new) or Printable("it has the root"))
        if store.holds is None and store.keeper is not Keeper.PERSON:
            return step(StepProgress.WAITING, sentence("it cannot be read: {}", store.how))
        said = [self._said(store, self.new), store.how, self._lenient(store)]
        return step(StepProgress.NEXT, listed(filter(None, said), "; "))

    def _lenient(self, store: StoreFacts) -> Printable:
        """Return that none of the clients of a store holds up a switch; empty where one does."""
        of = [each for each in self.facts.clients if each.store == store.name]
        if any(each.validates for each in of):
            return _NOTHING
        names = listed((harmless(each.name) for each in of), " and ")
        return sentence("it holds up no switch: {} does not validate", names) if of else _NOTHING

    def _switch(self, name: str, servers: Sequence[ServerFacts], has: Iterable[str]) -> Step:
        def step(progress: StepProgress, reason: Printable, *, activates: bool = False) -> Step:
            return Step(RotationDeed.SWITCH, name, self.new, progress, reason, activates=activates)

        unknown = [each for each in servers if each.leads_to is None]
        other = [each for each in servers if each.leads_to is not None and self.new.sha256 not in each.leads_to]
        if not unknown and not other:
            return step(StepProgress.DONE, Printable("its certificates lead to the root"))
        clients = [self.clients[client] for each in servers for client in each.clients]
        if lacking := dict.fromkeys(each.store for each in clients if each.validates and each.store not in has):
            return step(StepProgress.WAITING, _until(harmless(each) for each in lacking))
        if not other:
            return step(StepProgress.WAITING, _unknown(unknown))
        activates = not any(each.is_installed for each in (*other, *unknown))
        still = listed((each.place for each in other), " and ")
        return step(StepProgress.NEXT, sentence("another certificate: {}", still), activates=activates)

    def _remove(self, store: StoreFacts, root: Root, to_switch: Sequence[str]) -> Step:
        def step(progress: StepProgress, reason: Printable) -> Step:
            return Step(RotationDeed.REMOVE, store.name, root, progress, reason, store.keeper)

        if self._holds(store, root.sha256) is False:
            return step(StepProgress.DONE, self._said(store, root) or Printable("it does not have the root"))
        if store.holds is None and store.keeper is not Keeper.PERSON:
            return step(StepProgress.WAITING, sentence("it cannot be read: {}", store.how))
        if to_switch:
            names = listed(map(harmless, to_switch), " and ")
            return step(StepProgress.WAITING, sentence("first the switch of {}", names))
        if not self._holds(store, self.new.sha256):
            return step(StepProgress.WAITING, Printable("first the new root"))
        # A client that does not validate needs it as soon as it does.
        used = [
            (each, name)
            for each in self.facts.servers
            for name in each.clients
            if self.clients[name].store == store.name
        ]
        if needed := {each.place: name for each, name in used if self._needs(store, each, root)}:
            at = listed((sentence("{} at {}", harmless(name), place) for place, name in needed.items()), " and ")
            return step(StepProgress.WAITING, sentence("needed by {}", at))
        if unknown := [each for each in dict.fromkeys(each for each, _ in used) if each.leads_to is None]:
            return step(StepProgress.WAITING, _unknown(unknown))
        return step(StepProgress.NEXT, store.how)

    def _needs(self, store: StoreFacts, server: ServerFacts, root: Root) -> bool:
        """Whether the clients of a store accept a chain by this root alone."""
        if server.leads_to is None or root.sha256 not in server.leads_to:
            return False
        return not any(self._holds(store, other) for other in server.leads_to - {root.sha256})


def _is_concerned(server: ServerFacts, new: str, old: Collection[str]) -> bool:
    """Whether a server is switched: where no old root is known, each is whose certificate is of no public CA."""
    if (server.leads_to or frozenset()) & {new, *old}:
        return True
    return not old and not server.is_public


def _until(stores: Iterable[Printable]) -> Printable:
    return sentence("first the root for {}", listed(stores, " and "))


def _unknown(servers: Iterable[ServerFacts]) -> Printable:
    return sentence("not known: {}", listed(each.place for each in servers))


def done(of: Iterable[Step]) -> int:
    """Return the number of steps that are done."""
    return sum(each.progress is StepProgress.DONE for each in of)
