"""`certvigil demo --appliance ROLE`: the procedures on a laid-out appliance, each with the command that one types."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from actions.ending import Outcome
from config.text import Printable, printable
from config.vocabulary import ApplianceRole, Code
from monitor.commands.act import ActOptions, backups, replace, reset_to_default, rollback
from monitor.commands.csr import CsrQuery, csr
from monitor.commands.inventory import InventoryQuery, show_inventory
from monitor.commands.outcome import EXIT_CODE
from monitor.commands.screen import Screen
from monitor.demo.story import Story, acting, keeping_vigil
from monitor.lab.ca import KeyType
from monitor.lab.laid_out import LaidOutAppliance
from monitor.lab.process import find_command
from monitor.lab.servers import LocalServer, Server, replace_file

_REFUSED: Final = 1
_TOLD: Final = frozenset({Code.DEFAULT_CERTIFICATE, Code.UNREACHABLE})
"""The findings that are told as they come; the commands show the others."""
_SERVERS: Final = {"lighttpd": Printable("Web Console"), "nginx": Printable("Portal")}
_CLIENTS: Final[Mapping[ApplianceRole, Sequence[str]]] = {
    ApplianceRole.PRIMARY: ("browser", "collector", "finder"),
    ApplianceRole.SECONDARY: ("browser", "collector", "portal", "web-api"),
    ApplianceRole.SINGLE: ("browser", "collector", "finder", "portal", "web-api"),
}
"""Those for which the default certificate is of no issuer, or without the name, that they know."""


def procedures(screen: Screen, role: ApplianceRole, listen: str | None) -> int:
    """Walk through them; return 0 where each did what it should, and nothing else was touched."""
    with tempfile.TemporaryDirectory(prefix="certvigil-demo-") as directory:
        screen.say("laying out a {} appliance in {}", role, printable(directory))
        for name, what in _SERVERS.items():
            if find_command(name) is None:
                screen.say("  {} is not installed: a server in this process stands for the {}", printable(name), what)
        try:
            with LaidOutAppliance(directory, role, listen) as appliance, acting(screen, appliance):
                _say_addresses(screen, appliance)
                with keeping_vigil(screen, appliance) as events:
                    done = _Walk(screen, Story(screen, events, _TOLD), appliance).all()
        except KeyboardInterrupt:
            screen.say("")
            done = False
    screen.say("stopped; nothing is left behind")
    return 0 if done else 1


def _say_addresses(screen: Screen, appliance: LaidOutAppliance) -> None:
    for name, servers in appliance.servers.items():
        for each in servers:
            screen.say("  {:<10} https://{}  ({})", printable(name), printable(each.address), _kind(each))
    screen.say("  metrics    http://{}/metrics", printable(appliance.web))
    screen.say("  config     {}", printable(appliance.config_file))


def _kind(server: Server) -> Printable:
    return printable("a server in this process" if isinstance(server, LocalServer) else type(server).__name__)


class _Walk:
    """The procedures one after the other, and whether each ended as it should."""

    def __init__(self, screen: Screen, story: Story, appliance: LaidOutAppliance) -> None:
        self._screen = screen
        self._story = story
        self._appliance = appliance
        self._options = ActOptions(appliance.config_file, steps=True)
        self._group = str(appliance.role)
        self._missed = False
        self._answer = ""
        """The answer to the request, in a file."""

    def all(self) -> bool:
        """Walk through all of them; return whether all is as it should be."""
        appliance = self._appliance
        untouched, default = appliance.untouched(), appliance.files()
        self._look()
        self._request()
        self._replace()
        self._lose_clients()
        self._restore()
        self._reset()
        self._story.act("9. What is left of all that?")
        self._see("every file of the components is as it was after the installation", appliance.files() == default)
        self._see(
            f"{len(untouched)} other files were never touched, the Customer Key among them"
            if appliance.has_engine
            else f"{len(untouched)} other files were never touched, the trust stores among them",
            appliance.untouched() == untouched,
        )
        return not (self._missed or self._story.missed)

    def _look(self) -> None:
        self._screen.say("")
        self._screen.say("1. What is installed? Everything has the certificate of its installation yet", style="bold")
        for name in self._appliance.members:
            self._story.expect("raised", Code.DEFAULT_CERTIFICATE, f"{name}/")
        self._story.settle()
        query = InventoryQuery((self._group,), self._appliance.config_file, self._appliance.socket)
        self._run(lambda: show_inventory(query), 0, "certvigil inventory", self._group)

    def _request(self) -> None:
        self._story.act("2. One request for the whole group. The actor makes its key, and keeps it")
        out = f"{self._appliance.directory}/{self._group}.csr"
        query = CsrQuery(self._group, (), None, installed=False, subject=None, days=90, dry_run=False)
        self._run(
            lambda: csr(
                query,
                out=out,
                show_all=False,
                show="",
                cancel="",
                why="",
                config=self._appliance.config_file,
                as_json=False,
            ),
            0,
            *("certvigil csr", self._group, "--out", out),
        )
        with open(out, "rb") as file:
            answer = self._appliance.issuing.answer(file.read())
        self._screen.say("the CA of the laboratory, {}, signs it", printable("Corporate Issuing CA 3"))
        self._answer = f"{self._appliance.directory}/answer.pem"
        replace_file(self._answer, answer)

    def _replace(self) -> None:
        self._story.act("3. The answer finds its request by the key. What is going to be done?")
        given = ("replace", "--from", self._answer)

        def act(options: ActOptions) -> int:
            return replace([self._group], [self._answer], None, [], options)

        self._act(act, 0, *given, "--dry-run", dry_run=True)
        self._story.act("4. All members are replaced as one, with the lines that name the chain")
        self._act(act, 0, *given)
        self._see_lines(named=True)

    def _lose_clients(self) -> None:
        self._story.act(
            "5. A certificate with an EC key passes every check beforehand. But this Web\n"
            "   Console has ciphers for RSA alone: its client is lost, and all is undone"
        )
        before, served = self._appliance.files(), self._appliance.served()
        given = f"{self._appliance.directory}/ec.pem"
        replace_file(given, self._appliance.renewed(KeyType.P256), 0o600)
        self._act(
            lambda options: replace([self._group], [given], None, [], options),
            EXIT_CODE[Outcome.ROLLED_BACK],
            *("replace", "--from", given),
        )
        same = (self._appliance.files(), self._appliance.served()) == (before, served)
        self._see("every member has its files of before, and serves them", same)

    def _restore(self) -> None:
        date = self._appliance.sets[1]
        self._story.act(f"6. The set {date}, which the appliance's own console has kept, is restored")
        self._run(lambda: backups(self._group, self._options), 0, "certvigil backups", self._group)
        self._act(lambda options: rollback(self._group, date, [], options), 0, "rollback", "--to", date)
        self._see_served(self._appliance.earlier.der(), f"the certificate of {date}")
        self._see_lines(named=True)

    def _reset(self) -> None:
        self._story.act("7. A reset to the default is refused, since it locks clients out ...")
        self._act(lambda options: reset_to_default(self._group, [], options), _REFUSED, "reset-to-default")
        losses = _CLIENTS[self._appliance.role]
        self._story.act("8. ... unless a person names them all")
        self._act(
            lambda options: reset_to_default(self._group, losses, options),
            0,
            *("reset-to-default", *(word for each in losses for word in ("--lose", each))),
        )
        self._see_served(self._appliance.default.der(), "the certificate from the installation")
        self._see_lines(named=False)

    # Telling

    def _act(
        self, command: Callable[[ActOptions], int], expected: int, name: str, *arguments: str, dry_run: bool = False
    ) -> None:
        options = ActOptions(self._appliance.config_file, dry_run=dry_run, steps=True)
        self._run(lambda: command(options), expected, f"certvigil {name}", self._group, *arguments)

    def _run(self, command: Callable[[], int], expected: int, *words: str) -> None:
        """Say what a person types, and do it; another exit code than the expected one is a miss."""
        self._type(*words)
        code = command()
        if code != expected:
            self._see(f"the exit code is {code} and not {expected}", holds=False)

    def _type(self, command: str, *arguments: str) -> None:
        self._screen.say("$ {}", printable(" ".join((command, *map(shlex.quote, arguments)))), style="bold cyan")

    def _see_served(self, der: bytes, what: str) -> None:
        self._see(f"every endpoint serves {what}", set(self._appliance.served().values()) == {der})

    def _see_lines(self, *, named: bool) -> None:
        found = {self._appliance.names_chain(each) for each in self._appliance.lines()}
        files = " and ".join(os.path.basename(each) for each in self._appliance.lines().values())
        verb = "names" if len(self._appliance.lines()) == 1 else "name"
        self._see(f"{files} {verb} {'the chain' if named else 'no chain any more'}", found == {named})

    def _see(self, what: str, holds: bool) -> None:
        self._missed |= not holds
        template, style = ("-> {}", "green") if holds else ("MISSED: {}", "bold red")
        self._screen.say(template, printable(what), style=style)
