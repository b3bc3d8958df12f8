"""Who may ask the actor for what: decided by the user that the kernel names, by modes, and by what was approved."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from actions.plan import Kind
from actions.standing import Standing
from config.model import ActorSettings, Component
from config.text import printable
from config.vocabulary import Mode
from monitor.actor.request import Request, Verb

_CREDENTIALS: Final = struct.Struct("3i")
STRANGER: Final = "this user may ask the actor for nothing; actor.operators and actor.daemon_user name who may"
_NOBODY: Final = 2**32 - 1


class Role(StrEnum):
    """What somebody is to the actor."""

    OPERATOR = "operator"
    """May ask for anything."""
    DAEMON = "daemon"
    """May ask for what modes and approvals allow."""
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks."""

    uid: int
    name: str
    """For the record: the user, and who logged in as somebody else to become that; printable."""


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED of unix(7)); raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(uid, _named(uid, pid))


def ourselves() -> Peer:
    """Return who runs this process."""
    return Peer(os.geteuid(), _named(os.geteuid(), os.getpid()))


def _named(uid: int, pid: int) -> str:
    name = f"{_user(uid)} (uid {uid})"
    login = _NOBODY
    # The kernel keeps who logged in, through sudo and su; it is for the record only, since the process may be gone.
    with suppress(OSError, ValueError), open(f"/proc/{pid}/loginuid", encoding="ascii") as file:
        login = int(file.read())
    return name if login in {_NOBODY, uid} else f"{name}, logged in as {_user(login)}"


def _user(uid: int) -> str:
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return "a user without a name"


def role_of(peer: Peer, settings: ActorSettings) -> Role:
    """Return what somebody is to an actor with these settings that runs as this process's user."""
    if peer.uid in {0, os.geteuid(), *filter(None, map(_uid, settings.operators))}:
        return Role.OPERATOR
    return Role.DAEMON if peer.uid == _uid(settings.daemon_user) else Role.STRANGER


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return int(user) if user.isdigit() else None


def objection(
    role: Role, request: Request, components: Mapping[str, Component], standing: Standing, now: float
) -> str | None:
    """Say why somebody may not ask for that at Unix time `now`, a sentence; None where it is allowed."""
    if role is Role.OPERATOR:
        return None
    if role is Role.STRANGER:
        return STRANGER
    if request.verb in {Verb.STATE, Verb.FOLLOW, Verb.PLAN, Verb.PROPOSE}:
        return None
    if request.verb is not Verb.CARRY_OUT or request.wish is None:
        return f"the daemon may not ask for '{request.verb}': that is for an operator"
    if not request.plan:
        return "the daemon must name the plan that it asks for"
    word = standing.approved.get(request.plan)
    if word is not None and now < word.until:
        return None
    for name in request.wish.components:
        component = components[name]
        if component.mode is not Mode.AUTO:
            expired = ", whose approval has expired" if word is not None else ""
            return f"the mode of {name} is '{component.mode}', and this plan{expired} is not approved"
        if request.wish.kind is Kind.REPLACE and not component.allowed_issuers:
            return f"{name} names no 'allowed_issuers', without which nothing is replaced unattended"
    return None
