"""`certvigil replace`, `rollback`, `activate`, `recover` and `backups`: what changes a service, step by step."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from actions import backup
from actions.backup import BackupError
from actions.candidate import Given, NoCandidate, read_candidates
from actions.journal import JournalError, frozen
from actions.plan import Order, Plan
from actions.prepare import (
    Prepared,
    Refused,
    Site,
    keys_at_hand,
    make_plan,
    plan_activation,
    plan_rollback,
    read_password,
)
from actions.recover import recover as recover_all
from actions.recover import thaw as take_word
from actions.transaction import Ending, Outcome, transact
from config.model import Config
from config.text import printable
from monitor.acting import Actor, actor
from monitor.commands.check import iso
from monitor.commands.config import loaded
from monitor.commands.screen import Screen

EXIT_CODE: Final = {
    Outcome.COMMITTED: 0,
    Outcome.REFUSED: 1,
    Outcome.ROLLED_BACK: 2,
    Outcome.FAILED_FORWARD: 2,
    Outcome.FROZEN: 3,
}
_UNUSABLE: Final = 4
"""What was asked for makes no sense, or the state cannot be used: nothing was tried."""

Made = Prepared | Refused | str
"""A plan, or why there is none: objections, or a sentence."""


class Request:
    """What the options that all of these commands share say."""

    def __init__(self, config: str, *, dry_run: bool, bound_to: str | None, as_json: bool) -> None:
        self.config = config
        self.dry_run = dry_run
        self.bound_to = bound_to
        self.as_json = as_json


def replace(
    components: Sequence[str], files: Sequence[str], password_file: str | None, losses: Sequence[str], request: Request
) -> int:
    """Put the certificate in `files` in place for all `components` at once, or say why not."""

    def make(acting: Actor) -> Made:
        try:
            given = [Given(printable(path), acting.world.read(acting.world.resolve(path))[1]) for path in files]
            password = None if password_file is None else read_password(password_file, acting.world)
        except OSError as error:
            return f"{printable(str(error.filename))} cannot be read: {error.strerror}"
        at_hand = [key for name in components for key in keys_at_hand(acting.config.components[name], acting.world)]
        candidates = read_candidates(given, password, at_hand)
        if isinstance(candidates, NoCandidate):
            return f"no candidate ({candidates.flaw}): {candidates.detail}"
        return make_plan(_sites(acting, components), candidates, acting.world, time.time(), losses)

    return _act(components, make, request)


def activate(components: Sequence[str], losses: Sequence[str], request: Request) -> int:
    """Have the services of `components` serve what is on disk, or say why not."""
    return _act(
        components,
        lambda acting: plan_activation(_sites(acting, components), acting.world, time.time(), losses),
        request,
    )


def rollback(component: str, to: str | None, losses: Sequence[str], request: Request) -> int:
    """Give a component the files of a backup set back, those before its last change where none is named."""

    def make(acting: Actor) -> Made:
        sets = acting.backup_sets(component)
        chosen = [each for each in sets if to in {None, each.transaction}]
        if not chosen:
            return f"there is no backup set {printable(to)}" if to else f"there is no backup set of {component}"
        content = backup.content(acting.world, acting.setting.backups, chosen[-1])
        return plan_rollback(acting.site(component), content, acting.world, time.time(), losses)

    return _act([component], make, request)


def recover(thaw: Sequence[str], request: Request, *, live: bool) -> int:
    """Finish or undo what a crash left, and take the operator's word for the components to `thaw`."""

    def do(acting: Actor) -> int:
        for component in thaw:
            busy = take_word(acting.setting, component)
            if busy is not None:
                return _cannot(f"process {busy.holder} is at work on {busy.component}")
        endings = recover_all(acting.setting, live=live)
        _tell(endings, request)
        for component, why in frozen(acting.setting.journal.records()).items():
            sys.stderr.write(f"{component} is frozen: {printable(why)}\n")
        return max((EXIT_CODE[ending.outcome] for ending in endings if ending.outcome is Outcome.FROZEN), default=0)

    return _with_actor(thaw, do, request)


def backups(component: str | None, request: Request) -> int:
    """List the backup sets, of all components or of one."""

    def do(acting: Actor) -> int:
        names = [component] if component else sorted(acting.config.components)
        sets = [each for name in names for each in acting.backup_sets(name)]
        if request.as_json:
            _print_json({"sets": [_set_document(each) for each in sets]})
        else:
            rows = (
                (
                    each.component,
                    each.transaction,
                    iso(each.at) or "",
                    "default" if each.pinned else "",
                    ", ".join(printable(copy.path) for copy in each.copies),
                )
                for each in sets
            )
            Screen().table(("component", "set", "taken", "", "files"), rows)
        return 0

    return _with_actor([component] if component else [], do, request)


def _act(components: Sequence[str], make: Callable[[Actor], Made], request: Request) -> int:
    def do(acting: Actor) -> int:
        made = make(acting)
        if isinstance(made, str):
            return _cannot(made)
        if not request.as_json:
            _show(made)
        if isinstance(made, Refused):
            if request.as_json:
                _print_json({"refused": _refusal_document(made)})
            return EXIT_CODE[Outcome.REFUSED]
        plan = made.order.plan
        if request.bound_to is not None and request.bound_to != plan.hash:
            return _cannot(f"this plan is {plan.hash}, not the one that was asked for: look at it again")
        if request.dry_run:
            if request.as_json:
                _print_json({"plan": _plan_document(plan), "effects": _effects(made), "remarks": list(made.remarks)})
            return 0
        return _carry_out(acting, made.order, request)

    return _with_actor(components, do, request)


def _carry_out(acting: Actor, order: Order, request: Request) -> int:
    # What a crash left comes first, or it would be mixed with this.
    left = recover_all(acting.setting)
    ending = transact(acting.setting, order)
    _tell([*left, ending], request)
    return EXIT_CODE[ending.outcome]


def _with_actor(components: Iterable[str], do: Callable[[Actor], int], request: Request) -> int:
    config = loaded(request.config)
    if config is None:
        return _UNUSABLE
    wrong = _unusable(config, components)
    if wrong is not None:
        return _cannot(wrong)
    try:
        with actor(config) as acting:
            return do(acting)
    except (JournalError, BackupError) as error:
        return _cannot(str(error))
    except OSError as error:
        return _cannot(f"{printable(str(error.filename or config.settings.actor_directory))}: {error.strerror}")


def _unusable(config: Config, components: Iterable[str]) -> str | None:
    for name in components:
        if name not in config.components:
            known = ", ".join(sorted(config.components)) or "none"
            return f"there is no component {printable(name)}; there are: {known}"
        if config.components[name].service is None:
            return f"component {name} has no 'service' in the configuration: certvigil only watches it"
    return None


def _sites(acting: Actor, components: Sequence[str]) -> list[Site]:
    return [acting.site(name) for name in components]


def _show(made: Prepared | Refused) -> None:
    screen = Screen()
    if isinstance(made, Refused):
        for objection in made.objections:
            screen.say(f"refused    {objection.ground}: {objection.detail}", "red")
    else:
        plan = made.order.plan
        screen.say(f"plan       {plan.kind} of {', '.join(plan.components)}, {plan.hash}", "bold")
        for change in plan.changes:
            before = change.before.sha256[:16] if change.before else "(missing)"
            unchanged = change.before == change.after
            after = f"{before}  (stays as it is)" if unchanged else change.promise[:16]
            screen.say(f"file       {printable(change.path)}  {before} -> {after}")
        for remark in made.remarks:
            screen.say(f"note       {remark}", "cyan")
    for effect in made.effects:
        before = "unknown" if effect.before is None else _verdict(accepted=effect.before.accepted)
        line = f"client     {effect.after.client} at {effect.endpoint}: {before} -> "
        screen.say(line + _verdict(accepted=effect.after.accepted), "red" if effect.lost else "")


def _verdict(*, accepted: bool) -> str:
    return "accepts" if accepted else "rejects"


def _tell(endings: Sequence[Ending], request: Request) -> None:
    if request.as_json:
        _print_json({"endings": [asdict(ending) for ending in endings]})
        return
    screen = Screen()
    for ending in endings:
        screen.say(f"{ending.outcome:<10} {ending.sentence}", "" if ending.outcome is Outcome.COMMITTED else "bold red")
        for remark in ending.remarks:
            screen.say(f"note       {remark}", "cyan")


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "hash": plan.hash,
        "kind": plan.kind,
        "components": list(plan.components),
        "changes": [asdict(change) for change in plan.changes],
        "expected_losses": list(plan.expected_losses),
    }


def _effects(made: Prepared | Refused) -> list[dict[str, Any]]:
    return [
        {
            "client": each.after.client,
            "endpoint": each.endpoint,
            "accepted_before": None if each.before is None else each.before.accepted,
            "accepts_after": each.after.accepted,
            "why": each.after.why,
        }
        for each in made.effects
    ]


def _refusal_document(refused: Refused) -> dict[str, Any]:
    return {
        "objections": [{"ground": each.ground, "detail": each.detail} for each in refused.objections],
        "effects": _effects(refused),
    }


def _set_document(of: backup.BackupSet) -> dict[str, Any]:
    return {
        "component": of.component,
        "set": of.transaction,
        "taken": iso(of.at),
        "default": of.pinned,
        "files": [copy.path for copy in of.copies],
    }


def _print_json(document: dict[str, Any]) -> None:
    json.dump({"schema": 1, **document}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _cannot(why: str) -> int:
    sys.stderr.write(f"certvigil: {why}\n")
    return _UNUSABLE
