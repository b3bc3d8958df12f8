"""`certvigil notify`: test channels; show, acknowledge and silence problems; retry or drop messages."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, urlencode

from config.channel import Channel
from config.fields import duration
from config.schema.section import unlike
from config.text import Printable, harmless, printable, sentence
from monitor.commands import here
from monitor.commands.choice import unknown
from monitor.commands.client import NoDaemonAnswer, ask, listing
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.screen import Screen
from monitor.commands.status import show_undelivered
from monitor.notify.deliver import Receipt, SendOutcome
from monitor.notify.text import test_message
from monitor.notify.worker import DeliveryWorker

_TIMEOUT: Final = 40.0
"""Seconds for each URL, the time to load apprise included."""
_AT_ONCE: Final = 4
_FAILED: Final = 1
_UNUSABLE: Final = 3


def test(names: Sequence[str], path: str, *, as_json: bool) -> int:
    """Send a message to each URL of the channels called `names`, or of all, and print each result.

    Returns 0 where each URL took it, 1 where some did not, 3 where there is no URL.
    """
    config = loaded(path, secrets=True)
    if config is None:
        return _UNUSABLE
    unknown = [name for name in names if name not in config.channels]
    if unknown or not config.channels:
        problem = "no channel is configured" if not config.channels else _no_channel(unknown[0], config.channels)
        complain("certvigil notify test: {}", printable(problem))
        return _UNUSABLE
    chosen = [config.channels[name] for name in dict.fromkeys(names or config.channels)]
    jobs = [(channel, position) for channel in chosen for position in range(len(channel.urls))]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        receipts = list(threads.map(lambda job: _try(job, config.host), jobs))
    tried = [(channel.url_name(position), receipt) for (channel, position), receipt in zip(jobs, receipts, strict=True)]
    if as_json:
        rows = [{"url": name, "outcome": receipt.outcome, "status": receipt.status} for name, receipt in tried]
        print_json({"tried": rows})
    else:
        screen = Screen()
        for name, receipt in tried:
            screen.say(
                "{} {}",
                harmless(name),
                harmless(receipt.why),
                style="green" if receipt.outcome is SendOutcome.DELIVERED else "bold red",
            )
    return 0 if all(receipt.outcome is SendOutcome.DELIVERED for _, receipt in tried) else _FAILED


def _no_channel(name: str, channels: Mapping[str, Channel]) -> str:
    return f"there is no channel '{printable(name, 60)}'{unlike(name, channels)}"


def _try(job: tuple[Channel, int], host: str) -> Receipt:
    channel, position = job
    worker = DeliveryWorker()
    try:
        message = test_message(channel.name, host, secrets.token_hex(8), time.time())
        return worker.deliver(message, channel.urls[position], _TIMEOUT)
    finally:
        worker.rest()


def show(socket: str, *, as_json: bool) -> int:
    """Print problems, undelivered messages and silences; return 3 where no daemon answers."""
    told = _ask(socket, Printable("show"), "/api/v1/notifications", "GET")
    if told is None:
        return _UNUSABLE
    if as_json:
        print_json(told)
        return 0
    screen = Screen()
    screen.table(
        ("problem", "channel", "severity", "since", "headline", "acknowledged by"),
        (
            (
                alert["problem"],
                alert["channel"],
                alert["severity"],
                sentence("{}Z", alert["since"][:19]),
                alert["headline"],
                alert["acknowledged"]["who"] if alert["acknowledged"] else Printable(""),
            )
            for alert in told["alerts"]
        ),
        verdict_column=2,
    )
    show_undelivered(screen, told)
    return 0


def acknowledge(problem: str, lasting: str | None, socket: str) -> int:
    """Acknowledge a problem; return 1 where there is no problem of that name, 3 where no daemon answers."""
    seconds = None if lasting is None else _seconds(Printable("acknowledge"), lasting)
    if lasting is not None and seconds is None:
        return _UNUSABLE
    query = f"?{urlencode({'for': seconds})}" if seconds is not None else ""
    done = _ask(
        socket, Printable("acknowledge"), f"/api/v1/notifications/acknowledge/{quote(problem, safe='')}{query}", "POST"
    )
    return _said(done, "acknowledged")


def silence(wanted: Mapping[str, Sequence[str]], lasting: str, reason: str, socket: str) -> int:
    """Silence the `wanted` findings; return 1 where it is refused, 3 where no daemon answers."""
    seconds = _seconds(Printable("silence"), lasting)
    if seconds is None:
        return _UNUSABLE
    query = urlencode({"for": seconds, "reason": reason, **wanted}, doseq=True)
    done = _ask(socket, Printable("silence"), f"/api/v1/notifications/silences?{query}", "POST")
    code = _said(done, f"silent until {done['until']}: {done['id']}" if done and "id" in done else "")
    if code == 0:
        _say_what_matches_nothing(wanted, socket)
    return code


def _say_what_matches_nothing(wanted: Mapping[str, Sequence[str]], socket: str) -> None:
    """Say which of the names stand for nothing now: they may be names of the future, or typing errors."""
    listed = listing(socket, "targets")
    if isinstance(listed, NoDaemonAnswer):
        return
    for key in ("target", "component"):
        names = {each[key] for each in listed if each[key] is not None}
        for pattern in wanted.get(key, ()):
            if wrong := unknown([pattern], names, printable(key)):
                complain("certvigil notify silence: a name matches nothing now: {}", wrong)


def unsilence(identifier: str, socket: str) -> int:
    """End a silence; return 1 where there is no silence of that id, 3 where no daemon answers."""
    done = _ask(
        socket, Printable("unsilence"), f"/api/v1/notifications/silences/{quote(identifier, safe='')}", "DELETE"
    )
    return _said(done, "the silence has ended")


def settle_given_up(what: str, channel: str | None, socket: str) -> int:
    """Have messages that were given up delivered again (`retry`) or dropped (`drop`); return 3 if no daemon answers."""
    query = "" if channel is None else f"?{urlencode({'channel': channel})}"
    done = _ask(socket, printable(what), f"/api/v1/notifications/{what}{query}", "POST")
    return _said(done, f"{done['count']} messages" if done and "count" in done else "")


def _seconds(command: Printable, text: str) -> float | None:
    try:
        return duration(text)
    except ValueError as error:
        complain("certvigil notify {}: --for {}: write {}", command, printable(text, 60), printable(str(error)))
        return None


def _ask(socket: str, command: Printable, resource: str, method: str) -> dict[str, Any] | None:
    here.about_daemon(socket)
    answer = ask(socket, resource, method=method)
    if isinstance(answer, NoDaemonAnswer):
        complain("certvigil notify {}: {}", command, answer.why)
        return None
    if "detail" in answer:
        why = answer["detail"]
        shown = why if isinstance(why, str) else "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in why)
        complain("certvigil notify {}: {}", command, printable(shown))
        return {}
    found: dict[str, Any] = answer
    return found


def _said(done: dict[str, Any] | None, what: str) -> int:
    """Print the result, and return the exit code."""
    if not done:
        return _UNUSABLE if done is None else _FAILED
    sys.stdout.write(f"{harmless(what)}\n")
    return 0
