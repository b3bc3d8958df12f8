"""`certvigil status`: what the daemon knows now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from config.vocabulary import Verdict
from monitor.client import NoAnswer, ask
from monitor.commands.check import EXIT_CODE
from monitor.commands.screen import Screen

_PAGE = 500
_NOBODY = 3


def status(socket: str, *, as_json: bool, healthy: bool) -> int:
    """Print what the daemon knows and return the code of the worst verdict, 3 where it could not be asked.

    With `healthy`, print nothing and return 0 if the daemon is ready.
    """
    if healthy:
        return 0 if is_ready(socket) else 1
    own, told = ask(socket, "/api/v1/status"), ask(socket, "/api/v1/telling")
    if isinstance(own, NoAnswer) or isinstance(told, NoAnswer):
        silent = own if isinstance(own, NoAnswer) else told
        sys.stderr.write(f"certvigil status: {silent.why}\n")
        return _NOBODY
    targets, components = list(_all(socket, "targets")), list(_all(socket, "components"))
    if as_json:
        document = {"schema": 1, "status": own, "targets": targets, "components": components, "telling": told}
        json.dump(document, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(own, targets)
        show_components(Screen(), own["no_actor"], components)
        show_undelivered(Screen(), told)
    worst = max((_ORDER.index(each["verdict"]) for each in targets), default=0)
    return EXIT_CODE[_ORDER[worst]]


def is_ready(socket: str) -> bool:
    """Whether the daemon on that socket says that it is ready."""
    own = ask(socket, "/api/v1/status")
    return not isinstance(own, NoAnswer) and bool(own["ready"])


_ORDER = (Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.CRITICAL)


def _all(socket: str, what: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = ask(socket, f"/api/v1/{what}?limit={_PAGE}&offset={offset}")
        if isinstance(page, NoAnswer):
            return
        yield from page["items"]
        offset += _PAGE
        if offset >= page["total"]:
            return


def _show(own: dict[str, Any], targets: list[dict[str, Any]]) -> None:
    screen = Screen()
    by_badness = sorted(targets, key=lambda each: (-_ORDER.index(each["verdict"]), each["target"]))
    screen.table(
        ("verdict", "target", "expires", "last look", "what is wrong"),
        (
            (each["verdict"], each["target"], _second(each["expiry"]), _second(each["last_look"]), _wrong(each))
            for each in by_badness
        ),
        verdict_column=0,
    )
    for waiver in own["waivers"]:
        screen.say(
            f"waived until {waiver['until']}: {waiver['code']} of {waiver['target']}: {waiver['reason']}", "cyan"
        )
    for why in own["not_ready"]:
        screen.say(f"not ready: {why}", "yellow")
    watch = own["watch"]
    if watch["directories_polled"]:
        screen.say(f"{watch['directories_polled']} directories are polled: {watch['polled_because']}", "yellow")
    if own["configuration"]["stale"]:
        screen.say("the configuration on disk is not the one in force; certvigil reload reads it", "yellow")


def show_components(screen: Screen, no_actor: str, components: Sequence[dict[str, Any]]) -> None:
    """Print what waits to be done to each component, and why nothing can be."""
    if not components:
        return
    screen.say("")
    screen.table(
        ("state", "component", "mode", "what waits", "what was done last"),
        ((each["state"], each["component"], each["mode"], _waits(each), _last(each)) for each in components),
    )
    for each in components:
        for note in each["notes"]:
            screen.say(f"{each['component']}: {note}", "cyan")
    if no_actor:
        screen.say(f"certvigil only observes: {no_actor}", "yellow")


def _waits(component: dict[str, Any]) -> str:
    if component["frozen"]:
        return f"frozen: {component['frozen']}"
    decision = component["decision"]
    if decision is not None:
        until, plan = component["approved_until"], component["plan"]
        said = f"{decision['action']} by {decision['policy']}: {decision['standing']}"
        said += f", for {decision['waits_for']}" if decision["waits_for"] else ""
        said += f", plan {plan[:16]}" if plan else ""
        return said + (f", approved until {_second(until)}" if until else "")
    return "; ".join(f"{each['ground']}: {each['detail']}" for each in component["objections"])


def _last(component: dict[str, Any]) -> str:
    last = component["last"]
    return f"{_second(last['at'])} {last['action']} {last['outcome']}" if last else ""


def show_undelivered(screen: Screen, told: dict[str, Any]) -> None:
    """Print a line for each message that was not delivered, and for each silence."""
    for letter in told["undelivered"]:
        why = f": {letter['why']}" if letter["why"] else ""
        given_up = letter["fate"] == "dead"
        how = "given up" if given_up else f"tried {letter['attempts']} times"
        screen.say(f"not told {letter['channel']}, {how}: {letter['title']}{why}", "bold red" if given_up else "yellow")
    for silence in told["silences"]:
        named = [*silence["targets"], *silence["components"], *silence["findings"]]
        what = ", ".join(named) or "everything"
        identifier = f" ({silence['id']})" if silence["id"] else ""
        screen.say(f"silent until {silence['until']}{identifier}: {what}: {silence['reason']}", "cyan")


def _second(at: str | None) -> str:
    """Return an ISO 8601 time cut to the second, empty for none."""
    return f"{at[:19]}Z" if at else ""


def _wrong(target: dict[str, Any]) -> str:
    severe = {"critical": 0, "warning": 1, "notice": 2}
    found = sorted(target["findings"], key=lambda each: severe[each["severity"]])
    return ", ".join(dict.fromkeys(each["code"] for each in found))
