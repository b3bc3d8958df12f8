"""A command that outlives the process that ran it is waited for, or ended, before anything else is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from actions.ending import Outcome
from actions.journal import Event, JournalError, Record
from actions.lock import Locks, acquire
from actions.process import ProcessId, identify, runs
from actions.recover import recover
from actions.world import Ran, World
from config.service import Activation, Command, Service
from monitor.lab.process import accepts, free_address, wait_for
from tests.kit.scene import Scene, broken
from tests.kit.worlds import Step, StepWorld

LONG: Final = 60.0
"""Seconds of a time limit that no test reaches."""
SHORT: Final = 1.0


@contextmanager
def killed(scene: Scene, sign: Path, **services: Service) -> Iterator[None]:
    """Replace in another process, which is killed from outside as soon as the file `sign` is there."""
    child = os.fork()
    if child == 0:
        try:
            scene.replace(None, **services)
        finally:
            os._exit(70)
    try:
        wait_for(lambda: sign.exists() and sign.read_text().endswith("\n"), 20.0, f"{sign.name}")
    finally:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    yield


def shell(text: str) -> Command:
    return ("/bin/sh", "-c", text)


def once(room: Path, first: str, then: Command) -> Command:
    """Return a command that does `first` the first time, and from then on `then`."""
    return shell(f"mkdir {room}/once 2>/dev/null || exec {' '.join(then)}\n{first}")


def pid_in(path: Path) -> int:
    return int(path.read_text())


def fates(scene: Scene) -> list[str]:
    return [str(each.data["fate"]) for each in scene.records() if each.event is Event.COMMAND_OVER]


class WaitingWorld(StepWorld):
    """A world in which the first wait lets a command end, and nothing may be changed before it has."""

    def __init__(self, go: Path, over: Path) -> None:
        super().__init__(self._watch)
        self._go, self._over = go, over
        self.waited = False
        self.early: list[str] = []

    def _watch(self, step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.name == "sleep" and not self.waited:
            self.waited = True
            self._go.touch()
        if step.name in ("exchange", "rename", "unlink", "link", "run") and not self._over.exists():
            self.early.append(str(step))
        return act()


def lingering(room: Path, then: Command) -> Command:
    """Return a command that says which process it is, and does `then` once it is let go."""
    wait = f"while ! test -e {room}/go; do sleep 0.01; done"
    return once(room, f"echo $$ >{room}/pid; {wait}; touch {room}/over; exec {' '.join(then)}", then)


@pytest.mark.parametrize("what", ["test", "reload", "restart", "stop", "start"])
def test_a_service_command_that_a_killed_process_left_is_waited_for_before_anything_is_done(
    what: str, room: Path
) -> None:
    """Seen: a service command left by a killed process still runs during recovery."""
    scene = Scene(f"{room}/s")
    plain = replace(scene.service("web"), timeout=LONG, quiesce=what in ("stop", "start"))
    if what == "reload":
        plain = replace(plain, reload=plain.restart, activate=Activation.RELOAD)
    slow = replace(plain, **{what: lingering(room, getattr(plain, what))})  # type: ignore[arg-type]
    order = scene.order()
    with killed(scene, room / "pid", web=slow):
        process = identify(pid_in(room / "pid"))
        last = scene.records()[-1]
        assert (last.event, last.data["what"]) == (Event.COMMAND, what)
        assert ProcessId.from_json(last.data) == process
        world = WaitingWorld(room / "go", room / "over")
        with closing((context := scene.context(world, web=plain)).journal):
            recover(context)
        assert world.waited, "it was not waited for"
        assert world.early == []
        assert not runs(process)
    assert fates(scene) == ["ended"]
    assert broken(scene, order) == []
    assert scene.recover() == ()


def test_a_command_past_its_time_limit_is_killed_with_its_session_and_a_daemon_is_left(room: Path) -> None:
    scene = Scene(f"{room}/s")
    children = "\n".join(
        [
            f"sleep 600 & echo $! >{room}/child",
            # A process group of its own, in the same session.
            f"(set -m; sleep 600 & echo $! >{room}/group)",
            f"setsid sleep 600 & echo $! >{room}/daemon",
            f"echo $$ >{room}/pid",
            "wait",
        ]
    )
    service = scene.service("web")
    stuck = replace(service, timeout=SHORT, restart=once(room, children, service.restart))
    order = scene.order()
    with killed(scene, room / "pid", web=stuck):
        doomed = [identify(pid_in(room / name)) for name in ("pid", "child", "group")]
        daemon = identify(pid_in(room / "daemon"))
        wait_for(lambda: os.getsid(daemon.pid) == daemon.pid, what="a session of its own")
        try:
            scene.recover()
            assert [runs(each) for each in doomed] == [False] * 3
            assert runs(daemon), "it has left the session of the command"
        finally:
            os.kill(daemon.pid, signal.SIGKILL)
    assert fates(scene) == ["killed"]
    assert broken(scene, order) == []


class LaterStart(World):
    """The real world, a minute later for whoever asks how long a command has run."""

    def age(self, one: ProcessId) -> float | None:
        return None if (age := super().age(one)) is None else age + LONG


@pytest.fixture
def listener(room: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    """Give the command, for a shell, of a server that notes its process, and where it listens."""
    host, port = free_address()
    (room / "server.py").write_text(
        f"import os, socket, time\nserver = socket.create_server(('{host}', {port}))\n"
        f"with open('{room}/server.new', 'w') as file: file.write(f'{{os.getpid()}}\\n')\n"
        f"os.rename('{room}/server.new', '{room}/server')\ntime.sleep(600)\n"
    )
    yield f"{sys.executable} -I -S {room}/server.py", (host, port)
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(pid_in(room / "server"), signal.SIGKILL)


def test_a_command_that_has_become_the_server_is_left_alone(listener: tuple[str, tuple[str, int]], room: Path) -> None:
    scene = Scene(f"{room}/s")
    command, address = listener
    plain = scene.service("web")
    foreground = replace(plain, timeout=LONG, restart=once(room, f"exec {command}", plain.restart))
    with killed(scene, room / "server", web=foreground):
        scene.recover(LaterStart())
        assert accepts(*address)
    assert fates(scene) == ["serves"]


def test_a_server_that_hangs_in_the_session_of_its_start_script_is_left_and_the_script_is_not(
    listener: tuple[str, tuple[str, int]], room: Path
) -> None:
    scene = Scene(f"{room}/s")
    command, address = listener
    plain = scene.service("web")
    script = f"echo $$ >{room}/pid\n{command} &\nwait"
    with killed(scene, room / "server", web=replace(plain, timeout=LONG, restart=once(room, script, plain.restart))):
        leader = identify(pid_in(room / "pid"))
        scene.recover(LaterStart())
        assert not runs(leader)
        assert accepts(*address)
    assert fates(scene) == ["killed"]


def test_a_test_that_listens_is_no_server(listener: tuple[str, tuple[str, int]], room: Path) -> None:
    scene = Scene(f"{room}/s")
    command, address = listener
    with killed(scene, room / "server", web=replace(scene.service("web"), timeout=LONG, test=shell(command))):
        assert scene.recover(LaterStart()) == ()
        assert not accepts(*address)
    assert fates(scene) == ["killed"]


def test_a_daemon_that_a_command_left_is_nobody_elses_to_end(room: Path) -> None:
    scene = Scene(f"{room}/s")
    daemon = once(room, f"setsid sleep 600 & echo $! >{room}/daemon", ("/bin/true",))
    plain = scene.service("web")
    # The command is over by then: the process is killed in the next one.
    slow = replace(plain, timeout=LONG, quiesce=True, stop=daemon, start=shell(f"echo up >{room}/sign; exec sleep 1"))
    with killed(scene, room / "sign", web=slow):
        left = identify(pid_in(room / "daemon"))
        try:
            scene.recover()
            assert runs(left)
        finally:
            os.kill(left.pid, signal.SIGKILL)


@contextmanager
def sleeper() -> Iterator[ProcessId]:
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        try:
            yield identify(process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("other", "ends"),
    [
        ({}, True),
        ({"started": 1}, False),
        ({"boot": "another"}, False),
    ],
    ids=["the very process", "a number that was given anew", "before the machine was started"],
)
def test_only_the_very_process_is_ended(other: Mapping[str, Any], ends: bool, room: Path) -> None:
    scene = Scene(f"{room}/s")
    with sleeper() as process:
        command = {"components": ["web"], "what": "test", "command": ["/bin/sleep", "600"], "limit": 0.0}
        with closing((context := scene.context()).journal):
            context.prepare()
            context.journal.append(Record(1.0, "t", Event.COMMAND, {**command, **process.to_json(), **other}))
        assert scene.recover() == ()
        assert runs(process) is not ends
    assert fates(scene) == ["killed" if ends else "gone"]
    scene.recover()
    assert len(fates(scene)) == 1, "what is over is not looked for again"


def test_a_command_of_a_transaction_that_is_under_way_is_not_touched(room: Path) -> None:
    scene = Scene(f"{room}/s")
    with sleeper() as process:
        command = {"components": ["web"], "what": "test", "command": ["/bin/sleep", "600"], "limit": 0.0}
        with closing((context := scene.context()).journal):
            context.prepare()
            context.journal.append(Record(1.0, "t", Event.COMMAND, {**command, **process.to_json()}))
            locks = acquire(context.world, context.locks, ("web",))
            assert isinstance(locks, Locks)
            scene.recover()
            assert runs(process)
            locks.release()
    assert fates(scene) == []


def test_a_command_whose_process_is_killed_before_it_is_in_the_journal_does_nothing(room: Path) -> None:
    done = room / "done"

    def die(process: ProcessId) -> None:
        (room / "pid").write_text(f"{process.pid}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        World().run(shell(f"touch {done}"), LONG, die)
        os._exit(70)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    wait_for(lambda: not _is_there(pid_in(room / "pid")), what="its end")
    assert not done.exists()


def _is_there(pid: int) -> bool:
    try:
        return runs(identify(pid))
    except ProcessLookupError:
        return False


def test_a_command_that_cannot_be_put_into_the_journal_does_nothing(room: Path) -> None:
    noted: list[ProcessId] = []

    def refuse(process: ProcessId) -> None:
        noted.append(process)
        raise JournalError("full")

    with pytest.raises(JournalError):
        World().run(shell(f"touch {room}/done"), LONG, refuse)
    assert not runs(noted[0])
    assert not (room / "done").exists()


def test_a_command_in_the_journal_runs_as_any_other(room: Path) -> None:
    def run(command: Command) -> Ran:
        return World().run(command, LONG, lambda _: None)

    assert run(("/bin/echo", "$HOME; `id` *")).output == "$HOME; `id` *"
    assert run(("/nonexistent/restart",)) == World().run(("/nonexistent/restart",), LONG)
    assert run(shell("cat; exit 4")).status == 4
    assert run(shell("kill -9 $$")).status == -9


def test_what_a_command_starts_knows_nothing_of_the_actors_own_unit(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "INVOCATION_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("JAVA_HOME", "/jdk")
    old = os.umask(0o077)
    try:
        said = World().run(shell(f"env; touch {room}/log"), LONG).output
    finally:
        os.umask(old)
    assert "JAVA_HOME=/jdk" in said
    assert not any(name in said for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "INVOCATION_ID"))
    assert (room / "log").stat().st_mode & 0o777 == 0o644


SYSTEMCTL: Final = """#!/bin/sh
# A unit whose restart is a job until the file `done` is there, whoever asked for it.
room=$(dirname "$0")
case "$1" in
show) if test -e $room/job && ! test -e $room/done; then echo Job=7; fi ;;
restart) if test -e $room/job; then cp $room/s/web/site.crt $room/s/web.memory; exit; fi
    touch $room/job; echo $$ >$room/pid; exec sleep 600 ;;
esac
"""


def test_a_job_of_systemd_is_waited_for_when_its_client_is_gone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    systemctl = room / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    unit = replace(scene.service("web"), timeout=LONG, restart=(str(systemctl), "restart", "demo"))
    with killed(scene, room / "pid", web=unit):
        # As where the unit of the actor fails, and systemd kills all that is left in it.
        os.kill(pid_in(room / "pid"), signal.SIGKILL)
        assert scene.records()[-1].data["job"] == "demo.service/restart"
        done = room / "done"
        world = WaitingWorld(done, done)
        with closing((context := scene.context(world, web=unit)).journal):
            endings = recover(context)
        assert world.waited
        assert [each.outcome for each in endings] == [Outcome.COMMITTED]
        assert [each for each in world.early if "run" not in each] == []
    assert fates(scene) == ["ended"]


def test_a_command_that_is_the_server_at_its_time_limit_has_done_what_it_is_for(
    listener: tuple[str, tuple[str, int]], room: Path
) -> None:
    command, address = listener
    ran = World().run(tuple(command.split()), 2.0, spare_server=True)
    assert (ran.ok, ran.serving, ran.status) == (True, True, None)
    assert accepts(*address)
    assert not World().run(shell("exec sleep 600"), 0.1, spare_server=True).ok
