"""`certvigil history`: past events, from the database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from config.immutable import immutable
from config.model import Config
from config.pattern import is_one_of
from config.text import Printable, harmless, listed, printable, sentence
from monitor.act.status import actions_of
from monitor.commands import here
from monitor.commands.choice import unknown, with_members
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.period import PeriodError, period
from monitor.commands.screen import Screen
from monitor.dialect import iso
from monitor.store import Degraded, database_path, names
from monitor.store import history as read_history

_UNUSABLE = 3
_NOTHING: Final = Printable("")


@immutable
class HistoryQuery:
    """The entries that are to be shown."""

    names: tuple[str, ...] = ()
    """Targets and components, or patterns; empty for all."""
    since: str = "30d"
    until: str | None = None
    limit: int = 100
    as_json: bool = False


def history(query: HistoryQuery, config_path: str, database: str | None) -> int:
    """Print past events, newest first; return 3 where the database cannot be read, or a name is unknown."""
    now = time.time()
    try:
        since, until = period(query.since, query.until, now)
    except PeriodError as error:
        return _failed(harmless(str(error)))
    known: Mapping[str, str | None] = {}
    wanted = query.names
    here.about(config_path)
    if database is None:
        config = loaded(config_path)
        if config is None:
            return _UNUSABLE
        database, known = database_path(config.settings.state_directory), _configured(config)
        wanted = _with_groups(wanted, config)
    chosen: Sequence[str] | None = None
    if query.names:
        recorded = names(database)
        if isinstance(recorded, Degraded):
            return _failed(_unreadable(database, recorded))
        known = {**known, **recorded}
        components = {each for each in known.values() if each is not None}
        if wrong := unknown(query.names, {*known, *components}, Printable("target or component")):
            return _failed(wrong)
        chosen = [name for name, component in known.items() if _is_meant(name, component, wanted)]
    found = read_history(database, chosen, since, until, query.limit)
    if isinstance(found, Degraded):
        return _failed(_unreadable(database, found))
    if query.as_json:
        print_json({"entries": [{**asdict(entry), "at": iso(entry.at)} for entry in found]})
    elif not found:
        about = sentence(" to {}", listed(printable(each, 200) for each in query.names)) if query.names else _NOTHING
        before = sentence(", until {}", iso(until) or _NOTHING) if until is not None else _NOTHING
        Screen().say("no event{} is recorded since {}{}", about, iso(since) or _NOTHING, before)
    else:
        rows = (
            (iso(entry.at) or _NOTHING, harmless(entry.target), entry.what, harmless(entry.sentence)) for entry in found
        )
        Screen().table(("when", "target", "what", "how"), rows)
    return 0


def _unreadable(database: str, why: Degraded) -> Printable:
    return sentence("{} cannot be read: {}", printable(database), harmless(why.detail))


def _failed(why: Printable) -> int:
    complain("certvigil history: {}", why)
    return _UNUSABLE


def _is_meant(name: str, component: str | None, wanted: Sequence[str]) -> bool:
    return is_one_of(name, wanted) or (component is not None and is_one_of(component, wanted))


def _configured(config: Config) -> Mapping[str, str | None]:
    """Return the targets of the configuration, with their components. Perhaps nobody has looked at them yet."""
    targets: dict[str, str | None] = {each.name: each.component for each in config.files}
    targets |= {each.name: each.component for each in config.endpoints.values()}
    targets |= {actions_of(name): name for name in config.groups}
    return {**dict.fromkeys(config.components), **targets}


def _with_groups(names: Sequence[str], config: Config) -> tuple[str, ...]:
    """Return these names with the members of each group beside the group, and its group's actions beside a member."""
    actions = (
        actions_of(name)
        for name, group in config.groups.items()
        if not is_one_of(name, names) and any(is_one_of(member, names) for member in group.members)
    )
    return (*with_members(names, {name: group.members for name, group in config.groups.items()}), *actions)
