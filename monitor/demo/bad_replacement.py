"""`certvigil demo --scenario bad-replacement`: passes every check, fails live, is undone by itself."""

from __future__ import annotations

import os
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from actions.ending import Outcome
from config.text import printable
from config.vocabulary import Code
from monitor.act.status import actions_of
from monitor.commands.act import ActOptions, backups, replace
from monitor.commands.history import HistoryQuery, history
from monitor.commands.outcome import EXIT_CODE
from monitor.commands.screen import Screen
from monitor.demo.story import PATIENCE, Story, acting, keeping_vigil, say_addresses
from monitor.lab.appliance import NAME, Appliance
from monitor.lab.ca import DAY, bundle
from monitor.lab.process import wait_for
from monitor.lab.servers import Lighttpd, replace_file

COMPONENTS: Final = ("console", "portal")
CLIENTS: Final = 2
"""That must accept each of them: browser and finder."""


def bad_replacement(screen: Screen, listen: str | None) -> int:
    """Show it; return 0 where it was undone and the old certificates are verified as served again."""
    with tempfile.TemporaryDirectory(prefix="certvigil-demo-") as directory:
        screen.say(
            "building a small appliance: its own CA, and four components; an actor may change console and portal"
        )
        with (
            Appliance(directory, listen, changeable=True) as appliance,
            acting(screen, appliance),
            keeping_vigil(screen, appliance) as events,
        ):
            say_addresses(screen, appliance)
            undone = _tell(screen, Story(screen, events), appliance)
    screen.say("stopped; nothing is left behind")
    return 0 if undone else 1


def _tell(screen: Screen, story: Story, appliance: Appliance) -> bool:
    wait_for(lambda: len(_accepted(appliance)) == len(COMPONENTS) * CLIENTS, PATIENCE, "the first verdicts")
    files, served, accepted = _on_disk(appliance), _served(appliance), _accepted(appliance)
    story.act("who accepts what, before")
    _say_all(screen, accepted)

    story.act("a new issuing CA signs a certificate for both, which is put into their inboxes with its chain and key")
    _put_candidate(appliance)
    story.act("$ certvigil plan console portal: every file, every command, and each client's verdict before and after")
    planned = replace(COMPONENTS, [], None, [], ActOptions(appliance.config_file, dry_run=True))

    story.act("$ certvigil replace console portal: the actor carries it out; the daemon watches")
    with ThreadPoolExecutor(1) as other:
        replacing = other.submit(replace, COMPONENTS, [], None, [], ActOptions(appliance.config_file, steps=True))
        while not replacing.done():
            story.show_next(0.05)
    # With a chain that is not the certificate's, lighttpd refuses every handshake, which may be a restart for a while,
    # and others present it all the same.
    refused = isinstance(appliance.parts["console"].server, Lighttpd)
    seen = Code.NOT_SERVED if refused else Code.CLIENT_REJECTS
    story.expect("raised", seen, "console/")
    story.expect("cleared", seen, "console/")
    story.act(
        "the console's server reads its chain from another file than the component's: that of the old issuing CA.\n"
        "Nothing beforehand can see that, only handshakes do. Both are one set, so the portal was put back as well."
    )

    story.act("who accepts what, after")
    wait_for(lambda: _accepted(appliance) == accepted, PATIENCE, "the verdicts of before")
    _say_all(screen, _accepted(appliance))
    counted = [
        f'certvigil_actions_total{{action="replace",component="{each}",outcome="rolled_back"}}' for each in COMPONENTS
    ]
    wait_for(lambda: len(_metrics(appliance, *counted)) == len(counted), PATIENCE, "the metric")
    _say_all(screen, _metrics(appliance, *counted))
    story.act("$ certvigil history console/actions")
    history(HistoryQuery((actions_of("console"),), since="1h", limit=5), appliance.config_file, None)
    story.act("$ certvigil backups")
    backups(None, ActOptions(appliance.config_file))

    same = (_on_disk(appliance), _served(appliance)) == (files, served)
    story.act("the old files are in place and served again" if same else "MISSED: something is not as it was")
    return not story.missed and same and (planned, replacing.result()) == (0, EXIT_CODE[Outcome.ROLLED_BACK])


def _put_candidate(appliance: Appliance) -> None:
    issuing = appliance.root.intermediate("Corporate Issuing CA 4")
    issued = issuing.issue(NAME, not_after=int(time.time() + 90 * DAY))
    for component in COMPONENTS:
        replace_file(os.path.join(appliance.inbox(component), "new.pem"), bundle([issued, issuing]))
        replace_file(os.path.join(appliance.inbox(component), "new.key"), issued.key_pem(), 0o600)


def _on_disk(appliance: Appliance) -> Sequence[bytes]:
    found = []
    for site in (appliance.parts[each].site for each in COMPONENTS):
        for path in filter(None, (site.certificate, site.key, site.chain)):
            with open(path, "rb") as file:
                found.append(file.read())
    return found


def _served(appliance: Appliance) -> Sequence[str]:
    """Return the certificates that are served, by a handshake of our own."""
    servers = (appliance.parts[each].server for each in COMPONENTS)
    return [ssl.get_server_certificate((each.host, each.port)) for each in servers]


def _accepted(appliance: Appliance) -> Sequence[str]:
    """Return the verdict of each client of both components, as the daemon exports it."""
    found = _metrics(appliance, "certvigil_client_accepts{")
    return sorted(each for each in found if any(f'target="{component}/' in each for component in COMPONENTS))


def _metrics(appliance: Appliance, *beginnings: str) -> Sequence[str]:
    with urllib.request.urlopen(f"http://{appliance.web}/metrics", timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    return [each for each in lines if each.startswith(beginnings)]


def _say_all(screen: Screen, lines: Sequence[str]) -> None:
    for each in lines:
        screen.say("  {}", printable(each))
