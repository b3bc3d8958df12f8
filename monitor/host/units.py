"""The files by which systemd runs certvigil, made from the configuration: units, users and directories."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Final

from config.model import ActorSettings, Component, Config
from config.service import Service, job_of, unit_name
from config.text import printable
from config.vocabulary import FileRole, Keys
from monitor.actor.confine import READER

_DAEMON: Final = "systemd/system/certvigil.service"
_ACTOR: Final = "systemd/system/certvigil-actor.service"
_RECOVER: Final = "systemd/system/certvigil-recover.service"
_USERS: Final = "sysusers.d/certvigil.conf"
_DIRECTORIES: Final = "tmpfiles.d/certvigil.conf"

_COMMANDS: Final = 11
"""How many commands are waited for at most: five forward (stop, test, start, and twice what tells one process from the
next), five back (reload, and twice a restart with what is needed before), and one that a killed process left."""
_DEADLINES: Final = 4
"""How often it waits for the deadline at most: for the proof and for validation, and for two ways back."""
_MARGIN: Final = 30
"""Seconds for everything else."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_./%$:@+=,-]+")
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}")
_WITH_KEY: Final = frozenset({FileRole.KEY, FileRole.COMBINED, FileRole.KEYSTORE})
_SHARED: Final = frozenset(
    f"/{each}" for each in ("", "etc", "home", "opt", "root", "run", "srv", "tmp", "usr", "var", "var/lib", "var/tmp")
)
"""Directories that many use: giving one of them to a user of ours would break the host."""


def units(
    config: Config, command: Sequence[str], path: str, resolve: Callable[[str], str] = os.path.realpath
) -> Mapping[str, str] | tuple[str, ...]:
    """Return the text of each file by its name below /etc, or the faults, in sentences.

    `command` begins an invocation of certvigil, `path` is the configuration, `resolve` follows symbolic links.
    """
    replaceable = {name: each for name, each in config.components.items() if each.service is not None}
    # To read keys takes an actor as well as to act does.
    stores = config.changeable_stores
    has_actor = bool(replaceable) or bool(stores) or any(map(_is_read, config.components.values()))
    changed = (path for each in replaceable.values() for path in each.artefacts.files.values())
    kept = (each.path for each in stores.values() if each.path is not None)
    switches = (each.validation_switch for each in config.clients.values() if each.trusts in stores)
    edited = (each.file for each in switches if each is not None)
    targets = sorted({where for path in (*changed, *kept, *edited) for where in _directories_of(path, resolve)})
    declared = (*(each.service for each in replaceable.values()), *(each.service for each in stores.values()))
    services = list(dict.fromkeys(filter(None, declared)))
    if wrong := tuple(dict.fromkeys(_objections(config, services, targets, (*command, path)))):
        return wrong
    settings = config.settings
    own = (*_own("State", settings.state_directory), *_own("Runtime", os.path.dirname(settings.socket)))
    values = {
        "configuration": printable(path),
        "config": _word(path),
        # systemd takes no variable for the program itself.
        "command": " ".join((_quoted(command[0]), *map(_word, command[1:]))),
        "actor": " certvigil-actor.service" if has_actor else "",
        "user": settings.actor.daemon_user,
        "groups": f"SupplementaryGroups={settings.actor.group}\n" if has_actor else "",
        "own": "\n".join(own),
        "stop_within": str(_stop_within(services, settings.validation.deadline)),
        "services": "".join(f" {each}" for each in sorted({*filter(None, map(_unit, services))})),
        "socket": "\n".join(_own("Runtime", os.path.dirname(settings.actor.socket))),
        "private_tmp": "no" if _shares_tmp(services, targets) else "yes",
        "writes": "\n".join(_writes(config, services, targets)),
        "users": "\n".join(_users(settings.actor, settings.state_directory, has_actor=has_actor)),
        "directories": "\n".join(_directories(config, config.subjects_of(replaceable), has_actor=has_actor)),
    }
    values["because"], values["capabilities"] = _capabilities(services)
    values["sandbox"] = _fill("sandbox.conf", values)
    wanted = {_DAEMON: "certvigil.service", _USERS: "sysusers.conf", _DIRECTORIES: "tmpfiles.conf"}
    if has_actor:
        wanted[_ACTOR] = "certvigil-actor.service"
    if replaceable or stores:
        wanted[_RECOVER] = "certvigil-recover.service"
    return {name: _fill(template, values) for name, template in sorted(wanted.items())}


def _is_read(component: Component) -> bool:
    """Whether a component has private keys that are meant to be read."""
    return component.keys is Keys.READ and not _WITH_KEY.isdisjoint(component.artefacts.files)


def _fill(template: str, values: Mapping[str, str]) -> str:
    text = (files("config") / "templates" / template).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _directories_of(path: str, resolve: Callable[[str], str]) -> Iterator[str]:
    """Yield where a file is, as it is configured and as symbolic links lead."""
    yield os.path.dirname(os.path.normpath(path))
    yield os.path.dirname(resolve(path))


def _objections(
    config: Config, services: Sequence[Service], targets: Sequence[str], words: Sequence[str]
) -> Iterator[str]:
    settings = config.settings
    daemons = (settings.state_directory, os.path.dirname(settings.socket))
    offered = filter(None, (settings.actor.offered_directory,))
    ours = (settings.state_directory, settings.actor.directory, settings.actor.inbox_directory, *offered)
    sockets = (settings.socket, settings.actor.socket)
    for path in (*words, *ours, *sockets, *targets, *(path for each in services for path in each.writes)):
        # A unit is lines of UTF-8, in which nothing stands for a line feed in a path.
        if not path.isprintable():
            yield f"{printable(path)} cannot be named in a unit of systemd, expected a path of printable characters"
    if any(each in words[0] for each in "\\\"'"):
        yield f"{printable(words[0])} is started by no systemd, expected a program without quotation marks in its path"
    for path in ours:
        if os.path.normpath(path) in _SHARED:
            yield f"{path} is used by others, expected a directory for certvigil alone"
    for path in (*targets, settings.actor.directory, settings.actor.inbox_directory) if targets else ():
        if _lies_in(path, daemons):
            yield (
                f"{printable(path)} is the actor's to write, but lies where the daemon may write, expected"
                " 'state_directory' and 'socket' in directories of their own"
            )
    for each in services:
        if (unit := _unit(each)) is not None and not _UNIT.fullmatch(unit):
            yield f"{printable(unit)} is no name of a unit of systemd, expected such as nginx.service"


def _lies_in(path: str, directories: Iterable[str]) -> bool:
    path, within = os.path.normpath(path), map(os.path.normpath, directories)
    return any(os.path.commonpath((each, path)) == each for each in within)


def _unit(service: Service) -> str | None:
    """Return the unit that a service is, by its name or by the command that restarts it."""
    if service.unit is not None:
        return unit_name(service.unit)
    job = job_of(service.restart)
    return None if job is None else job.unit


def _capabilities(services: Sequence[Service]) -> tuple[str, str]:
    """Return the actor's rights for services: first the reason, then the lines of a unit."""
    because, named = "", []
    if services:
        because += """\
# FOWNER           and its mode, times, ACL and SELinux label, and the old one a second name, whoever owns it
# DAC_OVERRIDE     in directories that belong to a service's user and are closed to others
"""
        named += ["CAP_FOWNER", "CAP_DAC_OVERRIDE"]
    if any(each.test is not None or each.starts_its_server for each in services):
        because += (
            "# NET_BIND_SERVICE a server that a command starts binds its ports, and so does a test such as `nginx -t`\n"
        )
        named.append("CAP_NET_BIND_SERVICE")
    return because, f"CapabilityBoundingSet={' '.join(named)}\n" if named else ""


def _shares_tmp(services: Iterable[Service], targets: Iterable[str]) -> bool:
    """Whether the actor needs the host's own /tmp: for a target there, or for a server that outlives it.

    Such a server would be left with a /tmp that systemd removes when the actor's unit stops.
    """
    there = any(_lies_in(each, ("/tmp", "/var/tmp")) for each in targets)  # noqa: S108
    return there or any(each.starts_its_server for each in services)


def _stop_within(services: Iterable[Service], deadline: float) -> int:
    return math.ceil(_COMMANDS * sum(each.timeout for each in services) + _DEADLINES * deadline + _MARGIN)


def _own(kind: str, path: str) -> Iterator[str]:
    """Yield the lines by which the user of a service may write to a directory."""
    path = os.path.normpath(path)
    base, mode = {"State": ("/var/lib/", "0700"), "Runtime": ("/run/", "0755")}[kind]
    name = path.removeprefix(base)
    if name != path and _PLAIN.fullmatch(name):
        yield f"{kind}Directory={name}"
        yield f"{kind}DirectoryMode={mode}"
    else:
        yield f"ReadWritePaths={_quoted(path)}"


def _writes(config: Config, services: Iterable[Service], targets: Iterable[str]) -> Iterator[str]:
    actor = config.settings.actor
    for path in filter(None, (actor.directory, actor.inbox_directory, actor.offered_directory)):
        yield f"ReadWritePaths={_quoted(os.path.normpath(path))}"
    written = (os.path.normpath(path) for each in services for path in each.writes)
    for path in dict.fromkeys((*targets, *sorted(written))):
        yield f"ReadWritePaths={_quoted('-' + path)}"


def _users(actor: ActorSettings, home: str, *, has_actor: bool) -> Iterator[str]:
    # A number is the number of a user, or of a group, that there is.
    if not actor.daemon_user.isdigit():
        yield f'u {actor.daemon_user} - "certvigil" {_quoted(home)}'
    if has_actor:
        yield f'u {READER} - "certvigil, reading keys"'
    if has_actor and not actor.group.isdigit():
        yield f"g {actor.group} -"
        for each in dict.fromkeys((actor.daemon_user, *actor.operators)):
            if not each.isdigit() and each != "root":
                yield f"m {each} {actor.group}"


def _directories(config: Config, replaceable: Iterable[str], *, has_actor: bool) -> Iterator[str]:
    settings = config.settings
    yield f"d {_quoted(settings.state_directory)} 0700 {settings.actor.daemon_user} - -"
    if has_actor:
        yield f"d {_quoted(settings.actor.directory)} 0700 root root -"
        yield f"d {_quoted(settings.actor.inbox_directory)} 0755 root root -"
    for name in sorted(replaceable):
        yield f"d {_quoted(os.path.join(settings.actor.inbox_directory, name))} 0755 root root -"
    if has_actor and (offered := settings.actor.offered_directory) is not None:
        # Without a mode and an owner, those that the site gave them stay.
        yield f"d {_quoted(offered)} 0755 root root -"
        yield from (f"d {_quoted(os.path.join(offered, name))} - - - -" for name in sorted(replaceable))


def _word(argument: str) -> str:
    """Spell an argument of a command, in which `$` begins a variable, too."""
    return _quoted(argument.replace("$", "$$"))


def _quoted(text: str) -> str:
    """Spell text as systemd.syntax(7) has it, in quotation marks where it needs them."""
    text = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return text if _BARE.fullmatch(text) else f'"{text}"'
