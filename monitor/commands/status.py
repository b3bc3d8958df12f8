"""`certvigil status`: the state of all targets in words: each fault, its begin and its cure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from config.immutable import immutable
from config.pattern import is_one_of
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, ComponentState, Severity, StepProgress, Verdict
from monitor.commands import here
from monitor.commands.checked import exit_code
from monitor.commands.choice import unknown, with_members
from monitor.commands.client import Document, NoDaemonAnswer, ask, listing
from monitor.commands.complain import complain
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.span import left, span
from monitor.state.cure import without_cure

_NOTHING: Final = Printable("")
_NOBODY: Final = 3
_UNKNOWN_NAME: Final = 3
_DAY: Final = 86_400
_QUIET: Final = frozenset({ComponentState.OBSERVED, ComponentState.IDLE})
_SEVERITIES: Final = tuple(reversed(Severity))


@immutable
class StatusQuery:
    """The targets that are to be shown."""

    names: tuple[str, ...] = ()
    """Targets and components, or patterns; empty for all."""
    problems: bool = False
    """Only targets that are not ok, or that have a pending finding."""
    as_json: bool = False


def status(socket: str, query: StatusQuery, *, healthy: bool) -> int:
    """Print the state of targets and return the code of the worst verdict, 3 where no daemon answers.

    With `healthy`, print nothing and return 0 if the daemon is ready.
    """
    if healthy:
        return 0 if is_ready(socket) else 1
    here.about_daemon(socket)
    told = _ask_all(socket)
    if isinstance(told, NoDaemonAnswer):
        return _failed(told.why, _NOBODY)
    here.about_daemon(socket, str(told.own["configuration"].get("path") or "") or None)
    targets, components = told.targets, told.components
    names = {name for each in targets for name in (each["target"], each["component"]) if name is not None}
    query = replace(query, names=with_members(query.names, {each["component"]: each["members"] for each in components}))
    if wrong := unknown(
        query.names, names | {each["component"] for each in components}, Printable("component or target")
    ):
        return _failed(wrong, _UNKNOWN_NAME)
    chosen = [each for each in targets if _is_meant(each, query)]
    concerned = {each["component"] for each in chosen}
    asked = concerned | set(query.names)
    acting = [each for each in components if not query.names or asked & {each["component"], *each["members"]}]
    shown = [each for each in chosen if not query.problems or _is_problem(each)]
    if query.problems:
        acting = [each for each in acting if each["state"] not in _QUIET]
    if query.as_json:
        document = {
            "status": told.own,
            "targets": shown,
            "components": acting,
            "notifications": told.notifications,
            "rotation": told.rotation if told.rotation["new"] is not None or told.rotation["notes"] else None,
        }
        print_json(document)
    else:
        screen = Screen()
        _show(screen, shown)
        aside = screen.aside()
        _show_remarks(aside, told.own, shown, len(chosen))
        show_components(aside, told.own["no_actor"], acting)
        if (far := _rotation(told.rotation)) is not None:
            aside.say("{}", far, style="cyan")
        _show_flapping(aside, told.notifications)
        show_undelivered(aside, told.notifications)
    return exit_code(Verdict(each["verdict"]) for each in chosen)


def is_ready(socket: str) -> bool:
    """Whether the daemon on that socket says that it is ready."""
    own = ask(socket, "/api/v1/status")
    return not isinstance(own, NoDaemonAnswer) and bool(own["ready"])


def _failed(why: Printable, code: int) -> int:
    complain("certvigil status: {}", why)
    return code


@immutable
class _Told:
    """The daemon's answers."""

    own: Document
    """Its own status."""
    notifications: Document
    targets: Sequence[Document]
    components: Sequence[Document]
    rotation: Document


def _ask_all(socket: str) -> _Told | NoDaemonAnswer:
    own = ask(socket, "/api/v1/status")
    if isinstance(own, NoDaemonAnswer):
        return own
    notifications = ask(socket, "/api/v1/notifications")
    if isinstance(notifications, NoDaemonAnswer):
        return notifications
    targets = listing(socket, "targets")
    if isinstance(targets, NoDaemonAnswer):
        return targets
    components = listing(socket, "components")
    if isinstance(components, NoDaemonAnswer):
        return components
    rotation = ask(socket, "/api/v1/rotation")
    if isinstance(rotation, NoDaemonAnswer):
        return rotation
    return _Told(own, notifications, targets, components, rotation)


def _is_meant(target: Document, query: StatusQuery) -> bool:
    """Whether a target is asked for, by its own name or the name of its component."""
    named = (target["target"], target["component"])
    return not query.names or any(name is not None and is_one_of(name, query.names) for name in named)


def _is_problem(target: Document) -> bool:
    return target["verdict"] != Verdict.OK or bool(target["pending"])


def _show(screen: Screen, targets: Sequence[Document]) -> None:
    by_badness = sorted(targets, key=lambda each: (-Verdict(each["verdict"]).badness, each["target"]))
    if screen.width is None:
        screen.table(_COLUMNS, (row for each in by_badness for row in _rows(each)))
    else:
        screen.records(
            ("verdict", "target", "ends", "left", "last look"),
            ((_summary(each), list(_details(each))) for each in by_badness),
        )


def _show_remarks(screen: Screen, own: Document, targets: Sequence[Document], chosen: int) -> None:
    if chosen and not targets:
        screen.say(
            "no problems: it is ok" if chosen == 1 else "no problems: all {} targets are ok", chosen, style="green"
        )
    for waiver in own["waivers"]:
        screen.say(
            "waived until {}: {} of {}: {}",
            waiver["until"],
            waiver["code"],
            waiver["target"],
            waiver["reason"],
            style="cyan",
        )
    for why in own["not_ready"]:
        screen.say("not ready: {}", why, style="yellow")
    watch = own["watch"]
    if polled := watch["directories_polled"]:
        screen.say(
            "one directory is polled: {1}" if polled == 1 else "{} directories are polled: {}",
            polled,
            watch["polled_because"],
            style="yellow",
        )
    for port in own["not_looked_at"]:
        screen.say("not looked at: {}/{}: {}", port["address"], port["transport"], port["reason"], style="dim")
    if own["configuration"]["stale"]:
        screen.say("the configuration on disk is not the one in force; {}", _way_out(own), style="yellow")


def _way_out(own: Document) -> Printable:
    """Return what has the configuration on disk come into force, where it is not."""
    if any(each["code"] == Code.CONFIG_REJECTED for each in own.get("findings", ())):
        return sentence("it was rejected: correct it, see certvigil config check, then certvigil reload")
    return sentence("certvigil reload reads it")


def _summary(target: Document) -> tuple[Printable, ...]:
    return (
        target["verdict"],
        target["target"],
        _second(target["expiry"]),
        _left(target["days_left"]),
        _second(target["last_look"]) or Printable("never"),
    )


_COLUMNS: Final = (
    *("verdict", "target", "ends", "left", "last look"),
    *("severity", "finding", "since", "detail", "cure"),
)
"""In a pipe: a line for each finding, or one line for a target without findings."""


def _rows(target: Document) -> Iterator[tuple[Printable, ...]]:
    summary = _summary(target)
    found = [(each["severity"], each) for each in _worst_first(target["findings"])]
    found += [(Printable("pending"), each) for each in target["pending"]]
    for severity, each in found:
        detail = harmless(without_cure(each["detail"]))
        yield *summary, severity, each["code"], _second(each["since"]), detail, each["cure"]
    if not found:
        yield *summary, *[_NOTHING] * (len(_COLUMNS) - len(summary))


def _left(days: float | None) -> Printable:
    if days is None:
        return _NOTHING
    return left(days * _DAY) if days < 0 else span(days * _DAY)


def _details(target: Document) -> Iterator[tuple[str, Printable]]:
    """Yield a label and a sentence for each finding, pending findings included."""
    for each in _worst_first(target["findings"]):
        yield each["severity"], sentence("{}: {}", each["code"], harmless(without_cure(each["detail"])))
        yield "since", sentence("{}, for {}", _second(each["since"]), _so_far(each["since"]))
        yield "cure", each["cure"]
    for each in target["pending"]:
        detail = harmless(without_cure(each["detail"]))
        yield "", sentence("pending: {} (since {}): {}", each["code"], _second(each["since"]), detail)
        yield "cure", each["cure"]


def _worst_first(findings: Sequence[Document]) -> list[Document]:
    return sorted(findings, key=lambda each: (_SEVERITIES.index(each["severity"]), each["since"], each["code"]))


def _so_far(at: str) -> Printable:
    return span(max(0.0, time.time() - datetime.fromisoformat(at).timestamp()))


def show_components(screen: Screen, no_actor: Printable, components: Sequence[dict[str, Any]]) -> None:
    """Print the waiting action of each component, and why nothing can be done."""
    if not components:
        return
    screen.say("")
    screen.table(
        ("state", "component", "mode", "waiting", "last action"),
        ((each["state"], _title(each), each["mode"], _waits(each), _last(each)) for each in components),
    )
    for each in components:
        for plan in each["plans"]:
            screen.say("{}: {}", each["component"], _plan(plan), style="cyan")
        for key in each["given_up"]:
            screen.say("{}: key {}: {}", each["component"], key["spki_sha256"][:16], key["why"], style="yellow")
        for note in each["notes"]:
            screen.say("{}: {}", each["component"], note, style="cyan")
    if no_actor:
        screen.say("certvigil observes only: {}", no_actor, style="yellow")


def _title(component: dict[str, Any]) -> Printable:
    """Return the name of a component, or that of a group with its members."""
    members = listed(component["members"])
    return sentence("{} ({})", component["component"], members) if members else component["component"]


def _plan(plan: dict[str, Any]) -> Printable:
    until, since = plan["approved_until"], plan["since"]
    said = sentence("approved until {}", _second(until)) if until else sentence("waits since {}", _second(since))
    return sentence("plan {}, {}, {}: {}", plan["plan"][:16], plan["action"], said, plan["about"])


def _waits(component: dict[str, Any]) -> Printable:
    if component["frozen"]:
        return sentence("frozen: {}", component["frozen"])
    decision = component["decision"]
    if decision is not None:
        until, plan = component["approved_until"], component["plan"]
        said = [sentence("{} by {}: {}", decision["action"], decision["policy"], decision["status"])]
        said += [sentence("for {}", decision["waits_for"])] if decision["waits_for"] else []
        said += [sentence("plan {}", plan[:16])] if plan else []
        said += [sentence("approved until {}", _second(until))] if until else []
        return listed(said)
    return listed((sentence("{}: {}", each["ground"], each["detail"]) for each in component["objections"]), "; ")


def _last(component: dict[str, Any]) -> Printable:
    last = component["last"]
    return sentence("{} {} {}", _second(last["at"]), last["action"], last["outcome"]) if last else _NOTHING


def _rotation(document: Document) -> Printable | None:
    """Return how far the declared rotation is, a sentence; None where none is declared."""
    if document["new"] is None:
        return next(iter(document["notes"]), None)
    steps = document["steps"]
    following = [each for each in steps if each["progress"] == StepProgress.NEXT]
    first = sentence("; next: {} {}", following[0]["deed"], harmless(following[0]["about"])) if following else _NOTHING
    return sentence(
        "rotation to {}: {} of {} steps done{}; `certvigil rotate` has the order",
        document["new"]["subject"],
        document["done"],
        len(steps),
        first,
    )


def _show_flapping(screen: Screen, told: dict[str, Any]) -> None:
    """Print a line for each problem that comes and goes: a look may find its targets well at this moment."""
    flapping = {each["problem"]: each for each in told["alerts"] if each["headline"].startswith("flapping: ")}
    for problem, each in flapping.items():
        screen.say("{} since {} (problem {})", each["headline"], _second(each["since"]), problem, style="yellow")


def show_undelivered(screen: Screen, told: dict[str, Any]) -> None:
    """Print a line for each message that was not delivered, and for each silence."""
    for delivery in told["undelivered"]:
        why = sentence(": {}", delivery["why"]) if delivery["why"] else _NOTHING
        given_up = delivery["fate"] == "dead"
        how = Printable("given up") if given_up else sentence("tried {} times", delivery["attempts"])
        screen.say(
            "not delivered to {}, {}: {}{}",
            delivery["channel"],
            how,
            delivery["title"],
            why,
            style="bold red" if given_up else "yellow",
        )
    for silence in told["silences"]:
        named = [*silence["targets"], *silence["components"], *silence["findings"]]
        what = listed(named) or Printable("everything")
        identifier = sentence(" ({})", silence["id"]) if silence["id"] else _NOTHING
        screen.say("silent until {}{}: {}: {}", silence["until"], identifier, what, silence["reason"], style="cyan")


def _second(at: str | None) -> Printable:
    """Return an ISO 8601 time cut to the second, empty for none."""
    return harmless(f"{at[:19]}Z") if at else _NOTHING
