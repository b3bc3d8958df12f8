"""`certvigil doctor`: whether certvigil can do its work on this host, check by check, and the way out where not."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from actions.world import World
from config.catalogue import CATALOGUE
from config.command_reach import command_line
from config.document import KeyPath, Mistake, YAMLDocument
from config.immutable import immutable
from config.load import examine
from config.model import Config
from config.text import Printable, harmless, listed, printable, sentence
from config.trusted import changeable, unreadable_for
from config.vocabulary import Code, Keys
from monitor.actor.confine import READER
from monitor.commands import here
from monitor.commands.client import NoDaemonAnswer, ask
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.host.entry import HostUser
from monitor.host.outside import Doubt, actor_uid, doubts
from monitor.host.sockets import gid_of
from monitor.host.systemd import runs
from monitor.state.cure import cure
from monitor.state.trust import stores_in_use
from probes.trust import TrustUnreadable, read_trust

_COLUMNS: Final = ("state", "area", "what", "to do")
_NOTHING: Final = Printable("")
_PATTERN: Final = frozenset("*?[")
_PATIENCE: Final = 5.0
"""Seconds for the daemon, and for the actor, to answer."""


class Area(StrEnum):
    """The subject of a check; members are declared in the order in which they are shown."""

    CONFIGURATION = "configuration"
    USERS = "users"
    PERMISSIONS = "permissions"
    TRUST = "trust"
    COMMANDS = "commands"
    CHANNELS = "channels"
    CLOCK = "clock"
    ACTOR = "actor"
    DAEMON = "daemon"


class Health(StrEnum):
    """The result of a check."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """This user cannot see it."""


@immutable
class Checkup:
    """One check with its result."""

    area: Area
    health: Health
    what: Printable
    cure: Printable = _NOTHING
    """What to do, an imperative; empty where nothing is to be done."""


def doctor(path: str, socket_path: str | None, *, as_json: bool) -> int:
    """Print every check of the configuration at `path` and of this host; return 1 where one of them is a problem.

    `socket_path` is the daemon's, where it is not that of the configuration.
    """
    found = sorted(examine_host(path, socket_path), key=lambda each: list(Area).index(each.area))
    problems = sum(each.health is Health.PROBLEM for each in found)
    if as_json:
        checks = [
            {"area": each.area, "health": each.health, "what": each.what, "to_do": each.cure or None} for each in found
        ]
        print_json({"problems": problems, "checks": checks})
        return 1 if problems else 0
    screen = Screen()
    screen.table(_COLUMNS, [(each.health, each.area, each.what, each.cure) for each in found])
    unseen = sum(each.health is Health.UNKNOWN for each in found)
    screen.aside().say("{} checks: {} problems, {} that this user cannot see", len(found), problems, unseen)
    return 1 if problems else 0


def examine_host(where: str, socket_path: str | None) -> Iterator[Checkup]:
    """Yield every check, in no order."""
    here.about(where, socket_path)
    found = examine(where, os.environ)
    for mistake in found.mistakes:
        yield _of_mistake(mistake)
    if found.sound is None:
        return
    config, document = found.sound
    here.about_config(config, socket_path)
    if not found.mistakes:
        files = len(config.watches) + len(config.files)
        yield _ok(
            Area.CONFIGURATION,
            sentence("{}: {} files and patterns, {} endpoints", printable(where, 4096), files, len(config.endpoints)),
        )
    doubted = list(doubts(config, document))
    known = {(each.file, each.line, each.key) for each in found.mistakes}
    yield from _of_doubts(doubted, document, known)
    areas = {_area_of(each.path) for each in doubted}
    parts: dict[Area, Callable[[Config], Iterable[Checkup]]] = {
        Area.TRUST: _trust,
        Area.COMMANDS: _commands,
        Area.CHANNELS: _channels,
    }
    for area, check in parts.items():
        if area not in areas:
            yield from check(config)
    yield from _users(config)
    yield from _permissions(config)
    yield from _clock(config)
    yield from _actor(config)
    path = config.settings.socket if socket_path is None else socket_path
    yield from _daemon(path, with_actor=_needs_actor(config))


def _ok(area: Area, what: Printable) -> Checkup:
    return Checkup(area, Health.OK, what)


def _problem(area: Area, what: Printable, cure: Printable) -> Checkup:
    return Checkup(area, Health.PROBLEM, what, cure)


_AS_ROOT: Final = Printable("run this as root")


def _unknown(area: Area, what: Printable, cure: Printable = _AS_ROOT) -> Checkup:
    return Checkup(area, Health.UNKNOWN, what, cure)


# By the configuration, as `config check` sees it


def _of_mistake(mistake: Mistake) -> Checkup:
    return _problem(Area.CONFIGURATION, harmless(str(mistake)), _cure(Area.CONFIGURATION))


def _cure(area: Area) -> Printable:
    """Return the cure of a mistake in the configuration."""
    match area:
        case Area.USERS:
            return Printable("install certvigil where that user may enter, or open the directory")
        case Area.PERMISSIONS:
            return Printable("correct owner and mode, or choose another path")
        case Area.TRUST:
            return Printable("put back the file, or name another one")
        case Area.COMMANDS:
            return Printable("name a program that root alone may change, and a unit that is there")
        case Area.CHANNELS:
            return sentence("correct the URL, then: certvigil notify test")
        case _:
            return sentence("correct it, then: certvigil config check")


_AREAS: Final = {
    "trust_stores": Area.TRUST,
    "clients": Area.TRUST,
    "channels": Area.CHANNELS,
    "services": Area.COMMANDS,
    "actor": Area.USERS,
    "watch": Area.PERMISSIONS,
}


def _area_of(path: KeyPath) -> Area:
    if path[0] == "components":
        return Area.COMMANDS if len(path) > 2 and path[2] == "service" else Area.PERMISSIONS
    if path[0] == "trust_stores" and len(path) > 2 and path[2] in {"service", "keytool"}:
        return Area.COMMANDS
    return _AREAS.get(str(path[0]), Area.CONFIGURATION)


def _of_doubts(found: Sequence[Doubt], document: YAMLDocument, known: set[tuple[str, int, str]]) -> Iterator[Checkup]:
    for doubt in found:
        mistake, area = document.mistake(doubt.path, doubt.problem), _area_of(doubt.path)
        if (mistake.file, mistake.line, mistake.key) not in known:
            yield _problem(area, harmless(str(mistake)), _cure(area))


def _trust(config: Config) -> Iterator[Checkup]:
    in_use = stores_in_use(config)
    if not in_use:
        yield _ok(Area.TRUST, Printable("no trust store is in use: nothing is judged by one"))
    for name in in_use:
        read = read_trust(config.trust_stores[name])
        # An unreadable one is a doubt, unless it is one that nobody declared.
        if isinstance(read, TrustUnreadable):
            what = sentence("{}: {}: {}", printable(name), printable(read.path, 4096), printable(read.detail))
            yield _problem(Area.TRUST, what, Printable("install the roots of this system, such as ca-certificates"))
        else:
            yield _ok(Area.TRUST, sentence("the trust store {} can be read", printable(name)))


def _commands(config: Config) -> Iterator[Checkup]:
    services = {name: each.service for name, each in config.components.items() if each.service is not None}
    for name, service in services.items():
        called = service.unit or " ".join(service.restart)
        yield _ok(Area.COMMANDS, sentence("{}: {}", printable(name), printable(called, 500)))
    if not services:
        yield _ok(Area.COMMANDS, Printable("no component has a service: everything is only watched"))


def _channels(config: Config) -> Iterator[Checkup]:
    for name in config.channels:
        what = sentence("the channel {} has a form that can be delivered to", printable(name))
        yield Checkup(
            Area.CHANNELS, Health.OK, what, sentence("see a message: certvigil notify test {}", printable(name))
        )
    if not config.channels:
        yield _ok(Area.CHANNELS, Printable("none is declared: findings are shown by status and metrics alone"))


# On the host


def _needs_actor(config: Config) -> bool:
    acts = any(each.service is not None for each in config.components.values()) or bool(config.changeable_stores)
    return acts or any(each.keys is Keys.READ for each in config.components.values())


def _make_user(name: Printable) -> Printable:
    if runs():
        return sentence("make the users of the units: certvigil config units --out /etc, then systemd-sysusers")
    return sentence("useradd --system --user-group --shell /usr/sbin/nologin {}", name)


def _make_group(name: Printable) -> Printable:
    if runs():
        return sentence("make the groups of the units: certvigil config units --out /etc, then systemd-sysusers")
    return sentence("groupadd --system {}", name)


def _users(config: Config) -> Iterator[Checkup]:
    actor, with_actor = config.settings.actor, _needs_actor(config)
    for name in dict.fromkeys((actor.daemon_user, *actor.operators)):
        if HostUser.named(name).exists:
            yield _ok(Area.USERS, sentence("there is a user {}", printable(name)))
        else:
            yield _problem(Area.USERS, sentence("there is no user {}", printable(name)), _make_user(printable(name)))
    if not with_actor:
        return
    # An actor of a plain user reads keys as that user.
    if actor_uid(config) == 0:
        yield _reader()
    group = gid_of(actor.group)
    if group is None:
        yield _problem(
            Area.USERS, sentence("there is no group {}", printable(actor.group)), _make_group(printable(actor.group))
        )
        return
    for name in dict.fromkeys((actor.daemon_user, *actor.operators)):
        user = HostUser.named(name)
        if user.exists and user.uid not in {0, actor_uid(config)} and group not in user.groups:
            what = sentence(
                "{} is not in the group {}, and is not heard by the actor", user.name, printable(actor.group)
            )
            yield _problem(Area.USERS, what, sentence("usermod -aG {} {}", printable(actor.group), user.name))


def _reader() -> Checkup:
    name = printable(READER)
    if HostUser.named(READER).exists:
        return _ok(Area.USERS, sentence("there is a user {}", name))
    what = sentence("there is no user {}: keys are read as nobody, a user that other programs have too", name)
    return Checkup(Area.USERS, Health.OK, what, _make_user(name))


def _permissions(config: Config) -> Iterator[Checkup]:
    settings, user = config.settings, HostUser.named(config.settings.actor.daemon_user)
    if user.exists:
        yield from _directory(settings.state_directory, user)
        yield from _readable(config, user)
    if _needs_actor(config):
        yield from _actors_directory(settings.actor.directory, actor_uid(config))


_MAKE_DIRECTORIES: Final = Printable("systemd-tmpfiles --create, or start the units once")


def _directory(path: str, user: HostUser) -> Iterator[Checkup]:
    shown = printable(path, 4096)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        yield _problem(Area.PERMISSIONS, sentence("{} is missing", shown), _MAKE_DIRECTORIES)
    except OSError as error:
        yield _unknown(Area.PERMISSIONS, sentence("{}: {}", shown, printable(error.strerror or "cannot be seen")))
    else:
        if not stat.S_ISDIR(found.st_mode):
            yield _problem(Area.PERMISSIONS, sentence("{} is no directory", shown), Printable("move it away"))
        elif found.st_uid != user.uid:
            what = sentence("{} belongs to user {}, and the daemon is {}", shown, found.st_uid, user.name)
            yield _problem(Area.PERMISSIONS, what, sentence("chown {} {}", user.name, shown))
        else:
            yield _ok(Area.PERMISSIONS, sentence("{} is the daemon's", shown))


def _actors_directory(path: str, user: int) -> Iterator[Checkup]:
    shown = printable(path, 4096)
    try:
        why = changeable(path, user)
    except FileNotFoundError:
        yield _problem(Area.PERMISSIONS, sentence("{} is missing", shown), _MAKE_DIRECTORIES)
    except OSError as error:
        yield _unknown(Area.PERMISSIONS, sentence("{}: {}", shown, printable(error.strerror or "cannot be seen")))
    else:
        if why:
            whose = printable(str(user)) if user else Printable("root")
            own = sentence("chown {1}: {0} && chmod 0700 {0}", shown, whose)
            # Nothing tells the user of an actor that does not run: root's own directory would shut out a lesser one.
            cure = own if user else sentence("{}; where the actor runs as a plain user, run doctor as that user", own)
            yield _problem(Area.PERMISSIONS, printable(why, 4096), cure)
        else:
            yield _ok(Area.PERMISSIONS, sentence("{} is the actor's alone", shown))


def _readable(config: Config, user: HostUser) -> Iterator[Checkup]:
    """Yield the watched files that the daemon may not read; those of components are read by the actor, too."""
    closed = 0
    plain = [path for watch in config.watches for path in watch.patterns if _PATTERN.isdisjoint(path)]
    for path in plain:
        try:
            why = unreadable_for(path, user.uid, user.groups) if os.path.isfile(path) else ""
        except OSError:
            continue
        if why:
            closed += 1
            what = sentence("{} cannot be read by {}: {}", printable(path, 4096), user.name, printable(why, 4096))
            yield _problem(Area.PERMISSIONS, what, Printable("let that user read it, such as by its group"))
    if plain and not closed:
        yield _ok(Area.PERMISSIONS, sentence("{} may read the watched files", user.name))


def _clock(config: Config) -> Iterator[Checkup]:
    see = Printable("; see: timedatectl") if runs() else Printable("")
    cure = sentence("have it synchronised, such as by chrony or systemd-timesyncd{}", see)
    match World().synchronised():
        case True:
            yield _ok(Area.CLOCK, Printable("the kernel counts the clock as synchronised"))
        case False if config.settings.actor.require_synchronised_clock:
            what = Printable("the kernel does not count the clock as synchronised: nothing is done without a person")
            yield _problem(Area.CLOCK, what, cure)
        case False:
            what = Printable("the kernel does not count the clock as synchronised, which the configuration allows")
            yield Checkup(Area.CLOCK, Health.OK, what, cure)
        case _:
            what = Printable("the kernel does not tell whether the clock is synchronised")
            yield _unknown(Area.CLOCK, what, cure)


def _actor(config: Config) -> Iterator[Checkup]:
    if not _needs_actor(config):
        yield _ok(Area.ACTOR, Printable("none is needed: nothing is changed, and no key is read"))
        return
    path = config.settings.actor.socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            what = sentence("no actor listens on {}", printable(path))
            yield _problem(Area.ACTOR, what, _start(Printable("certvigil-recover certvigil-actor"), Printable("actor")))
        except OSError as error:
            what = sentence("{}: {}", printable(path), printable(error.strerror or "it does not answer"))
            yield _unknown(Area.ACTOR, what)
        else:
            yield _ok(Area.ACTOR, sentence("an actor listens on {}", printable(path)))


def _start(units: Printable, command: Printable) -> Printable:
    """Return how a part of certvigil is started on this host."""
    if runs():
        return sentence("systemctl enable --now {}", units)
    return sentence("have it run: `{}`, by whatever starts services on this host", harmless(command_line(command)))


def _daemon(path: str, *, with_actor: bool) -> Iterator[Checkup]:
    told = ask(path, "/api/v1/status", timeout=_PATIENCE)
    if isinstance(told, NoDaemonAnswer):
        refused = os.path.exists(path) and not os.access(path, os.W_OK)
        cure = _start(Printable("certvigil"), Printable("run"))
        yield _unknown(Area.DAEMON, told.why) if refused else _problem(Area.DAEMON, told.why, cure)
        return
    try:
        yield from _of_status(told, with_actor=with_actor)
    except (KeyError, TypeError, ValueError):
        what = sentence("the daemon on {} tells no status; is it of this version?", printable(path))
        restart = Printable("systemctl restart certvigil") if runs() else Printable("end it, and start it again")
        yield _problem(Area.DAEMON, what, restart)


def _of_status(told: dict[str, Any], *, with_actor: bool) -> Iterator[Checkup]:
    if told["ready"]:
        yield _ok(Area.DAEMON, sentence("the daemon of version {} is ready", printable(str(told["version"]))))
    else:
        why = listed(printable(str(each)) for each in told["not_ready"])
        yield _problem(Area.DAEMON, sentence("the daemon is not ready: {}", why), Printable("wait, or see its log"))
    if told["configuration"]["stale"]:
        what = Printable("the configuration on disk is another than the daemon goes by")
        yield _problem(Area.DAEMON, what, sentence("certvigil reload"))
    if with_actor and told["no_actor"]:
        what = sentence("the daemon hears no actor: {}", printable(str(told["no_actor"])))
        see = Printable("systemctl status certvigil-actor") if runs() else Printable("its log")
        yield _problem(Area.ACTOR, what, sentence("see why: {}", see))
    for each in told["findings"]:
        code = Code(each["code"])
        if not CATALOGUE[code].informational:
            what = sentence("the daemon tells {}: {}", code, printable(str(each["detail"]), 1024))
            # The cure is our own text: whoever runs this as root carries out no words of a daemon.
            yield _problem(Area.DAEMON, what, harmless(cure(code)))
