"""`certvigil demo`: a small appliance, a real daemon, and things that go wrong one after the other."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from config.vocabulary import Code, Severity
from monitor.commands.screen import Screen
from monitor.commands.status import is_ready
from monitor.lab.appliance import Appliance
from monitor.lab.process import wait_for
from monitor.lab.servers import replace_file

PATIENCE: Final = 10.0
"""Seconds to wait for what must happen; it takes well under one."""

SETTLE: Final = 0.3
"""Seconds without an event after which everything that comes of something has come."""

Event = dict[str, Any]


def demo(seconds: float | None, listen: str | None) -> int:
    """Run the demonstration; return 0 where everything that should have been noticed was."""
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="certvigil-demo-") as directory:
        screen.say("building a small appliance: its own CA, and four components on loopback")
        with Appliance(directory, listen) as appliance, _daemon(appliance) as events:
            _say_addresses(screen, appliance)
            screen.say("\neverything was looked at once, and nothing is wrong yet", "bold")
            story = _Story(screen, events)
            try:
                _tell(story, appliance)
                if seconds is None:
                    screen.say("\nthat is all; the daemon goes on until Ctrl-C", "bold")
                _follow(story, seconds)
            except KeyboardInterrupt:
                screen.say("")
    screen.say("stopped; nothing is left behind")
    return 1 if story.missed else 0


def _say_addresses(screen: Screen, appliance: Appliance) -> None:
    for component, part in appliance.parts.items():
        screen.say(f"  {component:<10} https://{part.server.address}  ({type(part.server).__name__})")
    screen.say(f"  metrics    http://{appliance.web}/metrics")
    screen.say(f"  API        http://{appliance.web}/api/v1/status")
    screen.say(f"  status     certvigil status --socket {appliance.socket}")


def _tell(story: _Story, appliance: Appliance) -> None:
    portal, engine, console = (appliance.parts[name] for name in ("portal", "engine", "console"))

    story.act("the portal's certificate is renewed on disk, but nginx is not reloaded")
    portal.site.install(appliance.issue())
    story.expect("raised", Code.NOT_SERVED, "portal/")
    story.act("nginx is reloaded")
    portal.server.reload()
    story.expect("cleared", Code.NOT_SERVED, "portal/")

    story.act("the engine presents its certificate without the intermediate")
    leaf = appliance.issue()
    engine.site.install(leaf)
    replace_file(engine.site.certificate, leaf.pem())
    engine.server.reload()
    story.expect("raised", Code.INCOMPLETE_CHAIN, "engine/")
    story.expect("raised", Code.CLIENT_REJECTS, "engine/")
    story.act("the intermediate is appended")
    engine.serve(leaf)
    story.expect("cleared", Code.INCOMPLETE_CHAIN, "engine/")

    story.act("the console gets a certificate that ends in three seconds")
    console.serve(appliance.issue(lifetime=3))
    story.expect("raised", Code.EXPIRING, "console/")
    story.expect("raised", Code.EXPIRED, "console/")
    story.act("and a good one again")
    console.serve(appliance.issue())
    story.expect("cleared", Code.EXPIRED, "console/")
    story.settle()


def _follow(story: _Story, seconds: float | None) -> None:
    """Show whatever else happens."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        story.show_next(0.5 if end is None else min(0.5, max(0.0, end - time.monotonic())))


class _Story:
    """Shows what the daemon says, with the time since what was done."""

    def __init__(self, screen: Screen, events: queue.Queue[Event]) -> None:
        self.missed = False
        self._screen = screen
        self._events = events
        self._acted = time.monotonic()
        self._seen: list[Event] = []

    def act(self, text: str) -> None:
        """Say what is about to be done, once everything has come of what was done before."""
        self.settle()
        self._screen.say(f"\n{text}", "bold")
        self._seen.clear()
        self._acted = time.monotonic()

    def settle(self) -> None:
        """Show what else comes of what was done."""
        while self.show_next(SETTLE):
            pass

    def expect(self, what: str, code: Code, target: str) -> None:
        """Show what happens until the expected thing does."""
        end = time.monotonic() + PATIENCE

        def matches(event: Event) -> bool:
            return (event["event"], event.get("code")) == (what, code) and event["target"].startswith(target)

        while not any(map(matches, self._seen)):
            if time.monotonic() > end:
                self.missed = True
                self._screen.say(f"  MISSED: {code} was not {what} within {PATIENCE:g} s", "bold red")
                return
            self.show_next(0.1)

    def show_next(self, patience: float) -> bool:
        """Show the next event, where one comes within `patience` seconds, and return whether one did."""
        try:
            event = self._events.get(timeout=patience)
        except queue.Empty:
            return False
        self._seen.append(event)
        after = f"{time.monotonic() - self._acted:6.2f} s"
        what = event["event"]
        if what == "presents":
            self._screen.say(f"  {after}  presents  {event['target']}: {event['sha256'][:16]}", "dim")
        elif what in {"raised", "changed", "cleared"}:
            style = "green" if what == "cleared" else _STYLE.get(event.get("severity", ""), "")
            detail = "" if what == "cleared" else f": {event['detail']}"
            self._screen.say(f"  {after}  {what:<8}  {event['target']}: {event['code']}{detail}", style)
        return True


_STYLE: Final = {Severity.NOTICE: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}


@contextmanager
def _daemon(appliance: Appliance) -> Iterator[queue.Queue[Event]]:
    """Run the real daemon on the appliance, and give what it logs from its readiness on."""
    command = [sys.executable, "-m", "monitor.main", "run", "--config", appliance.config_file, "--log-format", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    events: queue.Queue[Event] = queue.Queue()
    assert process.stderr is not None  # noqa: S101 (it was asked for)
    threading.Thread(target=_read, args=(process.stderr, events.put), daemon=True).start()
    try:
        wait_for(lambda: process.poll() is not None or is_ready(appliance.socket), 30.0, "the daemon's readiness")
        if process.poll() is not None:
            raise SystemExit(f"the daemon ended with status {process.returncode}")
        yield events
    finally:
        process.terminate()
        process.wait(10)


def _read(stream: IO[str], put: Callable[[Event], None]) -> None:
    """Pass on the events in the daemon's log; whatever else it says is for the reader as it stands."""
    for line in stream:
        try:
            entry = json.loads(line)
        except ValueError:
            sys.stderr.write(line)
            continue
        if "event" in entry:
            put(entry)
        elif entry.get("level") != "info":
            sys.stderr.write(f"{entry.get('message', line)}\n{entry.get('exception', '')}\n")
