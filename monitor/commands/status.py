"""`certvigil status`: what the daemon knows now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
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
    own = ask(socket, "/api/v1/status")
    targets = list(_targets(socket)) if not isinstance(own, NoAnswer) else []
    told = ask(socket, "/api/v1/telling")
    if isinstance(own, NoAnswer) or isinstance(told, NoAnswer):
        own = own if isinstance(own, NoAnswer) else told
        sys.stderr.write(f"certvigil status: {own.why}\n")
        return _NOBODY
    if as_json:
        json.dump({"schema": 1, "status": own, "targets": targets, "telling": told}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(own, targets)
        show_undelivered(Screen(), told)
    worst = max((_ORDER.index(each["verdict"]) for each in targets), default=0)
    return EXIT_CODE[_ORDER[worst]]


def is_ready(socket: str) -> bool:
    """Whether the daemon on that socket says that it is ready."""
    own = ask(socket, "/api/v1/status")
    return not isinstance(own, NoAnswer) and bool(own["ready"])


_ORDER = (Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.CRITICAL)


def _targets(socket: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = ask(socket, f"/api/v1/targets?limit={_PAGE}&offset={offset}")
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
