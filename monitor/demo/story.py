"""Telling a story on the small appliance, with the real daemon and the real actor beside it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

from config.text import Printable, printable, sentence
from config.vocabulary import Code, Severity
from monitor.actor.client import NoActor, ask
from monitor.actor.request import Request, Verb
from monitor.commands.screen import Screen
from monitor.commands.status import is_ready
from monitor.lab.appliance import Appliance
from monitor.lab.laid_out import LaidOutAppliance
from monitor.lab.process import wait_for

PATIENCE: Final = 60.0
"""Seconds to wait for what must happen; it takes well under one, unless the machine is busy."""

SETTLE: Final = 0.3
"""Seconds without an event after which everything that comes of something has come."""

SLOW_START: Final = 10.0
"""Seconds after which it is said that a process takes long to be ready."""
START: Final = 180.0
"""Seconds in which a process must be ready, on a machine however busy."""
END: Final = 30.0
"""Seconds in which a process must end."""


class DemoError(Exception):
    """The demonstration cannot go on; the text is a sentence for whoever watches."""


EventDocument = dict[str, Any]
Watched = Appliance | LaidOutAppliance
"""An appliance with the configuration of its daemon and actor."""


def say_addresses(screen: Screen, appliance: Appliance) -> None:
    """Say where everything is."""
    for component, part in appliance.parts.items():
        screen.say(
            "  {:<10} https://{}  ({})",
            printable(component),
            printable(part.server.address),
            printable(type(part.server).__name__),
        )
    screen.say("  metrics    http://{}/metrics", printable(appliance.web))
    screen.say("  API        http://{}/api/v1/status", printable(appliance.web))
    screen.say("  status     certvigil status --socket {}", printable(appliance.socket))


class Story:
    """Shows what the daemon says, with the time since what was done."""

    def __init__(self, screen: Screen, events: queue.Queue[EventDocument], told: Container[str] | None = None) -> None:
        """Show everything, or no more than findings of the codes in `told`, and endings."""
        self.missed = False
        self._told = told
        self._screen = screen
        self._events = events
        self._acted = time.monotonic()
        self._seen: list[EventDocument] = []

    def act(self, text: str) -> None:
        """Say what is about to be done, once everything has come of what was done before."""
        self.settle()
        self._screen.say("")
        for line in text.splitlines():
            self._screen.say("{}", printable(line), style="bold")
        self._seen.clear()
        self._acted = time.monotonic()

    def settle(self) -> None:
        """Show what else comes of what was done."""
        while self.show_next(SETTLE):
            pass

    def expect(self, what: str, code: Code, target: str) -> None:
        """Show what happens until the expected thing does."""
        end = time.monotonic() + PATIENCE

        def matches(event: EventDocument) -> bool:
            return (event["event"], event.get("code")) == (what, code) and event["target"].startswith(target)

        while not any(map(matches, self._seen)):
            if time.monotonic() > end:
                self.missed = True
                self._screen.say(
                    "  MISSED: {} was not {} within {:g} s", code, printable(what), PATIENCE, style="bold red"
                )
                return
            self.show_next(0.1)

    def show_next(self, patience: float) -> bool:
        """Show the next event, where one comes within `patience` seconds, and return whether one did."""
        try:
            event = self._events.get(timeout=patience)
        except queue.Empty:
            return False
        self._seen.append(event)
        after = sentence("{:6.2f} s", time.monotonic() - self._acted)
        what = event["event"]
        if what == "presents" and self._told is None:
            self._screen.say("  {}  presents  {}: {}", after, event["target"], event["sha256"][:16], style="dim")
        elif what == "ended":
            self._screen.say(
                "  {}  ended     {}: {} {}", after, event["target"], event["action"], event["outcome"], style="yellow"
            )
        elif what in {"raised", "changed", "cleared"} and (self._told is None or event["code"] in self._told):
            style = "green" if what == "cleared" else _STYLE.get(event.get("severity", ""), "")
            detail = Printable("") if what == "cleared" else sentence(": {}", event["detail"])
            self._screen.say("  {}  {:<8}  {}: {}{}", after, what, event["target"], event["code"], detail, style=style)
        return True


_STYLE: Final = {
    Severity.INFORMATIONAL: "dim",
    Severity.NOTICE: "cyan",
    Severity.WARNING: "yellow",
    Severity.CRITICAL: "red",
}


@contextmanager
def acting(screen: Screen, appliance: Watched) -> Iterator[None]:
    """Run the real actor beside the appliance; raises DemoError where it is not ready in time."""
    process = subprocess.Popen(_certvigil("actor", appliance), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None  # noqa: S101 (it was asked for)
    threading.Thread(target=_read, args=(process.stderr, lambda _event: None), daemon=True).start()
    with _running(screen, process, lambda: _answers(appliance.actor_socket), "the actor"):
        yield


def _answers(socket: str) -> bool:
    try:
        return "components" in ask(socket, Request(Verb.STATE), lambda _step: None, PATIENCE)
    except (NoActor, OSError):
        return False


@contextmanager
def keeping_vigil(screen: Screen, appliance: Watched) -> Iterator[queue.Queue[EventDocument]]:
    """Run the real daemon on the appliance, and give what it logs from its readiness on.

    Raises DemoError where it is not ready in time.
    """
    process = subprocess.Popen(_certvigil("run", appliance), stderr=subprocess.PIPE, text=True)
    events: queue.Queue[EventDocument] = queue.Queue()
    assert process.stderr is not None  # noqa: S101 (it was asked for)
    threading.Thread(target=_read, args=(process.stderr, events.put), daemon=True).start()
    with _running(screen, process, lambda: is_ready(appliance.socket), "the daemon"):
        yield events


def _certvigil(command: str, appliance: Watched) -> Sequence[str]:
    own = (sys.executable, "-m", "monitor.main", command)
    return *own, "--config", appliance.config_file, "--log-format", "json"


@contextmanager
def _running(screen: Screen, process: subprocess.Popen[str], ready: Callable[[], bool], what: str) -> Iterator[None]:
    """Wait until a process is ready, saying so where that takes long, and end it at last."""
    try:
        _await_ready(screen, process, ready, what)
        yield
    finally:
        process.terminate()
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(screen: Screen, process: subprocess.Popen[str], ready: Callable[[], bool], what: str) -> None:
    def done() -> bool:
        return process.poll() is not None or ready()

    try:
        wait_for(done, SLOW_START)
    except TimeoutError:
        screen.say(
            "{} is not ready yet: this machine is busy; waiting up to {:g} s", printable(what), START, style="yellow"
        )
        try:
            wait_for(done, START - SLOW_START)
        except TimeoutError:
            raise DemoError(
                f"{what} was not ready within {START:g} s, so there is nothing to show; try again when this machine "
                f"is less busy"
            ) from None
    if process.poll() is not None:
        raise DemoError(f"{what} ended with status {process.returncode}, before it was ready")


def _read(stream: IO[str], put: Callable[[EventDocument], None]) -> None:
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
