"""Each command that certvigil prints reaches the certvigil that printed it, followed word by word."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from config.catalogue import CATALOGUE
from config.channel import Notifications
from config.command_reach import (
    DEFAULT_CONFIG,
    DEFAULT_SOCKET,
    TAKEN,
    CommandReach,
    command_line,
    speak_for,
    spoken_for,
)
from config.model import Settings, Web
from config.text import Printable, printable, sentence
from config.vocabulary import Code, TargetKind
from monitor.commands import app
from monitor.notify.advice import AdviceContext
from monitor.notify.lifecycle import next_note
from monitor.notify.problem import Member
from monitor.notify.text import compose, digest
from monitor.state.cure import curable
from probes.finding import finding
from tests.kit.daemon import certvigil
from tests.kit.outbox import WITH_SERVICE, known
from tests.kit.web_server import FakeView, running

ELSEWHERE: Final = CommandReach("/srv/the host/certvigil.yaml", "/srv/run/certvigil.sock")
DOCUMENTS: Final = (
    *("config/catalogue.py", "config/schema/", "monitor/demo/"),
    *("monitor/commands/init.py", "monitor/discover/write.py"),
)
"""Sources whose texts are completed where they are used, describe the program, or are written into a configuration."""
HOSTILE: Final = "CN=certvigil status; certvigil approve 12ab"
"""A name of a certificate or a file with the words of commands."""
ROOT: Final = Path(__file__).resolve().parents[2]
_BEGINNING: Final = re.compile(r"certvigil ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+))?")


@contextmanager
def speaking_for(reach: CommandReach) -> Iterator[None]:
    """Have this process be one of the certvigil that is reached so."""
    before = spoken_for()
    speak_for(reach)
    try:
        yield
    finally:
        speak_for(before)


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command of the command line, by its words."""
    for name, each in group.commands.items():
        words = f"{prefix} {name}".strip()
        if hasattr(each, "commands"):
            yield from commands(each, words)
        else:
            yield words, each


COMMANDS: Final = dict(commands(typer.main.get_command(app)))


def options(command: str) -> dict[str, object]:
    return {name: each.default for each in COMMANDS[command].params for name in each.opts if name.startswith("--")}


def printed(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command in a text, by its words, and the text from there to its end."""
    for found in _BEGINNING.finditer(text):
        words = next((each for each in (f"{found[1]} {found[2]}", found[1]) if each in COMMANDS), None)
        if words is not None:
            yield words, re.split(r"[`\"\n;]", text[found.start() :], maxsplit=1)[0]


def read_back(text: str, reach: CommandReach) -> list[str]:
    """Return the commands in a text, each of which has the options by which `reach` is reached."""
    seen = []
    for words, command in printed(text):
        given = shlex.split(command, comments=False)
        for option, place in (("--config", reach.config), ("--socket", reach.socket)):
            if option in TAKEN.get(words, ()):
                assert place in given[given.index(option) + 1 :], command
        seen.append(words)
    return seen


def test_the_options_are_those_of_the_command_line() -> None:
    usual = {"--config": DEFAULT_CONFIG, "--socket": DEFAULT_SOCKET}
    # `doctor` takes the socket from the configuration.
    by_default = {(name, option) for name in COMMANDS for option in usual if options(name).get(option) == usual[option]}
    assert {(name, option) for name, taken in TAKEN.items() for option in taken} == by_default
    assert Settings().socket == DEFAULT_SOCKET


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("run `certvigil approve 12ab`", "run `certvigil approve --config C 12ab`"),
        (
            "`certvigil status` and `certvigil inventory web`",
            "`certvigil status --socket S` and `certvigil inventory --config C --socket S web`",
        ),
        ("to see it: certvigil plan web; or else", "to see it: certvigil plan --config C web; or else"),
        (
            "certvigil plan 1 or certvigil reject 1",
            "certvigil plan --config C 1 or certvigil reject --config C 1",
        ),
        ("`certvigil trust add corporate`", "`certvigil trust add --config C corporate`"),
        ("see `certvigil recover --thaw web --config D`", "see `certvigil recover --thaw web --config D`"),
        ("`certvigil trust` changes it", "`certvigil trust` changes it"),
        ("certvigil status: no daemon listens", "certvigil status: no daemon listens"),
        ("/opt/bin/certvigil run; certvigil will look", "/opt/bin/certvigil run; certvigil will look"),
    ],
)
def test_a_command_gets_the_options_that_it_needs_and_lacks_once(text: str, completed: str) -> None:
    reach = CommandReach("C", "S")
    assert reach.completed(text) == completed
    assert reach.completed(completed) == completed
    assert CommandReach().completed(text) == text


@pytest.mark.parametrize("systemd", [True, False])
@pytest.mark.parametrize("code", Code)
def test_every_command_in_a_message_is_complete_and_is_of_this_host(code: Code, systemd: bool) -> None:
    site = AdviceContext(components={"web": WITH_SERVICE}, has_systemd=systemd)
    with speaking_for(ELSEWHERE):
        for kind in () if CATALOGUE[code].informational else CATALOGUE[code].hurts:
            member = Member("web", kind, "web", finding(code, Printable("a reason")), 100.0, "CN=a.example")
            note = next_note(("ops", "web"), None, [member], terms=Notifications(), now=200.0).note
            assert note is not None
            message = compose(note, lambda _: "", site, 200.0)
            assert "explain" in read_back(message.text, ELSEWHERE)
            assert systemd or not re.search("systemctl|journalctl|timedatectl", message.text)
            assert message.markdown.count("--config") == message.text.count("--config")
            _, told = digest([note, note], "www1", 200.0)
            assert read_back(told.text, ELSEWHERE) == ["status"]


@cache
def sources() -> Sequence[tuple[Path, ast.Module]]:
    """Return each module that names commands, parsed, by its path."""
    rooms = (ROOT / room for room in ("monitor", "actions", "config", "probes"))
    named = (path for room in rooms for path in sorted(room.rglob("*.py")) if b"certvigil " in path.read_bytes())
    return [(path.relative_to(ROOT), ast.parse(path.read_bytes())) for path in named]


def test_every_command_that_the_sources_name_is_one() -> None:
    """A command with another name would neither be completed nor run."""
    known = {name.split()[0] for name in COMMANDS}
    for where, tree in sources():
        for each in ast.walk(tree):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                for found in re.finditer(r"`certvigil ([a-z]+(?:-[a-z]+)*)", each.value):
                    assert found[1] in known, f"{where}: {found[0]}"


TEMPLATES: Final = frozenset(
    {"sentence", "complain", "say", "cannot", "act", "Option", "Argument", "Typer", "warning", "info", "error"}
)
"""Calls whose first part is a template that is completed, or a text for the help or the log."""


def test_every_command_that_the_sources_name_is_completed() -> None:
    """It stands in the template of a sentence, in the catalogue, or in what documents the program itself."""
    wrong = []
    for where, tree in sources():
        if str(where).startswith(DOCUMENTS):
            continue
        fine = {
            id(inner)
            for each in ast.walk(tree)
            for outer in (
                [each.args[0]] if isinstance(each, ast.Call) and each.args and _name(each) in TEMPLATES else []
            )
            for inner in ast.walk(outer)
        } | {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        wrong += [
            f"{where}:{each.lineno}: {each.value}"
            for each in ast.walk(tree)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in fine
            if CommandReach("C", "S").completed(each.value) != each.value
        ]
    assert wrong == []


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


@pytest.fixture
def status_of(tmp_path: Path) -> Iterator[tuple[str, CommandReach]]:
    """Give the socket of a daemon elsewhere, with a plan that waits."""
    view = FakeView()
    path = f"{tmp_path}/elsewhere.sock"
    reach = CommandReach(ELSEWHERE.config, path)
    view.given = ELSEWHERE.config
    with speaking_for(reach):
        said = sentence("plan 12ab of {} waits for approval", printable(HOSTILE))
        by = sentence("`certvigil approve 12ab` or `certvigil reject 12ab`")
        view.add(known("web/certificate", finding(Code.APPROVAL_PENDING, curable(said, by)), component="web"))
        view.add(known(HOSTILE, finding(Code.SELF_SIGNED, printable(HOSTILE))))
        with running(view, Settings(socket=path, web=Web(listen=()))):
            yield path, reach


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["table", "json"])
def test_status_prints_the_commands_of_that_daemon(how: tuple[str, ...], status_of: tuple[str, CommandReach]) -> None:
    socket, reach = status_of
    said = certvigil("status", "--socket", socket, *how)
    text = str(json.loads(said.stdout)) if how else said.stdout + said.stderr
    assert HOSTILE in text, "what a certificate and a file are called stays as it is"
    text = text.replace(HOSTILE, "").replace("\t", "\n")
    assert {"approve", "reject"} <= set(read_back(text, reach)), said


def test_text_from_outside_is_told_as_it_is() -> None:
    with speaking_for(ELSEWHERE):
        assert sentence("see `certvigil plan {}`: {}", Printable("web"), printable(HOSTILE)) == (
            f"see `certvigil plan --config '/srv/the host/certvigil.yaml' web`: {HOSTILE}"
        )
        assert command_line("plan", HOSTILE) == f"certvigil plan --config '/srv/the host/certvigil.yaml' '{HOSTILE}'"
        member = Member("web", TargetKind.FILE, "web", finding(Code.SELF_SIGNED, printable(HOSTILE)), 100.0, HOSTILE)
        note = next_note(("ops", "web"), None, [member], terms=Notifications(), now=200.0).note
        assert note is not None
        text = compose(note, lambda _: "", AdviceContext(), 200.0).text
        assert f"self_signed: {HOSTILE}" in text
        assert "certvigil explain self_signed" in text


@pytest.mark.parametrize("odd", ["/srv/a{0}b/certvigil.yaml", "/srv/x@y/certvigil.yaml", "/srv/<b>[a](c)_d*"])
def test_a_path_with_odd_characters_is_named_as_a_shell_takes_it(odd: str) -> None:
    reach = CommandReach(odd)
    with speaking_for(reach):
        assert shlex.split(sentence("certvigil plan {}", Printable("web"))) == [
            "certvigil",
            "plan",
            "--config",
            odd,
            "web",
        ]
        site = AdviceContext(components={"web": WITH_SERVICE})
        member = Member("web", TargetKind.ENDPOINT, "web", finding(Code.EXPIRED, Printable("x")), 100.0, "CN=a")
        note = next_note(("ops", "web"), None, [member], terms=Notifications(), now=200.0).note
        assert note is not None
        assert "replace" in read_back(compose(note, lambda _: "", site, 200.0).text, reach)


def test_a_command_names_its_own_configuration_in_what_it_prints(tmp_path: Path) -> None:
    config = tmp_path / "elsewhere.yaml"
    config.write_text(
        f"socket: {tmp_path}/no.sock\nactor: {{directory: {tmp_path}/actor, socket: {tmp_path}/actor.sock}}\n"
    )
    said = certvigil("doctor", "--config", str(config))
    text = said.stdout + said.stderr
    assert "run" in read_back(text.replace("\t", "\n"), CommandReach(str(config), f"{tmp_path}/no.sock")), text
