"""`certvigil rotate`: the order in which a root is changed, and how far it is; `certvigil trust confirm`."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import Any, Final

from actions.journal import Event, JournalError, Record
from actions.journal_state import Confirmations, JournalState
from config.immutable import immutable
from config.model import Config
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import RotationDeed, StepProgress
from monitor.actor.offers import directory_of_site, directory_of_socket
from monitor.actor.request import Request, Verb
from monitor.commands.act import ActOptions, answer_to
from monitor.commands.audit import journal_records
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.outcome import cannot
from monitor.commands.screen import INDENT, Screen
from monitor.rotation_facts import Roots, Words, declared_roots, read_roots, rotation
from monitor.state.look_once import look_once
from monitor.state.trust import read_trust_context

Document = dict[str, Any]

CANNOT: Final = 3
_LEFT: Final = 1
"""Steps are left."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_STYLES: Final = {StepProgress.DONE: "green", StepProgress.NEXT: "bold yellow", StepProgress.WAITING: "dim"}


@immutable
class RotateQuery:
    """The roots, and how they are looked for."""

    new: str | None
    """The file of the new root; None for the declared rotation."""
    old: tuple[str, ...]
    config: str
    timeout: float = 5.0
    """Seconds for each endpoint."""
    as_json: bool = False


def rotate(query: RotateQuery) -> int:
    """Print the steps; return 0 where all are done, 1 where some are left, 3 where they cannot be told."""
    config = loaded(query.config)
    if config is None:
        return CANNOT
    roots = _roots(query, config)
    if not isinstance(roots, Roots):
        complain("certvigil rotate: {}", roots)
        return CANNOT
    try:
        confirmations = _confirmations(config)
    except (JournalError, OSError, KeyError, TypeError, ValueError) as error:
        complain("certvigil rotate: what was confirmed cannot be read: {}", printable(str(error)))
        return CANNOT
    document = asyncio.run(_look(config, confirmations, roots, query.timeout))
    if query.as_json:
        print_json(document)
    else:
        _show(document)
    return 0 if document["done"] == len(document["steps"]) else _LEFT


def _roots(query: RotateQuery, config: Config) -> Roots | Printable:
    if query.new is not None:
        return read_roots(os.path.abspath(query.new), query.old)
    if query.old:
        return Printable("--old goes with a new root: name its file")
    why = Printable("name the file of the new root, or declare `rotation` in the configuration")
    return declared_roots(config) or why


def _confirmations(config: Config) -> Confirmations:
    """Return what operators confirmed, where any trust store depends on it; raises JournalError, OSError."""
    if all(each.elsewhere is None for each in config.trust_stores.values()):
        return {}
    journal_state = JournalState()
    try:
        for each in journal_records(config):
            if each["event"] in {Event.ROOT_CONFIRMED, Event.ROOT_GONE}:
                journal_state.take(Record(float(each["at"]), "", Event(each["event"]), each["data"]))
    except JournalError as error:
        # Without an actor and a journal, nothing was ever confirmed.
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    return journal_state.confirmed


async def _look(config: Config, confirmations: Confirmations, roots: Roots, seconds: float) -> Document:
    now = time.time()
    trust_context, findings = read_trust_context(config)
    for each in findings:
        complain("certvigil: {}", harmless(each.detail))
    targets = await look_once(trust_context, now, seconds)
    return rotation(trust_context, targets, confirmations, roots, now, ways=_ways(config))


def _ways(config: Config) -> dict[str, Words]:
    """Return the command that installs what was brought, by component or group, as far as this user may see it.

    An offer is installed by the hash of its plan alone, which `plan` shows; without anything brought, a file is named.
    """
    ways: dict[str, Words] = {}
    for name in config.subjects:
        inbox = os.path.join(config.settings.actor.inbox_directory, name)
        offers = (directory_of_socket(config, name), directory_of_site(config, name))
        if not _holds_something(inbox):
            offered = any(_holds_something(each) for each in offers if each is not None)
            ways[name] = ("plan", name) if offered else ("replace", name, "--from", "NEW.pem")
    return ways


def _holds_something(directory: str) -> bool:
    try:
        return any(not each.startswith(".") for each in os.listdir(directory))
    except OSError:
        return False


def _show(document: Document) -> None:
    screen = Screen()
    if screen.width is None:
        columns = ("progress", "deed", "of", "root", "reason", "command", "guide")
        screen.table(columns, [_row(each) for each in document["steps"]])
    else:
        screen.say("new root   {}, sha256 {}", document["new"]["subject"], document["new"]["sha256"], style="bold")
        for each in document["old"]:
            screen.say("old root   {}, sha256 {}", each["subject"], each["sha256"], style="bold")
        for number, each in enumerate(document["steps"], 1):
            _show_step(screen, number, each)
    aside = screen.aside()
    for each in document["notes"]:
        aside.say("note       {}", each, style="yellow")
    aside.say("{} of {} steps are done", document["done"], len(document["steps"]))


def _show_step(screen: Screen, number: int, step: Document) -> None:
    progress = StepProgress(step["progress"])
    said = _said(step)
    screen.entry(
        f"{number:>2} {progress:<8} ", said, _STYLES[progress], "bold" if progress is StepProgress.NEXT else ""
    )
    entries = [("", step["reason"]), *(("do", each) for each in step["commands"])]
    entries += [("guide", sentence("certvigil guide {}", step["guide"]))] if step["guide"] else []
    for label, text in entries:
        if text:
            screen.entry(f"{INDENT}{label:<6} ", text, "dim")


def _said(step: Document) -> Printable:
    about = harmless(step["about"])
    match RotationDeed(step["deed"]):
        case RotationDeed.ADD:
            return sentence("{} gets the new root", about)
        case RotationDeed.SWITCH:
            return sentence("{} gets a certificate of the new root", about)
        case RotationDeed.REMOVE:
            return sentence("{} loses the old root {}", about, step["title"])


def _row(step: Document) -> tuple[Printable, ...]:
    commands = listed(step["commands"], "; ")
    guide = sentence("certvigil guide {}", step["guide"]) if step["guide"] else Printable("")
    about = harmless(step["about"])
    return step["progress"], step["deed"], about, harmless(step["root"][:16]), step["reason"], commands, guide


# A person's word


def confirm(store: str, root: str, why: str, options: ActOptions, *, has: bool) -> int:
    """Record that a trust store of other machines has a root, or does not have it; return the exit code."""
    digits = root.lower().replace(":", "")
    if not _SHA256.fullmatch(digits):
        found = read_roots(root, ())
        if not isinstance(found, Roots):
            return cannot("--root takes the 64 digits of a SHA-256, or a file with the root; {}", found)
        digits = found.new.sha256
    verb = Verb.CONFIRM if has else Verb.CONFIRM_GONE
    document = answer_to(Request(verb, components=(store,), key=digits, why=why), options)
    if not isinstance(document, dict):
        return document
    if "confirmed" not in document:
        return cannot("{}", printable(str(document.get("cannot", document)), 500))
    if options.as_json:
        print_json(document)
    else:
        said = Printable("has") if has else Printable("does not have")
        Screen().say("recorded   {} {} the root {}", printable(store), said, harmless(digits))
    return 0
