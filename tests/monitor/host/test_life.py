"""One daemon for each state directory, and what becomes known of those that died young."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.vocabulary import Code, Severity
from monitor.host.life import SHORT, TOO_MANY, WINDOW, Life, StateTaken, begin
from monitor.host.sockets import ListenError, listen_tcp
from tests.kit.daemon import RunningDaemon, certvigil

NOW = 1_795_000_000.0
NOTHING: Mapping[str, object] = {}


def begun(directory: Path, now: float) -> Life:
    """Return a life that keeps no other from beginning, as one that was killed."""
    life = begin(str(directory), now)
    assert isinstance(life, Life)
    assert life._descriptor is not None
    fcntl.flock(life._descriptor, fcntl.LOCK_UN)
    return life


def codes(life: Life, now: float) -> list[tuple[Code, Severity]]:
    return [(each.code, each.severity) for each in life.findings(now)]


def test_three_short_lives_within_ten_minutes_are_known_to_the_fourth(tmp_path: Path) -> None:
    lives = [begun(tmp_path, NOW + 20 * number) for number in range(TOO_MANY + 1)]
    assert [codes(life, NOW + 70) for life in lives[:-1]] == [[]] * TOO_MANY
    assert codes(lives[-1], NOW + 70) == [(Code.DAEMON_UNSTABLE, Severity.WARNING)]
    (found,) = lives[-1].findings(NOW + 70)
    assert "3 times within a minute" in found.detail
    # One that has outlived all of that says no more of it.
    assert codes(lives[-1], NOW + 60 + WINDOW + 1) == []


def test_short_lives_of_long_ago_do_not_count(tmp_path: Path) -> None:
    for number in range(TOO_MANY):
        begun(tmp_path, NOW + number)
    assert codes(begun(tmp_path, NOW + WINDOW + TOO_MANY), NOW + WINDOW + TOO_MANY) == []


def test_a_life_that_lasted_or_was_ended_on_purpose_is_not_short(tmp_path: Path) -> None:
    for number in range(4):
        life = begun(tmp_path, NOW + 60 * number)
        life.go_on(NOW + 60 * number + SHORT + 1)
        begun(tmp_path, NOW + 60 * number + 62).end_well()
    assert codes(begun(tmp_path, NOW + 300), NOW + 300) == []


FAULTY = ("", "{", "7", '["x", null, {}]', "[" * 60_000, "[1e999]", f"[1{'0' * 400}]", "[true]", f"[1{',1' * 60_000}]")


@pytest.mark.parametrize("text", FAULTY)
def test_what_others_wrote_into_the_list_does_no_harm(tmp_path: Path, text: str) -> None:
    (tmp_path / "starts.json").write_text(text)
    assert codes(begun(tmp_path, NOW), NOW) == []


def test_a_second_daemon_ends_at_once_and_names_the_first(cleanup: ExitStack) -> None:
    first = cleanup.enter_context(RunningDaemon(NOTHING))
    ran = certvigil("run", "--config", first.config_file)
    assert ran.returncode == 78
    holder = f"another certvigil, pid {first.pid} on {socket.gethostname()}, has the state directory {first.state}"
    assert holder in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert first.code is None
    assert first.ask("/api/v1/status")["ready"]
    # What ends, however it does, gives the directory back.
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    first.start()


@pytest.mark.parametrize("name", ["starts.json", "starts.json.new", "daemon.lock"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_daemon_begins_whatever_lies_in_the_place_of_its_files(
    tmp_path: Path, name: str, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / name)
    begun = begin(str(tmp_path), NOW)
    assert isinstance(begun, Life)
    assert codes(begun, NOW) == []
    begun.end_well()
    if name != "starts.json.new":
        assert name in caplog.text or "cannot lock" in caplog.text


def test_the_lock_is_held_whatever_else_opens_and_closes_its_file(tmp_path: Path) -> None:
    first = begin(str(tmp_path), NOW)
    assert isinstance(first, Life)
    (tmp_path / "daemon.lock").read_bytes()
    child = os.fork()
    if child == 0:
        os.close(first._descriptor or -1)
        os._exit(0 if isinstance(begin(str(tmp_path), NOW), StateTaken) else 1)
    assert os.waitpid(child, 0)[1] == 0
    first.give_back()
    assert isinstance(begin(str(tmp_path), NOW), Life)


def test_a_daemon_that_watches_its_state_directory_keeps_it_to_itself(cleanup: ExitStack, tmp_path: Path) -> None:
    daemon = RunningDaemon(NOTHING)
    cleanup.callback(daemon.close)
    (tmp_path / "lock.pem").symlink_to(f"{daemon.state}/daemon.lock")
    daemon.configure({"watch": [{"files": [f"{daemon.state}/*", f"{tmp_path}/*.pem", f"{daemon.state}/daemon.lock"]}]})
    daemon.start()
    own = f"{daemon.state}/daemon.lock"
    daemon.wait_for(lambda: daemon.findings(own) == {"unreadable"}, "that it leaves its own file alone")
    assert certvigil("run", "--config", daemon.config_file).returncode == 78


def test_the_lock_is_not_held_by_what_a_daemon_forks(tmp_path: Path) -> None:
    assert isinstance(begin(str(tmp_path), NOW), Life)
    child = os.fork()
    if child == 0:
        os._exit(0 if isinstance(begin(str(tmp_path), NOW), StateTaken) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_daemon_that_dies_within_seconds_again_and_again_is_told_by_the_next(cleanup: ExitStack) -> None:
    daemon = RunningDaemon(NOTHING)
    cleanup.callback(daemon.close)
    for _ in range(TOO_MANY):
        daemon.start()
        daemon.stop(signal.SIGKILL)
    daemon.start()
    assert daemon.findings("certvigil") == {"daemon_unstable"}
    assert daemon.stop() == 0
    # One that was asked to end did not die: there is one short life less.
    starts = json.loads(Path(daemon.state, "starts.json").read_text())
    assert len(starts) == TOO_MANY
    assert all(time.time() - each < 120 for each in starts)


def test_a_port_in_use_is_called_that_and_by_whom() -> None:
    (holding,) = listen_tcp("127.0.0.1:0")
    with holding:
        port = holding.getsockname()[1]
        with pytest.raises(ListenError) as raised:
            listen_tcp(f"127.0.0.1:{port}")
    comm = Path("/proc/self/comm").read_text().strip()
    assert str(raised.value) == f"127.0.0.1:{port} is in use by {comm}, process {os.getpid()}"
