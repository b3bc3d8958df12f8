"""The things on this host that the configuration names, and the doubts that a look at them raises."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import stat
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from actions import target
from actions.keytool import find_keytool, why_untrusted
from actions.plan import Change, FileState
from actions.validate import Terms
from actions.world import World
from config.channel import Channel
from config.document import KeyPath, Value, YAMLDocument, shown
from config.immutable import immutable
from config.model import Client, Component, Config, TrustStore
from config.pointer import ANY
from config.schema.component import UNKNOWN_UNIT
from config.service import Command, Service
from config.text import printable
from config.trusted import changeable, unreadable_for
from config.vocabulary import LINE_ROLES, FileRole, WriteMode
from monitor.host.entry import HostUser, installed_at, why_no_entry
from monitor.host.systemd import lacks_unit
from monitor.state.trust import stores_in_use
from probes.container.registry import recognise
from probes.trust import TrustUnreadable, read_certificates, read_trust
from probes.validation import SwitchUnreadable, read_switch


@immutable
class Doubt:
    """Something at `path` of the document that the world outside does not bear out."""

    path: KeyPath
    problem: str
    """Printable, and without secrets."""
    is_hopeless: bool = False
    """It cannot work whatever happens outside; otherwise it may be mended there, or does not matter on this host."""


def doubts(config: Config, document: YAMLDocument) -> Iterator[Doubt]:
    """Yield the doubts about `config`, which `document` declares, in no order; reads files, and loads apprise."""
    in_use = stores_in_use(config)
    for name, store in config.trust_stores.items():
        if store.elsewhere is None and (name in in_use or name in _section(document, "trust_stores")):
            yield from _store(store)
    for client in config.clients.values():
        yield from _intermediates(client)
    yield from _switches(config)
    for channel in config.channels.values():
        yield from _channel(channel)
    if config.settings.web.config_file is not None:
        yield from _web(config.settings.web.config_file)
    yield from _entry(config)
    yield from _read_by_daemon(config, document)
    seen: set[Service] = set()
    user = actor_uid(config)
    for component in config.components.values():
        # The unit stands for a service with mistakes.
        is_known = component.service is not None and component.service.unit != UNKNOWN_UNIT
        if component.service is not None and is_known and component.service not in seen:
            seen.add(component.service)
            yield from _service(component.service, _service_path(component, document), user)
        if component.service is not None:
            files: dict[KeyPath, str] = {
                ("components", component.name, "artefacts", *_artefact_path(role)): path
                for role, path in component.artefacts.files.items()
            }
            yield from _targets(component.name, files, component.write_mode, user)
    for name, store in config.changeable_stores.items():
        if store.service is not None and store.service.unit != UNKNOWN_UNIT and store.service not in seen:
            seen.add(store.service)
            yield from _service(store.service, ("trust_stores", name, "service"), user)
        yield from _targets(name, {("trust_stores", name, "bundle"): store.path or ""}, store.write_mode, user)
        yield from _keytool(store, World(), user)


def actor_uid(config: Config) -> int:
    """Return the id of the user as whom the actor runs: that of the socket where it listens.

    Where it does not run: our own where its directory is ours, else root's.
    """
    actor = config.settings.actor
    with suppress(OSError):
        return os.stat(actor.socket).st_uid
    with suppress(OSError):
        if os.stat(actor.directory).st_uid == os.geteuid():
            return os.geteuid()
    return 0


def _artefact_path(role: FileRole) -> KeyPath:
    """Return where the document declares a file of a component."""
    return ("lines", LINE_ROLES.index(role), "file") if role.is_line else (str(role),)


def _targets(name: str, files: Mapping[KeyPath, str], write_mode: WriteMode, user: int) -> Iterator[Doubt]:
    """Yield each of these files that a transaction would refuse to change, as it lies now."""
    world = World()
    for where, given in files.items():
        try:
            path = world.resolve(given)
            now = target.state(world, path)
            after = now or FileState("", 0o600, 0, 0)
            change = Change(name, path, now, after, "" if given == path else given, write_mode is WriteMode.IN_PLACE)
            why = target.obstacle(world, change, Terms().trusted_owners | {user})
        except OSError:
            # What cannot be read by this user is reported by the looks at it.
            continue
        if why is not None:
            yield Doubt(where, f"a transaction would be refused: {why}")


def _keytool(store: TrustStore, world: World, user: int) -> Iterator[Doubt]:
    """Yield that a keystore is not changed by the nearest keytool, since others may change the Java of that."""
    given = store.path or ""
    try:
        form = recognise(world.read(world.resolve(given))[1])
    except OSError:
        return
    if form is None or not form.is_keystore:
        return
    found = find_keytool(store.keytool, given, world, user=user)
    for each in found.passed_over:
        yield Doubt(("trust_stores", store.name, "bundle"), each)
    if found.program is not None and (why := why_untrusted(found.program, given, user=0)):
        where = "bundle" if store.keytool is None else "keytool"
        yield Doubt(("trust_stores", store.name, where), f"{printable(found.program)} is not run: {why}")


def _entry(config: Config) -> Iterator[Doubt]:
    """Yield that the daemon's user, where this host has it, may not enter the place where certvigil is installed."""
    user = HostUser.named(config.settings.actor.daemon_user)
    if user.exists and (why := why_no_entry(user, installed_at())) is not None:
        yield Doubt(("actor", "daemon_user"), why)


_OF_ENDPOINT: Final = ("client_certificate", "client_key", "proxy_credentials_file")
_READ_BY_DAEMON: Final = (
    ("watch", ANY, "password_file"),
    ("watch", ANY, "password_files", ANY),
    *(("endpoints", ANY, each) for each in _OF_ENDPOINT),
    *(("components", ANY, "endpoints", ANY, each) for each in _OF_ENDPOINT),
    ("revocation", "fetch", "proxy_credentials_file"),
)
"""Keys of files that the daemon opens by itself; those of components are opened by the actor's reader."""


def _read_by_daemon(config: Config, document: YAMLDocument) -> Iterator[Doubt]:
    """Yield that the daemon may not read a file which it opens by itself."""
    user = HostUser.named(config.settings.actor.daemon_user)
    if not user.exists:
        return
    for pattern in _READ_BY_DAEMON:
        for where, path in _at(document.values, pattern, ()):
            # Anything else is a mistake, which is told as that.
            if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
                continue
            try:
                why = unreadable_for(path, user.uid, user.groups)
            except OSError as error:
                why = error.strerror or "cannot be looked at"
            if why:
                problem = f"{printable(path)} cannot be read by {user.name}, as whom the daemon opens it: {why}"
                yield Doubt(where, problem)


def _at(value: Value, pattern: Sequence[str], above: KeyPath) -> Iterator[tuple[KeyPath, Value]]:
    """Yield each value whose path in a document matches the pattern, and that path."""
    if not pattern:
        yield above, value
        return
    step, *rest = pattern
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        if step in {ANY, key}:
            yield from _at(each, rest, (*above, key))


def _section(document: YAMLDocument, name: str) -> dict[str, object]:
    section = document.values.get(name)
    return dict(section) if isinstance(section, dict) else {}


def _store(store: TrustStore) -> Iterator[Doubt]:
    found = read_trust(store)
    if isinstance(found, TrustUnreadable):
        problem = f"{printable(found.path)}: {printable(found.detail)}, expected certificates to trust"
        yield Doubt(("trust_stores", store.name, "bundle"), problem)


def _intermediates(client: Client) -> Iterator[Doubt]:
    for index, path in enumerate(client.intermediates):
        try:
            problem = "" if read_certificates(path) else "holds no certificate"
        except OSError as error:
            problem = error.strerror or "cannot be read"
        if problem:
            where = ("clients", client.name, "intermediates", index)
            yield Doubt(where, f"{printable(path)}: {problem}, expected intermediate certificates")


def _switches(config: Config) -> Iterator[Doubt]:
    """Yield that the daemon, which reads clients' own configurations, cannot read one."""
    user = HostUser.named(config.settings.actor.daemon_user)
    in_use = {name for endpoint in config.endpoints.values() for name in endpoint.clients}
    for client in config.clients.values():
        switch = client.validation_switch
        if switch is None or client.name not in in_use:
            continue
        found = read_switch(switch)
        why = found.detail if isinstance(found, SwitchUnreadable) else ""
        try:
            why = why or (unreadable_for(switch.file, user.uid, user.groups) if user.exists else "")
        except OSError as error:
            why = error.strerror or "cannot be looked at"
        if why:
            problem = f"{printable(switch.file)}: {printable(why)}; until it is read, `validates` of the client counts"
            yield Doubt(("clients", client.name, "validation_switch", "file"), problem)


def _web(path: str) -> Iterator[Doubt]:
    from monitor.http.webconfig import read_web_config  # noqa: PLC0415 (loads the web server)

    found = read_web_config(path)
    if isinstance(found, tuple):
        for mistake in found:
            yield Doubt(("web", "config_file"), str(mistake))


_SILENT: Final = logging.CRITICAL + 1


def _channel(channel: Channel) -> Iterator[Doubt]:
    for position, url in enumerate(channel.urls):
        scheme = url.partition("://")[0]
        is_usable, known = _ask_apprise(url)
        if is_usable:
            continue
        problem = f"{printable(channel.url_name(position))} is nothing that apprise can deliver to"
        if scheme.lower() in known:
            problem += f", expected the form that it documents for {shown(scheme)}"
        else:
            close = difflib.get_close_matches(scheme.lower(), known, 1)
            guess = f" (did you mean '{close[0]}'?)" if close else ""
            problem += f": it knows no {shown(scheme)}{guess}, expected one of its services"
        where: KeyPath = ("urls", position) if channel.urls_file is None else ("urls_file",)
        yield Doubt(("channels", channel.name, *where), problem, is_hopeless=True)


def _ask_apprise(url: str) -> tuple[bool, Collection[str]]:
    """Return whether apprise takes `url`, and which schemes it knows; it connects to nothing for that."""
    # Its log may hold tokens.
    logging.getLogger("apprise").setLevel(_SILENT)
    with warnings.catch_warnings(action="ignore"):
        import apprise  # noqa: PLC0415 (takes a second)
        from apprise.plugins import N_MGR  # noqa: PLC0415

        taken = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        return taken is not None, N_MGR.schemas()  # type: ignore[no-untyped-call]


def _service_path(component: Component, document: YAMLDocument) -> KeyPath:
    """Return where the document describes the service of `component`."""
    given = _section(document, "components").get(component.name)
    service = given.get("service") if isinstance(given, dict) else None
    return ("services", service) if isinstance(service, str) else ("components", component.name, "service")


def _service(service: Service, where: KeyPath, user: int) -> Iterator[Doubt]:
    commands: dict[str, Command | None] = {"test": service.test}
    if service.unit is None:
        commands |= {name: getattr(service, name) for name in ("reload", "restart", "stop", "start")}
    else:
        commands["unit"] = service.restart[:1]
    told: set[str] = set()
    for name, command in commands.items():
        for problem in _command(command or (), user):
            if problem not in told:
                told.add(problem)
                yield Doubt((*where, name), problem)
    # A program that others may change is not run.
    if service.unit is not None and service.state is not None and not told and lacks_unit(service.state):
        yield Doubt((*where, "unit"), f"systemd knows no unit {printable(service.unit)} on this host")


def _command(command: Command, user: int) -> Iterator[str]:
    """Yield for the program, and for each program among its words, why not only root and `user` decide about it."""
    for position, word in enumerate(command):
        if position and not _is_program(word):
            continue
        try:
            way = changeable(word, user)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                yield f"{printable(word)} does not exist here, so who may change it is not known"
            else:
                yield f"{printable(word)}: {error.strerror or 'cannot be looked at'}, so who may change it is not known"
        else:
            if way:
                whose = f"user {user}" if user else "root"
                yield f"{printable(word)} is run as {whose}, but others may change it: {way}"


def _is_program(word: str) -> bool:
    try:
        status = os.stat(word) if word.startswith("/") else None
    except (OSError, ValueError):
        return False
    return status is not None and stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
