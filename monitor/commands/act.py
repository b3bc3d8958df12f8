"""What changes a service, asked of the actor where one runs, else done here: `replace`, `rollback`, `approve`, ..."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from actions.backup import BackupError
from actions.candidate import Given
from actions.component_files import read_password
from actions.ending import Ground, Outcome
from actions.journal import Event, JournalError, Record
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.model import Config
from config.text import printable
from monitor.actor.authority import ourselves
from monitor.actor.client import NoActor, ask
from monitor.actor.context import actor_context
from monitor.actor.documents import WAITS, step_document
from monitor.actor.request import Document, Request, Verb
from monitor.actor.work import DEFAULT_SET, CandidateFiles, Work
from monitor.commands.checked import iso
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.screen import Screen
from monitor.commands.wait import wait_for_end
from monitor.state.trust import read_trust_context
from probes.judge.time import moment

EXIT_CODE: Final = {
    Outcome.COMMITTED: 0,
    Outcome.REFUSED: 1,
    Outcome.ROLLED_BACK: 2,
    Outcome.FAILED_FORWARD: 2,
    Outcome.SUPERSEDED: 2,
    Outcome.FROZEN: 3,
}
_UNUSABLE: Final = 4
"""What was asked for makes no sense, or the state cannot be used: nothing was tried."""

_DONE: Final = ("endings", "thawed", "not_frozen", "released", "reinstated", "not_recovered")
"""What `recover` may have to tell, beside that nothing was to be done."""

_STEPS: Final = {
    Event.BEGIN: "looked at what is served, and who accepts it",
    Event.BACKED_UP: "copied the old files aside",
    Event.STAGED: "put the new files beside the old ones",
    Event.INTENT: "noted the intent",
    Event.SWITCHED: "switched a file",
    Event.CONFIG_TESTED: "the configuration test passes with the new files",
    Event.ACTIVATED: "the service took them up",
    Event.VALIDATED: "every endpoint serves the new chain, and every client accepts it",
    Event.ROLLING_BACK: "undoing it",
    Event.COMMAND_OVER: "waited for a command that a killed process left",
    Event.RECOVERING: "finishing or undoing what a crash left",
    Event.COMMITTED: "committed",
    Event.ROLLED_BACK: "the old files are back",
    Event.FAILED_FORWARD: "the new files stay",
    Event.STARTED: "starting, once, a service that answers nobody",
    Event.SUPERSEDED: "what somebody else put in place stays",
    Event.FROZEN: "frozen",
    Event.CLOSED: "tidied up",
    Event.QUARANTINED: "put the candidate in quarantine",
}


@dataclass(frozen=True, slots=True)
class ActOptions:
    """What the options that all of these commands share say."""

    config: str
    dry_run: bool = False
    bound_to: str = ""
    """The hash of the only plan to be carried out."""
    as_json: bool = False
    steps: bool = False
    """Each step is shown as it comes, also where nobody watches a terminal."""
    allow_shorter: bool = False
    """For how long the certificate lasts does not matter."""


def replace(
    components: Sequence[str],
    files: Sequence[str],
    password_file: str | None,
    losses: Sequence[str],
    options: ActOptions,
    *,
    key_compromised: bool = False,
) -> int:
    """Put the certificate in `files`, or in the inboxes, in place for all `components` at once, or say why not.

    With `key_compromised`, the keys in use are given up, whatever becomes of that.
    """
    for each in components:
        if "/" in each or os.path.isfile(each):
            return _cannot(f"{printable(each, 200)} is a file, no component: write --from before each file")
    handed = _handed(files, password_file) if files else None
    if isinstance(handed, str):
        return _cannot(handed)
    action = ActionRequest(
        Kind.REPLACE,
        tuple(components),
        losses=tuple(losses),
        allow_shorter=options.allow_shorter,
        key_compromised=key_compromised,
    )
    return _act(action, options, handed)


def activate(components: Sequence[str], losses: Sequence[str], options: ActOptions) -> int:
    """Have the services of `components` serve what is on disk, or say why not."""
    action = ActionRequest(Kind.ACTIVATE, tuple(components), losses=tuple(losses), allow_shorter=options.allow_shorter)
    return _act(action, options)


def rollback(component: str, to: str | None, losses: Sequence[str], options: ActOptions) -> int:
    """Give a component the files of a backup set back, those before its last change where none is named."""
    return _act(ActionRequest(Kind.ROLLBACK, (component,), to or "", tuple(losses)), options)


def reset_to_default(component: str, losses: Sequence[str], options: ActOptions) -> int:
    """Give a component back the files that it had when certvigil first changed them."""
    return rollback(component, DEFAULT_SET, losses, options)


def approve(plan: str, options: ActOptions, *, wait: bool = False) -> int:
    """Have the plan whose hash begins with `plan` carried out; with `wait`, return once it ended, and by how it did."""
    return _perform(Request(Verb.APPROVE, plan=plan), options, wait=wait)


def reject(plan: str, why: str, options: ActOptions) -> int:
    """Have the plan whose hash begins with `plan` not carried out."""
    return _perform(Request(Verb.REJECT, plan=plan, why=why), options)


def recover(thaw: Sequence[str], release: str, reinstate: str, options: ActOptions, *, live: bool) -> int:
    """Finish or undo what a crash left, and take the operator's word for what to `thaw`, `release` and `reinstate`."""
    return _perform(Request(Verb.RECOVER, plan=release, components=tuple(thaw), key=reinstate), options, live=live)


def backups(component: str | None, options: ActOptions) -> int:
    """List the backup sets, of all components or of one."""
    return _perform(Request(Verb.BACKUPS, components=(component,) if component else ()), options)


def _act(action: ActionRequest, options: ActOptions, handed: CandidateFiles | None = None) -> int:
    verb = Verb.PLAN if options.dry_run else Verb.CARRY_OUT
    return _perform(Request(verb, action, options.bound_to), options, handed)


def _perform(
    request: Request,
    options: ActOptions,
    handed: CandidateFiles | None = None,
    *,
    live: bool = True,
    wait: bool = False,
) -> int:
    config = loaded(options.config)
    if config is None:
        return _UNUSABLE
    progress = _Progress(_where(options))
    try:
        document = _answer(config, request, handed, progress, live=live)
        if wait and "approved" in document:
            progress.say("approved: waiting until the daemon has it carried out")
            document |= wait_for_end(config.settings.actor.socket, document, progress.hear)
    except (JournalError, BackupError) as error:
        return _cannot(str(error))
    except OSError as error:
        what = printable(str(error.filename or config.settings.actor.directory))
        return _cannot(f"{what}: {error.strerror or printable(str(error))}")
    if options.bound_to and request.verb is Verb.PLAN and document.get("plan", {}).get("hash") != options.bound_to:
        return _cannot("this is not the plan that was asked for: look at it again")
    if options.as_json and "cannot" not in document:
        json.dump({"schema": 1, **document}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(document, progress)
    return _exit_code(document)


def _answer(
    config: Config, request: Request, handed: CandidateFiles | None, progress: _Progress, *, live: bool
) -> Document:
    # The actor takes no bytes from anybody: whoever hands some over acts himself, under the same locks.
    if handed is None and live:
        try:
            return ask(config.settings.actor.socket, request, progress.hear)
        except NoActor:
            pass
    trust_context, findings = read_trust_context(config)
    for each in findings:
        complain(f"certvigil: {each.detail}")
    told_to_end = _Told()
    with actor_context(trust_context) as context:

        def told(record: Record) -> None:
            progress.hear(step_document(record))

        return Work(context, ourselves().name, told, told_to_end, live=live).answer(request, handed)


class _Told:
    """Whether this process was told to end, which it does where nothing is half done."""

    def __init__(self) -> None:
        self._told = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)

    def _hear(self, *_: object) -> None:
        self._told = True

    def __call__(self) -> bool:
        return self._told


def _where(options: ActOptions) -> IO[str] | None:
    """Return where steps are shown: not among what a script reads, and nowhere where it reads JSON."""
    if options.as_json:
        return None
    return sys.stdout if options.steps or sys.stdout.isatty() else sys.stderr


class _Progress:
    """Shows each step of a transaction, with the seconds since it was asked for."""

    def __init__(self, where: IO[str] | None) -> None:
        """Show them on `where`; nowhere for None."""
        self.begun = False
        """Whether whoever reads what comes after has watched the steps."""
        self._where = where
        self._started = time.monotonic()

    def hear(self, step: Mapping[str, Any]) -> None:
        """Take in one step."""
        if step["event"] == WAITS:
            self.say(f"waiting for the actor, which is at work on {printable(str(step['act']))}")
        elif (text := _STEPS.get(step["event"])) is not None and step.get("tested", True):
            self.begun = self._where is sys.stdout
            self.say(text)

    def say(self, text: str) -> None:
        """Show a line of one's own."""
        line = f"  {time.monotonic() - self._started:6.2f} s  {text}"
        if self._where is sys.stdout:
            Screen().say(line, "dim")
        elif self._where is not None:
            self._where.write(f"{line}\n")
            self._where.flush()


def _handed(paths: Sequence[str], password_file: str | None) -> CandidateFiles | str:
    world = World()
    try:
        files = tuple(Given(printable(path), world.read(world.resolve(path))[1]) for path in paths)
        password = None if password_file is None else read_password(password_file, world)
    except OSError as error:
        return f"{printable(str(error.filename))} cannot be read: {error.strerror}"
    return CandidateFiles(files, password)


def _exit_code(document: Document) -> int:
    if "cannot" in document:
        return _UNUSABLE
    if "refused" in document:
        return 0 if _is_so(document) else EXIT_CODE[Outcome.REFUSED]
    if "expired" in document:
        return EXIT_CODE[Outcome.REFUSED]
    endings = document.get("endings", ())
    if "frozen" in document:
        # After a recovery, only what is still broken is the caller's concern.
        return EXIT_CODE[Outcome.FROZEN] if any(each["outcome"] == Outcome.FROZEN for each in endings) else 0
    return EXIT_CODE[Outcome(endings[-1]["outcome"])] if endings else 0


def _is_so(document: Document) -> bool:
    """Whether nothing was done because everything is as it was asked for."""
    return {each["ground"] for each in document["refused"]["objections"]} == {Ground.NOTHING_TO_DO}


def _show(document: Document, progress: _Progress) -> None:
    screen = Screen()
    if "cannot" in document:
        _cannot(document["cannot"])
        return
    if "refused" in document:
        for each in document["refused"]["objections"]:
            if _is_so(document):
                screen.say(f"unchanged  nothing to do: {each['detail']}")
            else:
                screen.say(f"refused    {each['ground']}: {each['detail']}", "red")
        _show_effects(screen, document["refused"]["effects"])
    # Who has watched the steps knows the plan; who only sees the end does not.
    if "plan" in document and not progress.begun:
        _show_plan(screen, document)
    for each in document.get("endings", ()):
        well = each["outcome"] in {Outcome.COMMITTED, Outcome.SUPERSEDED}
        screen.say(f"{each['outcome']:<10} {each['sentence']}", "" if well else "bold red")
        for remark in each["remarks"]:
            screen.say(f"note       {remark}", "cyan")
    _show_notes(screen, document)
    _show_words(screen, document)
    if "sets" in document:
        _show_sets(screen, document["sets"])


def _show_notes(screen: Screen, document: Document) -> None:
    """Print what others do or did meanwhile, and what waits."""
    for each in document.get("not_recovered", ()):
        screen.say(f"note       {each}", "yellow")
    for each in document.get("late", ()):
        screen.say(f"note       {each['component']}: {each['sentence']}", "yellow")
    for trouble in document.get("uncompared", ()):
        screen.say(f"note       {trouble}", "yellow")
    _show_beside(screen, document)
    for each in document.get("contested", {}).values():
        screen.say(f"note       {each['sentence']}", "yellow")


def _show_beside(screen: Screen, document: Document) -> None:
    """Print the keys that are given up, and the plans that wait beside the one that is shown."""
    for name, keys in document.get("given_up", {}).items():
        for key in keys:
            screen.say(f"key        {name}: {key} is given up: nothing brings it back", "bold")
    for each in document.get("waiting", ()):
        said = "approved" if each["approved"] else "waits"
        screen.say(f"{said:<10} {each['hash'][:16]}, {each['kind']}: {each['shown']}", "cyan")


def _show_plan(screen: Screen, document: Document) -> None:
    plan = document["plan"]
    screen.say(f"plan       {plan['kind']} of {', '.join(plan['components'])}, {plan['hash']}", "bold")
    for each in plan["certificates"]:
        screen.say(f"before     {each['component']}: {_certificate(each['before'])}")
        screen.say(f"after      {each['component']}: {_certificate(each['after'])}")
    for each in plan["changes"]:
        before = each["before"]["sha256"][:16] if each["before"] else "(missing)"
        # Of a keystore what it says: its bytes are others each time that the plan is made.
        after = (each["says"] or each["after"]["sha256"])[:16] if each["changes"] else f"{before}  (stays as it is)"
        screen.say(f"file       {each['path']}  {before} -> {after}")
    for line in dict.fromkeys(f"{each['component']}: {shlex.join(each['command'])}" for each in plan["commands"]):
        screen.say(f"command    {printable(line)}")
    for remark in document["remarks"]:
        screen.say(f"note       {remark}", "cyan")
    _show_effects(screen, document["effects"])


def _certificate(leaf: Mapping[str, Any] | None) -> str:
    if leaf is None:
        return "none"
    ends = "an unknown time" if leaf["not_after"] is None else moment(leaf["not_after"])
    return f"{', '.join(leaf['names']) or leaf['subject']}, until {ends}, {leaf['key']}, issued by {leaf['issuer']}"


def _show_effects(screen: Screen, effects: Iterable[Mapping[str, Any]]) -> None:
    verdicts = {True: "accepts", False: "rejects", None: "unknown"}
    for each in effects:
        line = f"client     {each['client']} at {each['endpoint']}: {verdicts[each['accepted_before']]} -> "
        why = f": {each['why']}" if each["why"] else ""
        screen.say(f"{line}{verdicts[each['accepts_after']]}{why}", "red" if each["lost"] else "")


def _show_words(screen: Screen, document: Document) -> None:
    if "approved" in document and not document.keys() & {"endings", "expired"}:
        until = moment(document["until"])
        screen.say(f"approved   {document['approved']}, to be carried out by the daemon until {until}", "bold")
    if "expired" in document:
        complain(f"certvigil: not carried out: {document['expired']}")
    if "rejected" in document:
        screen.say(f"rejected   {document['rejected']}", "bold")
    if "thawed" in document:
        _show_recovered(screen, document)
    for name, why in document.get("frozen", {}).items():
        complain(f"{name} is frozen: {printable(why)}")
    for candidate, why in document.get("quarantined", {}).items():
        complain(f"candidate {candidate[:16]} is in quarantine: {printable(why)}")


def _show_recovered(screen: Screen, document: Document) -> None:
    for name in document["thawed"]:
        screen.say(f"thawed     {name}: what went wrong is known, and it may be changed again")
    for name in document.get("not_frozen", ()):
        screen.say(f"noted      {name}: it was not frozen; what went wrong is known, and it may be changed")
    for name in document.get("unanswered", ()):
        screen.say(f"note       {name}: nobody is answered; `certvigil activate {name}` starts its service", "yellow")
    for path in document.get("kept", ()):
        screen.say(f"kept       {path}: what it holds is in no backup set; remove it once it is not needed", "yellow")
    for candidate in document["released"]:
        screen.say(f"released   candidate {candidate[:16]}: it may be tried again")
    for key in document.get("reinstated", ()):
        screen.say(f"reinstated key {key}: it may be used again")
    if not any(document.get(each) for each in _DONE):
        screen.say("recovered  nothing was left half done: nothing was changed")


def _show_sets(screen: Screen, sets: Iterable[Mapping[str, Any]]) -> None:
    rows = (
        (
            each["component"],
            each["set"],
            iso(each["taken"]) or "",
            ", ".join(_marks(each)),
            f"never given back: {each['never']}"
            if each.get("never")
            else each.get("unusable") or ", ".join(each["files"]),
        )
        for each in sets
    )
    screen.table(("component", "set", "taken", "which", "files"), rows)


def _marks(of: Mapping[str, Any]) -> Iterator[str]:
    """Yield a word for each thing that sets a backup set apart."""
    if of["default"]:
        yield "default"
    elif of["late"]:
        yield "written late"
    if of.get("unusable"):
        yield "unusable"


def _cannot(why: str) -> int:
    complain(f"certvigil: {why}")
    return _UNUSABLE
