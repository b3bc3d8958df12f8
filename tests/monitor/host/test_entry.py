"""Where the daemon's user may not enter the place where certvigil is installed, that is said with the directory."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from config.load import Marked, load_marked
from config.trusted import closed_to
from config.vocabulary import LogFormat, LogLevel
from monitor.commands.run import run_actor
from monitor.commands.units import units
from monitor.host.entry import HostUser, why_no_entry
from monitor.host.outside import doubts
from tests.kit.configuration import Write, write

__all__ = ["write"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs for others")
DAEMON: Final = HostUser.named("daemon")
CONFIGURATION: Final = "actor: {daemon_user: daemon}\n"


@pytest.fixture
def program() -> Iterator[Path]:
    """Give a program below a directory that only its owner may enter, as a home directory is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        os.chmod(open_to_all, 0o755)
        made = Path(open_to_all, "home", "venv", "bin", "certvigil")
        made.parent.mkdir(parents=True)
        made.write_text("#!/bin/sh\n")
        made.chmod(0o755)
        made.parents[2].chmod(0o700)
        yield made


def test_the_directory_that_is_closed_to_a_user_is_named(program: Path) -> None:
    home = program.parents[2]
    assert closed_to(str(program), DAEMON.uid, DAEMON.groups) == f"{home} (mode 0700)"
    assert closed_to(str(program), 0, ()) == ""
    home.chmod(0o750)
    os.chown(home, 0, DAEMON.groups[0])
    assert closed_to(str(program), DAEMON.uid, DAEMON.groups) == ""
    assert closed_to(str(program), DAEMON.uid, ()) == f"{home} (mode 0750)"
    os.chown(home, DAEMON.uid, 0)
    home.chmod(0o077)
    assert closed_to(str(program), DAEMON.uid, DAEMON.groups) == f"{home} (mode 0077)", "the owner's bits count alone"


def test_a_link_leads_through_the_directories_of_its_target(program: Path) -> None:
    link = program.parents[3] / "certvigil"
    link.symlink_to(program)
    assert closed_to(str(link), DAEMON.uid, DAEMON.groups) == f"{program.parents[2]} (mode 0700)"


def test_to_a_user_who_does_not_exist_yet_a_directory_is_as_to_everybody_else(program: Path) -> None:
    nobody_yet = HostUser.named("certvigil-of-tomorrow")
    assert not nobody_yet.exists
    why = why_no_entry(nobody_yet, [str(program)])
    assert why is not None
    assert why.startswith(
        f"the daemon cannot start as certvigil-of-tomorrow: that user may not enter {program.parents[2]}"
    )
    program.parents[2].chmod(0o711)
    assert why_no_entry(nobody_yet, [str(program)]) is None


def test_units_a_check_and_the_actor_say_which_directory_keeps_the_daemon_out(
    program: Path,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", [str(program)])
    path = write(CONFIGURATION)
    said = f"that user may not enter {program.parents[2]} (mode 0700), on the way to {program}"
    assert units(path, None) == 0
    assert said in capsys.readouterr().err
    found = load_marked(path, {})
    assert isinstance(found, Marked)
    assert [said in each.problem for each in doubts(*found) if each.path == ("actor", "daemon_user")] == [True]
    monkeypatch.setattr("monitor.commands.run.set_up", lambda *_: None)
    monkeypatch.setattr("monitor.actor.server.run_actor", lambda *_: 0)
    assert run_actor(path, LogFormat.TEXT, LogLevel.INFO) == 0
    assert said in caplog.text
    program.parents[2].chmod(0o755)
    assert units(path, None) == 0
    assert str(program.parents[2]) not in capsys.readouterr().err
