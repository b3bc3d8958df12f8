"""`certvigil demo`: a small appliance, a real daemon, and things that go wrong one after the other."""

from __future__ import annotations

import signal
import tempfile
import time

from config.text import harmless
from config.vocabulary import ApplianceRole, Code, Scenario
from monitor.commands.screen import Screen
from monitor.demo.bad_replacement import bad_replacement
from monitor.demo.procedures import procedures
from monitor.demo.story import DemoError, Story, keeping_vigil, say_addresses
from monitor.lab.appliance import Appliance
from monitor.lab.process import LabError
from monitor.lab.servers import replace_file


def demo(scenario: Scenario, seconds: float | None, listen: str | None, role: ApplianceRole | None = None) -> int:
    """Run the demonstration, or the walk through the procedures of an appliance where it is given a role.

    Return 0 where everything went as it should.
    """
    screen = Screen()
    # However it is ended, its servers and its directory go with it; a shell's background job ignores Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if role is not None:
            return procedures(screen, role, listen)
        if scenario is Scenario.BAD_REPLACEMENT:
            return bad_replacement(screen, listen)
        return _faults(screen, seconds, listen)
    except (LabError, DemoError, TimeoutError) as error:
        screen.say("certvigil demo: {}", harmless(str(error)), style="bold red")
        screen.say("stopped; nothing is left behind")
        return 1


def _faults(screen: Screen, seconds: float | None, listen: str | None) -> int:
    with tempfile.TemporaryDirectory(prefix="certvigil-demo-") as directory:
        screen.say("building a small appliance: its own CA, and four components on loopback")
        with Appliance(directory, listen) as appliance, keeping_vigil(screen, appliance) as events:
            story = Story(screen, events)
            # Whoever reads that it is under way may end it at once.
            try:
                say_addresses(screen, appliance)
                screen.say("")
                screen.say("everything was looked at once, and nothing is wrong yet", style="bold")
                _tell(story, appliance)
                if seconds is None:
                    screen.say("")
                    screen.say("that is all; the daemon goes on until Ctrl-C", style="bold")
                _follow(story, seconds)
            except KeyboardInterrupt:
                screen.say("")
    screen.say("stopped; nothing is left behind")
    return 1 if story.missed else 0


def _tell(story: Story, appliance: Appliance) -> None:
    portal, engine, console = (appliance.parts[name] for name in ("portal", "engine", "console"))

    server = portal.server_name
    story.act(f"the portal's certificate is renewed on disk, but {server} is not reloaded")
    portal.site.install(appliance.issue())
    story.expect("raised", Code.NOT_SERVED, "portal/")
    story.act(f"{server} is reloaded")
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


def _follow(story: Story, seconds: float | None) -> None:
    """Show whatever else happens."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        story.show_next(0.5 if end is None else min(0.5, max(0.0, end - time.monotonic())))
