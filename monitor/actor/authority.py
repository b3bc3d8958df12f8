"""The rights to ask the actor: they follow from the user that the kernel names, from modes, and from approvals."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final

from actions.ending import Outcome
from actions.journal_state import ActionRequest, JournalState, Ruling
from actions.plan import Kind
from config.immutable import immutable
from config.model import ActorSettings, AllowedIssuer, Component, Config
from config.policy import Policy, Replace
from config.text import Printable, printable, sentence
from config.vocabulary import Mode
from monitor.actor.request import Request, Verb
from monitor.decide.engine import matches
from monitor.decide.situation import Situation, of_group

_CREDENTIALS: Final = struct.Struct("3i")
STRANGER: Final = Printable(
    "this user may ask the actor for nothing; actor.operators and actor.daemon_user name who may"
)
_NOBODY: Final = 2**32 - 1


class Role(StrEnum):
    """The role of a user."""

    OPERATOR = "operator"
    """May ask for anything."""
    DAEMON = "daemon"
    """May ask for actions that modes and approvals allow."""
    STRANGER = "stranger"


@immutable
class Peer:
    """Who asks."""

    uid: int
    name: Printable
    """For the record: the user, and who logged in as somebody else to become that; printable."""


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED of unix(7)); raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(uid, _named(uid, pid))


def ourselves() -> Peer:
    """Return who runs this process."""
    return Peer(os.geteuid(), _named(os.geteuid(), os.getpid()))


def _named(uid: int, pid: int) -> Printable:
    name = sentence("{} (uid {})", _user(uid), uid)
    login = _NOBODY
    # The kernel keeps who logged in, through sudo and su; it is for the record only, since the process may be gone.
    with suppress(OSError, ValueError), open(f"/proc/{pid}/loginuid", encoding="ascii") as file:
        login = int(file.read())
    return name if login in {_NOBODY, uid} else sentence("{}, logged in as {}", name, _user(login))


def _user(uid: int) -> Printable:
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Printable("a user without a name")


def uid_of(connection: socket.socket) -> int:
    """Return whose the other end of a Unix socket is; raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def role_of(uid: int, settings: ActorSettings) -> Role:
    """Return the role of a user, for an actor with these settings that runs as this process's user."""
    if uid in {0, os.geteuid(), *filter(None, map(_uid, settings.operators))}:
        return Role.OPERATOR
    return Role.DAEMON if uid == _uid(settings.daemon_user) else Role.STRANGER


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return int(user) if user.isascii() and user.isdecimal() else None


def objection(role: Role, request: Request, config: Config, journal_state: JournalState) -> Printable | None:
    """Say why somebody may never ask for that, a sentence; None where he may, or where it depends on the host.

    Then `unattended.may` decides by the actor's own looks what the daemon may have carried out now.
    """
    if role is Role.OPERATOR:
        return None
    if role is Role.STRANGER:
        return STRANGER
    if request.action is not None and (wrong := _only_an_operator(request.verb, request.action, config)) is not None:
        return wrong
    # An offer is used only as `offers` says: bringing certificates is no right to have them installed.
    if request.verb in {Verb.STATE, Verb.FOLLOW, Verb.PLAN, Verb.PROPOSE, Verb.READ, Verb.OFFER}:
        return None
    # Whose offers it may take out is asked there.
    if request.verb in {Verb.OFFERS, Verb.WITHDRAW}:
        return None
    if request.verb in {Verb.APPROVE, Verb.REJECT} and config.settings.actor.approvals_over_api:
        return None
    if request.verb is not Verb.CARRY_OUT or request.action is None:
        return sentence("the daemon may not ask for '{}': that is for an operator", request.verb)
    names = request.action.components
    undoes = _undoes(request.action, config, journal_state)
    if not request.plan or (not _is_one(names, config) and not undoes):
        return Printable(
            "the daemon must name the plan that it asks for, and one component or group, or all that it undoes as one"
        )
    components = [config.components[name] for name in names]
    for component in components:
        if component.mode is Mode.OBSERVE:
            return sentence("{} is only observed", printable(component.name))
    if request.action.kind is Kind.ROLLBACK and not undoes and request.plan not in journal_state.approved:
        return Printable("the daemon alone undoes only the last replacement, of all components that it was of")
    return None


def approval_of(request: Request, journal_state: JournalState, now: float) -> Ruling | None:
    """Return a person's approval of the plan that is asked for; None where there is none at Unix time `now`."""
    approval = journal_state.approved.get(request.plan)
    return approval if approval is not None and now < approval.until else None


def _is_one(components: Sequence[str], config: Config) -> bool:
    """Whether these are one component, or one group."""
    return len(config.subjects_of(components)) == 1


def _only_an_operator(verb: Verb, action: ActionRequest, config: Config) -> Printable | None:
    """Say why the daemon may not ask for an action, whatever it wants with it; None where it may."""
    if action.allow_shorter:
        return Printable("that a certificate may last for less is for an operator to say")
    if action.key_compromised:
        return Printable("that a key is compromised is for an operator to say")
    if action.force:
        return Printable("that a service takes up again what it serves is for an operator to say")
    # Each endpoint of each component is looked at, in the turn that an operator may be waiting for.
    if verb is Verb.PROPOSE and not _is_one(action.components, config) and action.kind is not Kind.ROLLBACK:
        return Printable(
            "the daemon proposes an action on one component or group, or the rollback of several changed as one"
        )
    return None


def _undoes(action: ActionRequest, config: Config, journal_state: JournalState) -> bool:
    """Whether that undoes the last thing done to these components, a replacement, with all that was replaced as one.

    All members of a group are named, of which the replacement may have changed some before they made a group.
    """
    last = {name: journal_state.last[name] for name in action.components if name in journal_state.last}
    undone = next((each for each in last.values() if each.transaction == action.backup_set), None)
    return (
        action.kind is Kind.ROLLBACK
        and undone is not None
        and (undone.kind, undone.outcome) == (Kind.REPLACE, Outcome.COMMITTED)
        and set(config.subjects_of(undone.components)) == set(config.subjects_of(action.components))
        and all(name in last and last[name].transaction == undone.transaction for name in undone.components)
        and all(each.at <= undone.at for each in last.values())
    )


def issuers_of(config: Config, component: Component, policy: Policy | None = None) -> tuple[AllowedIssuer, ...]:
    """Return whose certificates a component may be given: its own issuers', and those of the policy that asks for it.

    Where a person does, of each that might. Empty means anybody's, which is for a person to judge.
    """
    if policy is None and not component.allowed_issuers:
        return ()
    policies = (policy,) if policy is not None else tuple(_replacing(config, component))
    of_policies = (
        issuer for each in policies if isinstance(each.action, Replace) for issuer in each.action.allowed_issuers
    )
    return tuple(dict.fromkeys((*component.allowed_issuers, *of_policies)))


def min_lifetime_of(config: Config, component: Component, policy: Policy | None = None) -> float | None:
    """Return for how many seconds a new certificate must last by the policy that asks for it, else by its component.

    Where it is not known yet which policy that will be, the least of those that might; None where nothing is said.
    """
    policies = (policy,) if policy is not None else tuple(_replacing(config, component))
    own = component.min_lifetime
    said = (each.action.min_lifetime for each in policies if isinstance(each.action, Replace))
    lengths = [own if each is None else each for each in said] or [own]
    return min((each for each in lengths if each is not None), default=None)


def _replacing(config: Config, component: Component) -> Iterator[Policy]:
    name = config.subject_of(component.name)
    members = [_bare(config, config.components[each]) for each in config.members_of(name)]
    subject = of_group(name, members) if name in config.groups else members[0]
    subject = replace(subject, targets=(*subject.targets, f"{name}/actions"))
    return (each for each in config.policies if isinstance(each.action, Replace) and matches(each.match, subject))


def _bare(config: Config, component: Component) -> Situation:
    return Situation(
        component.name,
        component.mode,
        (*component.endpoints, *(f"{component.name}/{role}" for role in component.artefacts.files)),
        is_component=True,
        labels=component.labels,
        profile=config.profile,
    )
