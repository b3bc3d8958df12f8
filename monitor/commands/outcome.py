"""Showing the answer to a command that acts: the plan, the steps, the ending, and the work that is left."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from actions.ending import Ground, Outcome
from actions.journal import Event
from actions.plan import Kind
from config.text import Printable, Shown, harmless, listed, sentence
from monitor.actor.documents import WAITS
from monitor.actor.request import Document
from monitor.commands.complain import complain
from monitor.commands.screen import Screen
from monitor.state.cure import without_cure

EXIT_CODE: Final = {
    Outcome.COMMITTED: 0,
    Outcome.REFUSED: 1,
    Outcome.ROLLED_BACK: 2,
    Outcome.FAILED_FORWARD: 2,
    Outcome.SUPERSEDED: 2,
    Outcome.FROZEN: 3,
}
UNUSABLE: Final = 4
"""The request makes no sense, or the state cannot be used: nothing was tried."""

_DONE: Final = ("endings", "thawed", "not_frozen", "released", "reinstated", "not_recovered")
"""Parts of the answer to `recover` that say that something was done."""

_STEPS: Final = {
    Event.BEGIN: Printable("looked at the served chains, and at the clients that accept them"),
    Event.BACKED_UP: Printable("copied the old files aside"),
    Event.STAGED: Printable("put the new files beside the old ones"),
    Event.INTENT: Printable("noted the intent"),
    Event.SWITCHED: Printable("switched a file"),
    Event.CONFIG_TESTED: Printable("the configuration test passes with the new files"),
    Event.ACTIVATED: Printable("the command that activates the new files has ended"),
    Event.ROLLING_BACK: Printable("rolling back"),
    Event.RECOVERING: Printable("finishing or undoing an interrupted transaction"),
    Event.COMMITTED: Printable("committed"),
    Event.ROLLED_BACK: Printable("the old files are back"),
    Event.FAILED_FORWARD: Printable("the new files stay"),
    Event.STARTED: Printable("starting a service that answers nobody; this is tried once"),
    Event.SUPERSEDED: Printable("another writer's files stay in place"),
    Event.FROZEN: Printable("frozen"),
    Event.CLOSED: Printable("tidied up"),
    Event.QUARANTINED: Printable("put the candidate in quarantine"),
}


class StepDisplay:
    """Shows each step of a transaction, with the seconds since the request."""

    def __init__(self, where: IO[str] | None) -> None:
        """Show the steps on `where`; for None they are not shown."""
        self.begun = False
        """Whether the reader of the answer has watched the steps."""
        self._where = where
        self._started = time.monotonic()

    def hear(self, step: Mapping[str, Any]) -> None:
        """Take in one step."""
        if step["event"] == WAITS:
            self.say("waiting for {}", harmless(str(step["act"])))
        elif step["event"] == Event.COMMAND_OVER:
            # That a command ran no more took no time.
            if step.get("waited"):
                self.say("{}", harmless(str(step["waited"])))
        elif step["event"] == Event.VALIDATED:
            self.say("{}", _validated(step))
        elif (text := _STEPS.get(step["event"])) is not None and step.get("tested", True):
            self.begun = self._where is sys.stdout
            self.say("{}", text)

    def say(self, template: str, *parts: Shown) -> None:
        """Show a line, as `sentence` makes it."""
        line = sentence("  {:6.2f} s  {}", time.monotonic() - self._started, sentence(template, *parts))
        if self._where is sys.stdout:
            Screen().say("{}", line, style="dim")
        elif self._where is not None:
            self._where.write(f"{line}\n")
            self._where.flush()


def _validated(step: Mapping[str, Any]) -> Printable:
    """Return the result of a validation: of a changed trust store, no endpoint serves another chain."""
    if not step.get("seen", True):
        return Printable("no endpoint answered: the served chain and the clients were not seen")
    unseen = listed(harmless(str(each)) for each in step.get("unseen", ()))
    seen = "each client was asked again" if step.get("kind") == Kind.TRUST else "every endpoint serves the new chain"
    if unseen:
        seen = "every endpoint that answers serves the new chain"
    lost = listed(harmless(str(each)) for each in step.get("lost", ()))
    planned = sentence(" but, as planned, {}", lost) if lost else Printable("")
    beside = sentence("; not seen, since nobody answers there: {}", unseen) if unseen else Printable("")
    return sentence(
        "{}, and no client {}is lost{}{}", harmless(seen), Printable("of theirs " if unseen else ""), planned, beside
    )


def cannot(template: str, *parts: Shown) -> int:
    """Say on standard error why nothing was tried, as `sentence` makes it, and return the exit code of that."""
    complain("certvigil: {}", sentence(template, *parts))
    return UNUSABLE


def exit_code(document: Document) -> int:
    """Return the exit code for an answer."""
    if document.keys() & {"cannot", "unknown"}:
        return UNUSABLE
    if "refused" in document:
        return 0 if _is_so(document) else EXIT_CODE[Outcome.REFUSED]
    if "expired" in document:
        return EXIT_CODE[Outcome.REFUSED]
    endings = document.get("endings", ())
    if "frozen" in document:
        # After a recovery, only components that are still broken concern the caller.
        return EXIT_CODE[Outcome.FROZEN] if any(each["outcome"] == Outcome.FROZEN for each in endings) else 0
    return EXIT_CODE[Outcome(endings[-1]["outcome"])] if endings else 0


def _is_so(document: Document) -> bool:
    """Whether nothing was done because everything is in place already."""
    return {each["ground"] for each in document["refused"]["objections"]} == {Ground.NOTHING_TO_DO}


def show(document: Document, progress: StepDisplay) -> None:
    """Print an answer."""
    screen = Screen()
    if "cannot" in document:
        complain("certvigil: {}", document["cannot"])
        return
    if "refused" in document:
        for each in document["refused"]["objections"]:
            if _is_so(document):
                screen.say("unchanged  nothing to do: {}", each["detail"])
            else:
                screen.say("refused    {}: {}", each["ground"], each["detail"], style="red")
        for remark in document.get("remarks", ()):
            screen.say("note       {}", remark, style="cyan")
        _show_effects(screen, document["refused"]["effects"])
    # A reader who has watched the steps knows the plan.
    if "plan" in document and not progress.begun:
        _show_plan(screen, document)
    for each in document.get("endings", ()):
        well = each["outcome"] in {Outcome.COMMITTED, Outcome.SUPERSEDED}
        screen.say("{:<10} {}", each["outcome"], each["sentence"], style="" if well else "bold red")
        for remark in each["remarks"]:
            screen.say("note       {}", remark, style="cyan")
    _show_notes(screen, document)
    _show_rulings(screen, document)
    if "thawed" in document:
        _show_recovered(screen, document)
    _show_still_wrong(document)
    if "sets" in document:
        _show_sets(screen, document["sets"])
        _show_unlisted(screen, document)


def _show_notes(screen: Screen, document: Document) -> None:
    """Print the work of other processes and writers, and the plans that wait."""
    for each in document.get("not_recovered", ()):
        screen.say("note       {}", each, style="yellow")
    for each in document.get("late", ()):
        screen.say("note       {}: {}", each["component"], each["sentence"], style="yellow")
    for trouble in document.get("uncompared", ()):
        screen.say("note       {}", trouble, style="yellow")
    for name, keys in document.get("given_up", {}).items():
        for key in keys:
            screen.say("key        {}: {} is given up and never used again", name, key, style="bold")
    for each in document.get("waiting", ()):
        said = Printable("approved") if each["approved"] else Printable("waits")
        screen.say("{:<10} {}, {}: {}", said, each["hash"][:16], each["kind"], each["shown"], style="cyan")
    for each in document.get("contested", {}).values():
        screen.say("note       {}", each["sentence"], style="yellow")


def _show_plan(screen: Screen, document: Document) -> None:
    plan = document["plan"]
    changed = listed(plan["components"])
    if plan["group"]:
        changed = sentence("{} ({})", plan["group"], changed)
    screen.say("plan       {} of {}, {}", plan["kind"], changed, plan["hash"], style="bold")
    for each in plan["certificates"]:
        screen.say("before     {}: {}", each["component"], _certificate(each["before"]))
        screen.say("after      {}: {}", each["component"], _certificate(each["after"]))
    for each in plan["changes"]:
        before = each["before"]["sha256"][:16] if each["before"] else Printable("(missing)")
        after = each["after"]["sha256"][:16] if each["after"] else Printable("(removed)")
        if each["says"]:
            # Each plan has other bytes for a keystore; `says` identifies its content.
            after = sentence("{} (sha256 of the entries: the bytes of the file differ each time)", each["says"][:16])
        if not each["changes"]:
            after = sentence("{}  (stays as it is)", before)
        screen.say("file       {}  {} -> {}", each["path"], before, after)
    for component, command in dict.fromkeys(
        (each["component"], shlex.join(each["command"])) for each in plan["commands"]
    ):
        screen.say("command    {}: {}", component, harmless(command))
    for remark in document["remarks"]:
        screen.say("note       {}", remark, style="cyan")
    if "offered" in document and "endings" not in document:
        # Without its hash, the plan of an offer is not carried out.
        of = plan["group"] or listed(plan["components"], " ")
        screen.say("to act     certvigil replace {} --plan {}", of, plan["hash"], style="bold")
    _show_effects(screen, document["effects"])


def _certificate(leaf: Mapping[str, Any] | None) -> Printable:
    if leaf is None:
        return Printable("none")
    ends = Printable("an unknown time") if leaf["not_after"] is None else _when(leaf["not_after"])
    names, key = listed(leaf["names"]) or leaf["subject"], leaf["key"]
    shown = sentence("{} {}", key["kind"], key["bits"]) if key["bits"] else key["kind"]
    return sentence("{}, until {}, {}, issued by {}", names, ends, shown, leaf["issuer"])


def _when(at: str) -> Printable:
    """Return an ISO 8601 time as people write it."""
    return harmless(at.replace("T", " "))


_VERDICTS: Final = {True: Printable("accepts"), False: Printable("rejects"), None: Printable("not seen")}

_UNVALIDATED: Final = Printable("connects without validation")


def _show_effects(screen: Screen, effects: Iterable[Mapping[str, Any]]) -> None:
    for each in effects:
        before = _UNVALIDATED if each["unvalidated_before"] else _VERDICTS[each["accepted_before"]]
        after = _UNVALIDATED if each["unvalidated"] else _VERDICTS[each["accepts"]]
        reason = harmless(without_cure(each["why"]))
        rejection = sentence("; it would reject if it validated: {}", reason) if each["unvalidated"] else None
        why = (rejection or sentence(": {}", each["why"])) if each["why"] else Printable("")
        style = "red" if each["lost"] else ""
        screen.say("client     {} at {}: {} -> {}{}", each["client"], each["target"], before, after, why, style=style)


def _show_rulings(screen: Screen, document: Document) -> None:
    """Print that a plan was approved or rejected, or why an approved one was not carried out."""
    if "approved" in document and not document.keys() & {"endings", "expired", "unknown"}:
        until = _when(document["until"])
        screen.say("approved   {}, to be carried out by the daemon until {}", document["approved"], until, style="bold")
    if "expired" in document:
        complain("certvigil: not carried out: {}", document["expired"])
    if "unknown" in document:
        complain("certvigil: {}", document["unknown"])
    if "rejected" in document:
        screen.say("rejected   {}", document["rejected"], style="bold")


def _show_recovered(screen: Screen, document: Document) -> None:
    for name in document["thawed"]:
        screen.say("thawed     {}: it may be changed again", name)
    for name in document.get("not_frozen", ()):
        screen.say("noted      {}: it was not frozen; the fault counts as known, and it may be changed", name)
    for each in document.get("unanswered", ()):
        _show_unanswered(screen, each)
    for path in document.get("kept", ()):
        screen.say(
            "kept       {}: no backup set has its content; remove it once it is not needed", path, style="yellow"
        )
    for candidate in document["released"]:
        screen.say("released   candidate {}: it may be tried again", candidate[:16])
    for key in document.get("reinstated", ()):
        screen.say("reinstated key {}: it may be used again", key)
    if not any(document.get(each) for each in _DONE):
        screen.say("recovered  no transaction was interrupted, and nothing was changed")


def _show_unanswered(screen: Screen, of: Mapping[str, Any]) -> None:
    """Print the command that starts a service which answers nobody: a reload may be a signal, which starts nothing."""
    name = of["component"]
    if of["activates"]:
        screen.say(
            "note       {0}: its service answers nobody; `certvigil activate {0}` starts it", name, style="yellow"
        )
    else:
        command = harmless(shlex.join(of["start"]))
        screen.say(
            "note       {}: its service answers nobody; `{}` starts it, and a reload may not",
            name,
            command,
            style="yellow",
        )


def _show_still_wrong(document: Document) -> None:
    for name, why in document.get("frozen", {}).items():
        complain("{} is frozen: {}", name, why)
    for name, way in document.get("way_out", {}).items():
        complain("{}: {}", name, way)
    for candidate, why in document.get("quarantined", {}).items():
        complain("candidate {} is in quarantine: {}", candidate[:16], why)


def _show_sets(screen: Screen, sets: Sequence[Mapping[str, Any]]) -> None:
    defaults = Counter(each["component"] for each in sets if each["default"])
    screen.table(
        ("component", "set", "taken", "before", "until", "serial", "names", "which", "files"),
        (
            (
                *(each["component"], each["set"], each["taken"], _before(each.get("before"))),
                *_of_certificate(each.get("certificate")),
                *(listed(_marks(each, alone=defaults[each["component"]] == 1)), _use(each)),
            )
            for each in sets
        ),
    )


def _show_unlisted(screen: Screen, document: Document) -> None:
    """Print which sets of folders are not listed."""
    for each in document.get("unreadable", ()):
        about, why = listed(map(harmless, each["components"])), harmless(each["why"])
        screen.say("note       {}: {} cannot be read: {}", about, harmless(each["folder"]), why, style="yellow")
    for each in document.get("left_out", ()):
        screen.say(
            "note       {}: {} older sets of {} are not listed; `certvigil rollback --to DATE` gives one back",
            listed(map(harmless, each["components"])),
            each["dates"],
            listed(map(harmless, each["folders"])),
        )


def _before(origin: Mapping[str, Any] | None) -> Printable:
    """Return the transaction before which a set was copied: its kind, its end, and for whom it was."""
    if origin is None:
        return Printable("")
    ended, by = harmless(origin["outcome"]) or Printable("not ended"), harmless(origin["by"])
    return sentence("{} ({}{})", harmless(origin["kind"]), ended, sentence(", {}", by) if by else Printable(""))


def _of_certificate(leaf: Mapping[str, Any] | None) -> tuple[Printable, Printable, Printable]:
    if leaf is None:
        return Printable(""), Printable(""), Printable("")
    ends = Printable("") if leaf["not_after"] is None else _when(leaf["not_after"])
    return ends, harmless(leaf["serial"]), listed(map(harmless, leaf["names"])) or harmless(leaf["subject"])


def _use(of: Mapping[str, Any]) -> Printable:
    """Return the files of a backup set, or why it cannot be given back."""
    if of.get("never"):
        return sentence("never given back: {}", of["never"])
    return harmless(of.get("unusable", "")) or listed(of["files"])


def _marks(of: Mapping[str, Any], *, alone: bool) -> Iterator[Printable]:
    """Yield a word for each special property of a backup set, which may be the `alone` default one of its subject."""
    if of["default"]:
        yield Printable("default") if alone else sentence("default of {}", listed(of["files"], " and "))
    elif of["late"]:
        yield Printable("written late")
    if of.get("folder"):
        yield Printable("of another program")
    if of.get("unusable"):
        yield Printable("unusable")
    if of.get("on_disk"):
        yield Printable("on disk")
    if of.get("served"):
        yield Printable("served")
    if of.get("was_in_use") is False:
        yield Printable("never in use")
    if of.get("next"):
        yield Printable("next")
