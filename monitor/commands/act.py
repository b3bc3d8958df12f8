"""The commands that change services: `replace`, `rollback`, `approve`, ... An actor is asked where one runs."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

from actions.backup import BackupError
from actions.candidate import Given
from actions.component_files import read_password
from actions.journal import JournalError, Record
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.immutable import immutable
from config.model import Config
from config.text import Printable, harmless, listed, printable, sentence
from monitor.actor.authority import STRANGER, ourselves
from monitor.actor.backup_sets import DEFAULT_SET
from monitor.actor.client import NoActor, ask, longest_act
from monitor.actor.context import actor_context
from monitor.actor.documents import step_document, waits_document
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle
from monitor.actor.request import Document, Request, Verb
from monitor.actor.work import Work
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.outcome import UNUSABLE, StepDisplay, cannot, exit_code, show
from monitor.commands.wait import begun_already, wait_for_end
from monitor.dialect import iso
from monitor.state.trust import read_trust_context


@immutable
class ActOptions:
    """The options that these commands share."""

    config: str
    dry_run: bool = False
    bound_to: str = ""
    """The hash of the only plan to be carried out."""
    as_json: bool = False
    steps: bool = False
    """Each step is shown as it comes, also without a terminal."""
    allow_shorter: bool = False
    """A certificate that ends soon is accepted."""
    force: bool = False
    """A service loads its files although it serves them already."""


def replace(
    components: Sequence[str],
    files: Sequence[str],
    password_file: str | None,
    losses: Sequence[str],
    options: ActOptions,
    *,
    key_compromised: bool = False,
) -> int:
    """Put the certificate in `files`, or in the inboxes, in place for all `components` as one, or say why not.

    A group stands for its members, as in all of these commands.

    With `key_compromised`, the keys in use are given up, even if the replacement fails.
    """
    for each in components:
        if "/" in each or os.path.isfile(each):
            return cannot("{} is a file and no component: write --from before each file", printable(each, 200))
    handed = _handed(files, password_file) if files else None
    if isinstance(handed, str):
        return cannot("{}", handed)
    action = ActionRequest(
        Kind.REPLACE,
        tuple(components),
        losses=tuple(losses),
        allow_shorter=options.allow_shorter,
        key_compromised=key_compromised,
    )
    return _act(action, options, handed)


def activate(components: Sequence[str], losses: Sequence[str], options: ActOptions) -> int:
    """Have the services of `components` load their files from disk, or say why not."""
    action = ActionRequest(
        Kind.ACTIVATE,
        tuple(components),
        losses=tuple(losses),
        allow_shorter=options.allow_shorter,
        force=options.force,
    )
    return _act(action, options)


def rollback(component: str, to: str | None, losses: Sequence[str], options: ActOptions) -> int:
    """Put the files of a backup set of a component or group back, by default those from before the last change."""
    action = ActionRequest(Kind.ROLLBACK, (component,), to or "", tuple(losses), allow_shorter=options.allow_shorter)
    return _act(action, options)


def reset_to_default(component: str, losses: Sequence[str], options: ActOptions) -> int:
    """Put back the files of a component or group from before certvigil's first change."""
    config = loaded(options.config)
    if config is not None and component in config.trust_stores and component not in config.components:
        shown = printable(component)
        return cannot("{} is a trust store: `certvigil trust restore {} --to default` does it", shown, shown)
    return rollback(component, DEFAULT_SET, losses, options)


def approve(plan: str, options: ActOptions, *, wait: bool = False) -> int:
    """Approve the plan whose hash begins with `plan`; with `wait`, return the exit code of its ending."""
    return _perform(Request(Verb.APPROVE, plan=plan), options, wait=wait)


def reject(plan: str, why: str, options: ActOptions) -> int:
    """Reject the plan whose hash begins with `plan`."""
    return _perform(Request(Verb.REJECT, plan=plan, why=why), options)


def recover(thaw: Sequence[str], release: str, reinstate: str, options: ActOptions, *, services_run: bool) -> int:
    """Finish or undo interrupted transactions, then `thaw`, `release` and `reinstate` by the operator's word."""
    return _perform(
        Request(Verb.RECOVER, plan=release, components=tuple(thaw), key=reinstate), options, services_run=services_run
    )


def backups(component: str | None, options: ActOptions) -> int:
    """List the backup sets, of all components, or of one component or group."""
    return _perform(Request(Verb.BACKUPS, components=(component,) if component else ()), options)


def _act(action: ActionRequest, options: ActOptions, handed: CandidateFiles | None = None) -> int:
    verb = Verb.PLAN if options.dry_run else Verb.CARRY_OUT
    return _perform(Request(verb, action, options.bound_to), options, handed)


def _perform(
    request: Request,
    options: ActOptions,
    handed: CandidateFiles | None = None,
    *,
    services_run: bool = True,
    wait: bool = False,
) -> int:
    progress = StepDisplay(where(options))
    document = answer_to(request, options, handed, progress, services_run=services_run, wait=wait)
    if not isinstance(document, dict):
        return document
    if options.bound_to and request.verb is Verb.PLAN and document.get("plan", {}).get("hash") != options.bound_to:
        return cannot("the plan is not the one of --plan by now: look at it again")
    if options.as_json and "cannot" not in document:
        print_json(document)
    else:
        show(document, progress)
    return exit_code(document)


def answer_to(
    request: Request,
    options: ActOptions,
    handed: CandidateFiles | None = None,
    progress: StepDisplay | None = None,
    *,
    services_run: bool = True,
    wait: bool = False,
) -> Document | int:
    """Return the answer to a request of a person, in which a group stands for its members; else the exit code."""
    config = loaded(options.config)
    if config is None:
        return UNUSABLE
    progress = progress or StepDisplay(None)
    request = _with_members(request, config)
    try:
        document = _answer(config, request, handed, progress, services_run=services_run)
        if wait:
            document = _waited_for(config.settings.actor.socket, request.plan, document, progress)
    except (JournalError, BackupError) as error:
        return cannot("{}", harmless(str(error)))
    except OSError as error:
        about = printable(str(error.filename or config.settings.actor.directory))
        is_shut_out = isinstance(error, PermissionError) and error.filename == config.settings.actor.socket
        way = _other_way(request, config) if is_shut_out else Printable("")
        return cannot("{}: {}{}", about, printable(error.strerror or str(error)), way)
    if document.get("cannot") == STRANGER:
        document = {**document, "cannot": sentence("{}{}", STRANGER, _other_way(request, config))}
    return document


def _other_way(request: Request, config: Config) -> Printable:
    """Return the way of those who may not ask the actor, as the end of a sentence; empty without one."""
    offered = config.settings.actor.offered_directory
    if request.verb is not Verb.OFFER or offered is None:
        return Printable("")
    names = config.subjects_of(request.components)
    places = listed([printable(os.path.join(offered, each)) for each in names])
    return sentence("; put the certificates as a file into {} instead, if root lets you write there", places)


def _waited_for(socket: str, beginning: str, answer: Document, progress: StepDisplay) -> Document:
    """Return the answer to an approval, with the end of the plan; of a plan that was begun already, its end."""
    if "approved" in answer:
        progress.say("approved; waiting for the daemon, which has it carried out")
        return answer | wait_for_end(socket, answer, progress.hear)
    if "cannot" in answer and (plan := begun_already(socket, beginning)):
        progress.say("this plan was begun before this approval, which changes nothing: its end follows")
        return wait_for_end(socket, {"approved": plan, "until": iso(time.time() + _APPROVED_BEFORE)}, progress.hear)
    return answer


_APPROVED_BEFORE: Final = 3600.0
"""Seconds for which the end of a plan that was begun is waited for."""


def _with_members(request: Request, config: Config) -> Request:
    """Return the request with the members of each group in place of its name."""

    def members(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(member for name in names for member in config.members_of(name)))

    action = request.action
    if action is not None:
        action = dataclasses.replace(action, components=members(action.components))
    return dataclasses.replace(request, action=action, components=members(request.components))


def _answer(
    config: Config, request: Request, handed: CandidateFiles | None, progress: StepDisplay, *, services_run: bool
) -> Document:
    """Return the answer of the actor; where none runs, do the work here.

    The files of a person were read by this process, with the rights of its user.
    """
    if services_run:
        try:
            return ask(config.settings.actor.socket, request, progress.hear, longest_act(config), handed=handed)
        except NoActor as error:
            _see_that_it_can_be_done_here(
                config, f"{error}, and only its owner may do this without it: start the actor, or ask root"
            )
    with _work(config, progress, handed, services_run=services_run) as work:
        return handle(work, request)


@contextmanager
def working(
    config: Config, progress: StepDisplay, handed: CandidateFiles | None, concerns: Collection[str]
) -> Iterator[Work]:
    """Give the work of a person in this process; raises JournalError, OSError.

    Of the unusable files of trust stores and clients, those are told whose subject `concerns` has.
    """
    with _work(config, progress, handed, services_run=True, concerns=concerns) as work:
        yield work


@contextmanager
def _work(
    config: Config,
    progress: StepDisplay,
    handed: CandidateFiles | None,
    *,
    services_run: bool,
    concerns: Collection[str] | None = None,
) -> Iterator[Work]:
    trust_context, findings = read_trust_context(config)
    for each in findings:
        if concerns is None or each.subject in concerns:
            complain("certvigil: {}", harmless(each.detail))
    stopping = _EndSignal()
    with actor_context(trust_context) as context:

        def told(record: Record) -> None:
            progress.hear(step_document(record))

        def waits(act: Printable) -> None:
            progress.hear(waits_document(act, time.time()))

        yield Work(context, ourselves().name, told, stopping, files=handed, services_run=services_run, waits=waits)


def may_do_it_here(config: Config) -> bool:
    """Whether this user may do the work of the actor."""
    directory = config.settings.actor.directory
    return not os.geteuid() or not os.path.exists(directory) or os.access(directory, os.R_OK | os.W_OK | os.X_OK)


def _see_that_it_can_be_done_here(config: Config, why_not: str) -> None:
    """Raise PermissionError where this user may not do the work of the actor, with `why_not` and the way out."""
    if not may_do_it_here(config):
        raise PermissionError(errno.EACCES, why_not, config.settings.actor.directory)


class _EndSignal:
    """Whether this process was told to end; it ends where no transaction is interrupted by that."""

    def __init__(self) -> None:
        self._told = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)

    def _hear(self, *_: object) -> None:
        self._told = True

    def __call__(self) -> bool:
        return self._told


def where(options: ActOptions) -> IO[str] | None:
    """Return where steps are shown: a script's standard output has none, and with JSON they are not shown."""
    if options.as_json:
        return None
    return sys.stdout if options.steps or sys.stdout.isatty() else sys.stderr


def _handed(paths: Sequence[str], password_file: str | None) -> CandidateFiles | Printable:
    """Return the files at these paths, or why one cannot be read."""
    world = World()
    try:
        files = tuple(Given(printable(path), world.read(world.resolve(path))[1]) for path in paths)
        password = None if password_file is None else read_password(password_file, world)
    except OSError as error:
        return sentence("{} cannot be read: {}", printable(str(error.filename)), printable(str(error.strerror)))
    return CandidateFiles(files, password)
